"""The sheet of `cnnlab filter`: nothing on it touches, is cut off or missing, and its worked window is true."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.imaging.applying import Filtered, FilterOptions, apply_kernel
from cnnlab.imaging.kernels import Kernel
from cnnlab.imaging.parsing import parse_kernel
from cnnlab.imaging.pictures import Picture
from cnnlab.report import sheet
from cnnlab.report.matrix_panel import Block, draw_blocks, number
from cnnlab.report.style import BLUE, new_figure
from cnnlab.report.window import find_window

PIXELS = np.random.default_rng(4).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def filtered(pixels: np.ndarray, kernel: str, **options: str) -> Filtered:
    return apply_kernel(Picture(pixels), parse_kernel(kernel), FilterOptions(**options))  # type: ignore[arg-type]


def drawn(figure) -> np.ndarray:
    """(height, width, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3].astype(int)


@pytest.mark.parametrize("cells", [5, 13])
def test_a_row_as_wide_as_its_axes_has_all_its_borders(cells: int) -> None:
    figure = new_figure(16, 9)
    figure.set_layout_engine("none")
    draw_blocks(figure.add_axes((0.865, 0.2, 0.13, 0.16)), [Block(np.zeros((1, cells)))], " ")
    inked = (drawn(figure) < 255).any(axis=2).sum(axis=0)  # in each column
    left, *_, right = inked[inked > 0]
    assert left == right > 20


@pytest.mark.parametrize("shape", [(100, 100, 1), (1, 1, 1)])
@pytest.mark.parametrize(("kernel", "level"), [("blur", 94), ("edge", 94), ("blur", 0), ("-1", 94)])
def test_a_constant_response_has_a_bar_in_its_histogram(
    shape: tuple[int, int, int], kernel: str, level: int, tmp_path: Path
) -> None:
    pixels = np.full(shape, level, np.uint8)
    (tmp_path / "sheet.png").write_bytes(sheet.draw_sheet(Picture(pixels), [filtered(pixels, kernel)]))
    with Image.open(tmp_path / "sheet.png") as page:
        found = np.asarray(page.convert("RGB"))
    blue = [int(BLUE[at : at + 2], 16) for at in (1, 3, 5)]
    assert (found == blue).all(axis=2).sum() > 200


@pytest.mark.parametrize("count", [4, 5, 6])
def test_a_caption_keeps_away_from_the_title_below(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(sheet, "encoded", lambda figure, kind: kept.append(figure) or b"")
    sheet.draw_sheet(Picture(PIXELS), [filtered(PIXELS, "gaussian:size=9")] * count)
    drawn(kept[0])
    titles = [text.get_window_extent() for text in kept[0].texts if text.get_text()]
    captions = [axes.texts[-1].get_window_extent() for axes in kept[0].axes if axes.texts]
    assert len(captions) == 3 * count
    gaps = [
        caption.y0 - title.y1
        for caption in captions for title in titles
        if caption.x0 < title.x1 and title.x0 < caption.x1 and title.y0 < caption.y0
    ]  # fmt: skip
    assert min(gaps) >= 8  # pixels of 1296


def captions(pixels: np.ndarray, result: Filtered, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written below the blocks of a sheet with one kernel."""
    kept = []
    monkeypatch.setattr(sheet, "encoded", lambda figure, kind: kept.append(figure) or b"")
    sheet.draw_sheet(Picture(pixels), [result])
    return [axes.texts[-1].get_text() for axes in kept[0].axes if axes.texts]


@pytest.mark.parametrize("kernel", ["sobel-x", "blur", "max-pool", "sobel"])
def test_the_window_of_a_colour_picture_says_its_channel(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = filtered(PIXELS, kernel)
    window = find_window(result)
    assert window is not None
    height, width = window.size
    plane = ("red", "green", "blue").index(window.channel)
    under = PIXELS[window.row : window.row + height, window.column : window.column + width, plane]
    assert np.array_equal(window.pixels, under)
    assert captions(PIXELS, result, monkeypatch)[1].endswith(f", {window.channel} channel alone")


def test_a_window_of_gray_or_of_all_channels_names_no_channel_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for pixels, kernel, channels in (
        (PIXELS[:, :, :1], "sobel-x", "each"), (PIXELS, "sobel-x", "gray"), (PIXELS, "sobel", "sum"),
    ):  # fmt: skip
        assert "alone" not in "".join(captions(pixels, filtered(pixels, kernel, channels=channels), monkeypatch))
    planes = Kernel("learnt", (np.eye(3),) * 3, "planes", learnt=True)
    result = apply_kernel(Picture(PIXELS), planes, FilterOptions())
    assert "alone" not in "".join(captions(PIXELS, result, monkeypatch))


@pytest.mark.slow
def test_forty_kernels_find_room() -> None:
    assert sheet.draw_sheet(Picture(PIXELS), [filtered(PIXELS, "identity")] * 40)


@pytest.mark.parametrize("size", [8, 21])
def test_the_shown_part_of_a_large_pool_holds_its_largest_pixel(size: int) -> None:
    window = find_window(filtered(PIXELS, f"max-pool:size={size}"))
    assert window is not None
    assert window.shown(window.pixels).shape == (5, 5)
    assert window.shown(window.pixels).max() == window.responses[0]


def test_the_shown_part_of_any_other_large_kernel_is_its_middle() -> None:
    window = find_window(filtered(PIXELS, "gaussian:size=11"))
    assert window is not None
    np.testing.assert_array_equal(window.shown(window.pixels), window.pixels[3:8, 3:8])


@pytest.mark.parametrize("kernel", ["max-pool", "max-pool:size=8", "sobel", "prewitt", "scharr"])
def test_the_window_of_summed_channels_is_their_sum(kernel: str) -> None:
    result = filtered(PIXELS // 16, kernel, channels="sum")  # dark: no level is cut off
    window = find_window(result)
    assert window is not None
    assert len(window.responses) == 4
    assert window.responses[0] == pytest.approx(sum(window.responses[1:]))
    assert window.level == pytest.approx(min(window.responses[0], 255), abs=0.5)
    assert "summed over R (shown), G, B" in window.explain(result)
    assert window.outcome(result).startswith("→ ")


def test_a_gray_picture_has_no_channels_to_sum() -> None:
    result = filtered(PIXELS[:, :, :1], "sobel", channels="sum")
    window = find_window(result)
    assert window is not None
    assert "gx = " in window.explain(result)
    assert window.outcome(result) == f"= {number(window.responses[1])}"
    assert f"√(gx² + gy²) = {number(window.responses[0])}" in window.explain(result)
