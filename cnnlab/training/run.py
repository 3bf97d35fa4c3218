"""One run on its way: epochs, measuring, keeping the best, saving, the result. The same for every engine."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnnlab.data import Part, batch, mixup
from cnnlab.randomness import generator
from cnnlab.training import checkpoint, metrics
from cnnlab.training.engines.base import Batch, StepKey
from cnnlab.training.events import EpochDone, Event, RunFinished, RunStarted, StepDone
from cnnlab.training.gradients import GradientLog
from cnnlab.training.prepare import Prepared
from cnnlab.training.run_folder import EpochRow, RunFolder, write_json
from cnnlab.training.schedule import learning_rate
from cnnlab.training.tensorboard import TensorBoard

Tell = Callable[[Event], None]


@dataclass
class Progress:
    """What the loop carries from epoch to epoch, saved with every checkpoint."""

    rows: list[EpochRow] = field(default_factory=list)
    best_epoch: int = 0
    """0: none yet."""
    best_weights: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.rows)


def _better(row: EpochRow, best: EpochRow) -> bool:
    """Whether an epoch has a higher validation accuracy, or the same and a lower loss: small sets tie often."""
    assert row.val_acc is not None
    assert best.val_acc is not None
    if row.val_acc != best.val_acc:
        return row.val_acc > best.val_acc
    return (row.val_loss or 0.0) < (best.val_loss or 0.0)


@dataclass
class Run:
    """One run on its way."""

    prepared: Prepared
    folder: RunFolder
    progress: Progress
    tell: Tell

    def to_the_end(self) -> RunFinished:
        """All epochs that are left, then the test and the pictures."""
        prepared, rows = self.prepared, self.progress.rows
        self.tell(self._started())
        log = GradientLog(self.folder, prepared) if prepared.settings.gradients else None
        board = TensorBoard(self.folder.path) if prepared.settings.tensorboard else None
        if log is not None:
            log.keep(self.progress.epoch)
            if not rows:
                log.record(0)
        reason = None
        for epoch in range(len(rows) + 1, prepared.recipe.train.epochs + 1):
            row = self.epoch(epoch)
            rows.append(row)
            best = self._keep_best(row)
            if log is not None:
                log.record(epoch)
            if board is not None:
                board.add(row)
            self._save()
            self.tell(EpochDone(row, best))
            reason = self._reason_to_stop()
            if reason is not None:
                break
        result = self._result()
        self._draw(log)
        write_json(self.folder.result, result)
        finished = RunFinished(self.folder.path, result, tuple(rows), reason)
        self.tell(finished)
        return finished

    def _started(self) -> RunStarted:
        prepared, data = self.prepared, self.prepared.data
        parts = {"train": prepared.train, "val": prepared.val, "test": data.test}
        return RunStarted(
            run=self.folder.path,
            arch=prepared.recipe.model.arch,
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
            first_epoch=self.progress.epoch + 1,
            steps_per_epoch=prepared.steps_per_epoch,
            engine=prepared.engine.name,
            device=prepared.engine.device,
            precision=prepared.engine.precision,
            threads=prepared.threads,
            rows=tuple(self.progress.rows),
        )

    def epoch(self, epoch: int) -> EpochRow:
        """Train one epoch and measure it."""
        started = time.perf_counter()
        objective, rate, lr = 0.0, 0.0, 0.0
        steps = self.prepared.steps_per_epoch
        size = self.prepared.recipe.train.batch_size
        for step, item in enumerate(self._batches(epoch)):
            lr = self._learning_rate(epoch, step)
            value = self.prepared.engine.step(item, lr, StepKey(self.prepared.recipe.seed, epoch, step))
            objective += float(value)
            rate = (step + 1) * size / (time.perf_counter() - started)
            self.tell(StepDone(epoch, step + 1, objective / (step + 1), rate, lr))
        train_loss, train_acc = self._measure(self.prepared.sample)
        val_loss, val_acc = self._measure(self.prepared.val) if self.prepared.val is not None else (None, None)
        seconds = time.perf_counter() - started
        return EpochRow(
            epoch, objective / steps, train_loss, train_acc, val_loss, val_acc, lr, round(rate, 1), round(seconds, 3)
        )

    def _batches(self, epoch: int) -> Iterator[Batch]:
        """The epoch's batches: order and augmentation depend on (seed, epoch, step) alone."""
        train, augmentation, seed = self.prepared.train, self.prepared.augmentation, self.prepared.recipe.seed
        size = self.prepared.recipe.train.batch_size
        order = generator(seed, "order", epoch).permutation(len(train))
        fill = np.round(self.prepared.mean).astype(np.uint8)
        for step in range(self.prepared.steps_per_epoch):
            indices = order[step * size : (step + 1) * size]
            images = batch(train.images, indices, augmentation, generator(seed, "augmentation", epoch, step), fill=fill)
            partners, share = None, 1.0
            if augmentation.mixup:
                partners, share = mixup(size, augmentation.mixup, generator(seed, "mixup", epoch, step))
            yield Batch(images, train.labels[indices], partners, share)

    def _learning_rate(self, epoch: int, step: int) -> float:
        per_epoch = self.prepared.steps_per_epoch
        done, steps = (epoch - 1) * per_epoch + step, self.prepared.recipe.train.epochs * per_epoch
        return learning_rate(self.prepared.recipe.optim, done, steps, per_epoch)

    def _measure(self, part: Part) -> tuple[float, float]:
        """Mean loss and accuracy in evaluation mode, no augmentation, no smoothing."""
        outputs = self.prepared.engine.predict(part.images)
        loss = metrics.losses(outputs, part.labels, self.prepared.recipe.train.loss).mean()
        return float(loss), metrics.accuracy(outputs, part.labels)

    def _keep_best(self, row: EpochRow) -> bool:
        """Whether this epoch is now the one whose weights count; if so, keep them."""
        select_last = self.prepared.val is None or self.prepared.recipe.train.select == "last"
        best_epoch = self.progress.best_epoch
        if not select_last and best_epoch and not _better(row, self.progress.rows[best_epoch - 1]):
            return False
        self.progress.best_epoch = row.epoch
        self.progress.best_weights = self.prepared.engine.weights()
        return True

    def _save(self) -> None:
        """Metrics first, then the best, then the state to go on from: each is whole before the next is touched."""
        rows, folder = self.progress.rows, self.folder
        folder.write_rows(rows)
        if self.progress.best_epoch == rows[-1].epoch:
            checkpoint.save(folder.checkpoints, "best", self.progress.best_weights, self._manifest(rows[-1].epoch))
        meta = {**self._manifest(rows[-1].epoch), "best_epoch": self.progress.best_epoch}
        checkpoint.save(folder.checkpoints, "last", self.prepared.engine.training_state(), meta)

    def _manifest(self, epoch: int) -> dict[str, Any]:
        """What a reader of the weights needs beside them."""
        prepared = self.prepared
        return {
            "epoch": epoch,
            "arch": prepared.recipe.model.arch,
            "classes": list(prepared.data.classes),
            "image_shape": list(prepared.data.image_shape),
            "mean": prepared.mean.tolist(),
            "std": prepared.std.tolist(),
            "data_fingerprint": prepared.data.fingerprint,
        }

    def _reason_to_stop(self) -> str | None:
        """Early stopping and the time budget; None while there is no reason."""
        train, rows = self.prepared.recipe.train, self.progress.rows
        if len(rows) == train.epochs:
            return None
        since_best = rows[-1].epoch - self.progress.best_epoch
        if train.patience is not None and since_best >= train.patience:
            return f"no better validation accuracy for {since_best} epochs"
        if train.max_minutes is not None:
            spent = sum(row.seconds for row in rows)
            if spent + spent / len(rows) > 60 * train.max_minutes:
                return f"the time budget of {train.max_minutes:g} minutes has no room for another epoch"
        return None

    def _result(self) -> dict[str, Any]:
        """Test once, with the weights that count, and sum up the run."""
        prepared, rows = self.prepared, self.progress.rows
        row = rows[self.progress.best_epoch - 1]
        test_loss = test_acc = None
        if prepared.settings.test:
            prepared.engine.load_weights(self.progress.best_weights)
            test_loss, test_acc = self._measure(prepared.data.test)
        training_seconds = sum(
            prepared.steps_per_epoch * prepared.recipe.train.batch_size / r.images_per_s for r in rows
        )
        images = len(rows) * prepared.steps_per_epoch * prepared.recipe.train.batch_size
        return {
            "run": str(self.folder.path),
            "arch": prepared.recipe.model.arch,
            "data": prepared.data.name,
            "data_requested": prepared.data.requested,
            "fallback": prepared.data.fallback,
            "engine": prepared.engine.name,
            "seed": prepared.recipe.seed,
            "parameters": prepared.table.parameters,
            "macs": prepared.table.macs,
            "epochs": len(rows),
            "best_epoch": self.progress.best_epoch,
            "train_acc": row.train_acc,
            "val_acc": row.val_acc,
            "val_loss": row.val_loss,
            "test_acc": test_acc,
            "test_loss": test_loss,
            "seconds": round(sum(r.seconds for r in rows), 3),
            "images_per_s": round(images / training_seconds, 1),
            "device": prepared.engine.device,
            "precision": prepared.engine.precision,
        }

    def _draw(self, log: GradientLog | None) -> None:
        from cnnlab.report.figures import draw_curves

        draw_curves(self.folder.path / "curves.png", self.progress.rows, self.progress.best_epoch, self._title())
        if log is not None:
            log.draw(self._title())

    def _title(self) -> str:
        data = self.prepared.data
        stand_in = f" (standing in for {data.requested})" if data.fallback else ""
        return f"{self.prepared.recipe.model.arch} on {data.name}{stand_in}, seed {self.prepared.recipe.seed}"
