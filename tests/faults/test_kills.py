"""SIGKILL at any moment, and at each single file operation of a save: the run ends as if nothing had happened."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

KILLS = 200


@pytest.mark.faults
def test_kills_at_random_moments_lose_no_run(nursery, small, undisturbed, essence, share):
    rng = random.Random(20261)
    begun = time.monotonic()
    assert nursery.run(*small, folder=_folder("timed")) == 0
    whole = time.monotonic() - begun
    kills = runs = 0
    while kills < KILLS * share:
        folder = _folder(f"run{runs}")
        runs += 1
        for _ in range(2):
            resumed = (folder / "runs/x/recipe.yaml").is_file()
            argv = ("train", "--resume", "runs/x") if resumed else small
            pid = nursery.start(*argv, folder=folder)
            time.sleep(rng.uniform(0, whole))
            os.kill(pid, signal.SIGKILL)
            kills += nursery.wait(pid) == -signal.SIGKILL
        assert nursery.go_on(folder) == 0, (folder / "output.txt").read_text()
        assert essence(folder / "runs/x") == undisturbed, f"run {runs}, after {kills} kills"
        shutil.rmtree(folder)
    assert runs <= KILLS, "hardly any process was alive when it was killed"


@pytest.mark.faults
@pytest.mark.parametrize("how", ["kill-before", "kill-half", "kill-after"])
def test_a_kill_at_each_file_operation_loses_no_run(nursery, small, undisturbed, essence, share, how):
    operations = _operations(nursery, small)
    assert len(operations) > 100
    numbers = range(1, len(operations) + 1)
    if how == "kill-half":
        numbers = [number for number in numbers if operations[number - 1].startswith("write")]
    step = round(1 / share)
    for number in list(numbers)[step // 2 :: step]:
        folder = _folder(f"{how}{number}")
        ended = nursery.run(*small, folder=folder, operations={"number": number, "how": how})
        what = f"{how} operation {number}, {operations[number - 1]}"
        assert ended == -signal.SIGKILL, what
        assert nursery.go_on(folder) == 0, what + "\n" + (folder / "output.txt").read_text()
        assert essence(folder / "runs/x") == undisturbed, what
        shutil.rmtree(folder)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(2))
def test_kills_while_a_run_that_was_stopped_midway_goes_on(nursery, small, undisturbed, essence, share, seed):
    """Stop in the middle of an epoch, then be killed at an operation of the resumed run."""
    rng = random.Random(seed)
    done = 0
    for attempt in range(200):
        folder = _folder(f"midway{attempt}")
        pid = nursery.start(*small, folder=folder)
        while not (folder / "runs/x/checkpoints").is_dir():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(pid, signal.SIGTERM)
        stopped = nursery.wait(pid) == 128 + signal.SIGTERM
        if stopped:
            fault = {"number": rng.randrange(1, 60), "how": rng.choice(["kill-before", "kill-half", "kill-after"])}
            nursery.run("train", "--resume", "runs/x", folder=folder, operations=fault)
            assert nursery.go_on(folder) == 0, (folder / "output.txt").read_text()
            assert essence(folder / "runs/x") == undisturbed, fault
        shutil.rmtree(folder)
        done += stopped
        if done >= max(1, 20 * share):
            return
    pytest.fail(f"only {done} runs could be stopped midway")


@pytest.mark.faults
def test_twenty_repeats_are_the_same_to_the_last_bit(nursery, small, undisturbed, essence, share):
    for repeat in range(max(2, round(20 * share))):
        folder = _folder(f"repeat{repeat}")
        assert nursery.run(*small, folder=folder) == 0
        assert essence(folder / "runs/x") == undisturbed


def _folder(name):
    folder = Path(name)
    folder.mkdir()
    return folder


def _operations(nursery, small):
    """What the small run does to files, in order."""
    folder = _folder("listed")
    log = folder / "operations.log"
    assert nursery.run(*small, folder=folder, operations={"log": str(log.resolve())}) == 0
    return log.read_text().splitlines()
