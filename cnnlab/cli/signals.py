"""Ctrl-C and SIGTERM: stop where the last saved epoch can be gone on from, and say how."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from cnnlab.errors import Stopped
from cnnlab.text import printable

if TYPE_CHECKING:
    from cnnlab.cli.render.train import TrainView


class _Terminated(BaseException):
    """SIGTERM arrived; no `except Exception` may swallow it."""


@contextlib.contextmanager
def stop_kindly(view: "TrainView") -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into `Stopped` (130, 143) with the command that goes on."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminate) if in_main_thread else None
    try:
        yield
    except KeyboardInterrupt:
        raise _stopped(view, signal.SIGINT) from None
    except _Terminated:
        raise _stopped(view, signal.SIGTERM) from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def _stopped(view: "TrainView", number: signal.Signals) -> Stopped:
    if view.started is None:
        return Stopped("stopped before the first step: nothing was written", signal_number=number)
    epochs = len(view.rows)
    saved = f"everything up to epoch {epochs} is saved" if epochs else "no epoch was finished yet"
    return Stopped(
        f"stopped: {saved}", signal_number=number, hint=f"Go on: cnnlab train --resume {printable(view.started.run)}"
    )
