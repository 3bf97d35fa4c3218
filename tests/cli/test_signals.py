"""The first signal waits for the step, the second does not; a reader that goes away ends nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cnnlab.cli.signals import stop_kindly
from cnnlab.errors import Stopped

SMALL = ["train", "--arch", "mlp:depth=1,width=8", "--data", "digits", "--epochs", "3", "--threads", "1", "--name", "x"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def events():
    """RunStarted, StepDone and RunFinished that know no more than is looked at."""
    from cnnlab.training.events import RunFinished, RunStarted, StepDone

    started = RunStarted.__new__(RunStarted)
    object.__setattr__(started, "run", Path("runs/a run"))
    return started, StepDone(1, 1, 0.5, 1.0, 0.1), RunFinished(Path("runs/a run"), {}, (), None)


def told(before, signals, after=(), shown=None):
    """Tell events, get signals, tell events; nothing but `Stopped` ends it."""
    with stop_kindly((shown if shown is not None else []).append) as tell:
        for event in before:
            tell(event)
        for number in signals:
            os.kill(os.getpid(), number)
        if shown is not None:
            shown.append("the step went on")
        for event in after:
            tell(event)
    pytest.fail("the signal was not heeded")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_the_step(number):
    started, step, _ = events()
    shown = []
    with pytest.raises(Stopped) as caught:
        told([started, step], [number], [step], shown)
    assert shown[-2:] == ["the step went on", step]
    assert caught.value.exit_code == 128 + number


@posix
def test_the_second_signal_ends_at_once():
    started, step, _ = events()
    with pytest.raises(Stopped, match="at once") as caught:
        told([started, step], [signal.SIGINT, signal.SIGTERM])
    assert caught.value.exit_code == 143
    assert 'cnnlab train --resume "' in caught.value.hint


@posix
def test_what_goes_on_with_several_processes_names_torchrun(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(Stopped) as caught:
        told([events()[0]], [signal.SIGTERM, signal.SIGTERM])
    assert caught.value.hint.startswith("Go on: torchrun --nproc-per-node 2 -m cnnlab train --resume ")


@posix
def test_before_and_between_runs_there_is_nothing_to_wait_for():
    started, _, finished = events()
    for before in ([], [started, finished]):
        with pytest.raises(Stopped, match="nothing was lost"):
            told(before, [signal.SIGTERM])


@posix
def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_kindly(lambda event: None):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


@pytest.mark.faults
def test_a_reader_that_goes_away_ends_no_run():
    with subprocess.Popen(
        [sys.executable, "-m", "cnnlab", *SMALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        run.stdout.close()
        err = run.stderr.read().decode()
        assert run.wait(120) == 0, err
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert Path("runs/x/result.json").is_file()


def test_a_list_that_nobody_reads_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-m", "cnnlab", "train", "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as listing:
        listing.stdout.close()
        err = listing.stderr.read()
        assert listing.wait(60) == 0
    assert err == b""


@pytest.mark.faults
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_ends_no_run():
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "cnnlab", *SMALL], stdout=full, stderr=subprocess.PIPE, timeout=120
        )
    assert ended.returncode == 0, ended.stderr
    assert Path("runs/x/result.json").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["evaluate", "train --list", "filter --list --json"])
def test_a_full_disk_behind_stdout_is_the_machines_fault(words):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "cnnlab", *words.split()], stdout=full, stderr=subprocess.PIPE, text=True
        )
    told = "error: cannot write the output: the disk is full\nFree some space, or send the output elsewhere\n"
    assert (ended.returncode, ended.stderr) == (4, told)


@pytest.mark.skipif(os.name != "posix", reason="closes streams by the shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("words", "code"), [("train --list", 0), ("train --arch nothing --json", 2)])
def test_streams_that_are_closed_from_the_start_are_no_bug(closed, words, code):
    ended = subprocess.run(["sh", "-c", f'"{sys.executable}" -m cnnlab {words} {closed}'], capture_output=True)
    assert ended.returncode == code, ended.stderr
    assert b"Traceback" not in ended.stderr
