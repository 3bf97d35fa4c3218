"""Run folders that are damaged, incomplete, or not to be trusted."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnnlab.errors import CheckpointError, CnnlabError, MachineError, UsageError
from cnnlab.evaluation.opened import Changes, open_run


def edit(run: Path, **changes: object) -> None:
    """Change a manifest as a stranger would who wants it believed: its own hash is made to fit again."""
    manifest = run / "checkpoints" / "best.json"
    document = {**json.loads(manifest.read_text()), **changes}
    document.pop("manifest_sha256")
    signed = hashlib.sha256(json.dumps(document, indent=2).encode() + b"\n").hexdigest()
    manifest.write_text(json.dumps({**document, "manifest_sha256": signed}, indent=2) + "\n")


def test_a_sound_run(run: Path) -> None:
    opened = open_run(run, device="cpu")
    assert opened.classes == tuple("0123456789")
    assert opened.image_shape == (8, 8, 1)
    assert opened.finished
    assert opened.engine.predict(np.zeros((3, 8, 8, 1), np.uint8)).shape == (3, 10)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": None},
        {"classes": ["one"]},
        {"classes": [1, 2]},
        {"image_shape": [8, 8]},
        {"image_shape": [8, -8, 1]},
        {"image_shape": [8, 8, True]},
        {"image_shape": "8x8"},
        {"image_shape": [60_000, 60_000, 1]},
        {"mean": [1, 2, 3]},
        {"mean": ["x"]},
        {"mean": None},
        {"std": [0]},
        {"std": [10**400]},
        {"epoch": "two"},
        {"data_fingerprint": 5},
    ],
)
def test_a_manifest_that_no_training_wrote(run: Path, changes: dict[str, object]) -> None:
    edit(run, **changes)
    with pytest.raises(CheckpointError, match="not what a training wrote") as raised:
        open_run(run, device="cpu")
    assert next(iter(changes)) in raised.value.message


@pytest.mark.parametrize("changes", [{"image_shape": [9, 9, 1]}, {"classes": ["a", "b", "c"]}])
def test_a_manifest_of_another_net(run: Path, changes: dict[str, object]) -> None:
    edit(run, **changes)
    with pytest.raises(CheckpointError, match="not of the net in its recipe"):
        open_run(run, device="cpu")


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _binary(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 8)


def _list(file: Path) -> None:
    file.write_text("[1, 2]")


@pytest.mark.parametrize("name", ["recipe.yaml", "environment.json", "checkpoints/best.json", "result.json"])
@pytest.mark.parametrize("harm", [_empty, _binary, _list, Path.unlink])
def test_damaged_files_are_checkpoint_errors(run: Path, name: str, harm: Callable[[Path], None]) -> None:
    harm(run / name)
    if name == "result.json" and harm is Path.unlink:
        assert not open_run(run, device="cpu").finished
        return
    with pytest.raises(CheckpointError):
        open_run(run, device="cpu")


@pytest.mark.parametrize("harm", [_cut, _flip, _empty, _binary, Path.unlink])
def test_damaged_weights_are_checkpoint_errors(run: Path, harm: Callable[[Path], None]) -> None:
    harm(run / "checkpoints" / "best.safetensors")
    with pytest.raises(CheckpointError):
        open_run(run, device="cpu")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("arch: mlp", "arch: resnet"),
        ("arch: mlp", "arch: no-such-net"),
        ("width: 32", "width: 33"),
        ("depth: 1", "depth: 2"),
        ("depth: 1", "depth: many"),
    ],
)
def test_a_recipe_that_is_not_the_checkpoints(run: Path, old: str, new: str) -> None:
    recipe = run / "recipe.yaml"
    text = recipe.read_text("utf-8")
    assert old in text
    recipe.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(CheckpointError):
        open_run(run, device="cpu")


def test_a_run_that_saved_nothing_yet(run: Path) -> None:
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(CheckpointError, match="not saved an epoch yet") as raised:
        open_run(run, device="cpu")
    assert "--resume" in (raised.value.hint or "")


@pytest.mark.parametrize("engine", ["cuda-engine", 3, None])
def test_an_engine_that_there_is_not(run: Path, engine: object) -> None:
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    (run / "environment.json").write_text(json.dumps({**environment, "engine": engine}))
    with pytest.raises(CheckpointError, match="names no engine"):
        open_run(run, device="cpu")


def test_a_device_that_there_is_not(run: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(MachineError, match="cuda"):
        open_run(run, device="cuda")


NET = """
from pathlib import Path
from torch import nn

Path({mark!r}).write_text("ran")

class Net(nn.Module):
    def __init__(self, in_channels, num_classes, image_size):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))

    def forward(self, x):
        return self.layers(x)
"""


def test_a_users_python_file_runs_only_when_trusted(own_world: Path) -> None:
    from cnnlab.recipe.load import resolve
    from cnnlab.recipe.spec import parse_spec
    from cnnlab.training.loop import train
    from cnnlab.training.settings import Settings

    mark = own_world / "mark"
    (own_world / "net.py").write_text(NET.format(mark=str(mark)))
    flags = {"--data": "digits", "--epochs": 1, "--batch-size": 512}
    recipe = resolve(arch=parse_spec("net.py:Net"), flags=flags, trust_code=True)
    trained = train(recipe, Settings(out=own_world / "runs", name="own", device="cpu")).run
    mark.unlink()
    with pytest.raises(UsageError, match="whose code would run") as raised:
        open_run(trained, device="cpu")
    assert "--trust-code" in (raised.value.hint or "")
    with pytest.raises(UsageError, match="whose code would run"):
        open_run(trained, Changes(data="digits", precision="fp32"), device="cpu")
    assert not mark.exists()
    opened = open_run(trained, device="cpu", trust_code=True)
    assert (opened.epoch, opened.arch) == (1, "net.py:Net")
    assert mark.exists()


@pytest.mark.parametrize(
    "changes",
    [
        Changes(settings=("optim.lr=1",)),
        Changes(settings=("data.image_size=large",)),
        Changes(settings=("data.image_size",)),
        Changes(precision="fp8"),
        Changes(threads=0),
    ],
)
def test_changes_that_cannot_be(run: Path, changes: Changes) -> None:
    with pytest.raises(UsageError) as raised:
        open_run(run, changes, device="cpu")
    assert not isinstance(raised.value, CheckpointError)
    assert issubclass(UsageError, CnnlabError)


def test_class_names_of_a_strangers_manifest_are_made_safe(run: Path) -> None:
    edit(run, classes=["\x1b[31m", *"123456789"])
    assert open_run(run, device="cpu").classes == ("\\x1b[31m", *"123456789")
