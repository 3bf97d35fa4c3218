"""How a run folder is named, found and read."""

import errno
import os
from pathlib import Path

import pytest

from cnnlab.errors import CheckpointError, MachineError, UsageError
from cnnlab.training.run_folder import EpochRow, best_of, create, find_run, list_runs, read_json


def make(name: str) -> Path:
    return create(Path("runs"), name, {"recipe.yaml": ""}, arch="mlp", data="digits", seed=0).path


def test_no_run_is_called_last_since_that_word_means_the_newest():
    with pytest.raises(UsageError, match="--name last: that word means the newest run"):
        make("last")
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["con", "Com1", "com9.x", "COM¹", "com²", "lpt³.txt"])
def test_no_run_has_the_name_of_a_device_of_windows(name):
    with pytest.raises(UsageError, match=f"--name '{name}'") as caught:
        make(name)
    assert caught.value.hint == f"Use _{name}"


def test_an_empty_name_means_no_run_even_inside_a_run_folder(monkeypatch):
    monkeypatch.chdir(make("mine"))
    with pytest.raises(UsageError, match="no run '' in "):
        find_run("")


def test_a_locked_folder_beside_the_runs_is_none_of_them(monkeypatch):
    mine, locked = make("mine"), make("locked")
    real = Path.stat

    def stat(self, **options):
        if locked in self.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert [run.path for run in list_runs(Path("runs"))] == [mine]
    assert find_run("last") == mine


def test_a_folder_of_runs_that_cannot_be_read_is_an_environment_error(monkeypatch):
    make("mine")

    def iterdir(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(MachineError, match="cannot read runs: Permission denied"):
        list_runs(Path("runs"))


def test_a_name_too_long_for_a_file_is_no_run():
    make("mine")
    with pytest.raises(UsageError, match=r"no run 'a{300}' in "):
        find_run("a" * 300)


def test_of_many_runs_an_error_names_the_newest():
    make("alone")
    with pytest.raises(UsageError) as caught:
        find_run("zzz")
    assert caught.value.hint == "Valid: alone"
    for number in range(10, 20):
        os.utime(make(f"r{number}") / "recipe.yaml", (number, 2_000_000_000 + number))
    for out, place in ((Path("runs"), ""), (Path("runs").absolute(), f" --out {Path('runs').absolute()}")):
        with pytest.raises(UsageError) as caught:
            find_run("zzz", out)
        newest = "r19, r18, r17, r16, r15 and 6 more"
        assert caught.value.hint == f"The newest: {newest}; all of them: cnnlab evaluate{place}"
    with pytest.raises(UsageError) as caught:
        find_run("r1")
    assert caught.value.hint == "Write more of it: r10, r11, r12, r13, r14 and 5 more"


@pytest.mark.parametrize("text", ["hw", "runs/hw", "runs/hw/"])
def test_of_a_comparisons_folder_its_runs_are_named(text):
    for name in ("mlp-s0", "cnn-s0"):
        create(Path("runs/hw/runs"), name, {"recipe.yaml": ""}, arch="mlp", data="digits", seed=0)
    with pytest.raises(UsageError, match="runs/hw is not a run folder") as caught:
        find_run(text)
    assert caught.value.hint == "It is a comparison's; its runs: runs/hw/runs/mlp-s0, runs/hw/runs/cnn-s0"


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400"])
def test_a_number_that_is_not_finite_is_damage(tmp_path, value):
    (tmp_path / "result.json").write_text(f'{{"test_acc": {value}}}')
    with pytest.raises(CheckpointError, match=rf"result\.json cannot be read: {value} is not a finite number"):
        read_json(tmp_path / "result.json")


def row(epoch, val_acc, val_loss):
    return EpochRow(epoch, 1.0, 1.0, 0.5, val_loss, val_acc, 0.1, 100.0, 1.0)


@pytest.mark.parametrize(
    ("measured", "best"),
    [
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.5)], 2),
        ([(0.5, 1.0), (0.5, 0.9), (0.5, 0.9)], 2),
        ([(0.5, 0.9), (0.5, 1.0)], 1),
        ([(None, None), (None, None)], None),
        ([], None),
    ],
)
def test_the_best_epoch_is_of_the_highest_accuracy_then_the_lowest_loss(measured, best):
    found = best_of([row(epoch, *values) for epoch, values in enumerate(measured, 1)])
    assert (found and found.epoch) == best


def test_a_name_that_an_unfinished_run_has_is_told_with_the_command_that_goes_on(monkeypatch):
    make("mine")
    with pytest.raises(UsageError) as caught:
        make("mine")
    assert caught.value.hint.endswith("go on with it: cnnlab train --resume runs/mine".replace("/", os.sep))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError) as caught:
        make("mine")
    assert "go on with it: torchrun --nproc-per-node 2 -m cnnlab train" in caught.value.hint
