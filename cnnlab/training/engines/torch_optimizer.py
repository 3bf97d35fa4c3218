"""The recipe's optimiser, as torch has it."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from cnnlab.recipe.schema import OptimSection
from cnnlab.training.engines.muon import Muon


def make_optimizer(net: nn.Module, optim: OptimSection, device: torch.device) -> torch.optim.Optimizer:
    """SGD, Adam, AdamW or Muon; weight decay acts on weights alone, not on biases and normalisation parameters.

    With `norm_bias_lr`, the biases of batch normalisation are a group of their own, whose `lr_factor` it is.

    Neither this nor `update` imports torch._dynamo, which would take half of the time before a first step.
    """
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    faster = _norm_biases(net) if optim.norm_bias_lr != 1 else []
    taken = set(map(id, faster))
    weights = [parameter for parameter in trained if parameter.dim() > 1]
    turned = weights[:-1] if optim.name == "muon" else []
    decayed = weights[len(turned) :]
    others = [parameter for parameter in trained if parameter.dim() <= 1 and id(parameter) not in taken]
    factor = optim.norm_bias_lr
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "lr_factor": lr_factor}
        for parameters, decay, lr_factor in (
            (decayed, optim.weight_decay, 1.0),
            (others, 0.0, 1.0),
            (faster, optim.weight_decay / factor, factor),
        )
        if parameters
    ]
    if turned:
        factor = optim.muon_lr / optim.lr
        groups.append({"params": turned, "lr_factor": factor, "momentum": optim.muon_momentum, "orthogonal": True})
    fused = device.type in ("cpu", "cuda") or None
    with _without_the_compiler():
        if optim.name in ("sgd", "muon"):
            kind = Muon if turned else torch.optim.SGD
            return kind(groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov, fused=fused)
        adam = torch.optim.Adam if optim.name == "adam" else torch.optim.AdamW
        return adam(groups, lr=optim.lr, betas=(optim.momentum, 0.999), fused=fused)


def _norm_biases(net: nn.Module) -> list[nn.Parameter]:
    norms = (layer for layer in net.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm))
    return [layer.bias for layer in norms if layer.bias is not None and layer.bias.requires_grad]


def update(optimizer: torch.optim.Optimizer) -> None:
    """`optimizer.step()`, in no reach of the compiler: torch wraps that method in calls of torch._dynamo."""
    with torch.no_grad():
        inspect.unwrap(type(optimizer).step)(optimizer)


@contextlib.contextmanager
def _without_the_compiler() -> Iterator[None]:
    """Let an optimiser be made without torch._dynamo.

    torch keeps its compiler out of `add_param_group` by a wrapper that looks for this attribute before it imports the
    compiler to ask it. Where torch does that otherwise, the import happens as ever.
    """
    method = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", None)
    if method is None or hasattr(method, "__dynamo_disable"):
        yield
        return
    method.__dynamo_disable = method
    try:
        yield
    finally:
        del method.__dynamo_disable
