"""What `cnnlab evaluate` shows: the list of runs, a run's figures, what pictures are taken for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cnnlab.cli.render.console import Output
from cnnlab.text import printable

if TYPE_CHECKING:  # listing runs needs no torch
    from cnnlab.evaluation.classify import Classification
    from cnnlab.evaluation.evaluate import Evaluation
    from cnnlab.evaluation.listing import RunSummary
    from cnnlab.evaluation.measures import ClassFigures

SHOWN_CLASSES = 20
WORST_CLASSES = 10
SHOWN_CONFUSIONS = 5
SHOWN_MISTAKES = 8
_LAYOUTS = ((len("2026-11-28 01:28"), True), (len("2026-11-28"), True), (0, True), (0, False))
"""Of the list of runs, the wider first: characters of the date, and whether the net has a column. The names that cnnlab
gives begin with the date and hold the net."""
_NUMBER = len("87.65")
_NAME = 24


def render_runs(output: Output, runs: "Sequence[RunSummary]", out: Path) -> None:
    """One line a run, the newest last; without any, how to make one."""
    if not runs:
        output.say(f"There is no run in {printable(out)} yet. Make one: cnnlab train --arch cnn")
        return
    for date, net in _LAYOUTS:
        table = _runs(runs, date, net=net)
        if output.has_room_for(table, wrapped=not date):
            break
    table.columns[0].no_wrap = output.has_room_for(table, wrapped=True)  # otherwise the longest would be folded first
    output.say(table)
    unfinished = sum(not run.finished for run in runs)
    if unfinished:
        output.say(Text(f"{unfinished} not finished; go on with one: cnnlab train --resume RUN", style="yellow"))
    output.say(Text(f"Accuracies in %. More of one: cnnlab evaluate {_quoted(runs[-1].run)}", style="dim"))


def _runs(runs: "Sequence[RunSummary]", date: int, *, net: bool) -> Table:
    """The table of runs, with so many characters of the date; what is damaged is said at any width."""
    started = ["damaged" if run.problem else run.started[:date].replace("T", " ") for run in runs]
    dated = any(started)
    table = _table("run", *["net"] * net, "data", ">epochs", ">val", ">test", *["date"] * dated)
    for run, when in zip(runs, started, strict=True):
        data = (run.data or "-") + (f" for {run.data_requested}" if run.fallback else "")
        table.add_row(
            Text(printable(run.run), style="bold" if run.finished else "yellow"),
            *[_cell(run.arch or "-")] * net,
            _cell(data),
            str(run.epochs),
            _percent(run.val_acc),
            _percent(run.test_acc) if run.finished else "-",
            *[when] * dated,
        )
    return table


def render_evaluation(output: Output, result: "Evaluation", notices: Sequence[str]) -> None:
    """The figures of a run, for people."""
    _notices(output, notices)
    if result.fallback:
        output.say(
            Text(f"This run was trained on {result.data}, which stood in for {result.data_requested}.", "bold yellow")
        )
    output.say(_figures(result), "", _classes(result.classes), "")
    for part in (_confusions(result), _mistakes(result)):
        if part is not None:
            output.say(part, "")
    output.say_whole(Text.assemble(("written  ", "bold"), printable(result.files[0].parent)))
    output.say(Padding(Text(", ".join(file.name for file in result.files)), (0, 0, 0, len("written  "))))


def _figures(result: "Evaluation") -> Table:
    right = int((result.labels == result.predictions).sum())
    table = _pairs()
    table.add_row("run", _cell(str(result.run), length=200))
    table.add_row("pictures", Text(f"{result.n:,} of {printable(result.data)}, {result.split}"))
    table.add_row("top-1", Text(f"{_percent(result.top1)} %  ({right:,} right)", style="bold green"))
    if result.tta is not None:
        table.add_row("with views", f"{_percent(result.tta.top1)} %  (averaged over {result.tta.views} views)")
    if result.top5 is not None:
        table.add_row("top-5", f"{_percent(result.top5)} %")
    table.add_row("loss", f"{result.loss:.4f}")
    table.add_row("calibration", f"{_percent(result.calibration.ece)} % expected error ({_sureness(result)})")
    table.add_row(
        "speed", f"{result.images_per_s:,.0f} images/s on {result.device} in {result.precision}, evaluation alone"
    )
    if result.onnx is not None:
        checked = (
            f"{result.onnx.same_top1:,} of {result.onnx.checked:,} pictures get the same class in onnxruntime"
            if result.onnx.checked
            else "not checked: onnxruntime is not installed"
        )
        table.add_row("ONNX", Text(f"{printable(result.onnx.path)}: {checked}"))
    return table


def _sureness(result: "Evaluation") -> str:
    """Whether the net is overconfident or underconfident, on the whole."""
    difference = float(result.confidence.mean()) - result.top1
    if abs(difference) < 0.005:
        return "about as often right as sure"
    return "overconfident" if difference > 0 else "underconfident"


def _classes(classes: "Sequence[ClassFigures]") -> Table:
    """All classes, or of many only the worst, by F1."""
    cut = len(classes) > SHOWN_CLASSES
    rows = sorted(classes, key=lambda row: -1.0 if row.f1 is None else row.f1)[:WORST_CLASSES] if cut else classes
    table = _table("class", ">precision %", ">recall %", ">F1 %", ">pictures")
    if cut:
        table.title = f"The worst {WORST_CLASSES} of {len(classes)} classes by F1 (all: --json, or the files below)"
    for row in rows:
        figures = (_percent(row.precision), _percent(row.recall), _percent(row.f1))
        table.add_row(_cell(row.name), *figures, f"{row.support:,}")
    return table


def _confusions(result: "Evaluation") -> Table | None:
    """The pairs of classes most often confused."""
    wrong = [
        (count, row, column)
        for row, counts in enumerate(result.confusion.tolist())
        for column, count in enumerate(counts)
        if count and row != column
    ]
    if not wrong:
        return None
    table = _table("true class", "taken for", ">pictures", ">% of the class")
    table.title = "Most often confused"
    for count, row, column in sorted(wrong, key=lambda found: (-found[0], found[1:]))[:SHOWN_CONFUSIONS]:
        true = result.classes[row]
        share = _percent(count / true.support)
        table.add_row(_cell(true.name), _cell(result.classes[column].name), f"{count:,}", share)
    return table


def _mistakes(result: "Evaluation") -> Table | None:
    if not result.mistakes:
        return None
    table = _table("picture", "true class", "taken for", ">confidence %")
    table.title = "Worst mistakes"
    for mistake in result.mistakes[:SHOWN_MISTAKES]:
        image = f"no. {mistake.image}" if isinstance(mistake.image, int) else mistake.image
        cells = (_cell(image, length=36), _cell(mistake.label), _cell(mistake.prediction))
        table.add_row(*cells, _percent(mistake.confidence))
    return table


def render_classification(output: Output, result: "Classification", notices: Sequence[str]) -> None:
    """What each picture is taken for, and which could not be read."""
    _notices(output, notices)
    resized = [found for found in result.predictions if found.resized]
    height, width, channels = result.image_shape
    if resized:
        kind = "gray" if channels == 1 else "RGB"
        which = "1 picture was" if len(resized) == 1 else f"{len(resized)} pictures were"
        output.say(
            Text(
                f"note: {which} cut to the centre and resized to {width}×{height}, {kind}: "
                "the size that this run was trained on",
                style="yellow",
            )
        )
    if result.predictions:
        table = _table("picture", "prediction", ">%", "then")
        table.columns[0].overflow = "fold"
        for found in result.predictions:
            others = ", ".join(f"{printable(name)} {_percent(share)}" for name, share in found.top[1:3])
            table.add_row(
                Text(printable(found.image)),
                Text(_short(found.prediction, _NAME), style="bold green"),
                _percent(found.confidence),
                Text(others, style="dim"),
            )
        output.say(table)
    for failure in result.failures:
        text = Text("failed: ", style="bold red").append(failure.problem, style="default")
        (output.say if not output.quiet else _say_anyway)(text)


def _say_anyway(text: Text) -> None:
    """What failed is said even with --quiet."""
    from cnnlab.cli.render.console import make_console

    make_console(stderr=True).print(text)


def _notices(output: Output, notices: Sequence[str]) -> None:
    for notice in notices:
        output.note(notice)


def _table(*headings: str) -> Table:
    """A plain table; a heading that begins with > is of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left", title_style="bold")
    for heading in headings:
        number = heading.startswith(">")
        table.add_column(
            heading.lstrip(">"),
            justify="right" if number else "left",
            min_width=_NUMBER if number else None,
            overflow="fold",
            header_style="dim",
        )
    return table


def _pairs() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _cell(text: str, *, length: int = _NAME) -> Text:
    return Text(_short(text, length))


def _short(text: str, length: int) -> str:
    safe = printable(text)
    return safe if len(safe) <= length else safe[: length - 1] + "…"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _quoted(name: str) -> str:
    safe = printable(name)
    return f'"{safe}"' if " " in safe else safe
