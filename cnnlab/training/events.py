"""What a training tells while it runs; the command line renders these, the Python door lets them pass."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.data import Progress
from cnnlab.training.run_folder import EpochRow
from cnnlab.training.schedule import FULL_SIZE, Growth

Loading = Progress
"""The data are being read, or a finished net predicts."""


@dataclass(frozen=True)
class Notice:
    """A sentence that a person should read."""

    text: str


@dataclass(frozen=True)
class RunStarted:
    """Everything is known and the first step comes next."""

    run: Path
    arch: str
    data: str
    data_requested: str
    fallback: bool
    real_command: str | None
    """Where digits stand in: what to type, with network, for the data that were meant."""
    images: dict[str, int]
    """Images of each part: train, val, test."""
    classes: int
    image_shape: tuple[int, int, int]
    """(height, width, channels)."""
    parameters: int
    macs: int
    epochs: int
    first_epoch: int
    """1, or the epoch after the last one saved, in a resumed run."""
    steps_per_epoch: int
    engine: str
    device: str
    precision: str
    threads: int
    rows: tuple[EpochRow, ...]
    """What a resumed run had done before."""
    growth: Growth = FULL_SIZE
    """Of the images, hence of the time that an epoch takes."""


@dataclass(frozen=True)
class StepDone:
    """A step of training is done."""

    epoch: int
    step: int
    """From 1 within the epoch."""
    objective: float
    """Mean of the objective over the epoch so far."""
    images_per_s: float
    lr: float


@dataclass(frozen=True)
class EpochDone:
    """An epoch is trained, measured and saved."""

    row: EpochRow
    best: bool


@dataclass(frozen=True)
class RunFinished:
    """The run folder is complete."""

    run: Path
    result: dict[str, Any]
    rows: tuple[EpochRow, ...]
    reason: str | None
    """Why it ended before its last epoch, if it did."""


Event = Loading | Notice | RunStarted | StepDone | EpochDone | RunFinished

Tell = Callable[[Event], None]
"""Receives every event of a training, in the training's thread.

It may raise `Stopped` at StepDone or EpochDone: the run then saves where it is, and ends.
"""


def tell_nobody(_: object) -> None:
    """Receives events and shows them to nobody."""
