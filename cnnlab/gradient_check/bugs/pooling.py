"""Mistakes in pooling."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnlab import backprop
from cnnlab.backprop import Array
from cnnlab.gradient_check.bugs.bug import (
    Bug,
    Gradients,
    Wrong,
)


def _scatter(
    layer: Any, x: Array, delta: Array, share: Callable[[Array], Array], *, overwrite: bool = False, shift: bool = False
) -> Gradients:
    """δ of each window times its share for each element; overlaps add up, or overwrite each other."""
    padded = layer._padded(x, -np.inf if isinstance(layer, backprop.MaxPool2d) else 0)
    below = np.zeros_like(padded)
    (rows, columns), (down, across) = layer.kernel_size, layer.stride
    for i, j in np.ndindex(*delta.shape[2:]):
        part = np.s_[:, :, i * down : i * down + rows, j * across : j * across + columns]
        shares = share(padded[part])
        spread = delta[:, :, i, j, None, None] * shares
        below[part] = np.where(shares > 0, spread, below[part]) if overwrite else below[part] + spread
    if shift:
        return {"input": below[:, :, : x.shape[2], : x.shape[3]]}
    return {"input": layer._unpadded(below)}


def _greatest(window: Array) -> Array:
    return (window == window.max(axis=(2, 3), keepdims=True)).astype(window.dtype)


def _shared_greatest(window: Array) -> Array:
    return _greatest(window) / _greatest(window).sum(axis=(2, 3), keepdims=True)


def _one(window: Array, order: Callable[[Array], Array]) -> Array:
    """1 at one of the greatest: the first after the window's elements were put in another order."""
    numbers = np.arange(window.shape[2] * window.shape[3]).reshape(1, 1, *window.shape[2:])
    sequence = order(numbers).reshape(-1)
    flat = window.reshape(*window.shape[:2], -1)
    first = sequence[flat[:, :, sequence].argmax(axis=2)]
    return (numbers == first[:, :, None, None]).astype(window.dtype)


def _first(window: Array) -> Array:
    return _one(window, lambda numbers: numbers)


def _last(window: Array) -> Array:
    return _one(window, lambda numbers: numbers[:, :, ::-1, ::-1])


def _first_by_column(window: Array) -> Array:
    return _one(window, lambda numbers: numbers.swapaxes(2, 3))


def _equal(window: Array) -> Array:
    return np.full_like(window, 1 / (window.shape[2] * window.shape[3]))


def _pooled(share: Callable[[Array], Array], **options: bool) -> Wrong:
    return lambda layer, x, delta, right: _scatter(layer, x, delta, share, **options)


def _one_row_of_windows(window: Array) -> Array:
    return np.full_like(window, 1 / window.shape[2])


def _adaptive_sum(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": right["input"] * (x.shape[2] * x.shape[3])}


def _adaptive_rows(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": right["input"] * x.shape[3]}


def _globally(share: Callable[[Array], Array]) -> Wrong:
    return lambda layer, x, delta, right: {"input": delta * share(x)}


MAX_POOL = (
    Bug("maxpool-ties-to-all", "MaxPool2d", "every one of several greatest gets all of δ", _pooled(_greatest)),
    Bug("maxpool-ties-shared", "MaxPool2d", "several greatest share δ", _pooled(_shared_greatest)),
    Bug("maxpool-ties-to-the-last", "MaxPool2d", "δ goes to the last of several greatest", _pooled(_last)),
    Bug(
        "maxpool-ties-by-column",
        "MaxPool2d",
        "δ goes to the first of several greatest in column-major order",
        _pooled(_first_by_column),
    ),
    Bug(
        "maxpool-overlap-overwritten",
        "MaxPool2d",
        "overlapping windows overwrite (=) instead of adding up (+=)",
        _pooled(_first, overwrite=True),
    ),
    Bug("maxpool-padding-kept", "MaxPool2d", "∂J/∂x is shifted by the padding", _pooled(_first, shift=True)),
    Bug("maxpool-as-mean", "MaxPool2d", "δ is spread over the window, as in mean pooling", _pooled(_equal)),
    Bug(
        "adaptivemaxpool-ties-to-all",
        "AdaptiveMaxPool2d",
        "every one of several greatest gets all of δ",
        _globally(_greatest),
    ),
    Bug("adaptivemaxpool-ties-shared", "AdaptiveMaxPool2d", "several greatest share δ", _globally(_shared_greatest)),
    Bug(
        "adaptivemaxpool-ties-to-the-last",
        "AdaptiveMaxPool2d",
        "δ goes to the last of several greatest",
        _globally(_last),
    ),
    Bug(
        "adaptivemaxpool-as-mean",
        "AdaptiveMaxPool2d",
        "δ is spread over the map, as in mean pooling",
        _globally(_equal),
    ),
)

AVG_POOL = (
    Bug("avgpool-sum", "AvgPool2d", "the factor 1/K² is missing", _pooled(np.ones_like)),
    Bug("avgpool-divided-by-k", "AvgPool2d", "divided by K instead of K²", _pooled(_one_row_of_windows)),
    Bug(
        "avgpool-overlap-overwritten",
        "AvgPool2d",
        "overlapping windows overwrite (=) instead of adding up (+=)",
        _pooled(_equal, overwrite=True),
    ),
    Bug("avgpool-padding-kept", "AvgPool2d", "∂J/∂x is shifted by the padding", _pooled(_equal, shift=True)),
    Bug("adaptiveavgpool-sum", "AdaptiveAvgPool2d", "the factor 1/(H·W) is missing", _adaptive_sum),
    Bug("adaptiveavgpool-rows", "AdaptiveAvgPool2d", "divided by H instead of H·W", _adaptive_rows),
)
