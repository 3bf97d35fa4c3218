"""Matrices drawn as squares with their numbers in them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NUMBERS = 7
"""Longest side of a matrix whose numbers are written; larger ones are coloured squares."""

Cells = Literal["weights", "pixels"]


@dataclass(frozen=True, eq=False)
class Block:
    """A matrix, or a sign between matrices."""

    matrix: np.ndarray | None = None
    cells: Cells = "weights"
    sign: str = ""
    largest: float | None = None
    """The magnitude that gets the full colour; the matrix's own largest by default."""

    @property
    def width(self) -> float:
        return 0.62 + 0.28 * len(self.sign) if self.matrix is None else self.matrix.shape[1]

    @property
    def height(self) -> float:
        return 1 if self.matrix is None else self.matrix.shape[0]


def draw_blocks(axes: "Axes", blocks: list[Block], caption: str) -> None:
    """Blocks side by side in the middle of the axes, squares square, with a caption below."""
    from matplotlib.patches import Rectangle

    width = sum(block.width for block in blocks)
    height = max(block.height for block in blocks)
    box = axes.get_position()
    figure = axes.get_figure()
    assert figure is not None
    inches = (box.width * figure.get_figwidth(), box.height * figure.get_figheight())  # type: ignore[union-attr]
    lines = caption.split("\n")
    note = min(12.0, 5.0 + 4 * inches[1], inches[0] * 72 / (0.58 * max(map(len, lines))))  # points
    room = inches[1] - (len(lines) * note * 1.35 + 8) / 72
    cell = min(inches[0] / width, room / height, 0.62)  # inches
    axes.set_axis_off()
    axes.set_xlim(0, inches[0])
    axes.set_ylim(inches[1], 0)
    left = (inches[0] - cell * width) / 2
    for block in blocks:
        top = (room - cell * block.height) / 2
        if block.matrix is None:
            axes.text(
                left + cell * block.width / 2, top + cell / 2, block.sign, ha="center", va="center",
                fontsize=min(18.0, cell * 72 * 0.42), parse_math=False,
            )  # fmt: skip
        else:
            for (i, j), value in np.ndenumerate(block.matrix):
                colour = _colour(float(value), block)
                axes.add_patch(
                    Rectangle(
                        (left + j * cell, top + i * cell), cell, cell, facecolor=colour, edgecolor="0.75", lw=0.5,
                        clip_on=False,  # half of the outer border lies outside the axes that the blocks fill
                    )
                )  # fmt: skip
                if max(block.matrix.shape) <= MOST_NUMBERS:
                    dark = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] < 0.5
                    text = number(float(value))
                    axes.text(
                        left + (j + 0.5) * cell, top + (i + 0.5) * cell, text, ha="center", va="center",
                        fontsize=cell * 72 * min(0.40, 1.25 / max(len(text), 1)),
                        color="white" if dark else "black", parse_math=False,
                    )  # fmt: skip
        left += cell * block.width
    axes.text(inches[0] / 2, inches[1], caption, ha="center", va="bottom", fontsize=note, parse_math=False)


def _colour(value: float, block: Block) -> tuple[float, float, float]:
    """Weights from blue over white to red; pixels as they are."""
    matrix = block.matrix
    assert matrix is not None
    largest = block.largest or float(np.abs(matrix).max()) or 1.0
    share = min(abs(value) / largest, 1.0)
    if block.cells == "pixels":
        return share, share, share
    full = (0.80, 0.25, 0.10) if value > 0 else (0.05, 0.40, 0.72)
    red, green, blue = (1 - share * (1 - part) for part in full)
    return red, green, blue


def number(value: float) -> str:
    """As short as it stays true: `12`, `−.21`, `1.5`, `0.004`."""
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}".replace("-", "−")
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    if abs(value) < 0.1:
        text = f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.0e}"
    return text.replace("-0.", "-.").removeprefix("0" if text.startswith("0.") else "").replace("-", "−")


def fraction(scale: float) -> str:
    """A scale as a person would write it: `1/9`, or decimals."""
    whole = round(1 / scale) if scale else 0
    return f"1/{whole}" if whole > 1 and abs(whole * scale - 1) < 1e-12 else f"{scale:.4g}"
