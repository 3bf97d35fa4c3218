"""Muon (Jordan 2024): the momentum of a weight matrix, made orthogonal, is its update; SGD for what is no matrix."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

STEPS = 3
"""Newton-Schulz iterations: singular values then lie within about 0.7 and 1.2 for most gradients, which is enough."""
A, B, C = 3.4445, -4.7750, 2.0315
"""Of the quintic a·σ + b·σ³ + c·σ⁵, chosen by Jordan (2024) to be steep at 0 and near 1 elsewhere."""
_TINY = 1e-7


class Muon(torch.optim.SGD):
    """SGD with Nesterov's momentum, and Muon for the groups that have `orthogonal: True`.

    Each weight W (K, …) of such a group is taken as the matrix (K, inputs of a kernel). It is held at the norm √K, so
    that its kernels have length 1 on average and the learning rate means the same angle in every layer. Meant for
    layers that batch normalisation follows: their outputs do not depend on that norm.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update. The gradients of orthogonal groups are used up: SGD passes over what has none."""
        refused = getattr(self, "found_inf", None)
        for group in self.param_groups:
            if group.get("orthogonal"):
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._turn(weight, group["lr"], group["momentum"], refused)
                        weight.grad = None
        return super().step(closure)

    def _turn(self, weight: Tensor, lr: float, momentum: float, refused: Tensor | None) -> None:
        gradient = weight.grad
        assert gradient is not None
        if refused is not None:
            gradient = torch.where(refused.bool(), 0, gradient)
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        moving = state["momentum_buffer"].mul_(momentum).add_(gradient)
        update = orthogonal(gradient.add(moving, alpha=momentum).flatten(1)).view_as(weight)
        weight.mul_(len(weight) ** 0.5 / weight.norm()).sub_(update.to(weight.dtype), alpha=lr)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the singular vectors of `matrix` and singular values near 1, by Newton-Schulz iterations.

    (m, n) to (m, n), in bfloat16; what is small against the largest singular value stays small.
    """
    x = matrix.bfloat16()
    x = x.T if len(x) > x.shape[1] else x
    x = x / (x.norm() + _TINY)
    for _ in range(STEPS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=B, alpha=C), x, beta=A)
    return x.T if len(matrix) > matrix.shape[1] else x
