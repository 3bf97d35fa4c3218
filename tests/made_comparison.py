"""A finished comparison out of made-up curves and predictions: what page, figures and terminal are tested on."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cnnlab.comparison.pairs import PairTest
from cnnlab.comparison.result import Comparison
from cnnlab.comparison.tested import Contestant, ContestantRun
from cnnlab.data import Part


def make(
    folder: Path,
    names: tuple[str, ...] = ("mlp", "cnn"),
    *,
    seeds: int = 1,
    classes: tuple[str, ...] = tuple("0123456789"),
    images: int = 80,
    epochs: int = 6,
    shape: tuple[int, int, int] = (8, 8, 1),
    file_names: tuple[str, ...] | None = None,
    gradients: bool = True,
    validated: bool = True,
    **changes: Any,
) -> Comparison:
    """Contestants of which each is a little better than the one before it; `changes` are fields of the comparison."""
    random = np.random.default_rng(0)
    labels = np.arange(images) % len(classes)
    test = Part(random.integers(0, 256, (images, *shape), np.uint8), labels, file_names)
    contestants = tuple(
        _contestant(folder, name, place, seeds, test, len(classes), epochs, gradients, validated)
        for place, name in enumerate(names)
    )
    fields: dict[str, Any] = {
        "folder": folder, "data": "digits", "data_requested": "digits", "fallback": False, "real_command": None,
        "notices": (), "classes": classes, "test": test,
        "images": {"train": 1000, "val": 100 if validated else 0, "test": images},
        "chance": 0.1, "seeds": tuple(range(seeds)), "epochs": epochs, "match": None, "band": "min-max", "x": "epoch",
        "engine": "torch", "device": "cpu", "command": f"cnnlab compare {' '.join(names)}",
        "contestants": contestants, "tests": tuple(_pair(a, b) for a, b in itertools.combinations(contestants, 2)),
    }  # fmt: skip
    return Comparison(**{**fields, **changes})


def _contestant(
    folder: Path, name: str, place: int, seeds: int, test: Part, classes: int, epochs: int, gradients: bool, val: bool
) -> Contestant:
    runs = tuple(_run(folder, place, seed, test, classes, epochs, gradients, val) for seed in range(seeds))
    return Contestant(
        name=name, spec=name, arch=name, recipe=yaml.safe_dump({"model": {"arch": name}, "train": {"epochs": epochs}}),
        weight_layers=3 + place, parameters=12_345 * (place + 1), macs=1_234_567 * (place + 1), matched=None,
        match_left=None, p_chance=1e-9, beats_chance=True, runs=runs, select="best" if val else "last",
    )  # fmt: skip


def _run(
    folder: Path, place: int, seed: int, test: Part, classes: int, epochs: int, gradients: bool, val: bool
) -> ContestantRun:
    random = np.random.default_rng([place, seed])
    right = random.random(len(test)) < 0.5 + 0.08 * place
    predictions = np.where(right, test.labels, (test.labels + 1 + random.integers(0, classes - 1)) % classes)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (test.labels, predictions), 1)
    rows = tuple(_row(place, seed, epoch, val) for epoch in range(1, epochs + 1))
    layers = [f"layer{number}" for number in range(3 + place)]
    return ContestantRun(
        seed=seed, folder=folder / f"{place}-s{seed}", rows=rows, best_epoch=max(1, epochs - 1),
        result={"seconds": 12.5 + place, "images_per_s": 4321.0, "device": "cpu", "precision": "fp32"},
        environment={
            "cnnlab": "9.8.7", "python": "3.11.2", "packages": {"torch": "2.10", "onnx": None}, "threads": 2,
            "processor": "An <Imaginary> Processor", "precision": "fp32", "git_commit": None,
            "data": {"fingerprint": "abc123"}, "command": ["cnnlab"], "gradients": gradients,
        },
        gradients=tuple(
            {"epoch": epoch, "layer": layer, "delta_rms": 10.0 ** -(place + number), "weight_rms": 0.1,
             "slope": None, "dead": None}
            for epoch in range(epochs + 1) for number, layer in enumerate(layers)
        ) if gradients else (),
        test_acc=float(right.mean()), test_loss=1.0 - 0.1 * place, predictions=predictions,
        confidence=random.random(len(test)), correct=predictions == test.labels, confusion=confusion,
    )  # fmt: skip


def _row(place: int, seed: int, epoch: int, val: bool) -> dict[str, Any]:
    loss = 2.3 * (0.9 - 0.1 * place) ** epoch + 0.02 * seed
    return {
        "epoch": epoch, "objective": loss, "train_loss": loss, "train_acc": 1 - loss / 3,
        "val_loss": loss + 0.05 * epoch if val else None, "val_acc": 0.95 - loss / 3 if val else None,
        "lr": 0.1, "images_per_s": 4321.0, "seconds": 2.0 + place,
    }  # fmt: skip


def _pair(a: Contestant, b: Contestant) -> PairTest:
    first, second = a.runs[0].correct, b.runs[0].correct
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    difference = a.test_acc_mean - b.test_acc_mean
    better = max(a, b, key=lambda contestant: contestant.test_acc_mean).name if abs(difference) > 0.05 else None
    verdict = f"{better} is better" if better else f"no difference between {a.name} and {b.name} is shown"
    return PairTest(
        a=a.name, b=b.name, n=len(first), difference=difference, ci_low=difference - 0.02, ci_high=difference + 0.02,
        ci_method="a made-up interval", only_a=only_a, only_b=only_b, p_mcnemar=0.0321,
        p_seeds=0.0456 if len(a.runs) > 2 else None, p_adjusted=0.0654, training_noise=None, better=better,
        seeds_more=None, verdict=f"{verdict} by {100 * abs(difference):.1f} points", by_seed=(),
    )  # fmt: skip
