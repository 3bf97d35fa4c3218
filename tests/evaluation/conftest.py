"""Runs to evaluate: one on digits, one on a folder of pictures with Chinese class names."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.evaluation import evaluate as evaluate_module

CLASSES = ("猫", "dog $x$", "鸟 bird")


@pytest.fixture
def drawing() -> None:
    """Asked for by tests that look at the pictures which an evaluation draws; in others they are left out."""


@pytest.fixture(autouse=True)
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time the throughput on one batch only, and draw only where pictures are tested."""
    monkeypatch.setattr(evaluate_module, "_TIMED_SECONDS", 0)
    if "drawing" not in request.fixturenames:
        for name in ("draw_confusion", "draw_classes", "draw_calibration", "draw_mistakes"):
            monkeypatch.setattr(evaluate_module.figures, name, lambda *_: None)


@pytest.fixture
def run(digits_run: Path, own_world: Path) -> Path:
    """A copy of the run on digits, below `runs`."""
    return Path(shutil.copytree(digits_run, own_world / "runs" / "digits-mlp"))


def write_pictures(
    folder: Path, parts: dict[str, int], *, size: int = 8, seed: int = 0, classes: tuple[str, ...] = CLASSES
) -> Path:
    """A folder of noisy PNG pictures, each class of its own colour, hard enough for mistakes."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(99).uniform(60, 190, (len(classes), 3))
    for part, count in parts.items():
        for colour, name in zip(colours, classes, strict=True):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(rng.normal(colour, 110, (size, size, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index}.png")
    return folder


@pytest.fixture
def pictures() -> Callable[..., Path]:
    """`write_pictures`."""
    return write_pictures


@pytest.fixture(scope="session")
def trained_on_pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data folder, finished run) on RGB pictures with their own val and test parts."""
    from cnnlab.recipe.load import resolve
    from cnnlab.recipe.spec import parse_spec
    from cnnlab.training.loop import train
    from cnnlab.training.settings import Settings

    folder = tmp_path_factory.mktemp("trained")
    data = write_pictures(folder / "数据", {"train": 12, "val": 4, "test": 8})
    flags = {"--data": str(data), "--epochs": 2, "--batch-size": 12, "--lr": 0.03}
    recipe = resolve(arch=parse_spec("mlp:depth=1,width=16"), flags=flags)
    return data, train(recipe, Settings(out=folder, name="pictures", device="cpu")).run


@pytest.fixture
def picture_run(trained_on_pictures: tuple[Path, Path], own_world: Path) -> tuple[Path, Path]:
    """(a copy of the data folder, a copy of the run on it, whose recipe names that copy)."""
    data, run = trained_on_pictures
    copied_data = Path(shutil.copytree(data, own_world / "数据"))
    copied = Path(shutil.copytree(run, own_world / "runs" / "pictures"))
    recipe = copied / "recipe.yaml"
    recipe.write_text(recipe.read_text("utf-8").replace(str(data), str(copied_data)), "utf-8")
    return copied_data, copied
