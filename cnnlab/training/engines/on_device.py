"""What keeps a device busy: the training set lies on it and is augmented there, and the host never waits for it."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cnnlab.data import Moves, pick

PART_OF_MEMORY = 0.5
"""A training set that needs more of what a device has free stays on the host."""
Picker = Callable[[Moves], "np.ndarray | Tensor"]


def picker(images: np.ndarray, cutout: int, fill: np.ndarray, device: torch.device) -> Picker:
    """What picks and augments a batch: on the device, if that is not the CPU and has room for the training set."""
    if device.type == "cpu" or not _has_room(device, images.nbytes):
        return partial(pick, images, cutout=cutout, fill=fill)
    return DevicePictures(images, cutout, fill, device)


def _has_room(device: torch.device, needed: int) -> bool:
    return device.type != "cuda" or needed <= PART_OF_MEMORY * torch.cuda.mem_get_info(device)[0]


class DevicePictures:
    """A training set on a device; what it picks equals `cnnlab.data.pick` bit for bit."""

    def __init__(self, images: np.ndarray, cutout: int, fill: np.ndarray, device: torch.device) -> None:
        """Copy (N, H, W, C) uint8 to the device."""
        self.images = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device)  # as in `sent`
        self.cutout, self.device = cutout, device
        self.fill = torch.from_numpy(fill).to(device)
        self.lines, self.columns = (torch.arange(length, device=device) for length in images.shape[1:3])

    def __call__(self, moves: Moves) -> Tensor:
        """(b, H, W, C) uint8 on the device."""
        indices = self._sent(moves.indices)
        if moves.vertical is None or moves.horizontal is None:
            out = self.images[indices]
        else:
            vertical, horizontal = self._sent(moves.vertical), self._sent(moves.horizontal)
            out = self.images[indices[:, None, None], vertical[:, :, None], horizontal[:, None, :]]
        if moves.corners is not None:
            top, left = self._sent(moves.corners)[:, :, None]  # (b, 1) each
            rows = (self.lines >= top) & (self.lines < top + self.cutout)  # (b, H)
            columns = (self.columns >= left) & (self.columns < left + self.cutout)  # (b, W)
            out = torch.where((rows[:, :, None] & columns[:, None, :])[..., None], self.fill, out)
        return out

    def _sent(self, array: np.ndarray) -> Tensor:
        return sent(array, self.device)


def sent(array: np.ndarray, device: torch.device) -> Tensor:
    """An array on its way to a device; the host does not wait for its arrival."""
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))  # torch warns of what may not be written to
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
