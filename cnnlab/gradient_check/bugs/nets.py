"""Mistakes in containers, losses, Dropout and Flatten."""

from typing import Any

import numpy as np

from cnnlab import backprop
from cnnlab.backprop import Array
from cnnlab.gradient_check.bugs.bug import (
    Bug,
    Gradients,
    negative,
    scaled,
    twice,
)


def _dropout_unscaled(layer: backprop.Dropout, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": right["input"] * (1 - layer.p)} if layer.training else {}


def _dropout_forgotten(layer: backprop.Dropout, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": delta}


def _flatten_by_column(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": delta.reshape(x.shape, order="F")}


def _flatten_channels_last(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    count, channels, *positions = x.shape
    if not positions:
        return {}
    return {"input": np.moveaxis(delta.reshape(count, *positions, channels), -1, 1)}


def _residual_without_skip(layer: backprop.Residual, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": layer.body.backward(delta)}


def _residual_skip_alone(layer: backprop.Residual, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": delta if layer.shortcut is None else layer.shortcut.backward(delta)}


_ACTIVATIONS = (backprop.ReLU, backprop.Sigmoid, backprop.Tanh, backprop.GELU, backprop.SiLU)


def _sequential_without_slopes(layer: backprop.Sequential, x: Array, delta: Array, right: Gradients) -> Gradients:
    for one in reversed(list(layer)):
        delta = delta if isinstance(one, _ACTIVATIONS) else one.backward(delta)
    return {"input": delta, **{name: parameter.grad for name, parameter in layer.named_parameters()}}


def _sequential_delta_of_layer_above(layer: backprop.Sequential, x: Array, delta: Array, right: Gradients) -> Gradients:
    first = layer[0]
    if not isinstance(first, backprop.Linear) or delta.shape[1] != first.out_features:
        return {}
    return {"0.weight": delta.T @ x}


def _loss_batch(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": right["input"] * len(x)}


def _loss_outputs(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": right["input"] / x.shape[1]}


def _softmax(z: Array) -> Array:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _cross_entropy_diagonal(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    p = _softmax(x)
    return {"input": right["input"] * p * (1 - p)}


def _cross_entropy_without_target(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": delta[0] * _softmax(x) / len(x)}


def _cross_entropy_unsmoothed(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    plain = backprop.CrossEntropyLoss()
    plain.forward(x, layer.target)
    return {"input": delta[0] * plain.backward()}


NETS = (
    Bug("flatten-by-column", "Flatten", "δ put back in column-major order", _flatten_by_column),
    Bug("flatten-channels-last", "Flatten", "δ put back with the channels last", _flatten_channels_last),
    Bug("dropout-unscaled", "Dropout", "the factor 1/(1 − p) is missing", _dropout_unscaled),
    Bug("dropout-forgotten", "Dropout", "the mask is missing: ∂J/∂x = δ", _dropout_forgotten),
    Bug("residual-without-skip", "Residual", "the shortcut's δ is missing", _residual_without_skip),
    Bug("residual-skip-alone", "Residual", "F's δ is missing", _residual_skip_alone),
    Bug(
        "sequential-missing-derivatives",
        "Sequential",
        "δ passes the activations without f′",
        _sequential_without_slopes,
    ),
    Bug(
        "sequential-wrong-delta",
        "Sequential",
        "∂J/∂W of the first layer with δ of the last: δ of the wrong layer",
        _sequential_delta_of_layer_above,
    ),
    Bug("halfsquared-sum", "HalfSquaredError", "the sum over the batch instead of the mean", _loss_batch),
    Bug("halfsquared-factor-two", "HalfSquaredError", "2 (a − y): the ½ is forgotten", scaled("input", twice)),
    Bug("halfsquared-mean", "HalfSquaredError", "the mean over the outputs too (torch's MSELoss)", _loss_outputs),
    Bug("halfsquared-sign", "HalfSquaredError", "y − a instead of a − y", scaled("input", negative)),
    Bug("crossentropy-sum", "CrossEntropyLoss", "the sum over the batch instead of the mean", _loss_batch),
    Bug("crossentropy-sign", "CrossEntropyLoss", "y − p instead of p − y", scaled("input", negative)),
    Bug(
        "crossentropy-diagonal",
        "CrossEntropyLoss",
        "(p − y) ∘ p ∘ (1 − p): softmax′ a second time, its diagonal",
        _cross_entropy_diagonal,
    ),
    Bug("crossentropy-no-target", "CrossEntropyLoss", "p instead of p − y", _cross_entropy_without_target),
    Bug("crossentropy-unsmoothed", "CrossEntropyLoss", "label smoothing is forgotten", _cross_entropy_unsmoothed),
)
