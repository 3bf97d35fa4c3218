"""Loss and accuracy of outputs, the same for both engines: float64, no smoothing."""

import math

import numpy as np


def log_softmax(outputs: np.ndarray) -> np.ndarray:
    """log(exp z / Σ exp z) along the last axis, in float64."""
    with np.errstate(invalid="ignore"):  # outputs that are not finite are told with their step and layer
        shifted = outputs.astype(np.float64) - outputs.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def losses(outputs: np.ndarray, labels: np.ndarray, loss: str) -> np.ndarray:
    """The loss of each picture (N,) float64.

    Args:
        outputs: (N, classes).
        labels: (N,) int64.
        loss: cross-entropy: −log softmax at the label. mse: ½ Σ (a − y)², y the one-hot label.
    """
    if loss == "cross-entropy":
        return -log_softmax(outputs)[np.arange(len(labels)), labels]
    difference = outputs.astype(np.float64)
    difference[np.arange(len(labels)), labels] -= 1
    return 0.5 * np.square(difference).sum(axis=1)


def loss_of_guessing(classes: int, loss: str) -> float:
    """The loss of outputs that favour no class: ln C, or for mse ½ (1 − 1/C), all outputs being 1/C."""
    return math.log(classes) if loss == "cross-entropy" else 0.5 * (1 - 1 / classes)


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of pictures whose largest output is their label's, in [0, 1]."""
    return float((outputs.argmax(axis=1) == labels).mean())
