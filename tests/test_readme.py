"""What the README and the helps tell people to type is understood by the commands (parsed, not run)."""

import re
import shlex
from pathlib import Path

import pytest
from typer.exceptions import TyperException
from typer.main import get_command

from cnnlab.cli.app import app
from cnnlab.cli.compare import compare
from cnnlab.cli.evaluate import evaluate
from cnnlab.cli.filter import filter_command
from cnnlab.cli.gradcheck import gradcheck
from cnnlab.cli.train import train
from cnnlab.models.seq_layers import LAYERS

README = Path(__file__).parents[1] / "README.md"
HELPED = (train, compare, evaluate, gradcheck, filter_command)


def typed_lines(text: str) -> list[str]:
    """The lines that begin with `cnnlab `, continued ones joined, the remark after two spaces or more cut off."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    lines = re.findall(r"^(?:\s*|\$ )cnnlab (\S.*)$", joined, flags=re.MULTILINE)
    return [re.split(r"\s{2,}", line)[0] for line in lines]


def examples() -> list[str]:
    blocks = re.findall(r"```\w*\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in typed_lines(block)]
    lines += [line for command in HELPED for line in typed_lines(command.__doc__ or "")]
    return sorted(set(lines))


def test_there_are_examples():
    assert len(examples()) > 15


@pytest.mark.parametrize("line", examples())
def test_an_example_is_understood(line):
    name, *arguments = shlex.split(line)
    group = get_command(app)
    command = group.commands[name]
    try:
        command.make_context(name, arguments)
    except TyperException as error:
        pytest.fail(f"cnnlab {line}: {error.format_message()}")


def test_every_test_that_contributing_names_is_there():
    contributing = (README.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(test_\w+)`", contributing)) | set(re.findall(r"\b(test_\w+)_…", contributing))
    code = "\n".join(file.read_text(encoding="utf-8") for file in README.parent.glob("tests/**/test_*.py"))
    assert len(named) > 30
    assert sorted(name for name in named if f"def {name}" not in code) == []


def test_every_file_that_contributing_names_is_there():
    contributing = (README.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(tests/[\w/]+\.py)", contributing))
    assert len(named) > 10
    assert sorted(name for name in named if not (README.parent / name).is_file()) == []


def test_the_table_of_seq_layers_names_each_with_its_options():
    rows = [line.split("|") for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    words = {key: set(LAYERS[key]) - {key} for key in LAYERS}
    table = {
        layer: set(re.findall(r"`([\w-]+)", row[-2]))
        for row in rows
        for layer in re.findall(r"`([\w-]+)", row[1])
        if layer in words
    }
    assert table == words
