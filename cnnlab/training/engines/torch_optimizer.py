"""The recipe's optimiser, as torch has it."""

from typing import Any

import torch
from torch import nn

from cnnlab.recipe.schema import OptimSection


def make_optimizer(net: nn.Module, optim: OptimSection, device: torch.device) -> torch.optim.Optimizer:
    """SGD, Adam or AdamW; weight decay acts on weights alone, not on biases and normalisation parameters."""
    decayed = [parameter for parameter in net.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in net.parameters() if parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decayed, optim.weight_decay), (others, 0.0))
        if parameters
    ]
    fused = device.type in ("cpu", "cuda")
    if optim.name == "sgd":
        return torch.optim.SGD(
            groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov, fused=fused or None
        )
    kind = torch.optim.Adam if optim.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=optim.lr, betas=(optim.momentum, 0.999), fused=fused or None)
