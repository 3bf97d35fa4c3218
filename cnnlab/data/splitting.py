"""Stratified choices: the validation split, the test part set aside, the fixed sample of the training set."""

import numpy as np

from cnnlab.data.dataset import Part
from cnnlab.errors import DataError
from cnnlab.randomness import generator

SET_ASIDE_SEED = 0
"""The test part that cnnlab sets aside itself is the same for every run, whatever the run's own seed."""


def split(part: Part, val_fraction: float, seed: int) -> tuple[Part, Part]:
    """Split a training part into (train, val): stratified, the same for the same seed.

    Args:
        part: the training part, N pictures.
        val_fraction: in [0, 1); round(N · val_fraction) pictures become val, at least 1; with 0, val is empty.
        seed: the run's seed.

    Both keep the order of `part`. Each class's share is proportional (largest remainder), and every class keeps at
    least one picture in train; so a class with a single picture has none in val.

    Raises:
        DataError: no class has two pictures.
    """
    if val_fraction == 0:
        return part, part.take(np.empty(0, np.int64))
    wanted = max(1, round(len(part) * val_fraction))
    chosen = stratified(part.labels, wanted, generator(seed, "split"), keep_one=True)
    if not chosen.any():
        raise DataError(
            f"no validation part can be split off: no class has two of the {len(part)} pictures",
            hint="Add pictures, give a val/ folder, or train without: --set data.val_fraction=0",
        )
    return part.take(np.flatnonzero(~chosen)), part.take(np.flatnonzero(chosen))


def sample(part: Part, n: int, seed: int) -> Part:
    """A fixed stratified sample of `n` pictures (all, where there are fewer), in the order of `part`."""
    if n >= len(part):
        return part
    return part.take(np.flatnonzero(stratified(part.labels, n, generator(seed, "sample"))))


def set_aside(part: Part) -> tuple[Part, Part]:
    """Split off a stratified fifth, rounded up, as test: (train, test), the same for every run."""
    wanted = (len(part) + 4) // 5
    chosen = stratified(part.labels, wanted, generator(SET_ASIDE_SEED, "set aside"), keep_one=True)
    return part.take(np.flatnonzero(~chosen)), part.take(np.flatnonzero(chosen))


def stratified(labels: np.ndarray, n: int, rng: np.random.Generator, *, keep_one: bool = False) -> np.ndarray:
    """Choose `n` of the labels (N,), proportionally by class: a bool mask (N,).

    With `keep_one`, at least one of each class is left unchosen, and fewer than `n` are chosen if that needs it.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    limits = counts - 1 if keep_one else counts
    exact = counts * (n / len(labels))
    quotas = np.minimum(np.floor(exact).astype(np.int64), limits)
    order = np.argsort(np.floor(exact) - exact, kind="stable")  # largest remainder first
    while quotas.sum() < n and (quotas < limits).any():
        for index in order:
            if quotas.sum() < n and quotas[index] < limits[index]:
                quotas[index] += 1
        order = np.argsort(-counts, kind="stable")  # after that, whoever still has room, the largest first
    chosen = np.zeros(len(labels), bool)
    for index, quota in enumerate(quotas):
        members = np.flatnonzero(inverse == index)
        chosen[rng.permutation(members)[:quota]] = True
    return chosen
