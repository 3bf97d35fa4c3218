"""Ctrl-C and SIGTERM: the first saves and stops, the second leaves at once. And a terminal that has gone away."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from cnnlab.errors import Stopped

if TYPE_CHECKING:
    from cnnlab.training.events import Event

    Tell = Callable[[Event], None]

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _AtOnce(BaseException):
    """A signal that ends what is going on right now; no `except Exception` may swallow it."""

    def __init__(self, number: int) -> None:
        self.number = number


class _Stopper:
    """Takes the signals, and stands between a run and what shows its events."""

    def __init__(self, show: "Tell") -> None:
        self.show = show
        self.training: Path | None = None
        """The run that is on its way; None while there is none, so that nothing needs saving."""
        self.asked: int | None = None
        """The signal that asks for the end of the run after this step."""

    def signal(self, number: int, frame: FrameType | None) -> None:
        if self.training is None or self.asked is not None:
            raise _AtOnce(number)
        self.asked = number

    def tell(self, event: "Event") -> None:
        """Show an event; between two steps, stop the run if that was asked for."""
        from cnnlab.training.events import EpochDone, RunFinished, RunStarted, StepDone

        if isinstance(event, RunStarted):
            self.training = event.run
        elif isinstance(event, RunFinished):
            self.training = None
        try:
            self.show(event)
        except OSError:  # the reader has gone (`| head`), or the disk that the output goes to is full
            abandon_output()
            self.show = _show_nothing
        if self.asked is not None and isinstance(event, StepDone | EpochDone):
            raise Stopped("asked to stop", signal_number=self.asked)


@contextlib.contextmanager
def stop_kindly(show: "Tell") -> Iterator["Tell"]:
    """Yield what a training is to tell its events: it shows them by `show`, and stops the run after a signal.

    Raises:
        Stopped: a signal came before the first step, or a second one, which does not wait for anything.
    """
    stopper = _Stopper(show)
    before = {}
    if threading.current_thread() is threading.main_thread():
        # What is ignored (nohup, a job in the background) stays ignored.
        taken = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, stopper.signal) for number in taken}
    try:
        yield stopper.tell
    except _AtOnce as asked:
        raise _left_at_once(asked.number, stopper.training) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def abandon_output() -> None:
    """Let what is still said to a stream that nobody reads go nowhere, also when Python flushes it at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _show_nothing(event: "Event") -> None:
    pass


def _left_at_once(number: int, run: Path | None) -> Stopped:
    from cnnlab.training.torchrun import resume_command

    if run is None:
        return Stopped("stopped before the first step: nothing was lost", signal_number=number)
    return Stopped(
        "stopped at once: what was saved last is whole",
        signal_number=number,
        hint=f"Go on: {resume_command(run)}",
    )
