"""Curves in the terminal: told apart with colours and without."""

import io

import pytest
from rich.console import Console

from cnnlab.cli.render.curves import Curves


def drawn(names, **options):
    console = Console(file=io.StringIO(), width=60, **options)
    console.print(Curves("loss", [1, 2, 3], {name: [3.0 - number, 2.0, 1.0] for number, name in enumerate(names)}))
    return console.file.getvalue()


@pytest.mark.parametrize("options", [{"no_color": True, "force_terminal": True}, {"color_system": None}])
def test_without_colours_several_curves_have_letters(options):
    text = drawn(["train", "val"], **options)
    assert "** train" in text.replace("\xa0", " ")
    assert "oo val" in text.replace("\xa0", " ")
    plot = text.splitlines()[1:-2]
    assert any("*" in line for line in plot)
    assert any("o" in line for line in plot)
    assert not any(0x2800 <= ord(character) < 0x2900 for character in text)


@pytest.mark.parametrize(
    ("names", "options"),
    [(["train", "val"], {"color_system": "truecolor", "force_terminal": True, "no_color": False}), (["lr"], {})],
)
def test_with_colours_or_alone_curves_are_dots(names, options):
    assert any(0x2800 < ord(character) < 0x2900 for character in drawn(names, **options))
