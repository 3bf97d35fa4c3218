"""What `cnnlab gradcheck` shows: the checks in a table, the planted bugs, a layer explained."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cnnlab.backprop import Array
from cnnlab.cli.render.console import Output
from cnnlab.gradient_check import BugCheck, Check, Explanation, Report
from cnnlab.text import printable

_HANGING = 2
_WHOLE_NAME = 20
"""Cells of a layer's name that leave room for the figures beside it on 80 columns."""
_STYLES = {"ok": "green", "kink": "yellow", "wrong": "bold red"}


@contextlib.contextmanager
def watching(output: Output) -> Iterator[Callable[[Check], None]]:
    """On a terminal, a line that names the layer being checked; the function yielded receives the checks."""
    with output.talk.status("checking …") as status:
        yield lambda check: status.update(Text(f"checking {printable(check.layer)} …"))


def render_report(report: Report, *, verbose: bool) -> list[RenderableType]:
    """Tables of the bugs, or of the checks; with `verbose` a row for each case; then what is wrong, and the summary."""
    if report.bugs:
        caught = [Text(f"{len(report.bugs)} planted, all caught: exit code 5, as for every wrong gradient", "green")]
        return [_bugs(report.bugs), *[_checks(report.checks)] * verbose, *caught * report.all_caught]
    wrong = [check for check in report.checks if check.verdict == "wrong"]
    parts: list[RenderableType] = [_checks(report.checks) if verbose else _summary(report.checks)]
    if wrong and not verbose:
        parts.append(_checks(wrong, all_wrong=True))
    parts += [Text(f"skipped: {printable(case)}", "dim") for case in report.skipped]
    if report.passed:
        kinks = sum(check.verdict == "kink" for check in report.checks)
        with_kinks = f", {kinks} of them with a kink in the sample" if kinks else ""
        parts.append(Text(f"{len(report.checks)} checks passed{with_kinks}", "green"))
    return parts


def _table(*headings: str, title: str | None = None, layers: Iterable[str] = ()) -> Table:
    """An empty table; of `layers` the names are kept whole unless one of them leaves too little room beside it."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    short = max(map(cell_len, layers), default=0) <= _WHOLE_NAME
    for heading in headings:
        number = heading in ("cases", "differences", "autograd")
        whole = number or heading == "planted mistake" or (heading == "layer" and short)
        table.add_column(heading, justify="right" if number else "left", no_wrap=whole, overflow="fold")
    return table


def _summary(checks: list[Check]) -> Table:
    """One row for each layer and parameter: the worst of its cases."""
    layers = [check.layer for check in checks]
    table = _table("layer", "gradient by", "cases", "differences", "autograd", "verdict", layers=layers)
    for layer, of_layer in groupby(checks, key=lambda check: check.layer):
        by_parameter: dict[str, list[Check]] = {}
        for check in of_layer:
            by_parameter.setdefault(check.parameter, []).append(check)
        for number, (parameter, group) in enumerate(by_parameter.items()):
            table.add_row(
                Text(printable(layer) if number == 0 else ""),
                Text(printable(parameter)),
                str(len(group)),
                _error(
                    max((check.max_rel_error_fd for check in group if check.max_rel_error_fd is not None), default=None)
                ),
                _error(
                    max(
                        (check.max_rel_error_autograd for check in group if check.max_rel_error_autograd is not None),
                        default=None,
                    )
                ),
                _verdicts(group),
            )
    return table


def _checks(checks: list[Check], *, all_wrong: bool = False) -> Table:
    """One row for each check; a layer and a case stand where they begin, autograd where it was asked at all."""
    by_autograd = any(check.max_rel_error_autograd is not None for check in checks)
    last, title = ("worst at", "wrong") if all_wrong else ("verdict", None)
    columns = ("layer", "case", "gradient by", "differences", *("autograd",) * by_autograd, last)
    table, before = _table(*columns, title=title, layers=[check.layer for check in checks]), ("", "")
    for check in checks:
        here = (printable(check.layer), printable(check.case))
        worst = check.worst_index if check.verdict == "wrong" else None
        where = "" if worst is None else f"[{','.join(map(str, worst))}]"
        verdict = where if all_wrong else f"{check.verdict} at {where}" if where else check.verdict
        note = f" ({printable(check.note)})" if check.note else ""
        table.add_row(
            Text("" if here[0] == before[0] else here[0]),
            Text("" if here == before else here[1]),
            Text(printable(check.parameter)),
            _error(check.max_rel_error_fd),
            *(_error(check.max_rel_error_autograd),) * by_autograd,
            Text(f"{verdict}{note}", _STYLES[check.verdict]),
        )
        before = here
    return table


def _verdicts(group: list[Check]) -> Text:
    for verdict in ("wrong", "kink"):
        if count := sum(check.verdict == verdict for check in group):
            return Text(f"{count} wrong" if verdict == "wrong" else f"ok, {count} kinked", _STYLES[verdict])
    return Text("ok", _STYLES["ok"])


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _bugs(bugs: list[BugCheck]) -> Table:
    table = _table("planted mistake", "what is wrong", "caught by")
    for bug in bugs:
        caught = Text(f"{bug.layer}, {bug.caught_by}", "green") if bug.caught else Text("not caught", "bold red")
        table.add_row(Text(bug.name), Text(bug.statement), caught)
    return table


def render_explanation(explanation: Explanation) -> RenderableType:
    """Formulas, the example, and where the code is."""
    parts: list[RenderableType] = [
        Text(explanation.layer, "bold"),
        _indented(Text(explanation.what)),
        _indented(Text(f"Forward: {explanation.forward}")),
        _indented(Text(f"Backward: {explanation.idea}")),
        _indented(Text("scalar form", "cyan")),
        *(_indented(_Formula(line), 4) for line in explanation.scalar.splitlines()),
        _indented(Text("vector form", "cyan")),
        *(_indented(_Formula(line), 4) for line in explanation.vector.splitlines()),
        _indented(Text("worked example", "cyan")),
        _indented(_matrices(explanation.worked.given), 4),
        _indented(_matrices(explanation.worked.results), 4),
        *(_indented(_Formula(line), 4) for line in explanation.worked.lines),
        _indented(Text(f"code: {_place(explanation)}", "dim")),
        Text(),
    ]
    return Group(*parts)


def _indented(inner: RenderableType, columns: int = 2) -> Padding:
    return Padding(inner, (0, 0, 0, columns))


def _matrices(matrices: dict[str, Array]) -> Columns:
    return Columns([_matrix(name, array) for name, array in matrices.items()], padding=(0, 3))


def _matrix(name: str, array: Array) -> Group:
    """A name above its numbers, which stand with their decimal points below each other."""
    rows = array.reshape(-1, array.shape[-1]) + 0.0  # −0 becomes 0
    decimals = max(_decimals(float(value)) for value in rows.flat)
    table = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(Text(f"{value:.{decimals}f}", justify="right") for value in row))
    return Group(Text(name), table)


def _decimals(value: float) -> int:
    """Decimals that four digits of `value` need, four at most."""
    return min(4, len(f"{value:.4g}".partition(".")[2]))


class _Formula:
    """A line that goes on indented where it is too long, if it can be broken before an equals sign."""

    def __init__(self, line: str) -> None:
        self._line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rest, room, indent = self._line, options.max_width, 0
        while cell_len(rest) > room:
            spaces = [match.start() for match in re.finditer(" ", rest) if cell_len(rest[: match.start()]) <= room]
            equals = [at for at in spaces if rest[at + 1] == "=" and at > room / 2]
            if not spaces:
                break
            at = (equals or spaces)[-1]
            yield _indented(Text(rest[:at]), indent)
            rest, room, indent = rest[at + 1 :], options.max_width - _HANGING, _HANGING
        yield _indented(Text(rest), indent)


def _place(explanation: Explanation) -> str:
    file = explanation.file
    if file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    return f"{printable(file)}:{explanation.line}"
