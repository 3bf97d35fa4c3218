"""How far a run has come, and putting that on the disk: each file is whole before the next is touched."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from cnnlab.errors import NumericError
from cnnlab.models.registry import shown_name
from cnnlab.recipe.schema import Recipe
from cnnlab.training import checkpoint
from cnnlab.training.engines.diagnosis import LOWER_LR
from cnnlab.training.environment import made_with
from cnnlab.training.prepare import Prepared
from cnnlab.training.run_folder import EpochRow, RunFolder


@dataclass
class Midway:
    """A half-done epoch."""

    steps: int = 0
    """Steps done."""
    objective: float = 0.0
    """Sum of their objectives."""
    seconds: float = 0.0
    """Wall-clock time they took."""


@dataclass
class Progress:
    """What the loop carries from step to step."""

    rows: list[EpochRow] = field(default_factory=list)
    best_epoch: int = 0
    """0: none yet."""
    best_weights: dict[str, np.ndarray] = field(default_factory=dict)
    midway: Midway = field(default_factory=Midway)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.rows)


class Saver:
    """Saves a run's progress in its folder: rank 0 does, the others call it and nothing happens."""

    def __init__(self, prepared: Prepared, folder: RunFolder) -> None:
        self.engine, self.folder, self.writes = prepared.engine, folder, prepared.world.first
        self.manifest: dict[str, Any] = {
            "arch": prepared.recipe.model.arch,
            "classes": list(prepared.data.classes),
            "image_shape": list(prepared.data.image_shape),
            "mean": prepared.mean.tolist(),
            "std": prepared.std.tolist(),
            "data_fingerprint": prepared.data.fingerprint,
            "recipe": portable(prepared.recipe),
            "made_with": made_with(prepared),
        }

    def epoch(self, progress: Progress) -> None:
        """Save a finished epoch: metrics first, then the best, then the state to go on from.

        Raises:
            NumericError: a weight is not finite; nothing is written then.
            MachineError: the disk is full or not writable; what was saved before is still whole.
        """
        if not self.writes:
            return
        state = self._finite_state(progress)
        epoch, folder = progress.epoch, self.folder.checkpoints
        self.folder.write_rows(progress.rows)
        if progress.best_epoch == epoch:
            checkpoint.save(folder, "best", progress.best_weights, {"epoch": epoch, **self.manifest})
        meta = {"epoch": epoch, "best_epoch": progress.best_epoch, **self.manifest}
        checkpoint.save(folder, "last", state, meta)
        if progress.best_epoch != epoch:
            checkpoint.remove(folder, checkpoint.SPARE["best"])  # `previous` and `last` have the same best now
        checkpoint.remove_midways(folder)

    def midway(self, progress: Progress) -> None:
        """Save a half-done epoch, from which training goes on with the next step.

        Raises:
            NumericError, MachineError: as `epoch`.
        """
        if not self.writes:
            return
        state = self._finite_state(progress)
        meta = {"epoch": progress.epoch, "best_epoch": progress.best_epoch, "midway": asdict(progress.midway)}
        name = checkpoint.midway_name(progress.epoch + 1, progress.midway.steps)
        folder = self.folder.checkpoints
        checkpoint.save(folder, name, state, {**meta, **self.manifest})
        checkpoint.remove_midways(folder, but=name)

    def _finite_state(self, progress: Progress) -> dict[str, np.ndarray]:
        state = self.engine.training_state()
        bad = checkpoint.first_not_finite(state)
        if bad is not None:
            steps = progress.midway.steps
            where = (
                f"step {steps} of epoch {progress.epoch + 1}" if steps else f"the last step of epoch {progress.epoch}"
            )
            raise NumericError(f"the update of {where} made {bad} not finite", hint=LOWER_LR)
        return state


def portable(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON knows it, a user's Python file without the folders before it: as it stands in the run."""
    document: dict[str, Any] = json.loads(json.dumps(recipe.model_dump()))
    document["model"]["arch"] = shown_name(recipe.model.arch)
    return document
