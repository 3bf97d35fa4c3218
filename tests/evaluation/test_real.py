"""A run on real photographs: CIFAR-10 (JPEG), evaluated, exported, its pictures classified one by one."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from cnnlab.evaluation.classify import classify
from cnnlab.evaluation.evaluate import evaluate
from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training.loop import train
from cnnlab.training.settings import Settings

ARCHIVE = Path(os.environ.get("CNNLAB_TEST_CIFAR", Path(__file__).parents[3] / "shared/data/cifar10-jpeg.tar.gz"))
pytestmark = pytest.mark.realdata


def test_a_run_on_photographs(own_world: Path) -> None:
    if not ARCHIVE.is_file():
        pytest.skip(f"needs CIFAR-10 (JPEG): {ARCHIVE} is not there; name it with CNNLAB_TEST_CIFAR")
    recipe = resolve(arch=parse_spec("lenet"), flags={"--data": str(ARCHIVE), "--epochs": 1, "--batch-size": 256})
    run = train(recipe, Settings(out=own_world / "runs", name="photographs"))
    found = evaluate(run.run, onnx=Path("net.onnx"), tta=True)
    assert (found.top1, found.loss) == (run.result["test_acc"], run.result["test_loss"])
    assert 0.2 < found.top1 < 1
    assert found.onnx is not None
    assert (found.onnx.checked, found.onnx.same_top1) == (1000, 1000)
    assert found.tta is not None
    assert found.tta.views == 10
    expected = precision_recall_fscore_support(found.labels, found.predictions)
    received = np.array([[row.precision, row.recall, row.f1, row.support] for row in found.classes]).T
    np.testing.assert_array_equal(received, np.array(expected, dtype=float))
    worst = [str(mistake.image) for mistake in found.mistakes[:5]]
    with tarfile.open(ARCHIVE) as archive:
        members = [member for member in archive if member.name.removeprefix("./").endswith(tuple(worst))]
        archive.extractall(own_world, members, filter="data")
    again = classify(run.run, [next(own_world.rglob(name)) for name in worst])
    assert [prediction.prediction for prediction in again.predictions] == [m.prediction for m in found.mistakes[:5]]
