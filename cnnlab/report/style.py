"""The look of every figure: colours, fonts, and how a figure is made and written. matplotlib is imported late.

Figures are made through matplotlib's objects, never through pyplot, so that no state is shared between them.
"""

import io
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.files import write_atomically
from cnnlab.machine import file_of_package
from cnnlab.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE, WINE = (
    "#000000",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
    "#882255",
)
"""Okabe and Ito's colours and Tol's wine, told apart by colour-blind readers too."""

COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK, WINE)
"""For one line after another; yellow is too light for a line."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""The marker that goes with each line, so that lines are told apart in gray print; one fewer than the colours, so that
a colour that comes again comes with another marker."""

DPI = 144

_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "Noto Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Noto Sans CJK JP",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
)
"""Tried in this order, character by character: the one that matplotlib brings, then those of usual systems that know
Chinese."""
_NO_GLYPH = "□"


def import_matplotlib() -> None:
    """Import matplotlib with the settings that it brings along; `new_figure` does so.

    It would obey a file `matplotlibrc` in the current folder before all others, and a stranger's folder may hold one:
    settings that end in an error, a pipe, a link to /dev/zero. A user's own settings are left aside too: these figures
    are cnnlab's design, the same bytes everywhere.
    """
    if "matplotlib" in sys.modules:
        return
    own, users = file_of_package("matplotlib", "mpl-data", "matplotlibrc"), os.environ.get("MATPLOTLIBRC")
    if own is not None:
        os.environ["MATPLOTLIBRC"] = str(own)
    exists = os.path.exists  # which matplotlib asks; nothing else keeps it from looking into the current folder
    os.path.exists = lambda path: path != "matplotlibrc" and exists(path)
    try:
        import matplotlib  # noqa: F401
    finally:
        os.path.exists = exists
        os.environ.pop("MATPLOTLIBRC", None)
        if users is not None:
            os.environ["MATPLOTLIBRC"] = users


def new_figure(width: float, height: float) -> "Figure":
    """An empty white figure of `width` × `height` inches whose parts arrange themselves."""
    import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: "Axes", *, grid: bool = True) -> None:
    """Take away the frame's upper and right line; with `grid`, lay a light one behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(True, color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)


def save(figure: "Figure", path: Path) -> None:
    """Write the figure as PNG or SVG, by the path's ending: all of it or nothing, the same bytes every time.

    Raises:
        MachineError: it cannot be written there.
    """
    write_atomically(path, encoded(figure, path.suffix.lstrip(".").lower()))


def encoded(figure: "Figure", kind: str) -> bytes:
    """The figure as the bytes of a `png` or `svg` file, the same every time."""
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_fontfamily(list(fonts()))
        text.set_usetex(False)
    nameless = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "cnnlab", "svg.fonttype": "path", "savefig.bbox": None}):
        figure.savefig(content, format=kind, dpi=DPI, metadata=nameless)
    return content.getvalue()


def shown(text: object) -> str:
    """Text of strangers fit for a figure: printable, never read as a formula, a □ for what no font here can draw.

    Tabs and line breaks are escaped too: the text stays on one line.
    """
    safe = printable(text)
    if not safe.isascii():
        safe = "".join(char if char.isascii() or _drawable(char) else _NO_GLYPH for char in safe)
    return safe.replace("$", r"\$")


def shortened(text: object, length: int) -> str:
    """`shown`, cut to `length` characters with … at the end."""
    safe = printable(text)
    return shown(safe if len(safe) <= length else safe[: length - 1] + "…")


@lru_cache(maxsize=1)
def fonts() -> tuple[str, ...]:
    """The fonts of this system that figures are drawn with, in the order in which a glyph is looked for."""
    import_matplotlib()
    from matplotlib import font_manager

    there = {entry.name for entry in font_manager.fontManager.ttflist}
    return tuple(name for name in _FONTS if name in there)


def _drawable(char: str) -> bool:
    return any(font.get_char_index(ord(char)) != 0 for font in _faces())


@lru_cache(maxsize=1)
def _faces() -> "tuple[FT2Font, ...]":
    import_matplotlib()
    from matplotlib import font_manager

    return tuple(font_manager.get_font(font_manager.findfont(name, fallback_to_default=False)) for name in fonts())
