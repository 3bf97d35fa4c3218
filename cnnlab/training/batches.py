"""What each step of an epoch is trained on: a function of (seed, epoch, step) alone, cut by process."""

from collections.abc import Iterator

import numpy as np

from cnnlab.data import draw, in_turns, mixup
from cnnlab.randomness import generator
from cnnlab.training.engines.base import Batch
from cnnlab.training.prepare import Prepared
from cnnlab.training.schedule import Growth


class Batches:
    """The batches of a training: of each, this process's share.

    Order, augmentation and mixup are drawn for the whole batch by every process, so that the batch of all processes
    together is the one that a process alone would have.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        fill = np.round(prepared.mean).astype(np.uint8)
        self.pick = prepared.engine.picker(prepared.train.images, prepared.augmentation.cutout, fill)

    def of(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The epoch's batches from step `first` on."""
        train, augmentation, seed = self.prepared.train, self.prepared.augmentation, self.prepared.recipe.seed
        size, image_size = self.prepared.recipe.train.batch_size, train.images.shape[1:3]
        order = generator(seed, "order", epoch).permutation(len(train))
        rows, alone = np.arange(size)[self.prepared.world.rows(size)], self.prepared.world.size == 1
        growth, steps = Growth.of(self.prepared.recipe.train), self.prepared.steps
        turns = in_turns(len(train), epoch, generator(seed, "mirror")) if augmentation.alternate else None
        for step in range(first, self.prepared.steps_per_epoch):
            indices, rng = order[step * size : (step + 1) * size], generator(seed, "augmentation", epoch, step)
            mine, partners, share = rows, None, 1.0
            if augmentation.mixup:
                everyones, share = mixup(size, augmentation.mixup, generator(seed, "mixup", epoch, step))
                mine, partners = with_partners(rows, everyones)
            mirrored = None if turns is None else turns[indices]
            moves = draw(image_size, indices, augmentation, rng, None if alone else mine, mirrored)
            small = growth.size(image_size, ((epoch - 1) * self.prepared.steps_per_epoch + step) / steps)
            yield Batch(self.pick(moves), train.labels[moves.indices], partners, share, whole=size, size=small)


def with_partners(rows: np.ndarray, partners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows and, behind them, those of other processes that they are blended with; and where each partner then is.

    Args:
        rows: (b,) this process's rows of the batch, ascending.
        partners: (B,) the partner of each row of the batch.
    """
    foreign = np.setdiff1d(partners[rows], rows)
    needed = np.concatenate([rows, foreign])
    place = np.full(len(partners), -1)
    place[needed] = np.arange(len(needed))
    return needed, place[partners[rows]]
