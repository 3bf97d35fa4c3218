"""How much of the gradient arrives at each layer of a hand-derived net."""

from collections.abc import Iterator

import numpy as np

from cnnlab import backprop
from cnnlab.backprop import Array, Layer
from cnnlab.training.engines.base import LayerGradient

_ACTIVATIONS = (backprop.ReLU, backprop.Sigmoid, backprop.Tanh, backprop.GELU, backprop.SiLU, backprop.Identity)


class NumpyGradientRecorder:
    """Notes δ at the output of each weight layer, and f′ at the activation that follows it."""

    def __init__(self, net: Layer, count: int) -> None:
        self.count = count
        self.layers: list[tuple[str, Layer]] = []
        self.deltas: dict[str, Array] = {}
        self.slopes: dict[str, tuple[float, float]] = {}
        for name, layer in walk(net):
            if isinstance(layer, backprop.Linear | backprop.Conv2d):
                self._watch_weights(name, layer)
            elif isinstance(layer, _ACTIVATIONS):
                self._watch_activation(layer)

    def _watch_weights(self, name: str, layer: Layer) -> None:
        forward, backward = layer.forward, layer.backward

        def noting_forward(x: Array) -> Array:
            self.layers.append((name, layer))
            return forward(x)

        def noting_backward(delta: Array) -> Array:
            self.deltas[name] = delta
            return backward(delta)

        # Shadows the methods of this one layer, in a net that is thrown away afterwards.
        vars(layer).update(forward=noting_forward, backward=noting_backward)

    def _watch_activation(self, layer: Layer) -> None:
        forward = layer.forward

        def noting_forward(x: Array) -> Array:
            output = forward(x)
            if self.layers and (latest := self.layers[-1][0]) not in self.slopes:
                slope = layer.backward(np.ones_like(output))
                dead = (slope == 0).swapaxes(0, 1).reshape(slope.shape[1], -1).all(axis=1)  # by unit or channel
                self.slopes[latest] = (float(slope.mean(dtype=np.float64)), float(dead.mean()))
            return output

        vars(layer).update(forward=noting_forward)

    def result(self) -> list[LayerGradient]:
        """A row for each weight layer, in the order of the forward pass."""
        rows = []
        for name, layer in self.layers:
            # J is the mean loss of `count` pictures: times count, δ is that of one picture's own loss.
            delta_rms = _rms(self.deltas[name]) * self.count
            slope, dead = self.slopes.get(name, (None, None))
            rows.append(LayerGradient(name, delta_rms, _rms(layer.grads["weight"]), slope, dead))
        return rows


def walk(layer: Layer, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """Every layer below, with its dotted name."""
    for name, child in layer.children().items():
        yield prefix + name, child
        yield from walk(child, f"{prefix}{name}.")


def _rms(array: Array) -> float:
    return float(np.sqrt(np.square(array, dtype=np.float64).mean()))
