"""A picture in tiles: where each output pixel's window lies in the padded picture, and which thread works it out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from cnnlab.errors import UsageError
from cnnlab.machine import usable_cores

Pad = Literal["reflect", "zero", "edge", "wrap", "none"]
PADS: tuple[Pad, ...] = ("reflect", "zero", "edge", "wrap", "none")

TILE_BYTES = 2_097_152
"""Size of a tile. Smaller ones would fit a core's own cache, but then two threads wait for each other's Python."""
_INLINE_NUMBERS = 2_000_000
"""Below so many numbers starting threads takes longer than they save."""

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Grid:
    """Output pixels and their windows along one axis.

    `indices` gives the picture's index for each position of the padded picture, −1 for a padded zero; `before` of
    them are padding, then come the `source` pixels themselves. Output i of `length` covers the positions
    i · stride … i · stride + size − 1.
    """

    indices: np.ndarray
    before: int
    source: int
    size: int
    stride: int

    @property
    def length(self) -> int:
        return (len(self.indices) - self.size) // self.stride + 1

    @property
    def anchors(self) -> np.ndarray:
        """The picture's index of the pixel that each output stands for, (length,)."""
        return self.indices[self.size // 2 :: self.stride][: self.length]

    def window(self, part: slice) -> tuple[np.ndarray, slice]:
        """The indices under the outputs of `part`, and where among them the picture itself is, without padding."""
        first = part.start * self.stride
        indices = self.indices[first : (part.stop - 1) * self.stride + self.size]
        start = min(max(self.before - first, 0), len(indices))
        return indices, slice(start, max(start, min(self.before + self.source - first, len(indices))))


def make_grid(length: int, size: int, stride: int, pad: Pad, axis: str) -> Grid:
    """The grid along an axis of `length` pixels for a kernel of `size`.

    Stride 1 keeps the length: size // 2 positions are padded before, (size − 1) // 2 after, as NumPy's `pad` does it
    (zero: constant 0). With "none" the windows stay inside.

    Raises:
        UsageError: a kernel larger than the picture with "none", or a stride below 1.
    """
    if stride < 1:
        raise UsageError(f"the stride must be 1 or more, received {stride}")
    before, after = (0, 0) if pad == "none" else (size // 2, (size - 1) // 2)
    if pad == "none" and size > length:
        raise UsageError(
            f"the kernel is larger than the picture: {axis} {size} against {length}, and nothing is padded",
            hint="Use --pad reflect, or a smaller kernel",
        )
    indices = np.arange(length)
    if before or after:
        if pad == "zero":
            indices = np.pad(indices, (before, after), constant_values=-1)
        else:
            indices = np.pad(indices, (before, after), mode=pad)  # type: ignore[arg-type]  # never "none" here
    return Grid(indices, before, length, size, stride)


Region = tuple[slice, slice]
"""Output rows and output columns of one tile."""


def regions(rows: Grid, columns: Grid, pixel_bytes: int) -> list[Region]:
    """The output cut into tiles of about `TILE_BYTES`, no lower than the kernel, so that little is read twice."""
    stride = rows.stride
    height = max(8, 2 * rows.size) // stride + 1
    width = max(TILE_BYTES // ((height * stride + rows.size) * pixel_bytes * stride), (64 + columns.size) // stride, 1)
    width = -(-columns.length // max(1, round(columns.length / width)))
    height = max(height, TILE_BYTES // (width * pixel_bytes * stride * stride))
    return [
        (slice(top, min(top + height, rows.length)), slice(left, min(left + width, columns.length)))
        for top in range(0, rows.length, height)
        for left in range(0, columns.length, width)
    ]


def fill(tile: np.ndarray, source: np.ndarray, grids: tuple[Grid, Grid], region: Region) -> None:
    """Copy into `tile` (h, w, C), in its dtype, the padded part of `source` (H, W, C) under a region's windows."""
    (rows, inner_rows), (columns, inner_columns) = (grid.window(part) for grid, part in zip(grids, region, strict=True))
    outer_rows, outer_columns = _outside(inner_rows, len(rows)), _outside(inner_columns, len(columns))
    if inner_rows.stop > inner_rows.start:
        band = source[rows[inner_rows.start] : rows[inner_rows.stop - 1] + 1]  # (inner rows, W, C)
        if inner_columns.stop > inner_columns.start:
            inner = band[:, columns[inner_columns.start] : columns[inner_columns.stop - 1] + 1]
            np.copyto(tile[inner_rows, inner_columns], inner, casting="unsafe")
        for edge in outer_columns:
            tile[inner_rows, edge] = band[:, columns[edge]] if columns[edge.start] >= 0 else 0
    for edge in outer_rows:
        tile[edge] = source[rows[edge][:, None], columns] if rows[edge.start] >= 0 else 0
        for side in outer_columns:
            if columns[side.start] < 0:
                tile[edge, side] = 0


def _outside(inner: slice, length: int) -> list[slice]:
    """The parts before and after `inner` that are not empty."""
    return [part for part in (slice(0, inner.start), slice(inner.stop, length)) if part.stop > part.start]


def each_thread(
    tasks: list[Any], numbers: int, threads: int | None, work: Callable[[Iterator[Any]], Result]
) -> list[Result]:
    """Run `work` on every thread with one shared iterator of tasks; small jobs (`numbers`) run on this thread."""
    count = min(threads or usable_cores(), len(tasks))
    shared = iter(tasks)  # a list's iterator gives each item to one thread only
    if count <= 1 or numbers < _INLINE_NUMBERS:
        return [work(shared)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(work, shared) for _ in range(count)]
        try:
            return [future.result() for future in running]
        except BaseException:
            for _ in shared:  # leave the others nothing to begin with
                pass
            raise
