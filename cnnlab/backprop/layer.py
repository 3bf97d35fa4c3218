"""What every layer is: a forward, a backward, parameters, and the checks of what it is given."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cnnlab.errors import NumericError, UsageError

Array = NDArray[Any]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class ShapeError(UsageError, ValueError):
    """An array, or an argument that decides about shapes, does not fit the layer."""


class DtypeError(UsageError, TypeError):
    """An array is of a type that the engine does not compute in."""


@dataclass(frozen=True)
class Parameter:
    """A handle on one array of one layer, which stays valid when the array is assigned anew."""

    layer: "Layer"
    name: str

    @property
    def value(self) -> Array:
        """The parameter itself; update it in place."""
        array: Array = getattr(self.layer, self.name)
        return array

    @property
    def grad(self) -> Array:
        """∂J/∂value of the last backward, summed over the batch.

        Raises:
            UsageError: there was no backward yet.
        """
        if self.name not in self.layer.grads:
            raise UsageError(f"{self.layer} has no gradient of {self.name}", hint="Call layer.backward(delta) first")
        return self.layer.grads[self.name]


class Layer:
    """A differentiable function with parameters, in the manner of `torch.nn.Module`.

    `layer(x)` is `layer.forward(x)`; `layer.backward(delta)` takes δ = ∂J/∂output, returns ∂J/∂input and leaves
    ∂J/∂parameter in `layer.grads`, summed over the batch. Arrays are float32 or float64; a layer computes in the
    dtype of its input, whatever the dtype of its parameters.
    """

    parameter_names: ClassVar[tuple[str, ...]] = ()
    buffer_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.training = True
        self.grads: dict[str, Array] = {}
        self._saved: tuple[Any, ...] | None = None
        self._output: tuple[tuple[int, ...], np.dtype[Any]] | None = None

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """The output for `x`; what backward needs is kept."""
        raise NotImplementedError

    def backward(self, delta: Array) -> Array:
        """∂J/∂x for δ = ∂J/∂output, the shape of the output; fills `grads`."""
        raise NotImplementedError

    def children(self) -> Mapping[str, "Layer"]:
        """The layers inside this one, by name."""
        return {}

    def train(self, mode: bool = True) -> "Layer":
        """Set training mode here and in all layers inside; returns self."""
        self.training = mode
        for child in self.children().values():
            child.train(mode)
        return self

    def eval(self) -> "Layer":
        """Set evaluation mode; returns self."""
        return self.train(False)

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Every parameter below, with its dotted name, in the order of torch's `named_parameters`."""
        for name in self.parameter_names:
            if getattr(self, name) is not None:
                yield prefix + name, Parameter(self, name)
        for child_name, child in self.children().items():
            yield from child.named_parameters(f"{prefix}{child_name}.")

    def parameters(self) -> list[Parameter]:
        """Every parameter below."""
        return [parameter for _, parameter in self.named_parameters()]

    def _named_arrays(self, prefix: str = "") -> Iterator[tuple[str, "Layer", str]]:
        for name in self.parameter_names + self.buffer_names:
            if getattr(self, name) is not None:
                yield prefix + name, self, name
        for child_name, child in self.children().items():
            yield from child._named_arrays(f"{prefix}{child_name}.")

    def state_dict(self) -> dict[str, Array]:
        """Parameters and buffers under torch's names (copies)."""
        return {name: np.array(getattr(layer, attribute)) for name, layer, attribute in self._named_arrays()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over parameters and buffers (copied; the dtype is that of `state`).

        Raises:
            ShapeError: a name is missing or unknown, or a shape differs.
        """
        own = {name: (layer, attribute) for name, layer, attribute in self._named_arrays()}
        if missing := sorted(own.keys() - state.keys()):
            raise ShapeError(f"{self}: the state lacks {', '.join(missing)}")
        if unknown := sorted(state.keys() - own.keys()):
            raise ShapeError(f"{self}: the state has {', '.join(unknown)}, which this layer has not")
        for name, (layer, attribute) in own.items():
            expected = np.shape(getattr(layer, attribute))
            if np.shape(state[name]) != expected:
                raise ShapeError(f"{self}: {name} has shape {expected}, received {np.shape(state[name])}")
            setattr(layer, attribute, np.array(state[name]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._describe()})"

    def _describe(self) -> str:
        return ""

    def _check_input(self, x: Array, *axes: str) -> None:
        """Refuse what is not a finite float array with these axes (any number of them where none are named)."""
        self._check_array(x, "input")
        if axes and x.ndim != len(axes):
            raise ShapeError(f"{self} expects an input of shape ({', '.join(axes)}), received {x.shape}")

    def _keep(self, output: Array, *saved: Any) -> Array:
        """`output`, after what backward needs has been put aside."""
        self._saved = saved
        self._output = (output.shape, output.dtype)
        return output

    def _recall(self, delta: Array) -> tuple[Any, ...]:
        """What forward put aside, once `delta` has been checked against the output it belongs to."""
        if self._saved is None or self._output is None:
            raise UsageError(f"{self}: backward before forward", hint="Call layer(x) first")
        shape, dtype = self._output
        self._check_array(delta, "delta")
        if delta.shape != shape:
            raise ShapeError(f"{self} expects a delta of the output's shape {shape}, received {delta.shape}")
        if delta.dtype != dtype:
            raise DtypeError(f"{self} expects a delta of the output's dtype {dtype}, received {delta.dtype}")
        return self._saved

    def _check_array(self, array: Array, role: str) -> None:
        if not isinstance(array, np.ndarray):
            raise DtypeError(f"{self} expects a NumPy array as {role}, received {type(array).__name__}")
        if array.dtype not in DTYPES:
            raise DtypeError(f"{self} expects a float32 or float64 {role}, received {array.dtype} {array.shape}")
        if array.size == 0:
            raise ShapeError(f"{self} received an empty {role} of shape {array.shape}")
        if not is_finite(array):
            count = int(np.size(array) - np.isfinite(array).sum())
            raise NumericError(f"{self} received {count} values that are not finite in a {role} of shape {array.shape}")

    def _parameter(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The parameter in the input's dtype, after a check that what was assigned has the right shape and kind."""
        array = np.asarray(getattr(self, name))
        if array.shape != shape:
            raise ShapeError(f"{self} expects {name} of shape {shape}, received {array.shape}")
        if array.dtype.kind not in "fiu":
            raise DtypeError(f"{self} expects {name} as float32 or float64, received {array.dtype} {shape}")
        return np.asarray(array, dtype)


def is_finite(array: Array) -> bool:
    """Whether no element is NaN or infinite; one fast pass, since a sum is finite where all its terms are.

    A finite sum of terms of which one is not finite does not exist; a sum that overflows is looked at again.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(array.sum())
    return math.isfinite(total) or bool(np.isfinite(array).all())


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """`dtype`, checked to be float32 or float64; None is float32, as in torch.

    Raises:
        DtypeError: it is another one.
    """
    try:
        chosen = np.dtype(np.float32 if dtype is None else dtype)
    except TypeError:
        raise DtypeError(f"expected float32 or float64, received {dtype!r}") from None
    if chosen not in DTYPES:
        raise DtypeError(f"expected float32 or float64, received {chosen}")
    return chosen


def uniform(shape: tuple[int, ...], fan_in: int, dtype: DTypeLike, rng: np.random.Generator | None) -> Array:
    """torch's default initial values: U(−1/√fan_in, 1/√fan_in), from `rng` or a fresh generator."""
    bound = 1 / math.sqrt(fan_in)
    drawn = (rng or np.random.default_rng()).uniform(-bound, bound, shape)
    return drawn.astype(float_dtype(dtype))


def positive(layer: str, name: str, value: int) -> int:
    """`value`, checked to be an integer of at least 1.

    Raises:
        ShapeError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ShapeError(f"{layer}: {name} must be an integer of at least 1, received {value!r}")
    return int(value)


def number(layer: str, name: str, value: float, least: float, most: float) -> float:
    """`value`, checked to be a finite number in [`least`, `most`].

    Raises:
        UsageError: it is not.
    """
    known = isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)
    if not known or not least <= value <= most:
        raise UsageError(f"{layer}: {name} must be a number in [{least:g}, {most:g}], received {value!r}")
    return float(value)


def pair(layer: str, name: str, value: int | tuple[int, int], *, least: int = 1) -> tuple[int, int]:
    """`value` as (vertical, horizontal), each checked to be an integer of at least `least`.

    Raises:
        ShapeError: it is not.
    """
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or any(
        isinstance(one, bool) or not isinstance(one, int | np.integer) or one < least for one in both
    ):
        raise ShapeError(
            f"{layer}: {name} must be an integer of at least {least}, or a pair of them, received {value!r}"
        )
    return int(both[0]), int(both[1])


def output_size(
    layer: Layer, x: Array, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns of the output: ⌊(size + 2·padding − kernel) / stride⌋ + 1.

    Raises:
        ShapeError: the window is larger than the padded input.
    """
    height, width = (size + 2 * pad for size, pad in zip(x.shape[2:], padding, strict=True))
    if kernel[0] > height or kernel[1] > width:
        raise ShapeError(
            f"{layer}: a window of {kernel[0]}×{kernel[1]} is larger than the input of shape {x.shape}, "
            f"{height}×{width} with its padding"
        )
    return (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1
