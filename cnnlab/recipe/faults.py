"""What is wrong with a recipe, in words: where it stands, what was expected, what was received, what is nearest."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cnnlab.models import ARCHITECTURES
from cnnlab.recipe.layers import KeyPath, Layers, dotted
from cnnlab.recipe.schema import Recipe
from cnnlab.text import as_written, cut, nearest

_SHOWN_FAULTS = 20
_VALID = "; valid: "


def without_none(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """`none` typed for a number that may be absent means absent."""
    plain: dict[str, Any] = {}
    for key, value in values.items():
        known = model.model_fields.get(key)
        if isinstance(value, dict) and known is not None and _is_section(known.annotation):
            plain[key] = without_none(value, known.annotation)  # type: ignore[arg-type]
        elif value == "none" and known is not None and _admits_none(known.annotation):
            plain[key] = None
        else:
            plain[key] = value
    return plain


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _admits_none(annotation: Any) -> bool:
    return type(None) in getattr(annotation, "__args__", ())


def keys_by_word(options: type[BaseModel]) -> dict[str, list[str]]:
    """Where each word is a key of a recipe, dotted, those of an architecture's `options` among them."""
    found: dict[str, list[str]] = {}

    def walk(section: type[BaseModel], before: KeyPath) -> None:
        for word, known in section.model_fields.items():
            found.setdefault(word, []).append(dotted((*before, word)))
            below = options if (*before, word) == ("model",) else known.annotation
            if _is_section(below):
                walk(below, (*before, word))  # type: ignore[arg-type]

    walk(Recipe, ())
    return found


def explain_all(
    layers: Layers, prefix: KeyPath, error: ValidationError, model: type[BaseModel], options: type[BaseModel]
) -> list[str]:
    """The faults of a section that lies at `prefix`, one a line; of very many the first.

    `options` are those of the architecture: what is a key of the model.
    """
    every = error.errors(include_url=False, include_context=False)
    lines = _once([explain(layers, prefix, details, model, options) for details in every[:_SHOWN_FAULTS]])
    return lines + [f"and {len(every) - _SHOWN_FAULTS:,} more"] * (len(every) > _SHOWN_FAULTS)


def _once(lines: list[str]) -> list[str]:
    """The lines; what is valid in a section is said by the first that tells of it."""
    parts = [line.rpartition(_VALID) for line in lines]
    told = [valid for _, _, valid in parts]
    return [
        text if text and valid in told[:number] else text + separator + valid
        for number, (text, separator, valid) in enumerate(parts)
    ]


def explain(
    layers: Layers, prefix: KeyPath, details: ErrorDetails, model: type[BaseModel], options: type[BaseModel]
) -> str:
    """One fault in one line: place, key, what was expected, what was received."""
    path = (*prefix, *details["loc"])
    # Members of a union ("auto" or a number) are named in the location; the key ends before them.
    key = tuple(part for part in path if isinstance(part, str | int) and str(part).isidentifier())
    while len(key) > 1 and not layers.is_laid(key):
        key = key[:-1]
    place = layers.place(key)
    if details["type"] == "extra_forbidden":
        if others := _nets_with(str(path[-1]), options):
            return f"{place}unknown key {cut(dotted(path))}; it is an option of {', '.join(others)}"
        near = _meant(str(path[-1]), _keys_beside(path, model, len(prefix)), options)
        advice = f"; did you mean {' or '.join(near)}?" if near else ""
        valid = "" if near else f"{_VALID}{', '.join(_keys_beside(path, model, len(prefix)))}"
        return f"{place}unknown key {cut(dotted(path))}{advice}{valid}"
    if not key or (details["type"] == "value_error" and not details["loc"]):
        return f"{place}{details['msg'].removeprefix('Value error, ')}"
    expected = details["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if details["type"] == "model_type":
        expected = "a section"
    return f"{place}{cut(dotted(key))}: expected {expected}, received {as_written(details['input'])}"


def _meant(word: str, beside: list[str], options: type[BaseModel]) -> list[str]:
    """The keys that a wrong one may stand for: the same word in another section, else the nearest beside it."""
    elsewhere = keys_by_word(options)
    same = elsewhere.get(word.replace("-", "_"), []) if word.replace("-", "_") not in beside else []
    return same or nearest(word, beside) or [key for near in nearest(word, elsewhere, 1) for key in elsewhere[near]]


def _nets_with(word: str, options: type[BaseModel]) -> list[str]:
    """The architectures that have an option of that name, where it is no key with the one at hand."""
    if word in keys_by_word(options):
        return []
    return [net.name for net in ARCHITECTURES.values() if word in net.options.model_fields]


def _keys_beside(path: KeyPath, model: type[BaseModel], skip: int) -> list[str]:
    """The valid keys of the section that holds `path`."""
    for key in path[skip:-1]:
        found = model.model_fields.get(str(key))
        if found is None or not _is_section(found.annotation):
            break
        model = found.annotation  # type: ignore[assignment]
    return list(model.model_fields)
