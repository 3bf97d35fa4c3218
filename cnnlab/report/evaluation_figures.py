"""The figures of an evaluation: confusion matrix, classes, calibration, worst mistakes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnnlab.report.style import BLUE, DPI, RED, new_figure, plain_axes, save, shortened, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUMBERED_CLASSES = 20
"""Up to so many classes the confusion matrix shows its counts."""
SHOWN_CLASSES = 40
"""Bars of classes.png; of more classes, the worst are shown."""
SHOWN_MISTAKES = 25
_NAME = 14
"""Characters of a class's name in a figure."""
_CELL = 1.3
"""Height of a mistake with its two lines of text, in widths of its picture."""


class ClassRow(Protocol):
    """What is drawn of a class."""

    @property
    def name(self) -> str: ...
    @property
    def precision(self) -> float | None: ...
    @property
    def recall(self) -> float | None: ...
    @property
    def f1(self) -> float | None: ...


class Bins(Protocol):
    """What is drawn of a calibration."""

    @property
    def ece(self) -> float: ...
    @property
    def counts(self) -> np.ndarray: ...
    @property
    def confidence(self) -> np.ndarray: ...
    @property
    def accuracy(self) -> np.ndarray: ...


class MistakeRow(Protocol):
    """What is written under a mistaken picture."""

    @property
    def label(self) -> str: ...
    @property
    def prediction(self) -> str: ...
    @property
    def confidence(self) -> float: ...


def draw_confusion(path: Path, matrix: np.ndarray, classes: Sequence[str], title: str) -> None:
    """True classes down, predictions across; each row coloured by its shares, with counts where they fit."""
    count = len(classes)
    numbered = count <= NUMBERED_CLASSES
    side = min(12.0, max(5.0, 2.2 + 0.55 * count)) if numbered else 11.0
    figure = new_figure(side + 1.6, side)
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="% of the true class", fraction=0.046, pad=0.02)
    step = -(-count // 50)
    names = [shortened(name, _NAME) for name in classes[::step]]
    size = 9 if numbered else 6
    upright = max(map(len, names)) <= 3
    turned: dict[str, Any] = {} if upright else {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(0, count, step), names, fontsize=size, **turned)
    axes.set_yticks(range(0, count, step), names, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if numbered:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=8)
    else:
        axes.spines[:].set_color("0.8")
    figure.suptitle(shown(title), fontsize=10)
    save(figure, path)


def draw_classes(path: Path, classes: Sequence[ClassRow], title: str) -> None:
    """F1 of each class as a bar, the worst on top, with precision and recall marked."""
    rows = sorted(classes, key=lambda row: -1.0 if row.f1 is None else row.f1)[:SHOWN_CLASSES]
    figure = new_figure(8, 1.8 + 0.26 * len(rows))
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    axes.barh(places, [_percent(row.f1) for row in rows], color="0.8", label="F1")
    axes.plot([_percent(row.precision) for row in rows], places, "o", color=BLUE, label="precision")
    axes.plot([_percent(row.recall) for row in rows], places, "D", color=RED, fillstyle="none", label="recall")
    axes.set_yticks(places, [shortened(row.name, 2 * _NAME) for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 100.5)
    axes.set_xlabel("%")
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    cut = f", the worst {len(rows)} of {len(classes)}" if len(rows) < len(classes) else ""
    figure.suptitle(f"Classes{cut}\n{shown(title)}", fontsize=10)
    save(figure, path)


def draw_calibration(path: Path, bins: Bins, title: str) -> None:
    """Accuracy by confidence: on the diagonal the net is as often right as it is sure; below it, overconfident."""
    count = len(bins.counts)
    width = 1 / count
    centres = (np.arange(count) + 0.5) * width
    filled = bins.counts > 0
    figure = new_figure(6, 6.4)
    upper, lower = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    upper.bar(centres[filled], 100 * bins.accuracy[filled], width, color=BLUE, edgecolor="white", label="accuracy")
    gap = 100 * (bins.confidence - bins.accuracy)[filled]
    upper.bar(
        centres[filled],
        gap,
        width,
        bottom=100 * bins.accuracy[filled],
        facecolor="none",
        edgecolor=RED,
        hatch="///",
        linewidth=0.8,
        label="gap to the confidence",
    )
    upper.plot([0, 1], [0, 100], "--", color="0.3", linewidth=1, label="as often right as sure")
    upper.set_ylabel("accuracy in %")
    upper.set_ylim(0, 101)
    lower.bar(centres, 100 * bins.counts / max(bins.counts.sum(), 1), width, color="0.6", edgecolor="white")
    lower.set_ylabel("pictures in %")
    lower.set_xlabel("confidence")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        plain_axes(axes)
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"Expected calibration error {100 * bins.ece:.2f} %\n{shown(title)}", fontsize=10)
    save(figure, path)


def draw_mistakes(path: Path, images: np.ndarray, mistakes: Sequence[MistakeRow], title: str) -> None:
    """The wrong predictions of highest confidence: (M, H, W, C) uint8 pictures, each with label and prediction."""
    count = min(len(images), SHOWN_MISTAKES)
    columns, rows = min(5, max(count, 3)), max(1, -(-count // 5))
    figure = new_figure(2.1 * columns, 0.6 + 2.1 * _CELL * rows)
    axes = figure.add_subplot()  # one for all pictures: many small axes take long to arrange
    for index, (image, mistake) in enumerate(zip(images[:count], mistakes, strict=False)):
        left, top = index % columns, _CELL * (index // columns)
        words = (
            f"true {shortened(mistake.label, _NAME)}",
            f"taken for {shortened(mistake.prediction, _NAME)}, {100 * mistake.confidence:.0f} %",
        )
        axes.text(left + 0.5, top + _CELL - 0.97, "\n".join(words), fontsize=8, ha="center", va="bottom")
        _picture(axes, image, left + 0.5, top + _CELL - 0.48)
    axes.set_xlim(0, columns)
    axes.set_ylim(_CELL * rows, 0)
    axes.set_aspect("equal")
    axes.set_axis_off()
    which = f"The {count} most confident mistakes" if count else "No mistakes"
    figure.suptitle(f"{which}\n{shown(title)}", fontsize=10)
    save(figure, path)


def _picture(axes: "Axes", image: np.ndarray, across: float, down: float) -> None:
    """Draw a picture, centred there, its longer side 0.94 of a cell's width."""
    height, width, channels = image.shape
    x, y = 0.47 * width / max(height, width), 0.47 * height / max(height, width)
    axes.imshow(
        image[:, :, 0] if channels == 1 else image,
        extent=(across - x, across + x, down + y, down - y),
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest" if max(height, width) <= DPI else "antialiased",
    )


def _percent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share
