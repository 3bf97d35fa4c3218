"""Prediction in batches, and averaged over mirrored and shifted views of each picture (test-time augmentation)."""

from collections.abc import Iterator

import numpy as np

from cnnlab.errors import NumericError
from cnnlab.evaluation.measures import probabilities
from cnnlab.training.engines.base import Engine
from cnnlab.training.events import Loading, Tell

BATCH = 1000
"""A multiple of the batches of a training's own evaluation, so that the outputs are the same to the last bit."""
_SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


def predict(engine: Engine, images: np.ndarray, tell: Tell, task: str = "evaluating") -> np.ndarray:
    """Outputs (N, classes) of (N, H, W, C) uint8 pictures, with progress.

    Raises:
        NumericError: an output is not finite.
    """
    outputs = []
    for start in range(0, len(images), BATCH):
        outputs.append(_finite(engine.predict(images[start : start + BATCH])))
        tell(Loading(task, min(start + BATCH, len(images)), len(images), "images"))
    return np.concatenate(outputs)


def number_of_views(flip: bool) -> int:
    """How many views `predict_views` averages."""
    return len(_SHIFTS) * (2 if flip else 1)


def predict_views(engine: Engine, images: np.ndarray, flip: bool, loss: str, tell: Tell) -> np.ndarray:
    """Probabilities (N, classes) averaged over views: shifted by one pixel each way, mirrored too where `flip`."""
    averages = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        seen = [probabilities(_finite(engine.predict(view)), loss) for view in views(batch, flip)]
        averages.append(np.mean(seen, axis=0))
        tell(Loading("evaluating views", min(start + BATCH, len(images)), len(images), "images"))
    return np.concatenate(averages)


def views(images: np.ndarray, flip: bool) -> Iterator[np.ndarray]:
    """(N, H, W, C) as they are, then shifted by one pixel (the edge repeated), then all of these mirrored."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    for mirrored in (False, True) if flip else (False,):
        for down, right in _SHIFTS:
            view = padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
            yield np.ascontiguousarray(view[:, :, ::-1] if mirrored else view)


def _finite(outputs: np.ndarray) -> np.ndarray:
    if not np.isfinite(outputs).all():
        raise NumericError(
            "the net's outputs are not finite",
            hint="Its weights are, or its arithmetic overflows: try --precision fp32",
        )
    return outputs
