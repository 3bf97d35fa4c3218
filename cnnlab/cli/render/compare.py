"""What `cnnlab compare` shows while it goes on: the contestants, how far each run is, the time left."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cnnlab import numbers
from cnnlab.cli.render.comparison import mark, short
from cnnlab.cli.render.console import Output
from cnnlab.cli.render.live import LiveView, images_in_words
from cnnlab.cli.render.train import duration, loss, percent
from cnnlab.comparison.events import (
    CompareFinished,
    CompareStarted,
    Event,
    RunBegan,
    RunEnded,
    RunEpoch,
    RunReused,
    RunStep,
)
from cnnlab.text import counted, printable
from cnnlab.training.events import Loading, Notice


@dataclass
class _Standing:
    """How far a contestant is."""

    done: int = 0
    epoch: str = ""
    val_acc: float | None = None
    tests: list[float] = field(default_factory=list)


class CompareView(LiveView):
    """How far each contestant is, with the time left."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self.folder: Path | None = None
        self.started: CompareStarted | None = None
        self.standings: dict[str, _Standing] = {}
        self.whole: Any = None

    def show(self, event: Any) -> None:
        """Show one event; those of a training, which are told beside the comparison's own, are left out."""
        shown: dict[type, Any] = {
            Loading: self.loading,
            Notice: self._notice,
            CompareStarted: self._compare_started,
            RunBegan: self._began,
            RunReused: self._reused,
            RunStep: self._step,
            RunEpoch: self._epoch,
            RunEnded: self._ended,
            CompareFinished: self._finished,
        }
        if type(event) in shown:
            shown[type(event)](event)

    def _notice(self, event: Notice) -> None:
        if self.started is None:
            self.notices.append(event.text)
        else:
            self.output.note(event.text)

    def _compare_started(self, event: CompareStarted) -> None:
        self.begin(event, "comparing")
        self.started, self.folder = event, event.folder
        self.standings = {planned.name: _Standing() for planned in event.contestants}
        self.output.say(
            Text.assemble(
                (f"{counted(len(event.contestants), 'net')}, {counted(len(event.seeds), 'seed')}", "bold"),
                f"  {counted(event.runs, 'run')} of at most {counted(event.epochs, 'epoch')}"
                + (f", {event.finished} already finished" if event.finished else "")
                + f"; {event.engine} on {event.device}\n",
                f"{images_in_words(event)}\n",
                printable(event.folder),
            )
        )
        if self.animated:
            self.whole = self.bar.add_task("all runs", total=float(event.runs), note="")
        else:
            self._plain_contestants(event)

    def _plain_contestants(self, event: CompareStarted) -> None:
        for planned in event.contestants:
            left = "" if planned.match_left is None else f", {100 * planned.match_left:+.2f} % from the first"
            matched = f"  ({printable(planned.matched)}{left})" if planned.matched else ""
            cost = f"{planned.parameters:,} parameters, {numbers.big(planned.macs)} multiply-adds"
            self.output.say(Text(f"  {printable(planned.name)}  {cost}{matched}"))

    def _began(self, event: RunBegan) -> None:
        standing = self.standings[event.contestant]
        standing.epoch, standing.val_acc = f"{event.first_epoch - 1}/{event.epochs}", None
        on = f", going on after epoch {event.first_epoch - 1}" if event.first_epoch > 1 else ""
        self._line(f"{self._which(event)} begins{on}")
        self._draw(event, (event.first_epoch - 1) / event.epochs, on.removeprefix(", "), event.seconds_left)

    def _reused(self, event: RunReused) -> None:
        self._keep(event.contestant, event.result)
        self._line(f"{self._which(event)} has already finished: {printable(event.folder)}")
        self._draw(event, 1.0, "already finished", None, over=True)

    def _step(self, event: RunStep) -> None:
        note = f"epoch {event.epoch}/{event.epochs}  {event.images_per_s:,.0f} images/s"
        self._draw(event, event.share, note, event.seconds_left, at_once=False)

    def _epoch(self, event: RunEpoch) -> None:
        row = event.row
        standing = self.standings[event.contestant]
        standing.epoch, standing.val_acc = f"{row['epoch']}/{event.epochs}", row["val_acc"]
        val = "" if row["val_loss"] is None else f"  val {loss(row['val_loss'])} {100 * row['val_acc']:5.2f} %"
        self._line(
            f"{self._which(event)}  epoch {row['epoch']:>3}/{event.epochs}  train {loss(row['train_loss'])}{val}"
            f"  {self._left(event.seconds_left)}" + (" *" if event.best else "")
        )
        note = f"epoch {standing.epoch}  {row['images_per_s']:,.0f} images/s"
        self._draw(event, row["epoch"] / event.epochs, note, event.seconds_left)

    def _ended(self, event: RunEnded) -> None:
        self._keep(event.contestant, event.result)
        early = f"; ended early: {event.reason}" if event.reason else ""
        test = percent(event.result.get("test_acc"))
        self._line(f"{self._which(event)} done: test {test}, {duration(event.result['seconds'])}{early}")
        self._draw(event, 1.0, "", event.seconds_left, over=True)

    def _finished(self, event: CompareFinished) -> None:
        self.stop()

    def _keep(self, contestant: str, result: dict[str, Any]) -> None:
        standing = self.standings[contestant]
        standing.done += 1
        standing.epoch, standing.val_acc = "", result.get("val_acc")
        if isinstance(result.get("test_acc"), float):
            standing.tests.append(result["test_acc"])

    def _which(self, event: Event) -> str:
        assert self.started is not None
        run = event.number, event.contestant, event.seed  # type: ignore[union-attr]
        return f"run {run[0]}/{self.started.runs}  {printable(run[1])} s{run[2]}"

    def _left(self, seconds: float | None) -> str:
        return "" if seconds is None else f"{duration(seconds)} left"

    def _line(self, text: str) -> None:
        if not self.animated and not self.output.quiet:
            self.output.talk.print(Text(text), soft_wrap=True)

    def _draw(
        self, event: Any, share: float, note: str, left: float | None, *, over: bool = False, at_once: bool = True
    ) -> None:
        """The bars of the present run and of all, below the standings; `over`: the run counts as done already."""
        if not self.animated or self.started is None:
            return
        self.bar.update(self.whole, completed=event.number - 1 + (1.0 if over else share), note=self._left(left))
        name = f"run {event.number}/{self.started.runs} {short(event.contestant, 24)} s{event.seed}"
        self.bar.update(self.task, description=name, total=1.0, completed=share, note=note)
        self.draw(at_once=at_once)

    def picture(self) -> RenderableType:
        """The standings, once there are any, and the bars."""
        return self.bar if self.started is None else Group(self._table(), self.bar)

    def _table(self) -> Table:
        """The contestants, each with its runs done, the epoch it is in, its latest validation and its test accuracy."""
        assert self.started is not None
        table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
        table.add_column(width=1)
        table.add_column("net", overflow="fold")
        for heading in ("parameters", "runs", "epoch", "val", "test"):
            table.add_column(heading, justify="right", no_wrap=True)
        for number, planned in enumerate(self.started.contestants[: max(3, self.output.talk.height - 6)]):
            standing = self.standings[planned.name]
            tested = sum(standing.tests) / len(standing.tests) if standing.tests else None
            table.add_row(
                mark(self.output.talk, number),
                Text(short(planned.name, 60)),
                f"{planned.parameters:,}",
                f"{standing.done}/{len(self.started.seeds)}",
                standing.epoch,
                "" if standing.val_acc is None else percent(standing.val_acc),
                "" if tested is None else percent(tested),
            )
        return table
