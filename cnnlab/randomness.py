"""Random numbers as a function of (seed, purpose, epoch, step): the same after a resume and in every process.

No generator is ever carried from one step to the next, so nothing about randomness has to be saved.
"""

import hashlib
from dataclasses import dataclass

import numpy as np


def generator(seed: int, purpose: str, epoch: int = 0, step: int = 0) -> np.random.Generator:
    """A Philox generator that depends on its arguments alone.

    Args:
        seed: the run's seed, ≥ 0.
        purpose: what the numbers are for, such as "order", "augment", "dropout:fc1"; purposes are independent.
        epoch: from 1 (0 for what happens once a run).
        step: from 0 within the epoch.
    """
    return np.random.Generator(np.random.Philox(key=key(seed, purpose, epoch, step)))


@dataclass(frozen=True)
class Share:
    """A generator's numbers for some rows of a batch, the others drawn too: as one process would have drawn them."""

    rng: np.random.Generator
    rows: slice
    whole: int
    """Rows of the batch."""

    def random(self, shape: tuple[int, ...], dtype: type[np.floating] = np.float64) -> np.ndarray:
        """Numbers in [0, 1) of the shape of this share, (rows, …)."""
        return self.rng.random((self.whole, *shape[1:]), dtype=dtype)[self.rows]


def key(seed: int, purpose: str, epoch: int = 0, step: int = 0) -> int:
    """The 128-bit Philox key of `generator`: a hash, so that neighbouring seeds share nothing."""
    text = f"{seed}/{purpose}/{epoch}/{step}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
