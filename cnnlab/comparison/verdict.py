"""The verdict on a pair in words: what was found, how surely, and what it does not say."""

from cnnlab.comparison.pairs import PairTest
from cnnlab.text import counted


def in_words(test: PairTest, seeds: int, pairs: int, *, guessing: bool, repeatable: bool = True) -> str:
    """The verdict in one or two sentences, without a full stop at the end.

    `guessing`: neither has learnt anything; `repeatable`: further seeds of both can be trained.
    """
    return _better(test, seeds) if test.better is not None else _no_difference(test, seeds, pairs, guessing, repeatable)


def _better(test: PairTest, seeds: int) -> str:
    over = "" if seeds == 1 else f", {seeds} seeds"
    scope = (
        "one seed speaks of these two trained nets, not of their recipes"
        if seeds == 1
        else f"these counts are means over {seeds} seeds"
    )
    ahead, behind, (difference, low, high) = _in_favour(test)
    by = f"{difference} points (95 % CI {low} to {high}{over})"
    return f"{ahead} is better than {behind} by {by}; {_counts(test)}; {scope}"


def _no_difference(test: PairTest, seeds: int, pairs: int, guessing: bool, repeatable: bool) -> str:
    start = f"no difference between {test.a} and {test.b} is shown"
    if not any(pair.only_a or pair.only_b for pair in test.by_seed):
        return f"{start}: of {counted(test.n, 'test image')} they get the very same ones right"
    why = "Neither is shown to be better than guessing" if guessing else _why(test, seeds, pairs, repeatable)
    ahead, _, (difference, low, high) = _in_favour(test)
    by = f"{ahead} is ahead by {difference} points" if test.difference else "they are level"
    return f"{start}: {by} (95 % CI {low} to {high}); {_counts(test)}. {why}"


def _in_favour(test: PairTest) -> tuple[str, str, tuple[str, ...]]:
    """Who is ahead, who is not, and by how many points with the interval, seen from the one ahead."""
    if test.difference >= 0:
        return test.a, test.b, points(test.difference, test.ci_low, test.ci_high)
    return test.b, test.a, points(-test.difference, -test.ci_high, -test.ci_low)


def _counts(test: PairTest) -> str:
    ahead, behind, _ = _in_favour(test)
    only = {
        test.a: _mean([pair.only_a for pair in test.by_seed]),
        test.b: _mean([pair.only_b for pair in test.by_seed]),
    }
    verb = "is" if only[ahead] == "1" else "are"
    return (
        f"of {counted(test.n, 'test image')} {only[ahead]} {verb} right only with {ahead}, "
        f"{only[behind]} only with {behind}"
    )


def _mean(counts: list[int]) -> str:
    """The mean of counts, with a decimal where it is small and no whole number."""
    mean = sum(counts) / len(counts)
    return f"{mean:,.0f}" if mean >= 10 or mean == int(mean) else f"{mean:.1f}"


def _why(test: PairTest, seeds: int, pairs: int, repeatable: bool) -> str:
    """What stands in the way of a verdict, and what would help."""
    if seeds == 1 and not repeatable:
        return f"{_one_seed(test, pairs)} Their recipes, compared with --seeds 3, would say more than these runs can"
    if seeds == 1:
        return f"{_one_seed(test, pairs)} {counted(2, 'seed')} more would say whether it lasts (--seeds 3)"
    if test.seeds_more is None:
        return f"More seeds would hardly show a difference as large on {counted(test.n, 'test image')}"
    more, total = counted(test.seeds_more, "seed"), seeds + test.seeds_more
    return f"About {more} more would show a difference as large, if there is one (--seeds {total}; power 80 %)"


def _one_seed(test: PairTest, pairs: int) -> str:
    if test.p_mcnemar >= 0.05:
        return "These test images do not tell the two nets apart, and one seed proves little."
    if test.p_adjusted >= 0.05:
        return f"Among {pairs} pairs such a difference arises by chance (Holm's correction)."
    if test.training_noise is None:
        return "One epoch of one seed does not tell how much training itself varies."
    moved = points(test.training_noise)[0]
    return (
        f"The images alone would tell these two nets apart (p = {test.p_mcnemar:.2g}), but within a third of the "
        f"training their accuracy still moved by {moved} points."
    )


def points(*shares: float) -> tuple[str, ...]:
    """Shares as percentage points: one decimal, or two where one would show nothing of the first of them."""
    decimals = 2 if 0 < abs(shares[0]) < 0.0005 else 1
    return tuple(f"{100 * share:.{decimals}f}" for share in shares)
