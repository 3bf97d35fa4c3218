"""The CIFAR nets of He et al. 2016 (section 4.2): 6n + 2 weight layers, without and with F(x) + x."""

from torch import nn

from cnnlab.models.layers import (
    Residual,
    activation,
    batch_norm,
    convolution,
    initialise,
    output_activation,
    sequential,
)
from cnnlab.models.options import ResidualOptions


def build_plain(options: ResidualOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    """The net without shortcuts: (N, C, H, W) to (N, num_classes)."""
    return _build(options, in_channels, num_classes, residual=False)


def build_resnet(
    options: ResidualOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]
) -> nn.Module:
    """The net with F(x) + x around every two convolutions, a 1×1 projection where shapes differ."""
    return _build(options, in_channels, num_classes, residual=True)


def _build(options: ResidualOptions, in_channels: int, num_classes: int, *, residual: bool) -> nn.Sequential:
    """conv → three stages of n blocks (the second and third halve the size) → mean over the image → fc."""
    channels = options.width
    layers: dict[str, nn.Module | None] = {
        "conv": convolution(in_channels, channels, 3, norm=options.norm),
        "norm": batch_norm(channels, options.norm),
        "act": activation(options.activation),
    }
    for stage in range(3):
        for number in range(1, (options.depth - 2) // 6 + 1):
            out_channels = options.width * 2**stage
            stride = 2 if stage > 0 and number == 1 else 1
            name = f"stage{stage + 1}-block{number}"
            body = _body(channels, out_channels, stride, options)
            layers[name] = Residual(body, _shortcut(channels, out_channels, stride, options)) if residual else body
            layers[f"{name}-act"] = activation(options.activation)
            channels = out_channels
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    layers["output"] = output_activation(options.output_activation)
    net = sequential(layers)
    initialise(net, options.init, options.activation)
    return net


def _body(in_channels: int, out_channels: int, stride: int, options: ResidualOptions) -> nn.Sequential:
    """F: two 3×3 convolutions, each normalised, an activation between them."""
    return sequential(
        {
            "conv1": convolution(in_channels, out_channels, 3, stride=stride, norm=options.norm),
            "norm1": batch_norm(out_channels, options.norm),
            "act1": activation(options.activation),
            "conv2": convolution(out_channels, out_channels, 3, norm=options.norm),
            "norm2": batch_norm(out_channels, options.norm),
        }
    )


def _shortcut(in_channels: int, out_channels: int, stride: int, options: ResidualOptions) -> nn.Module | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return sequential(
        {
            "conv": convolution(in_channels, out_channels, 1, stride=stride, norm=options.norm),
            "norm": batch_norm(out_channels, options.norm),
        }
    )
