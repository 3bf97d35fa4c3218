"""Checkpoints: tensors as safetensors, everything else as JSON with the tensors' SHA-256. No pickle anywhere.

Written so that a machine may die at any moment: temporary names, flushed, read back, renamed, the manifest last; the
checkpoint before is kept as `previous` and only given up once the new one is whole.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab.errors import CheckpointError
from cnnlab.files import sync_folder, writing
from cnnlab.text import printable
from cnnlab.training.run_folder import read_json

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 32 * 2**30


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: `tensors` by name, and `meta`, its manifest."""

    tensors: "dict[str, np.ndarray]"
    meta: dict[str, Any]


def save(folder: Path, name: str, tensors: "Mapping[str, np.ndarray]", meta: Mapping[str, Any]) -> None:
    """Save `<name>.safetensors` and `<name>.json` in `folder`; what stood there becomes `previous` if name is `last`.

    Raises:
        MachineError: the disk is full or not writable; the checkpoint before is then still whole.
    """
    from safetensors.numpy import save as to_bytes

    content = to_bytes(dict(tensors))
    digest = hashlib.sha256(content).hexdigest()
    manifest = json.dumps({"sha256": digest, "bytes": len(content), **meta}, indent=2, allow_nan=False).encode()
    files = {f"{name}.safetensors": content, f"{name}.json": manifest + b"\n"}
    temporary = {file: folder / f".{file}.{os.getpid()}.tmp" for file in files}
    with writing(folder / f"{name}.safetensors"):
        try:
            for file, data in files.items():
                _write_and_check(temporary[file], data)
            if name == "last":
                for file in files:
                    if (folder / file).exists():
                        (folder / file).replace(folder / file.replace("last", "previous"))
            for file in files:
                temporary[file].replace(folder / file)
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
        sync_folder(folder)


def _write_and_check(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.read_bytes() != data:
        raise OSError(f"{path.name} reads back otherwise than it was written")


def load(folder: Path, name: str) -> Checkpoint:
    """Load `<name>` of a run's checkpoints, its hash checked.

    Raises:
        CheckpointError: missing, cut short, altered, or no checkpoint at all.
    """
    manifest = folder / f"{name}.json"
    meta = read_json(manifest)
    return Checkpoint(_tensors(folder / f"{name}.safetensors", meta), meta)


def load_newest(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest whole checkpoint to go on from (`last`, then `previous`), and what was wrong with newer ones.

    A save that was cut between two renames leaves the manifest of one name beside the tensors of the other: any
    manifest is matched with any tensors that carry its hash.

    Raises:
        CheckpointError: none is whole.
    """
    problems: list[str] = []
    for manifest in ("last", "previous"):
        try:
            meta = read_json(folder / f"{manifest}.json")
        except CheckpointError as error:
            problems.append(error.message)
            continue
        for tensors in (manifest, "previous" if manifest == "last" else "last"):
            try:
                return Checkpoint(_tensors(folder / f"{tensors}.safetensors", meta), meta), problems
            except CheckpointError as error:
                problems.append(error.message)
    raise CheckpointError(
        f"no whole checkpoint in {printable(folder)}:\n" + "\n".join(problems), hint="Start the run anew"
    )


def _tensors(path: Path, meta: Mapping[str, Any]) -> "dict[str, np.ndarray]":
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    expected, digest = meta.get("bytes"), meta.get("sha256")
    if not isinstance(expected, int) or not isinstance(digest, str) or not 0 <= expected <= MAX_BYTES:
        raise CheckpointError(f"the manifest of {printable(path)} names no size and hash")
    try:
        if path.stat().st_size != expected:
            raise CheckpointError(
                f"{printable(path)} has {path.stat().st_size:,} bytes; its manifest says {expected:,}"
            )
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {printable(path)}: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{printable(path)} is damaged: its SHA-256 is not the one in its manifest")
    try:
        return from_bytes(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{printable(path)} is no safetensors file: {printable(error)}") from None
