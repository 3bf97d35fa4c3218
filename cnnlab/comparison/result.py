"""The finished comparison: everything that its files, its figures, its page and the terminal show.

Shares (accuracies, differences, p-values) are in [0, 1]; losses are means over images; seconds are wall-clock.
Names of contestants, classes and images are fit to be shown (`cnnlab.text.printable`), yet still a stranger's text:
HTML and Markdown escape them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cnnlab.data import Part

Band = Literal["min-max", "sd", "ci"]
XAxis = Literal["epoch", "seconds"]
Match = Literal["params", "macs"]


@dataclass(frozen=True, eq=False)
class ContestantRun:
    """One trained net: a contestant with one seed."""

    seed: int
    folder: Path
    """An ordinary run folder."""
    rows: tuple[dict[str, Any], ...]
    """The metrics of each epoch, as in metrics.jsonl: epoch, objective, train_loss, train_acc, val_loss, val_acc, lr,
    images_per_s, seconds. val_loss and val_acc are None without a validation part."""
    best_epoch: int
    """From 1: the epoch whose weights are tested."""
    result: dict[str, Any]
    """As in result.json."""
    environment: dict[str, Any]
    """As in environment.json."""
    gradients: tuple[dict[str, Any], ...]
    """As in gradients.jsonl (epoch from 0, layer, delta_rms, weight_rms, slope, dead); empty without --gradients."""
    test_acc: float
    test_loss: float
    predictions: np.ndarray
    """(N,) int64: the predicted class of each test image."""
    confidence: np.ndarray
    """(N,) float64 in [0, 1]: of the predicted class."""
    correct: np.ndarray
    """(N,) bool."""
    confusion: np.ndarray
    """(classes, classes) int64 on the test part; rows are true classes."""

    @property
    def best_row(self) -> dict[str, Any]:
        """The metrics of the best epoch."""
        return self.rows[self.best_epoch - 1]

    def document(self) -> dict[str, Any]:
        """As an entry of `runs[]` in comparison.json."""
        row = self.best_row
        return {
            "seed": self.seed,
            "run": str(self.folder),
            "epochs": len(self.rows),
            "best_epoch": self.best_epoch,
            "train_loss": row["train_loss"],
            "val_loss": row["val_loss"],
            "train_acc": row["train_acc"],
            "val_acc": row["val_acc"],
            "test_loss": self.test_loss,
            "test_acc": self.test_acc,
            "seconds": self.result["seconds"],
            "images_per_s": self.result["images_per_s"],
        }


@dataclass(frozen=True, eq=False)
class Contestant:
    """A net with its recipe, trained once a seed. Figures are means over its runs."""

    name: str
    """What it is called everywhere: its label, or the spec as it was typed."""
    spec: str
    """As it was typed, fit to be shown."""
    arch: str
    recipe: str
    """The resolved recipe of the first run, as YAML."""
    weight_layers: int
    """Layers that convolve or multiply by a matrix."""
    parameters: int
    macs: int
    """Multiply-accumulates of one image's forward pass."""
    matched: str | None
    """What --match set ("width=213"); None where nothing was changed."""
    match_left: float | None
    """(cost − first contestant's cost) / first contestant's cost; None without --match."""
    p_chance: float
    """One-sided binomial test that it is right more often than always guessing the commonest test class would be."""
    beats_chance: bool
    runs: tuple[ContestantRun, ...]
    """One for each seed of the comparison, in its order."""

    @property
    def best_epoch(self) -> float:
        """Mean over runs (an int for one run)."""
        return self.runs[0].best_epoch if len(self.runs) == 1 else self._mean([run.best_epoch for run in self.runs])

    @property
    def train_loss(self) -> float:
        """At the best epoch."""
        return self._mean([run.best_row["train_loss"] for run in self.runs])

    @property
    def val_loss(self) -> float | None:
        """At the best epoch; None without a validation part."""
        return self._mean_or_none("val_loss")

    @property
    def train_acc(self) -> float:
        """At the best epoch."""
        return self._mean([run.best_row["train_acc"] for run in self.runs])

    @property
    def val_acc(self) -> float | None:
        """At the best epoch; None without a validation part."""
        return self._mean_or_none("val_acc")

    @property
    def gap(self) -> float | None:
        """val_loss − train_loss at the best epoch: how much worse it does on images that it has not seen."""
        return None if self.val_loss is None else self.val_loss - self.train_loss

    @property
    def test_acc_mean(self) -> float:
        """Test accuracy at the best validation epoch."""
        return self._mean([run.test_acc for run in self.runs])

    @property
    def test_acc_std(self) -> float | None:
        """Standard deviation over seeds (n − 1); None for one seed."""
        return float(np.std([run.test_acc for run in self.runs], ddof=1)) if len(self.runs) > 1 else None

    @property
    def seconds(self) -> float:
        """Of one training, evaluation of every epoch included."""
        return self._mean([run.result["seconds"] for run in self.runs])

    @property
    def images_per_s(self) -> float:
        """Training images per second."""
        return self._mean([run.result["images_per_s"] for run in self.runs])

    @property
    def confusion(self) -> np.ndarray:
        """(classes, classes) int64, summed over runs; rows are true classes."""
        return np.sum([run.confusion for run in self.runs], axis=0)

    def document(self) -> dict[str, Any]:
        """As an entry of `contestants[]` in comparison.json."""
        return {
            "name": self.name,
            "spec": self.spec,
            "arch": self.arch,
            "weight_layers": self.weight_layers,
            "parameters": self.parameters,
            "macs": self.macs,
            "matched": self.matched,
            "match_left": self.match_left,
            "best_epoch": self.best_epoch,
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            "gap": self.gap,
            "train_acc": self.train_acc,
            "val_acc": self.val_acc,
            "test_acc_mean": self.test_acc_mean,
            "test_acc_std": self.test_acc_std,
            "p_chance": self.p_chance,
            "beats_chance": self.beats_chance,
            "seconds": self.seconds,
            "images_per_s": self.images_per_s,
            "runs": [run.document() for run in self.runs],
        }

    @staticmethod
    def _mean(values: list[Any]) -> float:
        return float(np.mean(values))

    def _mean_or_none(self, key: str) -> float | None:
        values = [run.best_row[key] for run in self.runs]
        return None if None in values else self._mean(values)


@dataclass(frozen=True)
class SeedPair:
    """Two nets of one seed on the same test images."""

    seed: int
    only_a: int
    """Test images that only a's net gets right."""
    only_b: int
    difference: float
    """Test accuracy of a − that of b."""
    p_mcnemar: float


@dataclass(frozen=True)
class PairTest:
    """What the evidence says of two contestants."""

    a: str
    b: str
    n: int
    """Test images."""
    difference: float
    """Mean test accuracy of a − that of b."""
    ci_low: float
    """95 % confidence interval of the difference."""
    ci_high: float
    ci_method: str
    """How the interval was computed, with its source."""
    only_a: int
    """Test images that only a gets right; over several seeds the mean, rounded."""
    only_b: int
    p_mcnemar: float
    """McNemar's exact test on only_a and only_b."""
    p_seeds: float | None
    """Paired t-test over seeds; None with fewer than three."""
    p_adjusted: float
    """The one that decides (p_seeds, or p_mcnemar without it), corrected by Holm for the number of pairs."""
    training_noise: float | None
    """One seed: how far validation accuracy still moved around the best epoch, which chance may too; None otherwise."""
    better: str | None
    """The name of the better one; None: no difference is shown."""
    seeds_more: int | None
    """How many seeds more would probably show it (power 80 %); None: shown already, or no number of them would."""
    verdict: str
    """In words."""
    by_seed: tuple[SeedPair, ...]

    def document(self) -> dict[str, Any]:
        """As an entry of `tests[]` in comparison.json."""
        document = {key: value for key, value in vars(self).items() if key != "by_seed"}
        return {**document, "by_seed": [vars(pair) for pair in self.by_seed]}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Contestants on the same data, split, seeds and number of epochs, and what follows from it."""

    folder: Path
    data: str
    data_requested: str
    fallback: bool
    """Whether `data` stands in for `data_requested`."""
    real_command: str | None
    """With fallback: what to type for the data that were meant."""
    notices: tuple[str, ...]
    """Sentences that a reader of the results should know (of the data, the budget, reused runs)."""
    classes: tuple[str, ...]
    images: dict[str, int]
    """Images of train, val and test."""
    test: Part
    """The test images (N, H, W, C) uint8, their labels (N,) int64, and their names where they are files."""
    chance: float
    """Accuracy of always guessing the commonest class of the test part."""
    seeds: tuple[int, ...]
    epochs: int
    match: Match | None
    band: Band
    x: XAxis
    engine: str
    device: str
    command: str
    """The exact command line."""
    contestants: tuple[Contestant, ...]
    tests: tuple[PairTest, ...]
    """Every pair, in the order of the contestants."""

    @property
    def answer(self) -> str:
        """The first sentence: which is best, or that no difference is shown."""
        if len(self.tests) == 1:
            return self.tests[0].verdict
        best = max(self.contestants, key=lambda contestant: contestant.test_acc_mean)
        beaten = [test.b if test.a == best.name else test.a for test in self.tests if test.better == best.name]
        share = f"{100 * best.test_acc_mean:.1f} % of the test images"
        others = [other.name for other in self.contestants if other is not best and other.name not in beaten]
        if not others:
            return f"{best.name} is best, with {share}: better than {_listed(beaten)}"
        if beaten:
            return (
                f"{best.name} comes first, with {share}: better than {_listed(beaten)}; "
                f"no difference is shown to {_listed(others)}"
            )
        return f"no difference is shown between {best.name}, which comes first with {share}, and {_listed(others)}"

    @property
    def environment(self) -> dict[str, Any]:
        """Of the first run: versions, processor, threads, precision, data fingerprint."""
        return self.contestants[0].runs[0].environment

    def document(self) -> dict[str, Any]:
        """comparison.json, and stdout with --json."""
        return {
            "folder": str(self.folder),
            "data": self.data,
            "data_requested": self.data_requested,
            "fallback": self.fallback,
            "real_command": self.real_command,
            "images": self.images,
            "classes": list(self.classes),
            "chance": self.chance,
            "seeds": list(self.seeds),
            "epochs": self.epochs,
            "match": self.match,
            "engine": self.engine,
            "device": self.device,
            "command": self.command,
            "notices": list(self.notices),
            "answer": self.answer,
            "contestants": [contestant.document() for contestant in self.contestants],
            "tests": [test.document() for test in self.tests],
        }


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
