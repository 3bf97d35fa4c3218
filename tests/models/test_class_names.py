"""A Python file named without its class: the classes it has are told, and nothing of it runs."""

from pathlib import Path

import pytest

TWO = "raise SystemExit('executed')\nclass Net:\n    class Inner: pass\nclass Other: pass\n"


@pytest.mark.parametrize(
    "words", [("train", "--arch", "net.py"), ("train", "--arch", "net"), ("train", "--arch", "net:Net"),
              ("compare", "mlp", "net.py"), ("gradcheck", "net.py"), ("gradcheck", "net:Net")],
)  # fmt: skip
def test_the_classes_of_a_file_are_told_and_nothing_runs(cli, words):
    Path("net.py").write_text(TWO)
    ended = cli(*words)
    assert (ended.code, ended.err.splitlines()[-1]) == (2, "Write net.py:Class; it has Net, Other")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"def f(: pass", "no class was found in it"),
        (b"\0", "no class was found in it"),
        (b"x = " + 3000 * b"(" + 3000 * b")", "no class was found in it"),
        (b"class Net: pass\n" + 500_000 * b"#", "no class was found in it"),
        (b"x = '\\d'\nclass Net: pass\n", "it has Net"),
        (b"".join(b"class C%d: pass\n" % number for number in range(30)), "C18, C19, …"),
        ("class " + 300 * "ä" + ": pass\n", "it has " + 60 * "ä" + "…"),
    ],
)
def test_whatever_the_file_holds_is_one_short_hint(cli, text, told):
    Path("net.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    ended = cli("train", "--arch", "net.py")
    assert (ended.code, ended.err.splitlines()[-1].endswith(told)) == (2, True), ended.err


def test_without_such_a_file_the_nearest_names_are_told(cli):
    assert "Did you mean resnet" in cli("train", "--arch", "resnett:Net").err
    assert "Write FILE.py:Class; there is no gone.py" in cli("train", "--arch", "gone.py").err
    assert cli("train", "--arch", "a" * 4000).code == 2
