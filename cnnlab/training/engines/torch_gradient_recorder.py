"""How much of the gradient arrives at each layer of a torch net."""

from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.models.layers import ACTIVATIONS
from cnnlab.training.engines.base import LayerGradient

_ACTIVATION_TYPES = tuple(type(make()) for make in ACTIVATIONS.values())


class TorchGradientRecorder:
    """Hooks that note δ at the output of each weight layer, and f′ at the activation that follows it."""

    def __init__(self, net: nn.Module, count: int) -> None:
        self.count = count
        self.layers: list[tuple[str, nn.Linear | nn.Conv2d]] = []
        self.deltas: dict[str, Tensor] = {}
        self.slopes: dict[str, tuple[float, float]] = {}
        self.latest: str | None = None
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.register_forward_hook(self._watch(name, layer))
            elif isinstance(layer, _ACTIVATION_TYPES):
                layer.register_forward_pre_hook(self._activation)

    def _watch(self, name: str, layer: nn.Linear | nn.Conv2d) -> Any:
        def forward(_: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            self.layers.append((name, layer))
            self.latest = name
            output.register_hook(lambda delta: self.deltas.__setitem__(name, delta.detach()))
            return output

        return forward

    def _activation(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self.latest is None or self.latest in self.slopes:
            return
        with torch.enable_grad():
            z = inputs[0].detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(layer.forward(z.clone()).sum(), z)  # it may work in place
        dead = (slope == 0).transpose(0, 1).flatten(1).all(dim=1)  # by unit or channel
        self.slopes[self.latest] = (float(slope.mean()), float(dead.double().mean()))

    def result(self) -> list[LayerGradient]:
        rows = []
        for name, layer in self.layers:
            # J is the mean loss of `count` pictures: times count, δ is that of one picture's own loss.
            delta = self.deltas.get(name)  # None where the outputs do not depend on the layer
            weight = layer.weight.grad
            slope, dead = self.slopes.get(name, (None, None))
            rows.append(
                LayerGradient(
                    name,
                    0.0 if delta is None else float((delta.double() * self.count).square().mean().sqrt()),
                    0.0 if weight is None else float(weight.double().square().mean().sqrt()),
                    slope,
                    dead,
                )
            )
        return rows
