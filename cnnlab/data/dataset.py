"""What a data set is once it is loaded: uint8 pictures and labels by part, and a fingerprint of all of it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Part:
    """The pictures of one part (train, val or test).

    `images` (N, H, W, C) uint8, C-contiguous, C = 1 (gray) or 3 (RGB). `labels` (N,) int64, indices into the data
    set's classes. `names`: N file names relative to the data folder, fit to be shown; None where the pictures are
    not files.
    """

    images: np.ndarray
    labels: np.ndarray
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Part":
        """The pictures at `indices` (M,), in that order, as a part of its own (a copy)."""
        names = None if self.names is None else [self.names[index] for index in indices.tolist()]
        return Part(self.images[indices], self.labels[indices], names)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Pictures with labels, ready to train on.

    `name` is what to show; `requested` is what was asked for, and differs with `fallback`. `val` is a folder's own
    validation part, None where there is none. `flip` says whether a mirror image keeps its label. `fingerprint` is
    the SHA-256 of classes, labels and pixels of all parts. `notices` are sentences that a person should read.
    """

    name: str
    classes: tuple[str, ...]
    train: Part
    val: Part | None
    test: Part
    flip: bool
    fingerprint: str
    requested: str = ""
    fallback: bool = False
    notices: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    """Pictures that could not be read and were left out, as was asked for: (name, what is wrong with it)."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every picture."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def parts(self) -> dict[str, Part]:
        """The parts by name: train, val (where there is one), test."""
        every = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in every.items() if part is not None}


@dataclass(frozen=True)
class Progress:
    """How far a long step is: `done` of `total` (None: unknown) `unit`s ("images" or "bytes") of `task`."""

    task: str
    done: int
    total: int | None
    unit: str


OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Receives progress and shows it to nobody."""


def fingerprint(classes: Sequence[str], train: Part, val: Part | None, test: Part) -> str:
    """SHA-256 (64 hex digits) over shapes, classes, labels and pixels, in this order of parts; names do not count."""
    digest = hashlib.sha256()
    parts = [("train", train), ("val", val), ("test", test)]
    shapes = [[name, list(part.images.shape)] for name, part in parts if part is not None]
    digest.update(json.dumps({"classes": list(classes), "parts": shapes}).encode())
    for _, part in parts:
        if part is not None:
            digest.update(np.ascontiguousarray(part.labels, dtype="<i8").data)
            digest.update(np.ascontiguousarray(part.images).data)
    return digest.hexdigest()
