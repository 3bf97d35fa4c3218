"""The nursery, and what is compared of two runs."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TIMES = ("images_per_s", "seconds")
SMALL = ("train", "--arch", "mlp:depth=1,width=16", "--data", "digits", "--epochs", "3", "--batch-size", "256",
         "--threads", "1", "--name", "x", "--gradients")  # fmt: skip
"""A run of a fraction of a second with everything in it: batch_norm, dropout, momentum, gradients."""


def pytest_collection_modifyitems(items):
    if sys.platform != "linux":
        for item in items:
            if "nursery" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="forks, and kills"))


class Nursery:
    """Starts commands in forked processes, and waits for them."""

    def __init__(self, cache: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CNNLAB_CACHE": str(cache), "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def start(self, *argv, folder=None, operations=None, output="output.txt", **environment) -> int:
        """Start `cnnlab ARGV` in `folder` (the current one by default); its process's number."""
        folder = Path(folder or ".").resolve()
        request = {
            "argv": list(map(str, argv)), "folder": str(folder), "output": str(folder / output),
            "environment": environment, "operations": operations,
        }  # fmt: skip
        return self._ask({"start": request})["pid"]

    def wait(self, pid: int) -> int:
        """The exit code of a process that was started; −9 after SIGKILL."""
        return self._ask({"wait": pid})["code"]

    def run(self, *argv, **options) -> int:
        """Start and wait."""
        return self.wait(self.start(*argv, **options))

    def go_on(self, folder=None) -> int:
        """What a person types after a kill: the run again if it had not begun, `--resume` if it had."""
        begun = (Path(folder or ".") / "runs/x/recipe.yaml").is_file()
        return self.run(*(("train", "--resume", "runs/x") if begun else SMALL), folder=folder)

    def close(self) -> None:
        with self.process:
            self.process.stdin.close()

    def _ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    started = Nursery(tmp_path_factory.mktemp("cache"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def share():
    """What part of a long series is run: a twentieth, or all of it with CNNLAB_FAULTS=full."""
    return 1.0 if os.environ.get("CNNLAB_FAULTS") == "full" else 0.05


@pytest.fixture(scope="session")
def small():
    """The arguments of a run of a fraction of a second."""
    return SMALL


@pytest.fixture(scope="session", name="essence")
def _essence():
    """The function `essence`."""
    return essence


def essence(run: Path) -> dict[str, object]:
    """What two runs of one recipe must have in common to the last bit: every file, times, dates and paths aside."""
    files: dict[str, object] = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        # The csv has the figures of the jsonl again; a process killed after its last file leaves its lock behind.
        if path.is_dir() or name in ("metrics.csv", ".lock"):
            continue
        if name == "metrics.jsonl":
            files[name] = [_without(json.loads(line), TIMES) for line in path.read_text().splitlines()]
        elif name == "result.json":
            files[name] = _without(json.loads(path.read_text()), (*TIMES, "run"))
        elif name == "environment.json":
            files[name] = _without(json.loads(path.read_text()), ("started", "command"))
        else:
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def _without(document, keys):
    return {key: value for key, value in document.items() if key not in keys}


@pytest.fixture(scope="session")
def undisturbed(nursery, tmp_path_factory) -> dict[str, object]:
    """The essence of the small run, never stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert nursery.run(*SMALL, folder=folder) == 0, (folder / "output.txt").read_text()
    return essence(folder / "runs/x")
