"""How long a person waits: help and version beside a Typer hello-world, the first step beside `import torch`."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import Mark, Measure, Row, Table, interleave, timed, times_as_long

HELLO = """
import rich
import typer

def hello(name: str = "world") -> None:
    rich.print(f"Hello {name}")

typer.run(hello)
"""
FIRST_STEP = """
import os, sys
from cnnlab.cli.main import main
from cnnlab.cli.render.train import TrainView
from cnnlab.training.events import StepDone

def show(self, event):
    if isinstance(event, StepDone):
        needless = {"sklearn", "torchvision", "matplotlib"} & set(sys.modules)
        sys.stderr.write(f"imported before the first step: {needless}\\n" if needless else "")
        sys.stderr.flush()
        os._exit(1 if needless else 0)

TrainView.show = show
main(["train", "--arch", "cnn", "--data", "digits"])
"""
SECONDS_BEYOND_TORCH = Mark(most=2.0)


def process(folder: str, *arguments: str) -> Measure:
    """A contender that measures a Python process from its start to its end."""
    return timed(lambda: subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True))


def tables(*, rounds: int) -> Iterator[Table]:
    """Measure both; whole processes, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "hello.py").write_text(HELLO, encoding="utf-8")
        commands = {flag: process(folder, "-m", "cnnlab", flag) for flag in ("--help", "--version")}
        times = interleave({**commands, "hello": process(folder, "hello.py")}, rounds)
        rows = [Row("Typer hello-world with rich", times["hello"])]
        rows += [
            Row(f"cnnlab {flag}", times[flag], times_as_long(times[flag], times["hello"]), Mark(most=1.5))
            for flag in commands
        ]
        yield Table(f"Start: whole processes, {rounds} rounds in turns", "ms", "times hello", rows)

        first = {"torch": process(folder, "-c", "import torch"), "train": process(folder, "-c", FIRST_STEP)}
        times = interleave(first, rounds)
        beyond = [1e-3 * (own - bare) for own, bare in zip(times["train"], times["torch"], strict=True)]
        rows = [
            Row("import torch", times["torch"]),
            Row("cnnlab train on digits, to its first step", times["train"], beyond, SECONDS_BEYOND_TORCH),
        ]
        title = f"First step, scikit-learn, torchvision and matplotlib not imported: {rounds} rounds in turns"
        yield Table(title, "ms", "seconds more", rows)
