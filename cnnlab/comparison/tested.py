"""The contestants after their test: every trained net, and what its seeds say of it.

Shares (accuracies, p-values) are in [0, 1]; losses are means over images; seconds are wall-clock.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np


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
    select: Literal["best", "last"] = "best"
    """Which weights are tested; the last ones too where there is no validation part."""

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
        """Test accuracy of the chosen weights; the same number for the same count of right answers."""
        return sum(int(run.correct.sum()) for run in self.runs) / sum(run.correct.size for run in self.runs)

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
