"""A finished comparison in the terminal: curves, table, verdicts, files."""

import math

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cnnlab import numbers
from cnnlab.cli.render.console import Output
from cnnlab.cli.render.curves import LETTERS, Curves, needs_letters
from cnnlab.comparison.result import Comparison
from cnnlab.comparison.tested import Contestant
from cnnlab.report.comparison_figures import LOGARITHMIC
from cnnlab.report.style import BLACK, COLOURS, WINE
from cnnlab.text import printable, with_stand_in

_ON_ANY_GROUND = {BLACK: "default", WINE: "#aa4477"}
"""Colours of the figures that a dark terminal would swallow."""
TERMINAL_COLOURS = tuple(_ON_ANY_GROUND.get(colour, colour) for colour in COLOURS)
_BESIDE = 110
"""Columns from which two plots stand side by side."""
_WIDE = 110
"""Columns from which the table has all its columns."""
_GAP = 2
"""Columns between two columns of the table."""
_NAME = 10
"""Columns that a net's name has at least."""
_LEFT_OUT = ("adds", "time", "params", "train", "epoch", "val")
"""Of the table, one after the other, where a terminal is too narrow for all."""
_FILES = {
    "report.html": "all of it, on one page",
    "loss.png": "the loss alone; also .svg, and accuracy",
    "gradients.png": "delta by layer",
    "comparison.md": "the table; also .json and .csv",
    "curves.csv": "every epoch of every run",
}


def render_comparison(output: Output, comparison: Comparison) -> None:
    """Curves, table, verdicts and files, for people."""
    if output.quiet:
        return
    _curves(output, comparison)
    output.say("", _table(output, comparison), "")
    _verdicts(output, comparison)
    _files(output, comparison)


def mark(console: Console, number: int) -> Text:
    """The coloured sign of contestant `number`, the same as in its curve."""
    colour = TERMINAL_COLOURS[number % len(TERMINAL_COLOURS)]
    return Text(LETTERS[number % len(LETTERS)] if needs_letters(console) else "■", style=colour)


def short(text: str, length: int) -> str:
    """A name, cut to `length` characters."""
    safe = printable(text)
    return safe if len(safe) <= length else safe[: length - 2] + ".."


def _curves(output: Output, comparison: Comparison) -> None:
    """Validation and training loss of all contestants, means over seeds."""
    epochs = max(len(run.rows) for contestant in comparison.contestants for run in contestant.runs)
    over = f", mean of {len(comparison.seeds)} seeds" if len(comparison.seeds) > 1 else ""
    plots = []
    for title, key in ((f"validation loss{over}", "val_loss"), (f"training loss{over}", "train_loss")):
        curves: dict[str, list[float | None]] = {}
        for number, contestant in enumerate(comparison.contestants, 1):
            name = short(contestant.name, 24)
            curves[f"{name} ({number})" if name in curves else name] = _mean(contestant, key, epochs)
        values = [value for curve in curves.values() for value in curve if value is not None]
        if not values or epochs < 2:
            continue
        logarithmic = min(values) > 0 and max(values) / min(values) > LOGARITHMIC
        title += " (log)" if logarithmic else ""
        x = list(range(1, epochs + 1))
        plots.append(Curves(title, x, curves, colours=TERMINAL_COLOURS, logarithmic=logarithmic))
    if len(plots) == 2 and output.talk.width >= _BESIDE:
        grid = Table.grid(expand=True, padding=(0, 2))
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(*plots)
        output.say("", grid)
    else:
        for plot in plots:
            output.say("", plot)


def _mean(contestant: Contestant, key: str, epochs: int) -> list[float | None]:
    """(epochs,) of the epochs that all seeds have; None beyond them and where a value is missing or not finite."""
    means: list[float | None] = []
    for values in zip(*([row[key] for row in run.rows] for run in contestant.runs), strict=False):
        whole = all(value is not None and math.isfinite(value) for value in values)
        means.append(sum(values) / len(values) if whole else None)
    return means + [None] * (epochs - len(means))


def _table(output: Output, comparison: Comparison) -> Table:
    """One line a contestant; on a narrow terminal without what the report has anyway."""
    ascii_only = output.talk.options.ascii_only
    data = printable(with_stand_in(comparison.data, comparison.data_requested, comparison.fallback))
    table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    table.title = Text(f"{data}, accuracies in %", style="bold")
    table.title_justify = "left"
    table.add_column(width=1)
    table.add_column("net", overflow="fold", min_width=_NAME, vertical="bottom")
    rows = _that_fit(
        [
            _cells(
                contestant,
                comparison.tested_heading,
                wide=output.talk.width >= _WIDE,
                plus_minus="+-" if ascii_only else "±",
            )
            for contestant in comparison.contestants
        ],
        output.talk.width,
    )
    for heading in rows[0]:
        table.add_column(heading, justify="right", no_wrap=True)
    best = max(contestant.test_acc_mean for contestant in comparison.contestants)
    for number, (contestant, cells) in enumerate(zip(comparison.contestants, rows, strict=True)):
        style = "bold" if contestant.test_acc_mean == best else ""
        name = Text(short(contestant.name, 60))
        table.add_row(mark(output.talk, number), name, *cells.values(), style=style)
    return table


def _that_fit(rows: list[dict[str, str]], width: int) -> list[dict[str, str]]:
    """The rows (heading to cell) without the columns for which a terminal of this width has no room beside a name."""
    for left_out in (None, *_LEFT_OUT):
        rows = [{heading: cell for heading, cell in row.items() if left_out not in heading.split("\n")} for row in rows]
        columns = ([*heading.split("\n"), *(row[heading] for row in rows)] for heading in rows[0])
        if sum(max(map(len, lines)) + _GAP for lines in columns) + _NAME + _GAP + 1 <= width:
            break
    return rows


def _cells(contestant: Contestant, heading: str, *, wide: bool, plus_minus: str) -> dict[str, str]:
    """By heading; `heading` is that of the tested epoch."""
    spread = "" if contestant.test_acc_std is None else f" {plus_minus} {100 * contestant.test_acc_std:.2f}"
    cells = {
        "test": f"{100 * contestant.test_acc_mean:.2f}{spread}",
        "val": "-" if contestant.val_acc is None else f"{100 * contestant.val_acc:.2f}",
        "train": f"{100 * contestant.train_acc:.2f}",
        heading.replace(" ", "\n"): f"{contestant.best_epoch:.1f}".removesuffix(".0"),
        "val loss": _loss(contestant.val_loss),
        "gap": _loss(contestant.gap, signed=True),
        "params": f"{contestant.parameters:,}" if wide else numbers.big(contestant.parameters),
        "mult-\nadds": numbers.big(contestant.macs),
        "time": numbers.duration(contestant.seconds),
        "images/s": f"{contestant.images_per_s:,.0f}",
    }
    return cells if wide else {key: cell for key, cell in cells.items() if key not in ("val loss", "gap", "images/s")}


def _loss(value: float | None, *, signed: bool = False) -> str:
    return "-" if value is None else numbers.loss(value, signed=signed)


def _verdicts(output: Output, comparison: Comparison) -> None:
    """The answer, the verdict on each pair, and what to know of them."""
    output.say(Text(f"{printable(comparison.answer)}.", style="bold green" if _decided(comparison) else "bold"))
    if len(comparison.tests) > 1:
        for test in comparison.tests:
            output.say(Text(f"- {printable(test.verdict)}."))
    for contestant in comparison.contestants:
        if not contestant.beats_chance:
            chance = f"{100 * comparison.chance:.1f} %"
            output.say(
                Text(
                    f"{printable(contestant.name)} is not shown to be better than guessing ({chance}).", style="yellow"
                )
            )
    for notice in comparison.notices:
        output.note(printable(notice))


def _decided(comparison: Comparison) -> bool:
    return any(test.better is not None for test in comparison.tests)


def _files(output: Output, comparison: Comparison) -> None:
    """What was written, for whom; where the terminal is too narrow, below each path instead of beside it."""
    written = {comparison.folder / name: what for name, what in _FILES.items()}
    files = [(Text(printable(path)), Text(what, "dim")) for path, what in written.items() if path.is_file()]
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for path, what in files:
        table.add_row(path, what)
    if output.has_room_for(table):
        output.say(table)
        return
    for path, what in files:
        output.say_whole(path)
        output.say(Padding(what, (0, 0, 0, 2)))
