"""The sheet: its size, that it is drawn for every kind of kernel, and that its worked window is true."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.imaging.applying import FilterOptions, apply_kernel
from cnnlab.imaging.kernels import KERNELS, Kernel, named_kernel
from cnnlab.imaging.pictures import Picture
from cnnlab.report.matrix_panel import number
from cnnlab.report.window import find_window

PIXELS = np.random.default_rng(4).integers(0, 256, (60, 90, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "kernels", [["sobel-x"], ["sobel", "max-pool", "log:size=9", "blur", "1 2; 3.5 4", "identity"]]
)
def test_a_sheet_is_a_16_9_picture(cli, own_world: Path, kernels: list[str]) -> None:
    Image.fromarray(PIXELS).save("p.png")
    arguments = [word for kernel in kernels for word in ("-k", kernel)]
    ended = cli("filter", "p.png", *arguments, "--sheet")
    assert ended.code == 0
    assert "sheet: p-sheet.png" in ended.out
    with Image.open("p-sheet.png") as sheet:
        assert sheet.size == (2304, 1296)
    first = Path("p-sheet.png").read_bytes()
    assert cli("filter", "p.png", *arguments, "--sheet", "--json").json["sheets"] == ["p-sheet.png"]
    assert Path("p-sheet.png").read_bytes() == first


@pytest.mark.parametrize("name", sorted(KERNELS))
@pytest.mark.parametrize("alpha", [False, True])
def test_the_window_is_what_the_picture_has_there(name: str, alpha: bool) -> None:
    mask = np.where(np.arange(90) < 30, 0, 255).astype(np.uint8) * np.ones((60, 1), np.uint8) if alpha else None
    result = apply_kernel(Picture(PIXELS, mask), named_kernel(name, {}), FilterOptions())
    window = find_window(result)
    assert window is not None
    height, width = window.size
    under = PIXELS[window.row : window.row + height, window.column : window.column + width]
    assert any(np.array_equal(window.pixels, under[:, :, channel]) for channel in range(3))
    value = window.responses[0]
    shown = abs(value) if result.response == "abs" else value
    assert abs(window.level - np.clip(np.rint(shown), 0, 255)) <= 1
    assert result.low - 1e-3 <= value <= result.high + 1e-3
    if alpha:
        assert window.column >= 30


def test_planes_have_a_window_too() -> None:
    kernel = Kernel("k", tuple(np.full((3, 3), weight) for weight in (0.1, -0.2, 0.3)), "planes")
    result = apply_kernel(Picture(PIXELS), kernel, FilterOptions())
    window = find_window(result)
    assert window is not None
    assert window.responses[0] == pytest.approx(sum(window.responses[1:]))
    assert "R (shown) + G + B" in window.explain(result)
    shown = float((window.pixels * kernel.matrices[0]).sum())
    assert (window.outcome(result), window.responses[1]) == (f"= {number(shown)}", pytest.approx(shown))
    assert window.explain(result).splitlines()[1].endswith(f" = {number(window.responses[0])}")


@pytest.mark.parametrize(
    ("value", "text"),
    [(12, "12"), (-1, "−1"), (0.25, ".25"), (-0.211, "−.21"), (1.5, "1.50"), (0.0041, ".004"), (-12.34, "−12.3")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
