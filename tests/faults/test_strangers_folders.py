"""Folders of runs and comparisons from strangers: none of their code runs, nothing outside is written or removed."""

import json
import re
import shutil
from pathlib import Path

import pytest

from cnnlab import files
from cnnlab.errors import MachineError

pytestmark = pytest.mark.faults

NET = "mlp:depth=1,width=8"
ON = ("--data", "digits", "--epochs", "1", "--threads", "1", "--offline")
COMPARE = ("compare", NET, "mlp:depth=1,width=4", *ON, "--name", "cmp")
INNER = Path("runs/cmp/runs/1-mlp-depth-1-width-8-s0")
MINE = ("notes.txt", ".draft.tmp", "midway-notes.txt", "test.json")
EVIL = """
open("executed", "w").close()
from torch import nn
class Net(nn.Module):
    def __init__(self, **sizes):
        super().__init__()
        self.fc = nn.Linear(64, 10)
    def forward(self, x): return self.fc(x.flatten(1))
"""


@pytest.fixture
def mine(own_world):
    """A folder of the user's, to which links of strangers lead."""
    folder = own_world / "mine"
    folder.mkdir()
    for name in MINE:
        (folder / name).write_text("mine")
    return folder


def unchanged(folder: Path) -> bool:
    return {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(MINE, "mine")


@pytest.mark.parametrize("finished", [False, True])
def test_a_comparison_that_goes_on_runs_no_code_of_a_run_in_it(cli, finished):
    assert cli(*COMPARE).code == 0
    (INNER / "evil.py").write_text(EVIL)
    recipe = INNER / "recipe.yaml"
    recipe.write_text(re.sub(r"model: \{.*?\}", 'model: {arch: "evil.py:Net"}', recipe.read_text(), flags=re.DOTALL))
    if not finished:
        (INNER / "result.json").unlink()
        shutil.rmtree(INNER / "checkpoints")
        (INNER / "checkpoints").mkdir()
    ended = cli(*COMPARE)
    assert ended.code == 3
    assert "is not the run that is planned there" in ended.err
    assert "model.arch: mlp, the run's evil.py:Net" in ended.err
    assert not Path("executed").exists()


def test_a_comparison_that_goes_on_runs_a_users_file_as_it_was_named_and_no_other(cli):
    Path("net.py").write_text(EVIL)
    compare = ("compare", "net.py:Net", NET, *ON, "--name", "own")
    assert cli(*compare).code == 0
    assert cli(*compare).code == 0
    Path("executed").unlink()
    Path("runs/own/runs/1-net.py-Net-s0/net.py").write_text(EVIL.replace('"executed"', '"foreign"'))
    ended = cli(*compare)
    assert (ended.code, "net.py is not the file that was named" in ended.err) == (3, True)
    assert not Path("foreign").exists()


def test_another_recipe_in_a_comparisons_run_is_told(cli):
    assert cli(*COMPARE).code == 0
    recipe = INNER / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("width: 8", "width: 16"))
    ended = cli(*COMPARE)
    assert (ended.code, "model.width: 8, the run's 16" in ended.err) == (3, True)


@pytest.mark.parametrize("part", ["evaluation", "checkpoints", "tensorboard"])
def test_a_part_of_a_run_that_leads_elsewhere_is_refused(cli, mine, part):
    assert cli("train", "--arch", NET, *ON, "--name", "base").code == 0
    run = Path("runs/base")
    if part != "evaluation":
        (run / "result.json").unlink()
    if part == "checkpoints":
        for file in (run / "checkpoints").iterdir():
            shutil.copy(file, mine)
        shutil.rmtree(run / "checkpoints")
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    (run / part).symlink_to(mine)
    command = ("evaluate", "base", "--offline") if part == "evaluation" else ("train", "--resume", "base", "--offline")
    ended = cli(*command, *(("--log", "tensorboard") if part == "tensorboard" else ()))
    assert (ended.code, "it is a symbolic link to " in ended.err) == (4, True)
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before


@pytest.mark.parametrize("part", [Path("runs/cmp/runs"), INNER])
def test_a_part_of_a_comparison_that_leads_elsewhere_is_refused(cli, mine, part):
    assert cli(*COMPARE).code == 0
    shutil.rmtree(part)
    part.symlink_to(mine)
    (mine / ".project.tmp").mkdir()
    ended = cli(*COMPARE)
    assert (ended.code, "it is a symbolic link to " in ended.err) == (4, True)
    assert (mine / ".project.tmp").is_dir()
    (mine / ".project.tmp").rmdir()
    assert unchanged(mine)


def test_nobody_knows_a_temporary_name_beforehand_and_a_link_there_is_not_followed(cli, mine, monkeypatch):
    assert files.temporary_beside(Path("a")) != files.temporary_beside(Path("a"))
    assert cli("train", "--arch", NET, *ON, "--name", "base").code == 0
    monkeypatch.setattr("secrets.token_hex", lambda count: "known")
    evaluation = Path("runs/base/evaluation")
    evaluation.mkdir()
    (evaluation / ".test.json.known.tmp").symlink_to(mine / "notes.txt")
    ended = cli("evaluate", "base", "--offline", "--json")
    assert ended.code == 4
    assert "cannot write" in json.dumps(ended.json)
    assert unchanged(mine)
    Path("picture").symlink_to(mine / "notes.txt")
    with pytest.raises(FileExistsError):
        files.write_and_flush(Path("picture"), b"theirs")
    with pytest.raises(MachineError, match="symbolic link"):
        files.require_no_link(Path("picture"))
    assert unchanged(mine)
