"""The losses: a number for outputs and targets, and δ = ∂J/∂output."""

from typing import Any

import numpy as np

from cnnlab.backprop.layer import DTYPES, Array, DtypeError, ShapeError, is_finite, number
from cnnlab.errors import NumericError, UsageError


class Loss:
    """`forward(output, target)` gives J, the mean over the batch; `backward()` gives ∂J/∂output.

    `output` is (N, K); `target` is (N, K), or (N,) with class numbers.
    """

    def __init__(self) -> None:
        self._saved: tuple[Array, Array] | None = None

    def __call__(self, output: Array, target: Array) -> float:
        return self.forward(output, target)

    def forward(self, output: Array, target: Array) -> float:
        """J, the mean over the batch."""
        raise NotImplementedError

    def backward(self) -> Array:
        """∂J/∂output of the last forward, the shape of the output."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _accept(self, output: Array, target: Array) -> Array:
        """The target as (N, K) in the dtype of the output, both checked."""
        if not isinstance(output, np.ndarray) or output.dtype not in DTYPES:
            kind = getattr(output, "dtype", type(output).__name__)
            raise DtypeError(f"{self} expects a float32 or float64 array as output, received {kind}")
        if output.ndim != 2 or output.size == 0:
            raise ShapeError(f"{self} expects an output of shape (N, K), received {output.shape}")
        if not is_finite(output):
            raise NumericError(f"{self} received an output of shape {output.shape} that is not finite")
        try:
            target = np.asarray(target)
        except ValueError as error:
            raise ShapeError(f"{self} expects a target of shape {output.shape}: {error}") from None
        if target.ndim == 1 and target.dtype.kind in "iu":
            target = _one_hot(self, target, output)
        if target.shape != output.shape:
            raise ShapeError(
                f"{self} expects a target of shape {output.shape}, or {len(output)} class numbers as integers; "
                f"received {target.dtype} {target.shape}"
            )
        if target.dtype.kind not in "fiub":
            raise DtypeError(f"{self} expects a target of real numbers, received {target.dtype} {target.shape}")
        if not np.isfinite(target).all():
            raise NumericError(f"{self} received a target of shape {target.shape} that is not finite")
        return target.astype(output.dtype, copy=False)

    def _recall(self) -> tuple[Array, Array]:
        if self._saved is None:
            raise UsageError(f"{self}: backward before forward", hint="Call loss(output, target) first")
        return self._saved


class HalfSquaredError(Loss):
    """J = 1/N · Σₙ ½ Σⱼ (a[n,j] − y[n,j])²: the lecture's loss (torch's MSELoss differs by a factor K/2)."""

    def forward(self, output: Array, target: Array) -> float:
        """J = ½ Σ (a − y)², summed over the outputs, mean over the batch."""
        difference = output - self._accept(output, target)
        self._saved = (difference, output)
        return float(0.5 * np.square(difference).sum(axis=1).mean(dtype=np.float64))

    def backward(self) -> Array:
        """The difference itself, divided by the number of images.

        Scalar: ∂J/∂a[n,j] = (a[n,j] − y[n,j]) / N
        Vector: ∂J/∂a = (a − y) / N
        """
        difference, output = self._recall()
        return difference / output.dtype.type(len(output))


class CrossEntropyLoss(Loss):
    """J = −1/N · Σₙ Σₖ y[n,k] log p[n,k], p = softmax(z), with label smoothing and soft targets as in torch."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = number("CrossEntropyLoss", "label_smoothing", label_smoothing, 0, 1)

    def forward(self, output: Array, target: Array) -> float:
        """J of the logits z; a target y is smoothed to (1 − ε) y + ε/K first."""
        y = self._accept(output, target)
        y = (1 - self.label_smoothing) * y + self.label_smoothing / output.shape[1]
        shifted = output - output.max(axis=1, keepdims=True)  # the same softmax, and e to it cannot overflow
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self._saved = (np.exp(log_p), y)
        return float(-(y * log_p).sum(axis=1).mean(dtype=np.float64))

    def backward(self) -> Array:
        """What the net says less what is true; Σₖ y[n,k] is 1 unless the targets are weights of another sum.

        Scalar: ∂J/∂z[n,k] = (p[n,k] · Σⱼ y[n,j] − y[n,k]) / N
        Vector: ∂J/∂z = (p − y) / N
        """
        p, y = self._recall()
        delta: Array = (p * y.sum(axis=1, keepdims=True) - y) / p.dtype.type(len(p))
        return delta


def _one_hot(loss: Loss, labels: Array, output: Array) -> Array:
    if len(labels) != len(output):
        raise ShapeError(f"{loss} expects {len(output)} labels, received {len(labels)}")
    if labels.min() < 0 or labels.max() >= output.shape[1]:
        raise ShapeError(
            f"{loss} expects labels from 0 to {output.shape[1] - 1}, received {labels.min()} to {labels.max()}"
        )
    hot: np.ndarray[Any, Any] = np.zeros(output.shape, output.dtype)
    hot[np.arange(len(labels)), labels] = 1
    return hot
