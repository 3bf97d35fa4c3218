"""What the view of a training says beside the figures that the loop gives."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnlab.cli.render.console import Output
from cnnlab.cli.render.train import TrainView, _line, loss, render_result
from cnnlab.training.events import RunFinished
from cnnlab.training.run_folder import EpochRow
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


@pytest.mark.parametrize(
    ("accuracies", "best_epoch", "told"),
    [
        ((0.5, 0.7, 0.6), 2, "best epoch     2 of 3, by validation accuracy"),
        ((0.5, 0.7, 0.6), 3, "weights of     the last epoch, 3"),
        ((None, None, None), 3, "weights of     the last epoch, 3"),
        ((0.5, 0.6, 0.7), 3, "best epoch     3 of 3, by validation accuracy"),
    ],
)
def test_the_result_says_by_what_its_epoch_was_chosen(capfd, accuracies, best_epoch, told):
    rows = [EpochRow(epoch, 1.0, 1.0, 0.5, 1.0, one, 0.1, 9.0, 1.0) for epoch, one in enumerate(accuracies, 1)]
    result = {"best_epoch": best_epoch, "epochs": 3, "test_acc": 0.5, "train_acc": 0.5, "val_acc": None}
    result |= {"arch": "cnn", "fallback": False, "seconds": 3.0, "images_per_s": 9.0}
    render_result(Output(), RunFinished(Path("runs/x"), result, tuple(rows), None))
    assert told in capfd.readouterr().out


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.30259, "2.3026"), (999.9998, "999.9998"), (999.99999, "1.0e+03"), (1.2345e33, "1.2e+33"), (3e300, "3.0e+300")],
)
def test_the_losses_of_a_training_that_diverges_keep_their_columns(value, shown):
    assert loss(value) == shown
    line = _line(EpochRow(1, value, value, 0.1, 1.0, 0.1, 0.1, 900.0, 1.0), 20, "4:00")
    assert len(line) == len(_line(None, 20, None)) <= 80
