"""The fully connected layer."""

import numpy as np
from numpy.typing import DTypeLike

from cnnlab.backprop.layer import Array, Layer, ShapeError, positive, uniform


class Linear(Layer):
    """z = x Wᵀ + b; `weight` is (out_features, in_features), `bias` (out_features,) or None."""

    parameter_names = ("weight", "bias")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = positive("Linear", "in_features", in_features)
        self.out_features = positive("Linear", "out_features", out_features)
        self.weight = uniform((out_features, in_features), in_features, dtype, rng)
        self.bias = uniform((out_features,), in_features, dtype, rng) if bias else None

    def _describe(self) -> str:
        return f"{self.in_features}, {self.out_features}"

    def forward(self, x: Array) -> Array:
        """z[n,j] = Σₖ w[j,k] · x[n,k] + b[j]. (N, in_features) → (N, out_features)."""
        self._check_input(x, "N", "in_features")
        if x.shape[1] != self.in_features:
            raise ShapeError(f"{self} expects an input of shape (N, {self.in_features}), received {x.shape}")
        weight = self._parameter("weight", (self.out_features, self.in_features), x.dtype)
        z = x @ weight.T  # (N, out_features)
        if self.bias is not None:
            z += self._parameter("bias", (self.out_features,), x.dtype)
        return self._keep(z, x, weight)

    def backward(self, delta: Array) -> Array:
        """δ passes back through Wᵀ; the gradient of a weight is its input times its δ.

        Scalar: ∂J/∂w[j,k] = Σₙ δ[n,j] · x[n,k];  ∂J/∂b[j] = Σₙ δ[n,j];  ∂J/∂x[n,k] = Σⱼ w[j,k] · δ[n,j]
        Vector: ∂J/∂W = δᵀ x;  ∂J/∂b = δᵀ 1;  ∂J/∂x = δ W;  for one image, as columns: δ aᵀ and Wᵀ δ
        """
        x, weight = self._recall(delta)
        self.grads["weight"] = delta.T @ x  # (out_features, N) (N, in_features)
        if self.bias is not None:
            self.grads["bias"] = delta.sum(axis=0)
        delta_below: Array = delta @ weight  # (N, out_features) (out_features, in_features)
        return delta_below
