"""The figures of a finished comparison: as files, and as the page embeds them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.comparison.result import Comparison
from cnnlab.report.comparison_figures import Curves, View, accuracy_figure, gradients_figure, loss_figure
from cnnlab.report.style import encoded, save
from cnnlab.text import with_stand_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[Comparison, bool], "Figure"]
"""A figure of a comparison; the second argument asks for one as narrow as a phone."""


def draw_pictures(comparison: Comparison) -> list[Path]:
    """Write loss, accuracy (PNG and SVG) and, where δ was recorded, gradients (PNG) into the comparison's folder.

    Raises:
        MachineError: they cannot be written there.
    """
    written = []
    for name, draw in figures(comparison).items():
        figure = draw(comparison, False)
        for kind in ("png",) if name == "gradients" else ("png", "svg"):
            path = comparison.folder / f"{name}.{kind}"
            save(figure, path)
            written.append(path)
    return written


def figures(comparison: Comparison) -> dict[str, Draw]:
    """The figures that this comparison has, by name."""
    every: dict[str, Draw] = {"loss": _loss, "accuracy": _accuracy}
    if any(contestant.runs[0].gradients for contestant in comparison.contestants):
        every["gradients"] = _gradients
    return every


def svg(comparison: Comparison, draw: Draw, *, narrow: bool) -> bytes:
    """A figure as the bytes of an SVG file."""
    return encoded(draw(comparison, narrow), "svg")


def on_data(comparison: Comparison) -> str:
    """The data in words, with what they stand in for."""
    return with_stand_in(comparison.data, comparison.data_requested, comparison.fallback)


def _loss(comparison: Comparison, narrow: bool) -> "Figure":
    return loss_figure(_curves(comparison), _view(comparison, on_data(comparison), narrow))


def _accuracy(comparison: Comparison, narrow: bool) -> "Figure":
    return accuracy_figure(_curves(comparison), _view(comparison, on_data(comparison), narrow))


def _gradients(comparison: Comparison, narrow: bool) -> "Figure":
    rows = [(contestant.name, contestant.runs[0].gradients) for contestant in comparison.contestants]
    return gradients_figure(rows, _view(comparison, f"{on_data(comparison)}, seed {comparison.seeds[0]}", narrow))


def _view(comparison: Comparison, title: str, narrow: bool) -> View:
    return View(title, comparison.x, comparison.band, narrow, comparison.tested_heading)


def _curves(comparison: Comparison) -> list[Curves]:
    return [
        Curves(
            contestant.name,
            tuple(run.rows for run in contestant.runs),
            tuple(run.best_epoch for run in contestant.runs),
        )
        for contestant in comparison.contestants
    ]
