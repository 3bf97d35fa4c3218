"""The pictures that a run is evaluated on: its own data's part, or other data brought to its classes and channels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from cnnlab.data import DataSet, Part
from cnnlab.errors import CheckpointError, DataError, UsageError
from cnnlab.evaluation.opened import OpenRun
from cnnlab.text import counted, cut, printable
from cnnlab.training.events import Event, Notice
from cnnlab.training.prepare import divide, load_data
from cnnlab.training.settings import Settings

SplitName = Literal["test", "val", "train"]


@dataclass(frozen=True)
class Chosen:
    """The pictures of one part."""

    part: Part
    """Labels index the run's classes."""
    data: str
    data_requested: str
    fallback: bool
    own: bool
    """Whether these are the data that the run was trained on."""
    flip: bool
    """Whether a mirror image keeps its label."""


def choose(
    run: OpenRun, split_name: SplitName, *, other: bool, settings: Settings, tell: Callable[[Event], None]
) -> Chosen:
    """Load the data that `run.recipe` names and take one part of them.

    `val` and `train` are divided as the run divided them, by its seed and fraction. With `other`, the data are
    not the run's own: then classes are matched by name and channels converted.

    Raises:
        DataError: not the run's data any more; other classes, or pictures of another size.
        CheckpointError: the checkpoint has other classes than the data that it was trained on.
        UsageError: there is no such part; an unknown name of data.
    """
    data = _load(run, other, settings, tell)
    if not other and data.fingerprint != run.fingerprint:
        raise DataError(
            f"{printable(data.name)} is not what {printable(run.folder.path)} was trained on: fingerprint "
            f"{data.fingerprint[:12]}…, the run's is {printable(run.fingerprint[:12])}…",
            hint="Put the run's own data back in place, or name these as other data: "
            f"--data {printable(run.recipe.data.name)}",
        )
    part = _part(run, data, split_name)
    if data.fingerprint != run.fingerprint:
        part = _matched(run, data, part, tell)
    elif data.classes != run.classes:
        raise CheckpointError(
            f"the checkpoint of {printable(run.folder.path)} is not of its data, {printable(data.name)}: it has "
            f"{counted(len(run.classes), 'class', 'classes')} ({_listed(run.classes, ())}), expected "
            f"{counted(len(data.classes), 'class', 'classes')} ({_listed(data.classes, ())})",
            hint="Copy the run folder again from where it was trained",
        )
    requested, fallback = data.requested, data.fallback
    if not other:
        requested = printable(run.data.get("requested", data.name))
        fallback = run.data.get("fallback") is True
    return Chosen(part, data.name, requested, fallback, data.fingerprint == run.fingerprint, data.flip)


def _load(run: OpenRun, other: bool, settings: Settings, tell: Callable[[Event], None]) -> DataSet:
    try:
        return load_data(run.recipe, settings, tell)
    except UsageError as error:
        if other:
            raise
        raise DataError(
            f"the data of {printable(run.folder.path)} are not there any more: {error.message}",
            hint="Put them back, or name other data with the same classes: --data NAME|FOLDER",
        ) from error


def _part(run: OpenRun, data: DataSet, split_name: SplitName) -> Part:
    if split_name == "test":
        return data.test
    train, val = divide(run.recipe, data)
    if split_name == "train":
        return train
    if val is None:
        raise UsageError(
            "this run kept no validation part (data.val_fraction is 0)", hint="Use --split test or --split train"
        )
    return val


def _matched(run: OpenRun, data: DataSet, part: Part, tell: Callable[[Event], None]) -> Part:
    """Other data's part with labels, size and channels as the run knows them."""
    missing, unknown = _listed(run.classes, data.classes), _listed(data.classes, run.classes)
    if missing or unknown:
        raise DataError(
            f"{printable(data.name)} has other classes than the run:"
            + (f"\n  only the run has: {missing}" if missing else "")
            + (f"\n  only {printable(data.name)} has: {unknown}" if unknown else ""),
            hint="Name the class folders as the run's classes are named",
        )
    height, width, channels = run.image_shape
    if part.images.shape[1:3] != (height, width):
        received = f"{part.images.shape[2]}×{part.images.shape[1]}"
        hint = f"Have them resized (centre square, Lanczos): --set data.image_size={height}"
        raise DataError(
            f"the pictures of {printable(data.name)} are {received} (width × height); "
            f"this run was trained on {width}×{height}",
            hint=hint if height == width else "Resize them first",
        )
    order = np.array([run.classes.index(name) for name in data.classes])
    part = replace(part, labels=order[part.labels])
    if part.images.shape[3] != channels:
        kind = "gray (luma of BT.601)" if channels == 1 else "RGB"
        tell(Notice(f"the pictures of {printable(data.name)} are turned into {kind}, as the run knows them"))
        part = replace(part, images=to_channels(part.images, channels))
    return part


def to_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Pictures (N, H, W, 1 or 3) uint8 as (N, H, W, channels): gray repeated, or luma of BT.601 as Pillow rounds it."""
    if images.shape[3] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=3)
    weighted = images.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)  # sums to 2¹⁶
    return ((weighted + 0x8000) >> 16).astype(np.uint8)[..., None]  # (N, H, W, 1)


def _listed(names: Sequence[str], others: Sequence[str], shown: int = 10) -> str:
    """The names that are not among the others, cut short."""
    only = [name for name in names if name not in set(others)]
    rest = f" and {len(only) - shown} more" if len(only) > shown else ""
    return ", ".join(cut(name) for name in only[:shown]) + rest
