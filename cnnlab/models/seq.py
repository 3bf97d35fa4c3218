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
from cnnlab.models.seq_layers import Path, parse, written
from cnnlab.text import as_written

Shape = tuple[int, ...]


def build(options: SeqOptions, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> nn.Sequential:
    """The net that the list describes: (N, C, H, W) to whatever its last layer gives.

    Raises:
        RecipeError: an unknown layer or key, a value out of range, a layer that the shape before it does not fit.
    """
    net = _Builder(options, num_classes).sequence(options.layers, (in_channels, *image_size), ())
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

    def sequence(self, items: list[Any], shape: Shape, path: Path) -> nn.Sequential:
        """Build a list of layers, following the shape of one image (without the batch) through it."""
        layers: dict[str, nn.Module | None] = {}
        for index, item in enumerate(items):
            here = written((*path, index))
            kind, arguments = parse(item, (*path, index))
            name = arguments.pop("name", None) or self._numbered(kind)
            if not isinstance(name, str) or not name or "." in name or name in layers:
                raise RecipeError(f"{here}: name: expected a new word without dots, received {as_written(name)}")
            layer = self._layer(kind, arguments, shape, (*path, index))
            layers[name] = layer
            shape = _shape_after(layer, shape, here)
        return sequential(layers)

    def _numbered(self, kind: str) -> str:
        """The name of the next layer of a kind that has none of its own: conv1, conv2, fc1, …"""
        stem = {"linear": "fc", "max-pool": "pool", "mean-pool": "pool", "batch-norm": "norm"}.get(kind, kind)
        self.counts[stem] = self.counts.get(stem, 0) + 1
        return f"{stem}{self.counts[stem]}"

    def _layer(self, kind: str, arguments: dict[str, Any], shape: Shape, path: Path) -> nn.Module:
        if kind == "residual":
            return self._residual(arguments, shape, path)
        if kind in ("activation", *ACTIVATIONS):
            return ACTIVATIONS[self.options.activation if kind == "activation" else kind]()
        if kind == "linear" and arguments.get("linear") == "classes":
            arguments["linear"] = self.num_classes
        return _LAYERS[kind](arguments, shape, written(path))

    def _residual(self, arguments: dict[str, Any], shape: Shape, path: Path) -> nn.Module:
        body, where = self.sequence(arguments["residual"], shape, (*path, "residual")), written(path)
        after = _shape_after(body, shape, where)
        if after == shape:
            return Residual(body)
        if len(shape) != 3 or len(after) != 3 or any(b % a for a, b in zip(after[1:], shape[1:], strict=True)):
            raise RecipeError(f"{where}: residual: no 1x1 projection leads from {_by(shape)} to {_by(after)}")
        stride = (shape[1] // after[1], shape[2] // after[2])
        return Residual(body, sequential({"conv": nn.Conv2d(shape[0], after[0], 1, stride)}))


def _given(arguments: dict[str, Any], key: str, default: int) -> int:
    """A number of a layer's arguments; the default where it is left out or null."""
    value = arguments.get(key)
    return default if value is None else value


def _conv(arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
    kernel = _given(arguments, "kernel", 3)
    stride, padding = _given(arguments, "stride", 1), _given(arguments, "padding", kernel // 2)
    return nn.Conv2d(shape[0], arguments["conv"], kernel, stride, padding=padding, bias=arguments.get("bias", True))


def _linear(arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
    if len(shape) != 1:
        raise RecipeError(f"{where}: linear: needs a flat input, received {_by(shape)}", hint="Put flatten before it")
    return nn.Linear(shape[0], arguments["linear"], bias=arguments.get("bias", True))


def _pool(kind: str, layer: type[nn.MaxPool2d] | type[nn.AvgPool2d]) -> Callable[..., nn.Module]:
    def build_pool(arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
        window = _given(arguments, kind, 2)
        return layer(window, _given(arguments, "stride", window), padding=_given(arguments, "padding", 0))

    return build_pool


def _dropout(arguments: dict[str, Any], shape: Shape, where: str) -> nn.Module:
    return Dropout(float(arguments["dropout"]))


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
