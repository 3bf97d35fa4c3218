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
COMMAND = (sys.executable, "-m", "cnnlab", "compare", "a=mlp:depth=1,width=32", "b=cnn:width=4", "--data", "digits",
           "--epochs", "5", "--seeds", "2", "--threads", "1", "--device", "cpu", "--name", "one", "-q")  # fmt: skip


def timeless(folder):
    def stripped(value):
        if isinstance(value, dict):
            return {k: stripped(v) for k, v in value.items() if k not in ("seconds", "images_per_s")}
        return [stripped(item) for item in value] if isinstance(value, list) else value

    return stripped(json.loads((folder / "runs/one/comparison.json").read_text()))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(tmp_path, seed):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    started = time.monotonic()
    subprocess.run(COMMAND, cwd=alone, check=True, timeout=600)
    whole, kills = time.monotonic() - started, 0
    chance = random.Random(seed)
    for _ in range(8):
        process = subprocess.Popen(COMMAND, cwd=killed)
        try:
            process.wait(timeout=chance.uniform(0.2, 0.9) * whole)
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(COMMAND, cwd=killed, check=True, timeout=600)
    assert kills
    assert timeless(killed) == timeless(alone)
    assert not [path for path in Path(killed / "runs/one").rglob(".*") if path.name.endswith(".tmp")]
