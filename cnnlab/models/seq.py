"""The recipe's own list of layers: how a student designs a net.

```yaml
model:
  arch: seq
  layers:
    - conv: 32              # out channels; kernel: 3, stride: 1, padding: kernel // 2, bias: true
    - batch-norm
    - relu                  # or `activation`: the recipe's own; sigmoid, tanh, gelu, silu, identity
    - max-pool: 2           # or mean-pool; stride: the window, padding: 0
    - residual:             # F(x) + x around a list; a 1x1 projection where shapes differ
        - conv: 32
        - relu
        - conv: 32
    - global-mean-pool
    - flatten
    - dropout: 0.2
    - linear: classes       # units; `classes` is the data set's number
```
A layer is a word, or a mapping whose first key is its type; `name` names it (conv1, conv2, ... otherwise).
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from cnnlab.errors import CnnlabError, RecipeError
from cnnlab.models.layers import ACTIVATIONS, Dropout, Residual, initialise, output_activation, sequential
from cnnlab.models.options import SeqOptions
from cnnlab.text import as_written, cut, did_you_mean

_MAX = 65_536
Shape = tuple[int, ...]


def build(options: SeqOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> nn.Sequential:
    """The net that the list describes: (N, C, H, W) to whatever its last layer gives.

    Raises:
        RecipeError: an unknown layer or key, a value out of range, a layer that the shape before it does not fit.
    """
    net = _Builder(options, num_classes).sequence(options.layers, (in_channels, *image_size), "model.layers")
    output = output_activation(options.output_activation)
    if output is not None:
        net.append(output)
    initialise(net, options.init, options.activation)
    return net


class _Builder:
    def __init__(self, options: SeqOptions, num_classes: int) -> None:
        self.options = options
        self.num_classes = num_classes
        self.counts: dict[str, int] = {}

    def sequence(self, items: list[Any], shape: Shape, where: str) -> nn.Sequential:
        """Build a list of layers, following the shape of one image (without the batch) through it."""
        layers: dict[str, nn.Module | None] = {}
        for index, item in enumerate(items):
            here = f"{where}[{index}]"
            kind, arguments = _parse(item, here)
            name = arguments.pop("name", None) or self._number(kind)
            if not isinstance(name, str) or not name or "." in name or name in layers:
                raise RecipeError(f"{here}: name: expected a new word without dots, received {as_written(name)}")
            layer = self._layer(kind, arguments, shape, here)
            layers[name] = layer
            shape = _shape_after(layer, shape, here)
        return sequential(layers)

    def _number(self, kind: str) -> str:
        stem = {"linear": "fc", "max-pool": "pool", "mean-pool": "pool", "batch-norm": "norm"}.get(kind, kind)
        self.counts[stem] = self.counts.get(stem, 0) + 1
        return f"{stem}{self.counts[stem]}"

    def _layer(self, kind: str, arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
        if kind == "residual":
            return self._residual(arguments, shape, where)
        if kind in ("activation", *ACTIVATIONS):
            return ACTIVATIONS[self.options.activation if kind == "activation" else kind]()
        if kind == "linear" and arguments.get("linear") == "classes":
            arguments["linear"] = self.num_classes
        return _LAYERS[kind](arguments, shape, where)

    def _residual(self, arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
        items = arguments["residual"]
        if not isinstance(items, list) or not items:
            raise RecipeError(f"{where}: residual: expected a list of layers, received {as_written(items)}")
        body = self.sequence(items, shape, f"{where}.residual")
        after = _shape_after(body, shape, where)
        if after == shape:
            return Residual(body)
        if len(shape) != 3 or len(after) != 3 or any(b % a for a, b in zip(after[1:], shape[1:], strict=True)):
            raise RecipeError(f"{where}: residual: no 1x1 projection leads from {_by(shape)} to {_by(after)}")
        stride = (shape[1] // after[1], shape[2] // after[2])
        return Residual(body, sequential({"conv": nn.Conv2d(shape[0], after[0], 1, stride)}))


def _parse(item: Any, where: str) -> tuple[str, dict[str, Any]]:
    """The type of a layer and its arguments by name, the type's own value under the type."""
    arguments: dict[str, Any] = dict(item) if isinstance(item, dict) else {item: None} if isinstance(item, str) else {}
    kind = next(iter(arguments), None)
    if not isinstance(kind, str) or kind not in KEYS:
        raise RecipeError(
            f"{where}: unknown layer {as_written(item)}",
            hint=did_you_mean(cut(kind), KEYS),
        )
    for key in arguments:
        if key not in (kind, "name", *KEYS[kind]):
            raise RecipeError(f"{where}: {kind}: unknown key {cut(key)!r}", hint=did_you_mean(key, KEYS[kind]))
    return kind, arguments


def _integer(arguments: dict[str, Any], key: str, default: int | None, where: str, least: int = 1) -> int:
    value = arguments.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MAX:
        raise RecipeError(f"{where}: {key}: expected a whole number from {least}, received {as_written(value)}")
    return value


def _conv(arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
    kernel = _integer(arguments, "kernel", 3, where)
    bias = arguments.get("bias", True)
    if not isinstance(bias, bool):
        raise RecipeError(f"{where}: bias: expected true or false, received {as_written(bias)}")
    return nn.Conv2d(
        shape[0],
        _integer(arguments, "conv", None, where),
        kernel,
        _integer(arguments, "stride", 1, where),
        padding=_integer(arguments, "padding", kernel // 2, where, least=0),
        bias=bias,
    )


def _linear(arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
    if len(shape) != 1:
        raise RecipeError(f"{where}: linear: needs a flat input, received {_by(shape)}", hint="Put flatten before it")
    bias = arguments.get("bias", True)
    if not isinstance(bias, bool):
        raise RecipeError(f"{where}: bias: expected true or false, received {as_written(bias)}")
    return nn.Linear(shape[0], _integer(arguments, "linear", None, where), bias=bias)


def _pool(kind: str, layer: type[nn.MaxPool2d] | type[nn.AvgPool2d]) -> Callable[..., nn.Module]:
    def build_pool(arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
        window = _integer(arguments, kind, 2, where)
        stride = _integer(arguments, "stride", window, where)
        return layer(window, stride, padding=_integer(arguments, "padding", 0, where, least=0))

    return build_pool


def _dropout(arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
    p = arguments["dropout"]
    if not isinstance(p, int | float) or isinstance(p, bool) or not 0 <= p < 1:
        raise RecipeError(f"{where}: dropout: expected a probability from 0 below 1, received {as_written(p)}")
    return Dropout(float(p))


def _batch_norm(arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
    return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])


_LAYERS: Mapping[str, Callable[[dict[str, Any], Shape, str], nn.Module]] = {
    "conv": _conv,
    "linear": _linear,
    "max-pool": _pool("max-pool", nn.MaxPool2d),
    "mean-pool": _pool("mean-pool", nn.AvgPool2d),
    "global-max-pool": lambda arguments, shape, where: nn.AdaptiveMaxPool2d(1),
    "global-mean-pool": lambda arguments, shape, where: nn.AdaptiveAvgPool2d(1),
    "batch-norm": _batch_norm,
    "dropout": _dropout,
    "flatten": lambda arguments, shape, where: nn.Flatten(),
}
KEYS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((*_LAYERS, "activation", *ACTIVATIONS, "residual"), ()),
    "conv": ("kernel", "stride", "padding", "bias"),
    "linear": ("bias",),
    "max-pool": ("stride", "padding"),
    "mean-pool": ("stride", "padding"),
}
"""Every layer's type, and the keys it takes beside its own and `name`."""


def _shape_after(layer: nn.Module, shape: Shape, where: str) -> Shape:
    """The shape of one image after a layer, found by a forward pass that computes nothing."""
    try:
        after = copy.deepcopy(layer).to("meta").eval()(torch.empty((1, *shape), device="meta")).shape[1:]
    except (RuntimeError, ValueError, IndexError, CnnlabError) as error:
        problem = str(error).split("\n")[0]
        raise RecipeError(f"{where}: does not fit an input of {_by(shape)}: {problem}") from None
    if any(side < 1 for side in after):
        raise RecipeError(f"{where}: leaves nothing of an input of {_by(shape)}")
    return tuple(after)


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape))
