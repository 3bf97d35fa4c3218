"""`cnnlab compare` on the command line: output, exit codes, texts, stopping."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from cnnlab.comparison import page, pictures
from cnnlab.errors import MachineError
from cnnlab.report import figures

SMALL = ("mlp:depth=1,width=8", "big=mlp:depth=1,width=16", "--data", "digits", "--epochs", "2", "--threads", "1")


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Pictures and page have tests of their own; one test here asks for them."""
    if "drawn" in request.fixturenames:
        return
    monkeypatch.setattr(page, "write_page", lambda comparison: None)
    monkeypatch.setattr(pictures, "draw_pictures", lambda comparison: [])
    monkeypatch.setattr(figures, "draw_curves", lambda *_, **options: None)


@pytest.fixture
def drawn():
    """Asked for by the test that wants pictures and page."""


def test_help_has_examples_and_imports_nothing_heavy(cli_process):
    ended = cli_process("compare", "--help", COLUMNS="100")
    assert ended.code == 0
    for word in ("cnnlab compare mlp cnn", "--seeds", "--match", "--gradients", "--band", "--x", "--offline"):
        assert word in ended.out


def test_everything_is_written_and_told(cli, own_world, drawn):
    ended = cli("compare", *SMALL, "--name", "one")
    assert ended.code == 0, ended.err
    names = {path.name for path in Path("runs/one").iterdir()}
    assert {"comparison.json", "comparison.csv", "comparison.md", "curves.csv", "loss.png", "loss.svg", "accuracy.png",
            "accuracy.svg", "report.html", "plan.json", "runs"} <= names  # fmt: skip
    assert "run 1/2" in ended.out
    assert " left" in ended.out
    assert "report.html" in ended.out
    for word in json.loads(Path("runs/one/comparison.json").read_text())["answer"].split():
        assert word.rstrip(".;,") in ended.out


def test_json_is_the_one_document_on_stdout(cli, own_world):
    ended = cli("compare", *SMALL, "--name", "one", "--json")
    assert ended.code == 0, ended.err
    assert ended.json == json.loads(Path("runs/one/comparison.json").read_text())
    assert "run 1/2" in ended.err


def test_quiet_says_nothing(cli, own_world):
    ended = cli("compare", *SMALL, "-q")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert [path.name[-8:] for path in Path("runs").iterdir()] == ["-compare"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "needs two contestants or more, received 0"),
        (("mlp",), "needs two contestants or more, received 1"),
        (("mlp", "mpl"), "unknown contestant 'mpl'"),
        (("mlp", "mlp"), "the contestant mlp is named twice"),
        (("mlp", "cnn:wdth=3"), "unknown key model.wdth; did you mean width or depth?"),
        (("mlp", "cnn:data.name=mnist", "--set", "data.val_fraction=2"), "data.val_fraction: expected"),
        (("mlp:data.name=mnist", "cnn:data.name=digits"), "the contestants are on different data: data.name is mnist"),
        (("mlp:depth=0", "resnet:depth=8", "--match", "macs"), "no width of resnet:depth=8 comes within 2%"),
        (("mlp", "cnn", "--match", "size"), "'size' is not one of 'params', 'macs'"),
        (("mlp", "cnn", "--seeds", "0"), "'--seeds': expected greater than or equal to 1"),
        (("mlp", "cnn", "--name", "a/b"), "is made of letters, digits"),
        (("mlp", "net.yaml"), "no such recipe: net.yaml"),
    ],
)
def test_what_is_typed_wrongly_ends_with_2_and_says_how(cli, own_world, arguments, text):
    extra = () if any("data.name" in argument for argument in arguments) else ("--data", "digits")
    ended = cli("compare", *arguments, *extra)
    assert ended.code == 2
    assert text in " ".join(ended.err.split())
    assert not any(Path("runs").glob("*/runs/*"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.faults)]
)
@pytest.mark.skipif(sys.platform == "win32", reason="no such signals to send")
def test_stopped_it_says_how_to_go_on_and_goes_on(cli, own_world, monkeypatch, number, code):
    from cnnlab.cli.render.compare import CompareView
    from cnnlab.comparison.events import RunEpoch

    show, sent = CompareView.show, []

    def send(self, event):
        show(self, event)
        if isinstance(event, RunEpoch) and event.number == 2 and not sent:
            sent.append(event)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(CompareView, "show", send)
    stopped = cli("compare", *SMALL, "--name", "one")
    assert stopped.code == code
    assert "Go on: the same command with --name one" in stopped.err
    ended = cli("compare", *SMALL, "--name", "one", "--json")
    assert ended.code == 0
    assert len(ended.json["contestants"][1]["runs"]) == 1
    assert "going on" in ended.err or "goes on" in ended.err


def test_a_failing_machine_is_told_with_how_to_go_on(cli, own_world, monkeypatch):
    from cnnlab.comparison import compare as core

    def full(comparison):
        raise MachineError("the disk is full", hint="Free some space")

    with monkeypatch.context() as patch:
        patch.setattr(core, "write_files", full)
        ended = cli("compare", *SMALL, "--json")
    assert ended.code == 4
    [folder] = Path("runs").iterdir()
    assert ended.json["error"]["hint"] == f"Free some space\nGo on: the same command with --name {folder.name}"
    assert cli("compare", *SMALL, "--name", folder.name, "-q").code == 0
