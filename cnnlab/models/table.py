"""The layer table: shapes, kernels, receptive fields, weights, biases and multiply-adds of any net.

Measured by one forward pass over shapes alone (the meta device), so that it needs neither data nor memory: every
function that torch is asked for is seen on its way, and what an output sees of the image follows from its inputs.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cnnlab.models.products import CountProducts
from cnnlab.models.receptive_field import Call, Pair, Sight, is_view, kernel_of, tensors_in


@dataclass(frozen=True)
class LayerRow:
    """One layer: output shape of one image, kernel, stride, receptive field, parameters, macs.

    A module with children has one where it holds parameters itself or multiplies outside them, and one that never ran
    as a module, which holds parameters all the same (the last layer in nn.MultiheadAttention), neither shape nor field.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    kernel: Pair | None
    stride: Pair | None
    receptive_field: Pair | None
    """(height, width) of the image that one output sees, in pixels, borders not considered; never less than 1.

    The whole image where it cannot be known.
    """
    weights: int
    biases: int
    macs: int
    """Multiply-accumulates of one image's forward pass; convolutions and products of matrices count, nothing else."""


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
        tracer.see(image, Sight.of_image(tuple(image.shape)))
        with torch.no_grad(), tracer, CountProducts(tracer.add_macs):
            net(image)
    finally:
        for hook in hooks:
            hook.remove()
        net.train(was_training)
    tracer.add_what_did_not_run()
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
    """A module while it runs."""

    name: str
    place: int
    """Of its row among the rows: before those of the modules in it."""
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
        # Tensors are kept alive in both: an id is unique only as long as its tensor lives.
        self.given: dict[int, Tensor] = {}
        self.seen: dict[int, tuple[Tensor, Sight]] = {}

    def see(self, tensor: Tensor, sight: Sight) -> None:
        self.seen[id(tensor)] = (tensor, sight)

    def attach(self) -> list[Any]:
        hooks: list[Any] = []
        for name, layer in self.net.named_modules():
            hooks.append(layer.register_forward_pre_hook(self._enter(name or type(layer).__name__.lower())))
            hooks.append(layer.register_forward_hook(self._leave))
        return hooks

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(layer: nn.Module, inputs: Any) -> None:
            self.running.append(_Running(name, len(self.rows)))

        return enter

    def _leave(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        """A row for each layer without children, and for what holds parameters or multiplies beside its children."""
        running = self.running.pop()
        weights, biases = self._count_own(layer)
        is_leaf = next(layer.children(), None) is None
        if not (is_leaf or weights + biases + running.macs):
            return
        given = next(iter(tensors_in([output])), None)
        viewed = any(is_view(given, tensor) for tensor in tensors_in(inputs)) if given is not None else False
        if given is not None and not viewed and (is_leaf or id(given) not in self.given):
            self.elements += given.numel()
            self.given[id(given)] = given
        row = LayerRow(
            running.name,
            type(layer).__name__,
            () if given is None else tuple(given.shape[1:]),
            running.kernel,
            running.stride,
            None if given is None else self.seen_by(given).field,
            weights,
            biases,
            running.macs,
        )
        self.rows.insert(running.place, row)

    def add_what_did_not_run(self) -> None:
        """A row for each module whose parameters are in no row yet, after those of the module that holds it."""
        for name, layer in self.net.named_modules():
            weights, biases = self._count_own(layer)
            if weights + biases:
                holder = name.rpartition(".")[0]
                inside = [i for i, row in enumerate(self.rows) if f"{row.name}.".startswith(f"{holder}.")]
                row = LayerRow(name, type(layer).__name__, (), None, None, None, weights, biases, 0)
                self.rows.insert(inside[-1] + 1 if inside else len(self.rows), row)

    def _count_own(self, layer: nn.Module) -> tuple[int, int]:
        """(weights, biases) of a module without those in it, and without what was counted before."""
        fresh = [(name, p) for name, p in layer.named_parameters(recurse=False) if id(p) not in self.counted]
        self.counted.update(id(p) for _, p in fresh)
        return _count(fresh)

    def seen_by(self, tensor: Tensor) -> Sight:
        """What a tensor sees; of one that does not come from the image, the whole."""
        if id(tensor) in self.seen:
            return self.seen[id(tensor)][1]
        return Sight.of_all(tuple(tensor.shape), self.image)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        on_meta = bool(args) and isinstance(args[0], Tensor) and args[0].is_meta
        if on_meta and name in _SHAPED_AS_FIRST:
            # "Computed" on the meta device they import the compiler, which takes longer than all the rest.
            output: Any = torch.empty_like(args[0])
        elif on_meta and name == "linear" and len(args) > 1:
            output = args[0].new_empty((*args[0].shape[:-1], args[1].shape[0]))
            if args[0].shape[-1] != args[1].shape[1]:
                raise RuntimeError(f"a linear layer of {args[1].shape[1]} inputs received {args[0].shape[-1]}")
            self.add_macs(output.numel() * args[1].shape[1])
        else:
            output = function(*args, **(kwargs or {}))
        self._follow(function, args, kwargs or {}, output)
        return output

    def _follow(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Note what the results see of the image, and kernel and stride for the row that is running."""
        inputs = [tensor for tensor in tensors_in((*args, *kwargs.values())) if id(tensor) in self.seen]
        name = getattr(function, "__name__", "")
        if name.startswith("new_") or name.endswith("_like"):
            return  # shaped as the image, with nothing of it
        if not inputs or not isinstance(output, Tensor | tuple | list):
            if inputs and name == "__setitem__":
                self.see(args[0], Sight.of_all(tuple(args[0].shape), self.image))
            return
        if self.running and self.running[-1].kernel is None and (kernel := kernel_of(name, args, kwargs)):
            self.running[-1].kernel, self.running[-1].stride = kernel
        sights = tuple(self.seen[id(tensor)][1] for tensor in inputs)
        call = Call(function, args, kwargs, sights, bool(args) and args[0] is inputs[0])
        for number, result in enumerate(tensors_in([output])):
            self.see(result, call.sight_of(number, result, self.image))
        if len(inputs) > 1 and name.endswith("_") and output is args[0]:
            self._forget_views_of(output)

    def _forget_views_of(self, changed: Tensor) -> None:
        """What else lies in the memory of a tensor into which others were mixed in place: it sees the whole image."""
        for other, _ in list(self.seen.values()):
            if is_view(other, changed):
                self.see(other, Sight.of_all(tuple(other.shape), self.image))

    def add_macs(self, macs: int) -> None:
        self.macs += macs
        if self.running:
            self.running[-1].macs += macs


_SHAPED_AS_FIRST = frozenset({"batch_norm", "relu", "sigmoid", "tanh", "gelu", "silu"})


def _count(named: Iterable[tuple[str, Tensor]]) -> tuple[int, int]:
    """(weights, biases): a parameter whose own name begins or ends with `bias` is a bias."""
    weights = biases = 0
    for name, parameter in named:
        own = name.rpartition(".")[2]
        if own.startswith("bias") or own.endswith("bias"):
            biases += parameter.numel()
        else:
            weights += parameter.numel()
    return weights, biases
