"""A run in a few words: what is told before its first step, and what result.json says of it."""

from pathlib import Path
from typing import Any

from cnnlab.models.registry import shown_name
from cnnlab.text import printable
from cnnlab.training.events import RunStarted
from cnnlab.training.prepare import Prepared
from cnnlab.training.saving import Progress
from cnnlab.training.schedule import Growth


def started(prepared: Prepared, run: Path, progress: Progress) -> RunStarted:
    """What is known before the first step."""
    data = prepared.data
    parts = {"train": prepared.train, "val": prepared.val, "test": data.test}
    return RunStarted(
        run=run,
        arch=printable(shown_name(prepared.recipe.model.arch)),
        data=data.name,
        data_requested=data.requested,
        fallback=data.fallback,
        real_command=prepared.real_command,
        images={name: len(part) if part is not None else 0 for name, part in parts.items()},
        classes=len(data.classes),
        image_shape=data.image_shape,
        parameters=prepared.table.parameters,
        macs=prepared.table.macs,
        epochs=prepared.recipe.train.epochs,
        first_epoch=progress.epoch + 1,
        steps_per_epoch=prepared.steps_per_epoch,
        engine=prepared.engine.name,
        device=prepared.engine.device,
        precision=prepared.engine.precision,
        threads=prepared.threads,
        rows=tuple(progress.rows),
        growth=Growth.of(prepared.recipe.train),
    )


def result(
    prepared: Prepared, run: Path, progress: Progress, test_loss: float | None, test_acc: float | None
) -> dict[str, Any]:
    """The content of result.json: the figures of the epoch whose weights count, and of the test with them."""
    rows = progress.rows
    row = rows[progress.best_epoch - 1]
    images = prepared.steps_per_epoch * prepared.recipe.train.batch_size
    training_seconds = sum(images / r.images_per_s for r in rows)
    return {
        "run": str(run),
        "arch": printable(shown_name(prepared.recipe.model.arch)),
        "data": prepared.data.name,
        "data_requested": prepared.data.requested,
        "fallback": prepared.data.fallback,
        "engine": prepared.engine.name,
        "seed": prepared.recipe.seed,
        "parameters": prepared.table.parameters,
        "macs": prepared.table.macs,
        "epochs": len(rows),
        "best_epoch": progress.best_epoch,
        "train_acc": row.train_acc,
        "val_acc": row.val_acc,
        "val_loss": row.val_loss,
        "test_acc": test_acc,
        "test_loss": test_loss,
        "seconds": round(sum(r.seconds for r in rows), 3),
        "images_per_s": round(len(rows) * images / training_seconds, 1),
        "device": prepared.engine.device,
        "precision": prepared.engine.precision,
    }
