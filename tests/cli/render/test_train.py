"""What the view of a training says beside the figures that the loop gives."""

from types import SimpleNamespace

import pytest

from cnnlab.cli.render.train import TrainView
from cnnlab.training.schedule import FULL_SIZE, Growth


@pytest.mark.parametrize(
    ("growth", "first_epoch", "epochs_done", "left"),
    [
        (FULL_SIZE, 1, 2, "4:00"),
        (FULL_SIZE, 9, 9.5, "0:20"),
        # (1/2)², (5/8)², (3/4)², (7/8)² and 1 of an epoch's work, for two epochs each: 0.5 done, 5.4375 left
        (Growth(0.5, 0.8), 1, 2, "10:52"),
        (Growth(0.5, 0.8), 9, 9, "1:00"),
    ],
)
def test_the_time_left_goes_with_the_work_that_is_left(monkeypatch, growth, first_epoch, epochs_done, left):
    monkeypatch.setattr("time.monotonic", lambda: 160.0)
    view = TrainView(None)
    view.began, view.started = 100.0, SimpleNamespace(growth=growth, epochs=10, first_epoch=first_epoch)
    assert view._left(epochs_done) == left
    assert view._left(first_epoch - 1) == "--:--"
