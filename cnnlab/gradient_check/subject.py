"""What a check is made on: a layer, or a loss at a target, with an input, and its arrays by name."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnlab.backprop import Array, Dropout, Layer, Loss

_DROPOUT_SEED = 20_12


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
        """The output for the input as it is now."""
        seed_dropout(self.layer)
        output: Array = self.layer.forward(self.x)
        return output

    def backward(self, delta: Array) -> dict[str, Array]:
        """All gradients after a forward: `input`, and the parameters by name."""
        below = np.array(self.layer.backward(delta))
        if isinstance(self.layer, Layer):
            grads = {name: parameter.grad for name, parameter in self.layer.named_parameters()}
        else:
            grads = dict(getattr(self.layer, "grads", {}))
        return {"input": below} | {name: np.array(grad) for name, grad in grads.items()}

    def arrays(self) -> dict[str, Array]:
        """The arrays that J is differentiated by, to be changed in place: `input`, and the parameters by name."""
        if isinstance(self.layer, Layer):
            return {"input": self.x} | {name: one.value for name, one in self.layer.named_parameters()}
        named = {"input": self.x}
        for name in getattr(self.layer, "grads", {}):
            if isinstance(array := getattr(self.layer, name, None), np.ndarray):
                named[name] = array
        return named
