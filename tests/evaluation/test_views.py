"""Views are what they say: shifted by one pixel, mirrored where a mirror image keeps its label."""

import numpy as np
import pytest

from cnnlab.errors import NumericError
from cnnlab.evaluation import views
from cnnlab.training.events import Event, Loading


class Brightness:
    """An engine whose outputs are the picture's upper left pixel and its sum, or something worse."""

    name, device, precision = "torch", "cpu", "fp32"

    def __init__(self, bad: float | None = None) -> None:
        self.bad = bad
        self.sizes: list[int] = []

    def predict(self, images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.uint8
        assert images.flags.c_contiguous
        self.sizes.append(len(images))
        outputs = np.stack([images[:, 0, 0, 0], images.sum(axis=(1, 2, 3)) / 100], axis=1).astype(np.float32)
        if self.bad is not None:
            outputs[-1, 0] = self.bad
        return outputs


def numbered(n: int = 1) -> np.ndarray:
    return np.arange(n * 12, dtype=np.uint8).reshape(n, 3, 4, 1)


def test_views_shift_by_one_pixel_and_repeat_the_edge() -> None:
    seen = [view[0, :, :, 0].tolist() for view in views.views(numbered(), flip=False)]
    assert len(seen) == views.number_of_views(False) == 5
    assert seen[0] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert [[4, 5, 6, 7], [8, 9, 10, 11], [8, 9, 10, 11]] in seen  # up
    assert [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7]] in seen  # down
    assert [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]] in seen  # left
    assert [[0, 0, 1, 2], [4, 4, 5, 6], [8, 8, 9, 10]] in seen  # right


def test_mirrored_views_are_the_others_mirrored() -> None:
    plain, both = list(views.views(numbered(2), flip=False)), list(views.views(numbered(2), flip=True))
    assert len(both) == views.number_of_views(True) == 10
    for view, mirrored in zip(plain, both[5:], strict=True):
        np.testing.assert_array_equal(view[:, :, ::-1], mirrored)


def test_averages_are_means_of_probabilities() -> None:
    images, engine = numbered(3), Brightness()
    seen = [engine.predict(view) for view in views.views(images, flip=True)]
    softmax = [
        np.exp(z - z.max(1, keepdims=True)) / np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True) for z in seen
    ]
    averaged = views.predict_views(engine, images, True, "cross-entropy", lambda _: None)
    np.testing.assert_allclose(averaged, np.mean(softmax, axis=0), rtol=1e-5)


def test_prediction_goes_in_the_batches_of_training_and_tells_how_far_it_is() -> None:
    images = np.zeros((2300, 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(2300) % 251
    told: list[Event] = []
    engine = Brightness()
    outputs = views.predict(engine, images, told.append)
    assert engine.sizes == [1000, 1000, 300]
    np.testing.assert_array_equal(outputs, Brightness().predict(images))
    assert [(event.done, event.total) for event in told if isinstance(event, Loading)] == [
        (1000, 2300),
        (2000, 2300),
        (2300, 2300),
    ]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_a_numeric_error(bad: float) -> None:
    with pytest.raises(NumericError, match="not finite"):
        views.predict(Brightness(bad), numbered(4), lambda _: None)
    with pytest.raises(NumericError, match="not finite"):
        views.predict_views(Brightness(bad), numbered(4), False, "mse", lambda _: None)
