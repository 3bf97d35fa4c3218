"""What a known mistake is, and how one is planted into a layer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cnnlab.backprop import Array, Layer, Parameter

Gradients = dict[str, Array]
Wrong = Callable[[Any, Array, Array, Gradients], Gradients]


@dataclass(frozen=True)
class Bug:
    """A known mistake in the backward of `layer`; `statement` says what is wrong, `wrong` computes it."""

    name: str
    layer: str
    statement: str
    wrong: Wrong


class Planted(Layer):
    """A layer whose backward has a bug."""

    def __init__(self, inner: Any, bug: Bug) -> None:
        super().__init__()
        self._inner, self._bug = inner, bug

    def children(self) -> dict[str, Layer]:
        """The layer itself, where it is one (a loss is not)."""
        return {"inner": self._inner} if isinstance(self._inner, Layer) else {}

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Those of the layer, under its own names."""
        for child in self.children().values():
            yield from child.named_parameters(prefix)

    def state_dict(self) -> Gradients:
        """That of the layer, under its own names."""
        return self._inner.state_dict() if isinstance(self._inner, Layer) else {}

    def forward(self, x: Array) -> Array:
        """The right forward."""
        self._saved = (x,)
        output: Array = self._inner.forward(x)
        return output

    def backward(self, delta: Array) -> Array:
        """The right gradients first, then what the bug makes of them."""
        assert self._saved is not None
        right = {"input": self._inner.backward(delta)}
        right |= {name: parameter.grad for name, parameter in self.named_parameters()}
        wrong = self._bug.wrong(self._inner, self._saved[0], delta, {name: one.copy() for name, one in right.items()})
        for name, parameter in self.named_parameters():
            if name in wrong:
                parameter.layer.grads[parameter.name] = wrong[name]
        return wrong.get("input", right["input"])


def scaled(name: str, factor: Callable[[Array, Array], float]) -> Wrong:
    """The right gradient of one array times a number that depends on x and δ."""
    return lambda layer, x, delta, right: {name: right[name] * factor(x, delta)} if name in right else {}


def per_image(x: Array, delta: Array) -> float:
    return 1 / len(x)


def per_position(x: Array, delta: Array) -> float:
    return 1 / (delta.shape[2] * delta.shape[3])


def twice(x: Array, delta: Array) -> float:
    return 2.0


def negative(x: Array, delta: Array) -> float:
    return -1.0


def passed(layer: Any, x: Array, delta: Array, right: Gradients) -> Gradients:
    return {"input": delta}
