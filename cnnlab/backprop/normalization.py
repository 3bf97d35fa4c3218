"""Batch normalisation (Ioffe and Szegedy 2015)."""

import math

import numpy as np
from numpy.typing import DTypeLike

from cnnlab.backprop.layer import Array, Layer, ShapeError, float_dtype, number, positive
from cnnlab.backprop.parallel import over_batch
from cnnlab.errors import NumericError


class _BatchNorm(Layer):
    """y = γ (x − μ) / √(σ² + ε) + β by channel; `weight` is γ, `bias` is β.

    In training μ and σ² are those of the batch (σ² divided by m, the number of values of a channel), and the running
    ones move by `momentum` towards them (there σ² is divided by m − 1, as in torch); in evaluation the running ones
    are used.
    """

    parameter_names = ("weight", "bias")
    buffer_names = ("running_mean", "running_var", "num_batches_tracked")
    _ranks: tuple[int, ...] = ()

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, dtype: DTypeLike = np.float32
    ) -> None:
        super().__init__()
        self.num_features = positive(type(self).__name__, "num_features", num_features)
        self.eps = number(type(self).__name__, "eps", eps, 0, math.inf)
        self.momentum = number(type(self).__name__, "momentum", momentum, 0, 1)
        dtype = float_dtype(dtype)
        self.weight = np.ones(num_features, dtype)
        self.bias = np.zeros(num_features, dtype)
        self.running_mean = np.zeros(num_features, dtype)
        self.running_var = np.ones(num_features, dtype)
        self.num_batches_tracked = np.array(0, np.int64)

    def _describe(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"

    def forward(self, x: Array) -> Array:
        """y = γ x̂ + β, x̂ = (x − μ) / √(σ² + ε); the shape of x, channels on axis 1.

        Raises:
            ShapeError: the number of axes or channels is wrong, or in training a channel has a single value.
            NumericError: a running variance that was assigned is negative.
        """
        self._check_input(x)
        if x.ndim not in self._ranks or x.shape[1] != self.num_features:
            axes = " or ".join(str(rank) for rank in self._ranks)
            raise ShapeError(f"{self} expects {self.num_features} channels and {axes} axes, received {x.shape}")
        gamma = self._parameter("weight", (self.num_features,), x.dtype)
        beta = self._parameter("bias", (self.num_features,), x.dtype)
        maps = x.reshape(x.shape[0], self.num_features, -1)  # (N, C, P)
        mean, variance = self._statistics(maps)
        inverse = 1 / np.sqrt(variance + self.eps)  # (C,)
        normal, y = np.empty_like(maps), np.empty_like(maps)
        shift, scale = _by_channel(mean, x), _by_channel(inverse, x)

        def work(first: int, last: int, worker: int) -> None:
            for n in range(first, last):
                np.subtract(maps[n], shift, out=normal[n])
                normal[n] *= scale
                np.multiply(normal[n], gamma[:, None], out=y[n])
                y[n] += beta[:, None]

        over_batch(work, x.shape[0], 4 * x.size)
        return self._keep(y.reshape(x.shape), normal, gamma, inverse, self.training)

    def backward(self, delta: Array) -> Array:
        """In training μ and σ² depend on every x of the channel: two more terms besides γ/√(σ²+ε) · δ.

        Scalar: ∂J/∂γ = Σᵢ δ[i] · x̂[i];  ∂J/∂β = Σᵢ δ[i];
                ∂J/∂x[i] = γ/√(σ²+ε) · (δ[i] − 1/m · Σₖ δ[k] − x̂[i] · 1/m · Σₖ δ[k] · x̂[k]), over the m values of a
                channel;  in evaluation ∂J/∂x[i] = γ/√(σ²+ε) · δ[i]
        Vector: ∂J/∂x = γ/√(σ²+ε) · (δ − mean(δ) − x̂ ∘ mean(δ ∘ x̂))
        """
        normal, gamma, inverse, training = self._recall(delta)
        maps = np.ascontiguousarray(delta).reshape(normal.shape)  # (N, C, P)
        beta_sum = maps.sum(axis=2).sum(axis=0, dtype=np.float64)
        gamma_sum = _products(maps, normal).sum(axis=0, dtype=np.float64)
        self.grads["weight"] = gamma_sum.astype(delta.dtype)
        self.grads["bias"] = beta_sum.astype(delta.dtype)
        count = normal.size // self.num_features
        factor = _by_channel(gamma * inverse, delta)
        mean_delta, mean_product = _by_channel(beta_sum / count, delta), _by_channel(gamma_sum / count, delta)
        below = np.empty_like(maps)

        def work(first: int, last: int, worker: int) -> None:
            for n in range(first, last):
                if training:
                    np.multiply(normal[n], mean_product, out=below[n])
                    np.subtract(maps[n], below[n], out=below[n])
                    below[n] -= mean_delta
                    below[n] *= factor
                else:
                    np.multiply(maps[n], factor, out=below[n])

        over_batch(work, normal.shape[0], 4 * normal.size)
        return below.reshape(delta.shape)

    def _statistics(self, maps: Array) -> tuple[Array, Array]:
        """μ and σ² of each channel in float64; in training the running ones are moved."""
        running = [self._parameter(name, (self.num_features,), np.dtype(np.float64)) for name in self.buffer_names[:2]]
        if running[1].min() < 0:
            raise NumericError(f"{self} expects a running_var of at least 0, received {running[1].min():.4g}")
        if not self.training:
            return running[0], running[1]
        count = maps.shape[0] * maps.shape[2]
        if count < 2:
            raise ShapeError(
                f"{self} expects more than one value a channel in training, received {maps.shape[0]} images "
                f"of {maps.shape[2]} values a channel"
            )
        mean = maps.sum(axis=2).sum(axis=0, dtype=np.float64) / count
        shift = _by_channel(mean, maps)
        squares = np.empty(maps.shape[:2], maps.dtype)

        def work(first: int, last: int, worker: int) -> None:
            for n in range(first, last):
                centred = maps[n] - shift
                squares[n] = _products(centred, centred)

        over_batch(work, maps.shape[0], 2 * maps.size)
        total = squares.sum(axis=0, dtype=np.float64)
        self._move("running_mean", mean)
        self._move("running_var", total / (count - 1))
        self.num_batches_tracked = self.num_batches_tracked + 1
        return mean, total / count

    def _move(self, name: str, observed: Array) -> None:
        running = np.asarray(getattr(self, name))
        moved = (1 - self.momentum) * running + self.momentum * observed
        setattr(self, name, moved.astype(running.dtype))


class BatchNorm1d(_BatchNorm):
    """Over the batch for (N, C), over batch and positions for (N, C, L)."""

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Over the batch and all positions of a map: (N, C, H, W)."""

    _ranks = (4,)


def _by_channel(values: Array, like: Array) -> Array:
    """(C,) → (C, 1), in the dtype of `like`."""
    return values.astype(like.dtype)[:, None]


def _products(a: Array, b: Array) -> Array:
    """Σ over the last axis of a ∘ b, without the array in between."""
    summed: Array = np.einsum("...p,...p->...", a, b)
    return summed
