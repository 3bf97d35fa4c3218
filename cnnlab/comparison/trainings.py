"""The trainings of a comparison: what is finished is taken, what is half done goes on, the rest begins."""

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cnnlab.comparison.clock import Clock
from cnnlab.comparison.contestants import code_of
from cnnlab.comparison.events import Event, RunBegan, RunEnded, RunEpoch, RunReused, RunStep, Tell
from cnnlab.comparison.plan import Plan, PlannedRun
from cnnlab.comparison.reuse import FinishedRuns
from cnnlab.data import DataSet
from cnnlab.errors import CheckpointError, NumericError, Stopped
from cnnlab.files import is_file, require_no_link
from cnnlab.models.registry import is_user_file, shown_name
from cnnlab.recipe.load import from_file
from cnnlab.text import printable
from cnnlab.training import events as training
from cnnlab.training.going_on import differences, result_of
from cnnlab.training.loop import resume, train
from cnnlab.training.prepare import divide
from cnnlab.training.run_folder import EpochRow, RunFolder
from cnnlab.training.saving import portable
from cnnlab.training.schedule import FULL_SIZE, Growth
from cnnlab.training.settings import Settings


class Trainings:
    """All runs of a plan, one after the other."""

    def __init__(
        self, plan: Plan, data: DataSet, settings: Settings, folder: Path, finished: FinishedRuns, tell: Tell
    ) -> None:
        self.plan, self.data, self.settings, self.folder = plan, data, settings, folder
        self.pool, self.tell = finished, tell
        self.clock = Clock([planned.macs for planned in plan.planned])
        self.remarks: list[str] = []
        """What a reader of the results should know of where the runs came from."""
        train_part, val_part = divide(plan.runs[0].recipe, data)
        self.images = {"train": len(train_part), "val": len(val_part or ()), "test": len(data.test)}
        self.device = finished.device.type if settings.engine == "torch" else "cpu"
        self.finished = sum(self._finished(run) is not None for run in plan.runs)
        """Runs that were finished before the first one begins."""

    def carry_out(self) -> tuple[RunFolder, ...]:
        """Train what is not trained yet: the run folders, in the plan's order.

        Raises:
            CnnlabError: as a training fails, with the contestant's name.
        """
        return tuple(self._one(number, run) for number, run in enumerate(self.plan.runs, 1))

    def _one(self, number: int, run: PlannedRun) -> RunFolder:
        own = RunFolder(run.given or self.folder / run.name)
        if run.given is None and os.path.lexists(own.path):
            self._require_planned(run, own)
        done = self._finished(run)
        if done is not None:
            return self._reuse(number, run, done)
        watch = _Watch(self, number, run, own)
        settings = replace(self.settings, out=self.folder, name=run.name, test=True)
        try:
            if own.is_begun:
                # A user's file was trusted when the contestant entered; that the run has no other one is checked.
                trusted = is_user_file(run.recipe.model.arch)
                resume(own.path, settings, watch.tell, trust_code=trusted, data=self.data)
            else:
                train(run.recipe, settings, watch.tell, data=self.data)
        except Stopped as stopped:
            raise Stopped(stopped.message, signal_number=stopped.exit_code - 128) from None
        except NumericError as error:
            raise NumericError(f"{self.name(run)}, seed {run.seed}: {error.message}", hint=error.hint) from error
        self.pool.add(own)
        return own

    def _require_planned(self, run: PlannedRun, own: RunFolder) -> None:
        """Refuse a run in the comparison's folder that is another than the planned one: it may come from a stranger.

        Raises:
            CheckpointError: it has another recipe, or another Python file.
            MachineError: it is a link to elsewhere.
        """
        require_no_link(own.path)
        planned = self.plan.entries[run.contestant]
        differing = differences(run.recipe, portable(from_file(own.recipe, trust_code=True)), "the run's")
        if not differing and planned.code is not None:
            file = own.path / shown_name(run.recipe.model.arch).rpartition(":")[0]
            if not is_file(file) or code_of(file) != planned.code:
                differing = [f"{printable(file.name)} is not the file that was named"]
        if differing:
            raise CheckpointError(
                f"{printable(own.path)} is not the run that is planned there:\n" + "\n".join(differing),
                hint="Remove that folder, and the run is trained again; or choose another --name",
            )

    def name(self, run: PlannedRun) -> str:
        """The contestant's name."""
        return self.plan.entries[run.contestant].name

    def waiting(self, number: int) -> list[int]:
        """The contestants of the runs after `number` that are not finished."""
        return [run.contestant for run in self.plan.runs[number:] if self._finished(run) is None]

    def _finished(self, run: PlannedRun) -> RunFolder | None:
        """The finished run that stands for this one: itself, then another of its recipe; None where there is none."""
        own = RunFolder(run.given or self.folder / run.name)
        if own.is_finished:
            return own
        return None if own.is_begun else self.pool.find(run.recipe)

    def _reuse(self, number: int, run: PlannedRun, done: RunFolder) -> RunFolder:
        growth = Growth.of(run.recipe.train)
        for row in done.rows():
            self.clock.epoch(run.contestant, row.seconds, growth.epoch(row.epoch, run.recipe.train.epochs))
        if run.given is None and done.path.parent != self.folder:
            self.remarks.append(
                f"{self.name(run)}, seed {run.seed}: the finished run {printable(done.path)} stands for it"
            )
        self.tell(RunReused(self.name(run), run.seed, number, done.path, result_of(done)))
        return done


@dataclass
class _Watch:
    """Turns what a training tells into what a comparison tells."""

    trainings: Trainings
    number: int
    run: PlannedRun
    folder: RunFolder
    steps: int = 1
    epochs: int = 1
    growth: Growth = FULL_SIZE
    waiting: list[int] = field(default_factory=list)

    def tell(self, event: training.Event) -> None:
        """Tell the comparison's own event, then the training's: whoever stops a run does so on the latter."""
        own = self._own(event)
        if own is not None:
            self.trainings.tell(own)
        self.trainings.tell(event)

    def _own(self, event: training.Event) -> Event | None:
        name, seed, number = self.trainings.name(self.run), self.run.seed, self.number
        if isinstance(event, training.RunStarted):
            self.steps, self.epochs = event.steps_per_epoch, event.epochs
            self.waiting = self.trainings.waiting(number)
            self.growth = event.growth
            for row in event.rows:
                self._time(row)
            left = self._left((event.first_epoch - 1) / event.epochs)
            return RunBegan(name, seed, number, event.run, event.first_epoch, event.epochs, left)
        if isinstance(event, training.StepDone):
            share = (event.epoch - 1 + event.step / self.steps) / self.epochs
            return RunStep(
                name, seed, number, event.epoch, event.step, self.steps, self.epochs, event.objective,
                event.images_per_s, share, self._left(share),
            )  # fmt: skip
        if isinstance(event, training.EpochDone):
            self._time(event.row)
            left = self._left(event.row.epoch / self.epochs)
            return RunEpoch(name, seed, number, self.epochs, asdict(event.row), event.best, left)
        if isinstance(event, training.RunFinished):
            return RunEnded(name, seed, number, event.run, event.result, event.reason, self._left(1.0))
        return None

    def _time(self, row: EpochRow) -> None:
        self.trainings.clock.epoch(self.run.contestant, row.seconds, self.growth.epoch(row.epoch, self.epochs))

    def _left(self, share: float) -> float | None:
        """Seconds left when the part `share` of the present run's steps is done."""
        return self.trainings.clock.left(self.waiting, self.run.contestant, self.growth.work(share))
