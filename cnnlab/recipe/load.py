"""From what was typed to a checked recipe: find, layer, validate, explain, dump."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cnnlab.errors import MachineError, RecipeError, UsageError
from cnnlab.models import ARCHITECTURES, registry, seq_layers
from cnnlab.models.class_names import advice_on_file
from cnnlab.models.options import SeqOptions
from cnnlab.reading import NotAFile, read_up_to
from cnnlab.recipe import safe_yaml
from cnnlab.recipe.faults import explain_all, without_none
from cnnlab.recipe.layers import KeyPath, Layers
from cnnlab.recipe.schema import OptimSection, Recipe
from cnnlab.recipe.spec import Scalar, Spec, parse_options
from cnnlab.text import as_written, did_you_mean, printable

# From a checkout the recipes lie beside the package, in a wheel inside it.
_FOLDERS = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[2] / "recipes")

SHORT_FLAGS: Mapping[str, KeyPath] = {
    "--data": ("data", "name"),
    "--epochs": ("train", "epochs"),
    "--batch-size": ("train", "batch_size"),
    "--lr": ("optim", "lr"),
    "--seed": ("seed",),
    "--precision": ("train", "precision"),
    "--threads": ("threads",),
    "--max-minutes": ("train", "max_minutes"),
    "--skip-bad": ("data", "skip_bad"),
    "--allow-duplicates": ("data", "allow_duplicates"),
}


def short_flags(**given: Scalar | None) -> dict[str, Scalar]:
    """The short flags that were given, by their names; None and False are not. `batch_size` is `--batch-size`."""
    return {
        f"--{name.replace('_', '-')}": value
        for name, value in given.items()
        if value is not None and value is not False
    }


def shipped() -> dict[str, Path]:
    """The shipped recipes by name."""
    for folder in _FOLDERS:
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def is_recipe_file(name: str) -> bool:
    """Whether a name means a recipe file of the user's."""
    return name.lower().endswith((".yaml", ".yml"))


def resolve(
    *,
    arch: Spec | None = None,
    recipe: str | None = None,
    settings: Iterable[str] = (),
    flags: Mapping[str, Scalar] | None = None,
    trust_code: bool = False,
) -> Recipe:
    """The recipe that a command line means: built-in defaults, `recipe`, the spec, `--set`, the short flags.

    Args:
        arch: the spec of `--arch`: an architecture, or a recipe's name or file; a shipped recipe of an architecture's
            own name is what that name stands for, unless `recipe` is given.
        recipe: `--recipe`, a shipped recipe's name or a file.
        settings: `section.key=value` of each `--set`.
        flags: the short flags that were given, by their name (`--epochs`).
        trust_code: whether a recipe may name a Python file.

    Raises:
        RecipeError, UsageError: unknown names, keys or values, with where they stand and the nearest valid ones.
    """
    layers = Layers()
    if recipe is not None:
        _lay_recipe(layers, recipe)
    if arch is not None:
        _lay_spec(layers, arch, keep=recipe is not None)
    for setting in settings:
        for key, value in parse_options(setting).items():
            layers.lay(tuple(key.split(".")), value, "--set")
    for flag, value in (flags or {}).items():
        if flag == "--lr":
            _scale_muon(layers, value)
        layers.lay(SHORT_FLAGS[flag], value, flag)
    return _build_trusted(layers, trust_code=trust_code)


def _scale_muon(layers: Layers, lr: Scalar) -> None:
    """Under Muon, let `--lr` change the rate of its weights in proportion: they are most of the net."""
    fields, optim = OptimSection.model_fields, layers.values.get("optim", {})
    if optim.get("name") != "muon" or layers.sources.get(("optim", "muon_lr")) == "--set":
        return
    rates = [lr, *(optim.get(key, fields[key].default) for key in ("lr", "muon_lr"))]
    numbers = [rate for rate in rates if isinstance(rate, int | float) and rate > 0]
    if len(numbers) == len(rates):  # others are refused later
        after, before, muon = numbers
        layers.lay(("optim", "muon_lr"), muon * after / before, "--lr")


def from_file(path: Path, *, flags: Mapping[str, Scalar] | None = None, trust_code: bool = False) -> Recipe:
    """A recipe from one file alone, such as a run's own, under short flags.

    Raises:
        UsageError: it names a Python file, and `trust_code` is not given.
        RecipeError: it is no valid recipe.
    """
    layers = Layers()
    _lay_recipe(layers, str(path))
    for flag, value in (flags or {}).items():
        layers.lay(SHORT_FLAGS[flag], value, flag)
    return _build_trusted(layers, trust_code=trust_code)


def _build_trusted(layers: Layers, *, trust_code: bool) -> Recipe:
    if layers.user_file is not None and not trust_code:
        raise UsageError(
            f"{printable(layers.user_file)} names a Python file, whose code would run",
            hint="Read that file; if you trust it, add --trust-code",
        )
    return build(layers)


def _lay_recipe(layers: Layers, name: str) -> None:
    path = _find_recipe(name)
    document = safe_yaml.load_yaml(_read(path), str(path))
    if not isinstance(document.value, dict):
        found = "nothing" if document.value is None else f"a {_kind(document.value)}"
        raise RecipeError(
            f"{printable(path)}: expected sections (data, model, train, optim), received {found}",
            hint="See the shipped ones: cnnlab train --list",
        )
    _lay_document(layers, document, path)


def _lay_document(layers: Layers, document: safe_yaml.Document, path: Path) -> None:
    """Lay a document key by key, so that each remembers its line."""
    values = _absolute_user_file(document.value, path)
    if values is not document.value:
        layers.user_file = path

    def walk(value: Any, at: KeyPath) -> None:
        if isinstance(value, dict) and len(at) < 3 and at[:2] != ("model", "layers"):
            if at and not value:
                layers.lay(at, {}, f"{printable(path)}, line {document.lines.get(at, 1)}")
            # The architecture first: it decides which other options of `model` there are.
            for key in sorted(value, key=lambda key: (at == ("model",) and key != "arch",)):
                walk(value[key], (*at, key))
        else:
            layers.lay(at, value, f"{printable(path)}, line {document.lines.get(at, 1)}")

    for at, line in document.lines.items():
        if at[:2] == ("model", "layers"):
            layers.lines[at] = f"{printable(path)}, line {line}"
    walk(values, ())


def _absolute_user_file(values: dict[str, Any], recipe: Path) -> dict[str, Any]:
    """The same values, a `FILE.py:Class` made relative to the recipe's own folder; the same object where none is."""
    model = values.get("model")
    arch = model.get("arch") if isinstance(model, dict) else None
    if not isinstance(arch, str) or not registry.is_user_file(arch):
        return values
    return {**values, "model": {**model, "arch": str(recipe.parent / arch)}}  # type: ignore[dict-item]


def _lay_spec(layers: Layers, spec: Spec, *, keep: bool) -> None:
    """Lay a spec over what is there: its name as a recipe or an architecture, then its inline keys."""
    source = f"the spec {printable(spec.name)}"
    if is_recipe_file(spec.name) or (spec.name in shipped() and not (keep and spec.name in ARCHITECTURES)):
        _lay_recipe(layers, spec.name)
    else:
        try:
            registry.find(spec.name)
        except UsageError as error:
            names = [*ARCHITECTURES, *shipped(), "torchvision:NAME", "FILE.py:Class"]
            hint = _colon_for_comma(spec) or advice_on_file(spec.name) or did_you_mean(spec.name, names)
            raise UsageError(error.message, hint=hint) from None
        layers.lay(("model", "arch"), spec.name, source)
    for key, value in spec.options.items():
        # A seed is no option of any family; a user's own class may have one.
        top = key == "seed" and not registry.is_user_file(spec.name)
        path = tuple(key.split(".")) if "." in key else (key,) if top else ("model", key)
        layers.lay(path, value, source)


def _colon_for_comma(spec: Spec) -> str | None:
    """What was meant by `cnn,dropout=0.5`, which by the grammar is a net `0.5` labelled `cnn,dropout`."""
    name, comma, key = (spec.label or "").partition(",")
    known = name in ARCHITECTURES or name in shipped() or is_recipe_file(name) or registry.is_user_file(name)
    return f"Options begin with a colon: {printable(f'{name}:{key}={spec.name}')}" if comma and known else None


def _find_recipe(name: str) -> Path:
    if is_recipe_file(name):
        return Path(name)
    recipes = shipped()
    if name not in recipes:
        raise UsageError(
            f"unknown recipe {printable(name)!r}", hint=did_you_mean(name, recipes) + "\nA file ends in .yaml"
        )
    return recipes[name]


def _read(path: Path) -> bytes:
    try:
        return read_up_to(path, safe_yaml.MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"no such recipe: {printable(path)}", hint="Shipped ones: cnnlab train --list") from None
    except (NotAFile, IsADirectoryError) as error:
        raise UsageError(f"{printable(path)} is not a recipe: {error.strerror}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise MachineError(f"cannot read {printable(path)}: {printable(reason)}") from None


def build(layers: Layers) -> Recipe:
    """Validate what was laid.

    Raises:
        RecipeError: with every fault, where it stands, what was expected and the nearest valid keys.
    """
    values = dict(layers.values)
    model = values.get("model", {"arch": "cnn"})
    if not isinstance(model, dict):
        raise RecipeError(f"model: expected a section, received {as_written(model)}")
    faults: list[str] = []
    model.setdefault("arch", "cnn")
    if not isinstance(model["arch"], str):
        raise RecipeError(f"model.arch: expected a name, received {as_written(model['arch'])}")
    try:
        options_type = registry.find(model["arch"]).options
    except UsageError as error:
        raise RecipeError(layers.place(("model", "arch")) + error.message, hint=error.hint) from None
    if options_type is SeqOptions and "layers" not in model:
        raise RecipeError(
            f"{layers.place(('model', 'arch'))}seq needs its list of layers, model.layers",
            hint=f"Write a recipe file and name it, --arch my.yaml:\n{seq_layers.EXAMPLE}",
        )
    hint = "All keys with their values: cnnlab train --print-recipe"
    try:
        options = options_type.model_validate(without_none(model, options_type))
        if isinstance(options, SeqOptions):
            seq_layers.check(options.layers)
        values["model"] = options
    except ValidationError as error:
        faults += explain_all(layers, ("model",), error, options_type, options_type)
        values.pop("model")
    except seq_layers.LayerFault as fault:
        faults.append(layers.place_within(("model", "layers", *fault.path)) + fault.message)
        hint = fault.hint or hint
        values.pop("model")
    try:
        recipe = Recipe.model_validate(without_none(values, Recipe))
    except ValidationError as error:
        faults += explain_all(layers, (), error, Recipe, options_type)
    if faults:
        raise RecipeError("\n".join(faults), hint=hint)
    return recipe


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "single value"


def dump(recipe: Recipe) -> str:
    """The recipe as YAML, every key written out; `from_file` of it gives an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(), sort_keys=False, allow_unicode=True, default_flow_style=None)


def digest(recipe: Recipe) -> str:
    """SHA-256 of the recipe's content, whatever the order in which it was written."""
    text = json.dumps(recipe.model_dump(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as one level of dotted ones."""
    keys: dict[str, Any] = {}
    for key, value in document.items():
        keys |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return keys
