"""The list of runs: what the files say, and no more; damaged ones are listed too."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from cnnlab.evaluation.listing import summaries
from cnnlab.training.run_folder import RunFolder


def test_a_finished_run(run: Path) -> None:
    (found,) = summaries(run.parent)
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert (found.run, found.arch, found.data, found.seed) == ("digits-mlp", "mlp", "digits", 0)
    assert (found.val_acc, found.test_acc, found.best_epoch) == (
        result["val_acc"],
        result["test_acc"],
        result["best_epoch"],
    )
    assert (found.epochs, found.finished, found.problem) == (3, True, None)
    assert found.started[:2] == "20"
    assert json.loads(json.dumps(found.document()))["path"] == str(run)


def test_an_unfinished_run_is_summed_up_from_its_metrics(run: Path) -> None:
    result = json.loads((run / "result.json").read_text("utf-8"))
    (run / "result.json").unlink()
    (found,) = summaries(run.parent)
    assert (found.val_acc, found.best_epoch) == (result["val_acc"], result["best_epoch"])
    assert (found.test_acc, found.finished) == (None, False)


def test_the_best_epoch_of_an_unfinished_run_is_the_one_whose_weights_count(run: Path) -> None:
    (run / "result.json").unlink()
    rows = RunFolder(run).rows()
    tied = [replace(row, val_acc=0.5, val_loss=loss) for row, loss in zip(rows, (0.9, 0.7, 0.8), strict=True)]
    RunFolder(run).write_rows(tied)
    (found,) = summaries(run.parent)
    assert (found.best_epoch, found.val_acc) == (2, 0.5)


def test_damaged_runs_are_listed_with_their_problem(run: Path) -> None:
    for name, file in (("a", "recipe.yaml"), ("b", "environment.json"), ("c", "result.json"), ("d", "metrics.jsonl")):
        copy = Path(shutil.copytree(run, run.with_name(name)))
        (copy / file).write_bytes(b"\xff\x00{")
    found = {summary.run: summary for summary in summaries(run.parent)}
    assert set(found) == {"a", "b", "c", "d", "digits-mlp"}
    assert all(found[name].problem for name in "abc")
    assert found["d"].epochs == 0


def test_values_of_wrong_kinds_are_unknown(run: Path) -> None:
    (run / "result.json").write_text(json.dumps({"val_acc": "high", "test_acc": [1], "arch": 3, "best_epoch": True}))
    (run / "environment.json").write_text(json.dumps({"data": "digits", "started": 5}))
    (found,) = summaries(run.parent)
    assert (found.val_acc, found.test_acc, found.best_epoch, found.data) == (None, None, None, None)
    assert found.arch == "mlp"


def test_other_folders_are_no_runs(own_world: Path) -> None:
    (own_world / "runs" / "notes").mkdir(parents=True)
    (own_world / "runs" / "file").write_text("x")
    assert summaries(own_world / "runs") == []
    assert summaries(own_world / "none") == []


def test_listing_imports_no_torch(run: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cnnlab.evaluation.listing import summaries; "
        "assert summaries(Path('runs')); assert 'torch' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
