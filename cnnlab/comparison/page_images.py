"""The pixels of report.html: confusion matrices, and test images that only one net gets right."""

import base64
import io
from collections import Counter
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from cnnlab.comparison.result import Comparison

NUMBERED_CLASSES = 20
"""Up to so many classes a confusion matrix is a table of counts; beyond, a picture."""
SHADES = 10
"""Steps of shading of a confusion matrix."""
SHOWN_IMAGES = 12
"""Images shown of each net."""
LONGEST_SIDE = 192
"""Pixels; larger images are reduced."""
ENLARGED = 48
"""Images with no side as long as this are shown enlarged."""


@dataclass(frozen=True)
class Cell:
    """A count of a confusion matrix, its share of the true class in steps from 0 to `SHADES`."""

    count: int
    shade: int
    diagonal: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix as rows of cells, or as a picture where there are many classes."""

    name: str
    rows: tuple[tuple[Cell, ...], ...]
    picture: Markup | None
    right: int
    images: int
    confused: str
    """The most frequent mistakes, in words."""


@dataclass(frozen=True)
class Thumbnail:
    """A test image that only one net gets right."""

    title: str
    """Its file's name, or its place in the test part."""
    picture: Markup
    small: bool
    """So small that it is shown enlarged."""
    label: str
    others: str
    """What the other nets take it for."""


@dataclass(frozen=True)
class OnlyRight:
    """The images that one net alone gets right: how many, and some of them."""

    name: str
    count: int
    thumbnails: tuple[Thumbnail, ...]


def matrices(comparison: Comparison) -> list[Matrix]:
    """The confusion matrix of each contestant, summed over seeds."""
    return [_matrix(contestant.name, contestant.confusion, comparison) for contestant in comparison.contestants]


def only_right(comparison: Comparison) -> tuple[list[OnlyRight], str]:
    """By contestant the test images that it alone gets right, those it is surest of first; and a note on them."""
    if len(comparison.contestants) < 2:
        return [], ""
    runs = [contestant.runs[0] for contestant in comparison.contestants]
    correct = np.stack([run.correct for run in runs])  # (contestants, N)
    alone = correct.sum(axis=0) == 1
    groups = []
    for number, (contestant, run) in enumerate(zip(comparison.contestants, runs, strict=True)):
        where = np.flatnonzero(alone & correct[number])
        surest = where[np.argsort(-run.confidence[where], kind="stable")][:SHOWN_IMAGES]
        thumbnails = tuple(_thumbnail(comparison, number, int(index)) for index in surest)
        groups.append(OnlyRight(contestant.name, len(where), thumbnails))
    all_right, none_right = int(correct.all(axis=0).sum()), int((~correct.any(axis=0)).sum())
    seed = f", nets of seed {comparison.seeds[0]}" if len(comparison.seeds) > 1 else ""
    note = (
        f"Of {correct.shape[1]:,} test images{seed}: {all_right:,} are right with every net, {none_right:,} with none. "
        f"Shown are at most {SHOWN_IMAGES} of each net, those it is surest of."
    )
    return groups, note


def _matrix(name: str, counts: np.ndarray, comparison: Comparison) -> Matrix:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shades = np.ceil(SHADES * shares).astype(int)
    numbered = len(counts) <= NUMBERED_CLASSES
    rows = tuple(
        tuple(
            Cell(int(count), int(shade), diagonal=row == column)
            for column, (count, shade) in enumerate(zip(counts[row], shades[row], strict=True))
        )
        for row in range(len(counts) if numbered else 0)
    )
    picture = None if numbered else png(np.round(255 * (1 - shares)).astype(np.uint8)[:, :, None])
    right, images = int(np.trace(counts)), int(counts.sum())
    return Matrix(name, rows, picture, right, images, _confused(counts, comparison.classes))


def _confused(counts: np.ndarray, classes: tuple[str, ...]) -> str:
    """The three most frequent mistakes."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    largest = [int(flat) for flat in np.argsort(-wrong, axis=None, kind="stable")[:3] if wrong.flat[flat]]
    pairs = (divmod(flat, len(counts)) for flat in largest)
    return ", ".join(f"{classes[true]} taken for {classes[taken]} ({wrong[true, taken]:,}×)" for true, taken in pairs)


def _thumbnail(comparison: Comparison, number: int, index: int) -> Thumbnail:
    test = comparison.test
    taken = [
        (other.name, comparison.classes[other.runs[0].predictions[index]])
        for place, other in enumerate(comparison.contestants)
        if place != number
    ]
    if len(taken) == 1:
        others = f"{taken[0][0]}: {taken[0][1]}"
    else:
        others = "others: " + ", ".join(
            prediction if times == 1 else f"{prediction} ({times}×)"
            for prediction, times in Counter(prediction for _, prediction in taken).most_common()
        )
    image = test.images[index]
    return Thumbnail(
        title=f"test image {index}" if test.names is None else test.names[index],
        picture=png(image),
        small=max(image.shape[:2]) < ENLARGED,
        label=comparison.classes[test.labels[index]],
        others=others,
    )


def png(image: np.ndarray) -> Markup:
    """An image (H, W, C) uint8, gray or RGB, as a data URI of a PNG file, reduced to `LONGEST_SIDE`."""
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return Markup(f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode('ascii')}")
