"""The figures of a training run: its curves, and how much gradient reaches each layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cnnlab.report.style import BLUE, GREEN, RED, new_figure, plain_axes, save, shortened, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Row(Protocol):
    """What is drawn of an epoch."""

    @property
    def epoch(self) -> int: ...
    @property
    def train_loss(self) -> float: ...
    @property
    def val_loss(self) -> float | None: ...
    @property
    def train_acc(self) -> float: ...
    @property
    def val_acc(self) -> float | None: ...
    @property
    def lr(self) -> float: ...


def draw_curves(path: Path, rows: Sequence[Row], tested: int, title: str, *, best: bool = True) -> None:
    """Training (dashed) and validation (solid) loss on one axis, accuracy, learning rate.

    Marked is the epoch whose weights are `tested`: the `best` by validation, or the last one.
    """
    figure = new_figure(11, 4.2)
    loss, accuracy, rate = figure.subplots(1, 3, width_ratios=[5, 5, 3])
    epochs = [row.epoch for row in rows]
    _pair(loss, epochs, [row.train_loss for row in rows], [row.val_loss for row in rows], "loss")
    _pair(
        accuracy,
        epochs,
        [100 * row.train_acc for row in rows],
        [None if row.val_acc is None else 100 * row.val_acc for row in rows],
        "accuracy in %",
    )
    rate.plot(epochs, [row.lr for row in rows], color=GREEN, marker="." if len(rows) == 1 else None)
    rate.set_ylabel("learning rate")
    for axes in (loss, accuracy, rate):
        plain_axes(axes)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (loss, accuracy):
        axes.axvline(
            tested, color="0.35", linewidth=1, linestyle=":", label=f"{'best' if best else 'last'} epoch, {tested}"
        )
    loss.legend(frameon=False)
    figure.suptitle(shown(title))
    save(figure, path)


def _pair(axes: "Axes", epochs: Sequence[int], train: Sequence[float], val: Sequence[float | None], label: str) -> None:
    marker = "." if len(epochs) < 3 else None
    axes.plot(epochs, train, linestyle="--", color=BLUE, label="training", marker=marker)
    if all(value is not None for value in val):
        axes.plot(epochs, [value for value in val if value is not None], color=RED, label="validation", marker=marker)
    axes.set_ylabel(label)


def draw_gradients(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """RMS of δ and of ∂J/∂w by layer, one line an epoch from light (before training) to dark, logarithmic."""
    figure = new_figure(11, 4.6)
    epochs = sorted({row["epoch"] for row in rows})
    for axes, key, label in zip(
        figure.subplots(1, 2), ("delta_rms", "weight_rms"), ("RMS of δ", "RMS of ∂J/∂w"), strict=True
    ):
        by_layer(axes, rows, key, some_of(epochs))
        axes.set_ylabel(label)
        axes.set_xlabel("layer, first to last")
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(shown(f"Gradients by layer: {title}"))
    save(figure, path)


def by_layer(axes: "Axes", rows: Sequence[Mapping[str, Any]], key: str, epochs: Sequence[int], ticks: int = 16) -> None:
    """`key` of the rows by layer, a line for each of the epochs that they have, logarithmic where it can be."""
    from matplotlib import colormaps

    first = min((row["epoch"] for row in rows), default=0)
    names = [row["layer"] for row in rows if row["epoch"] == first]
    for number, epoch in enumerate(epochs):
        values = [row[key] or float("nan") for row in rows if row["epoch"] == epoch]
        colour = colormaps["cividis_r"](0.15 + 0.85 * number / max(1, len(epochs) - 1))
        when = "before training" if epoch == 0 else f"after epoch {epoch}"
        axes.plot(range(len(values)), values, marker="o", markersize=4, color=colour, label=when)
    if any(row[key] > 0 for row in rows):
        axes.set_yscale("log")
    step = max(1, -(-len(names) // ticks))
    labels = [shortened(name, 24) for name in names[::step]]
    axes.set_xticks(range(0, len(names), step), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    plain_axes(axes)


def some_of(epochs: Sequence[int]) -> list[int]:
    """At most six of the epochs, evenly spread, with the first and the last."""
    last = len(epochs) - 1
    return [epochs[round(index * last / 5)] for index in range(6)] if last > 5 else list(epochs)
