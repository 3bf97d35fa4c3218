"""The frozen first layer: what it makes of patches, and what of it is trained."""

import numpy as np
import pytest
import torch

from cnnlab.models import whitening
from cnnlab.models.whitening import EPSILON, IMAGES, Whitening


def pictures(count=60, channels=3):
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(count, 9, 9, channels)).cumsum(axis=1).cumsum(axis=2)
    return np.clip(128 + 20 * smooth, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("channels", "size"), [(3, 2), (1, 2), (2, 3)])
def test_patches_become_uncorrelated_and_of_variance_near_one(channels, size):
    images = pictures(channels=channels)
    mean, std = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))
    layer = Whitening(channels, size).double()
    layer.fit(images, mean, std)
    torch.nn.init.zeros_(layer.bias)
    out = layer(torch.from_numpy(((images - mean) / std).transpose(0, 3, 1, 2).copy())).detach()
    directions = channels * size**2
    assert out.shape == (60, 2 * directions, 10 - size, 10 - size)
    assert torch.equal(out[:, :directions], -out[:, directions:])
    flat = out[:, :directions].transpose(0, 1).flatten(1).numpy()
    second_moments = flat @ flat.T / flat.shape[1]
    eigenvalues = EPSILON * np.diag(second_moments) / (1 - np.diag(second_moments))  # m = λ / (λ + ε)
    assert second_moments - np.diag(np.diag(second_moments)) == pytest.approx(0, abs=1e-9)
    assert (np.diff(eigenvalues) < 0).all()
    assert np.diag(second_moments)[0] == pytest.approx(1, abs=1e-3)


def test_of_many_images_some_are_looked_at_evenly():
    images = np.repeat(pictures(10), 2 * IMAGES // 10, axis=0)
    images[1::2] = 0
    with_zeros, without = Whitening(3), Whitening(3)
    with_zeros.fit(images, np.zeros(3), np.full(3, 255.0))
    without.fit(images[::2], np.zeros(3), np.full(3, 255.0))
    assert torch.equal(with_zeros.weight, without.weight)


def test_kernels_are_never_trained_and_the_bias_in_its_epochs_alone():
    layer = Whitening(3, bias_epochs=2)
    trained = []
    for epoch in (1, 2, 3):
        layer.requires_bias_grad(epoch)
        trained.append((layer.weight.requires_grad, layer.bias.requires_grad))
    assert trained == [(False, True), (False, True), (False, False)]


def test_autocast_leaves_it_in_full_precision():
    layer = Whitening(3)
    images = torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(images), layer.cpu()(images))
        assert layer(images).dtype == torch.float32
        assert torch.nn.functional.conv2d(images, layer.weight).dtype == torch.bfloat16


def test_every_whitening_layer_of_a_net_is_fitted():
    net = torch.nn.Sequential(Whitening(3), torch.nn.ReLU())
    before = net[0].weight.clone()
    whitening.fit(net, pictures(), np.full(3, 128.0), np.full(3, 60.0))
    assert not torch.equal(net[0].weight, before)
