"""The figures against scikit-learn, and against loops that a reader can check."""

import numpy as np
import pytest
from sklearn import metrics as reference

from cnnlab.evaluation import measures

RNG = np.random.default_rng(5)
NAMES = tuple("abcdefg")


def some(n: int = 200, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    outputs = RNG.normal(size=(n, classes)).astype(np.float32)
    labels = RNG.integers(0, classes, n)
    outputs[np.arange(n), labels] += 1
    return outputs, labels


def test_figures_by_class_are_those_of_scikit_learn() -> None:
    outputs, labels = some()
    predictions = outputs.argmax(axis=1)
    report = reference.classification_report(labels, predictions, target_names=NAMES, output_dict=True)
    for row in measures.by_class(labels, predictions, NAMES):
        assert row.precision == pytest.approx(report[row.name]["precision"], abs=0)
        assert row.recall == pytest.approx(report[row.name]["recall"], abs=0)
        assert row.f1 == pytest.approx(report[row.name]["f1-score"], abs=1e-15)
        assert row.support == report[row.name]["support"]


def test_what_cannot_be_said_is_none() -> None:
    labels, predictions = np.array([0, 0, 1, 3]), np.array([0, 2, 0, 3])
    zero, one, two, three, four = measures.by_class(labels, predictions, "01234")
    assert (zero.precision, zero.recall, zero.f1, zero.support) == (0.5, 0.5, 0.5, 2)
    assert (one.precision, one.recall, one.f1, one.support) == (None, 0.0, 0.0, 1)  # never predicted
    assert (two.precision, two.recall, two.f1, two.support) == (0.0, None, 0.0, 0)  # none there
    assert (three.precision, three.recall, three.f1) == (1.0, 1.0, 1.0)
    assert (four.precision, four.recall, four.f1, four.support) == (None, None, None, 0)


def test_rows_of_the_confusion_matrix_are_true_classes() -> None:
    matrix = measures.confusion_matrix(np.array([0, 0, 2]), np.array([1, 1, 0]), 4)
    assert matrix.tolist() == [[0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_top5_counts_ties_as_argmax_does() -> None:
    outputs, labels = some()
    expected = reference.top_k_accuracy_score(labels, outputs, k=5, labels=range(7))
    assert measures.top5(outputs, labels) == pytest.approx(expected)
    assert ((measures.ranks(outputs, labels) == 0) == (outputs.argmax(axis=1) == labels)).all()
    level = np.zeros((6, 6))
    assert measures.ranks(level, np.arange(6)).tolist() == [0, 1, 2, 3, 4, 5]
    assert measures.top5(level, np.arange(6)) == pytest.approx(5 / 6)


def test_top5_says_nothing_of_five_classes() -> None:
    assert measures.top5(np.zeros((3, 5)), np.array([0, 4, 2])) is None


def ece_by_loop(confidence: np.ndarray, right: np.ndarray) -> float:
    """Guo et al. 2017, equations 2 and 3, word for word."""
    total = 0.0
    for m in range(1, 16):
        inside = [i for i, p in enumerate(confidence) if (m - 1) / 15 < p <= m / 15]
        if inside:
            total += abs(sum(right[i] for i in inside) - sum(confidence[i] for i in inside))
    return total / len(confidence)


def test_the_calibration_error_is_that_of_the_paper() -> None:
    outputs, labels = some(500)
    confidence = measures.probabilities(outputs, "cross-entropy").max(axis=1)
    right = outputs.argmax(axis=1) == labels
    found = measures.calibration(confidence, right)
    assert found.ece == pytest.approx(ece_by_loop(confidence, right), rel=1e-12)
    assert found.counts.sum() == 500
    assert found.ece > 0.01


def test_a_bin_holds_its_upper_border_and_not_its_lower() -> None:
    found = measures.calibration(np.array([0.01, 1 / 15, 0.07, 0.5, 0.99]), np.ones(5, bool))
    assert np.flatnonzero(found.counts).tolist() == [0, 1, 7, 14]
    assert found.counts[0] == 2
    np.testing.assert_allclose(found.confidence[[1, 7, 14]], [0.07, 0.5, 0.99])


def test_calibration_of_certainty() -> None:
    sure = measures.calibration(np.ones(4), np.array([True, True, False, True]))
    assert sure.ece == pytest.approx(0.25)
    assert sure.counts.tolist() == [0] * 14 + [4]
    assert measures.calibration(np.zeros(2), np.array([False, False])).ece == 0


def test_probabilities() -> None:
    softmax = measures.probabilities(np.array([[1000.0, 1000.0, -1000.0]]), "cross-entropy")
    assert softmax.tolist() == [[0.5, 0.5, 0.0]]
    cut = measures.probabilities(np.array([[1.2, -0.1, 0.3]], np.float32), "mse")
    np.testing.assert_allclose(cut, [[1.0, 0.0, 0.3]], rtol=1e-6)


def test_the_worst_mistakes_come_first_and_ties_keep_their_order() -> None:
    confidence = np.array([0.9, 0.5, 0.99, 0.5, 0.7, 0.5])
    right = np.array([False, False, True, False, False, False])
    assert measures.worst(confidence, right).tolist() == [0, 4, 1, 3, 5]
