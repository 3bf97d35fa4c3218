"""What `cnnlab train` spends beside training: saving, progress, pictures, memory; real CIFAR-10, two epochs."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import Mark, Row, Table
from workload import ARCHIVE

BESIDE_TRAINING = ("metrics", "saving", "progress", "pictures")
EPOCHS = 2
DATA_SET_MIB = 60_000 * 32 * 32 * 3 / 2**20
MEMORY = Mark(most=DATA_SET_MIB + 1500 / 1.048576)
SHARE = Mark(most=3.0)


def tables(*, threads: int) -> Iterator[Table]:
    """Run the command once with `--profile --json`; its peak of memory is the system's own figure."""
    if not ARCHIVE.is_file():
        yield Table(f"Cost of saving, progress, pictures and memory: needs {ARCHIVE.name}", "", "", [])
        return
    arguments = ["train", "--arch", "cnn", "--data", ARCHIVE, "--epochs", str(EPOCHS), "--threads", str(threads)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cnnlab", *arguments, "--out", folder, "--profile", "--json"]
        document = Path(folder, "said.json")
        with document.open("w", encoding="utf-8") as said:
            process = subprocess.Popen(command, stdout=said)
            _, status, used = os.wait4(process.pid, 0)  # of this process alone, not of peers measured before it
        if status:
            raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
        profile = json.loads(document.read_text(encoding="utf-8"))["profile"]
    peak_mib = used.ru_maxrss / 1024
    phases = {phase["name"]: phase for phase in profile["phases"]}
    rows = [Row(name, [1e3 * phases[name]["seconds"] / EPOCHS], [100 * phases[name]["share"]]) for name in phases]
    beside = [phases[name] for name in BESIDE_TRAINING if name in phases]
    seconds, share = (sum(phase[key] for phase in beside) for key in ("seconds", "share"))
    rows.append(Row(" + ".join(BESIDE_TRAINING), [1e3 * seconds / EPOCHS], [100 * share], SHARE))
    yield Table(f"Where an epoch of cnn on CIFAR-10 goes, {threads} threads, mean of {EPOCHS}", "ms", "% of all", rows)
    title = f"Memory: the data set is {DATA_SET_MIB:.0f} MiB as uint8"
    yield Table(title, "MiB", "peak", [Row("peak of cnnlab train", [peak_mib], [peak_mib], MEMORY)])
