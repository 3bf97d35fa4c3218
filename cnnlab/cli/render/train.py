"""What `cnnlab train` shows: the loading, a live table of epochs, curves, the result."""

import time
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cnnlab import numbers
from cnnlab.cli.render.console import Output
from cnnlab.cli.render.curves import Curves
from cnnlab.cli.render.live import LiveView, images_in_words
from cnnlab.models.registry import is_user_file
from cnnlab.text import counted, printable
from cnnlab.training.events import EpochDone, Event, Loading, Notice, RunFinished, RunStarted, StepDone
from cnnlab.training.run_folder import EpochRow, best_of


class TrainView(LiveView):
    """The epochs of a training, with the time left."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self.started: RunStarted | None = None
        self.rows: list[EpochRow] = []
        self.best = 0
        self.began = 0.0

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Loading):
            self.loading(event)
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

    def _run_started(self, event: RunStarted) -> None:
        self.begin(event, "training")
        self.started, self.rows = event, list(event.rows)
        best = best_of(self.rows)
        self.best = best.epoch if best else 0
        self.output.say(
            Text.assemble(
                (event.arch, "bold"),
                f"  {event.parameters:,} parameters, {numbers.big(event.macs)} multiply-adds an image\n",
                f"{images_in_words(event)}\n",
                f"{event.engine} on {event.device}, {event.precision}, {counted(event.threads, 'thread')}; "
                f"{counted(event.epochs, 'epoch')} of {counted(event.steps_per_epoch, 'step')}\n",
                f"{printable(event.run)}",
            )
        )
        if event.first_epoch > 1:
            self.output.say(Text(f"going on after epoch {event.first_epoch - 1}", style="bold"))
        self.began, self.stays = time.monotonic(), True
        if self.animated:
            self.progress(f"epoch {event.first_epoch}", 0, event.steps_per_epoch, "")
        elif not self.output.quiet:
            self.output.talk.print(_line(None, event.epochs, None), soft_wrap=True)

    def _step(self, event: StepDone) -> None:
        if not self.animated or self.started is None:
            return
        steps = self.started.steps_per_epoch
        left = self._left(event.epoch - 1 + event.step / steps)
        note = f"objective {loss(event.objective)}  {event.images_per_s:,.0f} images/s  {left} left"
        self.progress(f"epoch {event.epoch}", event.step, steps, note)

    def _epoch(self, event: EpochDone) -> None:
        assert self.started is not None
        self.rows.append(event.row)
        if event.best:
            self.best = event.row.epoch
        if self.animated:
            self.draw(at_once=True)
        elif not self.output.quiet:
            line = _line(event.row, self.started.epochs, self._left(event.row.epoch), best=event.best)
            self.output.talk.print(line, soft_wrap=True)

    def _finished(self, event: RunFinished) -> None:
        if self.live is not None:
            self.live.update(self._table(), refresh=True)  # without the bar
        self.stop()
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

    def picture(self) -> RenderableType:
        """The table of epochs, once there is a run, and the bar."""
        return self.bar if self.started is None else Group(self._table(), self.bar)

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


def render_curves(output: Output, rows: list[EpochRow]) -> None:
    """Loss and accuracy of training and validation, drawn in the terminal."""
    loss: dict[str, list[float | None]] = {"train": [row.train_loss for row in rows]}
    accuracy: dict[str, list[float | None]] = {"train": [100 * row.train_acc for row in rows]}
    if any(row.val_loss is not None for row in rows):
        loss["val"] = [row.val_loss for row in rows]
        accuracy["val"] = [None if row.val_acc is None else 100 * row.val_acc for row in rows]
    x = [row.epoch for row in rows]
    output.say("", Curves("loss", x, loss), Curves("accuracy %", x, accuracy))


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
    table.add_row("at that epoch", f"train {percent(result['train_acc'])}, val {percent(result['val_acc'])}")
    table.add_row("time", f"{duration(result['seconds'])}, {result['images_per_s']:,.0f} images/s in training")
    table.add_row("curves", Text(f"{run}/curves.png"))
    trust = " --trust-code" if is_user_file(result["arch"]) else ""
    table.add_row("next", Text(f"cnnlab evaluate {run}{trust}"))
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
    """An accuracy in %, or that there is none."""
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
