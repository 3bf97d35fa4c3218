"""Training throughput: cnnlab's loop against a tutorial's and against a loop written by hand for this machine.

    python tests/benchmarks/bench_training.py [--images 5120] [--rounds 5] [--threads 2]

The same net (the `cnn` recipe's: six convolutions 32-64-128 with batch normalisation), the same images, the same
augmentation (shift by 4, mirror), batch 128, SGD with Nesterov momentum. Each round runs one epoch of every
contender, one after the other; the ratios are medians over rounds, with the smallest and the largest.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cnnlab.data import DataSet, Part, load
from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training.prepare import build_net, prepare
from cnnlab.training.run import Progress, Run
from cnnlab.training.run_folder import RunFolder
from cnnlab.training.settings import Settings

BATCH = 128
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.tar.gz"


def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Real CIFAR-10 (JPEG) images where they are, noise elsewhere: speed does not depend on it."""
    if ARCHIVE.is_file():
        part = load(str(ARCHIVE)).train
        chosen = np.random.default_rng(0).permutation(len(part))[:count]
        return part.images[chosen], part.labels[chosen]
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, count)


def recipe():
    settings = ["train.ema=0", "train.label_smoothing=0", "data.val_fraction=0", f"train.batch_size={BATCH}"]
    settings += ["data.augment.crop=4", "data.augment.flip=true", "optim.schedule=constant"]
    return resolve(arch=parse_spec("cnn"), settings=settings, flags={"--epochs": 100, "--lr": 0.01})


def cnnlab_epoch(images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """The product's own loop: its epoch, measured as its metrics measure it."""
    part = Part(images, labels)
    classes = tuple(map(str, range(10)))
    data = DataSet("bench", classes, part, None, part.take(np.arange(10)), True, "0" * 64)
    run = Run(prepare(recipe(), Settings(), data), RunFolder(Path()), Progress(), lambda event: None)
    epochs = iter(range(1, 1000))
    return lambda: run.epoch(next(epochs)).images_per_s


class TutorialData(Dataset):
    """As in the tutorials: one PIL image at a time through a chain of transforms."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        from torchvision import transforms

        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def tutorial_epoch(images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """DataLoader with two workers, PIL transforms, fp32."""
    net = build_net(recipe(), (3, 32, 32), 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loader = DataLoader(TutorialData(images, labels), batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True)

    def epoch() -> float:
        net.train()
        started = time.perf_counter()
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(inputs), targets)
            loss.backward()
            optimizer.step()
        return len(loader) * BATCH / (time.perf_counter() - started)

    return epoch


def by_hand_epoch(images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """What someone who knows this machine writes: all in memory, bf16, channels_last, fused SGD, batched crops."""
    net: nn.Module = build_net(recipe(), (3, 32, 32), 10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    padded = F.pad(pixels.sub_(mean).div_(std), (4, 4, 4, 4), mode="reflect")
    targets = torch.from_numpy(labels)

    def epoch() -> float:
        net.train()
        started = time.perf_counter()
        order = torch.randperm(len(targets))
        steps = len(targets) // BATCH
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            shifts = torch.randint(0, 9, (BATCH, 2)).tolist()
            batch = torch.stack(
                [
                    padded[index, :, y : y + 32, x : x + 32]
                    for index, (y, x) in zip(chosen.tolist(), shifts, strict=True)
                ]
            )
            mirrored = torch.rand(BATCH) < 0.5
            batch[mirrored] = batch[mirrored].flip(3)
            batch = batch.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                outputs = net(batch)
            loss = F.cross_entropy(outputs.float(), targets[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return steps * BATCH / (time.perf_counter() - started)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images, labels = images_and_labels(arguments.images)
    contenders = {
        "cnnlab train": cnnlab_epoch(images, labels),
        "tutorial (DataLoader, PIL, fp32)": tutorial_epoch(images, labels),
        "by hand (in memory, bf16)": by_hand_epoch(images, labels),
    }
    torch.set_num_threads(arguments.threads)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(arguments.rounds + 1):
        for name, epoch in contenders.items():
            rate = epoch()
            if round_number:  # the first round warms up
                rates[name].append(rate)
    own = rates["cnnlab train"]
    print(f"{'':34}{'images/s':>10}{'cnnlab is':>12}{'min':>8}{'max':>8}")
    for name, values in rates.items():
        ratios = [mine / theirs for mine, theirs in zip(own, values, strict=True)]
        print(
            f"{name:34}{statistics.median(values):10.0f}{statistics.median(ratios):11.2f}x"
            f"{min(ratios):8.2f}{max(ratios):8.2f}"
        )


if __name__ == "__main__":
    main()
