"""The sheet of `cnnlab filter`: what each kernel did to a picture, and how, on one 16:9 page made for a slide."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.imaging.applying import Filtered
from cnnlab.imaging.decomposition import Decomposition, decompose
from cnnlab.imaging.kernels import Kernel
from cnnlab.imaging.passes import Scratch
from cnnlab.imaging.pictures import Picture
from cnnlab.imaging.tiles import Region
from cnnlab.report.matrix_panel import MOST_NUMBERS, Block, draw_blocks, fraction
from cnnlab.report.style import BLUE, RED, encoded, new_figure, plain_axes, shortened, shown
from cnnlab.report.window import Window, find_window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 16.0, 9.0
_SHOWN_SIDE = 900
"""Pixels of a picture's longer side that a panel can show."""
_BINS = 80
_PLANES = ("R", "G", "B")
_TICKS = 0.025
"""Height of the numbers below a histogram, as a share of the page."""
_HEAD = 0.04
"""Height that a row's titles need with the room above them, as a share of the page."""

Box = tuple[float, float, float, float]
"""Left, bottom, width, height, as shares of the page."""


def draw_sheet(picture: Picture, filtered: Sequence[Filtered]) -> bytes:
    """The page as PNG, 2304 × 1296 pixels.

    A row a kernel: the original with a window marked, the kernel, that window worked out in numbers, the response,
    its histogram, and the one-dimensional parts with what they save. A single kernel gets both rows of the page.
    """
    figure = new_figure(WIDTH, HEIGHT)
    figure.set_layout_engine("none")
    single = len(filtered) == 1
    for row, result in enumerate(filtered):
        boxes = _large_boxes() if single else _row_boxes(row, len(filtered))
        _draw_row(figure, picture, result, boxes, heads=single or row == 0)
    return encoded(figure, "png")


def _large_boxes() -> list[Box]:
    upper, lower = (0.53, 0.42), (0.06, 0.37)
    return [
        (0.03, upper[0], 0.45, upper[1]),
        (0.03, lower[0], 0.16, lower[1]),
        (0.215, lower[0], 0.30, lower[1]),
        (0.52, upper[0], 0.45, upper[1]),
        (0.565, lower[0] + _TICKS, 0.17, lower[1] - _TICKS),
        (0.77, lower[0], 0.20, lower[1]),
    ]


def _row_boxes(row: int, rows: int) -> list[Box]:
    top, bottom = 0.985, 0.012
    height = (top - bottom) / rows
    floor = top - (row + 1) * height
    inner = height - min(max(_HEAD, height * 0.14), height * 0.4)
    ticks = min(_TICKS, inner / 2)
    columns = ((0.012, 0.175), (0.195, 0.12), (0.325, 0.215), (0.548, 0.175), (0.748, 0.105), (0.865, 0.13))
    boxes = [(left, floor, width, inner) for left, width in columns]
    left, _, width, _ = boxes[4]
    boxes[4] = (left, floor + ticks, width, inner - ticks)
    return boxes


def _draw_row(figure: "Figure", picture: Picture, result: Filtered, boxes: list[Box], *, heads: bool) -> None:
    axes = [figure.add_axes(box) for box in boxes]
    window = find_window(result)
    parts = [decompose(matrix) for matrix in result.job.kernel.matrices]
    _draw_picture(axes[0], picture, window)
    _draw_kernel(axes[1], result)
    _draw_window(axes[2], result, window)
    _draw_picture(axes[3], result.picture, None)
    _draw_histogram(axes[4], result)
    _draw_parts(axes[5], result.job.kernel, parts)
    names = (
        "original",
        shortened(result.kernel.label, 24),
        "one window",
        _response_name(result),
        "responses, log count",
        "parts",
    )
    if not heads:
        names = ("", names[1], "", names[3], "", "")
    size = 13 if boxes[1][3] > 0.18 else 10
    for position, ((left, bottom, width, height), name) in enumerate(zip(boxes, names, strict=True)):
        # The histogram's axes are lower than their row, for the numbers below them.
        top = boxes[5][1] + boxes[5][3] if position == 4 else bottom + height
        figure.text(left + width / 2, top + 0.006, name, ha="center", va="bottom", fontsize=size, parse_math=False)


def _response_name(result: Filtered) -> str:
    height, width, _ = result.picture.pixels.shape
    stride = f", stride {result.stride}" if result.stride > 1 else ""
    return f"{result.response}{stride}, {width}×{height}"


def _draw_picture(axes: "Axes", picture: Picture, window: Window | None) -> None:
    from matplotlib.patches import Rectangle

    height, width, _ = picture.pixels.shape
    axes.imshow(_thumbnail(picture), cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    axes.set_axis_off()
    if window is None:
        return
    side = max(window.size[0], window.size[1], max(height, width) / 30)  # large enough to be seen
    middle = (window.column + window.size[1] / 2 - side / 2, window.row + window.size[0] / 2 - side / 2)
    axes.add_patch(Rectangle(middle, side, side, fill=False, edgecolor=RED, linewidth=2))


def _thumbnail(picture: Picture) -> np.ndarray:
    """(h, w) or (h, w, 3) uint8, transparency laid on white."""
    from PIL import Image

    pixels = picture.pixels if picture.pixels.dtype == np.uint8 else (picture.pixels >> 8).astype(np.uint8)
    if picture.alpha is not None:
        share = picture.alpha[:, :, None] / np.float32(255)
        pixels = (pixels * share + 255 * (1 - share)).astype(np.uint8)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if max(image.size) > _SHOWN_SIDE:
        image.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    return np.asarray(image)


def _draw_kernel(axes: "Axes", result: Filtered) -> None:
    kernel = result.job.kernel
    height, width = kernel.size
    if kernel.kind == "max":
        draw_blocks(axes, [Block(np.ones((height, width)))], f"the largest of {height}×{width}")
        return
    largest = max(float(np.abs(matrix).max()) for matrix in kernel.matrices)
    blocks: list[Block] = []
    for matrix in kernel.matrices:
        blocks += [Block(sign="")] if blocks else []
        blocks.append(Block(matrix, largest=largest))
    notes = []
    if kernel.kind == "planes":
        notes.append("planes " + ", ".join(_PLANES[: len(blocks)]))
    elif kernel.kind == "magnitude":
        notes.append("gx and gy")
    elif kernel.scale != 1:
        notes.append(f"times {fraction(kernel.scale)}; sum {kernel.weights[0].sum():.4g}")
    else:
        notes.append(f"sum {0.0 if kernel.sums_to_zero else kernel.weights[0].sum():.4g}")
    if max(height, width) > MOST_NUMBERS:
        notes.append(f"{height}×{width}")
    if kernel.offset:
        notes.append(f"offset {kernel.offset:g}")
    if result.flip:
        notes.append("turned by 180°")
    draw_blocks(axes, blocks, ", ".join(notes))


def _draw_window(axes: "Axes", result: Filtered, window: Window | None) -> None:
    if window is None:
        draw_blocks(axes, [Block(sign="—")], "no window without transparent pixels")
        return
    kernel = result.job.kernel
    pixels, weights = window.shown(window.pixels), window.shown(kernel.matrices[0])
    blocks = [Block(pixels, "pixels", largest=window.white)]
    if kernel.kind != "max":
        blocks += [Block(sign="×"), Block(weights, largest=float(np.abs(kernel.matrices[0]).max()))]
    blocks.append(Block(sign=window.outcome(result)))
    draw_blocks(axes, blocks, window.explain(result))


def _draw_histogram(axes: "Axes", result: Filtered) -> None:
    low, high = min(result.low, 0.0), max(result.high, 0.0)  # all that is shown, so that every bar is wide enough
    edges = np.linspace(low, high if high > low else 1.0, _BINS + 1)
    counts = np.zeros(_BINS)
    lock = threading.Lock()
    job = result.job

    def count(tile: np.ndarray, region: Region, scratch: Scratch, ends: tuple[float, float]) -> None:
        found = np.histogram(tile.astype(np.float64) * job.scale + job.kernel.offset, edges)[0]
        with lock:
            counts[:] += found

    job.run(count)
    axes.stairs(counts / max(counts.sum(), 1), edges, fill=True, color=BLUE)
    axes.set_yscale("log")
    plain_axes(axes, grid=False)
    axes.axvline(0, color="0.35", linewidth=0.8)
    axes.tick_params(labelsize=9)
    axes.locator_params(axis="x", nbins=4)
    axes.set_yticks([])
    axes.minorticks_off()
    axes.spines["left"].set_visible(False)


def _draw_parts(axes: "Axes", kernel: Kernel, parts: list[Decomposition]) -> None:
    if kernel.kind == "max":
        draw_blocks(axes, [Block(sign="—")], "no sum, so no parts:\na maximum of maxima")
        return
    costliest = max(parts, key=lambda part: part.rank)
    caption = _cost(costliest)
    if len(parts) > 1:
        caption = (
            "each of " if len({part.rank for part in parts}) == 1 else "at most, of "
        ) + f"{len(parts)}: {caption}"
    blocks: list[Block] = []
    for position, pair in enumerate(parts[0].pairs[:2] if parts[0].saves else ()):
        blocks += [Block(sign="+")] if position else []
        blocks += [Block(pair.column[:, None]), Block(sign="·"), Block(pair.row[None])]
    if blocks and len(parts[0].pairs) > 2:
        blocks.append(Block(sign="+ …"))
    draw_blocks(axes, blocks or [Block(sign=shown("—"))], caption)


def _cost(parts: Decomposition) -> str:
    """Rank and multiplications a pixel, on lines for a narrow column."""
    plane, lines = parts.multiplications
    height, width = parts.shape
    passes = f"{height} + {width}" if parts.rank == 1 else f"{parts.rank} × ({height} + {width}) = {lines}"
    if parts.saves:
        return f"rank {parts.rank}: {passes}\nmultiplications instead of {plane}"
    return f"rank {parts.rank}: no saving,\n{passes} against {plane}"
