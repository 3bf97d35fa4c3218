"""The statistics against textbooks, closed formulas and simulated nets whose truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2
from statsmodels.stats.power import TTestPower

from cnnlab.comparison import statistics
from cnnlab.comparison.statistics import Evidence, judge


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """statsmodels collects garbage at each correction by Holm: half a second in a process that has run many tests."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)


def exact_p(only_a, only_b):
    """Two-sided binomial p by counting: at most the smaller of the two counts, twice."""
    n, k = only_a + only_b, min(only_a, only_b)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(10, 2, 158 / 4096), (6, 0, 2 / 64), (5, 0, 2 / 32), (0, 0, 1.0), (4, 4, 1.0), (2513, 371, None), (86, 150, None)],
)
def test_mcnemar_by_counting(only_a, only_b, p):
    expected = exact_p(only_a, only_b) if p is None else p
    assert statistics.mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert statistics.mcnemar(only_b, only_a) == pytest.approx(expected, rel=1e-9)


def pair(only_a, only_b, n):
    """One seed's differences (1, n): so many images only a gets right, so many only b."""
    return np.concatenate([np.ones(only_a), -np.ones(only_b), np.zeros(n - only_a - only_b)])[None]


def test_approval_ratings_of_agresti():
    """Agresti, Categorical Data Analysis (2002), section 10.1: 794, 150, 86, 570; Wald interval 0.021 to 0.059."""
    low, high = statistics.interval(pair(150, 86, 1600))
    assert (low, high) == (pytest.approx(0.021, abs=5e-4), pytest.approx(0.059, abs=5e-4))
    assert statistics.mcnemar(150, 86) == pytest.approx(3.7e-5, rel=0.05)  # z² = 17.36: p = 3.1e-5


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(20, 5, 360), (0, 0, 50), (2513, 371, 10_000), (1, 0, 10)])
def test_one_seed_has_bonett_and_prices_interval(only_a, only_b, n):
    p_a, p_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = 1.959963984540054 * math.sqrt((p_a + p_b - (p_a - p_b) ** 2) / (n + 2))
    assert statistics.interval(pair(only_a, only_b, n)) == pytest.approx(
        (p_a - p_b - half, p_a - p_b + half), abs=1e-12
    )


def test_several_seeds_have_the_two_way_clustered_interval():
    """Cameron, Gelbach and Miller (2011), eq. 2.11, with G / (G − 1) for each way, as sums over the matrix."""
    rng = np.random.default_rng(0)
    seeds, images = 4, 500
    per_seed, per_image = rng.normal(0, 0.3, (seeds, 1)), rng.normal(0, 1, (1, images))
    noise = per_seed + per_image + rng.normal(0, 1, (seeds, images))
    differences = np.sign(np.where(np.abs(noise + 0.4) < 0.8, 0, noise + 0.4))
    rest, n = differences - differences.mean(), seeds * images

    def way(sums, count):
        return count / (count - 1) * (sums**2).sum() / n**2

    variance = way(rest.sum(1), seeds) + way(rest.sum(0), images) - way(rest.ravel(), n)
    half = 3.182446305284263 * math.sqrt(variance)  # t of 3 degrees of freedom at 97.5 %
    centre = differences.mean()
    # statsmodels also counts the one estimated mean: n / (n − 1).
    assert statistics.interval(differences) == pytest.approx((centre - half, centre + half), rel=2e-3)


def test_many_seeds_never_narrow_the_interval_beyond_the_images():
    differences = np.repeat(pair(30, 10, 400), 20, axis=0)  # every seed the same: no noise but that of the images
    low, high = statistics.interval(differences)
    one_low, one_high = statistics.interval(differences[:1])
    assert low <= one_low < one_high <= high


def test_students_sleep_data():
    """Student (1908): ten patients, two drugs; t = −4.0621, p = 0.002833."""
    one = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    other = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    assert statistics.paired_t(one, other) == pytest.approx(0.002833, abs=5e-7)
    assert statistics.paired_t(one[:2], other[:2]) is None
    assert statistics.paired_t(one, one + 1) is None  # no spread: t is not defined


def test_holm():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


def test_seeds_for_a_medium_effect_are_cohens():
    """Cohen (1988): an effect of half a standard deviation, power 80 %, two-sided 5 %: 34 pairs.

    Of four seeds the standard deviation is below the true one more often than not; its median, by χ², is corrected.
    """
    rng = np.random.default_rng(1)
    differences = np.zeros((4, 20_000))
    for row, count in zip(differences, (-132, 23, 177, 332), strict=True):  # mean 100, deviation 200
        row[rng.choice(20_000, abs(count), replace=False)] = np.sign(count)
    pairs = TTestPower().solve_power(0.5 / math.sqrt(3 / chi2.median(3)), alpha=0.05, power=0.8)
    assert math.ceil(TTestPower().solve_power(0.5, alpha=0.05, power=0.8)) == 34
    assert statistics.more_seeds(differences) == math.ceil(pairs) - 4 == 38


def test_as_many_seeds_as_there_may_be_ask_for_none():
    assert statistics.more_seeds(np.repeat(pair(40, 5, 400), statistics.MOST_SEEDS, axis=0)) is None


def test_fewer_than_three_seeds_ask_for_three_and_hopeless_ones_for_none():
    assert statistics.more_seeds(pair(3, 2, 100)) == 2
    assert statistics.more_seeds(np.repeat(pair(3, 2, 100), 2, axis=0)) is None  # 1 point, and the images' error is 2
    apart = np.vstack([pair(40, 5, 400), pair(12, 9, 400)])  # 8.75 and 0.75 points: three seeds are far from enough
    effect = 0.0475 / (np.std([0.0875, 0.0075], ddof=1) / math.sqrt(chi2.median(1)))
    pairs = TTestPower().solve_power(effect, alpha=0.05, power=0.8)
    assert statistics.more_seeds(apart) == math.ceil(pairs) - 2 + 1  # one for the interval
    assert statistics.more_seeds(np.vstack([pair(8, 2, 100), pair(7, 2, 100), pair(8, 3, 100)])) is None


def curve(rng, jitter, level=0.9, epochs=12):
    """Validation accuracy by epoch: an early rise, then moving by `jitter`."""
    rise = level - 0.5 * np.exp(-np.arange(epochs) / 1.5)
    return (rise + rng.normal(0, jitter, epochs)).tolist()


def net(rng, images, jitter):
    """A trained net: right on image i with probability `images[i]`, moved by what its own training happened to do."""
    accuracies = curve(rng, jitter)
    odds = np.log(images / (1 - images)) + rng.normal(0, jitter) / np.mean(images * (1 - images))
    return rng.random(len(images)) < 1 / (1 + np.exp(-odds)), accuracies


def contestant(name, rng, images, jitter, seeds):
    nets = [net(rng, images, jitter) for _ in range(seeds)]
    curves = tuple(accuracies for _, accuracies in nets)
    return Evidence(name, np.stack([right for right, _ in nets]), curves, tuple(int(np.argmax(c)) + 1 for c in curves))


def images_of(rng, n, level):
    """How easily each image is recognised: many always, some hardly ever."""
    return np.clip(rng.beta(4 * level, 4 * (1 - level), n), 0.01, 0.99)


@pytest.mark.parametrize(("seeds", "n"), [(1, 360), (1, 10_000), (3, 360), (3, 2000)])
@pytest.mark.parametrize("jitter", [0.0, 0.006])
def test_two_copies_of_a_recipe_are_no_different_in_17_of_20_tries(n, jitter, seeds):
    rng = np.random.default_rng(n + seeds)
    images = images_of(rng, n, 0.9)
    tries = [
        judge([contestant(name, rng, images, jitter, seeds) for name in "ab"], range(seeds), 0.1)[0] for _ in range(20)
    ]
    assert sum(test.better is None and "no difference" in test.verdict for test in tries) >= 17


def test_nets_that_are_still_learning_are_not_told_apart_by_one_seed():
    """Two copies, one of them a few epochs behind: smooth curves that still rise show how little one ending means."""
    right = np.ones((2, 1000), bool)
    right[0, :400] = right[1, 400:900] = False
    rising = [0.02 * epoch for epoch in range(1, 31)]
    pair = [Evidence(name, row[None], (rising,), (30,)) for name, row in zip("ab", right, strict=True)]
    test = judge(pair, (0,), 0.1)[0]
    assert test.p_mcnemar < 0.05
    assert test.training_noise == pytest.approx(0.2)  # ten epochs of two points
    assert test.better is None
    assert "within a third of the training their accuracy still moved by 20.0 points" in test.verdict
    assert "2 seeds more would say whether it lasts (--seeds 3)" in test.verdict
    finished = [pair[0], replace(pair[1], repeatable=False)]
    assert "seeds more" not in judge(finished, (0,), 0.1)[0].verdict
    settled = [replace(one, accuracies=([0.1] * 10 + [0.6] * 20,)) for one in pair]
    assert judge(settled, (0,), 0.1)[0].better == "a"


def test_images_alone_would_see_differences_between_copies():
    """What the rule for one seed is for: training that varies by 0.6 points fools McNemar's test on 10,000 images."""
    rng = np.random.default_rng(2)
    images = images_of(rng, 10_000, 0.9)
    tests = [judge([contestant(name, rng, images, 0.006, 1) for name in "ab"], (0,), 0.1)[0] for _ in range(20)]
    assert sum(test.p_mcnemar < 0.05 for test in tests) > 3


@pytest.mark.parametrize(("seeds", "n"), [(1, 360), (1, 10_000), (3, 2000)])
def test_a_real_difference_is_found(seeds, n):
    rng = np.random.default_rng(3)
    good, bad = images_of(rng, n, 0.95), images_of(rng, n, 0.75)
    for _ in range(5):
        test = judge([contestant("bad", rng, bad, 0.004, seeds), contestant("good", rng, good, 0.004, seeds)],
                     range(seeds), 0.1)[0]  # fmt: skip
        assert test.better == "good"
        assert test.ci_low < test.difference < test.ci_high < 0


def test_the_verdict_reads_as_a_report_would_say_it():
    right_a = np.r_[np.ones(2513, bool), np.zeros(371, bool), np.ones(6000, bool), np.zeros(1116, bool)]
    right_b = np.r_[np.zeros(2513, bool), np.ones(371, bool), np.ones(6000, bool), np.zeros(1116, bool)]
    steady = ([0.7, 0.8, 0.85, 0.85, 0.85, 0.85],)
    test = judge([Evidence("mlp", right_b[None], steady, (6,)), Evidence("cnn", right_a[None], steady, (6,))],
                 (0,), 0.1)[0]  # fmt: skip
    assert test.verdict == (
        "cnn is better than mlp by 21.4 points (95 % CI 20.5 to 22.4); of 10,000 test images 2,513 are right only "
        "with cnn, 371 only with mlp; one seed speaks of these two trained nets, not of their recipes"
    )
    assert (test.only_a, test.only_b, test.difference) == (371, 2513, pytest.approx(-0.2142))


def test_seeds_average_the_counts_and_say_so():
    rng = np.random.default_rng(4)
    good, bad = images_of(rng, 5000, 0.95), images_of(rng, 5000, 0.6)
    test = judge([contestant("x", rng, good, 0, 3), contestant("y", rng, bad, 0, 3)], (5, 6, 7), 0.1)[0]
    assert [one.seed for one in test.by_seed] == [5, 6, 7]
    assert test.only_a == round(np.mean([one.only_a for one in test.by_seed]))
    assert "these counts are means over 3 seeds" in test.verdict
    assert "95 % CI" in test.verdict
    assert ", 3 seeds)" in test.verdict


def test_the_same_net_twice_is_right_on_the_same_images():
    rng = np.random.default_rng(5)
    one = contestant("a", rng, images_of(rng, 360, 0.9), 0, 1)
    test = judge([one, replace(one, name="b")], (0,), 0.1)[0]
    assert (
        test.verdict == "no difference between a and b is shown: of 360 test images they get the very same ones right"
    )
    assert test.seeds_more is None


def test_nobody_is_ahead_by_nothing():
    right = np.ones((2, 2, 360), bool)
    right[0, 0, 0] = right[1, 1, 1] = False  # as often right, over two seeds, yet not on the same images
    steady = ([0.9] * 6,) * 2
    test = judge([Evidence(name, one, steady, (1, 1)) for name, one in zip("ab", right, strict=True)], (0, 1), 0.1)[0]
    assert test.difference == 0
    assert test.verdict.startswith("no difference between a and b is shown: they are level (95 % CI ")
    assert "0.5 are right only with a, 0.5 only with b" in test.verdict  # means over seeds


def evidence(name, *wrong, images=360):
    """Nets of as many seeds as there are arguments: the images (from 0) that each gets wrong."""
    correct = np.ones((len(wrong), images), bool)
    for row, one in zip(correct, wrong, strict=True):
        row[list(one)] = False
    return Evidence(name, correct, ([0.9] * 6,) * len(wrong), (1,) * len(wrong))


def test_who_is_level_over_three_seeds_is_level_to_the_last_bit():
    """+1, +4 and −5 images: the mean of the three shares is 6e-19."""
    a = evidence("a", (), (), range(5))
    b = evidence("b", range(1), range(4), ())
    (test,) = judge([a, b], (0, 1, 2), 0.1)
    assert test.difference == 0
    assert "they are level" in test.verdict


def test_seeds_that_agree_exactly_ask_for_what_they_lack():
    """Of three seeds with 16 images more each the interval still holds 0, of a fourth it does not."""
    nets = {seeds: [evidence("a", *[()] * seeds), evidence("b", *[range(16)] * seeds)] for seeds in (3, 4)}
    (test,) = judge(nets[3], range(3), 0.1)
    assert test.better is None
    assert test.seeds_more == 1
    assert "About 1 seed more" in test.verdict
    assert judge(nets[4], range(4), 0.1)[0].better == "a"


def test_an_advice_heeds_the_interval_too():
    """11 and 10 images: by the t-test a third seed would do; with three the interval still holds 0."""
    two = [evidence("a", (), ()), evidence("b", range(11), range(10))]
    three = [evidence("a", (), (), ()), evidence("b", range(11), range(10), range(11))]
    assert judge(three, range(3), 0.1)[0].better is None
    assert judge(two, range(2), 0.1)[0].seeds_more > 1


@pytest.mark.parametrize("differ", [True, False])
def test_one_test_image_gives_the_widest_interval_and_no_verdict(differ):
    a = evidence("a", (), (), (0,) if differ else (), images=1)
    b = evidence("b", (0,), (0,), (0,), images=1)
    (test,) = judge([a, b], range(3), 0.5)
    assert test.better is None
    assert (test.ci_low, test.ci_high) == (pytest.approx(-0.5, abs=0.5), 1.0)


def test_who_is_not_shown_to_beat_guessing_is_not_called_better():
    """56 of 360 right, guessing 10 %: p = 0.0006 alone, 0.0013 as one of two nets."""
    a, b = evidence("a", range(56, 360)), evidence("b", [*range(56), *range(92, 360)])
    assert statistics.p_chance(a.correct, 0.1) < statistics.CHANCE_ALPHA < statistics.against_chance([a, b], 0.1)[0]
    (test,) = judge([a, b], (0,), 0.1)
    assert test.p_adjusted < 0.05
    assert test.better is None
    assert test.verdict.endswith("Neither is shown to be better than guessing")


def test_no_difference_is_told_from_the_side_of_the_one_ahead():
    right = np.ones((2, 360), bool)
    right[0, :3] = right[1, 3] = False
    steady = ([0.9] * 6,)
    test = judge([Evidence(name, row[None], steady, (1,)) for name, row in zip(("mlp", "cnn"), right, strict=True)],
                 (0,), 0.1)[0]  # fmt: skip
    assert test.difference == pytest.approx(-2 / 360)
    assert test.verdict.startswith(
        "no difference between mlp and cnn is shown: cnn is ahead by 0.6 points (95 % CI -0.8 to 1.9); "
        "of 360 test images 3 are right only with cnn, 1 only with mlp. "
    )
    assert test.verdict.endswith("2 seeds more would say whether it lasts (--seeds 3)")


def test_one_epoch_of_one_seed_carries_no_verdict():
    rng = np.random.default_rng(6)
    good, bad = images_of(rng, 1000, 0.95), images_of(rng, 1000, 0.6)
    pairs = [replace(contestant(name, rng, images, 0, 1), accuracies=([0.5],), best_epochs=(1,))
             for name, images in (("a", good), ("b", bad))]  # fmt: skip
    test = judge(pairs, (0,), 0.1)[0]
    assert test.better is None
    assert "One epoch of one seed does not tell how much training itself varies" in test.verdict


def test_of_nets_that_guess_none_is_better():
    right = np.zeros((2, 10_000), bool)
    right[0, :1000] = right[1, 1000:1900] = True  # one guesses a class of 10 %, the other one of 9 %
    steady = ([0.1] * 6,)
    test = judge([Evidence(name, row[None], steady, (1,)) for name, row in zip("ab", right, strict=True)], (0,), 0.1)[0]
    assert test.p_mcnemar < 0.05
    assert test.better is None
    assert test.verdict.endswith("Neither is shown to be better than guessing")


def test_many_pairs_are_corrected():
    rng = np.random.default_rng(7)
    images = images_of(rng, 360, 0.9)
    tests = judge([contestant(name, rng, images, 0, 1) for name in "abcd"], (0,), 0.1)
    assert [(test.a, test.b) for test in tests] == [
        ("a", "b"),
        ("a", "c"),
        ("a", "d"),
        ("b", "c"),
        ("b", "d"),
        ("c", "d"),
    ]
    smallest = min(tests, key=lambda test: test.p_mcnemar)
    assert smallest.p_adjusted == pytest.approx(min(1, 6 * smallest.p_mcnemar))


def test_with_permuted_labels_nobody_beats_chance_and_with_the_right_ones_everybody_does():
    rng = np.random.default_rng(8)
    labels = np.repeat(np.arange(10), 100)
    predictions = np.where(rng.random(1000) < 0.6, labels, rng.integers(0, 10, 1000))
    chance = statistics.chance_level(labels)
    assert chance == pytest.approx(0.1)
    assert statistics.p_chance((predictions == labels)[None], chance) < statistics.CHANCE_ALPHA
    for _ in range(50):
        right = predictions == rng.permutation(labels)
        assert statistics.p_chance(right[None], chance) > statistics.CHANCE_ALPHA
