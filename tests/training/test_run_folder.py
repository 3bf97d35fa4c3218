"""How a run folder is named and found."""

from pathlib import Path

import pytest

from cnnlab.errors import UsageError
from cnnlab.training.run_folder import create, find_run


def make(name: str) -> Path:
    return create(Path("runs"), name, {"recipe.yaml": ""}, arch="mlp", data="digits", seed=0).path


def test_no_run_is_called_last_since_that_word_means_the_newest():
    with pytest.raises(UsageError, match="--name last: that word means the newest run"):
        make("last")
    assert not Path("runs").exists()


def test_an_empty_name_means_no_run_even_inside_a_run_folder(monkeypatch):
    monkeypatch.chdir(make("mine"))
    with pytest.raises(UsageError, match="no run '' in "):
        find_run("")
