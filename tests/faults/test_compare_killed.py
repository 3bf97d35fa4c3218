"""A comparison that is killed with SIGKILL at moments of chance, again and again, ends as one left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults
EPOCHS, SEEDS = 3, 2
COMMAND = (sys.executable, "-m", "cnnlab", "compare", "a=mlp:depth=1,width=32", "b=cnn:width=4", "--data", "digits",
           "--epochs", str(EPOCHS), "--seeds", str(SEEDS), "--threads", "1", "--device", "cpu", "--name", "one",
           "-q")  # fmt: skip


def timeless(folder):
    def stripped(value):
        if isinstance(value, dict):
            return {k: stripped(v) for k, v in value.items() if k not in ("seconds", "images_per_s")}
        return [stripped(item) for item in value] if isinstance(value, list) else value

    return stripped(json.loads((folder / "runs/one/comparison.json").read_text()))


def epochs_done(folder: Path) -> int:
    """Lines of all metrics that are there."""
    return sum(len(file.read_bytes().splitlines()) for file in folder.glob("runs/one/runs/*/metrics.jsonl"))


def kill_after(folder: Path, epochs: int, moment: float) -> None:
    """Start the command, and kill it `moment` seconds after so many epochs are saved."""
    process = subprocess.Popen(COMMAND, cwd=folder)
    while process.poll() is None and epochs_done(folder) < epochs:
        time.sleep(0.01)
    time.sleep(moment)
    assert process.poll() is None, "it ended before it was killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_at_any_moment(tmp_path):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    subprocess.run(COMMAND, cwd=alone, check=True)
    chance = random.Random(0)
    for epochs in sorted(chance.sample(range(2 * SEEDS * EPOCHS), 4)):
        kill_after(killed, epochs, chance.uniform(0, 0.1))
        assert not (killed / "runs/one/comparison.json").exists()
    subprocess.run(COMMAND, cwd=killed, check=True)
    assert timeless(killed) == timeless(alone)
    assert not [path for path in Path(killed / "runs/one").rglob(".*") if path.name.endswith(".tmp")]
