"""How long the rest of a comparison takes, from the epochs that were timed."""

from collections.abc import Sequence


class Clock:
    """Seconds of a run by contestant; who has not trained yet is judged by the others, by multiply-adds."""

    def __init__(self, macs: Sequence[int]) -> None:
        self.macs = macs
        self.timed: dict[int, tuple[float, float]] = {}

    def epoch(self, contestant: int, seconds: float, part: float) -> None:
        """An epoch of a contestant, the part `part` of the work of a run, took so long."""
        spent, done = self.timed.get(contestant, (0.0, 0.0))
        self.timed[contestant] = spent + seconds, done + part

    def left(self, waiting: Sequence[int], present: int | None = None, share: float = 0.0) -> float | None:
        """Seconds for the runs of the contestants `waiting` and the rest of the present run, `share` of it done."""
        if not self.timed:
            return None
        seconds = sum(self._run(contestant) for contestant in waiting)
        return seconds + (self._run(present) * (1 - share) if present is not None else 0.0)

    def _run(self, contestant: int) -> float:
        own = self.timed.get(contestant)
        if own is not None:
            return own[0] / own[1]
        # Small nets spend their time on other things than multiply-adds: the root lies between them and the large.
        guesses = [
            spent / done * (max(1, self.macs[contestant]) / max(1, self.macs[other])) ** 0.5
            for other, (spent, done) in self.timed.items()
        ]
        return sum(guesses) / len(guesses)
