"""The architectures there are. Import strings, so that listing and checking them costs no import of torch."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab.errors import UsageError
from cnnlab.models import options as families
from cnnlab.text import did_you_mean, printable

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """One family: its name, one line about it, its options and where it is built."""

    name: str
    summary: str
    options: type[families.ModelOptions]
    builder: str
    """`module:function`, called as `function(options, in_channels, num_classes, image_size)`."""


ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture("mlp", "fully connected: depth hidden layers", families.MlpOptions, "cnnlab.models.mlp:build"),
        Architecture("lenet", "LeNet-5 of 1998", families.LenetOptions, "cnnlab.models.lenet:build"),
        Architecture("cnn", "5-8 weight layers: the homework's net", families.CnnOptions, "cnnlab.models.cnn:build"),
        Architecture(
            "plain", "6n + 2 layers without F(x) + x", families.ResidualOptions, "cnnlab.models.resnet:build_plain"
        ),
        Architecture(
            "resnet", "6n + 2 layers with F(x) + x", families.ResidualOptions, "cnnlab.models.resnet:build_resnet"
        ),
        Architecture(
            "fast", "8 weight layers, the first from patch statistics", families.FastOptions, "cnnlab.models.fast:build"
        ),
        Architecture("seq", "the recipe's own list of layers", families.SeqOptions, "cnnlab.models.seq:build"),
    )
}
"""The families named by a plain word."""

TORCHVISION = Architecture(
    "torchvision:NAME", "a net of torchvision, untrained", families.TorchvisionOptions, "cnnlab.models.vision:build"
)
USER = Architecture("FILE.py:Class", "your own nn.Module", families.UserOptions, "cnnlab.models.user:build")


def is_user_file(name: str) -> bool:
    """Whether an architecture's name means a Python file of the user's: `FILE.py:Class`."""
    file, colon, class_name = name.rpartition(":")
    return bool(colon) and file.lower().endswith(".py") and class_name.isidentifier()


def shown_name(name: str) -> str:
    """An architecture's name for people and results: of a user's Python file without the folders before it."""
    if not is_user_file(name):
        return name
    file, _, class_name = name.rpartition(":")
    return f"{Path(file).name}:{class_name}"


def find(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        UsageError: there is none; the hint names the nearest.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if name.startswith("torchvision:"):
        return TORCHVISION
    if is_user_file(name):
        return USER
    raise UsageError(
        f"unknown architecture {printable(name)!r}",
        hint=did_you_mean(name, [*ARCHITECTURES, TORCHVISION.name, USER.name]),
    )


def build(
    options: families.ModelOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]
) -> "nn.Module":
    """Build the net that `options` describe, with fresh weights from torch's global generator.

    Args:
        in_channels: channels of an image.
        num_classes: outputs.
        image_size: (height, width) of an image in pixels.

    Returns:
        A module from (N, in_channels, height, width) to logits (N, num_classes).

    Raises:
        UsageError: the image is too small for the net, or options contradict each other, or make it so large that
            torch cannot count it.
    """
    module, function = find(options.arch).builder.split(":")
    builder: Any = getattr(importlib.import_module(module), function)
    try:
        net: nn.Module = builder(options, in_channels, num_classes, image_size)
    except NotImplementedError:  # for an outline, where a constructor reads values, as torchvision's regnet does
        import torch

        with torch.device("cpu"):
            net = builder(options, in_channels, num_classes, image_size).to("meta")
    except (RuntimeError, OverflowError) as error:
        reason = printable(str(error).split("\n")[0])
        raise UsageError(f"{printable(options.arch)} cannot be built with these options: {reason}") from error
    return net
