"""Checkpoints: tensors as safetensors, everything else as JSON with the tensors' SHA-256 and its own. No pickle.

Written so that a machine may die at any moment: temporary names, flushed, read back, renamed, the manifest last. In a
run's `checkpoints/` stand `last` and the one before it, `previous`; `best`, and `previous-best` where `previous` needs
it; and `midway-EPOCH-STEP`, a half-done epoch, until that epoch is done. A save that was cut between two renames leaves
the manifest of one name beside the tensors of the other: any manifest is matched with the tensors that carry its hash.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab.errors import CheckpointError
from cnnlab.files import is_file, sync_folder, temporary_beside, write_and_flush, writing
from cnnlab.machine import physical_memory
from cnnlab.reading import read_up_to
from cnnlab.text import printable
from cnnlab.training.run_folder import read_json

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 32 * 2**30
MAX_MANIFEST_BYTES = 2_000_000
"""A manifest is written again to check its hash, which takes seconds for a larger one."""
TENSORS, MANIFEST = ".safetensors", ".json"
SPARE = {"last": "previous", "best": "previous-best"}
"""What a checkpoint is renamed to when a newer one takes its name."""
_MOST_MIDWAYS = 5
"""A new one is saved before the old one is removed, so that a kill leaves two."""
_DOCUMENTS = ("recipe", "made_with", "midway")
"""Keys of a manifest whose values are documents themselves, where they are there."""
_KEYS_WITHOUT_OWN_HASH = frozenset(
    {"sha256", "bytes", "epoch", "arch", "classes", "image_shape", "mean", "std", "data_fingerprint"}
)
"""The keys of the first format, which did not hash the manifest itself; `last` has `best_epoch` besides."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: `tensors` by name, and `meta`, its manifest."""

    tensors: "dict[str, np.ndarray]"
    meta: dict[str, Any]
    files: tuple[Path, Path]
    """The tensors' file and the manifest's, in the order in which they are written."""


def midway_name(epoch: int, step: int) -> str:
    """The name of a half-done epoch's checkpoint."""
    return f"midway-{epoch}-{step}"


def save(folder: Path, name: str, tensors: "Mapping[str, np.ndarray]", meta: Mapping[str, Any]) -> None:
    """Save `<name>.safetensors` and `<name>.json` in `folder`; a `last` or `best` that stood there is kept as spare.

    Raises:
        MachineError: the disk is full or not writable; the checkpoint before is then still whole.
    """
    from safetensors.numpy import save as to_bytes

    content = to_bytes(dict(tensors))
    document = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **meta}
    contents = {TENSORS: content, MANIFEST: _manifest_text({**document, "manifest_sha256": _own_hash(document)})}
    final = {kind: folder / f"{name}{kind}" for kind in contents}
    temporary = {kind: temporary_beside(path) for kind, path in final.items()}
    with writing(final[TENSORS]):
        try:
            for kind, data in contents.items():
                write_and_flush(temporary[kind], data)
                if temporary[kind].read_bytes() != data:
                    raise OSError(f"{final[kind].name} reads back otherwise than it was written")
            if name in SPARE:
                _rename(folder, name, SPARE[name])
            for kind in contents:
                temporary[kind].replace(final[kind])
                sync_folder(folder)
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)


def load(folder: Path, name: str) -> Checkpoint:
    """Load `<name>` of a run's checkpoints, its hashes checked; the spare where a save was cut while renaming.

    Raises:
        CheckpointError: missing, cut short, altered, not finite, or no checkpoint at all.
    """
    names = (name, *([SPARE[name]] if name in SPARE else []))
    there = [manifest for manifest in names if _claims_to_be(folder, manifest)]
    return _load(folder, there[0] if there else name, names)


def load_best(folder: Path, epoch: int, refuse: Callable[[Mapping[str, Any]], None]) -> Checkpoint:
    """The weights of the best epoch, where that is `epoch`: `best`, or the spare that an older `last` refers to.

    Args:
        folder: a run's `checkpoints/`.
        epoch: which epoch's weights count.
        refuse: raises a CheckpointError for the manifest of another training.

    Raises:
        CheckpointError: none of them is whole, of that epoch and of this training.
    """
    names = ("best", SPARE["best"])
    problems: list[str] = []
    for manifest in names:
        try:
            found = _load(folder, manifest, names)
            refuse(found.meta)
        except CheckpointError as error:
            problems.append(error.message)
            continue
        if found.meta.get("epoch") == epoch:
            return found
    raise CheckpointError(
        "\n".join([f"the weights of the best epoch, {epoch}, are not in {printable(folder)}", *problems]),
        hint="Start a new run",
    )


def any_saved(folder: Path) -> bool:
    """Whether there is anything that claims to be a checkpoint to go on from, whole or not.

    Raises:
        CheckpointError: there is far too much.
    """
    return any(_claims_to_be(folder, name) for name in _to_go_on_from(folder))


def load_newest(folder: Path, epochs: int) -> tuple[Checkpoint, list[str]]:
    """The newest whole checkpoint of at most `epochs` epochs, and what was wrong with newer ones.

    Raises:
        CheckpointError: there is none, or far too many.
    """
    manifests: list[tuple[str, dict[str, Any]]] = []
    problems: list[str] = []
    spare: list[str] = []
    may_be_missing = {SPARE["last"]}
    if epochs <= 1 and not any(_claims_to_be(folder, name) for name in ("last", SPARE["last"])):
        may_be_missing.add("last")  # stopped before the first epoch was saved
    for name in _to_go_on_from(folder):
        try:
            manifests.append((name, _manifest(folder / f"{name}{MANIFEST}")))
        except CheckpointError as error:
            (spare if name in may_be_missing else problems).append(error.message)
    manifests.sort(key=lambda found: _age(found[1]), reverse=True)
    for name, meta in manifests:
        done = meta.get("epoch")
        if not isinstance(done, int) or done > epochs:
            problems.append(f"{name} is of epoch {printable(done)}; metrics.jsonl has {epochs} whole lines")
            continue
        try:
            return _load(folder, name, (name, *({"last", SPARE["last"]} - {name}))), problems
        except CheckpointError as error:
            problems.append(error.message)
    raise CheckpointError(
        "\n".join([f"no whole checkpoint in {printable(folder)}:", *problems, *spare]),
        hint="Start a new run, or from the weights of its best epoch: --init-from RUN",
    )


def _claims_to_be(folder: Path, name: str) -> bool:
    """Whether a manifest of that name is there, readable or not: a link to nowhere is a damaged one, not none."""
    return os.path.lexists(folder / f"{name}{MANIFEST}")


def _to_go_on_from(folder: Path) -> list[str]:
    """The names of the checkpoints that hold a training's state.

    Raises:
        CheckpointError: there are more than any training leaves: all their manifests would be read, and kept in memory.
    """
    midways = sorted(path.stem for path in folder.glob(f"midway-*{MANIFEST}"))
    if len(midways) > _MOST_MIDWAYS:
        raise CheckpointError(
            f"{printable(folder)} holds {len(midways):,} half-done epochs, midway-*{MANIFEST}; a training leaves two "
            "at most",
            hint="Remove all but the newest",
        )
    return [*midways, "last", SPARE["last"]]


def settle(folder: Path, chosen: Checkpoint, best: Checkpoint | None) -> None:
    """Give the checkpoint that a run goes on from, and its best, their names; remove what is newer or damaged."""
    with writing(folder):
        for found, name in ((chosen, "last"), (best, "best")):
            if found is None or found.files[1].stem.startswith("midway"):
                continue
            for path, kind in zip(found.files, (TENSORS, MANIFEST), strict=True):
                wanted = folder / f"{name}{kind}"
                if path != wanted:
                    with writing(wanted):
                        path.replace(wanted)
        sync_folder(folder)
        remove_midways(folder, but=chosen.files[1].stem)


def remove_midways(folder: Path, *, but: str = "") -> None:
    """Remove half-done epochs, which a newer checkpoint has made needless."""
    with writing(folder):
        for path in sorted(folder.glob("midway-*")):  # manifests first: tensors alone are no checkpoint
            if path.stem != but:
                path.unlink(missing_ok=True)


def remove(folder: Path, name: str) -> None:
    """Remove a checkpoint, if it is there."""
    with writing(folder):
        for kind in (MANIFEST, TENSORS):
            (folder / f"{name}{kind}").unlink(missing_ok=True)


def first_not_finite(tensors: "Mapping[str, np.ndarray]") -> str | None:
    """The name of the first tensor that holds a NaN or an infinity, if one does."""
    import numpy as np

    for name, array in tensors.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            return name
    return None


def _rename(folder: Path, name: str, new: str) -> None:
    for kind in (TENSORS, MANIFEST):
        if is_file(folder / f"{name}{kind}"):
            (folder / f"{name}{kind}").replace(folder / f"{new}{kind}")
    sync_folder(folder)


def _age(meta: Mapping[str, Any]) -> tuple[int, int]:
    """(epochs done, steps done in the next one): the larger, the newer."""
    epoch, step = meta.get("epoch"), (meta.get("midway") or {}).get("steps", 0)
    return (epoch, step) if isinstance(epoch, int) and isinstance(step, int) else (-1, 0)


def _manifest_text(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, allow_nan=False).encode() + b"\n"


def _own_hash(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(_manifest_text(document)).hexdigest()


def _manifest(path: Path) -> dict[str, Any]:
    """A manifest, checked to the last byte."""
    document = read_json(path, MAX_MANIFEST_BYTES)
    content = dict(document)
    own = content.pop("manifest_sha256", None)
    wrong = [key for key in _DOCUMENTS if not isinstance(document.get(key) or {}, dict)]
    if wrong:
        raise CheckpointError(f"{printable(path)} is not what a training wrote: {wrong[0]} is not a document")
    if own is None and content.keys() - {"best_epoch"} == _KEYS_WITHOUT_OWN_HASH:
        return document
    try:
        if own == _own_hash(content) and path.read_bytes() == _manifest_text(document):
            return document
    except (OSError, ValueError, RecursionError):
        pass
    raise CheckpointError(f"{printable(path)} is damaged: its SHA-256 is not the one that it names")


def _load(folder: Path, manifest: str, names: tuple[str, ...]) -> Checkpoint:
    """The checkpoint of one manifest, with the tensors of whichever of `names` carry its hash."""
    path = folder / f"{manifest}{MANIFEST}"
    meta = _manifest(path)
    first: CheckpointError | None = None
    for name in names:
        tensors = folder / f"{name}{TENSORS}"
        try:
            return Checkpoint(_tensors(tensors, meta), meta, (tensors, path))
        except CheckpointError as error:
            first = first or error
    assert first is not None
    raise first


def _tensors(path: Path, meta: Mapping[str, Any]) -> "dict[str, np.ndarray]":
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    expected, digest = meta.get("bytes"), meta.get("sha256")
    if type(expected) is not int or not isinstance(digest, str) or not 0 <= expected <= MAX_BYTES:
        raise CheckpointError(f"the manifest of {printable(path)} names no size and hash")
    try:
        if path.stat().st_size != expected:
            raise CheckpointError(
                f"{printable(path)} has {path.stat().st_size:,} bytes; its manifest says {expected:,}"
            )
        if expected > (physical_memory() or MAX_BYTES) // 2:
            raise CheckpointError(f"{printable(path)} has {expected:,} bytes: more than this machine can hold twice")
        content = read_up_to(path, expected)
    except OSError as error:
        raise CheckpointError(f"cannot read {printable(path)}: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{printable(path)} is damaged: its SHA-256 is not the one in its manifest")
    try:
        tensors = from_bytes(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{printable(path)} is not a safetensors file: {printable(error)}") from None
    bad = first_not_finite(tensors)
    if bad is not None:
        raise CheckpointError(f"{printable(path)} holds values that are not finite, in {printable(bad)}")
    return tensors
