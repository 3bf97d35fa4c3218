"""From signed responses to the grey levels of a picture."""

from typing import Literal

import numpy as np

from cnnlab.imaging.correlation import Correlation, Range
from cnnlab.imaging.kernels import Kernel
from cnnlab.imaging.passes import Scratch
from cnnlab.imaging.tiles import Region

Response = Literal["clip", "abs", "signed", "scale"]
RESPONSES: tuple[Response, ...] = ("clip", "abs", "signed", "scale")


def default_response(kernel: Kernel) -> Response:
    """`abs` for a kernel that sums to 0, whose responses are of both signs; `clip` for all others."""
    return "abs" if kernel.sums_to_zero else "clip"


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
    factor, shift = job.scale, job.kernel.offset
    low = high = 0.0
    if response in ("signed", "scale"):
        low, high = job.run(lambda tile, region, scratch, ends: None, threads)  # the range first: tiles are not kept
        gain, base = _spread(response, low, high, top)
        factor, shift = factor * gain, shift * gain + base
    out = np.empty(job.shape, dtype)

    def keep(tile: np.ndarray, region: Region, scratch: Scratch, ends: Range) -> None:
        values = tile
        if factor != 1 or shift != 0:
            wide = np.dtype(np.float64 if top > 255 or tile.dtype == np.float64 else np.float32)
            if tile.dtype != wide:
                values = scratch.take(tile.shape, wide)
                np.copyto(values, tile)
            np.multiply(values, factor, out=values)
            if shift:
                np.add(values, shift, out=values)
        if response == "abs":
            np.abs(values, out=values)
        reach = [factor * end + shift for end in ends]
        _round_and_cut(values, out[region], [abs(end) for end in reach] + [0] if response == "abs" else reach, scratch)
        if values is not tile:
            scratch.give(values)

    seen = job.run(keep, threads)
    return (out, *(seen if response in ("clip", "abs") else (low, high)))


def _round_and_cut(values: np.ndarray, levels: np.ndarray, reach: list[float], scratch: Scratch) -> None:
    """Write `values`, none of them beyond `reach`, as the nearest levels of `levels`."""
    top = int(np.iinfo(levels.dtype).max)
    if values.dtype.kind == "f":
        np.rint(values, out=values)
    narrow = values
    if values.dtype != levels.dtype and (min(reach) < -0.5 or max(reach) > top + 0.5):
        if values.dtype == np.float32 and max(map(abs, reach)) < 32_000:  # int16 is cut in half the time
            narrow = scratch.take(values.shape, np.dtype(np.int16))
            np.copyto(narrow, values, casting="unsafe")
        np.clip(narrow, 0, top, out=narrow)
    np.copyto(levels, narrow, casting="unsafe")
    if narrow is not values:
        scratch.give(narrow)


def _spread(response: Response, low: float, high: float, top: int) -> tuple[float, float]:
    """Factor and shift that bring the responses from `low` to `high` onto the levels 0 to `top`."""
    if response == "signed":
        largest = max(abs(low), abs(high))
        return ((top - 1) / 2 / largest if largest else 0.0), (top + 1) / 2
    gain = top / (high - low) if high > low else 0.0
    return gain, -low * gain
