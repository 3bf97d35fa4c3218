"""From maps to a row of features."""

from cnnlab.backprop.layer import Array, Layer, ShapeError


class Flatten(Layer):
    """(N, C, H, W) → (N, C·H·W), row-major; any number of axes after the first."""

    def forward(self, x: Array) -> Array:
        """The same values, one row an image."""
        self._check_input(x)
        if x.ndim < 2:
            raise ShapeError(f"{self} expects an input of at least two axes, received {x.shape}")
        return self._keep(x.reshape(x.shape[0], -1), x.shape)

    def backward(self, delta: Array) -> Array:
        """The same δ, in the input's shape.

        Scalar: ∂J/∂x[n,c,i,j] = δ[n, (c·H + i)·W + j]
        Vector: ∂J/∂x = reshape(δ, shape of x)
        """
        (shape,) = self._recall(delta)
        return delta.reshape(shape)
