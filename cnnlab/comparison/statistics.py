"""The evidence: the same test images before two nets, the same seeds before two recipes.

Every test and interval is SciPy's or statsmodels'; both are imported when a comparison ends, not before.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnnlab.comparison.pairs import PairTest, SeedPair
from cnnlab.comparison.verdict import in_words

ALPHA = 0.05
"""Of the verdict on a pair; corrected by Holm (1979) where there are several pairs."""
CHANCE_ALPHA = 0.001
"""Of the statement that a net is better than guessing."""
POWER = 0.8
MOST_SEEDS = 1000

ONE_SEED_INTERVAL = "adjusted Wald interval for paired proportions (Bonett and Price 2012)"
SEEDS_INTERVAL = (
    "two-way cluster-robust interval over seeds and test images (Cameron, Gelbach and Miller 2011), "
    "t with seeds − 1 degrees of freedom; never narrower than the one over images alone (Bonett and Price 2012)"
)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one contestant did."""

    name: str
    correct: np.ndarray
    """(seeds, test images) bool."""
    accuracies: tuple[Sequence[float], ...]
    """Validation accuracy (training accuracy without a validation part) by epoch, one sequence a seed."""
    best_epochs: tuple[int, ...]
    """From 1, one a seed."""
    repeatable: bool = True
    """Whether further seeds could be trained: of a finished run with a budget of its own, say, they cannot."""


def judge(contestants: Sequence[Evidence], seeds: Sequence[int], chance: float) -> tuple[PairTest, ...]:
    """Every pair of contestants, each with its verdict.

    Args:
        contestants: two or more, all on the same test images.
        seeds: those of the comparison, in the order of each contestant's nets.
        chance: accuracy of guessing; a net that is not shown to beat it is not called better.
    """
    pairs = [(a, b) for index, a in enumerate(contestants) for b in contestants[index + 1 :]]
    tests = [measure(a, b, seeds) for a, b in pairs]
    adjusted = holm([test.p_mcnemar if test.p_seeds is None else test.p_seeds for test in tests])
    learnt = {
        one.name: p < CHANCE_ALPHA for one, p in zip(contestants, against_chance(contestants, chance), strict=True)
    }
    decided = [
        _decide(replace(test, p_adjusted=p), a, b, learnt, len(tests))
        for test, p, (a, b) in zip(tests, adjusted, pairs, strict=True)
    ]
    return tuple(
        replace(
            test,
            verdict=in_words(
                test,
                len(seeds),
                len(tests),
                guessing=not (learnt[test.a] or learnt[test.b]),
                repeatable=a.repeatable and b.repeatable,
            ),
        )
        for test, (a, b) in zip(decided, pairs, strict=True)
    )


def measure(a: Evidence, b: Evidence, seeds: Sequence[int]) -> PairTest:
    """The figures of a pair, without a verdict yet."""
    table = [(int((x & ~y).sum()), int((y & ~x).sum())) for x, y in zip(a.correct, b.correct, strict=True)]
    n = a.correct.shape[1]
    by_seed = tuple(
        SeedPair(seed, only_a, only_b, (only_a - only_b) / n, mcnemar(only_a, only_b))
        for seed, (only_a, only_b) in zip(seeds, table, strict=True)
    )
    only_a, only_b = (round(float(np.mean(column))) for column in zip(*table, strict=True))
    differences = a.correct.astype(float) - b.correct.astype(float)  # (seeds, images)
    low, high = interval(differences)
    one = len(seeds) == 1
    return PairTest(
        a=a.name,
        b=b.name,
        n=n,
        difference=sum(a - b for a, b in table) / (n * len(table)),  # exactly 0 where they are level
        ci_low=low,
        ci_high=high,
        ci_method=ONE_SEED_INTERVAL if one else SEEDS_INTERVAL,
        only_a=only_a,
        only_b=only_b,
        p_mcnemar=mcnemar(only_a, only_b),
        p_seeds=paired_t(a.correct.mean(axis=1), b.correct.mean(axis=1)),
        p_adjusted=1.0,
        training_noise=training_noise(a, b) if one else None,
        better=None,
        seeds_more=None,
        verdict="",
        by_seed=by_seed,
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """p of McNemar's exact test (McNemar 1947): two-sided binomial test that both counts are equally likely."""
    from statsmodels.stats.contingency_tables import mcnemar as test

    # The images that both or neither get right do not enter.
    return min(1.0, float(test([[0, only_a], [only_b, 0]], exact=True).pvalue))


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % confidence interval of the mean of `differences` (seeds, images), each −1, 0 or 1.

    One seed: Bonett and Price's interval, the Wald interval with one image more on either side. Several: the mean
    varies by seed and by image at once, so its variance is clustered both ways.
    """
    from scipy.stats import norm, sem, t

    seeds, by_image = len(differences), differences.mean(axis=0)
    padded = np.append(by_image, (1.0, -1.0))
    low, high = norm.interval(1 - ALPHA, loc=padded.mean(), scale=sem(padded, ddof=0))
    if seeds > 1:
        of_images = float(sem(by_image)) if by_image.size > 1 else 0.0
        scale = max(_two_way_error(differences), float(sem(differences.mean(axis=1))), of_images)
        if scale > 0:
            wide = t.interval(1 - ALPHA, seeds - 1, loc=differences.mean(), scale=scale)
            low, high = min(low, wide[0]), max(high, wide[1])
    return max(-1.0, float(low)), min(1.0, float(high))


def _two_way_error(differences: np.ndarray) -> float:
    """Standard error of the mean, clustered by seed and by image.

    0 where there is no estimate: it may be negative, and of one image there is none.
    """
    from statsmodels.regression.linear_model import OLS

    if differences.shape[1] < 2 or not np.ptp(differences):
        return 0.0
    seeds, images = differences.shape
    groups = np.column_stack([np.repeat(np.arange(seeds), images), np.tile(np.arange(images), seeds)])
    fit = OLS(differences.ravel(), np.ones(differences.size)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    variance = float(np.asarray(fit.cov_params())[0, 0])
    return float(np.sqrt(variance)) if variance > 0 else 0.0


def paired_t(a: np.ndarray, b: np.ndarray) -> float | None:
    """p of the paired t-test over seeds (N,); None with fewer than three, or where all differences are the same."""
    from scipy.stats import ttest_rel

    if len(a) < 3 or np.ptp(a - b) < 1e-12:
        return None
    return float(ttest_rel(a, b).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) for so many tests at once."""
    from statsmodels.stats.multitest import multipletests

    if len(p_values) < 2:
        return list(p_values)
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def training_noise(a: Evidence, b: Evidence) -> float | None:
    """How far a single training of each may put the difference by chance (SD), in accuracy; None: one epoch, unknown.

    One seed shows no spread over seeds. What it does show is how far accuracy still moved around the best epoch, within
    a third of the training: a net that is still learning, or jumps from epoch to epoch, might as well have ended there.
    The root mean square of both nets' ranges. Measured on nets that differ in nothing but the seed, it keeps false
    verdicts below 5 % where McNemar's test alone gives up to 44 %; see the README.
    """
    moved = []
    for contestant in (a, b):
        accuracies, best = np.asarray(contestant.accuracies[0], float), contestant.best_epochs[0] - 1
        third = max(2, round(len(accuracies) / 3))
        if len(accuracies) < 2:
            return None
        moved.append(np.ptp(accuracies[max(0, best - third) : best + third + 1]))
    return float(np.sqrt(np.mean(np.square(moved))))


def _decide(test: PairTest, a: Evidence, b: Evidence, learnt: Mapping[str, bool], pairs: int) -> PairTest:
    """Who is better, if the evidence carries it; how many seeds more it would take, if not."""
    ahead = a if test.difference > 0 else b
    excluded = test.ci_low > 0 or test.ci_high < 0
    if test.p_adjusted < ALPHA and excluded and learnt[ahead.name] and _beyond_training_noise(test):
        return replace(test, better=ahead.name)
    if not (a.correct ^ b.correct).any():
        return test
    return replace(test, seeds_more=more_seeds(a.correct.astype(float) - b.correct.astype(float), ALPHA / pairs))


def _beyond_training_noise(test: PairTest) -> bool:
    """One seed: whether the difference stands out from image noise and training noise together."""
    from scipy.stats import norm

    if len(test.by_seed) > 1:
        return True
    if test.training_noise is None:
        return False
    z = float(norm.ppf(1 - ALPHA / 2))
    image_noise = (test.ci_high - test.ci_low) / (2 * z)
    return abs(test.difference) > z * float(np.hypot(image_noise, test.training_noise))


def more_seeds(differences: np.ndarray, alpha: float = ALPHA) -> int | None:
    """Seeds beyond those of `differences` (seeds, images) with which a difference as large would show; None: never.

    Shown is what both conditions of a verdict show, each with probability `POWER`: the paired t-test at `alpha`, and
    the interval over seeds and images without 0. Three seeds are the least, and all that one seed can ask for. The
    spread over seeds is estimated without bias of the median: so few seeds show too small a one more often than not.
    None where more than `MOST_SEEDS` would be needed: these test images may not tell the two apart with any number.
    """
    from scipy.stats import chi2, norm, t
    from statsmodels.stats.power import TTestPower

    seeds, images = differences.shape
    if seeds < 2:
        return 3 - seeds
    by_seed, by_image = differences.mean(axis=1), differences.mean(axis=0)
    mean = abs(float(by_seed.mean()))
    # As seeds grow, what differs between them averages out of an image's mean; what is the image's own stays.
    between_seeds = float(differences.var(axis=0, ddof=1).mean())
    own = max(0.0, float(by_image.var()) - between_seeds / seeds)
    seen = float(by_seed.std(ddof=1) * np.sqrt((seeds - 1) / chi2.median(seeds - 1)))
    spread = max(seen, float(np.sqrt(between_seeds / images)))

    def shows(count: int) -> bool:
        error = float(np.hypot(spread / np.sqrt(count), np.sqrt(own / images)))
        beyond = mean - float(t.ppf(1 - ALPHA / 2, count - 1)) * error
        if spread == 0:  # the same nets whatever the seed
            return beyond > 0
        if norm.cdf(beyond * np.sqrt(count) / spread) < POWER:
            return False
        return not TTestPower().power(mean / spread, count, alpha) < POWER  # NaN where it is 1 to the last bit

    if seeds >= MOST_SEEDS or not shows(MOST_SEEDS):
        return None
    counts = range(seeds + 1, MOST_SEEDS + 1)
    return max(3, counts[bisect_left(counts, True, key=shows)]) - seeds


def chance_level(labels: np.ndarray) -> float:
    """Accuracy of always guessing the commonest of the labels (N,) int64."""
    return float(np.bincount(labels).max() / len(labels))


def against_chance(contestants: Sequence[Evidence], chance: float) -> list[float]:
    """p of each contestant's test against guessing, corrected by Holm for their number."""
    return holm([p_chance(one.correct, chance) for one in contestants])


def p_chance(correct: np.ndarray, chance: float) -> float:
    """One-sided binomial test that `correct` (seeds, images) bool is right more often than guessing.

    Over several seeds with the mean number of right images: more nets are not more images.
    """
    from scipy.stats import binomtest

    right = int(np.floor(correct.sum(axis=1).mean()))
    return float(binomtest(right, correct.shape[1], min(chance, 1.0), alternative="greater").pvalue)
