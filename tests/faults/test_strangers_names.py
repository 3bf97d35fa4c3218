"""Names with escape sequences, markup, HTML, formulas and reversed text: shown escaped, everywhere, in every file."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.cli import main

CLASSES = [
    "\x1b]0;owned\x07\x1b[31mred",
    "[bold red]x[/] <script>alert(1)</script>",
    "\u202egnp.exe $\\frac{1}{0}$ {x}",
]
if sys.platform == "win32":
    CLASSES = ["[bold red]x[-]", "$\\u202e$", "{x} & y"]
elif sys.platform == "linux":
    CLASSES[0] += os.fsdecode(b"\xff\xfe")
SHOWN = ["\\x1b]0;owned\\x07\\x1b[31mred\\udcff\\udcfe", "[bold red]x[/]", "\\u202egnp.exe $\\frac{1}{0}$ {x}"]
DANGEROUS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def safe(text: str) -> str:
    """The text itself, which must hold nothing that a terminal obeys."""
    found = DANGEROUS.search(text)
    assert found is None, f"{found.group()!r} in {text[max(0, found.start() - 60) : found.end() + 20]!r}"
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes with such names, below a folder with such a name."""
    root, rng = tmp_path / CLASSES[0], np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for number, label in enumerate(name.replace("/", "∕") for name in CLASSES):
            (root / part / label).mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(rng.normal(60 * number + 40, 60, (8, 8)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{CLASSES[1].replace('/', '∕')}{index}.png")
    return root


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_a_run_on_such_names_from_training_to_report(cli, folder):
    common = ("--data", folder, "--epochs", 2, "--batch-size", 8)
    trained = cli("train", "--arch", "mlp:width=8,depth=1", *common, "--name", "x")
    assert trained.code == 0, trained.err
    assert SHOWN[0] in safe(trained.out).replace("\n", "")
    evaluated = cli("evaluate", "x")
    assert evaluated.code == 0, evaluated.err
    safe(evaluated.out)
    assert "[bold red]x[" in evaluated.out  # shown as it is, not obeyed
    document = cli("evaluate", "x", "--json")
    assert len(document.json["classes"]) == 3
    safe("".join(document.json["data"]))
    safe(cli("evaluate").out)
    classified = cli("evaluate", "x", *sorted((folder / "test").rglob("*.png"))[:2])
    assert classified.code == 0, classified.err
    safe(classified.out)
    # It goes on, and the recipe that it wrote finds the folder again.
    assert cli("train", "--recipe", "runs/x/recipe.yaml", "--epochs", 1, "--name", "y").code == 0
    compared = cli("compare", "<b>a</b>=mlp:width=4", "[red]b[/]=mlp:width=8", *common, "--name", "c")
    assert compared.code == 0, compared.err
    safe(compared.out)
    for file in [*Path("runs").rglob("*.json"), *Path("runs").rglob("*.md"), *Path("runs").rglob("*.csv")]:
        safe(file.read_text("utf-8"))
    report = Path("runs/c/report.html").read_text("utf-8")
    safe(report)
    assert "<script>alert" not in report
    assert "<b>a</b>" not in report
    json.loads(Path("runs/x/environment.json").read_text("utf-8"))


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not legal on Windows")
@pytest.mark.parametrize(
    "arguments",
    [
        ["filter", "\x1b[31m.png", "--kernel", "edge"],
        ["filter", "sample:china", "--kernel", "\x1b[31m"],
        ["filter", "sample:\x1b[31m", "--kernel", "edge"],
        ["filter", "sample:china", "--kernel", "\x1b[31m:conv1[0]"],
        ["train", "--arch", "\x1b[31m"],
        ["train", "--arch", "\x1b[31m.py:Net"],
        ["train", "--arch", "mlp:width=\x1b[31m"],
        ["train", "--recipe", "\x1b[31m.yaml"],
        ["train", "--data", "\x1b[31m"],
        ["train", "--set", "\x1b[31m=1"],
        ["train", "--resume", "\x1b[31m"],
        ["evaluate", "\x1b[31m"],
        ["gradcheck", "\x1b[31m"],
        ["compare", "\x1b[31m", "mlp"],
        ["\x1b[31m"],
    ],
)
def test_errors_show_such_names_escaped(cli, arguments):
    ended = cli(*arguments)
    assert ended.code in (2, 3)
    safe(ended.err)
    assert "\\x1b[31m" in ended.err


def test_a_traceback_shows_what_a_file_names_escaped(cli, tmp_path):
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        (tmp_path / name).write_bytes(b"c\x1b[31m\nred\r\n.")
    ended = cli("train", "--data", tmp_path, "-v")
    assert ended.code == 3
    assert "UnpicklingError: it names \\x1b[31m.red\\r" in safe(ended.err)


def test_a_bug_shows_the_words_of_an_error_escaped_and_cut(cli, monkeypatch):
    def fail(_: object) -> int:
        raise RuntimeError("\x1b[31m\r" + "x" * 10_000)

    monkeypatch.setattr(main, "_run", fail)
    told = cli("train").err
    assert "a bug in cnnlab: RuntimeError: \\x1b[31m\\rxxx" in safe(told).replace("\n", "")
    assert len(told) < 1500
    safe(cli("train", "-v").err)
