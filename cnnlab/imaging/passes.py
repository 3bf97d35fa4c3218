"""The passes of a plan over one tile: a few NumPy calls on arrays that stay in the cache.

A tile is (rows, columns · channels): with the channels interleaved, a step of one pixel along a row is a step of
`channels` numbers, and nothing needs to be taken apart. NumPy lets other threads run during such calls.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from cnnlab.imaging.plan import Box, Plan, Taps, Term

Cut = Callable[[np.ndarray, int, int], np.ndarray]


_LEAST_SLIDE = 16
"""Height from which a sliding window is worth its call a row."""
_SLIDE_ROWS = 64
"""Rows whose sums are doubled at a time, so that they stay in the cache."""


class Scratch:
    """Buffers of one thread, used again instead of asked from the system for each pass."""

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._free_ids: set[int] = set()

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array with undefined content; the buffer given back last is still in the cache, and goes first."""
        size = math.prod(shape) * dtype.itemsize
        for position in range(len(self._free) - 1, -1, -1):
            if self._free[position].nbytes >= size:
                buffer = self._free.pop(position)
                self._free_ids.remove(id(buffer))
                break
        else:
            buffer = np.empty(size, np.uint8)
        return buffer[:size].view(dtype).reshape(shape)

    def give(self, array: np.ndarray) -> None:
        """Take back an array from `take`, or a view of it."""
        owner: Any = array if array.base is None else array.base
        if id(owner) not in self._free_ids:
            self._free.append(owner)
            self._free_ids.add(id(owner))


def run_plan(plan: Plan, tile: np.ndarray, channels: int, stride: int, scratch: Scratch) -> np.ndarray:
    """Σ terms of the plan: (rows / stride, (columns − kw + 1) · channels), every row needed, every column computed."""
    total: np.ndarray | None = None
    for term in plan.terms:
        part = _run_term(term, plan, tile, channels, stride, scratch)
        weight: Any = int(term.weight) if plan.dtype.kind == "i" else term.weight
        if total is None:
            total = part
            if weight != 1:
                np.multiply(total, weight, out=total)
            continue
        if abs(weight) != 1:
            np.multiply(part, weight, out=part)
        (np.subtract if weight == -1 else np.add)(total, part, out=total)
        scratch.give(part)
    if total is None:  # a matrix of zeros
        height, width = plan.size
        rows = (tile.shape[0] - height) // stride + 1
        total = scratch.take((rows, tile.shape[1] - (width - 1) * channels), plan.dtype)
        total.fill(0)
    return np.rint(total, out=total) if plan.whole else total


def _run_term(term: Term, plan: Plan, tile: np.ndarray, channels: int, stride: int, scratch: Scratch) -> np.ndarray:
    height, width = plan.size
    rows, columns = (tile.shape[0] - height) // stride + 1, tile.shape[1] // channels - width + 1
    if term.plane is not None:
        plane = scratch.take((rows, columns * channels), plan.dtype)

        def shifted(offset: Any) -> np.ndarray:
            i, j = offset
            return tile[i : i + (rows - 1) * stride + 1 : stride, j * channels : (j + columns) * channels]

        _sum_taps(term.plane, shifted, plane, scratch)
        return plane

    if _slides(term, plan):
        return _slide(tile, height, width, channels, plan.dtype, scratch)[::stride]
    array = tile
    for step in term.column:
        array = _replace(array, tile, run_line(step, array, cut_rows, array.shape[0], scratch), scratch)
    array = array[::stride]
    if array.dtype != plan.dtype:
        wider = scratch.take(array.shape, plan.dtype)
        np.copyto(wider, array)
        array = _replace(array, tile, wider, scratch)
    cut = column_cutter(channels)
    for step in term.row:
        array = _replace(array, tile, run_line(step, array, cut, array.shape[1] // channels, scratch), scratch)
    return array


def _slides(term: Term, plan: Plan) -> bool:
    """Whether the term is a large box whose rows' sums fit the tile's narrow numbers."""
    height, width = plan.size
    boxes = term.column == (Box(height),) and term.row == (Box(width),)
    return boxes and plan.tile_dtype is not None and width <= height and height >= _LEAST_SLIDE


def _slide(tile: np.ndarray, height: int, width: int, channels: int, dtype: np.dtype, scratch: Scratch) -> np.ndarray:
    """Sums of height × width neighbours: along the rows by doubling, then down the columns by a window that slides.

    From one row to the next the window gains a row and loses one: two additions, however large the box.
    """
    cut, columns = column_cutter(channels), tile.shape[1] // channels
    sums = scratch.take((tile.shape[0], (columns - width + 1) * channels), tile.dtype)
    for top in range(0, tile.shape[0], _SLIDE_ROWS):
        band = tile[top : top + _SLIDE_ROWS]
        part = run_line(Box(width), band, cut, columns, scratch)
        np.copyto(sums[top : top + _SLIDE_ROWS], part)
        scratch.give(part)
    rows = tile.shape[0] - height + 1
    out = scratch.take((rows, sums.shape[1]), dtype)
    np.add.reduce(sums[:height], axis=0, dtype=dtype, out=out[0])
    change = scratch.take((rows - 1, sums.shape[1]), tile.dtype)
    np.subtract(sums[height:], sums[: rows - 1], out=change)
    np.copyto(out[1:], change)
    for row in range(1, rows):
        np.add(out[row], out[row - 1], out=out[row])
    scratch.give(change)
    scratch.give(sums)
    return out


def _replace(old: np.ndarray, tile: np.ndarray, new: np.ndarray, scratch: Scratch) -> np.ndarray:
    """`new`; the buffer of `old` is free again, unless it is the tile's, which other terms still read."""
    if old is not tile and old.base is not tile.base:
        scratch.give(old)
    return new


def cut_rows(array: np.ndarray, start: int, count: int) -> np.ndarray:
    return array[start : start + count]


def column_cutter(channels: int) -> Cut:
    return lambda array, start, count: array[:, start * channels : (start + count) * channels]


def run_line(
    step: Box | Taps,
    array: np.ndarray,
    cut: Cut,
    length: int,
    scratch: Scratch,
    combine: np.ufunc = np.add,
) -> np.ndarray:
    """One pass along one axis of `array`, which is `length` long there; the result is shorter by the step less 1.

    `combine` may be `np.maximum` for a `Box`: the largest of the neighbours instead of their sum.
    """
    count = length - step.length + 1
    if isinstance(step, Taps):
        out = scratch.take(cut(array, 0, count).shape, array.dtype)
        _sum_taps(step, lambda offset: cut(array, offset, count), out, scratch)
        return out
    return _double(step.count, array, cut, length, scratch, combine)


def _double(
    neighbours: int, array: np.ndarray, cut: Cut, length: int, scratch: Scratch, combine: np.ufunc
) -> np.ndarray:
    """Sums (or maxima) of 1, 2, 4, … neighbours; those that the binary digits of `neighbours` name make the result."""
    count = length - neighbours + 1
    level, width, start = array, 1, 0
    levels: list[np.ndarray] = []
    waiting: np.ndarray | None = None
    total: np.ndarray | None = None
    while True:
        if neighbours & width:
            piece = cut(level, start, count)
            start += width
            if total is not None:
                combine(total, piece, out=total)
            elif waiting is not None:
                total = combine(waiting, piece, out=scratch.take(piece.shape, array.dtype))
            else:
                waiting = piece
        if 2 * width > neighbours:
            break
        longer = length - 2 * width + 1
        wider = scratch.take(cut(level, 0, longer).shape, array.dtype)
        combine(cut(level, 0, longer), cut(level, width, longer), out=wider)
        levels.append(wider)
        level, width = wider, 2 * width
    if total is None:  # a power of two: the last level is the result
        if levels:
            total, levels = level, levels[:-1]
        else:  # of one element: its own memory, which the caller gives back
            total = scratch.take(array.shape, array.dtype)
            np.copyto(total, array)
    for spent in levels:
        scratch.give(spent)
    return total


def _sum_taps(taps: Taps, view: Callable[[Any], np.ndarray], out: np.ndarray, scratch: Scratch) -> None:
    """out = Σ weight · (Σ views at `plus` − Σ views at `minus`)."""
    if not taps.groups:
        out.fill(0)
        return
    other: np.ndarray | None = None
    for position, (weight, plus, minus) in enumerate(taps.groups):
        if position and weight == 1:
            _add(out, plus, minus, view)
            continue
        target = out
        if position:
            other = target = scratch.take(out.shape, out.dtype) if other is None else other
        _weigh(target, weight, plus, minus, view)
        if position:
            np.add(out, target, out=out)
    if other is not None:
        scratch.give(other)


def _weigh(
    target: np.ndarray,
    weight: float,
    plus: tuple[Hashable, ...],
    minus: tuple[Hashable, ...],
    view: Callable[[Any], np.ndarray],
) -> None:
    """target = weight · (Σ plus − Σ minus)."""
    first, added, taken = (plus[0], plus[1:], minus) if plus else (minus[0], minus[1:], ())
    signed: Any = weight if plus else -weight
    if target.dtype.kind == "i":
        signed = int(signed)
    if not added and not taken:
        np.multiply(view(first), signed, out=target)
        return
    if added:
        np.add(view(first), view(added[0]), out=target)
        added = added[1:]
    else:
        np.subtract(view(first), view(taken[0]), out=target)
        taken = taken[1:]
    _add(target, added, taken, view)
    if signed != 1:
        np.multiply(target, signed, out=target)


def _add(
    target: np.ndarray, plus: tuple[Hashable, ...], minus: tuple[Hashable, ...], view: Callable[[Any], np.ndarray]
) -> None:
    for offset in plus:
        np.add(target, view(offset), out=target)
    for offset in minus:
        np.subtract(target, view(offset), out=target)
