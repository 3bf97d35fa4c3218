"""Small real trainings on digits, shared by the tests that look at their results."""

from pathlib import Path

import pytest

from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training.loop import train
from cnnlab.training.settings import Settings


@pytest.fixture
def train_digits(own_world: Path):
    """Train a spec on digits for a few epochs; keyword arguments of Settings pass through."""

    def run(spec="mlp:depth=1,width=16", *assignments, tell=lambda event: None, epochs=2, **settings):
        recipe = resolve(
            arch=parse_spec(spec),
            settings=["train.batch_size=64", *assignments],
            flags={"--data": "digits", "--epochs": epochs, "--threads": 1},
        )
        return train(recipe, Settings(**settings), tell)

    return run


@pytest.fixture
def small_images_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let digits of 8x8 pixels begin at 4x4, where training spares such small ones."""
    monkeypatch.setattr("cnnlab.training.schedule.LEAST_SIDE", 4)
