"""Parts of a run folder that are whole, but no part of this run: other runs' checkpoints, lines out of their order."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from cnnlab.errors import CheckpointError
from cnnlab.training.going_on import result_of
from cnnlab.training.gradients import recorded
from cnnlab.training.run_folder import RunFolder


def train(cli, name, *more):
    ended = cli("train", "--arch", "mlp:depth=1,width=8", "--data", "digits", "--epochs", "2", "--batch-size", "256",
                "--threads", "1", "--name", name, "--gradients", *more)  # fmt: skip
    assert ended.code == 0, ended.err
    return Path("runs") / name


def sign(manifest, **changes):
    """Change a manifest as a stranger would who wants it believed."""
    document = {**json.loads(manifest.read_text()), **changes}
    document.pop("manifest_sha256")
    signed = hashlib.sha256(json.dumps(document, indent=2).encode() + b"\n").hexdigest()
    manifest.write_text(json.dumps({**document, "manifest_sha256": signed}, indent=2) + "\n")


def take(other, run, *names):
    for name in names:
        for kind in (".json", ".safetensors"):
            shutil.copy(other / "checkpoints" / f"{name}{kind}", run / "checkpoints" / f"{name}{kind}")


def test_the_best_weights_of_another_run_are_not_taken(cli):
    run, other = train(cli, "run", "--set", "train.select=last"), train(cli, "other", "--seed", "1")
    sign(other / "checkpoints/best.json", epoch=2)
    best = (run / "checkpoints/best.safetensors").read_bytes()
    take(other, run, "best")
    evaluated = cli("evaluate", run)
    assert evaluated.code == 3
    assert "seed: 0, the checkpoint's 1" in evaluated.err
    (run / "result.json").unlink()
    ended = cli("train", "--resume", run)
    assert ended.code == 0, ended.err
    assert "is written again" in " ".join(ended.out.split())
    assert (run / "checkpoints/best.safetensors").read_bytes() == best


def test_a_checkpoint_of_other_data_is_refused(cli):
    run = train(cli, "run")
    (run / "result.json").unlink()
    for name in ("last", "previous"):
        sign(run / f"checkpoints/{name}.json", data_fingerprint="0" * 64)
    ended = cli("train", "--resume", run)
    assert ended.code == 3
    assert "saved with other data than the run's" in ended.err


@pytest.mark.parametrize(
    "midway",
    [
        {"steps": 6, "objective": 1.0, "seconds": 0},
        {"steps": 10**6, "objective": 1.0, "seconds": 1.0},
        {"steps": 1, "objective": 1.0, "seconds": 1e308},
        {"steps": 1, "objective": "1", "seconds": 1.0},
        {"steps": 10**400, "objective": 1.0, "seconds": 1.0},
    ],
)
def test_a_half_done_epoch_that_cannot_be(cli, midway):
    run = train(cli, "run")
    (run / "result.json").unlink()
    sign(run / "checkpoints/last.json", epoch=1, best_epoch=1, midway=midway)
    ended = cli("train", "--resume", run)
    assert ended.code == 3, ended.err
    assert "does not say how far its epoch was" in ended.err


TOO_LONG = "a" * 300
"""A link to a file of this name leads to what no system has, and says so otherwise than a missing file does."""


@pytest.mark.parametrize(
    ("file", "arguments", "code"),
    [
        ("result.json", ("evaluate", "run"), 0),
        ("result.json", ("train", "--resume", "run"), 0),
        ("result.json", ("compare", "run", "other"), 0),
        ("result.json", ("compare", "mlp:depth=1,width=8", "other"), 0),
        ("metrics.jsonl", ("train", "--resume", "run"), 0),
        ("metrics.jsonl", ("compare", "run", "other"), 3),
        ("checkpoints", ("evaluate", "run"), 3),
        ("checkpoints/best.json", ("evaluate", "run"), 3),
    ],
)
def test_a_link_to_a_name_that_is_too_long(cli, digits_run, file, arguments, code):
    for name in ("run", "other"):
        shutil.copytree(digits_run, f"runs/{name}")
    part = Path("runs/run", file)
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    part.symlink_to(TOO_LONG)
    ended = cli(*arguments)
    assert ended.code == code, ended.err


@pytest.mark.parametrize(("name", "told"), [("last", "File name too long"), ("previous", None)])
def test_a_checkpoint_that_is_such_a_link_is_passed_over(cli, digits_run, name, told):
    shutil.copytree(digits_run, "run")
    Path("run/result.json").unlink()
    Path(f"run/checkpoints/{name}.json").unlink()
    Path(f"run/checkpoints/{name}.json").symlink_to(TOO_LONG)
    ended = cli("train", "--resume", "run")
    assert ended.code == 0, ended.err
    assert (told or "") in ended.out
    assert ("going on from the checkpoint before it" in " ".join(ended.out.split())) is (told is not None)


@pytest.mark.parametrize("part", ["runs", "runs/1-a-s0"])
def test_a_comparison_with_such_a_link_among_its_runs(cli, part):
    nets = ("a=mlp:depth=1,width=8", "b=mlp:depth=1,width=4")
    asked = ("--data", "digits", "--epochs", "1", "--batch-size", "256", "--threads", "1")
    assert cli("compare", *nets, *asked, "--name", "cmp").code == 0
    shutil.rmtree(Path("runs/cmp", part))
    Path("runs/cmp", part).symlink_to(TOO_LONG)
    ended = cli("compare", *nets, *asked, "--name", "cmp")
    assert ended.code == 4, ended.err
    assert "it is a symbolic link to " in ended.err
    assert len(ended.err) < 600
    ended = cli("compare", nets[0], "c=mlp:depth=1,width=5", *asked, "--name", "another")
    assert ended.code == 0, ended.err


def test_a_run_is_not_given_the_name_of_such_a_link(cli):
    Path("runs").mkdir()
    Path("runs/taken").symlink_to(TOO_LONG)
    ended = cli("train", "--arch", "mlp:depth=1,width=8", "--data", "digits", "--name", "taken")
    assert ended.code == 2
    assert "runs/taken exists already" in ended.err


ROW = {"epoch": 1, "objective": 1.0, "train_loss": 1.0, "train_acc": 0.5, "val_loss": 1.0, "val_acc": 0.5, "lr": 0.1,
       "images_per_s": 10.0, "seconds": 1.0}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "whole"),
    [
        ([{}, {"epoch": 2}], 2),
        ([{}, {}], 1),
        ([{"epoch": 2}, {}], 0),
        ([{}, {"epoch": 3}], 1),
        ([{}, {"epoch": 2, "seconds": float("inf")}], 1),
        ([{"val_acc": float("nan")}], 0),
        ([{"epoch": 10**400}], 0),
        ([{}, {"epoch": 2, "seconds": -1.0}], 1),
        ([{}, {"epoch": 2, "images_per_s": 1e308}], 1),
    ],
)
def test_metrics_count_up_to_the_first_line_that_is_not_the_next_epochs(changes, whole):
    Path("metrics.jsonl").write_text("".join(json.dumps({**ROW, **change}) + "\n" for change in changes))
    assert len(RunFolder(Path()).rows()) == whole


@pytest.mark.parametrize("change", [{"epoch": "x"}, {"epoch": None}, {"layer": 5}, {"delta_rms": [1]}, {"dead": "all"}])
def test_gradients_that_no_training_wrote_do_not_stop_a_run(cli, change):
    run = train(cli, "run")
    (run / "result.json").unlink()
    lines = (run / "gradients.jsonl").read_text().splitlines()
    lines[3] = json.dumps({**json.loads(lines[3]), **change})
    (run / "gradients.jsonl").write_text("\n".join(lines))
    assert len(recorded(RunFolder(run))) == 3
    assert cli("train", "--resume", run).code == 0


@pytest.mark.parametrize(
    "change", [{"best_epoch": 3}, {"best_epoch": 1.5}, {"epochs": 1e9}, {"train_acc": float("nan")}]
)
def test_a_result_that_no_training_wrote(digits_run, change):
    shutil.copytree(digits_run, "run")
    result = Path("run/result.json")
    result.write_text(json.dumps({**json.loads(result.read_text()), "epochs": 2, "best_epoch": 1, **change}))
    told = f"not what a training wrote: {next(iter(change))}|best_epoch is|NaN is not a finite number"
    with pytest.raises(CheckpointError, match=told):
        result_of(RunFolder(Path("run")))


PHASE = {"name": "data", "seconds": 1.0, "share": 0.5, "ms_per_step": None}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("arch", None),
        ("arch", [1]),
        ("device", None),
        ("data", {}),
        ("precision", 1),
        ("seconds", 1e308),
        ("train_acc", 2),
        ("test_acc", "x"),
        ("profile", [1]),
        ("profile", {"seconds": {}}),
        ("profile", {"seconds": 1.0, "steps": 1, "phases": [1]}),
        ("profile", {"seconds": 1.0, "steps": 1, "phases": [{**PHASE, "name": "\x1b[31m"}]}),
        ("profile", {"seconds": 1.0, "steps": 1, "phases": [{**PHASE, "name": []}]}),
        ("profile", {"seconds": 1.0, "steps": 1, "phases": [{**PHASE, "share": "x"}]}),
    ],
)
def test_a_finished_run_whose_result_shows_what_no_training_wrote(cli, digits_run, key, value):
    shutil.copytree(digits_run, "run")
    result = Path("run/result.json")
    result.write_text(json.dumps({**json.loads(result.read_text()), key: value}))
    ended = cli("train", "--resume", "run")
    assert ended.code == 3, ended.err
    assert f"result.json is not what a training wrote: {key} is" in ended.err


def test_the_device_of_a_result_is_asked_for_and_shown_escaped(cli, digits_run):
    for name in ("run", "other"):
        shutil.copytree(digits_run, f"runs/{name}")
    result = Path("runs/run/result.json")
    document = json.loads(result.read_text())
    result.write_text(json.dumps({**document, "device": "\x1b[31mPWN\u202e"}))
    assert cli("compare", "run", "other", "--name", "cmp").code == 0
    assert "\\\\u202e" in Path("runs/cmp/comparison.json").read_text("utf-8")
    assert "\u202e" not in Path("runs/cmp/comparison.json").read_text("utf-8")
    del document["device"]
    result.write_text(json.dumps(document))
    ended = cli("compare", "run", "other")
    assert ended.code == 3, ended.err
    assert "device is null" in ended.err


def test_a_lock_that_is_a_link_empties_no_file(cli, digits_run):
    shutil.copytree(digits_run, "run")
    Path("run/result.json").unlink()
    Path("precious").write_text("kept")
    Path("run/.lock").symlink_to(Path("precious").resolve())
    ended = cli("train", "--resume", "run")
    assert ended.code == 4
    assert "a symbolic link where none is expected" in ended.err
    assert Path("precious").read_text() == "kept"


def test_leftovers_that_are_links_are_removed_before_anything_is_written(cli, digits_run):
    shutil.copytree(digits_run, "run")
    Path("run/result.json").unlink()
    Path("run/.result.json.1.tmp").symlink_to(Path("new").resolve())
    assert cli("train", "--resume", "run").code == 0
    assert not Path("run/.result.json.1.tmp").is_symlink()


@pytest.mark.parametrize("content", ['{"a": [' + "{}," * 1_000_000 + "0]}", '{"a": ' + "[" * 900 + "]" * 900 + "}"])
def test_a_manifest_that_would_fill_the_memory_or_the_stack(cli, digits_run, content):
    shutil.copytree(digits_run, "run")
    Path("run/checkpoints/best.json").write_text(content)
    ended = cli("evaluate", "run")
    assert ended.code == 3
    assert "larger than any file" in ended.err or "damaged" in ended.err or "cannot be read" in ended.err
