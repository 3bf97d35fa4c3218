"""Muon: updates with singular values near 1 in the directions of the momentum, SGD for everything else."""

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab.backprop.optim import orthogonal as by_hand
from cnnlab.recipe.schema import OptimSection
from cnnlab.training.engines.muon import Muon, orthogonal
from cnnlab.training.engines.torch_optimizer import make_optimizer, update

MUON = OptimSection(name="muon", lr=0.1, momentum=0.9, muon_lr=0.2, muon_momentum=0.5, weight_decay=0.01)


def make_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 5))
    return net.double()


def back_propagate(net, seed):
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(16, 3, 5, 5)))
    net.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(net(x), torch.arange(16) % 5).backward()


@pytest.mark.parametrize("shape", [(8, 27), (64, 216), (27, 8), (1, 30)])
def test_an_orthogonal_matrix_keeps_the_singular_vectors(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    core = u.T @ orthogonal(matrix).float() @ v.T  # diagonal, were there no rounding to bfloat16
    assert 0.6 < core.diagonal().min() <= core.diagonal().max() < 1.3
    assert (core - core.diagonal().diag()).abs().max() < 0.05


@pytest.mark.parametrize("shape", [(8, 27), (64, 216), (27, 8), (16, 16)])
def test_both_engines_make_the_same_of_a_matrix(shape):
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert orthogonal(matrix).numpy() == pytest.approx(by_hand(matrix.numpy()), rel=1e-12, abs=1e-12)


def test_two_steps_equal_the_definition():
    net = make_net()
    optimizer, kernels = make_optimizer(net, MUON, torch.device("cpu")), net[0].weight
    assert isinstance(optimizer, Muon)
    moving = torch.zeros_like(kernels)
    for step in range(2):
        back_propagate(net, step)
        before, gradient = kernels.detach().clone(), kernels.grad.clone()
        for group in optimizer.param_groups:
            group["lr"] = MUON.lr * group["lr_factor"]
        update(optimizer)
        moving = 0.5 * moving + gradient
        direction = orthogonal((gradient + 0.5 * moving).reshape(8, 27)).reshape(kernels.shape)
        expected = before * (8**0.5 / before.norm()) - 0.2 * direction.double()
        assert kernels.detach().numpy() == pytest.approx(expected.numpy(), abs=1e-12)


def test_what_is_not_a_hidden_weight_is_left_to_sgd():
    net, other = make_net(), make_net()
    optimizer = make_optimizer(net, MUON, torch.device("cpu"))
    plain = make_optimizer(other, MUON.model_copy(update={"name": "sgd"}), torch.device("cpu"))
    for each, its in ((net, optimizer), (other, plain)):
        back_propagate(each, 0)
        update(its)
    moved = {
        name: not torch.equal(ours, theirs)
        for (name, ours), theirs in zip(net.named_parameters(), other.parameters(), strict=True)
    }
    assert [name for name, differs in moved.items() if differs] == ["0.weight"]


def test_a_step_that_was_refused_changes_nothing():
    net = make_net()
    optimizer, kernels = make_optimizer(net, MUON, torch.device("cpu")), net[0].weight
    back_propagate(net, 0)
    update(optimizer)
    before = kernels.detach().clone(), optimizer.state[kernels]["momentum_buffer"].clone()
    back_propagate(net, 1)
    kernels.grad[0] = float("nan")
    optimizer.found_inf = torch.ones(())
    update(optimizer)
    assert torch.equal(kernels, before[0])
    assert torch.equal(optimizer.state[kernels]["momentum_buffer"], before[1])
