"""What a comparison is going to do: every run with its resolved recipe, and whether a folder holds that very plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from cnnlab.choices import Band, Match, XAxis, require_choice
from cnnlab.comparison.contestants import Entry, base_seed, budget, check_data, check_splits, recipe_of
from cnnlab.comparison.events import Planned
from cnnlab.comparison.matching import cost, match_widths
from cnnlab.data import DataSet
from cnnlab.errors import CnnlabError, UsageError
from cnnlab.recipe.load import digest
from cnnlab.recipe.schema import Recipe
from cnnlab.recipe.spec import Scalar
from cnnlab.text import LONGEST_NAME, as_written, cut, printable
from cnnlab.training.going_on import environment_of
from cnnlab.training.run_folder import safe_name
from cnnlab.training.settings import Settings

_SHOWN = 20
"""Contestants that a refusal names."""


@dataclass(frozen=True)
class Options:
    """How contestants are compared."""

    seeds: int = 1
    """How many: the first one, and those that follow it."""
    match: Match | None = None
    """Bring every cost to within 2 % of the first contestant's, by the width."""
    band: Band = "min-max"
    """What the bands in the figures show over seeds."""
    x: XAxis = "epoch"
    """The figures' horizontal axis."""
    assignments: Sequence[str] = ()
    """`--set`: section.key=value, for every recipe."""
    flags: Mapping[str, Scalar] = field(default_factory=dict)
    """The recipe's short flags, for every recipe."""
    trust_code: bool = False
    """Whether a recipe or run may name a Python file."""

    def __post_init__(self) -> None:
        if not isinstance(self.seeds, int) or self.seeds < 1:
            raise UsageError(f"seeds: expected a number from 1 on, received {printable(self.seeds)}")
        if self.match is not None:
            require_choice("match", self.match, get_args(Match))
        require_choice("band", self.band, get_args(Band))
        require_choice("x", self.x, get_args(XAxis))


@dataclass(frozen=True)
class PlannedRun:
    """One training of the comparison."""

    contestant: int
    seed: int
    """Of the comparison; a contestant with a seed of its own trains with that one and those that follow."""
    recipe: Recipe
    name: str
    """Of its folder among the comparison's own runs."""
    given: Path | None
    """The run that it is, where the contestant is one."""


@dataclass(frozen=True)
class Plan:
    """A comparison before its first step."""

    entries: tuple[Entry, ...]
    planned: tuple[Planned, ...]
    """The entries with what they cost."""
    seeds: tuple[int, ...]
    epochs: int
    runs: tuple[PlannedRun, ...]
    """Seed by seed, so that every seed gives whole pairs early."""

    def document(self, data: DataSet, options: Options, settings: Settings) -> dict[str, Any]:
        """What must be the same for a comparison to go on: plan.json."""
        return {
            "data": data.fingerprint,
            "seeds": list(self.seeds),
            "epochs": self.epochs,
            "match": options.match,
            "engine": settings.engine,
            "device": settings.device,
            "gradients": settings.gradients,
            "contestants": [
                {
                    "name": entry.name,
                    "code": entry.code,
                    "recipes": [digest(run.recipe) for run in self.runs if run.contestant == index],
                }
                for index, entry in enumerate(self.entries)
            ],
        }


def make_plan(entries: list[Entry], data: DataSet, options: Options) -> Plan:
    """Every run of the comparison, checked before the first one begins.

    Raises:
        UsageError: runs of other data, another split or, with further seeds, another number of epochs; a net that does
            not fit the images, no width that matches.
    """
    height, width, channels = data.image_shape
    shape, classes = (channels, height, width), len(data.classes)
    check_data(entries, data)
    if options.match is not None:
        entries = match_widths(entries, options.match, shape, classes)
    base = base_seed(entries, options.flags)
    epochs = budget(entries, data, options.flags.get("--epochs"))
    if options.seeds > 1:
        _require_one_budget(entries, epochs)
    seeds = tuple(range(base, base + options.seeds))
    runs: list[PlannedRun] = []
    for number, seed in enumerate(seeds):
        recipes = [recipe_of(entry, data, epochs, base, number) for entry in entries]
        check_splits(entries, recipes, data)
        for index, (entry, recipe) in enumerate(zip(entries, recipes, strict=True)):
            given = entry.run.path if entry.run is not None and number == 0 else None
            runs.append(PlannedRun(index, seed, recipe, _folder_name(index + 1, entry.name, recipe.seed), given))
    costs = _costs(entries, shape, classes, options.match)
    return Plan(tuple(entries), costs, seeds, epochs, tuple(runs))


def require_repeatable(entries: list[Entry], engine: str) -> None:
    """Refuse further seeds of a run that they would not repeat.

    Raises:
        UsageError: it began from another run's weights, or was trained by the other engine.
    """
    for entry in entries:
        environment = environment_of(entry.run) if entry.run is not None else {}
        if environment.get("init_from") is not None:
            raise UsageError(
                f"{entry.name} began from the weights of another run; its further seeds would begin from scratch",
                hint="Compare it with one seed, or name its recipe instead of the run",
            )
        own = environment.get("engine", engine)
        if own != engine:
            raise UsageError(
                f"{entry.name} was trained by the engine {printable(own)}; its further seeds would be by {engine}",
                hint=f"Add --engine {printable(own)}, or compare it with one seed",
            )


def is_repeatable(entry: Entry, epochs: int, engine: str) -> bool:
    """Whether further seeds of a contestant could be trained."""
    try:
        require_repeatable([entry], engine)
        _require_one_budget([entry], epochs)
    except UsageError:
        return False
    return True


def _require_one_budget(entries: list[Entry], epochs: int) -> None:
    """Refuse further seeds of a run that had another number of epochs than they would have."""
    for entry in entries:
        own = entry.recipe.train.epochs
        if entry.run is not None and own != epochs:
            raise UsageError(
                f"{entry.name} is a run of {own} epochs; its further seeds would be trained for {epochs}",
                hint="Compare it with one seed, or name its recipe instead of the run: "
                f"{entry.name}={printable(entry.run.recipe)}",
            )


def _folder_name(number: int, contestant: str, seed: int) -> str:
    """A run folder's name that a run may be given, however long the contestant's name is."""
    front, back = f"{number}-", f"-s{seed}"
    room = LONGEST_NAME - len(front) - len(back)
    return front + safe_name(contestant)[:room].rstrip("-. ") + back


def _costs(
    entries: Sequence[Entry], shape: tuple[int, int, int], classes: int, match: Match | None
) -> tuple[Planned, ...]:
    planned: list[Planned] = []
    first = 0
    for entry in entries:
        try:
            counted = cost(entry.recipe, shape, classes)
        except CnnlabError as error:
            raise type(error)(f"{entry.name}: {error.message}", hint=error.hint) from None
        left = None
        if match is not None:
            first = first or counted.of(match)
            left = (counted.of(match) - first) / first
        table = counted.table
        planned.append(Planned(entry.name, table.parameters, table.macs, counted.weight_layers, entry.matched, left))
    return tuple(planned)


def require_same_plan(folder: Path, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Whether a folder's comparison is the one that is asked for, or the beginning of it: more seeds go on with it.

    Raises:
        UsageError: it is another; with the first difference.
    """
    for key, value in now.items():
        if not _goes_on(key, was.get(key), value):
            raise UsageError(
                f"{printable(folder)} holds another comparison: {_difference(key, was.get(key), value)}",
                hint="Type the same command to go on with it, or choose another --name",
            )


def _goes_on(key: str, was: Any, now: Any) -> bool:
    """Whether a part of the plan is the same, but for seeds, and their recipes, that were added at the end."""
    if key == "seeds" and isinstance(was, list):
        return bool(was) and list(now[: len(was)]) == was
    if key == "contestants" and isinstance(was, list) and len(was) == len(now):
        return all(
            isinstance(before, dict)
            and isinstance(before.get("recipes"), list)
            and {**after, "recipes": after["recipes"][: len(before["recipes"])]} == before
            for before, after in zip(was, now, strict=True)
        )
    return bool(was == now)


def _difference(key: str, was: Any, now: Any) -> str:
    if key == "data":
        return "its data were others"
    if key != "contestants":
        return f"its {key}: {as_written(was)}; now {as_written(now)}"
    names = [_names(side) for side in (was, now)]
    if names[0] != names[1]:
        return f"its contestants: {_listed(names[0])}; now {_listed(names[1])}"
    changed = [name for name, one, other in zip(names[1], was, now, strict=True) if one != other]
    return f"the recipe of {_listed(changed)} was another"


def _names(contestants: Any) -> list[str]:
    """What a plan calls its contestants; as it stands there what is no contestant."""
    if not isinstance(contestants, list):
        return []
    return [str(one.get("name")) if isinstance(one, dict) else as_written(one) for one in contestants]


def _listed(names: list[str]) -> str:
    return ", ".join(map(cut, names[:_SHOWN])) + ", …" * (len(names) > _SHOWN)
