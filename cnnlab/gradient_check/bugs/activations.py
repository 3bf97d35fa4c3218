"""Mistakes in activations."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnlab.backprop import Array
from cnnlab.gradient_check.bugs.bug import (
    Bug,
    Gradients,
    Wrong,
    negative,
    passed,
    scaled,
)


def _times(slope: Callable[[Array], Array]) -> Wrong:
    """δ times another f′(z)."""
    return lambda layer, x, delta, right: {"input": delta * slope(x)}


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def _gelu_gate(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": right["input"] - delta * x * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)}


def _activation_bugs(layer: str) -> tuple[Bug, ...]:
    short = layer.lower()
    return (
        Bug(f"{short}-missing-derivative", layer, "f′(z) is missing: ∂J/∂z = δ", passed),
        Bug(f"{short}-sign", layer, "the sign: ∂J/∂z = −δ ∘ f′(z)", scaled("input", negative)),
    )


ACTIVATIONS = (
    *(bug for layer in ("ReLU", "Sigmoid", "Tanh", "GELU", "SiLU") for bug in _activation_bugs(layer)),
    Bug("relu-zero-included", "ReLU", "f′ = 1 at z = 0: [z ≥ 0] instead of [z > 0]", _times(lambda z: z >= 0)),
    Bug("relu-leaks", "ReLU", "f′ = 0.01 for z < 0", _times(lambda z: np.where(z > 0, 1, np.where(z < 0, 0.01, 0)))),
    Bug("sigmoid-of-z", "Sigmoid", "f′ = z (1 − z) instead of a (1 − a)", _times(lambda z: z * (1 - z))),
    Bug("sigmoid-half", "Sigmoid", "f′ = a instead of a (1 − a)", _times(_sigmoid)),
    Bug(
        "sigmoid-plus",
        "Sigmoid",
        "f′ = a (1 + a) instead of a (1 − a)",
        _times(lambda z: _sigmoid(z) * (1 + _sigmoid(z))),
    ),
    Bug("tanh-no-square", "Tanh", "f′ = 1 − a instead of 1 − a²", _times(lambda z: 1 - np.tanh(z))),
    Bug("tanh-of-z", "Tanh", "f′ = 1 − z² instead of 1 − a²", _times(lambda z: 1 - z * z)),
    Bug("gelu-gate-only", "GELU", "f′ = Φ(z): the term z φ(z) is missing", _gelu_gate),
    Bug("silu-gate-only", "SiLU", "f′ = σ(z): the term z σ (1 − σ) is missing", _times(_sigmoid)),
    Bug("identity-sign", "Identity", "the sign: ∂J/∂z = −δ", scaled("input", negative)),
)
