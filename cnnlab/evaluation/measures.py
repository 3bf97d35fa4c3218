"""The figures of an evaluation: outputs and labels in, numbers out. Nothing here knows of runs or files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnlab.training.metrics import log_softmax

BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is recognised; all in [0, 1], None where nothing can be said."""

    name: str
    precision: float | None
    """Share of right ones among those predicted to be of this class; None: none was."""
    recall: float | None
    """Share of this class's pictures that were recognised; None: there are none."""
    f1: float | None
    support: int
    """Pictures of this class."""


@dataclass(frozen=True)
class Calibration:
    """Whether the net knows how sure it may be: by bins of its confidence."""

    ece: float
    """Expected calibration error Σ (nᵇ / n) · |accuracyᵇ − confidenceᵇ| (Guo et al. 2017, eq. 3)."""
    counts: np.ndarray
    """(BINS,) pictures in each bin."""
    confidence: np.ndarray
    """(BINS,) mean confidence, 0 in empty bins."""
    accuracy: np.ndarray
    """(BINS,) share of right predictions, 0 in empty bins."""


def probabilities(outputs: np.ndarray, loss: str) -> np.ndarray:
    """What the outputs (N, classes) say of each class's probability, float64 in [0, 1].

    cross-entropy: softmax. mse: the outputs themselves, cut to [0, 1]: least squares on one-hot labels estimates
    the posterior probabilities directly (Richard and Lippmann 1991); they need not sum to 1.
    """
    if loss == "cross-entropy":
        return np.exp(log_softmax(outputs))
    return np.clip(outputs.astype(np.float64), 0, 1)


def ranks(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) the place of each label among the outputs, 0 for the largest; ties go to the first class, as in argmax."""
    own = outputs[np.arange(len(labels)), labels][:, None]
    before = np.arange(outputs.shape[1]) < labels[:, None]
    return ((outputs > own) | ((outputs == own) & before)).sum(axis=1)


def top5(outputs: np.ndarray, labels: np.ndarray) -> float | None:
    """Share of pictures whose label is among the five largest outputs; None with five classes or fewer, all being."""
    return float((ranks(outputs, labels) < 5).mean()) if outputs.shape[1] > 5 else None


def by_class(labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> list[ClassFigures]:
    """Precision, recall, F1 and support of each class, by scikit-learn."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        labels, predictions, labels=np.arange(len(classes)), zero_division=np.nan, average=None
    )
    return [
        ClassFigures(name, _or_none(precision), _or_none(recall), _or_none(f1), int(support))
        for name, precision, recall, f1, support in zip(classes, *columns, strict=True)
    ]


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) int64: row i, column j counts pictures of class i that were taken for class j."""
    from sklearn.metrics import confusion_matrix as count

    matrix: np.ndarray = count(labels, predictions, labels=np.arange(classes))
    return matrix


def calibration(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """Compare confidence (N,) in [0, 1] with being right (N,) bool, in equal-width bins ((m − 1) / 15, m / 15]."""
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = np.maximum(counts, 1)
    mean = np.bincount(bins, confidence, BINS) / filled
    accuracy = np.bincount(bins, right.astype(float), BINS) / filled
    ece = float((counts * np.abs(accuracy - mean)).sum() / counts.sum())
    return Calibration(ece, counts, mean, accuracy)


def worst(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Indices of the wrong predictions, the most confident first; ties in the order of the pictures."""
    wrong = np.flatnonzero(~right)
    return wrong[np.argsort(-confidence[wrong], kind="stable")]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
