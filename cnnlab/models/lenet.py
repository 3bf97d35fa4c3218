"""LeNet-5 (LeCun, Bottou, Bengio and Haffner 1998, figure 2), for images of any size from 4×4."""

from torch import nn

from cnnlab.models.layers import POOLS, activation, initialise, output_activation, require_size, sequential
from cnnlab.models.options import LenetOptions

LEAST = 4


def build(options: LenetOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> nn.Sequential:
    """conv 6 → pool → conv 16 → pool → fc 120 → fc 84 → fc: (N, C, H, W) to (N, num_classes).

    The paper's 32×32 images are 28×28 ones in a frame of 2; images below 32 get that frame as padding, and images
    below 20, which the second convolution would shrink to nothing, get it there too.
    """
    require_size(image_size, LEAST, "lenet")
    smallest = min(image_size)
    first_padding = 2 if smallest < 32 else 0
    second_padding = 2 if smallest < 20 else 0
    height, width = (_after(side, first_padding, second_padding) for side in image_size)
    layers: dict[str, nn.Module | None] = {
        "conv1": nn.Conv2d(in_channels, 6, 5, padding=first_padding),
        "act1": activation(options.activation),
        "pool1": POOLS[options.pool](2),
        "conv2": nn.Conv2d(6, 16, 5, padding=second_padding),
        "act2": activation(options.activation),
        "pool2": POOLS[options.pool](2),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(16 * height * width, 120),
        "act3": activation(options.activation),
        "fc2": nn.Linear(120, 84),
        "act4": activation(options.activation),
        "fc3": nn.Linear(84, num_classes),
        "output": output_activation(options.output_activation),
    }
    net = sequential(layers)
    initialise(net, options.init, options.activation)
    return net


def _after(side: int, first_padding: int, second_padding: int) -> int:
    """The side left after both 5×5 convolutions and both 2×2 poolings."""
    return ((side + 2 * first_padding - 4) // 2 + 2 * second_padding - 4) // 2
