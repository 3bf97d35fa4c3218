"""Curves drawn in the terminal: braille dots; letters where it has none, or no colours to tell several apart."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

# Bits of the eight dots of a braille character, by row and column (Unicode 6.0, chapter 15.10).
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_COLOURS = ("cyan", "yellow", "magenta", "green")
LETTERS = "*o+x#@%&"
"""What a curve is drawn with where there is only ASCII, or no colour."""


def needs_letters(console: Console) -> bool:
    """Whether neither braille dots nor colours can tell several curves apart."""
    return console.options.ascii_only or console.no_color or console.color_system is None


@dataclass(frozen=True)
class Curves:
    """Several curves over a common x axis, each by its name; None and values that are not finite are gaps."""

    title: str
    x: Sequence[float]
    curves: Mapping[str, Sequence[float | None]]
    height: int = 8
    """Rows of the plot."""
    colours: Sequence[str] = _COLOURS
    """Of one curve after another, from the first again when they are used up."""
    logarithmic: bool = False
    """For positive values far apart."""

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(30, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        curves = [[self._height_of(value) for value in curve] for curve in self.curves.values()]
        values = [value for curve in curves for value in curve if value is not None]
        if len(self.x) < 2 or not values:
            return
        low, high = min(values), max(values)
        high = high if high > low else low + 1
        labels = [f"{10**end if self.logarithmic else end:.3g}" for end in (high, low)]
        margin = max(map(len, labels))
        ascii_only = options.ascii_only
        columns = max(10, min(options.max_width, 100) - margin - 3)
        lettered = ascii_only or (len(curves) > 1 and needs_letters(console))
        canvas = _Canvas(columns, self.height, lettered, self.colours)
        for number, curve in enumerate(curves):
            canvas.draw(self.x, curve, low, high, number)
        yield self._legend(ascii_only, lettered)
        bar, corner, line = ("|", "+", "-") if ascii_only else ("│", "└", "─")
        for row in range(self.height):
            label = labels[0] if row == 0 else labels[1] if row == self.height - 1 else ""
            yield Segment(f"{label:>{margin}} {bar}")
            yield from canvas.row(row)
            yield Segment.line()
        yield Segment(f"{'':>{margin}} {corner}{line * columns}")
        yield Segment.line()
        first, last = f"{self.x[0]:g}", f"{self.x[-1]:g}"
        yield Segment(f"{'':>{margin}}  {first}{last:>{columns - len(first)}}")
        yield Segment.line()

    def _height_of(self, value: float | None) -> float | None:
        """Where a value lies on the axis; None where it cannot."""
        if value is None or not math.isfinite(value) or (self.logarithmic and value <= 0):
            return None
        return math.log10(value) if self.logarithmic else value

    def _legend(self, ascii_only: bool, lettered: bool) -> Text:
        legend = Text(self.title, style="bold")
        space = " " if ascii_only else "\xa0"  # a name stays on the line of its mark
        for number, name in enumerate(self.curves):
            colour = self.colours[number % len(self.colours)]
            mark = LETTERS[number % len(LETTERS)] * 2 if lettered else "━━"
            legend.append("   ").append(mark, style=f"not bold {colour}").append(f"{space}{name}", style="not bold")
        return legend


class _Canvas:
    """Character cells that curves are drawn into; a later curve's colour wins where two meet."""

    def __init__(self, columns: int, rows: int, lettered: bool, colours: Sequence[str]) -> None:
        self.colours = colours
        self.columns, self.rows, self.lettered = columns, rows, lettered
        self.bits = [[0] * columns for _ in range(rows)]
        self.owner = [[-1] * columns for _ in range(rows)]

    def draw(self, x: Sequence[float], curve: Sequence[float | None], low: float, high: float, number: int) -> None:
        """Draw one curve as straight lines between its points."""
        wide, tall = (self.columns, self.rows) if self.lettered else (2 * self.columns, 4 * self.rows)
        points: list[tuple[float, float] | None] = [
            None
            if value is None
            else ((at - x[0]) / (x[-1] - x[0]) * (wide - 1), (high - value) / (high - low) * (tall - 1))
            for at, value in zip(x, curve, strict=True)
        ]
        for start, end in itertools.pairwise(points):
            if start is None or end is None:
                continue
            steps = max(1, round(max(abs(end[0] - start[0]), abs(end[1] - start[1]))))
            for step in range(steps + 1):
                share = step / steps
                column = round(start[0] + (end[0] - start[0]) * share)
                row = round(start[1] + (end[1] - start[1]) * share)
                self._dot(row, column, number)

    def _dot(self, row: int, column: int, number: int) -> None:
        if self.lettered:
            self.owner[row][column] = number
            return
        self.bits[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
        self.owner[row // 4][column // 2] = number

    def row(self, row: int) -> list[Segment]:
        """One row of cells as coloured segments."""
        segments = []
        for bits, owner in zip(self.bits[row], self.owner[row], strict=True):
            if owner < 0:
                segments.append(Segment(" "))
                continue
            character = LETTERS[owner % len(LETTERS)] if self.lettered else chr(0x2800 + bits)
            segments.append(Segment(character, Style(color=self.colours[owner % len(self.colours)])))
        return segments
