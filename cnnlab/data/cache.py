"""Decoded data sets kept on the disk, keyed by content; a damaged entry is never trusted, only built again."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from cnnlab.data.dataset import DataSet, Part, fingerprint
from cnnlab.text import printable

FORMAT = 2
"""Part of every key: raised whenever the same files would be decoded to other arrays."""

_SETTLED_NS = 3_000_000_000
"""A file changed less than this before it is looked at may change again without its times showing it (FAT counts in
steps of 2 s); git has the same rule for its index."""


def folder() -> Path:
    """cnnlab's cache folder: CNNLAB_CACHE, or the system's place for a user's caches."""
    chosen = os.environ.get("CNNLAB_CACHE")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("cnnlab", appauthor=False))


def key(*what: object) -> str:
    """The name of an entry: a hash of what decides its content, and of what decodes it."""
    import PIL

    return hashlib.sha256(json.dumps([FORMAT, PIL.__version__, *what]).encode()).hexdigest()[:32]


def cached(entry: str, build: Callable[[], DataSet]) -> DataSet:
    """The data set of this key, or a new one, kept for the next time.

    That it could not be kept (a full disk, no permission) is a notice, not an error.
    """
    file = folder() / "data" / f"{entry}.safetensors"
    found = _load(file)
    if found is not None:
        return found
    built = build()
    try:
        _store(file, built)
    except OSError as error:
        reason = error.strerror or printable(error)
        notice = f"the decoded pictures could not be kept in the cache ({reason}): they are decoded again next time"
        return DataSet(**{**vars(built), "notices": (*built.notices, notice)})
    return built


def listing_key(found: list[tuple[str, os.stat_result]], looked_at: int) -> str | None:
    """A key of files' names, sizes and times: while it is the same, so is their content.

    `looked_at` is the time (ns) before the files were looked at. None where a file is so new that its times prove
    nothing yet.
    """
    # st_ctime_ns: on POSIX the time of the last change of any kind, which no program can set; so a file whose size
    # and modification time were put back is still seen. On Windows it is the time of creation.
    stamps = sorted((name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in found)
    newest = max(max(changed, touched) for _, _, changed, touched, _ in stamps)
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest() if newest < looked_at - _SETTLED_NS else None


def digest_of(listing: str | None) -> str | None:
    """The content digest noted for a listing of names, sizes and times; None where none is, or the key is None."""
    if listing is None:
        return None
    try:
        digest, _, check = (folder() / "listings" / f"{listing}.txt").read_text("ascii").partition(" ")
    except (OSError, ValueError):
        return None
    return digest if check == _sha256(listing + digest) else None


def note_digest(listing: str | None, digest: str) -> None:
    """Note the content digest of a listing; where that fails, the content is read again next time."""
    if listing is not None:
        with suppress(OSError):
            note = f"{digest} {_sha256(listing + digest)}"
            _write(folder() / "listings" / f"{listing}.txt", lambda file: file.write_text(note, "ascii"))


def _store(file: Path, data: DataSet) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays, names = {}, {}
    for name, part in data.parts.items():
        arrays[f"{name}.images"], arrays[f"{name}.labels"] = part.images, part.labels
        names[name] = None if part.names is None else list(part.names)
    described = {
        "name": data.name,
        "classes": data.classes,
        "flip": data.flip,
        "notices": data.notices,
        "skipped": data.skipped,
        "fingerprint": data.fingerprint,
        "names": names,
    }
    text = json.dumps(described)
    try:
        _write(file, lambda temporary: save_file(arrays, temporary, {"data": text, "sha256": _sha256(text)}))
    except SafetensorError as error:  # how it tells of a full disk
        raise OSError(str(error)) from error


def _load(file: Path) -> DataSet | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np") as opened:
            metadata = opened.metadata()
            if metadata["sha256"] != _sha256(metadata["data"]):
                return None
            described = json.loads(metadata["data"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a dict
        parts = {
            name: Part(
                _typed(arrays[f"{name}.images"], np.uint8, 4), _typed(arrays[f"{name}.labels"], np.int64, 1), names
            )
            for name, names in described["names"].items()
        }
        data = DataSet(
            name=described["name"],
            classes=tuple(described["classes"]),
            train=parts["train"],
            val=parts.get("val"),
            test=parts["test"],
            flip=described["flip"],
            fingerprint=described["fingerprint"],
            notices=tuple(described["notices"]),
            skipped=tuple((name, problem) for name, problem in described["skipped"]),
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    whole = fingerprint(data.classes, data.train, data.val, data.test) == data.fingerprint
    return data if whole else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _typed(array: np.ndarray, dtype: type, dimensions: int) -> np.ndarray:
    if array.dtype != dtype or array.ndim != dimensions:
        raise ValueError(f"expected {dtype} with {dimensions} dimensions, received {array.dtype} {array.shape}")
    return array


def _write(file: Path, write: Callable[[Path], object]) -> None:
    """Write beside the target and move into place, so that nobody ever sees half a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.stem}-", dir=file.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
