"""What `cnnlab compare` shows: live and plain progress, the result at 80 and 120 columns, hostile names, ASCII."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from cnnlab.cli.render import comparison as rendered
from cnnlab.cli.render.compare import CompareView
from cnnlab.cli.render.comparison import render_comparison
from cnnlab.cli.render.console import Output
from cnnlab.comparison import events
from cnnlab.report.style import COLOURS
from cnnlab.training.events import Loading, Notice, StepDone


class Encoded(io.StringIO):
    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:
        return self._encoding


def output(width: int = 100, *, encoding: str = "utf-8", terminal: bool = False, quiet: bool = False) -> Output:
    out = Output(quiet=quiet)
    out.talk = Console(
        file=Encoded(encoding), width=width, height=30, force_terminal=terminal, quiet=quiet, highlight=False,
        markup=False, emoji=False, color_system="truecolor" if terminal else None,
        _environ={"TERM": "xterm"} if terminal else {},
    )  # fmt: skip
    return out


def printed(out: Output) -> str:
    file = out.talk.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def story(names: tuple[str, ...] = ("mlp", "cnn"), *, fallback: bool = False) -> list[object]:
    """Two nets on one seed: the first has already finished, the second goes on after its first of two epochs."""
    planned = tuple(events.Planned(name, 12_345, 1_234_567, 3, "width=99", 0.0123) for name in names)
    started = events.CompareStarted(
        folder=Path("runs/x"), data="digits", data_requested="cifar10" if fallback else "digits", fallback=fallback,
        real_command="cnnlab compare --data cifar10" if fallback else None,
        images={"train": 1000, "val": 100, "test": 360}, classes=10, image_shape=(8, 8, 1), contestants=planned,
        seeds=(0,), epochs=2, runs=2, finished=1, engine="torch", device="cpu",
    )  # fmt: skip
    result = {"test_acc": 0.5, "val_acc": 0.6, "seconds": 61.0}
    row = {"epoch": 2, "train_loss": 0.5, "val_loss": 0.75, "val_acc": 0.8125, "images_per_s": 999.0}
    a, b = names
    return [
        Loading("reading", 10, 100, "images"),
        Notice("read me first"),
        started,
        events.RunReused(a, 0, 1, Path("runs/old"), result),
        events.RunBegan(b, 0, 2, Path("runs/x/1"), 2, 2, 125.0),
        StepDone(1, 1, 0.5, 100.0, 0.1),
        events.RunStep(b, 0, 2, 2, 3, 10, 2, 0.5, 1234.0, 0.65, 65.0),
        Notice("and me then"),
        events.RunEpoch(b, 0, 2, 2, row, True, 0.0),
        events.RunEnded(b, 0, 2, Path("runs/x/1"), {**result, "test_acc": 0.875}, "patience", 0.0),
    ]


def tell(out: Output, told: list[object]) -> str:
    with CompareView(out) as view:
        for event in told:
            view.show(event)
    return printed(out)


def test_plain_lines_tell_every_run_and_epoch_and_the_time_left() -> None:
    lines = tell(output(), story()).splitlines()
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "note: read me first" in lines
    assert "2 nets, 1 seed  2 runs of at most 2 epochs, 1 already finished; torch on cpu" in lines
    assert "  mlp  12,345 parameters, 1.2 M multiply-adds  (width=99, +1.23 % from the first)" in lines
    assert "run 1/2  mlp s0 has already finished: runs/old" in text.replace("\\", "/")
    assert "run 2/2  cnn s0 begins, going on after epoch 1" in lines
    assert "run 2/2  cnn s0  epoch   2/2  train 0.5000  val 0.7500 81.25 %  0:00 left *" in lines
    assert "run 2/2  cnn s0 done: test 87.50 %, 1:01; ended early: patience" in lines
    assert lines.index("note: and me then") > lines.index("run 2/2  cnn s0 begins, going on after epoch 1")


def test_stand_in_data_are_declared_in_the_first_line() -> None:
    first = tell(output(), story(fallback=True)).splitlines()[0]
    assert first.startswith("cifar10 could not be found or downloaded: comparing on the built-in digits instead.")


def test_a_terminal_shows_both_bars_the_standings_and_the_time_left() -> None:
    out = output(terminal=True)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", tell(out, story()))
    assert "reading" in text
    assert "10/100 images" in text
    assert "run 2/2 cnn s0" in text
    assert "epoch 2/2" in text
    assert "2:05 left" in text
    assert re.search(r"cnn +12,345 +0/1 +2/2 +81\.25 %", text)
    assert re.search(r"mlp +12,345 +1/1 +60\.00 % +50\.00 %", text)


def test_quiet_says_nothing() -> None:
    out = output(quiet=True)
    assert tell(out, story()) == ""


def test_names_with_escapes_stay_text(make_comparison, tmp_path: Path) -> None:
    names = ("\x1b[31mred", "[bold]not markup")
    out = output()
    tell(out, story(names))
    render_comparison(out, make_comparison(tmp_path, names))
    text = printed(out)
    assert "\x1b" not in text
    assert "\\x1b[31mred" in text
    assert "[bold]not markup" in text


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_result_fits_its_terminal(make_comparison, tmp_path: Path, width: int, seeds: int) -> None:
    names = ("mlp:activation=sigmoid,depth=8", "cnn", "<b>", "a" * 90, "猫和狗", "six", "seven", "eight")
    comparison = make_comparison(tmp_path, names, seeds=seeds)
    (tmp_path / "report.html").touch()
    out = output(width)
    render_comparison(out, comparison)
    text = printed(out)
    lines = text.splitlines()
    report = str(tmp_path / "report.html")  # which is whole at any width
    assert report in text
    assert max(len(line) for line in lines if report not in line) <= width
    headings = next(line for line in lines if line.split()[:1] == ["net"])
    assert headings.split()[1:3] == ["test", "val"]
    assert ("train" in headings) == (width >= 60)
    assert ("val loss" in headings) == (width == 120)
    row = next(line for line in lines if line.split()[1:2] == ["cnn"])
    assert f"{100 * comparison.contestants[1].test_acc_mean:.2f}" in row
    assert ("±" in row) == (seeds > 1)
    assert "…" not in row
    assert comparison.answer.replace(" ", "") in "".join(text.split())
    assert "loss.png" not in text  # was not written
    assert "validation loss" in text
    assert "training loss" in text


def test_a_net_that_only_guesses_is_named_and_notes_are_shown(make_comparison, tmp_path: Path) -> None:
    from dataclasses import replace

    comparison = make_comparison(tmp_path, notices=("mind the step",))
    guesser = replace(comparison.contestants[0], beats_chance=False)
    out = output()
    render_comparison(out, replace(comparison, contestants=(guesser, *comparison.contestants[1:])))
    assert "mlp is not shown to be better than guessing (10.0 %)." in printed(out)
    assert "note: mind the step" in printed(out)
    assert "cnn is not shown" not in printed(out)


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_other_encodings_can_print_all_of_it(make_comparison, tmp_path: Path, encoding: str) -> None:
    out = output(encoding=encoding)
    tell(out, story())
    render_comparison(out, make_comparison(tmp_path, tuple("abcdefghi"), seeds=3))
    printed(out).encode(encoding)


def test_losses_that_are_not_finite_or_far_apart_and_a_single_epoch(make_comparison, tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path)
    for row in comparison.contestants[0].runs[0].rows[2:]:
        row["train_loss"] = row["val_loss"] = float("nan")
    for row in comparison.contestants[1].runs[0].rows:
        row["val_loss"] *= 1e6
    out = output()
    render_comparison(out, comparison)
    assert "validation loss (log)" in printed(out)
    assert "training loss (log)" not in printed(out)
    single = output()
    render_comparison(single, make_comparison(tmp_path, epochs=1, validated=False))
    assert "loss" not in printed(single)


def test_a_net_has_the_colour_of_its_figures(make_comparison, tmp_path: Path) -> None:
    out = output(terminal=True)
    render_comparison(out, make_comparison(tmp_path))
    for colour in COLOURS[:2]:
        red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        assert printed(out).count(f"38;2;{red};{green};{blue}m") > 10  # its mark, its legends, its curves
    assert len(rendered.TERMINAL_COLOURS) == len(COLOURS) == len(set(rendered.TERMINAL_COLOURS))
