"""A whole net of `cnnlab.models`: its mirror's gradients against differences and against the torch net's own."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from cnnlab.backprop import Array, Layer, Sequential
from cnnlab.backprop.mirror import mirror
from cnnlab.gradient_check.autograd import Twin
from cnnlab.gradient_check.check import Tolerance, compare
from cnnlab.gradient_check.subject import Subject, seed_dropout
from cnnlab.gradient_check.verdicts import Check
from cnnlab.models import build
from cnnlab.models.options import ModelOptions

IMAGE = (3, 32, 32)
CLASSES = 10
BATCH = 3
"""With two, a batch norm over rows gives ±1, and nearly every point is a kink."""
SAMPLE = 4
"""Elements of each parameter that are checked by differences; autograd checks all."""
_ROUNDING = 1e-13
"""Of the net's greatest gradient: what lies below is rounding, such as ∂J/∂b before a batch norm, which is 0."""


def check_net(options: ModelOptions, label: str, seed: int) -> Iterator[Check]:
    """Every parameter of the net and its input, in training mode, in float64, with a random upstream gradient."""
    rng = np.random.default_rng([seed, *label.encode()])
    torch.manual_seed(seed % 2**63)  # it takes no more bits
    net = build(options, IMAGE[0], CLASSES, IMAGE[1:]).double().train()
    mirrored = mirror(net, np.float64)
    x = rng.standard_normal((BATCH, *IMAGE))
    twin = Twin(mirrored, net)
    subject = Subject(mirrored, x)
    delta = rng.standard_normal(subject.forward().shape)
    gradients = subject.backward(delta)
    _, exact, _ = twin.run(x, delta)
    floor = _ROUNDING * max(float(np.abs(gradient).max()) for gradient in gradients.values())
    tolerance = Tolerance(SAMPLE, floor, noise=True)
    case = f"{'×'.join(map(str, IMAGE))}, batch of {BATCH}"
    for name, array in subject.arrays().items():
        yield compare(
            (label, case, name),
            _forward_from(mirrored, name, x),
            array,
            delta,
            (gradients[name], exact.get(name)),
            rng,
            tolerance,
        )


def _forward_from(net: Layer, name: str, x: Array) -> Callable[[], Array]:
    """The net's output, computed anew from the first layer that `name` belongs to: those below do not change."""
    first = name.split(".")[0]
    layers: list[tuple[str, Any]] = list(net.children().items())
    if not isinstance(net, Sequential) or first not in net.children():
        return lambda: _seeded(net, x)
    start = [child for child, _ in layers].index(first)
    seed_dropout(net)
    for _, layer in layers[:start]:
        x = layer.forward(x)
    rest = Sequential(dict(layers[start:]))
    return lambda: _seeded(rest, x)


def _seeded(net: Layer, x: Array) -> Array:
    seed_dropout(net)
    return net.forward(x)
