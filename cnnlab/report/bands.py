"""The band around a mean over seeds: what it spans, and its name."""

import math
from dataclasses import dataclass

import numpy as np

from cnnlab.choices import Band

BAND_WORDS: dict[Band, str] = {"min-max": "min to max", "sd": "mean ± SD", "ci": "95 % CI of the mean"}


@dataclass(frozen=True, eq=False)
class Spread:
    """(epochs,) mean over seeds, and the band's edges; None for one seed. NaN where a seed has no number."""

    mean: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None


def spread(values: np.ndarray, band: Band) -> Spread:
    """Mean and band of values (seeds, epochs). The interval is Student's t; the deviation has seeds − 1 below."""
    seeds = len(values)
    mean = values.mean(axis=0)
    if seeds < 2:
        return Spread(mean, None, None)
    if band == "min-max":
        return Spread(mean, values.min(axis=0), values.max(axis=0))
    half = values.std(axis=0, ddof=1)
    if band == "ci":
        from scipy.stats import t

        half = half * float(t.ppf(0.975, seeds - 1)) / math.sqrt(seeds)
    return Spread(mean, mean - half, mean + half)
