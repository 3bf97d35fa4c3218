"""The time-to-accuracy net: whitened patches, three groups of convolution and pooling (Jordan 2024, airbench94)."""

import torch
from torch import Tensor, nn

from cnnlab.models.convolutions import PooledConv, SmallMapConv, WinogradPooledConv
from cnnlab.models.layers import activation, initialise, output_activation, require_size, sequential
from cnnlab.models.options import FastOptions
from cnnlab.models.whitening import Whitening

LEAST = 4
LOGIT_SCALE = 1 / 9
EPS, MOMENTUM = 1e-12, 0.4
"""Of batch normalisation: statistics that follow quickly, for trainings of a few hundred steps."""


class Scale(nn.Module):
    """x · factor: logits that start small keep the first steps tame."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) to the same shape."""
        return x * self.factor

    def extra_repr(self) -> str:
        """The factor."""
        return f"{self.factor:.4g}"


def build(options: FastOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> nn.Sequential:
    """Whitening, three groups of conv-pool-norm-act-conv-norm-act, pooling, linear: (N, C, H, W) to (N, num_classes).

    The last pooling takes each channel's largest value over the whole map, so that images of other sizes fit too.

    The scale of each batch normalisation stays 1, its bias is trained. Under init=auto each convolution's first
    kernels pass its inputs on unchanged (Dirac), the others are PyTorch's own. Where 2×2 is not left to pool (images
    below 16×16), a group does not pool.
    """
    require_size(image_size, LEAST, "fast")
    whiten = Whitening(in_channels, bias_epochs=options.whiten_bias_epochs)
    layers: dict[str, nn.Module | None] = {"whiten": whiten, "act0": activation(options.activation)}
    channels = whiten.out_channels
    height, width = (side - 1 for side in image_size)
    for group, factor in enumerate((1, options.group2, options.group3), 1):
        out_channels = options.width * factor
        for position in (1, 2):
            name = f"{group}_{position}"
            pooled = position == 1 and min(height, width) >= 2
            kind = _kind(group, pooled, options)
            layers[f"conv{name}"] = kind(channels, out_channels, 3, padding=1, bias=False)
            if pooled:
                layers[f"pool{group}"] = nn.MaxPool2d(2)
                height, width = height // 2, width // 2
            layers[f"norm{name}"] = _norm(out_channels)
            layers[f"act{name}"] = activation(options.activation)
            channels = out_channels
    layers["pool4"] = nn.AdaptiveMaxPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes, bias=False)
    layers["scale"] = Scale(LOGIT_SCALE)
    layers["output"] = output_activation(options.output_activation)
    net = sequential(layers)
    if options.init == "auto":
        _pass_on(net)
    else:
        initialise(net, options.init, options.activation)
    return net


def _kind(group: int, pooled: bool, options: FastOptions) -> type[nn.Conv2d]:
    """How a convolution is computed."""
    if group == 3 and options.skip_products and (not pooled or options.skip_unpooled):
        return WinogradPooledConv if pooled else SmallMapConv
    # Of the first group's large maps one row is little, and a padded copy of them dear.
    return PooledConv if pooled and group > 1 and options.skip_unpooled else nn.Conv2d


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=EPS, momentum=MOMENTUM)
    norm.weight.requires_grad_(False)
    return norm


@torch.no_grad()
def _pass_on(net: nn.Module) -> None:
    """Let the first kernels of each convolution be Dirac's: output channel i is input channel i."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and not isinstance(layer, Whitening):
            weight = layer.weight
            nn.init.dirac_(weight[: weight.shape[1]])
