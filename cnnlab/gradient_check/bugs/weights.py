"""Mistakes in Linear and Conv2d."""

import copy
from typing import Any

import numpy as np

from cnnlab import backprop
from cnnlab.backprop import Array
from cnnlab.gradient_check.bugs.bug import (
    Bug,
    Gradients,
    Wrong,
    negative,
    per_image,
    per_position,
    scaled,
    twice,
)


def _linear_untransposed(layer: backprop.Linear, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": delta @ layer.weight.T}


def _linear_weight_transposed(layer: backprop.Linear, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"weight": x.T @ delta}


def _linear_first_image(layer: backprop.Linear, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"weight": np.outer(delta[0], x[0])}


def _linear_last_image(layer: backprop.Linear, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"weight": np.outer(delta[-1], x[-1])}


def _linear_bias_over_units(layer: backprop.Linear, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"bias": delta.sum(axis=1)} if "bias" in right else {}


def _conv_input(layer: backprop.Conv2d, x: Array, delta: Array, weight: Array) -> Array:
    """∂J/∂x as the right backward gives it, with other weights."""
    other = copy.copy(layer)
    other.grads, other._workspaces, other.weight = {}, {}, weight
    other.forward(x)
    return other.backward(delta)


def _conv_unflipped(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": _conv_input(layer, x, delta, layer.weight[:, :, ::-1, ::-1])}


def _conv_flipped_once(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": _conv_input(layer, x, delta, layer.weight[:, :, ::-1, :])}


def _conv_swapped_axes(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": _conv_input(layer, x, delta, np.ascontiguousarray(layer.weight.swapaxes(2, 3)))}


def _conv_swapped_channels(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": _conv_input(layer, x, delta, np.ascontiguousarray(layer.weight.swapaxes(0, 1)))}


def _conv_one_output_channel(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    only_first = np.zeros_like(delta)
    only_first[:, 0] = delta[:, 0]
    return {"input": _conv_input(layer, x, only_first, layer.weight)}


def _conv_weight_turned(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"weight": right["weight"][:, :, ::-1, ::-1]}


def _conv_weight(layer: backprop.Conv2d, x: Array, delta: Array, stride: tuple[int, int]) -> Array:
    """∂J/∂w by its sum, with another stride, over the input as it is given (no padding is added)."""
    result = np.zeros_like(layer.weight)
    for u, v in np.ndindex(*layer.kernel_size):
        seen = x[:, :, u :: stride[0], v :: stride[1]][:, :, : delta.shape[2], : delta.shape[3]]
        result[:, :, u, v] = np.einsum("nfij,ncij->fc", delta[:, :, : seen.shape[2], : seen.shape[3]], seen)
    return result


def _conv_dropped_padding(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"weight": _conv_weight(layer, x, delta, layer.stride)}


def _conv_ignored_stride(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    (down, across) = layer.padding
    return {"weight": _conv_weight(layer, np.pad(x, ((0, 0), (0, 0), (down, down), (across, across))), delta, (1, 1))}


def _of_a_part(part: Any) -> Wrong:
    """∂J/∂w of a part of δ alone."""

    def wrong(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
        alone = np.zeros_like(delta)
        alone[part] = delta[part]
        other = copy.copy(layer)
        other.grads, other._workspaces = {}, {}
        other.forward(x)
        other.backward(alone)
        return {"weight": other.grads["weight"]}

    return wrong


def _conv_overlap_overwritten(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    (rows, columns), (down, across), (top, left) = layer.kernel_size, layer.stride, layer.padding
    below = np.zeros((*x.shape[:2], x.shape[2] + 2 * top, x.shape[3] + 2 * left), x.dtype)
    for i, j in np.ndindex(*delta.shape[2:]):
        spread = np.einsum("nf,fcuv->ncuv", delta[:, :, i, j], layer.weight)
        below[:, :, i * down : i * down + rows, j * across : j * across + columns] = spread
    return {"input": below[:, :, top : top + x.shape[2], left : left + x.shape[3]]}


def _conv_bias_one_position(layer: backprop.Conv2d, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"bias": delta[:, :, 0, 0].sum(axis=0)} if "bias" in right else {}


LINEAR = (
    Bug("linear-forgotten-transpose", "Linear", "∂J/∂x = δ Wᵀ instead of δ W", _linear_untransposed),
    Bug("linear-weight-transposed", "Linear", "∂J/∂W = xᵀ δ instead of δᵀ x", _linear_weight_transposed),
    Bug("linear-factor-two", "Linear", "∂J/∂W is twice too large", scaled("weight", twice)),
    Bug("linear-weight-mean", "Linear", "∂J/∂W is the mean over the batch, not the sum", scaled("weight", per_image)),
    Bug("linear-bias-mean", "Linear", "∂J/∂b is the mean over the batch, not the sum", scaled("bias", per_image)),
    Bug("linear-first-image", "Linear", "∂J/∂W of the first image alone", _linear_first_image),
    Bug("linear-last-image", "Linear", "∂J/∂W of the last image alone: = instead of +=", _linear_last_image),
    Bug("linear-bias-over-units", "Linear", "∂J/∂b summed over the units, not the batch", _linear_bias_over_units),
    Bug("linear-sign", "Linear", "the sign: ∂J/∂x = −δ W", scaled("input", negative)),
)

CONV = (
    Bug("conv-unflipped-kernel", "Conv2d", "∂J/∂x with an unflipped kernel: not turned by 180°", _conv_unflipped),
    Bug("conv-half-flipped-kernel", "Conv2d", "∂J/∂x with the kernel flipped along one axis", _conv_flipped_once),
    Bug("conv-swapped-axes", "Conv2d", "∂J/∂x with rows and columns of the kernel swapped", _conv_swapped_axes),
    Bug(
        "conv-swapped-channels",
        "Conv2d",
        "∂J/∂x with in and out channels of the kernel swapped",
        _conv_swapped_channels,
    ),
    Bug(
        "conv-one-output-channel",
        "Conv2d",
        "∂J/∂x from the first output channel alone, not their sum",
        _conv_one_output_channel,
    ),
    Bug("conv-weight-turned", "Conv2d", "∂J/∂w turned by 180°", _conv_weight_turned),
    Bug("conv-dropped-padding", "Conv2d", "∂J/∂w without the padding of x", _conv_dropped_padding),
    Bug("conv-ignored-stride", "Conv2d", "∂J/∂w with x[i+u] instead of x[i·s+u]", _conv_ignored_stride),
    Bug("conv-weight-mean", "Conv2d", "∂J/∂w is the mean over the batch, not the sum", scaled("weight", per_image)),
    Bug("conv-factor-two", "Conv2d", "∂J/∂w is twice too large", scaled("weight", twice)),
    Bug("conv-first-image", "Conv2d", "∂J/∂w of the first image alone", _of_a_part(np.s_[0])),
    Bug("conv-last-image", "Conv2d", "∂J/∂w of the last image alone: = instead of +=", _of_a_part(np.s_[-1])),
    Bug(
        "conv-last-position",
        "Conv2d",
        "∂J/∂w of the last position alone: = instead of +=",
        _of_a_part(np.s_[:, :, -1, -1]),
    ),
    Bug(
        "conv-overlap-overwritten",
        "Conv2d",
        "∂J/∂x where overlapping windows overwrite (=) instead of adding up (+=)",
        _conv_overlap_overwritten,
    ),
    Bug("conv-bias-mean", "Conv2d", "∂J/∂b is the mean over the positions, not the sum", scaled("bias", per_position)),
    Bug("conv-bias-batch-mean", "Conv2d", "∂J/∂b is the mean over the batch, not the sum", scaled("bias", per_image)),
    Bug(
        "conv-bias-whole-mean",
        "Conv2d",
        "∂J/∂b is the mean over batch and positions, not the sum",
        scaled("bias", lambda x, delta: per_image(x, delta) * per_position(x, delta)),
    ),
    Bug("conv-bias-one-position", "Conv2d", "∂J/∂b from the first position alone", _conv_bias_one_position),
)
