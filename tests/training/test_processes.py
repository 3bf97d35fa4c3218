"""Several processes, one training: what is cut, what is equal to one process, what is refused."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnnlab.data import Augmentation
from cnnlab.data import batch as augmented
from cnnlab.randomness import Share, generator
from cnnlab.training import device, processes
from cnnlab.training.batches import _with_partners
from cnnlab.training.processes import World

EVERYTHING_RANDOM = ("--arch", "mlp:width=16,depth=2,batch_norm=false,dropout=0.3", "--data", "digits",
                     "--epochs", 2, "--batch-size", 33, "--lr", 0.02, "--precision", "fp64", "--threads", 1,
                     "--set", "data.augment.crop=1", "--set", "data.augment.flip=true", "--set",
                     "data.augment.cutout=3", "--set", "data.augment.mixup=0.4", "--set", "train.clip_norm=0.8",
                     "--set", "train.ema=0.9", "--set", "train.min_steps=0")  # fmt: skip


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start(count, *arguments):
    """Start `cnnlab ARGUMENTS` as `count` processes that know of each other, as torchrun does."""
    shared = {
        **os.environ,
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "cnnlab", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    return [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, **pipes)
        for rank in range(count)
    ]


def ends(started, timeout=240):
    """(exit code, stdout, stderr) of each process."""
    spoken = [process.communicate(timeout=timeout) for process in started]
    return [(process.returncode, *said) for process, said in zip(started, spoken, strict=True)]


def torchrun(*arguments, options=("--nproc-per-node", 2)):
    command = [sys.executable, "-m", "torch.distributed.run", *map(str, options), "-m", "cnnlab", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def metrics(run, *, but=("images_per_s", "seconds")):
    rows = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key not in but} for row in rows]


def largest_difference(run, other):
    one, two = metrics(run), metrics(other)
    assert len(one) == len(two) > 0
    return max(abs(a[key] - b[key]) for a, b in zip(one, two, strict=True) for key in a)


def test_two_processes_train_as_one_does(cli):
    """Crop, mirror, cutout, mixup, dropout, clipping, moving average, a batch of 17 + 16: the same figures."""
    both = ends(start(2, "train", *EVERYTHING_RANDOM, "--name", "two", "--json"))
    assert [code for code, _, _ in both] == [0, 0], both
    assert both[1][1:] == ("", "")
    assert json.loads(both[0][1])["test_acc"] > 0
    assert cli("train", *EVERYTHING_RANDOM, "--name", "one", "-q").code == 0
    assert largest_difference("runs/one", "runs/two") < 1e-9
    assert json.loads(Path("runs/two/environment.json").read_text("utf-8"))["processes"] == 2
    assert sorted(path.name for path in Path("runs").iterdir()) == ["one", "two"]
    assert {path.name for path in Path("runs/one").iterdir()} == {path.name for path in Path("runs/two").iterdir()}


@given(st.integers(0, 1000), st.integers(1, 17))
def test_rows_are_cut_without_gap_and_nearly_alike(count, size):
    cuts = [World(rank, size).rows(count) for rank in range(size)]
    assert [row for cut in cuts for row in range(count)[cut]] == list(range(count))
    lengths = [cut.stop - cut.start for cut in cuts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(2, True, 3), Augmentation(cutout=4)])
def test_rows_of_a_batch_are_those_of_the_whole_batch(augmentation):
    images = np.random.default_rng(0).integers(0, 256, (40, 9, 7, 3), dtype=np.uint8)
    indices, rows = np.arange(40)[::-2], np.array([3, 4, 17, 9])
    whole = augmented(images, indices, augmentation, generator(1, "augmentation"))
    assert np.array_equal(
        augmented(images, indices, augmentation, generator(1, "augmentation"), rows=rows), whole[rows]
    )


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 99))
def test_mixup_finds_the_partners_that_other_processes_train_on(count, size, seed):
    partners = np.random.default_rng(seed).permutation(count)
    for rank in range(size):
        rows = np.arange(count)[World(rank, size).rows(count)]
        needed, places = _with_partners(rows, partners)
        assert np.array_equal(needed[: len(rows)], rows)
        assert np.array_equal(needed[places], partners[rows])
        assert len(set(needed.tolist())) == len(needed)


def test_dropout_of_a_share_is_that_of_the_whole_batch():
    whole = generator(1, "dropout:a").random((7, 3), dtype=np.float32)
    share = Share(generator(1, "dropout:a"), slice(2, 5), 7)
    assert np.array_equal(share.random((3, 3), dtype=np.float32), whole[2:5])


def test_the_cores_of_a_machine_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6), raising=False)
    before = torch.get_num_threads()
    try:
        assert device.set_threads(None, World(0, 4, 0, 2)) == 3 == torch.get_num_threads()
        assert device.set_threads(None, World(0, 9, 0, 9)) == 1
        assert device.set_threads(5, World(0, 4, 0, 2)) == 5
    finally:
        torch.set_num_threads(before)


def test_a_process_alone_needs_no_torch_distributed():
    code = (
        "import sys, cnnlab\n"
        "from cnnlab.training.processes import joined\n"
        "with joined('auto') as world:\n"
        "    assert (world.rank, world.size, world.first) == (0, 1, True)\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("train", "--engine", "numpy", "--data", "digits"), "train --engine numpy"),
        (("train", "--check"), "train --check"),
        (("train", "--dry-run"), "train --dry-run"),
        (("compare", "mlp", "cnn"), "cnnlab compare"),
        (("evaluate", "last"), "cnnlab evaluate"),
        (("gradcheck",), "cnnlab gradcheck"),
    ],
)
def test_what_one_process_does_is_refused_under_torchrun(arguments, what, cli, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    ended = cli(*arguments)
    assert ended.code == 2
    assert what in ended.err
    assert "torchrun" in ended.err


def test_an_error_of_all_is_told_once_and_the_others_say_who_they_are(cli, monkeypatch):
    monkeypatch.setattr(processes, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    ended = cli("train", "--arch", "nothing", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert "process 1: " in ended.err
