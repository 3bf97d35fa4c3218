"""One window of a picture under a kernel, worked out in numbers."""

import math
from dataclasses import dataclass

import numpy as np

from cnnlab.imaging.applying import Filtered
from cnnlab.imaging.correlation import Correlation
from cnnlab.imaging.kernels import Kernel
from cnnlab.report.matrix_panel import MOST_NUMBERS, fraction, number

_SHOWN = 5
"""Side of the part that is written out of a kernel too large for the page."""
_CANDIDATES = 400
_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class Window:
    """Pixels (kh, kw) of one channel under the kernel; `row`, `column` of the first in the picture.

    `centre` (row, column) in the window is what the shown part lies around. `responses` are the response and what it
    is made of: gx and gy of a magnitude, a number a channel where channels are summed. `channel`: the name of the one
    of a colour picture that is filtered by itself.
    """

    pixels: np.ndarray
    row: int
    column: int
    size: tuple[int, int]
    centre: tuple[int, int]
    white: float
    responses: tuple[float, ...]
    level: int
    inside: bool
    channel: str = ""

    def shown(self, matrix: np.ndarray) -> np.ndarray:
        """The matrix (kh, kw), or the part around the centre of a large one."""
        if max(matrix.shape) <= MOST_NUMBERS:
            return matrix
        top, left = (
            max(0, min(at - _SHOWN // 2, side - _SHOWN)) for at, side in zip(self.centre, matrix.shape, strict=True)
        )
        return matrix[top : top + _SHOWN, left : left + _SHOWN]

    def outcome(self, result: Filtered) -> str:
        """What stands behind the pixels and the weights that are shown: their product, or where it all leads."""
        kind = result.job.kernel.kind
        if _adds_channels(result.job):
            return "→ " + number(self.responses[0])
        return "= " + number(self.responses[1 if kind in ("planes", "magnitude") else 0])

    def explain(self, result: Filtered) -> str:
        """The sum, and the level that it became."""
        kernel = result.job.kernel
        if _adds_channels(result.job):
            one = "the largest pixel" if kernel.kind == "max" else "√(gx² + gy²)"
            text = f"{one}, summed over R (shown), G, B:\n" + " + ".join(number(part) for part in self.responses[1:])
        elif kernel.kind == "max":
            text = "the largest pixel"
        elif kernel.kind == "magnitude":
            gx, gy = self.responses[1:]
            text = f"gx = {number(gx)} (shown), gy = {number(gy)},\n√(gx² + gy²) = {number(self.responses[0])}"
        elif kernel.kind == "planes":
            parts = " + ".join(f"({number(part)})" for part in self.responses[1:])
            text = f"R (shown) + G + B:\n{parts} = {number(self.responses[0])}"
        else:
            scale = "" if kernel.scale == 1 else f"{fraction(kernel.scale)} · "
            text = f"{scale}Σ pixels · weights" + (f" + {kernel.offset:g}" if kernel.offset else "")
        part = f"{_SHOWN}×{_SHOWN} of {self.size[0]}×{self.size[1]}; " if max(self.size) > MOST_NUMBERS else ""
        middle = "middle " if part and kernel.kind != "max" else ""
        alone = f", {self.channel} channel alone" if self.channel else ""
        return f"{middle}{part}{text}\nshown as {self.level} ({result.response}){alone}"


def find_window(result: Filtered) -> Window | None:
    """A window that shows something, inside the picture and without transparency; None where none is opaque.

    For kernels that sum to 0 one with a strong response, for others one with much contrast.
    """
    places = _places(result)
    windows = [window for place in places if (window := _window_at(result, *place)) is not None]
    if not windows:
        return None
    inside = [window for window in windows if window.inside] or windows
    if result.kernel.sums_to_zero or result.kernel.kind == "magnitude":
        return inside[0]
    inside.sort(key=lambda window: float(window.pixels.std()))
    return inside[len(inside) * 9 // 10]


def _places(result: Filtered) -> list[tuple[int, int, int]]:
    """Rows, columns and channels of the output: those with nearly the strongest responses first."""
    levels = result.picture.pixels
    middle = int(np.iinfo(levels.dtype).max) // 2 if result.response == "signed" else 0
    step = max(1, int(np.sqrt(levels.size / 200_000)))  # a sample is enough
    strength = np.abs(levels[::step, ::step].astype(np.int32) - middle)
    order = np.argsort(np.abs(strength - np.percentile(strength, 97)), axis=None, kind="stable")
    if not result.kernel.sums_to_zero and result.kernel.kind != "magnitude":
        order = np.arange(strength.size)[:: max(1, strength.size // _CANDIDATES)]
    places = (np.unravel_index(flat, strength.shape) for flat in order[:_CANDIDATES])
    return [(int(i) * step, int(j) * step, int(channel)) for i, j, channel in places]


def _window_at(result: Filtered, i: int, j: int, channel: int) -> Window | None:
    """The window of output (i, j), or None where a transparent pixel is in it."""
    job = result.job
    rows, columns = (
        grid.indices[at * grid.stride : at * grid.stride + grid.size]
        for grid, at in zip(job.grids, (i, j), strict=True)
    )
    if job.alpha is not None and (job.alpha[np.maximum(rows, 0)[:, None], np.maximum(columns, 0)] < 255).any():
        return None
    return _window(result, (rows, columns), channel, int(result.picture.pixels[i, j, channel]))


def _window(result: Filtered, under: tuple[np.ndarray, np.ndarray], channel: int, level: int) -> Window:
    job, kernel = result.job, result.job.kernel
    rows, columns = under
    pixels = job.pixels[np.maximum(rows, 0)[:, None], np.maximum(columns, 0)].astype(np.float64)  # (kh, kw, C)
    pixels[rows < 0] = 0
    pixels[:, columns < 0] = 0
    centre = kernel.size[0] // 2, kernel.size[1] // 2
    name = _COLOURS[channel] if pixels.shape[2] == len(_COLOURS) else ""
    if kernel.kind == "max":
        row, column = np.unravel_index(pixels[:, :, channel].argmax(), kernel.size)
        centre = int(row), int(column)
    if _adds_channels(job):
        parts = [_responses(kernel, pixels[:, :, c])[0] for c in range(pixels.shape[2])]
        responses, name = [sum(parts), *parts], ""
    elif kernel.kind == "planes":
        parts = [float((pixels[:, :, c] * weights).sum()) for c, weights in enumerate(kernel.weights)]
        responses, channel, name = [sum(parts), *parts], 0, ""
    else:
        responses = _responses(kernel, pixels[:, :, channel])
    white = job.max_value or float(np.iinfo(job.pixels.dtype).max)
    top, left = int(max(rows[0], 0)), int(max(columns[0], 0))
    inside = all(bool(part[0] >= 0 and (np.diff(part) == 1).all()) for part in under)
    return Window(pixels[:, :, channel], top, left, kernel.size, centre, white, tuple(responses), level, inside, name)


def _responses(kernel: Kernel, pixels: np.ndarray) -> list[float]:
    """The response to one channel (kh, kw); of a magnitude gx and gy as well."""
    if kernel.kind == "max":
        return [float(pixels.max())]
    parts = [float((pixels * weights).sum()) for weights in kernel.weights]
    return [math.hypot(*parts), *parts] if kernel.kind == "magnitude" else [parts[0] + kernel.offset]


def _adds_channels(job: Correlation) -> bool:
    """Whether the response is a sum over several channels."""
    return job.summed and job.pixels.shape[2] > 1
