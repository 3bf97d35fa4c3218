"""The recipe's optimiser, as torch has it."""

import contextlib
import inspect
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from cnnlab.recipe.schema import OptimSection
from cnnlab.training.engines.muon import Muon
from cnnlab.training.engines.parameter_groups import Trained, parameter_groups


def make_optimizer(
    net: nn.Module, optim: OptimSection, device: torch.device, lowest: Sequence[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """SGD, Adam, AdamW or Muon, with the groups of `parameter_groups`; `lowest`: the lowest layers' parameters.

    Neither this nor `update` imports torch._dynamo, which would take half of the time before a first step.
    """
    biases, low = set(map(id, _norm_biases(net))), set(map(id, lowest))
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    groups = parameter_groups(
        [Trained(each, each.dim(), id(each) in biases, id(each) in low) for each in trained], optim
    )
    fused = device.type in ("cpu", "cuda") or None
    with _without_the_compiler():
        if optim.name in ("sgd", "muon"):
            kind = Muon if optim.name == "muon" else torch.optim.SGD
            return kind(groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov, fused=fused)
        adam = torch.optim.Adam if optim.name == "adam" else torch.optim.AdamW
        return adam(groups, lr=optim.lr, betas=(optim.momentum, 0.999), fused=fused)


def _norm_biases(net: nn.Module) -> list[nn.Parameter]:
    norms = (layer for layer in net.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm))
    return [layer.bias for layer in norms if layer.bias is not None]


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
