"""How a matrix is computed: the cheapest of a few exact rearrangements, in the narrowest numbers that hold it.

Adding 16-bit integers costs NumPy half of what 32-bit floats cost, so whole weights on 8-bit pixels run in int16
wherever no partial sum can leave it, then in float32 (exact for whole numbers up to 2²⁴), then in float64 (2⁵³).
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from cnnlab.imaging.decomposition import Decomposition, Pair, decompose, whole_numbers

_EXACT = ((np.dtype(np.int16), 2.0**15 - 1), (np.dtype(np.float32), 2.0**24), (np.dtype(np.float64), 2.0**53))
_FLOAT32_SUM = 2.0**20
"""Largest Σ |w| · pixel that float32 sums to better than a tenth of a grey level."""
_COST = {np.dtype(np.int16): 1, np.dtype(np.float32): 2, np.dtype(np.float64): 4}


@dataclass(frozen=True)
class Box:
    """A pass: each value becomes the sum of `count` neighbours, by doubling: 2, 4, 8, … at a time."""

    count: int

    @property
    def length(self) -> int:
        return self.count

    @property
    def norm(self) -> float:
        return float(self.count)

    @property
    def passes(self) -> int:
        return max(1, self.count.bit_length() - 1 + self.count.bit_count() - 1)


@dataclass(frozen=True)
class Taps:
    """A pass: Σ weight · (Σ ± neighbours); taps of equal weight are added first, and multiplied once.

    `groups` holds (weight > 0, offsets added, offsets subtracted); an offset is an index, or (row, column).
    """

    length: int
    groups: tuple[tuple[float, tuple[Hashable, ...], tuple[Hashable, ...]], ...]

    @property
    def norm(self) -> float:
        return sum(weight * (len(plus) + len(minus)) for weight, plus, minus in self.groups)

    @property
    def passes(self) -> int:
        count = sum(len(plus) + len(minus) for _, plus, minus in self.groups)
        return max(1, count - 1 + sum(weight != 1 for weight, _, _ in self.groups))


Line = tuple[Box | Taps, ...]


@dataclass(frozen=True)
class Term:
    """`weight` times one arrangement: passes down the columns then along the rows, or taps in the plane."""

    weight: float
    column: Line = ()
    row: Line = ()
    plane: Taps | None = None

    @property
    def norm(self) -> float:
        passes = (self.plane,) if self.plane else (*self.column, *self.row)
        return abs(self.weight) * math.prod(step.norm for step in passes)

    @property
    def passes(self) -> int:
        steps = (self.plane,) if self.plane else (*self.column, *self.row)
        return sum(step.passes for step in steps) + (abs(self.weight) != 1)


@dataclass(frozen=True)
class Plan:
    """response = scale · Σ terms, computed in `dtype`; `whole`: Σ terms is a whole number, to be rounded to it.

    `exact`: no partial sum is rounded, or the rounding is taken back.

    `tile_dtype`: narrower numbers that hold the pixels and the passes down the columns; None for `dtype`.
    """

    size: tuple[int, int]
    terms: tuple[Term, ...]
    dtype: np.dtype
    scale: float = 1.0
    whole: bool = False
    exact: bool = False
    tile_dtype: np.dtype | None = None

    @property
    def cost(self) -> float:
        """Passes over the picture, weighted by the width of their numbers."""
        return (sum(term.passes for term in self.terms) + len(self.terms) - 1) * _COST[self.dtype]

    def describe(self) -> str:
        """Such as `4 additions and multiplications of whole pictures, in int16`."""
        count = sum(term.passes for term in self.terms) + len(self.terms) - 1
        in_lines = any(term.plane is None for term in self.terms)
        in_plane = any(term.plane is not None for term in self.terms)
        where = (
            "along columns and rows" if not in_plane else "in the plane" if not in_lines else "in the plane and a box"
        )
        return f"{count} additions and products a pixel, {where}, in {self.dtype.name}"


def make_plan(matrix: np.ndarray, scale: float, max_value: float, *, precise: bool) -> Plan:
    """The cheapest plan for `scale · matrix` (kh, kw) on pixels from 0 to `max_value`.

    Whole weights are exact as long as their sums fit float64's 53 bits. Others run in float32 (within 0.1 grey
    levels of 8-bit pixels), or with `precise` in float64.
    """
    form = whole_numbers(matrix)
    if form is not None:
        plans = _whole_plans(*form, scale, max_value)
        if plans:
            return min(plans, key=lambda plan: plan.cost)
    weights = matrix * scale
    size = (matrix.shape[0], matrix.shape[1])
    wide = precise or float(np.abs(weights).sum()) * max_value > _FLOAT32_SUM
    dtype = np.dtype(np.float64 if wide else np.float32)
    arrangements: list[tuple[Term, ...]] = [(_plane(weights),)]
    parts = decompose(weights)
    if parts.saves:
        arrangements.append(tuple(_separable(pair) for pair in parts.pairs))
    plans = [Plan(size, terms, dtype) for terms in arrangements]
    return min(plans, key=lambda plan: plan.cost)


def _whole_plans(whole: np.ndarray, unit: float, scale: float, max_value: float) -> list[Plan]:
    size = (whole.shape[0], whole.shape[1])
    parts = decompose(whole)
    arrangements: list[tuple[Term, ...]] = [(_plane(whole),)]
    if parts.whole and parts.rank == 1 and whole.size > 1:
        arrangements.append((_separable(parts.pairs[0]),))
    background = _background(whole)
    if background:
        ones = Pair(np.ones(size[0]), np.ones(size[1]), background)
        arrangements.append((_plane(whole - background), _separable(ones)))
    plans = []
    for terms in arrangements:
        bound = _bound(terms, max_value)
        fitting = [dtype for dtype, limit in _EXACT if bound <= limit]
        if fitting:
            tile_dtype = _tile_dtype(terms, max_value)
            plans.append(Plan(size, terms, fitting[0], scale * unit, exact=True, tile_dtype=tile_dtype))
    return plans + _rounded_plan(parts, size, scale * unit, max_value)


def _rounded_plan(parts: Decomposition, size: tuple[int, int], scale: float, max_value: float) -> list[Plan]:
    """Pairs from the singular values, whose sum is rounded to the whole number that it must be."""
    if parts.rank < 2 or not parts.saves:
        return []
    terms = tuple(_separable(pair) for pair in parts.pairs)
    bound = _bound(terms, max_value)
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        if (sum(size) + parts.rank + 4) * float(np.finfo(dtype).eps) * bound < 0.2:
            return [Plan(size, terms, dtype, scale, whole=True, exact=True)]
    return []


def _bound(terms: Iterable[Term], max_value: float) -> float:
    """No partial sum of the terms is larger than this."""
    return max_value * sum(term.norm for term in terms)


def _tile_dtype(terms: tuple[Term, ...], max_value: float) -> np.dtype | None:
    """int16 where the passes down the columns fit it, though those along the rows do not."""
    if len(terms) != 1 or not terms[0].column or not terms[0].row:
        return None
    dtype, limit = _EXACT[0]
    return dtype if max_value * math.prod(step.norm for step in terms[0].column) <= limit else None


def _background(whole: np.ndarray) -> float:
    """The weight that most taps share (0 for none that many share): a box, and a few taps on top of it."""
    value, count = Counter(whole.ravel().tolist()).most_common(1)[0]
    return float(value) if whole.size // 2 < count < whole.size else 0.0


def _plane(matrix: np.ndarray) -> Term:
    offsets = [(int(i), int(j)) for i, j in np.argwhere(matrix)]
    return Term(1.0, plane=_taps(1, offsets, [float(matrix[offset]) for offset in offsets]))


def _separable(pair: Pair) -> Term:
    column, column_scale = _line(pair.column)
    row, row_scale = _line(pair.row)
    return Term(pair.scale * column_scale * row_scale, column, row)


def _line(vector: np.ndarray) -> tuple[Line, float]:
    """The passes for one vector, and a factor that is left over."""
    values = [float(value) for value in vector]
    if len(values) == 1:
        return (), values[0]
    if len(set(values)) == 1:
        return (Box(len(values)),), values[0]
    plain = (_taps(len(values), list(range(len(values))), values),)
    if all(value.is_integer() for value in values):
        rest, pairs = _without_pair_sums(values)
        ending: Line = (_taps(len(rest), list(range(len(rest))), rest),) if len(rest) > 1 else ()
        factored: Line = (Box(2),) * pairs + ending
        if sum(step.passes for step in factored) < sum(step.passes for step in plain):
            return factored, 1.0 if len(rest) > 1 else rest[0]
    return plain, 1.0


def _without_pair_sums(values: list[float]) -> tuple[list[float], int]:
    """Divide the polynomial by (1 + x) as often as it goes: [1 2 1] is [1 1] ∗ [1 1], two additions."""
    pairs = 0
    while len(values) > 1:
        quotient = [values[0]]
        for value in values[1:-1]:
            quotient.append(value - quotient[-1])
        if quotient[-1] != values[-1]:
            break
        values, pairs = quotient, pairs + 1
    return values, pairs


def _taps(length: int, offsets: list[Hashable] | list[tuple[int, int]] | list[int], weights: list[float]) -> Taps:
    groups: dict[float, tuple[list[Hashable], list[Hashable]]] = {}
    for offset, weight in zip(offsets, weights, strict=True):
        if weight:
            plus, minus = groups.setdefault(abs(weight), ([], []))
            (plus if weight > 0 else minus).append(offset)
    # Weight 1 last: its taps are then added to the sum directly, without a product of their own.
    ordered = sorted(groups.items(), key=lambda item: (item[0] == 1, item[0]))
    return Taps(length, tuple((weight, tuple(plus), tuple(minus)) for weight, (plus, minus) in ordered))
