"""Trainings to the end on CIFAR-10: `fast` over seeds beside the record's recipe and a plain loop."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from measure import Row, Table, times_as_fast
from torch import nn
from workload import MEAN, STD

from cnnlab.machine import usable_cores

OWN, RECORD, PLAIN = "cnnlab train --arch fast", "cnnlab train --recipe airbench94", "plain loop (DataLoader, fp32)"
PLAIN_EPOCHS, PLAIN_BATCH, PLAIN_LR, PLAIN_DECAY = 10, 128, 0.1, 5e-4
AT_ONCE = 1000
Figures = tuple[float, dict[str, float]]
"""Seconds of training, and test accuracies in per cent."""


def tables(*, data: str, seeds: int, plain_seeds: int, device: str) -> Iterator[Table]:
    """Train on all images and keep the last weights, one contender after the other in each seed."""
    runs = {OWN: seeds, RECORD: seeds, PLAIN: plain_seeds}
    found: dict[str, list[Figures]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as folder:
        contenders: dict[str, Callable[[int], Figures]] = {
            OWN: lambda seed: _own("fast", data, seed, device, Path(folder)),
            RECORD: lambda seed: _own("airbench94", data, seed, device, Path(folder)),
            PLAIN: lambda seed: _plain(data, seed, device),
        }
        if device == "cuda":  # the first training of a process loads libraries and chooses kernels, for all after it
            for name in (OWN, RECORD):
                print(f"cold: {name} {contenders[name](0)[0]:.2f} s", file=sys.stderr, flush=True)
        for seed in range(max(runs.values())):
            for name, contender in contenders.items():
                if seed < runs[name]:
                    found[name].append(contender(seed))
                    seconds, accuracies = found[name][-1]
                    print(f"seed {seed}: {name} {seconds:.2f} s {accuracies}", file=sys.stderr, flush=True)
    rows, notes = [], []
    own = [seconds for seconds, _ in found[OWN]]
    for name, figures in found.items():
        if figures:
            measured = [seconds for seconds, _ in figures]
            peer = [] if name == OWN else times_as_fast(own[: len(measured)], measured, rates=False)
            rows.append(Row(name, measured, peer))
            notes.append(f"{name}: {_accuracies(figures)}; {len(figures)} seeds")
    card = torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    title = f"Training on all images of {Path(data).name}, the last weights; {card}"
    yield Table(title, "s", "cnnlab is ×", rows, notes)


def _accuracies(figures: list[Figures]) -> str:
    return ", ".join(
        f"{statistics.mean(values):.2f}{f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else ''} % {kind}"
        for kind in figures[0][1]
        for values in [[accuracies[kind] for _, accuracies in figures]]
    )


def _own(recipe: str, data: str, seed: int, device: str, folder: Path) -> Figures:
    """All images, the last weights; the seconds are those of the steps, without evaluation."""
    import cnnlab
    from cnnlab.data import load
    from cnnlab.evaluation.evaluate import evaluate
    from cnnlab.recipe.load import resolve

    finished = cnnlab.train(
        recipe=recipe, data=data, set=["data.val_fraction=0"], seed=seed, device=device, out=str(folder / recipe)
    )
    batch = resolve(recipe=recipe).train.batch_size
    images = len(load(data).train) // batch * batch
    judged = evaluate(finished.run, device=device, tta=True)
    assert judged.tta is not None
    seconds = sum(images / row.images_per_s for row in finished.rows)
    return seconds, {"test": 100 * judged.top1, "with views": 100 * judged.tta.top1}


def _plain(data: str, seed: int, device: str) -> Figures:
    """What the tutorials show, with the record's net: PIL transforms, workers, fp32, SGD with one cycle."""
    from peers.torch_parts import PictureData
    from torch.utils.data import DataLoader

    from cnnlab.data import load

    torch.manual_seed(seed)
    loaded = load(data)
    images, labels = loaded.train.images, loaded.train.labels
    net = _record_net(images).to(device)
    loader = DataLoader(
        PictureData(images, labels),
        batch_size=PLAIN_BATCH,
        shuffle=True,
        num_workers=usable_cores(),
        drop_last=True,
        persistent_workers=True,
    )
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    sgd = torch.optim.SGD(trained, lr=PLAIN_LR, momentum=0.9, nesterov=True, weight_decay=PLAIN_DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(sgd, PLAIN_LR, total_steps=PLAIN_EPOCHS * len(loader))
    net.train()
    started = time.perf_counter()
    for _ in range(PLAIN_EPOCHS):
        for inputs, targets in loader:
            sgd.zero_grad()
            loss = F.cross_entropy(net(inputs.to(device)), targets.to(device))
            loss.backward()
            sgd.step()
            cycle.step()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return seconds, {"test": 100 * _accuracy(net, loaded.test.images, loaded.test.labels, device)}


def _record_net(images: np.ndarray) -> nn.Module:
    from cnnlab.models import whitening
    from cnnlab.recipe.load import resolve
    from cnnlab.training.net import build_net

    net = build_net(resolve(recipe="airbench94"), (3, 32, 32), 10)
    whitening.fit(net, images, 255 * np.array(MEAN), 255 * np.array(STD))
    return net


@torch.no_grad()
def _accuracy(net: nn.Module, images: np.ndarray, labels: np.ndarray, device: str) -> float:
    net.eval()
    right = 0
    for start in range(0, len(images), AT_ONCE):
        pixels = images[start : start + AT_ONCE] / np.float32(255)
        inputs = torch.from_numpy((pixels - np.float32(MEAN)) / np.float32(STD)).permute(0, 3, 1, 2)
        right += int((net(inputs.to(device)).argmax(1).cpu().numpy() == labels[start : start + AT_ONCE]).sum())
    return right / len(images)
