"""The finished comparison: everything that its files, its figures, its page and the terminal show.

Shares (accuracies, differences, p-values) are in [0, 1]; losses are means over images; seconds are wall-clock.
Names of contestants, classes and images are fit to be shown (`cnnlab.text.printable`), yet still a stranger's text:
HTML and Markdown escape them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.choices import Band, Match, XAxis
from cnnlab.comparison.pairs import PairTest
from cnnlab.comparison.tested import Contestant
from cnnlab.data import Part


@dataclass(frozen=True, eq=False)
class Comparison:
    """Contestants on the same data, split, seeds and number of epochs, and what follows from it."""

    folder: Path
    data: str
    data_requested: str
    fallback: bool
    """Whether `data` stands in for `data_requested`."""
    real_command: str | None
    """With fallback: what to type for the data that were meant."""
    notices: tuple[str, ...]
    """Sentences that a reader of the results should know (of the data, the budget, reused runs)."""
    classes: tuple[str, ...]
    images: dict[str, int]
    """Images of train, val and test."""
    test: Part
    """The test images (N, H, W, C) uint8, their labels (N,) int64, and their names where they are files."""
    chance: float
    """Accuracy of always guessing the commonest class of the test part."""
    seeds: tuple[int, ...]
    epochs: int
    match: Match | None
    band: Band
    x: XAxis
    engine: str
    device: str
    command: str
    """The exact command line."""
    contestants: tuple[Contestant, ...]
    tests: tuple[PairTest, ...]
    """Every pair, in the order of the contestants."""

    @property
    def answer(self) -> str:
        """The first sentence: which is best, or that no difference is shown."""
        if len(self.tests) == 1:
            return self.tests[0].verdict
        best = max(self.contestants, key=lambda contestant: contestant.test_acc_mean)
        beaten = [test.b if test.a == best.name else test.a for test in self.tests if test.better == best.name]
        share = f"{100 * best.test_acc_mean:.1f} % of the test images"
        others = [other.name for other in self.contestants if other is not best and other.name not in beaten]
        if not others:
            return f"{best.name} is best, with {share}: better than {_listed(beaten)}"
        if beaten:
            return (
                f"{best.name} comes first, with {share}: better than {_listed(beaten)}; "
                f"no difference is shown to {_listed(others)}"
            )
        if any(other.test_acc_mean == best.test_acc_mean for other in self.contestants if other is not best):
            return f"no difference is shown between {_listed([best.name, *others])}; none has more than {share}"
        return f"no difference is shown between {best.name}, which comes first with {share}, and {_listed(others)}"

    @property
    def tested_epoch(self) -> str:
        """Whose weights are tested: the epoch in words."""
        last = [contestant.name for contestant in self.contestants if contestant.select == "last"]
        if len(last) == len(self.contestants):
            return "the last epoch"
        return "the best validation epoch" + (f" (the last one of {_listed(last)})" if last else "")

    @property
    def tested_heading(self) -> str:
        """The same in two words, for a column or a legend."""
        kinds = {contestant.select for contestant in self.contestants}
        return f"{kinds.pop()} epoch" if len(kinds) == 1 else "tested epoch"

    @property
    def environment(self) -> dict[str, Any]:
        """Of the first run: versions, processor, threads, precision, data fingerprint."""
        return self.contestants[0].runs[0].environment

    def document(self) -> dict[str, Any]:
        """comparison.json, and stdout with --json."""
        return {
            "folder": str(self.folder),
            "data": self.data,
            "data_requested": self.data_requested,
            "fallback": self.fallback,
            "real_command": self.real_command,
            "images": self.images,
            "classes": list(self.classes),
            "chance": self.chance,
            "seeds": list(self.seeds),
            "epochs": self.epochs,
            "match": self.match,
            "engine": self.engine,
            "device": self.device,
            "command": self.command,
            "notices": list(self.notices),
            "answer": self.answer,
            "contestants": [contestant.document() for contestant in self.contestants],
            "tests": [test.document() for test in self.tests],
        }


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
