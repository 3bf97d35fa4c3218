"""Several processes, one training: what is cut, what is equal to one process, what is refused."""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import cnnlab
from cnnlab.data import Augmentation, draw, load, pick
from cnnlab.errors import DataError, MachineError, RecipeError, Stopped, UsageError
from cnnlab.evaluation.evaluate import evaluate
from cnnlab.randomness import Share, generator
from cnnlab.recipe.load import dump, resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training import checkpoint, device, loop, processes
from cnnlab.training.batches import Batches, with_partners
from cnnlab.training.events import EpochDone
from cnnlab.training.prepare import prepare
from cnnlab.training.settings import Settings
from cnnlab.training.world import ProcessLost, World

EVERYTHING_RANDOM = ("--arch", "mlp:width=16,depth=2,batch_norm=false,dropout=0.3", "--data", "digits",
                     "--epochs", 2, "--batch-size", 33, "--lr", 0.02, "--precision", "fp64", "--threads", 1,
                     "--set", "data.augment.crop=1", "--set", "data.augment.flip=true", "--set",
                     "data.augment.cutout=3", "--set", "data.augment.mixup=0.4", "--set", "train.clip_norm=0.8",
                     "--set", "train.ema=0.9", "--set", "train.min_steps=0")  # fmt: skip


GROWING = ("--arch", "cnn:width=4,depth=5,norm=none,head=max", "--data", "digits", "--epochs", 2, "--batch-size", 33,
           "--lr", 0.02, "--precision", "fp64", "--threads", 1, "--set", "data.image_size=24", "--set",
           "optim.name=muon", "--set", "train.initial_scale=0.6", "--set", "train.min_steps=0", "--set",
           "train.freeze_up_to=conv1", "--set", "train.freeze_from=0.5")  # fmt: skip


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start(count, *arguments, port=None, ranks=None):
    """Start `cnnlab ARGUMENTS` as `count` processes, or some of them, that know of each other, as torchrun does."""
    shared = {
        **os.environ,
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port or free_port()),
    }
    command = [sys.executable, "-m", "cnnlab", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    return [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, **pipes)
        for rank in ranks or range(count)
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


@pytest.mark.parametrize("mixup", ["0.4", "0"])
@pytest.mark.parametrize("size", [2, 3, 4, 6, 33])
def test_each_process_has_its_own_rows_of_every_batch(size, mixup):
    """Small batches too, in which the rows that mixup takes from elsewhere make a share as long as the batch."""
    data = load("digits")
    recipe = resolve(
        arch=parse_spec("mlp:depth=1,width=8"),
        settings=[f"train.batch_size={size}", f"data.augment.mixup={mixup}", "data.augment.crop=1"],
    )
    alone = prepare(recipe, Settings(), data)
    whole = list(itertools.islice(Batches(alone).of(1), 20))
    for rank in (0, 1):
        world = World(rank, 2)
        shared = Batches(replace(alone, world=world)).of(1)
        for batch, mine in zip(whole, itertools.islice(shared, 20), strict=True):
            rows = world.rows(size)
            count = rows.stop - rows.start
            assert np.array_equal(mine.images[:count], batch.images[rows])
            assert np.array_equal(mine.labels[:count], batch.labels[rows])
            if mixup != "0":
                assert np.array_equal(mine.images[mine.partners], batch.images[batch.partners[rows]])


@pytest.fixture
def group():
    """A world of one process that has a process group all the same."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield processes._Several()
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint16, torch.bool, torch.complex64, torch.float32])
def test_tensors_of_every_type_are_copied_from_the_first(group, dtype):
    for tensor in (torch.ones(2, 3).to(dtype), torch.tensor(1).to(dtype), torch.empty(0, dtype=dtype)):
        group.copy_from_first([tensor])
        assert tensor.to(torch.complex64).eq(1).all()


def test_what_was_noticed_is_told_when_a_process_is_lost(group):
    with pytest.raises(ProcessLost) as caught:
        group.add_up(torch.ones(2, dtype=torch.int16))
    assert caught.value.hint.endswith("\nNoticed here: Invalid scalar type")


def test_the_place_in_gloos_sources_is_left_out():
    error = RuntimeError("[/a/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:14241: reset\nC++ stack")
    assert processes._first_line(error) == "Read error [127.0.0.1]:14241: reset"
    assert processes._first_line(RuntimeError()) == "RuntimeError"


def test_recipes_that_differ_are_told_where_they_differ():
    recipes = [dump(resolve(arch=parse_spec("cnn"), settings=[f"optim.momentum={value}"])) for value in (0.8, 0.9)]
    store = torch.distributed.HashStore()
    processes._Several(0, 2, store=store).require_same("the recipe", recipes[0])
    message = "the recipe of process 1 differs from that of process 0: 'momentum: 0.9, .*', there 'momentum: 0.8, "
    with pytest.raises(DataError, match=message):
        processes._Several(1, 2, store=store).require_same("the recipe", recipes[1])


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_process_whose_companions_do_not_come_heeds_a_signal():
    port = free_port()
    (waiting,) = start(2, "train", "--arch", "mlp", "--data", "digits", port=port, ranks=[0])
    wait_for(lambda: listens(port))
    time.sleep(0.5)
    waiting.send_signal(signal.SIGTERM)
    ((code, _, err),) = ends([waiting], timeout=30)
    assert (code, "stopped before the first step" in err) == (143, True), err


@pytest.mark.parametrize(("size", "batch_size"), [(1, 1), (2, 3)])
def test_shares_of_one_image_are_refused_where_batch_norm_would_have_one_value(size, batch_size):
    def prepared(spec, batch_size):
        recipe = resolve(arch=parse_spec(spec), settings=[f"train.batch_size={batch_size}"])
        return prepare(recipe, Settings(), load("digits"), StandIn(0, size))

    class StandIn(World):
        def copy_from_first(self, tensors):
            pass

    with pytest.raises(RecipeError, match=rf"train.batch_size is {batch_size}.*: norm1 would normalise one") as caught:
        prepared("mlp:depth=1,width=8", batch_size)
    assert f"--batch-size {2 * size}" in caught.value.hint
    prepared("mlp:depth=1,width=8", 2 * size)
    net = prepared("resnet:depth=8,width=4", batch_size).engine.net  # its maps have many values of each channel
    assert net.training
    assert not any(layer._forward_pre_hooks for layer in net.modules())


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"WORLD_SIZE": 2, "RANK": 0, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(MachineError, match=r"2 processes .* has 1 CUDA devices"), processes.joined("auto"):
        pass


def test_two_processes_grow_their_images_and_turn_their_weights_as_one_does(cli):
    assert [code for code, _, _ in ends(start(2, "train", *GROWING, "--name", "two", "-q"))] == [0, 0]
    assert cli("train", *GROWING, "--name", "one", "-q").code == 0
    assert largest_difference("runs/one", "runs/two") < 1e-9


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
    everyones = draw((9, 7), indices, augmentation, generator(1, "augmentation"))
    moves = draw((9, 7), indices, augmentation, generator(1, "augmentation"), rows)
    whole = pick(images, everyones, augmentation.cutout)
    assert np.array_equal(pick(images, moves, augmentation.cutout), whole[rows])


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 99))
def test_mixup_finds_the_partners_that_other_processes_train_on(count, size, seed):
    partners = np.random.default_rng(seed).permutation(count)
    for rank in range(size):
        rows = np.arange(count)[World(rank, size).rows(count)]
        needed, places = with_partners(rows, partners)
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


@pytest.fixture
def launch(monkeypatch):
    """Make this process the one worker of a launch whose store lives on; called, torchrun starts it again."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": store.port, "RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0,
                   "LOCAL_WORLD_SIZE": 1}  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))

    def start_again():
        assert store.port  # it lives as long as this function does
        monkeypatch.setattr(processes, "_trainings", itertools.count(1))

    start_again()
    return start_again


SMALL = {"data": "digits", "epochs": 1, "batch_size": 256, "threads": 1, "set": ["train.min_steps=0"]}


def test_each_training_of_a_script_goes_on_with_its_own_run_when_torchrun_starts_it_again(launch):
    runs = []
    for _ in range(2):
        runs += [cnnlab.train("mlp:depth=1,width=8", seed=seed, **SMALL).run.absolute() for seed in (1, 2, 2)]
        launch()
    assert len(set(runs)) == 3
    assert runs[:3] == runs[3:]


def test_each_command_of_a_launch_goes_on_with_its_own_run(launch, cli):
    for _ in range(2):
        for name in ("a", "b"):
            ended = cli("train", "--arch", "mlp:depth=1,width=8", "--data", "digits", "--epochs", 1, "--batch-size",
                        256, "--threads", 1, "--set", "train.min_steps=0", "--name", name)  # fmt: skip
            assert ended.code == 0, ended.err
            launch()
        assert sorted(path.name for path in Path("runs").iterdir()) == ["a", "b"]
    assert f"going on with {Path('runs/b').absolute()}" in " ".join(ended.out.split())


def test_going_on_with_the_last_run_goes_on_with_it_when_there_is_a_newer_one(launch):
    """A colleague's, begun in the same folder before torchrun started the processes again."""

    def stop(event):
        if isinstance(event, EpochDone):
            raise Stopped("asked to stop", signal_number=signal.SIGTERM)

    longer = {**SMALL, "epochs": 3}
    for name in ("mine", "other"):
        with pytest.raises(Stopped):
            cnnlab.train("mlp:depth=1,width=8", name=name, tell=stop, **longer)
        launch()
        with pytest.raises(Stopped):
            cnnlab.train(resume="last" if name == "mine" else "runs/other", tell=stop)
        launch()
    assert cnnlab.train(resume="last").run.name == "mine"
    assert rows_so_far("runs/other") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are no UTF-8")
def test_an_output_folder_whose_name_is_no_utf_8(launch):
    for _ in range(2):
        run = cnnlab.train("mlp:depth=1,width=8", out="runs\udcff", name="x", **SMALL).run.absolute()
        launch()
    assert run == Path("runs\udcff/x").absolute()


def test_texts_are_shared_byte_by_byte():
    store = torch.distributed.HashStore()
    worlds = [processes._Several(rank, 2, store=store) for rank in range(2)]
    assert [world.from_first(lambda: "ä\udcff") for world in worlds] == ["ä\udcff"] * 2


def test_a_comparison_in_several_processes_is_refused_from_python_too(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="a comparison is done by one process; torchrun started several"):
        cnnlab.compare("mlp", "cnn", data="digits")


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


def test_with_json_what_a_users_net_prints_goes_to_stderr_in_every_process(cli, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(loop, "train", lambda *_: sys.stdout.write("hello\n") and SimpleNamespace(result={}))
    ended = cli("train", "--data", "digits", "--json")
    assert (ended.code, ended.out, ended.err) == (0, "", "hello\n")


def run_to_the_end(count, *arguments):
    ended = ends(start(count, *arguments))
    assert [code for code, _, _ in ended] == [0] * count, ended


@pytest.mark.slow
def test_three_processes_train_a_cnn_as_one_does(cli):
    arguments = ("train", "--arch", "cnn:width=4,norm=none,dropout=0.2", "--data", "digits", "--epochs", 2,
                 "--batch-size", 64, "--precision", "fp64", "--threads", 1, "--set", "train.min_steps=0")  # fmt: skip
    run_to_the_end(3, *arguments, "--name", "three")
    assert cli(*arguments, "--name", "one", "-q").code == 0
    assert largest_difference("runs/one", "runs/three") < 1e-9


@pytest.mark.slow
def test_two_processes_twice_are_bit_equal_and_batch_norm_is_one_for_all():
    arguments = ("train", "--arch", "cnn:width=4,dropout=0.2", "--data", "digits", "--epochs", 2, "--threads", 1,
                 "--set", "train.min_steps=0")  # fmt: skip
    for name in ("a", "b"):
        run_to_the_end(2, *arguments, "--name", name)
    assert metrics("runs/a") == metrics("runs/b")
    for file in ("best.safetensors", "last.safetensors"):
        one, other = (Path("runs", name, "checkpoints", file).read_bytes() for name in ("a", "b"))
        assert one == other
    result = json.loads(Path("runs/a/result.json").read_text("utf-8"))
    # One process with the statistics that were saved finds what two processes found together.
    assert evaluate(Path("runs/a"), device="cpu").top1 == pytest.approx(result["test_acc"])


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def rows_so_far(run):
    file = Path(run) / "metrics.jsonl"
    return file.read_text("utf-8").count("\n") if file.is_file() else 0


def worker(agent, rank):
    """The process number of a rank of the agent's."""
    for child in Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split():
        if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
            return int(child)
    raise AssertionError(f"no rank {rank}")


def require_whole(run):
    """Nothing half-written in a run's folder under a name of its own; every checkpoint's hash is right."""
    for path in Path(run).rglob("*.json*"):
        if not path.name.endswith(".tmp"):
            text = path.read_text("utf-8")
            for document in text.splitlines() if path.suffix == ".jsonl" else [text]:
                json.loads(document)
    for manifest in (Path(run) / "checkpoints").glob("*.json"):
        checkpoint.load(manifest.parent, manifest.stem)


LONG = ("train", "--arch", "mlp:width=64,depth=2", "--data", "digits", "--epochs", 12, "--batch-size", 4, "--threads",
        1, "--set", "train.min_steps=0")  # fmt: skip
linux = pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")


@linux
@pytest.mark.faults
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_ends_all_and_resume_goes_on_bit_for_bit(rank):
    run_to_the_end(2, *LONG, "--name", "undisturbed")
    agent = torchrun(*LONG, "--name", "killed")
    wait_for(lambda: rows_so_far("runs/killed") >= 2)
    os.kill(worker(agent, rank), signal.SIGKILL)
    killed = time.monotonic()
    _, err = agent.communicate(timeout=60)
    assert time.monotonic() - killed < 30
    assert agent.returncode == 1
    assert err.count("another process of this training has ended") == 1, err
    assert "is kept in runs/killed" in err
    assert "train --resume runs/killed" in err
    assert "SIGKILL" in err
    saved = rows_so_far("runs/killed")
    assert saved < 12
    require_whole("runs/killed")
    going_on = torchrun("train", "--resume", "runs/killed")
    out, err = going_on.communicate(timeout=120)
    assert going_on.returncode == 0, err
    assert out.count("going on after epoch") == 1
    assert not list(Path("runs").rglob("*.tmp"))
    assert metrics("runs/killed") == metrics("runs/undisturbed")


@linux
@pytest.mark.faults
def test_torchruns_restart_goes_on_with_the_same_run():
    agent = torchrun(*LONG, "--name", "again", options=("--nproc-per-node", 2, "--max-restarts", 1))
    wait_for(lambda: rows_so_far("runs/again") >= 3)
    os.kill(worker(agent, 1), signal.SIGKILL)
    saved = rows_so_far("runs/again")
    out, err = agent.communicate(timeout=120)
    assert agent.returncode == 0, err
    assert "torchrun has started the processes again: going on with " in out
    after = int(re.search(r"going on after epoch (\d+)", out)[1])
    assert saved - 1 <= after <= saved + 1
    assert [path.name for path in Path("runs").iterdir()] == ["again"]
    assert len(metrics("runs/again")) == 12
    assert json.loads(Path("runs/again/result.json").read_text("utf-8"))["epochs"] == 12
    require_whole("runs/again")


@linux
@pytest.mark.faults
def test_a_stopped_worker_stops_all_after_the_same_step():
    run_to_the_end(2, *LONG, "--name", "undisturbed")
    agent = torchrun(*LONG, "--name", "stopped")
    wait_for(lambda: rows_so_far("runs/stopped") >= 1)
    os.kill(worker(agent, 1), signal.SIGTERM)
    _, err = agent.communicate(timeout=60)
    assert agent.returncode == 1
    assert "everything is saved" in err
    require_whole("runs/stopped")
    going_on = torchrun("train", "--resume", "runs/stopped")
    _, err = going_on.communicate(timeout=120)
    assert going_on.returncode == 0, err
    # A half-done epoch was saved with statistics of batch normalisation made equal: the same mean, rounded elsewhere.
    assert largest_difference("runs/stopped", "runs/undisturbed") < 1e-3


@pytest.mark.faults
def test_two_nodes_train_one_run():
    there = f"127.0.0.1:{free_port()}"
    options = ("--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d", "--rdzv-endpoint", there, "--rdzv-id",
               "pair", "--local-addr", "127.0.0.1")  # fmt: skip
    agents = [torchrun(*LONG, "--epochs", 3, "--name", "pair", "--json", options=options) for _ in range(2)]
    spoken = [agent.communicate(timeout=240) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], spoken
    silent, document = sorted(out for out, _ in spoken)
    assert silent == ""
    assert json.loads(document)["epochs"] == 3
    assert [path.name for path in Path("runs").iterdir()] == ["pair"]
    environment = json.loads(Path("runs/pair/environment.json").read_text("utf-8"))
    assert environment["processes"] == 2


@pytest.mark.faults
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--arch", "nothing"), "nothing"),
        (
            (
                "--arch",
                "mlp:batch_norm=false",
                "--data",
                "digits",
                "--lr",
                1000,
                "--set",
                "optim.name=sgd",
                "--set",
                "train.loss=mse",
                "--set",
                "train.label_smoothing=0",
            ),
            "not finite|became",
        ),
    ],
)
def test_an_error_of_all_processes_is_told_once(arguments, expected):
    agent = torchrun("train", *arguments, "--threads", 1, "--precision", "fp32", "--name", "wrong")
    _, err = agent.communicate(timeout=120)
    assert agent.returncode == 1
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, err
    assert re.search(expected, errors[0])
