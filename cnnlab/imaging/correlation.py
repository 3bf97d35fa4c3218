"""Correlation of a picture with a kernel, z = Σ Σ a · w, as CNNs mean convolution: nothing is turned round.

A response is worked out tile by tile, on all cores, and handed on tile by tile: what becomes of it (8-bit levels,
a histogram, an array) is the caller's affair, and a whole picture of floats is never held.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cnnlab.imaging.kernels import Kernel
from cnnlab.imaging.passes import Scratch, column_cutter, cut_rows, run_line, run_plan
from cnnlab.imaging.plan import Box, Plan, make_plan
from cnnlab.imaging.tiles import Grid, Pad, Region, each_thread, fill, make_grid, regions

Range = tuple[float, float]
TileSink = Callable[[np.ndarray, Region, Scratch, Range], None]
"""Receives a tile of the response before scale and offset, (rows, columns, channels), where it belongs, its range."""


@dataclass(frozen=True, eq=False)
class Correlation:
    """A kernel on a picture, ready to be worked out.

    `pixels` (H, W, C) uint8, uint16 or float64, none above `max_value` where that is given. `alpha` (H, W) uint8 or
    None: a pixel of opacity α gives way, by 1 − α, to the pixel at the anchor, so that a colour hidden under
    transparency reaches no other pixel, and the outline of a shape is no edge: Σ w · α · a + a₀ · Σ w · (1 − α).
    `precise` works out weights that are not whole in float64. `summed` adds up the channels' responses.
    """

    pixels: np.ndarray
    kernel: Kernel
    pad: Pad = "reflect"
    stride: int = 1
    alpha: np.ndarray | None = None
    precise: bool = True
    max_value: float | None = None
    summed: bool = False

    @cached_property
    def grids(self) -> tuple[Grid, Grid]:
        """Rows and columns.

        Raises:
            UsageError: no window fits the picture.
        """
        height, width = self.kernel.size
        rows = make_grid(self.pixels.shape[0], height, self.stride, self.pad, "height")
        return rows, make_grid(self.pixels.shape[1], width, self.stride, self.pad, "width")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the response."""
        rows, columns = self.grids
        single = self.summed or self.kernel.kind == "planes"
        return rows.length, columns.length, 1 if single else self.pixels.shape[2]

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """How each matrix is computed; empty for max-pooling, which has no sums."""
        if self.kernel.kind == "max":
            return ()
        largest = self.max_value
        if self.pixels.dtype.kind == "f" or self.alpha is not None:
            largest = np.inf  # no whole numbers: in float64
        elif largest is None:
            largest = float(np.iinfo(self.pixels.dtype).max)
        scale = self.kernel.scale
        return tuple(make_plan(matrix, scale, largest, precise=self.precise) for matrix in self.kernel.matrices)

    @property
    def scale(self) -> float:
        """What the tiles are still to be multiplied by."""
        return self.plans[0].scale if self.kernel.kind == "linear" else 1.0

    @property
    def rounding(self) -> float:
        """What rounding alone may make of a response of 0; 0 where whole numbers are added up exactly."""
        rounded = [(p, m) for p, m in zip(self.plans, self.kernel.matrices, strict=True) if not p.exact]
        white = float(np.abs(self.pixels).max(initial=0)) if rounded else 0.0
        return sum(
            float(np.finfo(plan.dtype).eps) * (matrix.size + 8) * float(np.abs(matrix).sum()) * white
            for plan, matrix in rounded
        ) * abs(self.kernel.scale)

    def run(self, sink: TileSink, threads: int | None = None) -> tuple[float, float]:
        """Hand every tile to `sink`, from several threads; return the smallest and the largest response."""
        rows, columns = self.grids
        channels = self.pixels.shape[2]

        def work(shared: Iterator[Region]) -> tuple[float, float]:
            scratch, low, high = Scratch(), np.inf, -np.inf
            for region in shared:
                response = self._respond(region, scratch)
                if self.summed:
                    response = _sum_of_channels(response, scratch)
                least, most = float(response.min()), float(response.max())
                low, high = min(low, least), max(high, most)
                sink(response, region, scratch, (least, most))
                scratch.give(response)
            return low, high

        itemsize = max((plan.dtype.itemsize for plan in self.plans), default=self.pixels.itemsize)
        tasks = regions(rows, columns, itemsize * channels)
        ranges = each_thread(tasks, rows.length * columns.length * channels, threads, work)
        low, high = (pick(end[i] for end in ranges) for i, pick in enumerate((min, max)))
        ends = sorted(end * self.scale + self.kernel.offset for end in (low, high))
        return ends[0], ends[1]

    def _respond(self, region: Region, scratch: Scratch) -> np.ndarray:
        """The response of a region before scale and offset, (rows, columns, C)."""
        if self.kernel.kind == "max":
            return self._largest(region, scratch)
        if self.kernel.kind == "linear":
            return self._correlate(self.plans[0], self.pixels, region, scratch)
        dtype = np.dtype(np.float64 if self.precise else np.float32)
        total: np.ndarray | None = None
        for channel, plan in enumerate(self.plans):
            one = self.kernel.kind == "planes"
            pixels = self.pixels[:, :, channel : channel + 1] if one else self.pixels
            part = self._correlate(plan, pixels, region, scratch)
            response = scratch.take(part.shape, dtype)
            np.copyto(response, part, casting="same_kind")
            scratch.give(part)
            if plan.scale != 1:
                np.multiply(response, plan.scale, out=response)
            if not one:
                np.square(response, out=response)
            if total is None:
                total = response
            else:
                np.add(total, response, out=total)
                scratch.give(response)
        assert total is not None
        return total if self.kernel.kind == "planes" else np.sqrt(total, out=total)

    def _correlate(self, plan: Plan, pixels: np.ndarray, region: Region, scratch: Scratch) -> np.ndarray:
        """Σ terms of one plan, (rows, columns, C)."""
        tile = self._tile(pixels, region, plan.tile_dtype or plan.dtype, scratch)  # (h, w, C)
        if self.alpha is None:
            response = self._run(plan, tile, scratch)
            scratch.give(tile)
            return response
        hidden = self._tile(255 - self.alpha[:, :, None], region, plan.dtype, scratch)  # (h, w, 1)
        hidden /= 255
        (top, left), step = (size // 2 for size in self.kernel.size), self.stride
        anchors = tile[top::step, left::step].copy()
        tile *= 1 - hidden
        response, given_way = self._run(plan, tile, scratch), self._run(plan, hidden, scratch)
        response += anchors[: response.shape[0], : response.shape[1]] * given_way
        for spent in (tile, hidden, given_way):
            scratch.give(spent)
        return response

    def _run(self, plan: Plan, tile: np.ndarray, scratch: Scratch) -> np.ndarray:
        height, width, channels = tile.shape
        flat = run_plan(plan, tile.reshape(height, width * channels), channels, self.stride, scratch)
        return self._every_column(flat, channels, scratch)

    def _tile(self, pixels: np.ndarray, region: Region, dtype: np.dtype, scratch: Scratch) -> np.ndarray:
        height, width = (
            (part.stop - part.start - 1) * self.stride + size
            for part, size in zip(region, self.kernel.size, strict=True)
        )
        tile = scratch.take((height, width, pixels.shape[2]), dtype)
        fill(tile, pixels, self.grids, region)
        return tile

    def _every_column(self, flat: np.ndarray, channels: int, scratch: Scratch) -> np.ndarray:
        """The columns 0, stride, 2 · stride, … of all that were computed: (rows, columns, C)."""
        response = flat.reshape(flat.shape[0], -1, channels)
        if self.stride == 1:
            return response
        kept = response[:, :: self.stride]
        out = scratch.take(kept.shape, kept.dtype)
        np.copyto(out, kept)
        scratch.give(flat)
        return out

    def _largest(self, region: Region, scratch: Scratch) -> np.ndarray:
        """The largest visible pixel of each window."""
        tile = self._tile(self.pixels, region, self.pixels.dtype, scratch)
        if self.alpha is not None:
            shown = self._tile(self.alpha[:, :, None], region, np.dtype(np.uint8), scratch)
            tile *= shown > 0
            scratch.give(shown)
        height, width, channels = tile.shape
        array = tile.reshape(height, width * channels)
        down = run_line(Box(self.kernel.size[0]), array, cut_rows, height, scratch, np.maximum)
        along = run_line(
            Box(self.kernel.size[1]), down[:: self.stride], column_cutter(channels), width, scratch, np.maximum
        )
        for spent in (tile, down):
            scratch.give(spent)
        return self._every_column(along, channels, scratch)


def _sum_of_channels(response: np.ndarray, scratch: Scratch) -> np.ndarray:
    """(rows, columns, C) to (rows, columns, 1), whose levels are past what uint8 holds."""
    total = scratch.take((*response.shape[:2], 1), np.result_type(response, np.float32))
    np.sum(response, axis=2, keepdims=True, dtype=total.dtype, out=total)
    scratch.give(response)
    return total
