"""Dropout."""

import numpy as np

from cnnlab.backprop.layer import Array, Layer, number
from cnnlab.errors import UsageError


class Dropout(Layer):
    """In training, each element is zero with probability p, the others are divided by 1 − p; in evaluation, x.

    `rng` is the generator of the next mask (the training loop sets it before each step); None draws freely.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        if number("Dropout", "p", p, 0, 1) == 1:
            raise UsageError(f"Dropout: p must be in [0, 1), received {p!r}")
        self.p = p
        self.rng = rng

    def _describe(self) -> str:
        return f"p={self.p}"

    def forward(self, x: Array) -> Array:
        """m ∘ x with m ∈ {0, 1/(1 − p)}; the shape of x."""
        self._check_input(x)
        if not self.training or self.p == 0:
            return self._keep(x, None)
        rng = self.rng or np.random.default_rng()
        mask = (rng.random(x.shape, dtype=np.float32) >= self.p).astype(x.dtype)
        mask /= 1 - self.p
        return self._keep(x * mask, mask)

    def backward(self, delta: Array) -> Array:
        """What was dropped gets nothing; the rest was scaled, and so is its δ.

        Scalar: ∂J/∂x[i] = m[i] · δ[i],  m[i] = 0 or 1/(1 − p)
        Vector: ∂J/∂x = m ∘ δ
        """
        (mask,) = self._recall(delta)
        return delta if mask is None else delta * mask
