"""Where the time of a training goes, by phase. Off unless asked for: a phase then costs a call and no clock is read."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

PHASES = (
    "data",
    "forward",
    "backward",
    "all-reduce",
    "optimiser",
    "evaluation",
    "metrics",
    "gradients",
    "saving",
    "progress",
    "pictures",
)
"""data: picking, augmenting, normalising. all-reduce: adding up the gradients of several processes, and waiting for the
slowest. evaluation: outputs for train_loss, val_loss, the test. metrics: loss and accuracy from outputs. progress:
telling, which is what the command line shows."""
_NOTHING = contextlib.nullcontext()


class Profile:
    """Seconds by phase; a phase within another interrupts it, so that all of them add up to no more than the whole."""

    def __init__(self, wait: Callable[[], None] | None) -> None:
        """Start the clock; None: off. `wait` returns when the device has done all that was asked of it."""
        self.wait = wait
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._open: list[str] = []
        self._since = self._began = time.perf_counter()

    @property
    def on(self) -> bool:
        """Whether anything is measured."""
        return self.wait is not None

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Count the time within as that of the phase `name`, one of PHASES."""
        return _NOTHING if self.wait is None else self._measured(name)

    def document(self, steps: int) -> dict[str, Any]:
        """Seconds in all, `steps` of training, and for each phase seconds, share of all, milliseconds a step."""
        whole = time.perf_counter() - self._began
        seconds = {name: value for name, value in self.seconds.items() if value}
        seconds["other"] = max(0.0, whole - sum(seconds.values()))
        phases = [
            {
                "name": name,
                "seconds": round(value, 4),
                "share": round(value / whole, 5),
                "ms_per_step": round(1e3 * value / steps, 4) if steps else None,
            }
            for name, value in seconds.items()
        ]
        return {"seconds": round(whole, 4), "steps": steps, "phases": phases}

    @contextlib.contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        self._lap()
        self._open.append(name)
        try:
            yield
        finally:
            self._lap()
            self._open.pop()

    def _lap(self) -> None:
        """Give the time since the last lap to the innermost open phase."""
        assert self.wait is not None
        self.wait()
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


OFF = Profile(None)
"""Measures nothing."""
