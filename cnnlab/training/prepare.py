"""Everything before the first step: data, split, what `auto` means here, the net, the engine.

torch is imported where it is first needed: data that are wrong are told before that second or two is spent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.choices import EngineName
from cnnlab.data import Augmentation, DataSet, Part, load, sample, split
from cnnlab.errors import RecipeError, UsageError
from cnnlab.files import is_file, is_folder
from cnnlab.models.registry import is_user_file
from cnnlab.recipe.schema import Recipe
from cnnlab.text import typed
from cnnlab.training.engines.base import Engine
from cnnlab.training.events import Notice, Tell
from cnnlab.training.net import build_net, doubts, fails_in, require_several_values
from cnnlab.training.schedule import Growth
from cnnlab.training.settings import Settings
from cnnlab.training.tensorboard import require_tensorboard
from cnnlab.training.world import ALONE, World

if TYPE_CHECKING:
    from cnnlab.models.table import LayerTable


@dataclass(frozen=True)
class Prepared:
    """A training that is ready for its first step."""

    recipe: Recipe
    """With everything resolved that depended on the data: it says exactly what is done."""
    settings: Settings
    data: DataSet
    train: Part
    val: Part | None
    sample: Part
    """The fixed part of the training set on which train_loss and train_acc are measured."""
    mean: np.ndarray
    """(C,) float64, levels 0-255 of the training pictures."""
    std: np.ndarray
    table: "LayerTable"
    engine: Engine
    threads: int
    world: World = ALONE
    notices: tuple[str, ...] = ()
    """What a person should know of the net before it is trained."""

    @property
    def real_command(self) -> str | None:
        """Where digits stand in for what was meant: the command that trains on the real thing."""
        command = self.settings.command
        if not command or "--resume" in command:
            command = ("cnnlab", "train", "--arch", self.recipe.model.arch)
        return real_command(self.data, command)

    @property
    def augmentation(self) -> Augmentation:
        """What is done to training pictures."""
        augment = self.recipe.data.augment
        assert isinstance(augment.crop, int)
        assert augment.flip != "auto"
        return Augmentation(augment.crop, augment.flip, augment.cutout, augment.mixup, augment.alternate)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch; the pictures left over are others in every epoch."""
        return len(self.train) // self.recipe.train.batch_size

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.recipe.train.epochs * self.steps_per_epoch


def real_command(data: DataSet, command: Sequence[str]) -> str | None:
    """Where digits stand in for what was meant: the command line that does the same on the real thing."""
    if not data.fallback:
        return None
    words = list(command)
    if "--name" in words:  # that folder holds what was done on digits
        del words[words.index("--name") : words.index("--name") + 2]
    kept = [word for word in words if not word.startswith("--name=") and word != "--offline"]
    return typed([*kept, "--data", data.requested])


def load_data(recipe: Recipe, settings: Settings, tell: Tell) -> DataSet:
    """Load what the recipe names, or CIFAR-10 or its stand-in where it names nothing."""

    section = recipe.data
    data = load(
        section.name,
        data_dir=settings.data_dir,
        image_size=section.image_size,
        offline=settings.offline,
        skip_bad=section.skip_bad,
        allow_duplicates=section.allow_duplicates,
        on_progress=tell,
    )
    for notice in data.notices:
        tell(Notice(notice))
    return data


def prepare(recipe: Recipe, settings: Settings, data: DataSet, world: World = ALONE) -> Prepared:
    """Split, resolve, build.

    Raises:
        RecipeError: the recipe does not fit these data.
        UsageError: the net does not fit these pictures.
        MachineError: no such device.
    """
    from cnnlab.models import whitening
    from cnnlab.models.table import layer_table

    if settings.tensorboard:
        require_tensorboard()
    _require_room(recipe, settings, world)
    threads = _set_threads(recipe, settings.engine, world)
    train, val = divide(recipe, data)
    recipe = resolve_for(recipe, data, len(train))
    measured = sample(train, len(val) if val is not None else max(1, len(train) // 10), recipe.seed)
    mean, std = level_statistics(train.images)
    height, width, channels = data.image_shape
    net = build_net(recipe, (channels, height, width), len(data.classes))
    require_several_values(net, recipe, (channels, height, width), world)
    whitening.fit(net, train.images, mean, std)
    table = layer_table(net, (channels, height, width))
    notices = doubts(net, recipe, (channels, height, width))
    engine = make_engine(recipe, settings, net, mean, std, world)
    if is_user_file(recipe.model.arch):
        try:
            engine.predict(train.images[:1])
        except RuntimeError as error:
            raise fails_in(engine.precision, recipe, error) from error
    return Prepared(recipe, settings, data, train, val, measured, mean, std, table, engine, threads, world, notices)


def divide(recipe: Recipe, data: DataSet) -> tuple[Part, Part | None]:
    """The parts to train on and to validate with, as the recipe divides the data."""
    if data.val is not None or recipe.data.val_fraction == 0:
        return data.train, data.val
    return split(data.train, recipe.data.val_fraction, recipe.split_seed)


def make_engine(
    recipe: Recipe, settings: Settings, net: Any, mean: np.ndarray, std: np.ndarray, world: World = ALONE
) -> Engine:
    """The engine that `settings` name, holding the net.

    Raises:
        UsageError: the NumPy engine lacks a layer or precision of the recipe, or a device other than the CPU was named.
    """
    if settings.engine == "numpy":
        if settings.device not in ("auto", "cpu"):
            raise UsageError(
                f"the numpy engine has no device {settings.device}; it computes on the CPU", hint="Leave --device out"
            )
        from cnnlab.training.engines.numpy import NumpyEngine

        return NumpyEngine(net, recipe.train, recipe.optim, mean=mean, std=std)
    from cnnlab.training.device import choose_device, choose_precision
    from cnnlab.training.engines.torch import TorchEngine

    device = choose_device(settings.device, world)
    precision = choose_precision(recipe.train.precision, device)
    engine = TorchEngine(
        net, recipe.train, recipe.optim, mean=mean, std=std, device=device, precision=precision, world=world
    )
    if world.size > 1:
        engine.take_over_from_first()
    return engine


def level_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (C,) float64 of each channel's levels, exactly, by counting levels.

    A channel that never changes gets a deviation of 1.
    """
    levels = np.arange(256)
    means, deviations = [], []
    for channel in range(images.shape[3]):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = (counts * levels).sum() / counts.sum()
        means.append(mean)
        deviations.append(np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()) or 1.0)
    return np.array(means), np.array(deviations)


def _require_room(recipe: Recipe, settings: Settings, world: World) -> None:
    """Refuse what several processes cannot share."""
    if world.size > 1 and settings.engine == "numpy":
        raise UsageError(
            f"the numpy engine trains in one process; torchrun started {world.size}",
            hint="Start it without torchrun: cnnlab train --engine numpy ...",
        )
    if recipe.train.batch_size < world.size:
        raise RecipeError(
            f"train.batch_size is {recipe.train.batch_size}; each of the {world.size} processes needs an image of it",
            hint=f"Use at least that: --batch-size {world.size}",
        )


def _set_threads(recipe: Recipe, engine: EngineName, world: World) -> int:
    from cnnlab.training import device as devices

    devices.keep_memory()
    threads = devices.set_threads(recipe.threads, world)
    if engine == "numpy":
        from cnnlab.backprop import set_threads

        set_threads(threads)
    return threads


def resolve_for(recipe: Recipe, data: DataSet, train_images: int) -> Recipe:
    """A run's recipe: written out is what depends on the data: name, `auto`, epochs for least steps, least scale."""
    height, width, _ = data.image_shape
    augment, train = recipe.data.augment, recipe.train
    if train.batch_size > train_images:
        raise RecipeError(
            f"train.batch_size is {train.batch_size}; the training set has {train_images} images",
            hint=f"Use at most that: --batch-size {min(train_images, 128)}",
        )
    crop = min(height, width) // 8 if augment.crop == "auto" else augment.crop
    if isinstance(crop, float):
        crop = int(crop * min(height, width) + 0.5)
    flip = data.flip if augment.flip == "auto" else augment.flip
    steps_per_epoch = train_images // train.batch_size
    epochs = max(train.epochs, -(-train.min_steps // steps_per_epoch))
    name = data.name if data.fallback or recipe.data.name is None else absolute_name(recipe.data.name)
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(
                update={"name": name, "augment": augment.model_copy(update={"crop": crop, "flip": flip})}
            ),
            "train": train.model_copy(
                update={"epochs": epochs, "min_steps": 0, "initial_scale": Growth.of(train, (height, width)).initial}
            ),
        }
    )


def absolute_name(name: str) -> str:
    """A data set's name as it is, a path made absolute, so that the saved recipe works from any folder."""
    path = Path(name)
    return str(path.resolve()) if is_file(path) or is_folder(path) else name
