"""Optimisers as torch.optim defines them, and gradient clipping."""

import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from cnnlab.backprop.layer import Array, Parameter
from cnnlab.errors import UsageError


class ParameterGroup(TypedDict, total=False):
    """Parameters with options of their own, as in torch: those not given are the optimiser's."""

    params: Sequence[Parameter]
    lr: float
    weight_decay: float
    momentum: float
    """Of `Muon`'s orthogonal groups."""
    orthogonal: bool
    """Whether `Muon` makes the updates of this group orthogonal."""


class Optimizer:
    """`step()` moves every parameter, in place, by its last gradient; `lr` is read from `param_groups` at each step."""

    def __init__(
        self, params: Sequence[Parameter] | Sequence[ParameterGroup], *, lr: float, weight_decay: float
    ) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            _check_not_negative(self, name, value)
        self.param_groups: list[dict[str, Any]] = []
        for group in params:
            single: Any = {"params": [group]} if isinstance(group, Parameter) else group
            self.param_groups.append({"lr": lr, "weight_decay": weight_decay, **single})
        self._state: dict[Parameter, dict[str, Any]] = {}

    def step(self) -> None:
        """One step along the gradients of the last backward."""
        for group in self.param_groups:
            for parameter in group["params"]:
                value = parameter.value
                self._update(value, np.asarray(parameter.grad, value.dtype), group, self.state(parameter))

    def _update(self, value: Array, grad: Array, group: dict[str, Any], state: dict[str, Any]) -> None:
        raise NotImplementedError

    def state(self, parameter: Parameter) -> dict[str, Any]:
        """What is remembered of a parameter, under torch's names; empty before the first step. May be filled."""
        return self._state.setdefault(parameter, {})


class SGD(Optimizer):
    """g := g + λ w;  v := μ v + g;  w := w − α v, or with Nesterov w := w − α (g + μ v)."""

    def __init__(
        self,
        params: Sequence[Parameter] | Sequence[ParameterGroup],
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        _check_not_negative(self, "momentum", momentum)
        if nesterov and momentum == 0:
            raise UsageError("SGD: nesterov needs a momentum above 0, received 0")
        self.momentum = momentum
        self.nesterov = nesterov

    def _update(self, value: Array, grad: Array, group: dict[str, Any], state: dict[str, Any]) -> None:
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * value
        if self.momentum:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = grad.copy()
            else:
                state["momentum_buffer"] *= self.momentum
                state["momentum_buffer"] += grad
            velocity = state["momentum_buffer"]
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        value -= group["lr"] * grad


NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""a, b, c of the quintic a·σ + b·σ³ + c·σ⁵, chosen by Jordan (2024) to be steep at 0 and near 1 elsewhere."""
NEWTON_SCHULZ_STEPS = 3
"""Singular values then lie within about 0.7 and 1.2 for most gradients, which is enough."""


class Muon(SGD):
    """For orthogonal groups v := μ v + g;  W := √K W / ‖W‖ − α O(g + μ v), O making orthogonal; SGD for the others.

    Each weight W (K, …) of such a group is taken as the matrix (K, inputs of a kernel). It is held at the norm √K, so
    that its kernels have length 1 on average and the learning rate means the same angle in every layer. Meant for
    layers that batch normalisation follows: their outputs do not depend on that norm (Jordan 2024).
    """

    def _update(self, value: Array, grad: Array, group: dict[str, Any], state: dict[str, Any]) -> None:
        if not group.get("orthogonal"):
            super()._update(value, grad, group, state)
            return
        velocity = state.setdefault("momentum_buffer", np.zeros_like(value))
        velocity *= group["momentum"]
        velocity += grad
        update = orthogonal((grad + group["momentum"] * velocity).reshape(len(value), -1))
        value *= math.sqrt(len(value)) / np.linalg.norm(value)
        value -= group["lr"] * update.reshape(value.shape)


def orthogonal(matrix: Array) -> Array:
    """A matrix with the singular vectors of `matrix` and singular values near 1, by Newton-Schulz iterations.

    X := a X + (b X Xᵀ + c (X Xᵀ)²) X from X = M / ‖M‖ on. (m, n) to (m, n); what is small against the largest singular
    value stays small.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Adam(Optimizer):
    """m := β₁ m + (1 − β₁) g;  v := β₂ v + (1 − β₂) g²;  w := w − α m̂ / (√v̂ + ε), m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).

    Weight decay is added to the gradient (Kingma and Ba 2015, as torch has it).
    """

    def __init__(
        self,
        params: Sequence[Parameter] | Sequence[ParameterGroup],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise UsageError(f"{type(self).__name__}: betas must be in [0, 1), received {betas}")
        self.betas = betas
        self.eps = eps

    def _update(self, value: Array, grad: Array, group: dict[str, Any], state: dict[str, Any]) -> None:
        grad = self._decay(value, grad, group)
        first, second = self.betas
        step = state["step"] = int(state.get("step", 0)) + 1
        m = state.setdefault("exp_avg", np.zeros_like(value))
        v = state.setdefault("exp_avg_sq", np.zeros_like(value))
        m += (1 - first) * (grad - m)
        v *= second
        v += (1 - second) * grad * grad
        denominator = np.sqrt(v) / math.sqrt(1 - second**step) + self.eps
        value -= group["lr"] / (1 - first**step) * (m / denominator)

    def _decay(self, value: Array, grad: Array, group: dict[str, Any]) -> Array:
        return grad + group["weight_decay"] * value if group["weight_decay"] else grad


class AdamW(Adam):
    """Adam with w := w − α λ w before the step instead of the decay in the gradient (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        params: Sequence[Parameter] | Sequence[ParameterGroup],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _decay(self, value: Array, grad: Array, group: dict[str, Any]) -> Array:
        value *= 1 - group["lr"] * group["weight_decay"]
        return grad


def clip_grad_norm(parameters: Sequence[Parameter], max_norm: float) -> float:
    """Scale all gradients so that their common 2-norm is at most `max_norm`; returns the norm before.

    The factor is min(1, max_norm / (norm + 1e-6)), as in torch's `clip_grad_norm_`.
    """
    norm = math.sqrt(sum(float(np.square(parameter.grad, dtype=np.float64).sum()) for parameter in parameters))
    factor = max_norm / (norm + 1e-6)
    if factor < 1:
        for parameter in parameters:
            grad = parameter.grad
            grad *= factor
    return norm


def _check_not_negative(optimizer: Optimizer, name: str, value: float) -> None:
    if not value >= 0:
        raise UsageError(f"{type(optimizer).__name__}: {name} must not be negative, received {value!r}")
