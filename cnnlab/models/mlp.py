"""The fully connected net: `depth` hidden layers of `width` units."""

from math import prod

from torch import nn

from cnnlab.models.layers import Dropout, activation, initialise, output_activation, sequential
from cnnlab.models.options import MlpOptions


def build(options: MlpOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> nn.Sequential:
    """flatten → (fc → norm → activation → dropout) × depth → fc: (N, C, H, W) to (N, num_classes)."""
    layers: dict[str, nn.Module | None] = {"flatten": nn.Flatten()}
    units = in_channels * prod(image_size)
    for index in range(1, options.depth + 1):
        layers[f"fc{index}"] = nn.Linear(units, options.width, bias=not options.batch_norm)
        layers[f"norm{index}"] = nn.BatchNorm1d(options.width) if options.batch_norm else None
        layers[f"act{index}"] = activation(options.activation)
        layers[f"dropout{index}"] = Dropout(options.dropout) if options.dropout else None
        units = options.width
    layers[f"fc{options.depth + 1}"] = nn.Linear(units, num_classes)
    layers["output"] = output_activation(options.output_activation)
    net = sequential(layers)
    initialise(net, options.init, options.activation)
    return net
