"""`cnnlab evaluate` as it is typed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnlab.evaluation import evaluate as module

Cli = Callable[..., Any]


@pytest.fixture
def run(digits_run: Path, own_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished run, below `runs`; throughput is timed on one batch only."""
    monkeypatch.setattr(module, "_TIMED_SECONDS", 0)
    return Path(shutil.copytree(digits_run, own_world / "runs" / "digits-mlp"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out."""
    for name in ("draw_confusion", "draw_classes", "draw_calibration", "draw_mistakes"):
        monkeypatch.setattr(module.figures, name, lambda *_: None)


@pytest.fixture
def picture(own_world: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(own_world / "a b.png")
    return Path("a b.png")


@pytest.mark.usefixtures("run")
def test_a_run_is_evaluated(cli: Cli) -> None:
    ended = cli("evaluate", "last")
    assert ended.code == 0
    for word in ("top-1", "top-5", "precision %", "Most often confused", "Worst mistakes", "360 of digits, test"):
        assert word in ended.out
    assert ended.err == ""


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.usefixtures("run", "undrawn")
def test_tables_fit_the_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in ([], ["last"]):
        lines = cli("evaluate", *arguments).out.splitlines()
        assert lines
        assert max(len(line.rstrip()) for line in lines) <= columns
        assert not any("…" in line for line in lines)


@pytest.mark.usefixtures("run", "undrawn")
def test_a_narrow_terminal_breaks_lines_and_leaves_out_no_class(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = cli("evaluate", "last").out
    assert "…" not in out
    by_class = out.partition("Most often confused")[0].splitlines()
    for digit in range(10):
        assert any(line.startswith(f"{digit} ") for line in by_class)


@pytest.mark.usefixtures("undrawn")
def test_json_is_one_document_on_stdout(cli: Cli, run: Path) -> None:
    ended = cli("evaluate", run, "--json", "--split", "val", "--tta")
    assert (ended.code, ended.json["split"], ended.json["n"]) == (0, "val", 144)
    assert ended.json["top1"] == json.loads((run / "result.json").read_text("utf-8"))["val_acc"]
    assert ended.json["tta"]["views"] == 5
    assert "top-1" in ended.err


@pytest.mark.usefixtures("undrawn")
def test_the_folder_written_to_stays_whole_on_a_narrow_terminal(
    cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = run.rename(run.with_name("a-run-" * 12))
    monkeypatch.setenv("COLUMNS", "60")
    assert f"written  runs/{long.name}/evaluation\n" in cli("evaluate", "last").out


@pytest.mark.usefixtures("run", "undrawn")
def test_quiet_says_nothing(cli: Cli) -> None:
    ended = cli("evaluate", "digits", "-q")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


@pytest.mark.usefixtures("run")
def test_the_runs_are_listed(cli: Cli) -> None:
    ended = cli("evaluate")
    assert ended.code == 0
    assert "digits-mlp" in ended.out
    (listed,) = cli("evaluate", "--json").json["runs"]
    assert listed["run"] == "digits-mlp"
    assert listed["finished"] is True


@pytest.mark.parametrize(
    ("name", "columns", "shown"),
    [
        ("20261128-012827-mlp-digits-s0", 100, "net data date time"),
        ("20261128-012827-mlp-digits-s0", 80, "net data date"),
        ("20261128-012827-mlp-digits-s0-2nd-try", 80, "net data"),
        ("20261128-012827-torchvision-resnet18-cifar10-s0", 80, "data"),
    ],
)
def test_a_runs_name_stays_whole_and_other_columns_give_way(
    cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch, name: str, columns: int, shown: str
) -> None:
    run.rename(run.with_name(name))
    monkeypatch.setenv("COLUMNS", str(columns))
    headings, row = cli("evaluate").out.splitlines()[:2]
    assert row.split()[0] == name
    assert [word for word in ("net", "data", "date") if word in headings.split()] == shown.replace(" time", "").split()
    assert (":" in row) == ("time" in shown)


def test_without_a_run_it_says_how_to_make_one(cli: Cli) -> None:
    ended = cli("evaluate")
    assert ended.code == 0
    assert "cnnlab train --arch cnn" in ended.out
    assert cli("evaluate", "--json").json == {"runs": []}


@pytest.mark.usefixtures("run")
def test_a_picture_is_classified(cli: Cli, picture: Path) -> None:
    ended = cli("evaluate", "last", picture)
    assert ended.code == 0
    assert "resized to 8×8" in ended.out
    document = cli("evaluate", "last", picture, "--json").json
    (found,) = document["predictions"]
    assert found["image"] == "a b.png"
    assert found["prediction"] == found["top"][0]["class"]
    assert found["resized"] is True


@pytest.mark.usefixtures("run")
def test_a_bad_picture_beside_a_good_one_is_3_and_the_good_one_is_done(cli: Cli, picture: Path) -> None:
    Path("bad.png").write_text("text")
    ended = cli("evaluate", "last", "bad.png", picture, "missing.png")
    assert ended.code == 3
    assert "a b.png" in ended.out
    assert "bad.png" in ended.out
    quiet = cli("evaluate", "last", "bad.png", picture, "-q")
    assert (quiet.code, quiet.out) == (3, "")
    assert "bad.png" in quiet.err
    document = cli("evaluate", "last", "bad.png", picture, "--json")
    assert document.code == 3
    assert len(document.json["predictions"]) == len(document.json["failed"]) == 1
    assert document.json["error"]["code"] == document.code == 3
    assert document.json["error"]["message"] == document.json["failed"][0]["problem"]


@pytest.mark.usefixtures("run", "undrawn")
def test_export_writes_one_file_and_says_that_it_was_checked(cli: Cli) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    ended = cli("evaluate", "last", "--export", "net.onnx", "--json")
    assert ended.code == 0
    assert ended.json["export"]["same_top1"] == 360
    assert sorted(path.name for path in Path().iterdir()) == ["net.onnx", "runs"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["nothing"], 2, "no run 'nothing'"),
        (["a b.png", "last"], 2, 'RUN comes first: cnnlab evaluate last "a b.png"'),
        (["last", "--split", "all"], 2, "--split"),
        (["last", "--data", "no-such-set"], 2, "no-such-set"),
        (["last", "--data", "empty"], 3, "train"),
        (["last", "--set", "train.epochs=3"], 2, "train.epochs"),
        (["last", "--device", "warp"], 2, "--device"),
        (["last", "--export", "net.txt"], 2, ".onnx"),
        (["last", "--export", "nowhere/net.onnx"], 4, "nowhere"),
        (["last", "empty"], 3, "no pictures"),
        (["last", "a.png", "--split", "val"], 2, "--split"),
        (["--tta"], 2, "--tta"),
        (["empty"], 2, "is not a run folder"),
    ],
)
def test_bad_input(cli: Cli, run: Path, picture: Path, arguments: list[str], code: int, text: str) -> None:
    Path("empty").mkdir()
    for ended in (cli("evaluate", *arguments), cli("evaluate", *arguments, "--json")):
        assert ended.code == code
        assert text in (ended.err or "\n".join(map(str, ended.json["error"].values())))
        assert "Traceback" not in ended.err
    assert ended.json["error"]["code"] == code
    assert not (run / "evaluation").exists()
    assert not list(Path().glob("*.onnx"))


@pytest.mark.parametrize("name", ["recipe.yaml", "environment.json", "checkpoints/best.json"])
def test_damaged_runs_are_3(cli: Cli, run: Path, name: str) -> None:
    (run / name).write_bytes(b"\x00garbage")
    ended = cli("evaluate", run, "--json")
    assert (ended.code, ended.json["error"]["code"]) == (3, 3)
    assert cli("evaluate").code == 0


def test_a_fallback_is_said(cli: Cli, run: Path, undrawn: None) -> None:
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    environment["data"].update(requested="cifar10", fallback=True)
    (run / "environment.json").write_text(json.dumps(environment))
    assert "stood in for cifar10" in cli("evaluate", "last").out


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
@pytest.mark.slow
@pytest.mark.usefixtures("run")
def test_output_survives_an_encoding(cli_process: Cli, picture: Path, encoding: str) -> None:
    for arguments in (["last"], [], ["last", picture]):
        ended = cli_process("evaluate", *arguments, PYTHONIOENCODING=encoding)
        assert ended.code == 0, ended.err


def test_many_classes_show_the_worst_ten_and_say_so(capfd: pytest.CaptureFixture[str]) -> None:
    from cnnlab.cli.render.console import Output
    from cnnlab.cli.render.evaluate import _classes
    from cnnlab.evaluation.measures import ClassFigures

    classes = [ClassFigures(f"class {n}", 0.5, 0.5, n / 100, 10) for n in range(100)]
    Output().say(_classes([*classes[50:], *classes[:50]]))
    shown = capfd.readouterr().out
    assert "The worst 10 of 100 classes" in shown
    assert "class 9 " in shown
    assert "class 10 " not in shown


ESCAPE = "\x1b]0;owned\x07"


@pytest.mark.usefixtures("undrawn")
def test_what_a_strangers_run_folder_says_is_shown_escaped(cli: Cli, run: Path) -> None:
    environment, result = (json.loads((run / name).read_text("utf-8")) for name in ("environment.json", "result.json"))
    (run / "environment.json").write_text(json.dumps({**environment, "started": ESCAPE}))
    (run / "result.json").write_text(json.dumps({**result, "test_acc": 0.1, "device": ESCAPE, "precision": ESCAPE}))
    for arguments in ([], ["last"]):
        ended = cli("evaluate", *arguments)
        assert ended.code == 0
        assert "\x1b" not in ended.out
        assert "\\x1b]0;owned" in ended.out
    (listed,) = cli("evaluate", "--json").json["runs"]
    assert listed["started"] == "\\x1b]0;owned\\x07"


def test_a_result_that_is_not_finite_breaks_no_list(cli: Cli, run: Path) -> None:
    bad = Path(shutil.copytree(run, run.with_name("bad")))
    (bad / "result.json").write_text('{"test_acc": NaN, "val_acc": 1e400}')
    ended = cli("evaluate", "--json")
    assert ended.code == 0
    listed = {found["run"]: found for found in ended.json["runs"]}
    assert "not a finite number" in listed["bad"]["problem"]
    assert listed["digits-mlp"]["finished"] is True
    assert cli("evaluate", bad).code == 3


def test_a_picture_with_a_name_too_long_for_a_file_is_a_failed_one(cli: Cli, run: Path) -> None:
    ended = cli("evaluate", run, "a" * 300 + ".png", "--json")
    assert ended.code == 3
    assert len(ended.json["failed"]) == 1
