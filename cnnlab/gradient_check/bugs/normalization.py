"""Mistakes in BatchNorm1d and BatchNorm2d."""

from typing import Any

import numpy as np

from cnnlab.backprop import Array
from cnnlab.gradient_check.bugs.bug import Bug, Gradients, Wrong


def _normal(layer: Any, x: Array) -> tuple[Array, Array, float]:
    """x̂ as (N, C, P), γ/√(σ²+ε) as (C, 1), and m."""
    maps = x.reshape(*x.shape[:2], -1)
    mean, variance = layer.running_mean, layer.running_var
    if layer.training:
        mean, variance = maps.mean(axis=(0, 2)), maps.var(axis=(0, 2))
    inverse = 1 / np.sqrt(variance + layer.eps)
    factor = layer.weight * inverse
    return (maps - mean[:, None]) * inverse[:, None], factor[:, None], maps.size / maps.shape[1]


def _training_formula(*, mean: bool = True, product: bool = True, training: bool = True) -> Wrong:
    """The training formula, with the terms of μ and of σ² or not, in training or in evaluation, which has neither."""

    def wrong(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
        if layer.training != training:
            return {}
        normal, factor, count = _normal(layer, x)
        maps = delta.reshape(normal.shape)
        below = maps.copy()
        if mean:
            below -= maps.sum(axis=(0, 2))[:, None] / count
        if product:
            below -= normal * (maps * normal).sum(axis=(0, 2))[:, None] / count
        return {"input": (below * factor).reshape(x.shape)}

    return wrong


def _batch_norm_unscaled(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    gamma = layer.weight.reshape(1, -1, *[1] * (x.ndim - 2))
    return {"input": right["input"] / gamma}


def _batch_norm_raw_product(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"weight": (delta * x).reshape(*x.shape[:2], -1).sum(axis=(0, 2))}


def _batch_norm_bias_mean(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"bias": right["bias"] * x.shape[1] / x.size}


def batch_norm_bugs(layer: str) -> tuple[Bug, ...]:
    short = layer.lower()
    constant = "μ and σ² taken as constants: ∂J/∂x = γ/√(σ²+ε) · δ in training"
    return (
        Bug(f"{short}-constant-statistics", layer, constant, _training_formula(mean=False, product=False)),
        Bug(f"{short}-no-mean-term", layer, "the term mean(δ) is missing", _training_formula(mean=False)),
        Bug(
            f"{short}-no-variance-term", layer, "the term x̂ ∘ mean(δ ∘ x̂) is missing", _training_formula(product=False)
        ),
        Bug(f"{short}-no-gamma", layer, "γ is missing from ∂J/∂x", _batch_norm_unscaled),
        Bug(f"{short}-gamma-from-x", layer, "∂J/∂γ = Σ δ ∘ x instead of Σ δ ∘ x̂", _batch_norm_raw_product),
        Bug(f"{short}-bias-mean", layer, "∂J/∂β is the mean of δ instead of its sum", _batch_norm_bias_mean),
        Bug(
            f"{short}-training-in-evaluation",
            layer,
            "the training formula in evaluation, where μ and σ² do not depend on x",
            _training_formula(training=False),
        ),
    )


NORMALIZATION = (*batch_norm_bugs("BatchNorm1d"), *batch_norm_bugs("BatchNorm2d"))
