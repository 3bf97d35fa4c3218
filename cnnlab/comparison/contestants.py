"""What was typed, understood: recipes and finished runs under names of their own, fit to be compared."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnnlab.data import DataSet
from cnnlab.errors import UsageError
from cnnlab.files import is_folder
from cnnlab.models import ARCHITECTURES, registry
from cnnlab.models.class_names import advice_on_file
from cnnlab.recipe.load import flat, from_file, is_recipe_file, resolve, shipped
from cnnlab.recipe.schema import MAX_SEED, Recipe
from cnnlab.recipe.spec import Scalar, Spec, parse_spec
from cnnlab.text import did_you_mean, printable
from cnnlab.training.prepare import absolute_name, divide, resolve_for
from cnnlab.training.run_folder import RunFolder, find_run, list_runs, read_json

_SHARED = ("name", "val_fraction", "image_size", "skip_bad", "allow_duplicates")
"""Keys of `data` in which contestants must agree; augmentation belongs to each one's recipe."""


@dataclass(frozen=True)
class Entry:
    """A contestant as it entered."""

    name: str
    spec: str
    """As it was typed, fit to be shown."""
    recipe: Recipe
    seed: int | None
    """Of its own, for its first run; None: that of the comparison."""
    run: RunFolder | None = None
    """The run that it is, with its first seed; None: a recipe."""
    matched: str | None = None
    """What --match set."""

    @property
    def code(self) -> str | None:
        """SHA-256 of the user's Python file; None where the net is not one."""
        if not registry.is_user_file(self.recipe.model.arch):
            return None
        return code_of(Path(self.recipe.model.arch.rpartition(":")[0]))


def code_of(file: Path) -> str:
    """SHA-256 of a Python file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def enter(
    specs: Sequence[str],
    *,
    settings: Iterable[str],
    flags: Mapping[str, Scalar],
    out: Path,
    trust_code: bool,
) -> list[Entry]:
    """The contestants that were typed, under names that differ.

    Args:
        specs: `[LABEL=]NAME[:key=value,...]`; NAME is an architecture, a recipe's name or file, or a run.
        settings: `--set`, laid over every recipe.
        flags: the recipe's short flags, over every recipe too.
        out: where runs are looked for.
        trust_code: whether a recipe or a run may name a Python file.

    Raises:
        UsageError: fewer than two, an unknown name (with the nearest), two of the same name, other data.
    """
    if len(specs) < 2:
        raise UsageError(
            f"a comparison needs two contestants or more, received {len(specs)}", hint="Such as: cnnlab compare mlp cnn"
        )
    settings = list(settings)
    entries = [_entry(text, settings, flags, out, trust_code=trust_code) for text in specs]
    seen: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in seen:
            raise UsageError(
                f"the contestant {entry.name} is named twice",
                hint=f"Tell them apart by labels, and by seeds: a={entry.spec} b={_with_seed(entry.spec)}",
            )
        seen[entry.name] = entry
    return _on_the_same_data(entries)


def _with_seed(spec: str) -> str:
    return f"{spec}{',' if '=' in spec else ':'}seed=1"


def _entry(text: str, settings: list[str], flags: Mapping[str, Scalar], out: Path, *, trust_code: bool) -> Entry:
    spec = parse_spec(text)
    name = printable(spec.label or text)
    shown = printable(text.partition("=")[2].strip() if spec.label else text)
    if _is_recipe(spec.name):
        recipe = resolve(arch=replace(spec, label=None), settings=settings, flags=flags, trust_code=trust_code)
        seed = spec.options.get("seed")
        return Entry(name, shown, recipe, seed if isinstance(seed, int) else None)
    folder = RunFolder(_find(spec, out))
    if spec.options:
        raise UsageError(
            f"{printable(text)}: a run is what it is; its options cannot be changed",
            hint=f"Train its recipe again: {printable(spec.name)}/recipe.yaml:{printable(text.partition(':')[2])}",
        )
    recipe = from_file(folder.recipe, trust_code=trust_code)
    changed = resolve(recipe=str(folder.recipe), settings=settings, flags=flags, trust_code=True)
    _refuse_changes(name, folder, recipe, changed)
    return Entry(name, shown, recipe, recipe.seed, folder)


def _is_recipe(name: str) -> bool:
    if is_recipe_file(name) or name in shipped():
        return True
    try:
        registry.find(name)
    except UsageError:
        return False
    return True


def _find(spec: Spec, out: Path) -> Path:
    """The run that a name means.

    Raises:
        UsageError: it means neither a run nor anything else; several runs begin like that.
    """
    runs = [run.path.name for run in list_runs(out)]
    is_run = spec.name == "last" or is_folder(Path(spec.name)) or any(run.startswith(spec.name) for run in runs)
    if is_run:
        return find_run(spec.name, out)
    known = [*ARCHITECTURES, *shipped(), "torchvision:NAME", "FILE.py:Class", *map(printable, runs)]
    raise UsageError(
        f"unknown contestant {printable(spec.name)!r}: no architecture, no recipe and no run in {printable(out)}",
        hint=advice_on_file(spec.name) or did_you_mean(printable(spec.name), known),
    )


def _refuse_changes(name: str, folder: RunFolder, recipe: Recipe, changed: Recipe) -> None:
    """A flag that a run was not trained with would make it another run."""
    differences = [
        f"{key}: {printable(was)} in the run, {printable(now)} asked for"
        for key, was, now in _differences(recipe.model_dump(), changed.model_dump())
        if key != "threads" and not (key == "data.name" and _place(was) == _place(now))
    ]
    if differences:
        raise UsageError(
            f"{name} is a run, trained otherwise than the flags ask for:\n" + "\n".join(differences),
            hint=f"Leave them out, or train its recipe again: {printable(folder.recipe)}",
        )


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The keys in which two recipes differ, dotted, with both values."""
    one, other = flat(was), flat(now)
    keys = dict.fromkeys([*one, *other])
    return [(key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)]


def _on_the_same_data(entries: list[Entry]) -> list[Entry]:
    """The entries, those without data on that of the others.

    Raises:
        UsageError: they name different data, or divide them differently.
    """
    named = next((entry for entry in entries if entry.recipe.data.name is not None), None)
    if named is not None:
        entries = [entry if entry.run or entry.recipe.data.name else _on(entry, named) for entry in entries]
    first = entries[0]
    for entry in entries[1:]:
        for key in _SHARED:
            one, other = _shared(first, key), _shared(entry, key)
            if one != other:
                raise UsageError(
                    f"the contestants are on different data: data.{key} is {printable(one)} for {first.name}, "
                    f"{printable(other)} for {entry.name}",
                    hint=f"Give all of them the same: --set data.{key}=…; runs keep the data that they were trained on",
                )
    return entries


def _on(entry: Entry, named: Entry) -> Entry:
    data = entry.recipe.data.model_copy(update={"name": named.recipe.data.name})
    return replace(entry, recipe=entry.recipe.model_copy(update={"data": data}))


def _shared(entry: Entry, key: str) -> Any:
    value = getattr(entry.recipe.data, key)
    return _place(value) if key == "name" else value


def _place(name: str | None) -> str | None:
    """A data set's name as it is, a path as the file or folder that it means."""
    return None if name is None else absolute_name(name)


def base_seed(entries: Sequence[Entry], flags: Mapping[str, Scalar]) -> int:
    """The first seed of the comparison: --seed, or that of the runs' split, or of the first recipe without its own."""
    asked = flags.get("--seed")
    if isinstance(asked, int):
        return asked
    for entry in entries:
        if entry.run is not None:
            return entry.recipe.split_seed
    return next((entry.recipe.seed for entry in entries if entry.seed is None), 0)


def check_data(entries: Sequence[Entry], data: DataSet) -> None:
    """Whether the runs among the contestants were trained on these data.

    Raises:
        UsageError: another fingerprint.
    """
    for entry in entries:
        if entry.run is None:
            continue
        about = read_json(entry.run.environment).get("data")
        fingerprint = about.get("fingerprint") if isinstance(about, dict) else None
        if fingerprint != data.fingerprint:
            raise UsageError(
                f"{entry.name} was trained on other data: fingerprint {printable(fingerprint)[:12]}…; "
                f"{printable(data.name)} has {data.fingerprint[:12]}…",
                hint=f"Compare runs of the same data, or train its recipe on these: {printable(entry.run.recipe)}",
            )


def check_splits(entries: Sequence[Entry], recipes: Sequence[Recipe], data: DataSet) -> None:
    """Whether nets that are compared seed by seed were validated on the same images.

    Raises:
        UsageError: their validation parts are chosen by different seeds.
    """
    if data.val is not None or not recipes[0].data.val_fraction:
        return
    for entry, recipe in zip(entries, recipes, strict=True):
        if recipe.split_seed != recipes[0].split_seed:
            raise UsageError(
                f"the contestants are on different splits: the validation part of {entries[0].name} is chosen by seed "
                f"{recipes[0].split_seed}, that of {entry.name} by seed {recipe.split_seed}",
                hint="Nets of different seeds share a split when trained with --set data.split_seed=0",
            )


def budget(entries: Sequence[Entry], data: DataSet, asked: Scalar) -> int:
    """The epochs of every training: `--epochs`, or those of the runs, or the most that a recipe asks for."""
    if isinstance(asked, int):
        return asked
    runs = [entry.recipe.train.epochs for entry in entries if entry.run is not None]
    return max(runs or [_on_data(entry.recipe, data).train.epochs for entry in entries])


def _on_data(recipe: Recipe, data: DataSet) -> Recipe:
    return resolve_for(recipe, data, len(divide(recipe, data)[0]))


def recipe_of(entry: Entry, data: DataSet, epochs: int, base: int, number: int) -> Recipe:
    """The resolved recipe of a contestant's run `number` (from 0): what its run folder's recipe.yaml will say."""
    if entry.run is not None and number == 0:
        return entry.recipe
    seed = (base if entry.seed is None else entry.seed) + number
    if seed > MAX_SEED:
        raise UsageError(f"{entry.name} would be trained with seed {seed}; seeds end at {MAX_SEED}")
    split_seed = entry.recipe.data.split_seed
    if entry.run is not None or split_seed is None:
        split_seed = None if seed == base + number else base + number
    section = entry.recipe.data.model_copy(update={"split_seed": split_seed})
    train = entry.recipe.train.model_copy(update={"epochs": epochs, "min_steps": 0})
    return _on_data(entry.recipe.model_copy(update={"seed": seed, "data": section, "train": train}), data)
