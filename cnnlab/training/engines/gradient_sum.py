"""The gradients of all processes, added up in one all-reduce a step, with what else they have to agree on."""

from collections.abc import Iterable

import torch
from torch import Tensor

from cnnlab.training.world import Wishes, World


class GradientSum:
    """Adds up gradients, objective and wishes over the processes.

    One buffer and one collective a step: with the small nets of this field, a message's latency costs more than
    overlapping several of them with the backward pass would save.
    """

    def __init__(self, world: World, parameters: Iterable[Tensor]) -> None:
        """Reserve the buffer: every element of every parameter, then objective, stop, save."""
        self.world, self.parameters = world, [parameter for parameter in parameters if parameter.requires_grad]
        sizes = [parameter.numel() for parameter in self.parameters]
        like = self.parameters[0]
        self.buffer = torch.zeros(sum(sizes) + 3, dtype=like.dtype, device=like.device)
        *parts, self.tail = self.buffer.split([*sizes, 3])
        self.parts = [part.view(parameter.shape) for part, parameter in zip(parts, self.parameters, strict=True)]

    def __call__(self, objective: Tensor) -> Tensor:
        """Replace each gradient by its sum over the processes; the sum of the objectives, and the wishes agreed."""
        wishes = self.world.wishes
        pairs = list(zip(self.parts, self.parameters, strict=True))
        for part, parameter in pairs:
            if parameter.grad is None:
                part.zero_()
        used = [(part, parameter.grad) for part, parameter in pairs if parameter.grad is not None]
        torch._foreach_copy_([part for part, _ in used], [gradient for _, gradient in used])
        self.tail[0] = objective
        self.tail[1], self.tail[2] = float(wishes.stop), float(wishes.save)
        self.world.add_up(self.buffer)
        torch._foreach_copy_([gradient for _, gradient in used], [part for part, _ in used])
        unused = [(part, parameter) for part, parameter in pairs if parameter.grad is None]
        used_elsewhere = torch.stack([part.any() for part, _ in unused]).tolist() if unused else []
        for (part, parameter), used_there in zip(unused, used_elsewhere, strict=True):
            if used_there:  # another process's pictures took another way
                parameter.grad = part.clone()
        self.world.agreed = Wishes(*(bool(wish) for wish in self.tail[1:].tolist()))
        return self.tail[0]
