"""What the evidence says of two contestants. Shares (accuracies, differences, p-values) are in [0, 1]."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SeedPair:
    """Two nets of one seed on the same test images."""

    seed: int
    only_a: int
    """Test images that only a's net gets right."""
    only_b: int
    difference: float
    """Test accuracy of a − that of b."""
    p_mcnemar: float


@dataclass(frozen=True)
class PairTest:
    """What the evidence says of two contestants."""

    a: str
    b: str
    n: int
    """Test images."""
    difference: float
    """Mean test accuracy of a − that of b."""
    ci_low: float
    """95 % confidence interval of the difference."""
    ci_high: float
    ci_method: str
    """How the interval was computed, with its source."""
    only_a: int
    """Test images that only a gets right; over several seeds the mean, rounded."""
    only_b: int
    p_mcnemar: float
    """McNemar's exact test on only_a and only_b."""
    p_seeds: float | None
    """Paired t-test over seeds; None with fewer than three."""
    p_adjusted: float
    """The one that decides (p_seeds, or p_mcnemar without it), corrected by Holm for the number of pairs."""
    training_noise: float | None
    """One seed: how far validation accuracy still moved around the best epoch, which chance may too; None otherwise."""
    better: str | None
    """The name of the better one; None: no difference is shown."""
    seeds_more: int | None
    """How many seeds more would probably show it (power 80 %); None: shown already, or no number of them would."""
    verdict: str
    """In words."""
    by_seed: tuple[SeedPair, ...]

    def document(self) -> dict[str, Any]:
        """As an entry of `tests[]` in comparison.json."""
        document = {key: value for key, value in vars(self).items() if key != "by_seed"}
        return {**document, "by_seed": [vars(pair) for pair in self.by_seed]}
