"""How long the rest of a comparison takes, from the epochs that were timed."""

from collections.abc import Sequence


class Clock:
    """Seconds of an epoch by contestant; who has not trained yet is judged by the others, by multiply-adds."""

    def __init__(self, macs: Sequence[int], epochs: int) -> None:
        self.macs, self.epochs = macs, epochs
        self.timed: dict[int, list[float]] = {}

    def epoch(self, contestant: int, seconds: float) -> None:
        """An epoch of a contestant took so long."""
        self.timed.setdefault(contestant, []).append(seconds)

    def left(self, waiting: Sequence[int], present: int | None = None, share: float = 0.0) -> float | None:
        """Seconds for the runs of the contestants `waiting`, and the rest of the present run, `share` of it done."""
        if not self.timed:
            return None
        seconds = sum(self._run(contestant) for contestant in waiting)
        return seconds + (self._run(present) * (1 - share) if present is not None else 0.0)

    def _run(self, contestant: int) -> float:
        return self.epochs * self._seconds(contestant)

    def _seconds(self, contestant: int) -> float:
        own = self.timed.get(contestant)
        if own:
            return sum(own) / len(own)
        # Small nets spend their time on other things than multiply-adds: the root lies between them and the large.
        guesses = [
            sum(times) / len(times) * (max(1, self.macs[contestant]) / max(1, self.macs[other])) ** 0.5
            for other, times in self.timed.items()
        ]
        return sum(guesses) / len(guesses)
