"""Mutated inputs by the thousand: every one gives a value or one of cnnlab's own errors, soon, in bounded memory.

`CNNLAB_FAULTS=full pytest -m faults tests/faults/test_fuzz.py` runs the full counts; else a fortieth of them is run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNTS = {
    "recipes": 10_000,
    "checkpoints": 3_000,
    "pictures": 3_000,
    "specs": 1_000,
    "kernels": 1_000,
    "archives": 1_000,
    "batches": 2_000,
}
FULL = os.environ.get("CNNLAB_FAULTS") == "full"
MOST_BYTES = 2**30
MOST_SECONDS = 5.0
SEED = 6


@pytest.mark.faults
@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured by the resource module")
@pytest.mark.parametrize("kind", COUNTS)
def test_mutated(kind: str, tmp_path: Path) -> None:
    count = COUNTS[kind] if FULL else max(50, COUNTS[kind] // 40)
    worker = Path(__file__).with_name("fuzzing.py")
    ended = subprocess.run(
        [sys.executable, worker, kind, str(count), str(SEED), tmp_path],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=3600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CNNLAB_CACHE": str(tmp_path / "cache")},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    report = json.loads(ended.stdout.splitlines()[-1])
    print(json.dumps({key: value for key, value in report.items() if key != "wrong"}))  # noqa: T201  # for pytest -s
    assert report["cases"] == count
    assert report["wrong"] == []
    assert report["slowest_seconds"] < MOST_SECONDS, report
    assert report["peak_bytes"] < MOST_BYTES, report
    # Mutants that all die at the first check would prove little: some must get through, and some must not.
    through = sum(number for end, number in report["ends"].items() if end not in KINDS_OF_ERRORS)
    assert 0.02 * count < through < 0.98 * count, report


KINDS_OF_ERRORS = {"usage", "recipe", "data", "picture", "checkpoint", "environment", "numeric"}
