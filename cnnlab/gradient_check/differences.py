"""∂J/∂array by central differences of fourth order, with kinks told from errors.

J(x) = Σ δ ∘ f(x). Where f is smooth around x, two step sizes agree, and so do the derivatives from the left and from
the right; where they do not, a kink (a ReLU at 0, a change of the greatest in max pooling) lies within the step, and
the step is made smaller. A point at which no step gives agreement is at a kink: no derivative exists, and each
output may contribute anything between its two one-sided derivatives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cnnlab.backprop import Array

STEPS = tuple(2.0**-power for power in (9, 12, 15, 18, 21))
"""Powers of two, so that x ± h is exact for most x. The first is best where all is smooth (h⁴ ≈ 1e-11)."""

_AGREEMENT = 1e-8
"""Two step sizes that differ by less, relative to the gradient, see no kink that would matter."""

_GAP_NOISE = 5.0
"""Rounding in the gap between the one-sided derivatives against that in the central one: their coefficients' sums."""

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Differences:
    """Per element of the sample: the derivative, whether the point is at a kink, and between what a gradient may lie.

    `noise` is what rounding alone may change about the derivative.
    """

    derivative: Array
    kink: Array
    low: Array
    high: Array
    noise: Array


def central_differences(
    f: Callable[[], Array], array: Array, delta: Array, indices: Sequence[tuple[int, ...]]
) -> Differences:
    """Differentiate Σ `delta` ∘ `f()` by the elements of `array` at `indices`; `array` is changed and restored."""
    base = np.array(f())
    estimates = [_Point(f, base, array, index, delta) for index in indices]
    for point in estimates:
        point.measure(STEPS[0])
    largest = max((abs(point.derivative) for point in estimates), default=0.0)
    for point in estimates:
        for step in STEPS[1:]:
            if point.smooth(largest):
                break
            point.measure(step)
    return Differences(
        np.array([point.derivative for point in estimates]),
        np.array([not point.smooth(largest) for point in estimates], bool),
        np.array([point.low for point in estimates]),
        np.array([point.high for point in estimates]),
        np.array([point.noise for point in estimates]),
    )


class _Point:
    """The derivative by one element, at the step size that was last measured."""

    def __init__(self, f: Callable[[], Array], base: Array, array: Array, index: tuple[int, ...], delta: Array) -> None:
        self._f, self._base, self._array, self._index, self._delta = f, base, array, index, delta
        self.derivative = self.low = self.high = self.noise = 0.0
        self._coarse = self._gap = self._coarse_gap = 0.0

    def measure(self, step: float) -> None:
        """Evaluate at ±h/2, ±h, ±2h: two derivatives of fourth order, with steps h and h/2."""
        outputs = {factor: self._output(factor * step) for factor in (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)}
        central = {factor: self._weigh(outputs[factor] - outputs[-factor]) for factor in (0.5, 1, 2)}
        self._coarse = (8 * central[1] - central[2]) / (12 * step)
        self.derivative = (8 * central[0.5] - central[1]) / (6 * step)
        right, left = self._one_sided(outputs, 0.5, step), self._one_sided(outputs, -0.5, step)
        self.low, self.high = float(np.minimum(left, right).sum()), float(np.maximum(left, right).sum())
        self._gap = abs(float((right - left).sum()))
        coarse_right, coarse_left = self._one_sided(outputs, 1, step), self._one_sided(outputs, -1, step)
        self._coarse_gap = abs(float((coarse_right - coarse_left).sum()))
        moved = outputs[1] != outputs[-1]
        self.noise = 4 * _EPSILON / step * float(np.abs(self._delta * self._base)[moved].sum())

    def smooth(self, largest: float) -> bool:
        """Whether both step sizes say the same, and the gap between right and left closes (as h³ where f is smooth)."""
        rest = _AGREEMENT * max(abs(self.derivative), 0.01 * largest) + self.noise
        closed = self._gap <= 0.5 * self._coarse_gap + rest + _GAP_NOISE * self.noise
        return closed and abs(self.derivative - self._coarse) <= rest

    def _one_sided(self, outputs: dict[float, Array], factor: float, step: float) -> Array:
        """Each output's share in the derivative from one side, of second order: 2 · chord(h) − chord(2h)."""
        near, far = outputs[factor] - self._base, outputs[2 * factor] - self._base
        share: Array = self._delta * (2 * near - 0.5 * far) / (factor * step)
        return share

    def _weigh(self, change: Array) -> float:
        # The difference first and the sum after: outputs that did not change then add no rounding error.
        return float((self._delta * change).sum())

    def _output(self, shift: float) -> Array:
        original = self._array[self._index]
        self._array[self._index] = original + shift
        try:
            return np.array(self._f())
        finally:
            self._array[self._index] = original
