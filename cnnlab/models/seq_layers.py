"""What the layers of a `seq` may say, checked before anything is built: free of torch, as `options` is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from cnnlab.errors import RecipeError
from cnnlab.models.options import Activation
from cnnlab.text import as_written, cut, did_you_mean

_MAX = 65_536
Path = tuple[str | int, ...]


class LayerFault(RecipeError):
    """A layer is wrong; `path` leads to it from the whole list."""

    path: Path = ()


@dataclass(frozen=True)
class Value:
    """What a key takes, in words and as a test."""

    expected: str
    fits: Callable[[Any], bool]


def _whole(least: int, *, optional: bool = True) -> Value:
    def fits(value: Any) -> bool:
        return (optional and value is None) or (type(value) is int and least <= value <= _MAX)

    return Value(f"a whole number from {least}", fits)


def _probability(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


_UNITS = _whole(1, optional=False)
_SIZE, _PADDING = _whole(1), _whole(0)
_BIAS = Value("true or false", lambda value: isinstance(value, bool))
_POOL = {"stride": _SIZE, "padding": _PADDING}
_PLAIN = ("global-max-pool", "global-mean-pool", "batch-norm", "flatten", "activation", *get_args(Activation))

LAYERS: Mapping[str, Mapping[str, Value]] = {
    "conv": {"conv": _UNITS, "kernel": _SIZE, "stride": _SIZE, "padding": _PADDING, "bias": _BIAS},
    "linear": {"linear": Value(_UNITS.expected, lambda v: v == "classes" or _UNITS.fits(v)), "bias": _BIAS},
    "max-pool": {"max-pool": _SIZE, **_POOL},
    "mean-pool": {"mean-pool": _SIZE, **_POOL},
    "dropout": {"dropout": Value("a probability from 0 below 1", _probability)},
    "residual": {"residual": Value("a list of layers", lambda value: isinstance(value, list) and bool(value))},
    **{kind: {} for kind in _PLAIN},
}
"""Every layer's type, and the keys it takes beside `name`, its own first."""

EXAMPLE = "model:\n  arch: seq\n  layers: [{conv: 32}, relu, {max-pool: 2}, flatten, {linear: classes}]"
"""A whole recipe."""

_WRITTEN: Mapping[str, str] = {
    "conv": "conv: 32, or {conv: 32, kernel: 5, stride: 2}",
    "linear": "linear: 128, or linear: classes for the data's number of classes",
    "max-pool": "max-pool: 2, or {max-pool: 3, stride: 2}",
    "mean-pool": "mean-pool: 2, or {mean-pool: 3, stride: 2}",
    "dropout": "dropout: 0.2",
    "residual": "residual: [{conv: 32}, relu, {conv: 32}]",
}


def check(layers: list[Any], path: Path = ()) -> None:
    """Refuse what no net can be built of, whatever its input.

    Raises:
        LayerFault: an unknown layer or key, or a value that a key does not take.
    """
    for index, item in enumerate(layers):
        kind, arguments = parse(item, (*path, index))
        if kind == "residual":
            check(arguments["residual"], (*path, index, "residual"))


def parse(item: Any, path: Path) -> tuple[str, dict[str, Any]]:
    """The type of a layer and its arguments by name, the type's own value under the type.

    Raises:
        LayerFault: as `check`, which also looks into a residual's list.
    """
    arguments: dict[str, Any] = dict(item) if isinstance(item, dict) else {item: None} if isinstance(item, str) else {}
    kind = next(iter(arguments), None)
    if not isinstance(kind, str) or kind not in LAYERS:
        raise _fault(path, f"unknown layer {as_written(item)}", did_you_mean(cut(kind), LAYERS))
    keys = LAYERS[kind]
    for key in arguments:
        if key not in (kind, "name", *keys):
            valid = [*(name for name in keys if name != kind), "name"]
            raise _fault((*path, str(key)), f"{kind}: unknown key {cut(key)!r}", did_you_mean(str(key), valid))
    for key, value in keys.items():
        given = arguments.get(key)
        if not value.fits(given) and (key == kind or key in arguments):
            hint = f"Write {_WRITTEN[kind]}" if key == kind else None
            raise _fault((*path, key), f"{key}: expected {value.expected}, received {as_written(given)}", hint)
    return kind, arguments


def _fault(path: Path, problem: str, hint: str | None) -> LayerFault:
    layer = path if isinstance(path[-1], int) else path[:-1]
    fault = LayerFault(f"{written(layer)}: {problem}", hint=hint)
    fault.path = path
    return fault


def written(path: Path) -> str:
    """A layer's place in the list as messages name it: `model.layers[0].residual[1]`."""
    return "model.layers" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
