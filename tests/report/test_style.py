"""Figures: the same bytes every time, no missing-glyph warning, no formula in strangers' text, no pyplot."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.errors import MachineError
from cnnlab.report import style

HOSTILE = ["$\\frac{$", "a$b$c", "\x1b[31mred", "‮rtl", "猫和狗", "😀🚀", "a\nb", "\\$", "𐎀", "x_1^2", "", "é̄"]


def labelled(*texts: str):
    figure = style.new_figure(4, 3)
    axes = figure.add_subplot()
    axes.plot([1, 2, 3], [3, 1, 2], label=style.shown(texts[0]))
    axes.set_xticks(range(1, 1 + len(texts)), [style.shown(text) for text in texts])
    axes.set_title(style.shown(texts[-1]))
    style.plain_axes(axes)
    axes.legend()
    return figure


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_saving_twice_gives_the_same_bytes_without_a_date(tmp_path: Path, ending: str) -> None:
    for name in ("a", "b"):
        style.save(labelled("one", "two"), tmp_path / f"{name}.{ending}")
    written = (tmp_path / f"a.{ending}").read_bytes()
    assert written == (tmp_path / f"b.{ending}").read_bytes()
    assert b"atplotlib ver" not in written
    assert b"dc:date" not in written
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [f"a.{ending}", f"b.{ending}"]


def test_hostile_text_is_drawn_without_a_warning(tmp_path: Path) -> None:
    style.save(labelled(*HOSTILE), tmp_path / "hostile.png")
    with Image.open(tmp_path / "hostile.png") as image:
        assert image.size == (4 * style.DPI, 3 * style.DPI)


def test_dollars_are_drawn_as_dollars_and_never_as_formulas() -> None:
    from matplotlib.text import Text

    text = Text(0, 0, style.shown("a$b$c"))
    assert text._preprocess_math(text.get_text()) == ("a$b$c", False)


def test_a_glyph_that_no_font_has_becomes_a_box() -> None:
    assert style.shown("a𐎀𒀀b") == "a□□b"
    assert style.shown("\x1b[1m") == "\\x1b[1m"


def test_without_a_font_for_chinese_there_are_boxes_and_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "_FONTS", ("DejaVu Sans",))
    style.fonts.cache_clear()
    style._faces.cache_clear()
    try:
        assert style.shown("猫 cat") == "□ cat"
        style.save(labelled("猫", "狗"), tmp_path / "boxes.png")
    finally:
        monkeypatch.undo()
        style.fonts.cache_clear()
        style._faces.cache_clear()


def test_chinese_is_drawn_where_the_system_has_a_font_for_it(tmp_path: Path) -> None:
    if len(style.fonts()) < 2:
        pytest.skip("no font for Chinese on this system")
    drawn = []
    for name, text in (("cat", "猫"), ("dog", "狗"), ("box", "□")):
        assert style.shown(text) == text
        figure = style.new_figure(1, 1)
        figure.text(0.2, 0.2, style.shown(text), size=40)
        style.save(figure, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            drawn.append(np.asarray(image.convert("L")))
    assert drawn[0].min() < 50
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_long_text_is_shortened_before_it_is_escaped() -> None:
    assert style.shortened("$" * 30, 5) == "\\$" * 4 + "…"
    assert style.shortened("short", 5) == "short"


def test_a_folder_that_is_a_file_is_a_machine_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError, match="cannot write"):
        style.save(labelled("a"), tmp_path / "file" / "a.png")
    assert (tmp_path / "file").read_text() == "x"


def test_matplotlib_is_imported_late_and_pyplot_never() -> None:
    code = (
        "import sys; from pathlib import Path; from cnnlab.report import style; "
        "assert 'matplotlib' not in sys.modules; "
        "style.save(style.new_figure(1, 1), Path('x.png')); assert 'matplotlib.pyplot' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


SETTINGS = {
    "an unknown key with an escape sequence": "\x1b[31mfont.size: 3\n",
    "letters as high as a house": "font.size: 100000\n",
    "a pipe": None,
}


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("first", ["new_figure(1, 1)", "shown('é')"])
def test_a_matplotlibrc_in_the_current_folder_is_not_obeyed(case: str, first: str, own_world: Path) -> None:
    settings = SETTINGS[case]
    if settings is not None:
        (own_world / "matplotlibrc").write_text(settings)
    elif hasattr(os, "mkfifo"):
        os.mkfifo(own_world / "matplotlibrc")
    else:
        pytest.skip("no pipes in this file system")
    code = (
        f"from cnnlab.report import style; style.{first}; import os, matplotlib; "
        "assert os.path.exists('matplotlibrc'); print(matplotlib.rcParams['font.size'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "10.0\n", "")


@pytest.mark.parametrize("own", [None, "mine"])
def test_the_environment_of_a_caller_stays_as_it_was(own: str | None) -> None:
    code = "import os; from cnnlab.report import style; style.new_figure(1, 1); print(os.environ.get('MATPLOTLIBRC'))"
    environment = {name: value for name, value in os.environ.items() if name != "MATPLOTLIBRC"}
    environment |= {"MATPLOTLIBRC": own} if own else {}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (ended.stdout, ended.stderr) == (f"{own}\n", "")
