"""What all families are made of: torch.nn's layers, named; F(x) + x; dropout that repeats; initial weights.

Nets are built of `nn.Sequential`, torch.nn's own layers and the three classes here, so that the NumPy engine can
mirror them layer by layer.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.randomness import Share


class GELU(nn.GELU):
    """x·Φ(x) (Hendrycks and Gimpel 2016), of channels_last maps on a CPU by oneDNN: in bf16 two thirds of the time.

    PyTorch leaves contiguous tensors to it, but not these; the last bit or two may differ.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) to the same shape."""
        if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": GELU,
    "silu": nn.SiLU,
    "identity": nn.Identity,
}
RELU_FAMILY = frozenset({"relu", "gelu", "silu"})
POOLS: Mapping[str, Callable[[int], nn.Module]] = {"max": nn.MaxPool2d, "mean": nn.AvgPool2d}
GLOBAL_POOLS: Mapping[str, Callable[[int], nn.Module]] = {"max": nn.AdaptiveMaxPool2d, "mean": nn.AdaptiveAvgPool2d}


class Residual(nn.Module):
    """F(x) + x (He et al. 2016, eq. 1), or F(x) + W x where the shapes differ (eq. 2): (N, …) to the body's shape."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """body(x) + x, or body(x) + shortcut(x)."""
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))


class Dropout(nn.Module):
    """Inverted dropout: in training each element is zero with probability `p`, the others are scaled by 1/(1 − p).

    The mask comes from `rng`, a NumPy generator that the training loop sets before each step, so that it is the same
    after a resume and on both engines.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.rng: np.random.Generator | Share | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) to the same shape; the input itself in evaluation mode.

        Raises:
            RuntimeError: training without a generator.
        """
        if not self.training or self.p == 0:
            return x
        if self.rng is None:
            raise RuntimeError("Dropout in training mode needs `rng`: the loop sets it before each step")
        keep = torch.from_numpy(self.rng.random(tuple(x.shape), dtype=np.float32) >= self.p)
        if x.is_cuda and not torch.compiler.is_compiling():  # which knows no pinned memory (pytorch/pytorch#123252)
            keep = keep.pin_memory().to(x.device, non_blocking=True)  # the host does not wait for its arrival
        return x * keep.to(x.device, x.dtype) / (1 - self.p)

    def extra_repr(self) -> str:
        """The probability, as torch's own prints it."""
        return f"p={self.p}"


def sequential(layers: Mapping[str, nn.Module | None]) -> nn.Sequential:
    """Named layers in order; those that are None are left out."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


def convolution(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, norm: str) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1; no bias where a batch norm follows, which has its own."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=norm == "none")


def batch_norm(channels: int, norm: str) -> nn.Module | None:
    """The normalisation that `norm` names, or None."""
    return nn.BatchNorm2d(channels) if norm == "batch" else None


def activation(name: str) -> nn.Module:
    """The activation that `name` names."""
    return ACTIVATIONS[name]()


def output_activation(name: str) -> nn.Module | None:
    """The activation on the outputs, or None where there is none."""
    return None if name == "identity" else ACTIVATIONS[name]()


def initialise(net: nn.Module, init: str, activation: str) -> None:
    """Draw the initial weights of all linear and convolution layers in place; biases start at 0.

    He et al. 2015 (eq. 10): N(0, 2 / fan_in), which keeps the size of a signal through ReLUs. Glorot and Bengio 2010
    (eq. 16): U(± √(6 / (fan_in + fan_out))). The output layer, which no hidden activation follows, has variance
    1 / (3 · fan_in) under He, as by PyTorch's default: the first loss is then near ln(classes).

    Args:
        init: auto (He for the ReLU family, Xavier otherwise), torch (leave PyTorch's default), xavier, he.
        activation: the hidden activation, which decides auto.
    """
    if init == "auto":
        init = "he" if activation in RELU_FAMILY else "xavier"
    if init == "torch":
        return
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in layers:
        if init == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        elif layer is layers[-1]:
            fan_in = layer.weight[0].numel()
            nn.init.uniform_(layer.weight, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def require_size(image_size: tuple[int, int], least: int, arch: str) -> None:
    """Refuse images that pooling would shrink to nothing.

    Raises:
        UsageError: a side is below `least` pixels.
    """
    height, width = image_size
    if min(height, width) < least:
        raise UsageError(
            f"{arch} needs images of at least {least}x{least} pixels, received {height}x{width}",
            hint=f"Let the recipe resize them: --set data.image_size={least}",
        )
