"""How fast the hand-derived engine is beside torch fp32: `pytest -m bench tests/benchmarks/bench_backprop.py -s`.

Each ratio is torch's time by ours, in one process, the two interleaved, median of 5; forward and backward with the
input gradient, NCHW in and out, torch computing in channels_last.
"""

import statistics
import time

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab import backprop
from cnnlab.backprop.mirror import mirror
from cnnlab.models import build, find

pytestmark = pytest.mark.bench

BATCH = 128
ROUNDS = 5


def interleaved(*functions):
    """The median seconds of each, after one round to warm up."""
    seconds = [[] for _ in functions]
    for turn in range(ROUNDS + 1):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            if turn:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


@pytest.mark.parametrize(
    ("channels", "kernels", "side", "least"),
    [(3, 32, 32, 0.25), (32, 32, 32, 0.45), (64, 64, 16, 0.6), (128, 128, 8, 0.6)],
)
def test_conv2d_beside_torch(channels, kernels, side, least):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, channels, side, side)).astype(np.float32)
    delta = rng.standard_normal((BATCH, kernels, side, side)).astype(np.float32)
    ours = backprop.Conv2d(channels, kernels, 3, padding=1)
    theirs = nn.Conv2d(channels, kernels, 3, padding=1).to(memory_format=torch.channels_last)
    images, upstream = torch.from_numpy(x), torch.from_numpy(delta)

    def torch_step():
        inputs = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        outputs = theirs(inputs)
        outputs.contiguous()
        outputs.backward(upstream.contiguous(memory_format=torch.channels_last))
        inputs.grad.contiguous()

    def own_step():
        ours(x)
        ours.backward(delta)

    torch_seconds, own_seconds = interleaved(torch_step, own_step)
    rate = torch_seconds / own_seconds
    print(
        f"\nConv2d {channels}→{kernels} {side}×{side}: torch {1e3 * torch_seconds:.1f} ms, "
        f"own {1e3 * own_seconds:.1f} ms, rate {rate:.2f} (at least {least})"
    )
    assert rate >= least


def test_training_steps_of_cnn_beside_torch():
    """Forward, loss, backward and SGD of the default `cnn` on 32×32 images: at most 3.5 times torch fp32's time."""
    rng = np.random.default_rng(0)
    net = build(find("cnn").options(arch="cnn"), 3, 10, (32, 32))
    own, loss = mirror(net), backprop.CrossEntropyLoss()
    net = net.to(memory_format=torch.channels_last)
    x = rng.standard_normal((BATCH, 3, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, BATCH)
    optimizers = torch.optim.SGD(net.parameters(), 1e-3, 0.9), backprop.SGD(own.parameters(), 1e-3, 0.9)
    images, targets = torch.from_numpy(x).contiguous(memory_format=torch.channels_last), torch.from_numpy(labels)

    def torch_step():
        optimizers[0].zero_grad()
        nn.functional.cross_entropy(net(images), targets).backward()
        optimizers[0].step()

    def own_step():
        loss(own(x), labels)
        own.backward(loss.backward())
        optimizers[1].step()

    torch_seconds, own_seconds = interleaved(torch_step, own_step)
    print(
        f"\ncnn, batch {BATCH}: torch {1e3 * torch_seconds:.0f} ms, own {1e3 * own_seconds:.0f} ms, "
        f"{own_seconds / torch_seconds:.2f} times (at most 3.5)"
    )
    assert own_seconds <= 3.5 * torch_seconds
