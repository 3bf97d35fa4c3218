"""From signed responses to the grey levels of a picture."""

from typing import Literal

import numpy as np

from cnnlab.imaging.correlation import Correlation, Range
from cnnlab.imaging.kernels import Kernel
from cnnlab.imaging.passes import Scratch
from cnnlab.imaging.tiles import Region

Response = Literal["clip", "abs", "signed", "scale"]
WHOLE = 1e-12
"""A factor whose inverse is so near to a whole number is divided by that."""
RESPONSES: tuple[Response, ...] = ("clip", "abs", "signed", "scale")


def default_response(kernel: Kernel, white: float = 255.0) -> Response:
    """`abs` for a kernel that sums to 0, `signed` where `clip` could show black alone; `clip` for all others.

    That is so of learnt kernels, whose responses are of either sign, and of those that answer to mid-gray, half of
    `white`, below 0: the mean response to a picture is that to its mean level.
    """
    if kernel.learnt:
        return "signed"
    if kernel.sums_to_zero:
        return "abs"
    total = sum(float(weights.sum()) for weights in kernel.weights)
    return "signed" if total * white / 2 + kernel.offset < 0 else "clip"


def to_levels(
    job: Correlation, response: Response, dtype: np.dtype | type = np.uint8, *, threads: int | None = None
) -> tuple[np.ndarray, float, float]:
    """Work out a correlation as a picture of `dtype`, uint8 or uint16.

    `clip` cuts at 0 and the largest level m, `abs` at m; `signed` is (m + 1) / 2 + (m − 1) / 2 · v / max |v|, so that
    zero is mid-gray (128 + 127 · v / max |v|); `scale` spreads the range of the responses over 0 … m. Rounded to the
    nearest level, halves to even.

    Returns:
        The picture (H', W', C), and the smallest and the largest response.
    """
    top = int(np.iinfo(dtype).max)
    factor, shift, divisor = job.scale, job.kernel.offset, 1.0
    low = high = 0.0
    spread = response in ("signed", "scale")
    if spread:
        low, high = job.run(lambda tile, region, scratch, ends: None, threads)  # the range first: tiles are not kept
        gain, base, divisor = _spread(response, low, high, top, job.rounding)
        factor, shift = factor * gain, shift * gain + base
    elif not shift and factor and abs(1 / factor - round(1 / factor)) < WHOLE / factor:  # the mean over a box, say
        factor, divisor = 1.0, float(round(1 / factor))
    out = np.empty(job.shape, dtype)

    def adjust(values: np.ndarray) -> None:
        if factor != 1:
            np.multiply(values, factor, out=values)
        if shift:
            np.add(values, shift, out=values)
        if divisor != 1:
            np.divide(values, divisor, out=values)
        if response == "abs":
            np.abs(values, out=values)

    def keep(tile: np.ndarray, region: Region, scratch: Scratch, ends: Range) -> None:
        values = tile
        if factor != 1 or shift or divisor != 1:
            wide = np.dtype(np.float64 if spread or top > 255 or tile.dtype == np.float64 else np.float32)
            if tile.dtype != wide:
                values = scratch.take(tile.shape, wide)
                np.copyto(values, tile)
        reach = np.array(ends, values.dtype)
        adjust(values)
        adjust(reach)  # by the same arithmetic, which keeps the order: no value leaves its ends, however it is rounded
        _round_and_cut(values, out[region], reach, scratch)
        if values is not tile:
            scratch.give(values)

    seen = job.run(keep, threads)
    return (out, *(seen if response in ("clip", "abs") else (low, high)))


def _round_and_cut(values: np.ndarray, levels: np.ndarray, reach: np.ndarray, scratch: Scratch) -> None:
    """Write `values`, of which `reach` holds both ends, as the nearest levels of `levels`."""
    top = int(np.iinfo(levels.dtype).max)
    if values.dtype.kind == "f":
        np.rint(values, out=values)
        reach = np.rint(reach)  # 255.5 goes to 256, which uint8 would turn into 0
    narrow = values
    if values.dtype != levels.dtype and (reach.min() < 0 or reach.max() > top):
        if values.dtype == np.float32 and np.abs(reach).max() < 32_000:  # int16 is cut in half the time
            narrow = scratch.take(values.shape, np.dtype(np.int16))
            np.copyto(narrow, values, casting="unsafe")
        np.clip(narrow, 0, top, out=narrow)
    np.copyto(levels, narrow, casting="unsafe")
    if narrow is not values:
        scratch.give(narrow)


def _spread(response: Response, low: float, high: float, top: int, rounding: float) -> tuple[float, float, float]:
    """Factor, shift, then divisor that bring the responses from `low` to `high` onto the levels 0 to `top`.

    Divided last: the quotient of whole numbers is exact at the halves, which a factor of 1 / 7 is not. What rounding
    alone has made of 0 is 0, not a picture of full contrast.
    """
    largest, span = max(abs(low), abs(high)), high - low
    if response == "signed":
        return ((top - 1) / 2, (top + 1) / 2 * largest, largest) if largest > rounding else (0.0, (top + 1) / 2, 1.0)
    return (float(top), -low * top, span) if span > 2 * rounding else (0.0, 0.0, 1.0)
