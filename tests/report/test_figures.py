"""The figures of one run."""

import pytest

from cnnlab.report.figures import draw_curves
from cnnlab.training.run_folder import EpochRow


@pytest.mark.parametrize(("best", "label"), [(True, "best epoch, 1"), (False, "last epoch, 1")])
def test_the_marked_epoch_is_called_what_it_is(tmp_path, monkeypatch, best, label):
    drawn = []
    monkeypatch.setattr("cnnlab.report.figures.save", lambda figure, path: drawn.append(figure))
    rows = [EpochRow(epoch, 1.0, 1.0, 0.5, 0.5, 0.1, 0.1, 9.0, 1.0) for epoch in (1, 2)]
    draw_curves(tmp_path / "curves.png", rows, 1, "a title", best=best)
    (figure,) = drawn
    assert label in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
