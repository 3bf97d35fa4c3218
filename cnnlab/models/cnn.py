"""The homework's net: 5-8 weight layers of convolution, pooling and one fully connected layer."""

from torch import nn

from cnnlab.models.layers import (
    GLOBAL_POOLS,
    POOLS,
    Dropout,
    activation,
    batch_norm,
    convolution,
    initialise,
    output_activation,
    require_size,
    sequential,
)
from cnnlab.models.options import CnnOptions

STAGES: dict[int, tuple[int, int, int]] = {5: (1, 1, 2), 6: (1, 2, 2), 7: (2, 2, 2), 8: (2, 2, 3)}
"""Convolutions in each of the three stages, by the number of weight layers (the fully connected one included)."""
LEAST = 4


def build(options: CnnOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> nn.Sequential:
    """Three stages of 3×3 convolutions, each ending in 2×2 pooling: (N, C, H, W) to (N, num_classes).

    A stage's pooling stands before the normalisation and the activation of its last convolution, which then work on a
    quarter of the elements. Without normalisation, with max pooling and a rising activation, the result is the same.
    Where 2×2 is not left to pool (images below 8×8), the last stage does not pool.
    """
    require_size(image_size, LEAST, "cnn")
    layers: dict[str, nn.Module | None] = {}
    channels, (height, width), index = in_channels, image_size, 0
    for stage, convolutions in enumerate(STAGES[options.depth]):
        for position in range(convolutions):
            index += 1
            out_channels = options.width * 2**stage
            layers[f"conv{index}"] = convolution(channels, out_channels, 3, norm=options.norm)
            if position == convolutions - 1 and min(height, width) >= 2:
                layers[f"pool{stage + 1}"] = POOLS[options.pool](2)
                height, width = height // 2, width // 2
            layers[f"norm{index}"] = batch_norm(out_channels, options.norm)
            layers[f"act{index}"] = activation(options.activation)
            channels = out_channels
    if options.head != "flatten":
        layers["pool"] = GLOBAL_POOLS[options.head](1)
        height, width = 1, 1
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = Dropout(options.dropout) if options.dropout else None
    layers["fc"] = nn.Linear(channels * height * width, num_classes)
    layers["output"] = output_activation(options.output_activation)
    net = sequential(layers)
    initialise(net, options.init, options.activation)
    return net
