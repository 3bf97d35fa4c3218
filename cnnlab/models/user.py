"""A user's own `nn.Module`: `FILE.py:Class`. Its code runs, so whoever calls this has asked the person first."""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from cnnlab.errors import DataError, UsageError
from cnnlab.files import is_file
from cnnlab.models.options import UserOptions
from cnnlab.text import did_you_mean, printable

_IMPORTS = (
    "Of a user's own code this file alone is read, and copied into a run: what it imports must be installed, or lie in "
    "a folder that the environment variable PYTHONPATH names"
)


def build(options: UserOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    """`Class(in_channels=…, num_classes=…, image_size=…, **options)`: (N, C, H, W) to (N, num_classes).

    `image_size` is one number for square images and (height, width) for others.

    Raises:
        UsageError: no such file or class, or a constructor that does not take these arguments.
        DataError: the file fails when it is run.
    """
    file, _, name = options.arch.rpartition(":")
    cls = load_class(Path(file), name)
    height, width = image_size
    arguments = {
        "in_channels": in_channels,
        "num_classes": num_classes,
        "image_size": height if height == width else image_size,
        **(options.model_extra or {}),
    }
    try:
        inspect.signature(cls).bind(**arguments)
    except TypeError as error:
        raise UsageError(
            f"{printable(options.arch)}: {error}",
            hint="The class is called with in_channels, num_classes, image_size and the options of the spec",
        ) from None
    try:
        net = cls(**arguments)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{printable(options.arch)} cannot be made: {type(error).__name__}: {printable(error)}",
            hint="The class is called with in_channels, num_classes, image_size and the options of the spec",
        ) from error
    if not isinstance(net, nn.Module):
        raise UsageError(f"{printable(options.arch)} is not a torch.nn.Module but a {type(net).__name__}")
    return net


def holds_unknown_weights(net: nn.Module) -> str | None:
    """The attribute, `layer.name`, whose weights torch does not find, as in a plain list of layers; None: no such."""
    known = {id(parameter) for parameter in net.parameters()}
    own = set(vars(nn.Module()))  # torch's own dictionaries and hooks
    for layer, module in net.named_modules():
        for name, value in vars(module).items():
            if name not in own and any(id(weight) not in known for weight in _weights(value, depth=3)):
                return f"{layer}.{name}".lstrip(".")
    return None


def _weights(value: object, depth: int) -> Iterator[torch.Tensor]:
    """What in a value would be trained if torch knew of it, through so many containers."""
    if isinstance(value, nn.Module):
        yield from (parameter for parameter in value.parameters() if parameter.requires_grad)
    elif isinstance(value, torch.Tensor):
        if value.requires_grad and value.is_leaf:
            yield value
    elif isinstance(value, (list, tuple, set, dict)) and depth > 0:
        for one in value.values() if isinstance(value, dict) else value:
            yield from _weights(one, depth - 1)


def load_class(file: Path, name: str) -> type:
    """Run a user's file and take the class of that name.

    Raises:
        UsageError: no such file or class.
        DataError: the file fails when it is run.
    """
    if not is_file(file):
        raise UsageError(f"no such file: {printable(file)}", hint="Write FILE.py:Class")
    module_name = f"cnnlab_user_{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{printable(file)} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and annotations look their module up by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script without a main guard may call exit
        raise DataError(
            f"{printable(file)} fails when it is run: {type(error).__name__}: {printable(error)}",
            hint=_IMPORTS if isinstance(error, ImportError) else None,
        ) from error
    cls = getattr(module, name, None)
    if not isinstance(cls, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise UsageError(f"{printable(file)} has no class {printable(name)}", hint=did_you_mean(name, classes))
    return cls
