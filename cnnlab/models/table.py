"""The layer table: shapes, kernels, receptive fields, weights, biases and multiply-adds of any net.

Measured by one forward pass over shapes alone (the meta device), so that it needs neither data nor memory: every
function that torch is asked for is seen on its way, and what an output sees of the image follows from its inputs.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """What the first unit of a map sees along one axis: input positions `low` to `high`; its neighbour, `jump` on."""

    low: int = 0
    high: int = 0
    jump: int = 1

    @property
    def size(self) -> int:
        """The receptive field along this axis in pixels, borders not considered."""
        return self.high - self.low + 1

    def through(self, kernel: int, stride: int, padding: int, dilation: int) -> "Window":
        """The window behind a sliding kernel (Araujo, Norris and Sim 2019, Computing Receptive Fields)."""
        return Window(
            self.low - padding * self.jump,
            self.high + ((kernel - 1) * dilation - padding) * self.jump,
            self.jump * stride,
        )

    def joined(self, other: "Window") -> "Window":
        """What a sum or a concatenation of both sees."""
        return Window(min(self.low, other.low), max(self.high, other.high), max(self.jump, other.jump))


Windows = tuple[Window, Window]
"""Down the rows, along the columns."""


@dataclass(frozen=True)
class LayerRow:
    """One layer without children: output shape of one image, kernel, stride, receptive field, parameters, macs."""

    name: str
    type: str
    output_shape: tuple[int, ...]
    kernel: Pair | None
    stride: Pair | None
    receptive_field: Pair
    """(height, width) of the image that one output sees, in pixels, borders not considered; never less than 1."""
    weights: int
    biases: int
    macs: int
    """Multiply-accumulates of one image's forward pass; convolutions and matrix products count, nothing else."""


@dataclass(frozen=True)
class LayerTable:
    """All layers in the order they run, and the totals of the net."""

    input_shape: tuple[int, int, int]
    layers: tuple[LayerRow, ...]
    weights: int
    biases: int
    macs: int
    activation_elements: int
    """Elements that the layers give out for one image: times batch size and bytes, what training keeps of them."""

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases


def layer_table(net: nn.Module, input_shape: tuple[int, int, int]) -> LayerTable:
    """Trace `net` over one image of `input_shape` (channels, height, width).

    `net` may live on the meta device (then nothing is computed) or on a real one; it is run in evaluation mode and
    put back. Parameters shared by several layers count where they first run.
    """
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    tracer = _Tracer(net, input_shape)
    was_training = net.training
    net.eval()
    hooks = tracer.attach()
    try:
        image = torch.zeros((1, *input_shape), device=device)
        tracer.see(image, (Window(), Window()))
        with torch.no_grad(), tracer:
            net(image)
    finally:
        for hook in hooks:
            hook.remove()
        net.train(was_training)
    weights, biases = _count(net.named_parameters())
    return LayerTable(input_shape, tuple(tracer.rows), weights, biases, tracer.macs, tracer.elements)


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Nets built inside are outlines on the meta device: shapes without memory, and no initial weights drawn.

    Drawing would be in vain, and on that device it imports the compiler, which takes longer than all the rest.
    """
    with torch.device("meta"), _NoDrawing():
        yield


class _NoDrawing(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # Tensor.uniform_ and normal_, and the initialisers of torch.nn.init, which are named after them.
        if getattr(function, "__name__", "").endswith(("uniform_", "normal_")):
            return args[0] if args else (kwargs or {})["tensor"]
        return function(*args, **(kwargs or {}))


@dataclass
class _Running:
    """A layer while it runs."""

    name: str
    kernel: Pair | None = None
    stride: Pair | None = None
    macs: int = 0


class _Tracer(TorchFunctionMode):
    def __init__(self, net: nn.Module, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.net = net
        self.image = input_shape[1:]
        self.rows: list[LayerRow] = []
        self.macs = 0
        self.elements = 0
        self.running: list[_Running] = []
        self.counted: set[int] = set()
        # Tensors are kept alive beside their windows: an id is unique only as long as its tensor lives.
        self.seen: dict[int, tuple[Tensor, Windows]] = {}

    def see(self, tensor: Tensor, windows: Windows) -> None:
        self.seen[id(tensor)] = (tensor, windows)

    def attach(self) -> list[Any]:
        hooks: list[Any] = []
        for name, layer in self.net.named_modules():
            if next(layer.children(), None) is None:
                hooks.append(layer.register_forward_pre_hook(self._enter(name or type(layer).__name__.lower())))
                hooks.append(layer.register_forward_hook(self._leave))
        return hooks

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(layer: nn.Module, inputs: Any) -> None:
            self.running.append(_Running(name))

        return enter

    def _leave(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        running = self.running.pop()
        if not isinstance(output, Tensor):
            return
        fresh = [(name, p) for name, p in layer.named_parameters() if id(p) not in self.counted]
        self.counted.update(id(p) for _, p in fresh)
        weights, biases = _count(fresh)
        rows, columns = self.windows([output]) or self.whole()
        self.elements += output.numel()
        self.rows.append(
            LayerRow(
                running.name,
                type(layer).__name__,
                tuple(output.shape[1:]),
                running.kernel,
                running.stride,
                (rows.size, columns.size),
                weights,
                biases,
                running.macs,
            )
        )

    def windows(self, tensors: Iterable[Any]) -> Windows | None:
        """What these tensors see together; None where none of them comes from the image."""
        known = [self.seen[id(tensor)][1] for tensor in tensors if id(tensor) in self.seen]
        if not known:
            return None
        rows, columns = known[0]
        for other_rows, other_columns in known[1:]:
            rows, columns = rows.joined(other_rows), columns.joined(other_columns)
        return rows, columns

    def whole(self) -> Windows:
        """The whole image."""
        height, width = self.image
        return Window(0, height - 1, height), Window(0, width - 1, width)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(function, "__name__", "") in _ELEMENTWISE and args[0].is_meta:
            # "Computed" on the meta device they import the compiler, which takes longer than all the rest.
            output: Any = torch.empty_like(args[0])
        elif getattr(function, "__name__", "") == "linear" and args[0].is_meta:
            output = args[0].new_empty((*args[0].shape[:-1], args[1].shape[0]))
            if args[0].shape[-1] != args[1].shape[1]:
                raise RuntimeError(f"a linear layer of {args[1].shape[1]} inputs received {args[0].shape[-1]}")
        else:
            output = function(*args, **(kwargs or {}))
        if isinstance(output, Tensor | tuple | list):
            self._follow(function, args, kwargs or {}, output)
        return output

    def _follow(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        inputs = _tensors((*args, *kwargs.values()))
        before = self.windows(inputs)
        if before is None:
            return
        name = getattr(function, "__name__", "")
        for result in _tensors([output]):
            if name in _SLIDING:
                after = self._slide(_SLIDING[name](args, kwargs), before, inputs, result)
            elif name == "pad" and result.dim() == 4:
                left, _, top, _ = (*_argument(args, kwargs, 1, "pad", ()), 0, 0, 0, 0)[:4]
                after = before[0].through(1, 1, top, 1), before[1].through(1, 1, left, 1)
            elif name in _PRODUCTS:
                self._add_macs(result.numel() * inputs[0].shape[-1])
                after = self.whole() if name == "linear" and inputs[0].dim() == 2 else before
            else:
                source = next(tensor for tensor in inputs if id(tensor) in self.seen)
                after = before if _keeps_place(source, result) else self.whole()
            self.see(result, after)

    def _slide(self, spec: "_Sliding", before: Windows, inputs: list[Tensor], result: Tensor) -> Windows:
        """Follow a convolution or pooling; note kernel and stride for the row that is running."""
        if self.running and self.running[-1].kernel is None:
            self.running[-1].kernel, self.running[-1].stride = spec.kernel, spec.stride
        if spec.weight is not None:
            self._add_macs(result.numel() * prod(spec.weight.shape[1:]))
        rows, columns = (
            window.through(*sizes)
            for window, sizes in zip(
                before, zip(spec.kernel, spec.stride, spec.padding, spec.dilation, strict=True), strict=True
            )
        )
        return rows, columns

    def _add_macs(self, macs: int) -> None:
        self.macs += macs
        if self.running:
            self.running[-1].macs += macs


@dataclass(frozen=True)
class _Sliding:
    """A sliding window: its sizes (rows, columns), and the weight it multiplies by, if any."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    weight: Tensor | None = field(default=None)


def _pair(value: Any) -> Pair:
    if isinstance(value, int):
        return (value, value)
    values = tuple(value)
    return (values[0], values[-1])


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str, default: Any) -> Any:
    value = args[position] if len(args) > position else kwargs.get(name, default)
    return default if value is None else value


def _conv2d(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Sliding:
    weight: Tensor = _argument(args, kwargs, 1, "weight", None)
    kernel = _pair(tuple(weight.shape[2:]))
    dilation = _pair(_argument(args, kwargs, 5, "dilation", 1))
    padding = _argument(args, kwargs, 4, "padding", 0)
    if padding == "same":
        padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    elif padding == "valid":
        padding = 0
    return _Sliding(kernel, _pair(_argument(args, kwargs, 3, "stride", 1)), _pair(padding), dilation, weight)


def _pool2d(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Sliding:
    kernel = _pair(_argument(args, kwargs, 1, "kernel_size", None))
    stride = _argument(args, kwargs, 2, "stride", None)
    return _Sliding(
        kernel,
        kernel if stride is None or stride == [] else _pair(stride),
        _pair(_argument(args, kwargs, 3, "padding", 0)),
    )


def _max_pool2d(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Sliding:
    sliding = _pool2d(args, kwargs)
    dilation = _pair(_argument(args, kwargs, 4, "dilation", 1))
    return _Sliding(sliding.kernel, sliding.stride, sliding.padding, dilation)


_SLIDING: Mapping[str, Callable[[tuple[Any, ...], Mapping[str, Any]], _Sliding]] = {
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "_max_pool2d": _max_pool2d,
    "boolean_dispatch": _max_pool2d,
    "avg_pool2d": _pool2d,
}
_ELEMENTWISE = frozenset({"batch_norm", "relu", "sigmoid", "tanh", "gelu", "silu"})
"""Functions whose output is shaped as their first argument."""
_PRODUCTS = frozenset({"linear", "matmul", "mm", "bmm", "addmm"})


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """All tensors among the values, and those in lists and tuples among them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(_tensors(value))
    return found


def _keeps_place(source: Tensor, result: Tensor) -> bool:
    """Whether an output's position still means the same place in the image: nothing spatial was mixed."""
    if source.dim() == 4 and result.dim() == 4:
        return source.shape[2:] == result.shape[2:]
    if source.dim() == 4 and result.dim() == 2:
        return result.numel() == source.numel()  # flatten: each number keeps its place
    return True


def _count(named: Iterable[tuple[str, Tensor]]) -> tuple[int, int]:
    """(weights, biases): a parameter whose own name ends in `bias` is a bias."""
    weights = biases = 0
    for name, parameter in named:
        if name.rpartition(".")[2].endswith("bias"):
            biases += parameter.numel()
        else:
            weights += parameter.numel()
    return weights, biases
