"""KERNEL as it is typed: a name with options, a matrix, a YAML file, or a kernel that a run has learnt."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.errors import RecipeError, UsageError
from cnnlab.imaging.kernels import MAX_WEIGHT, Kernel, checked_matrix, named_kernel
from cnnlab.reading import read_up_to
from cnnlab.recipe.spec import parse_spec, parse_value
from cnnlab.text import as_written, cut, did_you_mean, name_part, printable

RunTensors = Callable[[str], Mapping[str, np.ndarray]]
"""From RUN to the weights of its best epoch, by state_dict key."""

_LEARNT = re.compile(r"(?P<run>.+):(?P<layer>[A-Za-z_][A-Za-z0-9_.]*)\[(?P<channel>\d{1,6})\]")
_YAML_KEYS = ("name", "matrix", "scale", "offset")
_SPEC_HINT = "Such as gaussian:size=15,sigma=1.5: a point in numbers, commas between options; see --list"
_YAML_HINT = "Such as `matrix: [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]`; name, scale and offset may stand beside it"


def parse_kernel(text: str, run_tensors: RunTensors | None = None) -> Kernel:
    """The kernel that `text` means.

    Raises:
        UsageError: no such kernel or option, a matrix that is none, a YAML file that is not as it should be, no such
            run, layer or channel.
        CheckpointError: the run's weights are damaged.
    """
    text = text.strip()
    if not text:
        raise UsageError("an empty kernel", hint="Name one (see --list), or write a matrix")
    learnt = _LEARNT.fullmatch(text)
    if learnt:
        return _learnt_kernel(text, learnt["run"], learnt["layer"], int(learnt["channel"]), run_tensors)
    if Path(text).suffix.lower() in (".yaml", ".yml"):
        return _yaml_kernel(Path(text))
    if ";" in text or text[0] in "+-.0123456789[" or re.search(r"\s", text):
        return Kernel("custom", (_inline_matrix(text, f"the kernel {cut(text)!r}"),))
    try:
        spec = parse_spec(text)
    except UsageError as error:  # whose hint may be on recipes
        raise UsageError(error.message, hint=_SPEC_HINT) from None
    kernel = named_kernel(spec.name, spec.options)
    return replace(kernel, name=name_part(spec.label, "kernel")) if spec.label else kernel


def _inline_matrix(text: str, where: str) -> np.ndarray:
    """A matrix from rows between semicolons, or in brackets each; numbers between spaces or commas; 1/9 is a number."""
    inner = re.sub(r"\]\s*(?:,\s*)?\[", ";", text).strip("[] \t\n").removesuffix(";")
    lines = [row.strip() for row in inner.split(";")]
    for line in lines:
        if re.search(r"\S,\S", line) and re.search(r"\s", line):
            raise UsageError(
                f"{where} is ambiguous: commas and spaces are mixed in {cut(line)!r}",
                hint='Write "0.5 0.5; 0.5 0.5": a point in numbers, spaces alone between them',
            )
    rows = [re.split(r"\s*,\s*|\s+", line) for line in lines]
    if len({len(row) for row in rows}) > 1:
        raise UsageError(
            f"{where} is ragged: its rows have {', '.join(str(len(row)) for row in rows)} numbers",
            hint="Give every row as many numbers",
        )
    return checked_matrix([[_number(word, where) for word in row] for row in rows], where)


def _number(word: str, where: str) -> float:
    numerator, slash, denominator = word.partition("/")
    values = [parse_value(part) for part in ((numerator, denominator) if slash else (numerator,))]
    if word == "" or any(isinstance(value, bool | str | None) for value in values) or (slash and values[1] == 0):
        raise UsageError(
            f"{where} holds {cut(word)!r}, expected a finite number", hint='Such as "-1 0 1; -2 0 2; -1 0 1"'
        )
    return float(values[0]) / (float(values[1]) if slash else 1.0)  # type: ignore[arg-type]


def _yaml_kernel(path: Path) -> Kernel:
    from cnnlab.recipe.safe_yaml import MAX_BYTES, load_yaml

    name = printable(path)
    try:
        content = read_up_to(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read the kernel {name}: {reason}", hint="Check the spelling") from None
    try:
        document = load_yaml(content, name).value
    except RecipeError as error:  # whose hint may be on recipes
        raise UsageError(error.message, hint=_YAML_HINT) from None
    for key in document if isinstance(document, dict) else ():
        if key not in _YAML_KEYS:
            raise UsageError(f"{name}: there is no key {cut(key)!r}", hint=did_you_mean(str(key), _YAML_KEYS))
    if not isinstance(document, dict) or "matrix" not in document:
        raise UsageError(f"{name}: expected the keys name, matrix, scale, offset; of which matrix must be there")
    matrix = document["matrix"]
    where = f"the matrix of {name}"
    return Kernel(
        name_part(_yaml_name(document.get("name", path.stem), name), "kernel"),
        (_inline_matrix(matrix, where) if isinstance(matrix, str) else _nested_matrix(matrix, where),),
        scale=_yaml_number(document, "scale", 1.0, name),
        offset=_yaml_number(document, "offset", 0.0, name),
    )


def _yaml_name(value: Any, file: str) -> str:
    if isinstance(value, dict | list) or value is None:
        raise UsageError(f"{file}: name: expected text")
    return str(value)


def _nested_matrix(rows: Any, where: str) -> np.ndarray:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise UsageError(f"{where}: expected a list of rows", hint="Such as [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]")
    if len({len(row) for row in rows}) > 1:
        raise UsageError(f"{where} is ragged: its rows have {', '.join(str(len(row)) for row in rows)} numbers")
    return checked_matrix([[_yaml_scalar(word, where) for word in row] for row in rows], where)


def _yaml_scalar(value: Any, where: str) -> float:
    if isinstance(value, dict | list):  # whose text, made of aliases, may be longer than the memory
        raise UsageError(f"{where}: expected a number, received {as_written(value)}")
    return _number(str(value), where)


def _yaml_number(document: Mapping[str, Any], key: str, default: float, file: str) -> float:
    if key not in document:
        return default
    value = _yaml_scalar(document[key], f"{file}: {key}")
    if not abs(value) <= MAX_WEIGHT:  # false for NaN too
        raise UsageError(f"{file}: {key}: expected a finite number up to {MAX_WEIGHT:g}")
    return value


def _learnt_kernel(text: str, run: str, layer: str, channel: int, run_tensors: RunTensors | None) -> Kernel:
    """An output channel of a convolutional layer: (C, kh, kw), one matrix for each input channel."""
    if run_tensors is None:
        raise UsageError(f"the learnt kernel {printable(text)!r} needs a folder of runs to be looked for in")
    tensors = run_tensors(run)
    layers = sorted(key.removesuffix(".weight") for key, value in tensors.items() if value.ndim == 4)
    weights = tensors.get(f"{layer}.weight")
    if weights is None or weights.ndim != 4:
        hint = did_you_mean(layer, layers) if layers else "The net has no convolutional layer"
        raise UsageError(f"the run has no convolutional layer {printable(layer)!r}", hint=hint)
    if channel >= len(weights):
        raise UsageError(f"{layer} has the output channels 0 to {len(weights) - 1}, received {channel}")
    planes = tuple(
        checked_matrix(plane, f"the learnt kernel {layer}[{channel}]") for plane in weights[channel].astype(np.float64)
    )
    kind = "linear" if len(planes) == 1 else "planes"
    name, title = name_part(f"{layer}-{channel}", "kernel"), f"{layer}[{channel}]"
    return Kernel(name, planes, kind, title=title, learnt=True)  # type: ignore[arg-type]
