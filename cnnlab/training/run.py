"""One run on its way: epochs, measuring, keeping the best, the result. The same for every engine."""

import math
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, SupportsFloat

import numpy as np

from cnnlab.data import Part
from cnnlab.errors import NumericError, Stopped
from cnnlab.models.registry import is_user_file, shown_name
from cnnlab.text import printable, with_stand_in
from cnnlab.training import metrics
from cnnlab.training.batches import Batches
from cnnlab.training.checkpoint import first_not_finite
from cnnlab.training.engines.base import Batch, StepKey
from cnnlab.training.engines.diagnosis import not_finite
from cnnlab.training.events import EpochDone, Event, Notice, RunFinished, StepDone, Tell
from cnnlab.training.gradients import GradientLog
from cnnlab.training.prepare import Prepared
from cnnlab.training.profiling import OFF, Profile
from cnnlab.training.run_folder import EpochRow, RunFolder, best_of, write_json
from cnnlab.training.saving import Midway, Progress, Saver
from cnnlab.training.schedule import Growth, learning_rate, lookahead_decay, lowest_rate, rests
from cnnlab.training.summary import result, started
from cnnlab.training.tensorboard import TensorBoard
from cnnlab.training.torchrun import resume_command
from cnnlab.training.world import ProcessLost

SAVE_SECONDS = 600.0
"""A longer epoch is also saved midway, this often."""
READ_EVERY = 50
"""Steps after which the objectives on a device are read: to read one, the host waits for the device."""
DIVERGED = 3.0
"""A training loss of so many times that of guessing is reported."""


@dataclass
class Run:
    """One run on its way."""

    prepared: Prepared
    folder: RunFolder
    progress: Progress
    tell: Tell

    def __post_init__(self) -> None:
        self.world = self.prepared.world
        self.asked: Stopped | None = None
        self.unread: list[SupportsFloat] = []
        self.saver = Saver(self.prepared, self.folder)
        self.batches = Batches(self.prepared)
        recorded = self.prepared.settings.gradients and self.world.first
        self.log = GradientLog(self.folder, self.prepared) if recorded else None
        engine = self.prepared.engine
        self.profile = engine.profile = Profile(engine.wait) if self.prepared.settings.profile else OFF

    def to_the_end(self) -> RunFinished:
        """All epochs that are left, then the test and the pictures.

        Raises:
            Stopped: `tell` asked for it; everything is saved.
            NumericError: a loss or gradient is not finite; what was saved before is still there.
            ProcessLost: another process of the training has ended, likewise.
        """
        begun = self._steps_done()
        self._tell(started(self.prepared, self.folder.path, self.progress))
        try:
            reason = self._epochs_or_stop()
        except (NumericError, ProcessLost) as error:
            kept = f"what epoch {self.progress.epoch} left is kept in" if self.progress.epoch else "nothing is saved in"
            hint = error.hint if isinstance(error, NumericError) else f"{error.hint}\n{self._how_to_go_on()}"
            raise type(error)(f"{error.message}; {kept} {printable(self.folder.path)}", hint=hint) from error
        document = self._result()
        self._draw()
        if self.profile.on:
            document["profile"] = self.profile.document(self._steps_done() - begun)
        if self.world.first:
            write_json(self.folder.result, document)
        finished = RunFinished(self.folder.path, document, tuple(self.progress.rows), reason)
        self._tell(finished)
        return finished

    def _tell(self, event: Event) -> None:
        with self.profile.phase("progress"):
            try:
                self.tell(event)
            except Stopped as asked:
                if self.world.size == 1:
                    raise
                self.asked, self.world.wishes.stop = asked, True

    def _stop_if_agreed(self) -> None:
        if self.world.size > 1 and self.world.agreed.stop:
            raise self.asked or Stopped("another process was asked to stop", signal_number=signal.SIGTERM)

    def _steps_done(self) -> int:
        return self.progress.epoch * self.prepared.steps_per_epoch + self.progress.midway.steps

    def _epochs_or_stop(self) -> str | None:
        """As `_epochs`, and where it is stopped, all is saved: that may fail as training does."""
        try:
            return self._epochs()
        except Stopped as asked:
            raise self._stopped(asked) from None

    def _epochs(self) -> str | None:
        """Train, measure and save until the end; why it came before the last epoch, if it did."""
        rows, epochs = self.progress.rows, self.prepared.recipe.train.epochs
        logged = self.prepared.settings.tensorboard and self.world.first
        board = TensorBoard(self.folder.path, len(rows) + 1) if logged else None
        if self.log is not None:
            begun = bool(rows or self.progress.midway.steps)
            self.log.keep(len(rows) if begun else -1)
            if not begun:
                self._record(0)
        while (reason := self._reason_to_stop()) is None and len(rows) < epochs:
            row = self.epoch(len(rows) + 1)
            rows.append(row)
            self.progress.midway = Midway()
            self._record(row.epoch)
            with self.profile.phase("saving"):
                best = self._keep_best(row)
                if board is not None:
                    board.add(row)
                self.saver.epoch(self.progress)
            self._tell(EpochDone(row, best))
            self._warn_of_divergence()
            self.world.agree()
            self._stop_if_agreed()
        return reason

    def _stopped(self, asked: Stopped) -> Stopped:
        """Save a half-done epoch, draw what there is, and say how to go on."""
        progress, steps = self.progress, self.progress.midway.steps
        where = f"after epoch {progress.epoch}"
        if steps:
            self._save_midway()
            where = f"in epoch {progress.epoch + 1}, after step {steps} of {self.prepared.steps_per_epoch}"
        if progress.rows:
            self._draw()
        return Stopped(
            f"stopped {where}; everything is saved",
            signal_number=asked.signal_number,
            hint=self._how_to_go_on(),
        )

    def _how_to_go_on(self) -> str:
        trust = " --trust-code" if is_user_file(self.prepared.recipe.model.arch) else ""
        return f"Go on: {resume_command(self.folder.path)}{trust}"

    def epoch(self, epoch: int) -> EpochRow:
        """Train one epoch, or what is left of it, and measure it.

        Raises:
            NumericError: a loss is not finite.
        """
        midway, recipe = self.progress.midway, self.prepared.recipe
        saved = time.perf_counter()
        started = saved - midway.seconds
        size = recipe.train.batch_size
        for step, item in enumerate(self._batches(epoch, midway.steps), midway.steps):
            lr = self._learning_rate(epoch, step)
            self.world.wishes.save = self.world.first and time.perf_counter() - saved > SAVE_SECONDS
            lowest = self._lowest_rate(epoch, step)
            rest = rests(recipe.train, self._steps_before(epoch, step), self.prepared.steps)
            value = self.prepared.engine.step(item, lr, StepKey(recipe.seed, epoch, step), lowest, rest)
            self._look_ahead(epoch, step)
            now = time.perf_counter()
            midway.steps, midway.seconds = step + 1, now - started
            self.unread.append(value)
            if isinstance(value, float) or step % READ_EVERY == 0:
                self._read_objectives(epoch)
            if self.world.agreed.save:
                self._save_midway()
                saved = now
            self._stop_if_agreed()
            mean, rate = midway.objective / (midway.steps - len(self.unread)), midway.steps * size / midway.seconds
            self._tell(StepDone(epoch, midway.steps, mean, rate, lr))
        if self.unread:
            self._read_objectives(epoch)
            midway.seconds = time.perf_counter() - started
        row = self._measured(epoch, midway)
        seconds = round(time.perf_counter() - started, 3)
        rate, seconds = self.world.numbers_of_first([row.images_per_s, seconds])
        return replace(row, images_per_s=rate, seconds=seconds)

    def _read_objectives(self, epoch: int) -> None:
        """Add up the steps' objectives that are known by now; those still on a device are waited for."""
        midway = self.progress.midway
        for step, unread in enumerate(self.unread, midway.steps - len(self.unread)):
            value = float(unread)
            if not math.isfinite(value):
                key = StepKey(self.prepared.recipe.seed, epoch, step)
                raise not_finite("the objective or a gradient became not finite", key, None)
            midway.objective += value
        self.unread.clear()

    def _save_midway(self) -> None:
        with self.profile.phase("saving"):
            self._read_objectives(self.progress.epoch + 1)
            self.prepared.engine.share_statistics()
            self.saver.midway(self.progress)

    def _measured(self, epoch: int, midway: Midway) -> EpochRow:
        self.prepared.engine.share_statistics()
        train_loss, train_acc = self._measure(self.prepared.sample)
        val_loss, val_acc = self._measure(self.prepared.val) if self.prepared.val is not None else (None, None)
        for name, loss in (("training", train_loss), ("validation", val_loss)):
            if loss is not None and not math.isfinite(loss):
                bad = first_not_finite(self.prepared.engine.weights())
                where = f"the first bad tensor is {bad}" if bad else "the outputs are bad, though no weight is"
                key = StepKey(self.prepared.recipe.seed, epoch, midway.steps - 1)
                raise not_finite(f"the {name} loss, measured after the epoch, became {loss}", key, where)
        lr = self._learning_rate(epoch, midway.steps - 1)
        rate = midway.steps * self.prepared.recipe.train.batch_size / midway.seconds
        mean = midway.objective / midway.steps
        return EpochRow(epoch, mean, train_loss, train_acc, val_loss, val_acc, lr, round(rate, 1), 0.0)

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        made = self.batches.of(epoch, first)
        while True:
            with self.profile.phase("data"):
                item = next(made, None)
            if item is None:
                return
            yield item

    def _steps_before(self, epoch: int, step: int) -> int:
        return (epoch - 1) * self.prepared.steps_per_epoch + step

    def _learning_rate(self, epoch: int, step: int) -> float:
        done, prepared = self._steps_before(epoch, step), self.prepared
        return learning_rate(prepared.recipe.optim, done, prepared.steps, prepared.steps_per_epoch)

    def _lowest_rate(self, epoch: int, step: int) -> float | None:
        done, prepared = self._steps_before(epoch, step), self.prepared
        recipe = prepared.recipe
        return lowest_rate(recipe.train, recipe.optim, done, prepared.steps, prepared.steps_per_epoch)

    def _look_ahead(self, epoch: int, step: int) -> None:
        done = self._steps_before(epoch, step) + 1
        decay = lookahead_decay(self.prepared.recipe.train.lookahead, done, self.prepared.steps)
        if decay is not None:
            with self.profile.phase("optimiser"):
                self.prepared.engine.look_ahead(decay)

    def _measure(self, part: Part) -> tuple[float, float]:
        """Mean loss and accuracy in evaluation mode, no augmentation, no smoothing."""
        with self.profile.phase("evaluation"):
            outputs = self._outputs(part.images)
        with self.profile.phase("metrics"):
            loss = metrics.losses(outputs, part.labels, self.prepared.recipe.train.loss).mean()
            return float(loss), metrics.accuracy(outputs, part.labels)

    def _outputs(self, images: np.ndarray) -> np.ndarray:
        """Outputs of all pictures, each process having computed its share."""
        if len(images) < self.world.size:
            return self.prepared.engine.predict(images)
        rows = self.world.rows(len(images))
        return self.world.gather(self.prepared.engine.predict(images[rows]), len(images))

    def _record(self, epoch: int) -> None:
        if self.log is not None:
            with self.profile.phase("gradients"):
                self.log.record(epoch)

    def _keep_best(self, row: EpochRow) -> bool:
        """Whether this epoch is now the one whose weights count; if so, keep them."""
        select_last = self.prepared.val is None or self.prepared.recipe.train.select == "last"
        if not select_last and best_of(self.progress.rows) is not row:
            return False
        self.progress.best_epoch = row.epoch
        self.progress.best_weights = self.prepared.engine.weights()
        return True

    def _reason_to_stop(self) -> str | None:
        """Early stopping and the time budget; None while there is no reason."""
        train, rows = self.prepared.recipe.train, self.progress.rows
        if not rows or len(rows) == train.epochs:
            return None
        if train.patience is not None and self.prepared.val is not None:
            best = best_of(rows)  # whichever epoch's weights count
            since_best = rows[-1].epoch - best.epoch if best else 0
            if since_best >= train.patience:
                return f"no better validation accuracy for {since_best} epochs"
        if train.max_minutes is not None:
            growth, spent = Growth.of(train), sum(row.seconds for row in rows)
            done, then = (growth.work(count / train.epochs) for count in (len(rows), len(rows) + 1))
            if spent * then / done > 60 * train.max_minutes:
                return f"the time budget of {train.max_minutes:g} minutes has no room for another epoch"
        return None

    def _result(self) -> dict[str, Any]:
        """Test once, with the weights that count, and sum up the run."""
        test: tuple[float | None, float | None] = None, None
        if self.prepared.settings.test:
            self.prepared.engine.load_weights(self.progress.best_weights)
            test = self._measure(self.prepared.data.test)
        return result(self.prepared, self.folder.path, self.progress, *test)

    def _warn_of_divergence(self) -> None:
        """Say once that the training loss, though finite, is far above that of guessing.

        Both in training and in evaluation mode: young statistics of batch_norm make the latter high at first.
        """
        classes, rows = len(self.prepared.data.classes), self.progress.rows
        guessing = metrics.loss_of_guessing(classes, self.prepared.recipe.train.loss)
        high = [
            row.epoch
            for row in rows
            if row.train_loss > DIVERGED * guessing and row.objective > guessing * DIVERGED / 2
        ]
        if high and high[0] == len(rows):
            text = f"epoch {len(rows)}: the training loss is {rows[-1].train_loss:.4g}, that of guessing {guessing:.4g}"
            self._tell(Notice(text + ": training diverges. Lower the learning rate (--lr), or clip gradients"))

    def _draw(self) -> None:
        if not self.world.first:
            return
        with self.profile.phase("pictures"):
            from cnnlab.report.figures import draw_curves

            path, progress = self.folder.path / "curves.png", self.progress
            best = best_of(progress.rows)
            chosen = best is not None and best.epoch == progress.best_epoch
            draw_curves(path, progress.rows, progress.best_epoch, self._title(), best=chosen)
            if self.log is not None:
                self.log.draw(self._title())

    def _title(self) -> str:
        recipe, data = self.prepared.recipe, self.prepared.data
        on = with_stand_in(data.name, data.requested, data.fallback)
        return f"{printable(shown_name(recipe.model.arch))} on {on}, seed {recipe.seed}"
