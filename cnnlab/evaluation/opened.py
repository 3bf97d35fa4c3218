"""A run folder read and checked, its net built, with the weights of its best epoch."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.choices import DeviceName, Precision
from cnnlab.errors import CheckpointError, UsageError
from cnnlab.files import is_folder
from cnnlab.models import registry
from cnnlab.recipe.load import from_file, resolve, short_flags
from cnnlab.recipe.schema import Recipe
from cnnlab.recipe.spec import Scalar, parse_options
from cnnlab.text import cut, did_you_mean, printable
from cnnlab.training import checkpoint
from cnnlab.training import device as devices
from cnnlab.training.engines.base import Engine
from cnnlab.training.going_on import require_same_training
from cnnlab.training.net import build_net
from cnnlab.training.prepare import make_engine
from cnnlab.training.run_folder import RunFolder, read_json, require_sound
from cnnlab.training.settings import Settings
from cnnlab.training.torchrun import resume_command

_MAX_LEVELS = 3 * 4096**2
"""Of one picture: larger ones no net of a run folder has been trained on."""
CHANGEABLE = ("data.image_size", "data.skip_bad", "data.allow_duplicates", "threads")
"""What `--set` may change of a run's recipe: how pictures are read. All else made the run what it is."""


@dataclass(frozen=True)
class Changes:
    """What a person changes of a run's recipe for its evaluation; None and empty leave it as it is."""

    data: str | None = None
    """Other data than the run's own, as `--data` names them."""
    settings: Sequence[str] = ()
    """`key=value` for the keys of `CHANGEABLE`."""
    precision: Precision | None = None
    threads: int | None = None
    skip_bad: bool = False
    allow_duplicates: bool = False

    @property
    def flags(self) -> dict[str, Scalar]:
        """The recipe's short flags that say the same."""
        return short_flags(
            data=self.data,
            precision=self.precision,
            threads=self.threads,
            skip_bad=self.skip_bad,
            allow_duplicates=self.allow_duplicates,
        )


AS_IT_IS = Changes()


@dataclass(frozen=True)
class OpenRun:
    """A run ready to predict."""

    folder: RunFolder
    recipe: Recipe
    """The run's own, with what the person changed."""
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    """(H, W, C)."""
    fingerprint: str
    """Of the data that it was trained on."""
    epoch: int
    """The epoch whose weights these are."""
    result: dict[str, Any] | None
    """result.json; None while the run is not finished."""
    data: dict[str, Any]
    """What environment.json says of the data."""
    mean: np.ndarray
    """(C,) float64, levels 0-255."""
    std: np.ndarray
    weights: dict[str, np.ndarray]
    engine: Engine

    @property
    def arch(self) -> str:
        """The architecture's name, to be shown."""
        return registry.shown_name(self.recipe.model.arch)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.result is not None


def open_run(
    path: Path, changes: Changes = AS_IT_IS, *, device: DeviceName = "auto", trust_code: bool = False
) -> OpenRun:
    """Open the run in folder `path` for prediction, with the weights of its best epoch.

    Args:
        path: the run folder.
        changes: what differs from the run's recipe.
        device: auto, cpu, cuda or mps.
        trust_code: whether a run may name a Python file, whose code then runs.

    Raises:
        CheckpointError: the folder is damaged, incomplete, or no epoch was saved yet.
        UsageError: a setting that cannot be changed; a run that names a Python file, without `trust_code`.
        MachineError: no such device.
    """
    folder = RunFolder(path)
    with _damage(folder.recipe):
        own = from_file(folder.recipe, trust_code=True)  # trust is asked for below, with the run's name
    if registry.is_user_file(own.model.arch) and not trust_code:
        raise UsageError(
            f"{printable(path)} uses the Python file {printable(own.model.arch)}, whose code would run",
            hint="Read that file; if you trust it, add --trust-code",
        )
    recipe = _changed(folder, own, changes)
    environment = read_json(folder.environment)
    saved = _load_best(folder)
    meta = _Manifest.of(saved.meta, folder.checkpoints / "best.json")
    devices.keep_memory()
    devices.set_threads(recipe.threads)
    height, width, channels = meta.image_shape
    with _damage(path):
        require_same_training(own, None, saved.meta)
        if not registry.is_user_file(recipe.model.arch):
            _require_fit(recipe, meta, saved.tensors, path)
        net = build_net(recipe, (channels, height, width), len(meta.classes))
        engine_name = environment.get("engine", "torch")
        if engine_name not in ("torch", "numpy"):
            raise CheckpointError(f"{printable(folder.environment)} names no engine: {printable(engine_name)!r}")
    engine = make_engine(recipe, Settings(device=device, engine=engine_name), net, meta.mean, meta.std)
    engine.load_weights(saved.tensors)
    about_data = environment.get("data")
    return OpenRun(
        folder=folder,
        recipe=recipe,
        classes=meta.classes,
        image_shape=meta.image_shape,
        fingerprint=meta.fingerprint,
        epoch=meta.epoch,
        result=read_json(folder.result) if folder.is_finished else None,
        data=about_data if isinstance(about_data, dict) else {},
        mean=meta.mean,
        std=meta.std,
        weights=saved.tensors,
        engine=engine,
    )


def _require_fit(recipe: Recipe, meta: "_Manifest", tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """Refuse weights of another net than the recipe's, before memory for that net is asked for."""
    from cnnlab.models.table import without_weights

    height, width, channels = meta.image_shape
    with without_weights():
        outline = registry.build(recipe.model, channels, len(meta.classes), (height, width))
    expected = {name: tuple(value.shape) for name, value in outline.state_dict().items()}
    for name in sorted({*expected, *tensors}):
        found = tensors[name].shape if name in tensors else None
        if expected.get(name) != found:
            raise CheckpointError(
                f"the checkpoint of {printable(path)} is not of the net in its recipe, {printable(recipe.model.arch)}: "
                f"{cut(name)} is {found or 'not there'}, expected {expected.get(name, 'nothing of that name')}",
                hint="Put the recipe.yaml back that the run was trained with",
            )


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What a run folder itself holds wrongly is no wrong usage but a damaged folder."""
    try:
        yield
    except UsageError as error:
        raise CheckpointError(
            f"{printable(path)} is not what a training wrote: {error.message}", hint=error.hint
        ) from error


def _changed(folder: RunFolder, own: Recipe, changes: Changes) -> Recipe:
    for setting in changes.settings:
        for key in parse_options(setting):
            if key not in CHANGEABLE:
                raise UsageError(
                    f"--set {printable(key)}: a finished run's recipe is fixed; only how pictures are read may change",
                    hint=did_you_mean(key, CHANGEABLE),
                )
    if not changes.settings and not changes.flags:
        return own
    return resolve(recipe=str(folder.recipe), settings=changes.settings, flags=changes.flags, trust_code=True)


def _load_best(folder: RunFolder) -> checkpoint.Checkpoint:
    if not is_folder(folder.checkpoints) or not any(folder.checkpoints.glob("best.*")):
        raise CheckpointError(
            f"{printable(folder.path)} holds no checkpoint: the run has not saved an epoch yet",
            hint=f"Go on with it: {resume_command(folder.path)}",
        )
    return checkpoint.load(folder.checkpoints, "best")


@dataclass(frozen=True)
class _Manifest:
    """The checked manifest of a checkpoint."""

    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: np.ndarray
    std: np.ndarray
    fingerprint: str
    epoch: int

    @classmethod
    def of(cls, meta: dict[str, Any], path: Path) -> "_Manifest":
        classes, shape, epoch = meta.get("classes"), meta.get("image_shape"), meta.get("epoch")
        fingerprint = meta.get("data_fingerprint")
        checks = {
            "classes": isinstance(classes, list) and len(classes) > 1 and all(isinstance(c, str) for c in classes),
            "image_shape": isinstance(shape, list)
            and len(shape) == 3
            and all(_is_size(side) for side in shape)
            and math.prod(shape) <= _MAX_LEVELS,
            "epoch": _is_size(epoch),
            "data_fingerprint": isinstance(fingerprint, str),
        }
        mean, std = _levels(meta.get("mean")), _levels(meta.get("std"))
        if checks["image_shape"]:
            assert isinstance(shape, list)
            checks["mean"] = mean is not None and len(mean) == shape[2]
            checks["std"] = std is not None and len(std) == shape[2] and bool((std > 0).all())
        require_sound(path, checks, meta)
        assert isinstance(classes, list)
        assert isinstance(shape, list)
        assert mean is not None
        assert std is not None
        assert isinstance(fingerprint, str)
        assert isinstance(epoch, int)
        return cls(tuple(map(printable, classes)), (shape[0], shape[1], shape[2]), mean, std, fingerprint, epoch)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100_000


def _levels(value: object) -> np.ndarray | None:
    """A list of finite numbers as float64; None for anything else."""
    numbers = isinstance(value, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    if not numbers:
        return None
    try:
        levels = np.array(value, np.float64)
    except OverflowError:
        return None
    return levels if np.isfinite(levels).all() else None
