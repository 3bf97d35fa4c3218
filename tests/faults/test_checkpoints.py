"""Damaged and foreign checkpoints: every flipped bit and every truncation is told, nothing is allocated on trust."""

import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from cnnlab.errors import CheckpointError
from cnnlab.training import checkpoint

FILES = [f"{name}{kind}" for name in ("last", "previous", "best") for kind in (".safetensors", ".json")]


def flip(content, rng):
    place = rng.randrange(8 * len(content))
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def cut(content, rng):
    return content[: rng.randrange(len(content))]


@pytest.fixture
def checkpoints(digits_run):
    """The checkpoints of a run of three epochs, its best one the last."""
    shutil.copytree(digits_run / "checkpoints", "checkpoints")
    assert {path.name for path in Path("checkpoints").iterdir()} >= set(FILES)
    return Path("checkpoints")


def damage_and_look(folder, damage, count, seed):
    """Damage one file after the other; each time the damage is found, and the other checkpoint is taken."""
    rng = random.Random(seed)
    whole = {name: (folder / name).read_bytes() for name in FILES}
    for _ in range(count):
        name = rng.choice(FILES)
        (folder / name).write_bytes(damage(whole[name], rng))
        stem = name.partition(".")[0]
        with pytest.raises(CheckpointError):
            checkpoint.load(folder, stem)
        found, problems = checkpoint.load_newest(folder, 3)
        assert found.meta["epoch"] == (2 if stem == "last" else 3)
        assert bool(problems) == (stem == "last"), problems
        (folder / name).write_bytes(whole[name])
    checkpoint.load(folder, "last")


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_share_of_the_damages_is_found(checkpoints, damage):
    damage_and_look(checkpoints, damage, 60, 1)


@pytest.mark.faults
@pytest.mark.parametrize("damage", [flip, cut])
def test_a_thousand_damages_are_found(checkpoints, damage, share):
    damage_and_look(checkpoints, damage, round(1000 * share), 2)


def test_each_bit_of_a_manifest_counts(checkpoints):
    """Not only the values: whitespace, key names, the hash itself."""
    manifest = checkpoints / "last.json"
    whole = manifest.read_bytes()
    for place in range(0, 8 * len(whole), 37):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        manifest.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError):
            checkpoint.load(checkpoints, "last")


def test_both_damaged_ends_with_3(checkpoints):
    rng = random.Random(3)
    for name in ("last.json", "previous.safetensors"):
        (checkpoints / name).write_bytes(flip((checkpoints / name).read_bytes(), rng))
    with pytest.raises(CheckpointError, match="no whole checkpoint") as caught:
        checkpoint.load_newest(checkpoints, 3)
    assert caught.value.exit_code == 3
    assert [name in caught.value.message for name in ("last.json", "previous.safetensors")] == [True, True]


def test_half_done_epochs_without_end_are_not_read(cli, digits_run, monkeypatch):
    shutil.copytree(digits_run, "run")
    Path("run/result.json").unlink()
    for step in range(400):
        Path(f"run/checkpoints/midway-2-{step}.json").symlink_to("last.json")
    monkeypatch.setattr(checkpoint, "read_json", None)
    ended = cli("train", "--resume", "run")
    assert ended.code == 3, ended.err
    assert "holds 400 half-done epochs, midway-*.json; a training leaves two at most" in " ".join(ended.err.split())


@pytest.mark.faults
@pytest.mark.parametrize("damage", [flip, cut])
def test_a_run_goes_on_from_the_checkpoint_before(nursery, small, undisturbed, essence, share, damage):
    rng = random.Random(4)
    assert nursery.run(*small) == 0
    shutil.copytree("runs/x", "kept")
    for number in range(max(3, round(30 * share))):
        shutil.rmtree("runs/x")
        shutil.copytree("kept", "runs/x")
        Path("runs/x/result.json").unlink()
        files = sorted(path for path in Path("runs/x/checkpoints").iterdir())
        file = files[number % len(files)]
        file.write_bytes(damage(file.read_bytes(), rng))
        ended = nursery.run("train", "--resume", "runs/x")
        said = " ".join(Path("output.txt").read_text().split())
        assert ended == 0, said
        assert ("going on from the checkpoint before" in said) == (file.stem == "last"), said
        assert ("is written again" in said) == (file.stem == "best"), said
        if file.stem in ("last", "best"):
            assert essence(Path("runs/x")) == undisturbed, file.name


def test_a_checkpoint_with_nan_is_passed_over(checkpoints):
    last = checkpoint.load(checkpoints, "last")
    name = next(name for name, tensor in last.tensors.items() if name.startswith("model.") and tensor.dtype.kind == "f")
    bad = {**last.tensors, name: np.full_like(last.tensors[name], np.nan)}
    meta = {key: value for key, value in last.meta.items() if key not in ("sha256", "bytes", "manifest_sha256")}
    checkpoint.save(checkpoints, "last", bad, meta)
    with pytest.raises(CheckpointError, match=f"not finite, in {name}"):
        checkpoint.load(checkpoints, "last")


def forge(folder, name, content, meta):
    """A checkpoint whose hashes are right, whatever its tensors' file holds."""
    document = {**meta, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    document.pop("manifest_sha256", None)
    text = json.dumps(document, indent=2) + "\n"
    document["manifest_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    (folder / f"{name}.safetensors").write_bytes(content)


@pytest.mark.parametrize("end", [4, 4 * 10**12])
def test_a_header_that_declares_a_huge_tensor_allocates_nothing(checkpoints, end):
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, end]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    forge(checkpoints, "last", content, checkpoint.load(checkpoints, "last").meta)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        checkpoint.load(checkpoints, "last")


def test_a_size_that_is_not_the_files_is_told_before_reading(checkpoints):
    meta = {**checkpoint.load(checkpoints, "last").meta, "bytes": 30 * 2**30}
    (checkpoints / "last.json").unlink()
    content = (checkpoints / "last.safetensors").read_bytes()
    forge(checkpoints, "last", content, meta)
    document = json.loads((checkpoints / "last.json").read_text())
    del document["manifest_sha256"]
    document["bytes"] = 30 * 2**30
    own = hashlib.sha256((json.dumps(document, indent=2) + "\n").encode()).hexdigest()
    (checkpoints / "last.json").write_text(json.dumps({**document, "manifest_sha256": own}, indent=2) + "\n")
    with pytest.raises(CheckpointError, match="its manifest says 32,212,254,720"):
        checkpoint.load(checkpoints, "last")


@pytest.mark.faults
def test_a_checkpoint_of_another_architecture_is_refused(nursery, small, cli):
    other = ["mlp:depth=1,width=8" if word.startswith("mlp") else "other" if word == "x" else word for word in small]
    assert nursery.run(*small) == 0
    assert nursery.run(*other) == 0
    Path("runs/x/result.json").unlink()
    shutil.rmtree("runs/x/checkpoints")
    shutil.copytree("runs/other/checkpoints", "runs/x/checkpoints")
    ended = cli("train", "--resume", "runs/x")
    assert ended.code == 3
    assert "model.width: 16, the checkpoint's 8" in ended.err
    evaluated = cli("evaluate", "runs/x")
    assert evaluated.code == 3
    assert "model.width: 16, the checkpoint's 8" in evaluated.err
