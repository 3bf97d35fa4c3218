"""The fast net with fewer products beside its direct convolutions: forward and backward in bf16, channels_last."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from measure import Mark, Row, Table, interleave, timed, times_as_long

from cnnlab.models import build
from cnnlab.models.whitening import Whitening
from cnnlab.recipe.load import from_file, shipped
from cnnlab.training.device import keep_memory

BATCH = 1000
MARKS = {32: Mark(most=0.9), 28: Mark(most=0.95), 24: Mark(most=0.85)}
"""By the side of the images: at most how many times as long as direct."""


def tables(*, rounds: int, threads: int) -> Iterator[Table]:
    """Measure a step of the shipped recipe's net at each size that its images have, without the optimiser."""
    torch.set_num_threads(threads)
    keep_memory()
    rows = []
    for side, mark in MARKS.items():
        direct, spared = (timed(_step(side, skip_products=skip)) for skip in (False, True))
        times = interleave({"direct": direct, "fewer products": spared}, rounds)
        ratios = times_as_long(times["fewer products"], times["direct"])
        rows.append(Row(f"{side}×{side}: direct", times["direct"]))
        rows.append(Row(f"{side}×{side}: fewer products", times["fewer products"], ratios, mark))
    yield Table(
        f"A step of fast: batch {BATCH}, bf16, {threads} threads, {rounds} rounds in turns", "ms", "time ×", rows
    )


def _step(side: int, *, skip_products: bool):
    model = from_file(shipped()["fast"]).model.model_copy(update={"skip_products": skip_products})
    torch.manual_seed(0)
    net = build(model, 3, 10, (32, 32)).to(memory_format=torch.channels_last)
    for layer in net.modules():
        if isinstance(layer, Whitening):
            layer.bias.requires_grad_(False)
    images = torch.randn(BATCH, 3, side, side).to(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % 10

    def step() -> None:
        net.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = net(images)
        F.cross_entropy(outputs.float(), labels).backward()

    return step
