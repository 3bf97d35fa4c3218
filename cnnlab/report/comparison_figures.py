"""The figures of a comparison: loss, accuracy and δ by layer of all contestants, each in its own colour and marker."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cnnlab.choices import Band
from cnnlab.report.bands import BAND_WORDS, Spread, spread
from cnnlab.report.figures import by_layer, some_of
from cnnlab.report.style import COLOURS, MARKERS, new_figure, plain_axes, shortened, shown
from cnnlab.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
"""An epoch as in metrics.jsonl: epoch, train_loss, val_loss, train_acc, val_acc, seconds are drawn."""
LOGARITHMIC = 100.0
"""A loss whose largest value is so many times its smallest is drawn on a logarithmic axis."""
LARGEST = 1e100
"""Beyond it a loss is as good as infinite; its square is still a number."""
_NAME = 44
"""Characters of a contestant's name in a legend."""
_BREAKS = re.compile(r"(?<=[,:/ ])")
_DASHED = (0, (4, 2))
_STAR: dict[str, Any] = {
    "marker": "*", "markersize": 14, "markeredgecolor": "black", "markeredgewidth": 0.8, "linestyle": "none"
}  # fmt: skip


@dataclass(frozen=True)
class Curves:
    """The epochs of a contestant's runs, one sequence a seed, and the best epoch (from 1) of each run."""

    name: str
    runs: tuple[Sequence[Row], ...]
    best_epochs: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """How curves are drawn."""

    title: str
    """The data; a stand-in is declared here."""
    x: Literal["epoch", "seconds"] = "epoch"
    band: Band = "min-max"
    narrow: bool = False
    """For a page as wide as a phone."""
    marked: str = "best epoch"
    """What the star marks."""


def colour_of(number: int) -> str:
    """The colour of contestant `number` (from 0) in every figure, page and terminal."""
    return COLOURS[number % len(COLOURS)]


def loss_figure(contestants: Sequence[Curves], view: View) -> "Figure":
    """Training (dashed) and validation (solid) loss of all contestants on one axis, and nothing else."""
    figure, axes = _curves_figure(contestants, view, "Loss", ("train_loss", "val_loss"), 1)
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.empty(0)])
    values = values[np.isfinite(values)]
    far_apart = bool(values.size) and values.min() > 0 and values.max() / values.min() > LOGARITHMIC
    if far_apart:
        axes.set_yscale("log")
    axes.set_ylabel("loss (logarithmic)" if far_apart else "loss")
    return figure


def accuracy_figure(contestants: Sequence[Curves], view: View) -> "Figure":
    """Training (dashed) and validation (solid) accuracy of all contestants in %."""
    figure, axes = _curves_figure(contestants, view, "Accuracy", ("train_acc", "val_acc"), 100)
    axes.set_ylabel("accuracy in %")
    axes.set_ylim(top=min(axes.get_ylim()[1], 101))
    return figure


def gradients_figure(contestants: Sequence[tuple[str, Sequence[Row]]], view: View) -> "Figure":
    """RMS of δ by layer, a panel a contestant (name, rows of gradients.jsonl), on one logarithmic axis."""
    columns = min(len(contestants), 2 if view.narrow or len(contestants) == 4 else 3)
    lines = -(-len(contestants) // columns)
    width = 5.0 if view.narrow else max(9.0, 3.4 * columns)
    figure = new_figure(width, 1.4 + (3.2 if view.narrow else 3.8) * lines)
    epochs = some_of(sorted({row["epoch"] for _, rows in contestants for row in rows}))
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    handles: dict[str, Any] = {}
    for number, (axes, (name, rows)) in enumerate(zip(panels.flat, contestants, strict=False)):
        by_layer(axes, rows, "delta_rms", epochs, ticks=8 if view.narrow else 16)
        axes.set_title(_wrapped(name, 22 if view.narrow else 34), fontsize=9 if view.narrow else 10)
        axes.spines[["left", "bottom"]].set(color=colour_of(number), linewidth=2.5)
        if number % columns == 0:
            axes.set_ylabel("RMS of δ")
        if number + columns >= len(contestants):
            axes.set_xlabel("layer, first to last")
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    for axes in panels.flat[len(contestants) :]:
        axes.set_axis_off()
    ncols = 3 if view.narrow else min(6, max(2, round(width / 1.7)))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=ncols, frameon=False, fontsize=8)
    _title(figure, view, "Gradients by layer")
    return figure


def _curves_figure(
    contestants: Sequence[Curves], view: View, what: str, keys: tuple[str, str], scale: float
) -> "tuple[Figure, Axes]":
    """A dashed and a solid line, band and best epoch of every contestant."""
    figure = new_figure(5.0, 5.6) if view.narrow else new_figure(9.0, 5.8)
    from matplotlib.ticker import MaxNLocator

    axes = figure.add_subplot()
    epochs = max((len(run) for curves in contestants for run in curves.runs), default=0)
    validated = [_draw(axes, curves, number, view, keys, scale) for number, curves in enumerate(contestants)]
    axes.set_xlabel("epoch" if view.x == "epoch" else "seconds of training (wall clock)")
    if view.x == "epoch" and epochs == 1:
        axes.set_xticks([1])
    elif view.x == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes)
    _who(figure, contestants, view)
    _what(axes, view, max((len(curves.runs) for curves in contestants), default=1), validated=any(validated))
    _title(figure, view, what)
    return figure, axes


def _draw(
    axes: "Axes", curves: Curves, number: int, view: View, keys: tuple[str, str], scale: float
) -> bool:  # fmt: skip
    """Draw a contestant; whether it has validation figures, which is then where its best epoch is marked."""
    epochs = min((len(run) for run in curves.runs), default=0)
    if not epochs:
        return False
    at = _places(curves.runs, epochs, view)
    train, val = (spread(scale * _values(curves.runs, epochs, key), view.band) for key in keys)
    validated = bool(np.isfinite(val.mean).any())
    step = max(1, epochs // 8)
    every = (min(number * step // 8, epochs - 1), step)  # markers of different contestants beside each other
    looks = _looks(number)
    axes.plot(at, train.mean, linestyle=_DASHED, linewidth=1.2, markevery=every, **{**looks, "markersize": 4})
    axes.plot(at, val.mean, linestyle="-", linewidth=1.8, markevery=every, **looks)
    for part, depth in ((train, 0.10), (val, 0.22)):
        _shade(axes, at, part, colour_of(number), depth)
    best = float(np.mean(curves.best_epochs)) if curves.best_epochs else 0.0
    if 1 <= best <= epochs:
        marked = (val if validated else train).mean
        where = [np.interp(best, np.arange(1, epochs + 1), line) for line in (at, marked)]
        axes.plot(*where, color=colour_of(number), zorder=5, **_STAR)
    return validated


def _shade(axes: "Axes", at: np.ndarray, part: Spread, colour: str, depth: float) -> None:
    """The band over seeds; of a single epoch it is a bar."""
    if part.low is None or part.high is None:
        return
    if len(at) == 1:
        axes.vlines(at, part.low, part.high, color=colour, alpha=0.5, linewidth=5)
    else:
        axes.fill_between(at, part.low, part.high, color=colour, alpha=depth, linewidth=0)


def _looks(number: int) -> dict[str, Any]:
    """Colour and marker; every second marker is hollow."""
    colour = colour_of(number)
    return {
        "color": colour,
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 6,
        "markerfacecolor": "white" if number % 2 else colour,
        "markeredgecolor": colour,
    }


def _places(runs: Sequence[Sequence[Row]], epochs: int, view: View) -> np.ndarray:
    """(epochs,) epochs, or seconds since the start, mean over seeds."""
    if view.x == "epoch":
        return np.arange(1.0, epochs + 1)
    return np.mean([np.cumsum([row["seconds"] for row in run[:epochs]]) for run in runs], axis=0)


def _values(runs: Sequence[Sequence[Row]], epochs: int, key: str) -> np.ndarray:
    """(seeds, epochs) of the epochs that all seeds have; NaN where there is no finite value."""
    values = np.array([[row[key] for row in run[:epochs]] for run in runs], dtype=float)
    return np.where(np.abs(values) < LARGEST, values, np.nan)


def _who(figure: "Figure", contestants: Sequence[Curves], view: View) -> None:
    """Below the axes: which line is whose."""
    from matplotlib.lines import Line2D

    names = [shortened(curves.name, _NAME) + _broken(curves) for curves in contestants]
    lines = [Line2D([], [], linewidth=1.8, label=name, **_looks(number)) for number, name in enumerate(names)]
    longest = max(map(len, names), default=0) + 8
    columns = max(1, min(len(lines), (60 if view.narrow else 115) // longest))
    figure.legend(handles=lines, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _broken(curves: Curves) -> str:
    """A note where the loss of a run stopped being a number."""
    first = [row["epoch"] for run in curves.runs for row in run if not abs(row["train_loss"]) < LARGEST]
    return f" (loss not finite from epoch {min(first)})" if first else ""


def _what(axes: "Axes", view: View, seeds: int, *, validated: bool) -> None:
    """Above the axes: what dashes, star and band mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    gray: dict[str, Any] = {"color": "0.35"}
    parts: list[Any] = [Line2D([], [], linestyle=_DASHED, linewidth=1.2, label="training", **gray)]
    if validated:
        parts.append(Line2D([], [], linestyle="-", linewidth=1.8, label="validation", **gray))
    parts.append(Line2D([], [], label=view.marked + (" (mean)" if seeds > 1 else ""), **gray, **_STAR))
    if seeds > 1:
        words = BAND_WORDS[view.band]
        parts.append(Patch(facecolor="0.35", alpha=0.25, label=f"mean of {seeds} seeds, band: {words}"))
    axes.legend(
        handles=parts, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2 if view.narrow and seeds > 1 else 4,
        frameon=False, fontsize=8 if view.narrow else 9, columnspacing=1.2,
    )  # fmt: skip


def _title(figure: "Figure", view: View, what: str) -> None:
    figure.suptitle(f"{what}: {shortened(view.title, 48 if view.narrow else 100)}", fontsize=10 if view.narrow else 11)


def _wrapped(name: str, width: int) -> str:
    """A name on up to three lines, broken after its own punctuation where there is some."""
    parts = [part[at : at + width] for part in _BREAKS.split(printable(name)) for at in range(0, len(part), width)]
    lines = [""]
    for part in parts:
        if len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    if len(lines) > 3:
        lines[2] = lines[2][: width - 1] + "…"
    return "\n".join(map(shown, lines[:3]))
