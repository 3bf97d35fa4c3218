"""The hand-derived engine beside torch fp32: forward and backward with the input gradient, NCHW in and out."""

from collections.abc import Iterator

import numpy as np
import torch
from measure import Mark, Row, Table, interleave, timed, times_as_fast
from torch import nn

from cnnlab import backprop
from cnnlab.backprop.mirror import mirror
from cnnlab.models import build, find

BATCH = 128
CONVOLUTIONS = {(3, 32, 32): 0.25, (32, 32, 32): 0.45, (64, 64, 16): 0.6, (128, 128, 8): 0.6}
"""(channels, kernels, side): at least how many times as fast as torch."""
WHOLE_STEP = Mark(least=1 / 3.5)


def tables(*, rounds: int, threads: int) -> Iterator[Table]:
    """Measure 3×3 convolutions, and training steps of the default `cnn`; torch computes in channels_last."""
    torch.set_num_threads(threads)
    backprop.set_threads(threads)
    rows = []
    for (channels, kernels, side), least in CONVOLUTIONS.items():
        rows += _rows(f"Conv2d {channels}→{kernels}, {side}×{side}", *_convolution(channels, kernels, side), rounds,
                      Mark(least=least))  # fmt: skip
    rows += _rows("training step of cnn, 32×32", *_training_step(), rounds, WHOLE_STEP)
    title = f"NumPy engine: batch {BATCH}, fp32, {threads} threads, {rounds} rounds in turns"
    yield Table(title, "ms", "cnnlab is ×", rows)


def _rows(name: str, torch_step, own_step, rounds: int, mark: Mark) -> list[Row]:
    times = interleave({"torch": timed(torch_step), "own": timed(own_step)}, rounds)
    ratios = times_as_fast(times["own"], times["torch"], rates=False)
    return [Row(f"{name}: cnnlab", times["own"]), Row(f"{name}: torch", times["torch"], ratios, mark)]


def _convolution(channels: int, kernels: int, side: int):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, channels, side, side)).astype(np.float32)
    delta = rng.standard_normal((BATCH, kernels, side, side)).astype(np.float32)
    ours = backprop.Conv2d(channels, kernels, 3, padding=1)
    theirs = nn.Conv2d(channels, kernels, 3, padding=1).to(memory_format=torch.channels_last)
    images, upstream = torch.from_numpy(x), torch.from_numpy(delta)

    def torch_step() -> None:
        inputs = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        outputs = theirs(inputs)
        outputs.contiguous()
        outputs.backward(upstream.contiguous(memory_format=torch.channels_last))
        inputs.grad.contiguous()

    def own_step() -> None:
        ours(x)
        ours.backward(delta)

    return torch_step, own_step


def _training_step():
    rng = np.random.default_rng(0)
    net = build(find("cnn").options(arch="cnn"), 3, 10, (32, 32))
    own, loss = mirror(net), backprop.CrossEntropyLoss()
    net = net.to(memory_format=torch.channels_last)
    x = rng.standard_normal((BATCH, 3, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, BATCH)
    optimizers = torch.optim.SGD(net.parameters(), 1e-3, 0.9), backprop.SGD(own.parameters(), 1e-3, 0.9)
    images, targets = torch.from_numpy(x).contiguous(memory_format=torch.channels_last), torch.from_numpy(labels)

    def torch_step() -> None:
        optimizers[0].zero_grad()
        nn.functional.cross_entropy(net(images), targets).backward()
        optimizers[0].step()

    def own_step() -> None:
        loss(own(x), labels)
        own.backward(loss.backward())
        optimizers[1].step()

    return torch_step, own_step
