"""Several processes, several starts, a home that cannot be written, and code that nobody asked for."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

LONG = ("train", "--arch", "mlp:depth=1,width=16", "--data", "digits", "--epochs", "5000", "--batch-size", "256",
        "--threads", "1", "--name", "x")  # fmt: skip


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_starts_in_the_same_second_get_two_folders(nursery):
    argv = [*LONG[:-2], "--seed", "7"]
    argv[argv.index("5000")] = "2"
    started = [nursery.start(*argv, output=f"{number}.txt") for number in range(4)]
    assert [nursery.wait(pid) for pid in started] == [0] * 4
    runs = list(Path("runs").iterdir())
    assert len(runs) == 4
    assert all((run / "result.json").is_file() for run in runs)


def test_two_starts_of_one_name_make_one_run_and_one_refusal(nursery):
    argv = [*LONG]
    argv[argv.index("5000")] = "2"
    started = [nursery.start(*argv, output=f"{number}.txt") for number in range(3)]
    assert sorted(nursery.wait(pid) for pid in started) == [0, 2, 2]
    assert [path.name for path in Path("runs").iterdir()] == ["x"]


def test_two_processes_on_one_run_and_a_stale_lock(nursery, cli):
    pid = nursery.start(*LONG)
    wait_for(Path("runs/x/checkpoints/last.json").is_file)
    refused = cli("train", "--resume", "runs/x")
    assert refused.code == 4
    assert f"in use by process {pid}" in refused.err
    os.kill(pid, signal.SIGKILL)
    assert nursery.wait(pid) == -signal.SIGKILL
    assert Path("runs/x/.lock").is_file()
    pid = nursery.start("train", "--resume", "runs/x", output="second.txt")
    second = Path("second.txt")
    wait_for(lambda: second.exists() and "going on after epoch" in second.read_text())
    os.kill(pid, signal.SIGTERM)
    assert nursery.wait(pid) == 143
    assert not Path("runs/x/.lock").exists()


def test_a_home_that_cannot_be_written_is_no_obstacle(cli_process, small):
    Path("file").write_text("a file, below which there can be no folder")
    below = str(Path("file/home").absolute())
    ended = cli_process(*small, HOME=below, USERPROFILE=below, CNNLAB_CACHE=f"{below}/cache", XDG_CACHE_HOME=below)
    assert ended.code == 0, ended.err
    assert Path("runs/x/result.json").is_file()


def test_an_output_folder_below_a_file_is_an_environment_error(nursery, small):
    Path("file").write_text("")
    assert nursery.run(*small, "--out", "file/runs") == 4
    assert "a part of the path is a file" in Path("output.txt").read_text()


def test_a_run_that_names_a_python_file_runs_nothing_unasked(nursery, small, cli):
    assert nursery.run(*small) == 0
    Path("runs/x/result.json").unlink()
    shutil.copytree("runs/x", "runs/theirs")
    Path("runs/theirs/evil.py").write_text("open('it-ran', 'w').close()\nclass Net: pass\n")
    recipe = Path("runs/theirs/recipe.yaml")
    recipe.write_text("model: {arch: 'evil.py:Net'}\ndata: {name: digits}\n")
    for command in (("train", "--resume"), ("evaluate",), ("train", "--arch", "mlp", "--data", "digits", "--recipe")):
        target = recipe if "--recipe" in command else "runs/theirs"
        refused = cli(*command, target)
        assert refused.code == 2, refused.err
        assert "--trust-code" in refused.err
    assert not Path("it-ran").exists()
    assert not Path("runs/theirs/it-ran").exists()
