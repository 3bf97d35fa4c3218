"""A kernel taken apart: its rank, its one-dimensional factors, in whole numbers where there are such.

A matrix of rank r is the sum of r outer products u vᵀ, so that r passes down the columns and r along the rows,
r · (kh + kw) multiplications a pixel, do the work of kh · kw (the singular value decomposition gives the pairs).
"""

import math
from dataclasses import dataclass

import numpy as np

_TOLERANCE = 1e-11
"""Relative to the largest weight: below it a difference is rounding, not meaning."""
_MAX_WHOLE = 2**31


@dataclass(frozen=True, eq=False)
class Pair:
    """An outer product `scale · column rowᵀ`."""

    column: np.ndarray
    row: np.ndarray
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A matrix as a sum of outer products. `whole`: every factor is in whole numbers."""

    shape: tuple[int, int]
    pairs: tuple[Pair, ...]
    whole: bool

    @property
    def rank(self) -> int:
        return len(self.pairs)

    @property
    def multiplications(self) -> tuple[int, int]:
        """Multiplications a pixel: in the plane, and as pairs of one-dimensional passes."""
        height, width = self.shape
        return height * width, self.rank * (height + width)

    @property
    def saves(self) -> bool:
        """Whether the pairs cost less."""
        plane, lines = self.multiplications
        return 0 < lines < plane

    def explain(self) -> str:
        """Such as `rank 1: 15 + 15 multiplications instead of 225`."""
        plane, lines = self.multiplications
        height, width = self.shape
        if not self.rank:
            return "rank 0: every weight is 0"
        passes = f"{height} + {width}" if self.rank == 1 else f"{self.rank} × ({height} + {width}) = {lines}"
        if self.saves:
            return f"rank {self.rank}: {passes} multiplications instead of {plane}"
        return f"rank {self.rank}: no saving ({passes} multiplications, {plane} in the plane)"


def decompose(matrix: np.ndarray) -> Decomposition:
    """The rank of a matrix (kh, kw), and the pairs that sum to it."""
    height, width = matrix.shape
    largest = float(np.abs(matrix).max())
    if largest == 0:
        return Decomposition((height, width), (), True)
    single = _outer_product(matrix, largest)
    if single is not None:
        whole = _whole_pair(matrix)
        return Decomposition((height, width), (whole or single,), whole is not None)
    left, singular, right = np.linalg.svd(matrix)
    rank = int((singular > singular[0] * _TOLERANCE).sum())
    pairs = tuple(Pair(left[:, i] * math.sqrt(singular[i]), right[i] * math.sqrt(singular[i])) for i in range(rank))
    return Decomposition((height, width), pairs, False)


def whole_numbers(matrix: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The matrix as whole numbers (float64, without a common divisor) times a scale, or None where there are none."""
    magnitudes = np.abs(matrix[matrix != 0])
    if not magnitudes.size:
        return matrix, 1.0
    smallest, largest = float(magnitudes.min()), float(magnitudes.max())
    for scale in (1.0, *(smallest / divisor for divisor in range(1, 17))):
        if scale == 0 or largest / scale > _MAX_WHOLE:  # 0: the smallest float64, divided
            continue
        whole = np.rint(matrix / scale)
        if np.abs(whole * scale - matrix).max() <= _TOLERANCE * min(smallest, 1.0):
            common = math.gcd(*(int(value) for value in np.abs(whole).ravel()))
            return whole / common, common * scale
    return None


def _outer_product(matrix: np.ndarray, largest: float) -> Pair | None:
    """The one pair of a matrix of rank 1: its pivot's column and row, so that symmetry stays exact."""
    i, j = np.unravel_index(np.abs(matrix).argmax(), matrix.shape)
    pair = Pair(matrix[:, j] / matrix[i, j], matrix[i].copy())
    residual = np.abs(np.outer(pair.column, pair.row) - matrix).max()
    return pair if residual <= _TOLERANCE * largest else None


def _whole_pair(matrix: np.ndarray) -> Pair | None:
    """The same pair in whole numbers, signs turned so that what sums to something sums to more than 0."""
    i, j = np.unravel_index(np.abs(matrix).argmax(), matrix.shape)
    column, row = whole_numbers(matrix[:, j, None]), whole_numbers(matrix[None, i])
    if column is None or row is None:
        return None
    u, v = column[0][:, 0], row[0][0]
    u, v = (-u if u.sum() < 0 else u), (-v if v.sum() < 0 else v)
    scale = float(matrix[i, j] / (u[i] * v[j]))
    if scale < 0 and u.sum() == 0:
        return Pair(-u, v, -scale)
    return Pair(u, -v, -scale) if scale < 0 and v.sum() == 0 else Pair(u, v, scale)
