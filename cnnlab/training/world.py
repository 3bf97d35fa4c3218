"""The processes of one training, as the training sees them; a process alone is a world of its own.

Free of torch.distributed: `processes` knows how several meet and talk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cnnlab.errors import MachineError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_Made = TypeVar("_Made")


class ProcessLost(MachineError):
    """Another process of the training has ended without a word."""


@dataclass
class Wishes:
    """What one process, or all of them agreed, want after the step that is under way."""

    stop: bool = False
    save: bool = False


@dataclass(eq=False)
class World:
    """The processes of one training; this class itself is a process alone, for which nothing needs to be agreed."""

    rank: int = 0
    """0 … size − 1. Rank 0 writes and prints."""
    size: int = 1
    local_rank: int = 0
    """0 … local_size − 1 among the processes of this machine."""
    local_size: int = 1
    wishes: Wishes = field(default_factory=Wishes)
    """This process's own."""
    agreed: Wishes = field(default_factory=Wishes)
    """Everybody's, as of the last step."""

    def __post_init__(self) -> None:
        if self.size == 1:
            self.agreed = self.wishes

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """This process's share of `count` rows: consecutive, sizes differ by one at most."""
        return self._rows(count, self.rank)

    def _rows(self, count: int, rank: int) -> slice:
        return slice(count * rank // self.size, count * (rank + 1) // self.size)

    def in_turn(self, make: Callable[[bool], _Made]) -> _Made:
        """`make(others_were_before)`: by rank 0, then by the first process of every other machine, then by the rest.

        So that nothing is downloaded or built twice on one machine.
        """
        return make(False)

    def from_first(self, make: Callable[[], str]) -> str:
        """The text that rank 0 makes, for all."""
        return make()

    def require_same(self, what: str, text: str) -> None:
        """Refuse a world whose processes are not at the same thing.

        Raises:
            DataError: this process's text is not that of rank 0.
        """

    def numbers_of_first(self, numbers: Sequence[float]) -> list[float]:
        """The numbers of rank 0, for all."""
        return list(numbers)

    def gather(self, rows: "np.ndarray", count: int) -> "np.ndarray":
        """All `count` rows, given to each process its share of them as `self.rows` cuts it."""
        return rows

    def add_up(self, tensor: "Tensor") -> None:
        """Sum over all processes, in place."""

    def copy_from_first(self, tensors: Sequence["Tensor"]) -> None:
        """Overwrite tensors, contiguous ones, with those of rank 0."""

    def agree(self) -> None:
        """Bring `agreed` up to now; all processes come to this point before any goes on."""

    def remember(self, run: Path) -> None:
        """Note the run for when torchrun starts the processes again."""

    def remembered(self) -> Path | None:
        """The run that this launch was at before torchrun started its processes again."""
        return None


ALONE = World()
