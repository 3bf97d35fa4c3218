"""What a check is made on: a layer, or a loss at a target, with an input, and its arrays by name."""

from dataclasses import dataclass
from types import MemberDescriptorType
from typing import Any

import numpy as np

from cnnlab.backprop import Array, Dropout, Layer, Loss

_DROPOUT_SEED = 20_12

FAILURES = (Exception, SystemExit)
"""What code under test may end in; a student's file may well call `exit`."""


class LayerFault(ValueError):
    """A layer does what none may do, whatever its formula."""


class LossAtTarget:
    """A loss as a layer: forward gives (J,), backward gives δ · ∂J/∂output."""

    def __init__(self, loss: Loss, target: Array) -> None:
        self.loss = loss
        self.target = target
        self.grads: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        """J as an array of one element."""
        return np.array([self.loss.forward(x, self.target)])

    def backward(self, delta: Array) -> Array:
        """∂J/∂x times the upstream gradient."""
        return delta[0] * self.loss.backward()


def dropout_generator() -> np.random.Generator:
    """The generator that every dropout layer draws its mask from, each time anew."""
    return np.random.default_rng(_DROPOUT_SEED)


def seed_dropout(layer: Any) -> None:
    """Give every dropout layer below the generator it had last time, so that a forward can be repeated."""
    if isinstance(layer, Layer):
        if isinstance(layer, Dropout):
            layer.rng = dropout_generator()
        for child in layer.children().values():
            seed_dropout(child)
    elif hasattr(layer, "rng"):
        layer.rng = dropout_generator()


@dataclass
class Subject:
    """A layer under test at an input; `reference` is a layer of `cnnlab.backprop` that should be its equal, if any."""

    layer: Any
    x: Array
    reference: Any = None

    def forward(self) -> Array:
        """The output for the input as it is now.

        Raises:
            LayerFault: it is no array of finite numbers of the input's precision, or the input was changed.
        """
        seed_dropout(self.layer)
        before = self.x.copy()
        output = _numbers(self.layer.forward(self.x), "forward")
        if not np.array_equal(self.x, before):
            self.x[...] = before
            raise LayerFault("forward changes its input in place")
        if output.dtype in (np.float16, np.float32):
            raise LayerFault(f"forward gives {output.dtype} for an input of {self.x.dtype}: too few digits to check")
        if not np.isfinite(output).all():
            raise LayerFault("forward gives values that are not finite")
        return output

    def backward(self, delta: Array) -> dict[str, Array]:
        """All gradients after a forward: `input`, and the parameters by name.

        Raises:
            LayerFault: one of them is no array of numbers, or δ or the input was changed.
        """
        given, before = delta.copy(), self.x.copy()
        below = _numbers(self.layer.backward(given), "backward")
        if not (np.array_equal(given, delta) and np.array_equal(self.x, before)):
            self.x[...] = before
            raise LayerFault("backward changes δ or the input in place")
        if isinstance(self.layer, Layer):
            grads = {name: parameter.grad for name, parameter in self.layer.named_parameters()}
        else:
            grads = self._own_grads()
        return {"input": below} | {
            name: _numbers(grad, f"grads[{name!r}]") for name, grad in grads.items() if grad is not None
        }

    def arrays(self) -> dict[str, Array]:
        """The arrays that J is differentiated by, to be changed in place: `input`, and the parameters by name.

        Of a user's layer, what the forward depends on is a parameter, whether or not it has a gradient.

        Raises:
            LayerFault: `grads` has a gradient of what is no array of floats: it could not be checked.
        """
        if isinstance(self.layer, Layer):
            return {"input": self.x} | {name: one.value for name, one in self.layer.named_parameters()}
        named = {"input": self.x}
        known = self.reference.parameter_names if isinstance(self.reference, Layer) else ()
        for name in known:
            if isinstance(array := getattr(self.layer, name, None), np.ndarray):
                named[name] = array
        for name, gradient in self._own_grads().items():
            array = getattr(self.layer, name, None)
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                named[name] = array
            elif gradient is not None and (array is not None or not hasattr(self.layer, name)):
                raise LayerFault(f"grads has {name!r}, but {_received(array, name)}; a parameter is an array of floats")
        for name, array in self._other_arrays().items():
            shared = any(np.may_share_memory(array, other) for other in named.values())
            if not shared and self._depends_on(array):
                named[name] = array
        return named

    def _other_arrays(self) -> dict[str, Array]:
        """Arrays of floats that may be parameters whose gradient was forgotten: not private, no known buffers."""
        if isinstance(self.layer, LossAtTarget):
            return {}
        buffers = self.reference.buffer_names if isinstance(self.reference, Layer) else ()
        of_classes = [
            name
            for cls in type(self.layer).__mro__
            for name, value in vars(cls).items()
            if isinstance(value, np.ndarray | MemberDescriptorType)  # the latter: of __slots__
        ]
        # Properties are not asked for, but for those two, which a class may well have made so.
        names = dict.fromkeys(("weight", "bias", *getattr(self.layer, "__dict__", {}), *of_classes))
        public = [name for name in names if name[0] != "_" and name not in buffers]
        arrays = {name: getattr(self.layer, name, None) for name in public}
        return {name: one for name, one in arrays.items() if isinstance(one, np.ndarray) and one.dtype.kind == "f"}

    def _depends_on(self, array: Array) -> bool:
        """Whether the forward gives another output with another `array`; what it writes anew each time makes none."""
        before = array.copy()
        try:
            output = self.forward()
            array += 1e-3 * np.random.default_rng(0).standard_normal(array.shape)
            return not np.array_equal(self.forward(), output)
        except FAILURES:  # such as an array that is read-only: a constant
            return False
        finally:
            if array.flags.writeable:
                array[...] = before

    def _own_grads(self) -> dict[str, Any]:
        grads = getattr(self.layer, "grads", {})
        if not isinstance(grads, dict):
            raise LayerFault(f"grads is a {type(grads).__name__}, expected a dict of arrays by the parameters' names")
        if not all(isinstance(name, str) for name in grads):
            raise LayerFault("grads has a key that is not text; expected the parameters' names")
        return grads


def _received(value: Any, name: str) -> str:
    if value is None:
        return "the layer has nothing of that name"
    kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    return f"{name} is {kind}"


def _numbers(values: Any, source: str) -> Array:
    """A copy, as an array of numbers."""
    if values is None:
        raise LayerFault(f"{source} gives None, expected an array")
    array = np.array(values)
    if array.dtype.kind not in "fiub":
        raise LayerFault(f"{source} gives values of type {array.dtype}, expected real numbers")
    return array
