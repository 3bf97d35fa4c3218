"""CIFAR-10 and CIFAR-100 as their authors publish them: pickled batches, in an archive or unpacked.

The pickles are read by an interpreter that knows only what these files hold. Nothing named in them is imported or
called, NumPy's array construction included: two stand-ins keep the bytes, and the array is built from those.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import io
import pickle
import pickletools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data.archives import MAX_MEMBER_BYTES, members
from cnnlab.data.dataset import OnProgress, Part, Progress
from cnnlab.errors import DataError, MachineError
from cnnlab.reading import read_up_to
from cnnlab.text import printable


@dataclass(frozen=True)
class Batches:
    """The names in one of the two sets: `folder`, the files of train and test, the file and key of the classes."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    classes_key: str
    labels_key: str


BATCHES = {
    "cifar10": Batches(
        "cifar-10-batches-py",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        ("test_batch",),
        "batches.meta",
        "label_names",
        "labels",
    ),
    "cifar100": Batches("cifar-100-python", ("train",), ("test",), "meta", "fine_label_names", "fine_labels"),
}
"""Both sets, by cnnlab's name."""

_SIDE = 32
_MAX_MEMO = 1 << 20
_MAX_OPCODES = 1 << 20
"""Of one file; CIFAR-100 has some for each of 50,000 labels, coarse labels and names."""
_MAX_NUMBER = 1 << 31
"""Longer numbers could be made to collide as keys of a dict, which then takes the square of their count to fill."""
_LIMITS = {"TUPLE": 8, "GET": 64}
"""Tuples, and values taken up again, in one file: real ones have six and few. Thirty tuples, each of the one
before twice, would keep Python busy hashing for ever."""
_OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 SETITEM SETITEMS APPEND APPENDS
    LIST DICT NONE NEWFALSE NEWTRUE BININT BININT1 BININT2 INT LONG1 STRING BINSTRING SHORT_BINSTRING BINBYTES
    SHORT_BINBYTES BINUNICODE SHORT_BINUNICODE BINPUT LONG_BINPUT PUT BINGET LONG_BINGET GET MEMOIZE GLOBAL
    STACK_GLOBAL REDUCE BUILD
    """.split()  # noqa: SIM905  # forty names read better as lines than as a list
)


def batches_in(folder: Path) -> str | None:
    """The set ("cifar10" or "cifar100") whose batches lie in `folder` itself; None where there are none."""
    for name, batches in BATCHES.items():
        if all((folder / file).is_file() for file in (*batches.train, *batches.test, batches.meta)):
            return name
    return None


def set_in_archive(file: Path) -> str | None:
    """The set that an archive holds, judged by its first names; None where it is another archive."""
    folders = {batches.folder: name for name, batches in BATCHES.items()}
    for steps, _ in members(file):
        return folders.get(steps[0])
    return None


def read_batches(folder: Path, name: str, on_progress: OnProgress) -> tuple[tuple[str, ...], Part, Part]:
    """Classes, train and test of unpacked batches: images (N, 32, 32, 3) uint8.

    Raises:
        DataError: a file that is not such a batch.
        MachineError: a file that cannot be read.
    """
    return _parts(name, _files_in(folder, BATCHES[name]), printable(folder), on_progress)


def read_archive(file: Path, name: str, on_progress: OnProgress) -> tuple[tuple[str, ...], Part, Part]:
    """Classes, train and test of the archive as published.

    Raises:
        DataError, MachineError: as `read_batches` and `archives.members`.
    """
    found = ((steps[-1], data) for steps, data in members(file) if data is not None and len(steps) == 2)
    return _parts(name, found, printable(file), on_progress)


def _files_in(folder: Path, batches: Batches) -> Iterator[tuple[str, bytes]]:
    for name in (batches.meta, *batches.train, *batches.test):
        try:
            yield name, read_up_to(folder / name, MAX_MEMBER_BYTES)
        except OSError as error:
            raise MachineError(f"cannot read {printable(folder / name)}: {error.strerror}") from error


def _parts(
    name: str, files: Iterator[tuple[str, bytes]], where: str, on_progress: OnProgress
) -> tuple[tuple[str, ...], Part, Part]:
    batches = BATCHES[name]
    wanted = (batches.meta, *batches.train, *batches.test)
    found: dict[str, dict[str, Any]] = {}
    for file, data in files:
        if file in wanted:
            found[file] = unpickle(data, f"{where}: {file}")
            on_progress(Progress(f"reading {name}", len(found), len(wanted), "files"))
    missing = [file for file in wanted if file not in found]
    if missing:
        raise DataError(f"{where} lacks {', '.join(missing)}", hint="Get it again")
    classes = tuple(_text(label, where) for label in _key(found[batches.meta], batches.classes_key, list, where))
    parts = [
        _part([(f"{where}: {file}", found.pop(file)) for file in files_of], batches.labels_key, len(classes))
        for files_of in (batches.train, batches.test)
    ]
    return classes, parts[0], parts[1]


def _part(batches: list[tuple[str, dict[str, Any]]], labels_key: str, classes: int) -> Part:
    count = sum(len(batch[labels_key]) if isinstance(batch.get(labels_key), list) else 0 for _, batch in batches)
    images = np.empty((count, _SIDE, _SIDE, 3), np.uint8)
    labels: list[int] = []
    for where, batch in batches:
        pixels = _key(batch, "data", _Array, where).array(where)
        numbers = _key(batch, labels_key, list, where)
        if pixels.ndim != 2 or pixels.shape != (len(numbers), 3 * _SIDE * _SIDE) or not numbers:
            raise DataError(
                f"{where}: expected one row of 3072 bytes a label, received {pixels.shape} for {len(numbers)}"
            )
        if not all(type(number) is int and 0 <= number < classes for number in numbers):
            raise DataError(f"{where}: expected labels 0 to {classes - 1}")
        rows = slice(len(labels), len(labels) + len(numbers))
        images[rows] = pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)  # (N, 32, 32, 3)
        labels += numbers
    return Part(images, np.array(labels, np.int64))


class _Array:
    """Stands for numpy.ndarray while a pickle is read: keeps the state that the pickle gives it, calls nothing."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self, where: str) -> np.ndarray:
        """The uint8 array of the kept state (version, shape, dtype, Fortran order, bytes)."""
        try:
            _, shape, dtype, fortran, data = self.state
            if not isinstance(dtype, _Dtype) or fortran or not isinstance(data, bytes):
                raise ValueError("not a C-ordered array of bytes")
            return np.frombuffer(data, np.uint8).reshape(shape)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"{where}: expected an array of bytes: {printable(error)}", hint="Get it again") from None


class _Dtype:
    """Stands for numpy.dtype; only bytes ("u1") are known."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"an array of {code!r}")

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment say nothing about bytes."""


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no such batch does")
        return _KNOWN[module, name]


def unpickle(data: bytes, where: str) -> dict[str, Any]:
    """The dict of one batch file, its arrays as `_Array`; nothing that the file names is executed.

    Raises:
        DataError: anything that these files do not hold.
    """
    try:
        counts: Counter[str] = Counter()
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if number > _MAX_OPCODES:
                raise pickle.UnpicklingError("it has more parts than any such batch")
            if isinstance(argument, int) and not -_MAX_NUMBER <= argument < _MAX_NUMBER:
                raise pickle.UnpicklingError("it holds a number larger than any such batch does")
            kind = next((kind for kind in _LIMITS if kind in opcode.name), "")
            counts[kind] += 1
            if kind and counts[kind] > _LIMITS[kind]:
                raise pickle.UnpicklingError(f"it uses {kind} more often than any such batch does")
            if opcode.name not in _OPCODES:
                raise pickle.UnpicklingError(f"it uses {opcode.name}, which no such batch does")
            # A pickle of ten bytes may otherwise ask for a memo of 64 GiB.
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > _MAX_MEMO:
                raise pickle.UnpicklingError("its memo is too large")
        loaded = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # damaged pickles meet the interpreter with any class of error
        raise DataError(
            f"{where} is not a batch of CIFAR, or is damaged: {printable(error)}",
            hint="Get it again from a source you trust; nothing in it was executed",
        ) from error
    if not isinstance(loaded, dict):
        raise DataError(f"{where} is not a batch of CIFAR: expected a dict, received {type(loaded).__name__}")
    return {_text(key, where): value for key, value in loaded.items()}


def _key(batch: dict[str, Any], key: str, kind: type, where: str) -> Any:
    if not isinstance(batch.get(key), kind):
        raise DataError(f"{where} is not a batch of CIFAR: it lacks {key!r}", hint="Get it again")
    return batch[key]


def _text(value: object, where: str) -> str:
    if not isinstance(value, bytes | str):  # whose text may be longer than the memory
        raise DataError(f"{where} is not a batch of CIFAR: expected text, received {type(value).__name__}")
    return printable(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
