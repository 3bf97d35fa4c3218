"""Batched augmentation of uint8 pictures: crop, mirror and cutout in one gather; mixup as a recipe for the loop."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """What is done to training pictures; every field at its zero does nothing.

    `crop`: pixels of reflect padding from which a picture of the old size is cut at random. `flip`: mirrors half
    of the pictures left to right. `cutout`: side in pixels of a square painted over. `mixup`: α of Beta(α, α).
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0


def batch(
    images: np.ndarray,
    indices: np.ndarray,
    augmentation: Augmentation,
    rng: np.random.Generator,
    *,
    fill: np.ndarray | int = 128,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Pick and augment one batch.

    Args:
        images: (N, H, W, C) uint8, C-contiguous; left as it is.
        indices: (B,) which pictures.
        augmentation: crop, flip and cutout; `mixup` acts on floats and labels and is left to the caller.
        rng: draws for the whole batch; the same generator state gives the same batch.
        fill: the colour of cutout, (C,) or one level; the training set's mean is the usual choice.
        rows: (b,) which of the batch's pictures are wanted; None: all. What is drawn is the same either way.

    Returns:
        (B, H, W, C) uint8, or (b, H, W, C).

    Sources: crop with reflect padding and mirror as in K. He et al. 2015 (zero padding there); cutout is DeVries
    and Taylor 2017, its centre anywhere in the picture, so that part of the square may fall outside.
    """
    height, width, channels = images.shape[1:]
    count = len(indices)
    if not augmentation.crop and not augmentation.flip:
        out = images[indices if rows is None else indices[rows]]
    else:
        pad = augmentation.crop
        shift = rng.integers(-pad, pad + 1, size=(2, count))
        vertical = _reflect(np.arange(height) + shift[0][:, None], height)  # (B, H)
        horizontal = _reflect(np.arange(width) + shift[1][:, None], width)  # (B, W)
        if augmentation.flip:
            mirrored = rng.random(count) < 0.5
            horizontal[mirrored] = horizontal[mirrored, ::-1]
        wanted = indices
        if rows is not None:
            wanted, vertical, horizontal = indices[rows], vertical[rows], horizontal[rows]
        # One gather of C bytes a pixel: 3 times as fast as images[i, y, x] with broadcast indices.
        pixels = ((wanted[:, None] * height + vertical) * width)[:, :, None] + horizontal[:, None, :]  # (B, H, W)
        out = np.take(images.reshape(-1, channels), pixels, axis=0)  # (B, H, W, C)
    if augmentation.cutout:
        _cut_out(out, augmentation.cutout, rng, fill, len(indices), rows)
    return out


def mixup(count: int, alpha: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Partners and share of mixup: x := λ x + (1 − λ) x[permutation], the loss likewise (Zhang et al. 2018).

    Returns:
        A permutation (count,) int64 and λ in [0, 1], drawn from Beta(α, α).
    """
    return rng.permutation(count), float(rng.beta(alpha, alpha))


def _reflect(positions: np.ndarray, size: int) -> np.ndarray:
    """Positions folded back into 0 … size − 1 without repeating the edge, as NumPy's pad mode "reflect"."""
    if size == 1:
        return np.zeros_like(positions)
    period = 2 * (size - 1)
    folded = np.abs(positions) % period
    return np.minimum(folded, period - folded)


def _cut_out(
    images: np.ndarray,
    side: int,
    rng: np.random.Generator,
    fill: np.ndarray | int,
    count: int,
    rows: np.ndarray | None,
) -> None:
    height, width = images.shape[1:3]
    tops = rng.integers(0, height, count) - side // 2
    lefts = rng.integers(0, width, count) - side // 2
    if rows is not None:
        tops, lefts = tops[rows], lefts[rows]
    for image, top, left in zip(images, tops.tolist(), lefts.tolist(), strict=True):
        image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = fill
