"""The frozen first layer that whitens patches of the images (Page 2018; Jordan 2024, airbench)."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 5e-4
"""Added to the eigenvalues: noise in directions that hardly occur is not blown up."""
IMAGES = 5000
"""Images at most from which the statistics of patches are taken."""
_AT_ONCE = 250


class Whitening(nn.Conv2d):
    """A convolution whose kernels are the patches' eigenvectors and their negatives, by 1/√eigenvalue: not trained.

    (N, C, H, W) to (N, 2·C·size², H − size + 1, W − size + 1). Its bias is trained in the first `bias_epochs` epochs.
    Computed without autocast: small eigenvalues make large kernels, whose sums bf16 would round away.
    """

    def __init__(self, in_channels: int, size: int = 2, bias_epochs: int = 3) -> None:
        super().__init__(in_channels, 2 * in_channels * size**2, size)
        self.bias_epochs = bias_epochs
        self.weight.requires_grad_(False)
        self.requires_bias_grad(1)

    def forward(self, x: Tensor) -> Tensor:
        """The whitened patches, in the dtype of the weights."""
        if x.device.type == "meta" or not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x.to(self.weight.dtype), self.weight, self.bias)

    def requires_bias_grad(self, epoch: int) -> None:
        """Say whether the bias is trained in an epoch (from 1)."""
        if self.bias is not None:
            self.bias.requires_grad_(epoch <= self.bias_epochs)

    @torch.no_grad()
    def fit(self, images: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
        """Take the kernels from the training images.

        Args:
            images: (N, H, W, C) uint8; at most `IMAGES` of them are looked at, evenly spread.
            mean, std: (C,) by which an engine normalises levels 0-255.
        """
        size = self.kernel_size[0]
        chosen = images[:: max(1, math.ceil(len(images) / IMAGES))]
        products, count = np.zeros((self.out_channels // 2,) * 2), 0
        for start in range(0, len(chosen), _AT_ONCE):
            normalised = (chosen[start : start + _AT_ONCE] - mean) / std  # (n, H, W, C)
            windows = np.lib.stride_tricks.sliding_window_view(normalised, (size, size), axis=(1, 2))
            patches = windows.reshape(-1, self.out_channels // 2)  # (n · places, C · size²), as a kernel is laid out
            products += patches.T @ patches
            count += len(patches)
        values, vectors = np.linalg.eigh(products / count)
        kernels = (vectors / np.sqrt(values + EPSILON)).T  # (C · size², C · size²), a kernel a row
        kernels = np.concatenate([kernels[::-1], -kernels[::-1]])  # the strongest direction first
        self.weight.copy_(torch.from_numpy(kernels.reshape(self.weight.shape)))


def fit(net: nn.Module, images: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    """Fit every whitening layer of a net: they look at the images themselves."""
    for layer in net.modules():
        if isinstance(layer, Whitening):
            layer.fit(images, mean, std)
