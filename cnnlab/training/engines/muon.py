"""Muon (Jordan 2024): the momentum of a weight matrix, made orthogonal, is its update; SGD for what is no matrix."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS = (3.4445, -4.7750, 2.0315), 3
"""As in `cnnlab.backprop.optim`, which would import SciPy before a first step."""


class Muon(torch.optim.SGD):
    """SGD with Nesterov's momentum, and Muon for the groups that have `orthogonal: True`: see `backprop.Muon`."""

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
        return inspect.unwrap(torch.optim.SGD.step)(self, closure)  # torch's wrapping would import torch._dynamo

    def _turn(self, weight: Tensor, lr: float, momentum: float, refused: Tensor | None) -> None:
        gradient = weight.grad
        assert gradient is not None
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        moving = state["momentum_buffer"]
        before = None if refused is None else (weight.clone(), moving.clone())
        moving.mul_(momentum).add_(gradient)
        # Kernels lie in memory with the channels last, so this matrix is no copy; its columns may have any order.
        aligned = gradient.add(moving, alpha=momentum).movedim(1, -1)
        update = orthogonal(aligned.flatten(1)).view(aligned.shape).movedim(-1, 1)
        weight.mul_(len(weight) ** 0.5 / weight.norm()).sub_(update.to(weight.dtype), alpha=lr)
        if before is not None and refused is not None:  # on the device: the host does not know
            for tensor, kept in zip((weight, moving), before, strict=True):
                tensor.copy_(torch.where(refused.bool(), kept, tensor))


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the singular vectors of `matrix` and singular values near 1, by Newton-Schulz iterations.

    (m, n) to (m, n), as `backprop.optim.orthogonal`; in bfloat16, which is exact enough, unless `matrix` is float64.
    Of the iterations X := P X with P = aI + bS + cS², S = X Xᵀ, only S is carried on (S := P S P, since P and S
    commute) and the product of the P, both m×m: of the large matrices there are two products, not two an iteration.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix if matrix.dtype == torch.float64 else matrix.bfloat16()
    x = x.T if len(x) > x.shape[1] else x
    x = x / (x.norm() + 1e-7)
    square, product = x @ x.T, None
    for remaining in reversed(range(NEWTON_SCHULZ_STEPS)):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if remaining:
            square = factor @ square @ factor
    x = product @ x
    return x.T.contiguous() if len(matrix) > matrix.shape[1] else x
