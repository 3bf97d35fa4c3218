"""The figures of a comparison: every number of nets, hostile names, broken losses; what is on them and what is not."""

import itertools
from typing import Any

import numpy as np
import pytest

from cnnlab.report import comparison_figures as figures
from cnnlab.report.bands import spread
from cnnlab.report.comparison_figures import Curves, View
from cnnlab.report.style import COLOURS, MARKERS, encoded

HOSTILE = ("$\\frac{$", "猫和狗", "x" * 300, "\x1b[31mred", "<script>alert(1)</script>", "", "a$b$c", "net", "ninth")


def run(epochs: int = 6, scale: float = 1.0, seed: int = 0, **changes: Any) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(1, epochs + 1):
        loss = scale * (2 / epoch + 0.1 * seed)
        row = {"epoch": epoch, "train_loss": loss, "val_loss": 2 * loss, "train_acc": 0.5, "val_acc": 0.25}
        rows.append({**row, "seconds": 2.0, **changes})
    return rows


def curves(name: str = "net", *runs: list[dict[str, Any]]) -> Curves:
    chosen = runs or (run(),)
    return Curves(name, chosen, tuple(len(rows) for rows in chosen))


def texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize(("count", "narrow"), [(1, False), (2, True), (9, False), (9, True)])
def test_any_number_of_nets_with_any_name(count: int, narrow: bool) -> None:
    nets = [curves(name, run(seed=0), run(seed=1)) for name in HOSTILE[:count]]
    figure = figures.loss_figure(nets, View("data $x$", narrow=narrow))
    assert encoded(figure, "png" if narrow else "svg")
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines if line.get_marker() != "*"}
    assert len(looks) == count


def test_loss_alone_is_on_the_loss_figure_training_dashed_validation_solid() -> None:
    figure = figures.loss_figure([curves("a"), curves("b", run(scale=0.5))], View("digits"))
    assert len(figure.axes) == 1
    lines = [line for line in figure.axes[0].lines if line.get_marker() != "*"]
    assert [line.get_linestyle() for line in lines] == ["--", "-"] * 2
    np.testing.assert_allclose(lines[2].get_ydata(), [0.5 * 2 / epoch for epoch in range(1, 7)])
    np.testing.assert_allclose(lines[3].get_ydata(), [2 / epoch for epoch in range(1, 7)])


def test_the_star_lies_on_the_validation_curve_at_the_best_epoch() -> None:
    one = Curves("a", (run(),), (3,))
    (star,) = [line for line in figures.loss_figure([one], View("")).axes[0].lines if line.get_marker() == "*"]
    assert (star.get_xdata().item(), star.get_ydata().item()) == (3, pytest.approx(4 / 3))
    without = Curves("a", (run(val_loss=None, val_acc=None),), (3,))
    (star,) = [line for line in figures.loss_figure([without], View("")).axes[0].lines if line.get_marker() == "*"]
    assert star.get_ydata().item() == pytest.approx(2 / 3)  # on the training curve where there is no other


def test_seconds_add_up_along_the_axis() -> None:
    figure = figures.accuracy_figure([curves("a", run(seconds=2.0), run(seconds=4.0))], View("", x="seconds"))
    np.testing.assert_allclose(figure.axes[0].lines[1].get_xdata(), [3, 6, 9, 12, 15, 18])
    assert "seconds of training (wall clock)" in texts(figure)
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), 25)


@pytest.mark.parametrize(
    ("band", "words"), [("min-max", "min to max"), ("sd", "mean ± SD"), ("ci", "95 % CI of the mean")]
)
def test_the_band_is_named_on_the_picture(band: Any, words: str) -> None:
    several = curves("a", run(seed=0), run(seed=1), run(seed=2))
    assert f"mean of 3 seeds, band: {words}" in texts(figures.loss_figure([several], View("", band=band)))
    assert not any("band" in text for text in texts(figures.loss_figure([curves()], View("", band=band))))


def test_bands_of_a_known_sample() -> None:
    values = np.array([[1.0], [2.0], [6.0]])  # mean 3, SD √7
    assert spread(values[:1], "sd").low is None
    low, high = np.array([spread(values, "min-max").low, spread(values, "min-max").high])
    assert (low.item(), high.item()) == (1, 6)
    np.testing.assert_allclose(spread(values, "sd").high, 3 + 7**0.5)
    np.testing.assert_allclose(spread(values, "ci").low, 3 - 4.302653 * (7 / 3) ** 0.5, rtol=1e-6)  # t table, 2 df


def test_a_loss_that_breaks_is_said_and_drawn_without_a_warning() -> None:
    broken = run()
    for row in broken[3:]:
        row["train_loss"] = float("nan")
        row["val_loss"] = float("inf")
    figure = figures.loss_figure([curves("diverged", broken), curves("huge", run(scale=1e300))], View(""))
    assert encoded(figure, "png")
    assert "diverged (loss not finite from epoch 4)" in texts(figure)
    assert "huge (loss not finite from epoch 1)" in texts(figure)


def test_a_single_epoch_and_losses_far_apart() -> None:
    figure = figures.loss_figure([curves("a", run(1, 1e-6), run(1, 2e-6)), curves("b", run(1, 1e6))], View(""))
    assert encoded(figure, "png")
    assert figure.axes[0].get_yscale() == "log"
    assert "loss (logarithmic)" in texts(figure)
    assert figure.axes[0].get_xticks().tolist() == [1]
    assert figures.loss_figure([curves()], View("")).axes[0].get_yscale() == "linear"


def test_runs_of_different_length_are_drawn_as_far_as_all_seeds_have_come() -> None:
    figure = figures.loss_figure([curves("a", run(6), run(4))], View(""))
    assert len(figure.axes[0].lines[0].get_xdata()) == 4


def test_stand_in_data_are_declared_in_every_title() -> None:
    view = View("digits, standing in for cifar10", narrow=True)
    rows = [{"epoch": 0, "layer": "conv1", "delta_rms": 0.1}]
    for figure in (
        figures.loss_figure([curves()], view),
        figures.accuracy_figure([curves()], view),
        figures.gradients_figure([("a", rows)], view),
    ):
        assert figure.get_suptitle().endswith(": digits, standing in for cifar10")


@pytest.mark.parametrize("count", [1, 3, 4, 8])
def test_gradients_side_by_side_on_one_axis(count: int) -> None:
    nets = [
        (
            HOSTILE[number],
            [
                {"epoch": epoch, "layer": f"layer{layer}", "delta_rms": 10.0 ** -(layer + number) if number else 0.0}
                for epoch in range(9) for layer in range(2 + number)
            ],
        )
        for number in range(count)
    ]  # fmt: skip
    figure = figures.gradients_figure(nets, View("digits", narrow=count == 8))
    if count < 4:
        assert encoded(figure, "png")
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == count
    assert len({axes.get_ylim() for axes in panels}) == 1
    assert all(axes.get_yscale() == "log" for axes in panels) == (count > 1)
    assert len(panels[-1].lines) == 6
    np.testing.assert_allclose(panels[-1].lines[0].get_ydata()[-1], 10.0 ** -(2 * count - 1) if count > 1 else np.nan)


# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0: linear RGB as each kind of colour-blind eye sees it.
SEEN_BY = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ np.clip(linear, 0, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", SEEN_BY)
def test_colours_differ_for_every_eye(eye: str) -> None:
    def seen(colour: str) -> np.ndarray:
        value = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        return lab(np.array(SEEN_BY[eye]) @ np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))

    distances = {
        pair: float(np.linalg.norm(seen(pair[0]) - seen(pair[1]))) for pair in itertools.combinations(COLOURS, 2)
    }
    assert min(distances.values()) > 10, min(distances, key=distances.__getitem__)


def test_a_colour_that_comes_again_comes_with_another_marker() -> None:
    assert len(COLOURS) >= 8
    assert np.gcd(len(COLOURS), len(MARKERS)) == 1
