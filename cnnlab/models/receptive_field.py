"""Receptive fields: what each unit of a tensor sees of the image, from what the function's inputs saw.

Only what is known to keep its place does; after any other function a unit is said to see the whole image. Statistics
that a normalisation takes over a map are not counted as seeing it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import Any

import torch
from torch import Tensor

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """What the first unit of a map sees along one axis: input positions `low` to `high`; its neighbour, `jump` on.

    A jump of 0: every unit sees all there is. None: neighbours are at no fixed distance.
    """

    low: int = 0
    high: int = 0
    jump: int | None = 1

    @property
    def size(self) -> int:
        """The receptive field along this axis in pixels, borders not considered."""
        return self.high - self.low + 1

    def through(self, kernel: int, stride: int, padding: int, dilation: int) -> "Window":
        """The window behind a sliding kernel (Araujo, Norris and Sim 2019, Computing Receptive Fields)."""
        assert self.jump is not None
        return Window(
            self.low - padding * self.jump,
            self.high + ((kernel - 1) * dilation - padding) * self.jump,
            self.jump * stride,
        )

    def joined(self, other: "Window") -> "Window":
        """What a sum or a concatenation of both sees."""
        if self.jump == 0 or other.jump == 0:
            return self if self.jump == 0 else other
        jump = self.jump if self.jump == other.jump else None
        return Window(min(self.low, other.low), max(self.high, other.high), jump)


@dataclass(frozen=True)
class Sight:
    """What the units of a tensor see of the image."""

    shape: tuple[int, ...]
    windows: tuple[Window, Window]
    """Down the rows, along the columns."""
    along: tuple[frozenset[int], frozenset[int]]
    """The tensor's dimensions, counted from the last, along which the place changes: in the rows, in the columns."""

    @classmethod
    def of_image(cls, shape: tuple[int, ...]) -> "Sight":
        """(N, C, H, W): each pixel sees itself."""
        return cls(shape, (Window(), Window()), _ROWS_AND_COLUMNS)

    @classmethod
    def of_all(cls, shape: tuple[int, ...], image: Pair) -> "Sight":
        """Every unit sees the whole image."""
        rows, columns = (Window(0, side - 1, 0) for side in image)
        return cls(shape, (rows, columns), (frozenset(), frozenset()))

    @property
    def field(self) -> Pair:
        """(height, width) in pixels."""
        return self.windows[0].size, self.windows[1].size

    def is_map(self) -> bool:
        """Whether rows and columns are the last two dimensions, at fixed distances: what a kernel slides over."""
        return self.along == _ROWS_AND_COLUMNS and None not in (window.jump for window in self.windows)

    def changes_along(self, dimension: int) -> bool:
        """Whether units along that dimension, counted from the last, see different places."""
        return dimension in self.along[0] | self.along[1]


_ROWS_AND_COLUMNS = (frozenset({-2}), frozenset({-1}))


def joined(sights: Iterable[Sight]) -> Sight:
    """What units see that depend on units of all these tensors, place by place, aligned from the last dimension."""
    return reduce(
        lambda a, b: Sight(
            a.shape,
            (a.windows[0].joined(b.windows[0]), a.windows[1].joined(b.windows[1])),
            (a.along[0] | b.along[0], a.along[1] | b.along[1]),
        ),
        sights,
    )


@dataclass(frozen=True)
class Sliding:
    """A sliding window: its sizes (rows, columns)."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def after(self, sight: Sight, shape: tuple[int, ...]) -> Sight:
        """What the units of the output see."""
        rows, columns = (
            window.through(*sizes)
            for window, sizes in zip(
                sight.windows, zip(self.kernel, self.stride, self.padding, self.dilation, strict=True), strict=True
            )
        )
        return Sight(shape, (rows, columns), sight.along)


def kernel_of(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Pair, Pair] | None:
    """(kernel, stride) of a convolution or pooling; None for any other function."""
    read = _conv2d if name == "conv_transpose2d" else _SLIDING.get(name)
    return None if read is None else (read(args, kwargs).kernel, read(args, kwargs).stride)


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """All tensors among the values, and those in lists, tuples and dictionaries among them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(tensors_in(value))
        elif isinstance(value, Mapping):
            found.extend(tensors_in(value.values()))
    return found


@dataclass(frozen=True)
class Call:
    """A function that was asked for, with what its tensors that come from the image see, in their order."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    sights: tuple[Sight, ...]
    first: bool
    """Whether the first argument is the first of these tensors."""

    @property
    def name(self) -> str:
        """The function's own, as torch calls it."""
        return getattr(self.function, "__name__", "")

    def sight_of(self, number: int, result: Tensor, image: Pair) -> Sight:
        """What the units of its `number`th result see of an image of (height, width)."""
        shape = tuple(result.shape)
        everything = Sight.of_all(shape, image)
        if not self.first and self.name not in _JOINING:
            return everything if not _is_elementwise(self.name) else self._place_by_place(shape) or everything
        return self._followed(number, result, everything) or everything

    def _followed(self, number: int, result: Tensor, everything: Sight) -> Sight | None:
        """None where it cannot be known."""
        name, shape, source, together = self.name, everything.shape, self.sights[0], joined(self.sights)
        if name in _SLIDING:
            return _SLIDING[name](self.args, self.kwargs).after(together, shape) if together.is_map() else None
        if name in _ADAPTIVE:
            return _adapted(source, everything) if source.is_map() else None
        if name == "pad":
            return _padded(source, shape, _argument(self.args, self.kwargs, 1, "pad", ()))
        if name in _JOINING:
            return _concatenated(replace(together, shape=shape), _argument(self.args, self.kwargs, 1, "dim", 0))
        if name in _RESHAPING or is_view(result, self.args[0]):
            if name in _REORDERING:  # with sides of 1 it would not show where they went
                source = replace(source, shape=tuple(max(size, 2) for size in source.shape))
            try:
                views = tensors_in([self.function(_probe(source.shape), *self.args[1:], **self.kwargs)])
            except Exception:  # noqa: BLE001  # a view of complex numbers, or of tensors on two devices
                return None
            return replace(_viewed(source, views[number]), shape=shape)
        if name in _PRODUCTS:
            over_channels = len(self.sights) == 1 and result.dim() == len(source.shape) > 2
            return replace(source, shape=shape) if over_channels and not source.changes_along(-1) else None
        if name in _OVER_CHANNELS and len(shape) == len(source.shape):
            stays = all(shape[d] == source.shape[d] for d in source.along[0] | source.along[1])
            return replace(together, shape=shape) if stays else None
        return self._place_by_place(shape) if _is_elementwise(name) else None

    def _place_by_place(self, shape: tuple[int, ...]) -> Sight | None:
        fits = all(_broadcasts(sight.shape, shape) for sight in self.sights)
        return replace(joined(self.sights), shape=shape) if fits else None


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(size in (1, whole) for size, whole in pairs)


def _adapted(sight: Sight, everything: Sight) -> Sight:
    """Adaptive pooling: a sliding window where the sides divide, and for one output all there is."""
    windows = []
    for axis, window in enumerate(sight.windows):
        before, after = sight.shape[axis - 2], everything.shape[axis - 2]
        divides = before % after == 0 and (after > 1 or before == 1)
        size = before // after
        windows.append(window.through(size, size, 0, 1) if divides else everything.windows[axis])
    return Sight(everything.shape, (windows[0], windows[1]), sight.along)


def _padded(sight: Sight, shape: tuple[int, ...], pads: Sequence[int]) -> Sight:
    """`pads` are (before, after) of the last dimension, of the one before it and so on."""
    windows = []
    for window, along in zip(sight.windows, sight.along, strict=True):
        place = min((2 * (-1 - dimension) for dimension in along), default=len(pads))
        windows.append(window.through(1, 1, pads[place], 1) if window.jump and place < len(pads) else window)
    return Sight(shape, (windows[0], windows[1]), sight.along)


def _concatenated(sight: Sight, dimension: int) -> Sight:
    """Side by side along an axis of the image, neighbours are at no fixed distance."""
    dimension = dimension if dimension < 0 else dimension - len(sight.shape)
    rows, columns = (
        replace(window, jump=None) if dimension in along and window.jump else window
        for window, along in zip(sight.windows, sight.along, strict=True)
    )
    return replace(sight, windows=(rows, columns))


def is_view(result: Tensor, source: Tensor) -> bool:
    """Whether two tensors, which are not the same one, lie in the same memory."""
    return result is not source and result.untyped_storage()._cdata == source.untyped_storage()._cdata


def _probe(shape: tuple[int, ...]) -> Tensor:
    """A contiguous tensor of that shape, without memory."""
    return torch.empty(shape, device="meta")


def _viewed(sight: Sight, view: Tensor) -> Sight:
    """Follow a view by its strides: `view` is one of a contiguous tensor of the source's shape.

    A step of s elements along a dimension of the view moves the place along a dimension of the source, of n units
    that lie t elements apart, where s reaches t and is no multiple of n·t.
    """
    strides, windows, moves = _probe(sight.shape).stride(), [], []
    for window, along in zip(sight.windows, sight.along, strict=True):
        moved = {
            i - view.dim()
            for d in along
            for i, (count, step) in enumerate(zip(view.shape, view.stride(), strict=True))
            if step * (count - 1) >= strides[d] and step % (strides[d] * sight.shape[d])
        }
        if window.jump and len(along) == len(moved) == 1:
            [source], [to] = along, moved
            window = _stepped(window, strides[source], sight.shape[source], view, to)
        elif window.jump:
            window = replace(window, jump=None)
        windows.append(window)
        moves.append(frozenset(moved))
    return Sight(tuple(view.shape), (windows[0], windows[1]), (moves[0], moves[1]))


def _stepped(window: Window, stride: int, units: int, view: Tensor, to: int) -> Window:
    """The window behind a slice x[a::b], say, of `units` that lie `stride` elements apart."""
    step, start = int(view.stride(to)), int(view.storage_offset()) // stride % units
    if window.jump is None or step % stride or step * (view.shape[to] - 1) >= stride * units:
        return replace(window, jump=None)  # merged with another dimension
    return Window(window.low + start * window.jump, window.high + start * window.jump, window.jump * step // stride)


@cache
def _is_elementwise(name: str) -> bool:
    """Whether each number of the output depends on the numbers at its own place alone (or a normalisation's)."""
    plain = name.strip("_")
    plain = _OPERATORS.get(plain, plain)
    packet = getattr(torch.ops.aten, plain, None)
    overloads = packet.overloads() if isinstance(packet, torch._ops.OpOverloadPacket) else []
    pointwise = any(torch.Tag.pointwise in getattr(packet, overload).tags for overload in overloads)
    return plain in _KEEPING_PLACE or pointwise


def _pair(value: Any) -> Pair:
    if isinstance(value, int):
        return (value, value)
    values = tuple(value)
    return (values[0], values[-1])


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str, default: Any) -> Any:
    value = args[position] if len(args) > position else kwargs.get(name, default)
    return default if value is None else value


def _conv2d(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sliding:
    weight: Tensor = _argument(args, kwargs, 1, "weight", None)
    kernel = _pair(tuple(weight.shape[2:]))
    dilation = _pair(_argument(args, kwargs, 5, "dilation", 1))
    padding = _argument(args, kwargs, 4, "padding", 0)
    if padding == "same":
        padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    elif padding == "valid":
        padding = 0
    return Sliding(kernel, _pair(_argument(args, kwargs, 3, "stride", 1)), _pair(padding), dilation)


def _pool2d(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sliding:
    kernel = _pair(_argument(args, kwargs, 1, "kernel_size", None))
    stride = _argument(args, kwargs, 2, "stride", None)
    return Sliding(
        kernel,
        kernel if stride is None or stride == [] else _pair(stride),
        _pair(_argument(args, kwargs, 3, "padding", 0)),
    )


def _max_pool2d(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sliding:
    return replace(_pool2d(args, kwargs), dilation=_pair(_argument(args, kwargs, 4, "dilation", 1)))


_SLIDING: Mapping[str, Callable[[tuple[Any, ...], Mapping[str, Any]], Sliding]] = {
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "max_pool2d_with_indices": _max_pool2d,
    "avg_pool2d": _pool2d,
}
_ADAPTIVE = frozenset({"adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices"})
_JOINING = frozenset({"cat", "concat", "concatenate"})
_RESHAPING = frozenset({"reshape", "reshape_as", "flatten", "ravel"})
"""Views where the memory allows it, and copies otherwise."""
_REORDERING = frozenset({"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "t"})
_PRODUCTS = frozenset({"linear", "matmul", "__matmul__", "mm", "bmm"})
_OVER_CHANNELS = frozenset(
    {"mean", "sum", "prod", "amax", "amin", "max", "min", "std", "var", "norm", "vector_norm", "logsumexp", "glu"}
)
"""Functions over some dimensions, whose sizes tell which."""
_OPERATORS = {"rsub": "sub", "rdiv": "div", "rpow": "pow", "floordiv": "div", "rfloordiv": "div", "rmod": "remainder"}
_KEEPING_PLACE = frozenset({
    "batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm", "local_response_norm", "normalize",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "channel_shuffle",
    "hardswish", "prelu", "softsign", "tanhshrink", "logsigmoid",
    "contiguous", "to", "type", "type_as", "float", "double", "half", "bfloat16", "cpu", "cuda", "requires_grad",
})  # fmt: skip
"""What torch does not tag as pointwise."""
