"""What `cnnlab train` shows: the loading, a live table of epochs, curves, the result."""

import time
from types import TracebackType
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from cnnlab.cli.render.console import Output
from cnnlab.cli.render.curves import Curves
from cnnlab.models.registry import is_user_file
from cnnlab.text import counted, printable
from cnnlab.training.events import EpochDone, Event, Loading, Notice, RunFinished, RunStarted, StepDone
from cnnlab.training.run_folder import EpochRow, best_of

_REFRESH_SECONDS = 0.25


class TrainView:
    """Shows events as they come: live on a terminal, plain lines elsewhere."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.live: Live | None = None
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[note]}"), expand=True
        )
        self.task = self.bar.add_task("", total=1, note="")
        self.started: RunStarted | None = None
        self.rows: list[EpochRow] = []
        self.best = 0
        self.began = self.shown = 0.0
        self.notices: list[str] = []

    def __enter__(self) -> "TrainView":
        self._diverted = self.output.divert()
        self._diverted.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_live()
        self._diverted.__exit__(kind, error, trace)

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Loading):
            self._loading(event)
        elif isinstance(event, Notice):
            self.notices.append(event.text)
            if self.started is not None:
                self.output.note(event.text)
        elif isinstance(event, RunStarted):
            self._run_started(event)
        elif isinstance(event, StepDone):
            self._step(event)
        elif isinstance(event, EpochDone):
            self._epoch(event)
        elif isinstance(event, RunFinished):
            self._finished(event)

    @property
    def animated(self) -> bool:
        """Whether there is a terminal that can redraw."""
        return self.output.talk.is_terminal and not self.output.talk.is_dumb_terminal and not self.output.quiet

    def _loading(self, event: Loading) -> None:
        if not self.animated:
            return
        self._start_live()
        share = f"{event.done:,}/{event.total:,}" if event.total else f"{event.done:,}"
        self.bar.update(
            self.task,
            description=printable(event.task),
            total=event.total,
            completed=event.done,
            note=f"{share} {event.unit}",
        )
        self._refresh(self.bar)

    def _run_started(self, event: RunStarted) -> None:
        self._stop_live()
        self.started, self.rows = event, list(event.rows)
        best = best_of(self.rows)
        self.best = best.epoch if best else 0
        if event.fallback:
            self.output.say(
                Text(
                    f"{event.data_requested} could not be found or downloaded: training on the built-in {event.data} "
                    f"instead. The real thing, with network: {event.real_command}",
                    style="bold yellow",
                )
            )
        for notice in self.notices:
            self.output.note(notice)
        height, width, channels = event.image_shape
        images = ", ".join(f"{count:,} {part}" for part, count in event.images.items() if count)
        self.output.say(
            Text.assemble(
                (event.arch, "bold"),
                f"  {event.parameters:,} parameters, {_big(event.macs)} multiply-adds an image\n",
                f"{printable(event.data)}: {images} images of {channels}x{height}x{width}, {event.classes} classes\n",
                f"{event.engine} on {event.device}, {event.precision}, {counted(event.threads, 'thread')}; "
                f"{counted(event.epochs, 'epoch')} of {counted(event.steps_per_epoch, 'step')}\n",
                f"{printable(event.run)}",
            )
        )
        if event.first_epoch > 1:
            self.output.say(Text(f"going on after epoch {event.first_epoch - 1}", style="bold"))
        self.began = time.monotonic()
        if self.animated:
            self._start_live()
        elif not self.output.quiet:
            self.output.talk.print(_line(None, event.epochs, None), soft_wrap=True)

    def _step(self, event: StepDone) -> None:
        if self.live is None or self.started is None:
            return
        steps = self.started.steps_per_epoch
        left = self._left(event.epoch - 1 + event.step / steps)
        note = f"objective {loss(event.objective)}  {event.images_per_s:,.0f} images/s  {left} left"
        self.bar.update(self.task, description=f"epoch {event.epoch}", total=steps, completed=event.step, note=note)
        self._refresh(Group(self._table(), self.bar))

    def _epoch(self, event: EpochDone) -> None:
        assert self.started is not None
        self.rows.append(event.row)
        if event.best:
            self.best = event.row.epoch
        if self.live is not None:
            self.live.update(Group(self._table(), self.bar), refresh=True)
        elif not self.output.quiet:
            line = _line(event.row, self.started.epochs, self._left(event.row.epoch), best=event.best)
            self.output.talk.print(line, soft_wrap=True)

    def _finished(self, event: RunFinished) -> None:
        if self.live is not None:
            self.live.update(self._table(), refresh=True)
        self._stop_live()
        if self.started is None:  # a run that was finished already
            for notice in self.notices:
                self.output.say(Text(notice, style="yellow"))
        if event.reason is not None:
            self.output.say(Text(f"ended early: {event.reason}", style="yellow"))
        if not self.output.quiet:
            render_curves(self.output, list(event.rows))
            render_result(self.output, event)
            if "profile" in event.result:
                render_profile(self.output, event.result["profile"])

    def _left(self, epochs_done: float) -> str:
        assert self.started is not None
        before, done = (
            self.started.growth.work(epochs / self.started.epochs)
            for epochs in (self.started.first_epoch - 1, epochs_done)
        )
        if done <= before:
            return "--:--"
        return duration((time.monotonic() - self.began) / (done - before) * (1 - done))

    def _table(self) -> Table:
        """The last epochs that fit, and the best one if it is older."""
        assert self.started is not None
        table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
        for heading in ("epoch", "train loss", "val loss", "train acc", "val acc", "lr", "images/s", "time"):
            table.add_column(heading, justify="right", no_wrap=True)
        room = max(3, min(25, self.output.talk.height - 8))
        rows = self.rows[-room:]
        if self.best and self.rows and self.rows[self.best - 1] not in rows:
            rows = [self.rows[self.best - 1], *rows[1:]]
        for row in rows:
            style = "bold green" if row.epoch == self.best else ""
            table.add_row(*_cells(row, self.started.epochs), style=style)
        return table

    def _start_live(self) -> None:
        if self.live is None:
            self.live = Live(console=self.output.talk, auto_refresh=False, transient=False)
            self.live.start()

    def _stop_live(self) -> None:
        if self.live is not None:
            if self.started is None:
                self.live.transient = True
            self.live.stop()
            self.live = None

    def _refresh(self, renderable: RenderableType) -> None:
        """Redraw, but not so often that drawing costs training time."""
        now = time.monotonic()
        if self.live is not None and now - self.shown >= _REFRESH_SECONDS:
            self.shown = now
            self.live.update(renderable, refresh=True)


def render_curves(output: Output, rows: list[EpochRow]) -> None:
    """Loss and accuracy of training and validation, drawn in the terminal."""
    x = [row.epoch for row in rows]
    output.say(
        "",
        Curves("loss", x, {"train": [row.train_loss for row in rows], "val": [row.val_loss for row in rows]}),
        Curves(
            "accuracy %",
            x,
            {
                "train": [100 * row.train_acc for row in rows],
                "val": [None if row.val_acc is None else 100 * row.val_acc for row in rows],
            },
        ),
    )


def render_result(output: Output, event: RunFinished) -> None:
    """The figures that count, the files, and what to type next."""
    result, run = event.result, printable(event.run)
    stand_in = f" (digits stand in for {result['data_requested']})" if result["fallback"] else ""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("test accuracy", Text(percent(result["test_acc"]) + stand_in, style="bold green"))
    best, epoch = best_of(event.rows), result["best_epoch"]
    if epoch == result["epochs"] and (best is None or best.epoch != epoch):  # train.select, or nothing to choose by
        table.add_row("weights of", f"the last epoch, {epoch}")
    else:
        table.add_row("best epoch", f"{epoch} of {result['epochs']}, by validation accuracy")
    table.add_row("there", f"train {percent(result['train_acc'])}, val {percent(result['val_acc'])}")
    table.add_row("time", f"{duration(result['seconds'])}, {result['images_per_s']:,.0f} images/s in training")
    table.add_row("curves", Text(f"{run}/curves.png"))
    trust = " --trust-code" if is_user_file(result["arch"]) else ""
    table.add_row("go on", Text(f"cnnlab evaluate {run}{trust}"))
    output.say("", table)


def render_profile(output: Output, profile: dict[str, Any]) -> None:
    """Where the time went: seconds, share of all, and milliseconds for each step of training."""
    table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    table.add_column("where the time went", no_wrap=True)
    for heading in ("seconds", "share", "ms a step"):
        table.add_column(heading, justify="right", no_wrap=True)
    for phase in profile["phases"]:
        step = phase["ms_per_step"]
        table.add_row(
            phase["name"],
            f"{phase['seconds']:,.2f}",
            f"{100 * phase['share']:.1f} %",
            "-" if step is None else f"{step:,.2f}",
        )
    table.add_row("all", f"{profile['seconds']:,.2f}", "100.0 %", f"{profile['steps']:,} steps", style="bold")
    output.say("", table)


def percent(share: float | None) -> str:
    """An accuracy for people; a dash where there is none."""
    return "not measured" if share is None else f"{100 * share:.2f} %"


def loss(value: float) -> str:
    """A loss in eight characters at most, that of a training that diverges too."""
    return f"{value:.4f}" if abs(value) < 999.9999 else f"{value:.1e}"


def duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _cells(row: EpochRow, epochs: int) -> list[str]:
    return [
        f"{row.epoch}/{epochs}",
        loss(row.train_loss),
        "-" if row.val_loss is None else loss(row.val_loss),
        f"{100 * row.train_acc:.2f} %",
        "-" if row.val_acc is None else f"{100 * row.val_acc:.2f} %",
        f"{row.lr:.2e}",
        f"{row.images_per_s:,.0f}",
        duration(row.seconds),
    ]


def _line(row: EpochRow | None, epochs: int, left: str | None, *, best: bool = False) -> str:
    """An epoch, or the headings, as one plain line under 80 columns."""
    headings = ["epoch", "train loss", "val loss", "train acc", "val acc", "lr", "images/s", "left"]
    cells = headings if row is None else [*_cells(row, epochs)[:-1], left or ""]
    widths = [8, 10, 8, 9, 8, 8, 8, 7]
    return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)) + (" *" if best else "")


def _big(number: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)
