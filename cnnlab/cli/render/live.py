"""A view of events as they come: a bar and a table that are redrawn on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

from cnnlab.cli.render.console import Output
from cnnlab.text import printable

if TYPE_CHECKING:
    from cnnlab.comparison.events import CompareStarted
    from cnnlab.training.events import Loading, RunStarted

_REFRESH_SECONDS = 0.25


class LiveView:
    """What the views of a training and of a comparison have in common; used as a context, which ends the drawing."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.notices: list[str] = []
        """Held until something is begun, or told by whoever shows no beginning."""
        self.live: Live | None = None
        self.stays = False
        """Whether what is drawn stays on the screen at the end."""
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[note]}"), expand=True
        )
        self.task = self.bar.add_task("", total=1, note="")
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self._diverted = self.output.divert()
        self._diverted.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._diverted.__exit__(kind, error, trace)

    @property
    def animated(self) -> bool:
        """Whether there is a terminal that can redraw."""
        return self.output.talk.is_terminal and not self.output.talk.is_dumb_terminal and not self.output.quiet

    def loading(self, event: "Loading") -> None:
        """Show how far reading the data, or a prediction, is."""
        share = f"{event.done:,}/{event.total:,}" if event.total else f"{event.done:,}"
        self.progress(printable(event.task), event.done, event.total, f"{share} {event.unit}")

    def progress(self, description: str, done: float, total: float | None, note: str) -> None:
        """Set the bar, and redraw."""
        self.bar.update(self.task, description=description, total=total, completed=done, note=note)
        self.draw()

    def draw(self, *, at_once: bool = False) -> None:
        """Redraw, but not so often that drawing costs training time."""
        if not self.animated:
            return
        if self.live is None:
            self.live = Live(console=self.output.talk, auto_refresh=False)
            self.live.start()
        now = time.monotonic()
        if at_once or now - self._drawn >= _REFRESH_SECONDS:
            self._drawn = now
            self.live.update(self.picture(), refresh=True)

    def picture(self) -> RenderableType:
        """What is drawn now."""
        return self.bar

    def stop(self) -> None:
        """End the drawing."""
        if self.live is not None:
            self.live.transient = not self.stays
            self.live.stop()
            self.live = None

    def begin(self, event: "RunStarted | CompareStarted", doing: str) -> None:
        """Say what a reader should know before the first step."""
        self.stop()
        if event.fallback:
            self.output.warn(
                f"{event.data_requested} could not be found or downloaded: {doing} on the built-in {event.data} "
                f"instead. The real thing, with network: {event.real_command}"
            )
        for notice in self.notices:
            self.output.note(notice)


def images_in_words(event: "RunStarted | CompareStarted") -> str:
    """The data set, its parts, the size of its images and its classes, in one line."""
    height, width, channels = event.image_shape
    parts = ", ".join(f"{count:,} {part}" for part, count in event.images.items() if count)
    return f"{printable(event.data)}: {parts} images of {channels}x{height}x{width}, {event.classes} classes"
