"""What a comparison tells while it goes on; the command line renders these, the Python door lets them pass."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.comparison.result import Comparison
from cnnlab.training import events as training


@dataclass(frozen=True)
class Planned:
    """A contestant as it will be trained."""

    name: str
    parameters: int
    macs: int
    weight_layers: int
    matched: str | None
    match_left: float | None


@dataclass(frozen=True)
class CompareStarted:
    """Everything is known and the first run comes next."""

    folder: Path
    data: str
    data_requested: str
    fallback: bool
    real_command: str | None
    images: dict[str, int]
    """Images of each part: train, val, test."""
    classes: int
    image_shape: tuple[int, int, int]
    """(height, width, channels)."""
    contestants: tuple[Planned, ...]
    seeds: tuple[int, ...]
    epochs: int
    runs: int
    """Contestants × seeds."""
    finished: int
    """Of these, how many are finished already and reused."""
    engine: str
    device: str


@dataclass(frozen=True)
class RunBegan:
    """A net begins to train, or goes on."""

    contestant: str
    seed: int
    number: int
    """From 1 to `CompareStarted.runs`."""
    folder: Path
    first_epoch: int
    """1, or the epoch after the last one saved."""
    epochs: int
    seconds_left: float | None
    """Of the whole comparison; None: nothing to go by yet."""


@dataclass(frozen=True)
class RunReused:
    """A finished run of the same resolved recipe stands for this one."""

    contestant: str
    seed: int
    number: int
    folder: Path
    result: dict[str, Any]


@dataclass(frozen=True)
class RunStep:
    """A step of the present run is done."""

    contestant: str
    seed: int
    number: int
    epoch: int
    step: int
    steps_per_epoch: int
    epochs: int
    objective: float
    images_per_s: float
    share: float
    """Of the present run that is done, in [0, 1]."""
    seconds_left: float | None


@dataclass(frozen=True)
class RunEpoch:
    """An epoch of the present run is trained, measured and saved."""

    contestant: str
    seed: int
    number: int
    epochs: int
    row: dict[str, Any]
    """As in metrics.jsonl."""
    best: bool
    seconds_left: float | None


@dataclass(frozen=True)
class RunEnded:
    """The present run is finished."""

    contestant: str
    seed: int
    number: int
    folder: Path
    result: dict[str, Any]
    reason: str | None
    """Why it ended before its last epoch, if it did."""
    seconds_left: float | None


@dataclass(frozen=True)
class CompareFinished:
    """All runs are finished, tested and written."""

    comparison: Comparison


Event = training.Event | CompareStarted | RunBegan | RunReused | RunStep | RunEpoch | RunEnded | CompareFinished
"""A training's own events are told too, each after the one made of it: `Loading` and `Notice` stand alone."""

Tell = Callable[[Event], None]
