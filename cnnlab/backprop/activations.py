"""The activation functions, elementwise: a = f(z), and δ ∘ f′(z) on the way back."""

import math

import numpy as np
from scipy.special import erf

from cnnlab.backprop.layer import Array, Layer


class ReLU(Layer):
    """a = max(z, 0)."""

    def forward(self, x: Array) -> Array:
        """a = max(z, 0); the shape of z."""
        self._check_input(x)
        a = np.maximum(x, 0)
        return self._keep(a, a)

    def backward(self, delta: Array) -> Array:
        """f′ is 1 where z > 0 and 0 elsewhere, at z = 0 too (as in torch).

        Scalar: ∂J/∂z[i] = δ[i] if z[i] > 0, else 0
        Vector: ∂J/∂z = δ ∘ [z > 0]
        """
        (a,) = self._recall(delta)
        delta_below: Array = delta * (a > 0)
        return delta_below


class Sigmoid(Layer):
    """a = σ(z) = 1 / (1 + e⁻ᶻ)."""

    def forward(self, x: Array) -> Array:
        """a = σ(z); the shape of z."""
        self._check_input(x)
        a = _sigmoid(x)
        return self._keep(a, a)

    def backward(self, delta: Array) -> Array:
        """σ′ = σ (1 − σ), at most 1/4: the reason why δ shrinks on its way down a deep net.

        Scalar: ∂J/∂z[i] = δ[i] · a[i] · (1 − a[i])
        Vector: ∂J/∂z = δ ∘ a ∘ (1 − a)
        """
        (a,) = self._recall(delta)
        delta_below: Array = delta * (a * (1 - a))
        return delta_below


class Tanh(Layer):
    """a = tanh z."""

    def forward(self, x: Array) -> Array:
        """a = tanh z; the shape of z."""
        self._check_input(x)
        a = np.tanh(x)
        return self._keep(a, a)

    def backward(self, delta: Array) -> Array:
        """tanh′ = 1 − tanh².

        Scalar: ∂J/∂z[i] = δ[i] · (1 − a[i]²)
        Vector: ∂J/∂z = δ ∘ (1 − a²)
        """
        (a,) = self._recall(delta)
        delta_below: Array = delta * (1 - a * a)
        return delta_below


class GELU(Layer):
    """a = z Φ(z), with the normal distribution function Φ (Hendrycks and Gimpel 2016, the exact form)."""

    def forward(self, x: Array) -> Array:
        """a = z Φ(z); the shape of z."""
        self._check_input(x)
        phi = (0.5 * (1 + erf(x / math.sqrt(2)))).astype(x.dtype, copy=False)
        return self._keep(x * phi, x, phi)

    def backward(self, delta: Array) -> Array:
        """f′ = Φ(z) + z φ(z), with the normal density φ.

        Scalar: ∂J/∂z[i] = δ[i] · (Φ(z[i]) + z[i] · e^(−z[i]²/2) / √(2π))
        Vector: ∂J/∂z = δ ∘ (Φ(z) + z ∘ φ(z))
        """
        x, phi = self._recall(delta)
        density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        delta_below: Array = delta * (phi + x * density)
        return delta_below


class SiLU(Layer):
    """a = z σ(z)."""

    def forward(self, x: Array) -> Array:
        """a = z σ(z); the shape of z."""
        self._check_input(x)
        s = _sigmoid(x)
        return self._keep(x * s, x, s)

    def backward(self, delta: Array) -> Array:
        """f′ = σ + z σ (1 − σ).

        Scalar: ∂J/∂z[i] = δ[i] · σ(z[i]) · (1 + z[i] · (1 − σ(z[i])))
        Vector: ∂J/∂z = δ ∘ σ(z) ∘ (1 + z ∘ (1 − σ(z)))
        """
        x, s = self._recall(delta)
        delta_below: Array = delta * (s * (1 + x * (1 - s)))
        return delta_below


class Identity(Layer):
    """a = z: a net with it alone is a linear model, however deep."""

    def forward(self, x: Array) -> Array:
        """a = z."""
        self._check_input(x)
        return self._keep(x)

    def backward(self, delta: Array) -> Array:
        """f′ = 1.

        Scalar: ∂J/∂z[i] = δ[i]
        Vector: ∂J/∂z = δ
        """
        self._recall(delta)
        return delta


def _sigmoid(z: Array) -> Array:
    # e⁻ᶻ may overflow to infinity for a very negative z, where 1/∞ = 0 is the right answer.
    with np.errstate(over="ignore"):
        a: Array = 1 / (1 + np.exp(-z))
    return a
