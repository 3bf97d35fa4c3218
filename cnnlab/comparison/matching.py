"""`--match`: the width at which a net costs what the first contestant costs, found on the layer table alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cnnlab.choices import Match
from cnnlab.comparison.contestants import Entry
from cnnlab.errors import UsageError
from cnnlab.models import registry
from cnnlab.models.table import LayerTable, layer_table, without_weights
from cnnlab.recipe.schema import Recipe
from cnnlab.training.net import build_net

TOLERANCE = 0.02
MAX_WIDTH = 65_536
WORDS = {"params": "parameters", "macs": "multiply-adds"}


@dataclass(frozen=True)
class Cost:
    """What a net costs, by its layer table."""

    table: LayerTable

    @property
    def weight_layers(self) -> int:
        """Layers that convolve or multiply by a matrix, those of shortcuts left out (He et al. 2015: 6n + 2)."""
        return sum(1 for layer in self.table.layers if layer.macs > 0 and ".shortcut." not in layer.name)

    def of(self, match: Match) -> int:
        """Parameters, or multiply-accumulates of one image."""
        return self.table.parameters if match == "params" else self.table.macs


def cost(recipe: Recipe, input_shape: tuple[int, int, int], classes: int) -> Cost:
    """Count the recipe's net over images (channels, height, width), built as a training builds it.

    Raises:
        UsageError: the net does not fit these images and classes.
    """
    return Cost(layer_table(build_net(recipe, input_shape, classes), input_shape))


def _outlined(recipe: Recipe, input_shape: tuple[int, int, int], classes: int) -> Cost:
    """The same without weights, for widths that nobody wants to hold in memory."""
    channels, height, width = input_shape
    with without_weights():
        net = registry.build(recipe.model, channels, classes, (height, width))
    return Cost(layer_table(net, input_shape))


def match_widths(
    entries: Sequence[Entry], match: Match, input_shape: tuple[int, int, int], classes: int
) -> list[Entry]:
    """The entries, all but the first with the width that brings their cost to within 2 % of the first one's.

    Raises:
        UsageError: a contestant has no width, is a run, or no width comes near enough; with the closest.
    """
    target = cost(entries[0].recipe, input_shape, classes).of(match)
    matched = [_matched(entry, entries[0], match, target, input_shape, classes) for entry in entries[1:]]
    return [entries[0], *matched]


def _width_option(entry: Entry) -> str | None:
    """The option by which a contestant's width can be changed; None for a run, and for nets without one."""
    return None if entry.run is not None else getattr(type(entry.recipe.model), "width_option", None)


def _matched(
    entry: Entry, first: Entry, match: Match, target: int, input_shape: tuple[int, int, int], classes: int
) -> Entry:
    option = _width_option(entry)
    if option is None:
        present = cost(entry.recipe, input_shape, classes).of(match)
        if abs(present - target) <= TOLERANCE * target:
            return entry
        why = "is a run, whose width is fixed" if entry.run is not None else "has no width that cnnlab could change"
        if _width_option(first) is None:
            hint = "Nor has the first: give both the width yourself, and leave --match out"
        else:
            hint = "Put it first: the others are then matched to it"
        raise UsageError(
            f"--match {match}: {entry.name} {why}; it has {present:,} {WORDS[match]} ({_off(present, target)}), "
            f"the first contestant {target:,}",
            hint=hint,
        )

    def at(width: int) -> int:
        return _outlined(_with(entry.recipe, option, width), input_shape, classes).of(match)

    candidates = _around(at, target)
    best = min(candidates, key=lambda width: abs(candidates[width] - target))
    if abs(candidates[best] - target) > TOLERANCE * target:
        closest = ", ".join(
            f"{option}={width}: {found:,} ({_off(found, target)})" for width, found in sorted(candidates.items())
        )
        raise UsageError(
            f"--match {match}: no {option} of {entry.name} comes within {TOLERANCE:.0%} of the first contestant's "
            f"{target:,} {WORDS[match]}; the closest are {closest}",
            hint="Change its other options (depth), or put the net that is hardest to match first",
        )
    return replace(entry, recipe=_with(entry.recipe, option, best), matched=f"{option}={best}")


def _around(at: Callable[[int], int], target: int) -> dict[int, int]:
    """The two neighbouring widths between which the cost passes `target`, with their costs; it grows with the width."""
    low, high = 1, 2
    known = {low: at(low)}
    while known[low] < target and high <= MAX_WIDTH:
        known[high] = at(high)
        if known[high] >= target:
            break
        low, high = high, high * 2
    else:
        return {low: known[low]}
    while high - low > 1:
        middle = (low + high) // 2
        known[middle] = at(middle)
        low, high = (middle, high) if known[middle] < target else (low, middle)
    return {width: known[width] for width in (low, high)}


def _with(recipe: Recipe, option: str, width: int) -> Recipe:
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={option: width})})


def _off(found: int, target: int) -> str:
    return f"{100 * (found - target) / target:+.1f} %"
