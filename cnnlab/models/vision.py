"""The nets of torchvision, untrained, with a stem for small images."""

from torch import nn

from cnnlab.errors import UsageError
from cnnlab.models.options import TorchvisionOptions
from cnnlab.text import did_you_mean, printable

SMALL = 64
"""Images up to this size, in pixels, get the small stem under `stem: auto`."""


def build(options: TorchvisionOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    """`torchvision.models.NAME(weights=None)`: (N, C, H, W) to (N, num_classes).

    The small stem, usual for CIFAR: the first convolution becomes 3×3 with stride 1, and a max pooling named
    `maxpool` (ResNets and their relatives) becomes the identity, so that a 32×32 image is not cut to 8×8 at once.
    Whatever the stem, the first convolution takes the data's number of channels.

    Raises:
        UsageError: torchvision has no classifier of that name.
    """
    from torchvision import models

    name = options.arch.partition(":")[2]
    names = models.list_models(module=models)
    if name not in names:
        raise UsageError(
            f"torchvision has no net named {printable(name)!r}",
            hint=did_you_mean(name, names) if name else "Write torchvision:resnet18, for example",
        )
    extra = {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    net: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **extra)
    small = options.stem == "small" or (options.stem == "auto" and max(image_size) <= SMALL)
    _adapt_stem(net, in_channels, small=small)
    return net


def _adapt_stem(net: nn.Module, in_channels: int, *, small: bool) -> None:
    first = next(((name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        raise UsageError(f"{type(net).__name__} has no convolution to take the images")
    name, layer = first
    replacement = nn.Conv2d(
        in_channels,
        layer.out_channels,
        3 if small else layer.kernel_size,  # type: ignore[arg-type]
        1 if small else layer.stride,  # type: ignore[arg-type]
        padding=1 if small else layer.padding,  # type: ignore[arg-type]
        bias=layer.bias is not None,
    )
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, replacement)
    if small and isinstance(getattr(net, "maxpool", None), nn.MaxPool2d):
        net.maxpool = nn.Identity()
