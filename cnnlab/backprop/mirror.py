"""A PyTorch net, layer by layer, as a net of this engine with the same weights, without importing torch.

A net is described once, in `cnnlab.models`. Layers are known by the names of their classes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from cnnlab.backprop import activations
from cnnlab.backprop.containers import Residual, Sequential
from cnnlab.backprop.conv import Conv2d
from cnnlab.backprop.dropout import Dropout
from cnnlab.backprop.flatten import Flatten
from cnnlab.backprop.layer import Layer, float_dtype
from cnnlab.backprop.linear import Linear
from cnnlab.backprop.normalization import BatchNorm1d, BatchNorm2d
from cnnlab.backprop.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d
from cnnlab.errors import UsageError


def mirror(net: Any, dtype: DTypeLike = np.float32) -> Layer:
    """The same net with the same weights and buffers (copies) and mode.

    Args:
        net: a `torch.nn.Module` made of the layers of `MIRRORED`.
        dtype: float32 or float64, of all parameters.

    Raises:
        UsageError: a layer, or an option of one, that this engine lacks; named by its place in the net.
    """
    made = _mirror(net, "")
    chosen = float_dtype(dtype)
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in net.state_dict().items()}
    made.load_state_dict(
        {name: array.astype(chosen) if array.dtype.kind == "f" else array for name, array in arrays.items()}
    )
    return made.train(net.training)


def _mirror(module: Any, place: str) -> Layer:
    kind = type(module).__name__
    if kind == "Sequential":
        prefix = f"{place}." if place else ""
        return Sequential({name: _mirror(child, prefix + name) for name, child in module.named_children()})
    if kind == "Residual":
        prefix = f"{place}." if place else ""
        shortcut = None if module.shortcut is None else _mirror(module.shortcut, f"{prefix}shortcut")
        return Residual(_mirror(module.body, f"{prefix}body"), shortcut)
    where = f"{kind} ({place})" if place else kind
    if kind not in MIRRORED:
        raise UsageError(
            f"the numpy engine has no {where}", hint="It has Sequential, Residual, " + ", ".join(sorted(MIRRORED))
        )
    for name, supported in _SUPPORTED.items():
        if (value := getattr(module, name, supported)) not in (supported, (supported, supported)):
            raise UsageError(f"the numpy engine has no {name}={value!r} for {where}; only {supported!r}")
    return MIRRORED[kind](module)


_SUPPORTED: dict[str, Any] = {
    "dilation": 1,
    "groups": 1,
    "padding_mode": "zeros",
    "ceil_mode": False,
    "return_indices": False,
    "divisor_override": None,
    "approximate": "none",
    "affine": True,
    "track_running_stats": True,
    "start_dim": 1,
    "end_dim": -1,
}
"""Options of torch.nn's layers that this engine has only at these values."""


def _linear(module: Any) -> Layer:
    return Linear(module.in_features, module.out_features, bias=module.bias is not None)


def _conv(module: Any) -> Layer:
    padding = module.padding
    if isinstance(padding, str):
        raise UsageError(f"the numpy engine has no padding={padding!r} for Conv2d; only numbers")
    channels = module.in_channels, module.out_channels
    return Conv2d(*channels, module.kernel_size, module.stride, padding, bias=module.bias is not None)


def _batch_norm(kind: type[BatchNorm1d] | type[BatchNorm2d]) -> Callable[[Any], Layer]:
    def make(module: Any) -> Layer:
        if module.momentum is None:
            raise UsageError(f"the numpy engine has no momentum=None for {kind.__name__}; only a number")
        return kind(module.num_features, module.eps, module.momentum)

    return make


MIRRORED: dict[str, Callable[[Any], Layer]] = {
    "Linear": _linear,
    "Conv2d": _conv,
    "MaxPool2d": lambda module: MaxPool2d(module.kernel_size, module.stride, module.padding),
    "AvgPool2d": lambda module: AvgPool2d(
        module.kernel_size, module.stride, module.padding, count_include_pad=module.count_include_pad
    ),
    "AdaptiveMaxPool2d": lambda module: AdaptiveMaxPool2d(module.output_size),
    "AdaptiveAvgPool2d": lambda module: AdaptiveAvgPool2d(module.output_size),
    "BatchNorm1d": _batch_norm(BatchNorm1d),
    "BatchNorm2d": _batch_norm(BatchNorm2d),
    "Dropout": lambda module: Dropout(module.p),
    "Flatten": lambda module: Flatten(),
    "ReLU": lambda module: activations.ReLU(),
    "Sigmoid": lambda module: activations.Sigmoid(),
    "Tanh": lambda module: activations.Tanh(),
    "GELU": lambda module: activations.GELU(),
    "SiLU": lambda module: activations.SiLU(),
    "Identity": lambda module: activations.Identity(),
}
"""How each layer of torch.nn is made here; its weights come with the net's state."""
