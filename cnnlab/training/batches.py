"""What each step of an epoch is trained on: a function of (seed, epoch, step) alone, cut by process."""

from collections.abc import Iterator

import numpy as np

from cnnlab.data import batch, mixup
from cnnlab.randomness import generator
from cnnlab.training.engines.base import Batch
from cnnlab.training.prepare import Prepared


def batches(prepared: Prepared, epoch: int, first: int = 0) -> Iterator[Batch]:
    """The epoch's batches from step `first` on: of each, this process's share.

    Order, augmentation and mixup are drawn for the whole batch by every process, so that the batch of all processes
    together is the one that a process alone would have.
    """
    train, augmentation, seed = prepared.train, prepared.augmentation, prepared.recipe.seed
    size = prepared.recipe.train.batch_size
    order = generator(seed, "order", epoch).permutation(len(train))
    fill = np.round(prepared.mean).astype(np.uint8)
    rows = np.arange(size)[prepared.world.rows(size)]
    for step in range(first, prepared.steps_per_epoch):
        indices, rng = order[step * size : (step + 1) * size], generator(seed, "augmentation", epoch, step)
        mine, partners, share = rows, None, 1.0
        if augmentation.mixup:
            everyones, share = mixup(size, augmentation.mixup, generator(seed, "mixup", epoch, step))
            mine, partners = _with_partners(rows, everyones)
        images = batch(train.images, indices, augmentation, rng, fill=fill, rows=None if len(mine) == size else mine)
        yield Batch(images, train.labels[indices[mine]], partners, share, whole=size)


def _with_partners(rows: np.ndarray, partners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
