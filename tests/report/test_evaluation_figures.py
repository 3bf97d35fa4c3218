"""The figures of an evaluation draw what they are given: few classes and many, hostile names, no mistakes at all."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.evaluation.evaluate import Mistake
from cnnlab.evaluation.measures import ClassFigures, calibration
from cnnlab.report import evaluation_figures as figures

NAMES = ["$\\frac{$", "猫和狗", "x" * 300, "\x1b[31m", "‮rtl", "", "b$c$d"]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("count", [2, 7, 20, 21, 120])
def test_confusion_of_any_number_of_classes(tmp_path: Path, count: int) -> None:
    names = [NAMES[index % 7] + str(index) for index in range(count)]
    matrix = np.random.default_rng(0).integers(0, 50, (count, count))
    matrix[0] = 0  # a class without pictures
    figures.draw_confusion(tmp_path / "a.png", matrix, names, "title $x$ 猫")
    assert pixels(tmp_path / "a.png").min() < 50


def test_rows_of_the_confusion_figure_are_true_classes(tmp_path: Path) -> None:
    matrix = np.array([[0, 90], [0, 10]])
    figures.draw_confusion(tmp_path / "a.png", matrix, ["a", "b"], "")
    figures.draw_confusion(tmp_path / "b.png", matrix.T, ["a", "b"], "")
    first, second = pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png")
    height, width = first.shape[:2]
    dark = [image.sum(axis=2) < 300 for image in (first, second)]
    # All pictures are taken for b: the right column is dark. Transposed, only class b has pictures: the lower row is.
    assert dark[0][:, : width // 2 - 40].sum() < dark[0][:, width // 2 - 40 :].sum() / 3
    assert dark[1][: height // 2].sum() < dark[1][height // 2 :].sum()


@pytest.mark.parametrize("count", [2, 60])
def test_classes_with_nothing_to_say(tmp_path: Path, count: int) -> None:
    rows = [ClassFigures(NAMES[n % 7], None, None if n % 2 else 0.5, None if n % 3 else 0.5, n) for n in range(count)]
    figures.draw_classes(tmp_path / "a.png", rows, "title")
    figures.draw_classes(tmp_path / "b.png", list(reversed(rows))[:count], "title")
    assert (tmp_path / "a.png").stat().st_size > 5000


@pytest.mark.parametrize("confidence", [np.linspace(0, 1, 100), np.ones(3), np.zeros(1)])
def test_calibration(tmp_path: Path, confidence: np.ndarray) -> None:
    right = np.arange(len(confidence)) % 3 == 0
    figures.draw_calibration(tmp_path / "a.png", calibration(confidence, right), "title")
    assert (tmp_path / "a.png").stat().st_size > 5000


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (5, 40, 3), (300, 200, 3), (1, 1, 1)])
@pytest.mark.parametrize("count", [0, 1, 4, 30])
def test_mistakes(tmp_path: Path, shape: tuple[int, int, int], count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    mistakes = [Mistake(n, NAMES[n % 7], NAMES[(n + 1) % 7], 0.9) for n in range(count)]
    figures.draw_mistakes(tmp_path / "a.png", images, mistakes, "title")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_mistaken_picture_is_shown_upright_and_in_its_colours(tmp_path: Path) -> None:
    image = np.zeros((1, 10, 10, 3), np.uint8)
    image[0, :5, :, 0] = image[0, 5:, :, 2] = 255
    figures.draw_mistakes(tmp_path / "a.png", image, [Mistake(0, "a", "b", 0.5)], "title")
    drawn = pixels(tmp_path / "a.png")
    red = np.argwhere((drawn[..., 0] > 250) & (drawn[..., 2] < 5)).mean(axis=0)
    blue = np.argwhere((drawn[..., 2] > 250) & (drawn[..., 0] < 5)).mean(axis=0)
    assert red[0] < blue[0]
    assert red[1] == pytest.approx(blue[1], abs=1)


def test_drawing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    found = calibration(np.linspace(0, 1, 50), np.arange(50) > 20)
    for name in "ab":
        figures.draw_calibration(tmp_path / f"{name}.png", found, "title")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_legend_of_a_calibration_lies_on_no_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(figures, "save", lambda figure, path: kept.append(figure))
    unsure = calibration(np.linspace(0, 1, 100), np.ones(100, bool))  # bars up to 100 % from the left to the right
    figures.draw_calibration(tmp_path / "a.png", unsure, "title")
    kept[0].canvas.draw()
    legends = [*kept[0].legends, *(axes.get_legend() for axes in kept[0].axes if axes.get_legend())]
    assert len(legends) == 1
    place = legends[0].get_window_extent()
    assert not any(place.overlaps(axes.get_window_extent()) for axes in kept[0].axes)
    assert place.x0 >= 0
    assert place.x1 <= kept[0].bbox.x1
