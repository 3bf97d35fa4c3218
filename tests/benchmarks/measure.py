"""Interleaved rounds, ratios with their spread, and the table that shows them beside what they should be."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Measure = Callable[[], float]
"""One round of one contender: what it measured."""


def interleave(contenders: Mapping[str, Measure], rounds: int) -> dict[str, list[float]]:
    """What each contender measured in each round; the first round, which warms up, is dropped.

    Each round begins with another contender, so that none always follows the same one.
    """
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for turn in range(rounds + 1):
        for name in order:
            value = contenders[name]()
            print(f"round {turn} of {rounds}: {name} {value:,.1f}", file=sys.stderr, flush=True)
            if turn:
                measured[name].append(value)
        order = [*order[1:], order[0]]
    return measured


def timed(function: Callable[[], object]) -> Measure:
    """A contender that measures the milliseconds of a call."""

    def measure() -> float:
        started = time.perf_counter()
        function()
        return 1e3 * (time.perf_counter() - started)

    return measure


@dataclass(frozen=True)
class Mark:
    """What a median has to keep to."""

    least: float | None = None
    most: float | None = None

    def met_by(self, value: float) -> bool:
        """Whether `value` is within the bounds."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        bounds = [f"{sign} {bound:.4g}" for sign, bound in (("≥", self.least), ("≤", self.most)) if bound is not None]
        return " ".join(bounds)


@dataclass(frozen=True)
class Row:
    """A contender: what it measured, and how cnnlab compares with it, round by round."""

    name: str
    measured: Sequence[float]
    compared: Sequence[float] = ()
    mark: Mark = field(default_factory=Mark)

    @property
    def met(self) -> bool:
        """Whether the median of the comparison keeps to the mark."""
        return not self.compared or self.mark.met_by(statistics.median(self.compared))


@dataclass(frozen=True)
class Table:
    """Rows of one measurement. `unit` is that of `measured`; `compared` heads the comparison."""

    title: str
    unit: str
    compared: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    @property
    def met(self) -> bool:
        """Whether every mark is kept."""
        return all(row.met for row in self.rows)

    def __str__(self) -> str:
        lines = [self.title, f"{'':40}{self.unit:>10}{self.compared:>16}{'min':>7}{'max':>7}  mark"]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def _line(row: Row) -> str:
    value = statistics.median(row.measured)
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    line = f"{row.name:40}{value:10,.{digits}f}"
    if row.compared:
        low, middle, high = min(row.compared), statistics.median(row.compared), max(row.compared)
        digits = 2 if high < 100 else 0
        line += f"{middle:16.{digits}f}{low:7.{digits}f}{high:7.{digits}f}"
        if str(row.mark):
            line += f"  {row.mark} {'met' if row.met else 'MISSED'}"
    return line


def times_as_fast(own: Sequence[float], peer: Sequence[float], *, rates: bool) -> list[float]:
    """How many times as fast as the peer cnnlab is, round by round, from rates or from times."""
    return [mine / theirs if rates else theirs / mine for mine, theirs in zip(own, peer, strict=True)]


def times_as_long(own: Sequence[float], peer: Sequence[float]) -> list[float]:
    """How many times as long as the peer cnnlab takes, round by round."""
    return [mine / theirs for mine, theirs in zip(own, peer, strict=True)]
