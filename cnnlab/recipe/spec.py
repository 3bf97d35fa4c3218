"""The spec: how a net, a recipe, a run or a kernel with options is written on the command line.

`[LABEL=]NAME[:key=value,...]`, such as `mlp:depth=3`, `adam=cnn:width=64,optim.name=adam`,
`torchvision:resnet18`, `net.py:Net:width=8`, `gaussian:size=15,sigma=3`.
"""

import re
from dataclasses import dataclass, field

from cnnlab.errors import UsageError
from cnnlab.text import cut, printable

Scalar = int | float | bool | str | None

_KEY = r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*"
_OPTION_START = re.compile(rf"{_KEY}=")
_MAX_LENGTH = 4096
_NAMED_VALUES: dict[str, Scalar] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Spec:
    """A parsed spec: `name` as typed, `options` in the order typed, `label` (None when none was given)."""

    name: str
    options: dict[str, Scalar] = field(default_factory=dict)
    label: str | None = None


def parse_spec(text: str) -> Spec:
    """Parse `[LABEL=]NAME[:key=value,...]`.

    The options begin at the first colon that is followed by `key=`, so names may hold colons themselves
    (`torchvision:resnet18`, `C:\\nets\\net.py:Net`).

    Raises:
        UsageError: no name, an option without a value or key, an option given twice.
    """
    if not isinstance(text, str):
        raise UsageError(
            f"expected text such as 'cnn:width=64', received {cut(type(text).__name__)}",
            hint="Of a net of your own, name file and class: 'net.py:Net'",
        )
    if len(text) > _MAX_LENGTH:
        raise UsageError(f"a spec of {len(text)} characters is too long: at most {_MAX_LENGTH} are read")
    head, options = text, ""
    for colon in re.finditer(":", text):
        if _OPTION_START.match(text, colon.end()):
            head, options = text[: colon.start()], text[colon.end() :]
            break
    else:
        if text.endswith(":"):
            raise UsageError(
                f"no options after the colon in {printable(text)!r}", hint="Write NAME or NAME:key=value,key=value"
            )
    label, equals, name = head.partition("=")
    if not equals:
        label, name = "", head
    if not name.strip():
        raise UsageError(f"no name in the spec {printable(text)!r}", hint="Write [LABEL=]NAME[:key=value,...]")
    if equals and not label.strip():
        raise UsageError(f"an empty label in the spec {printable(text)!r}", hint="Write LABEL=NAME, or NAME alone")
    return Spec(name.strip(), parse_options(options) if options else {}, label.strip() or None)


def parse_options(text: str) -> dict[str, Scalar]:
    """Parse `key=value,key=value` into a dict of scalars (see `parse_value`).

    Raises:
        UsageError: a part that is not `key=value`, or a key given twice.
    """
    options: dict[str, Scalar] = {}
    last = before = ""
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not re.fullmatch(_KEY, key):
            if options and (number := decimal_point(f"{before},{part}")):
                raise UsageError(
                    f"{printable(last)}: expected a number with a decimal point, received {before},{part}",
                    hint=f"A comma separates options; write {printable(last)}={number}",
                )
            raise UsageError(
                f"expected key=value, received {printable(part)!r}",
                hint="Such as NAME:depth=3,width=64 for options, and --set train.epochs=5 for a recipe's keys",
            )
        if key in options:
            raise UsageError(f"the option {printable(key)} is given twice in {printable(text)!r}")
        last, before = key, value.strip()
        options[key] = parse_value(before)
    return options


def decimal_point(text: str) -> str | None:
    """The number that was written with a decimal comma, `0,01`, with a point instead; None for all else."""
    return text.replace(",", ".") if re.fullmatch(r"[+-]?\d{1,40},\d{1,40}([eE][+-]?\d{1,4})?", text) else None


def parse_value(text: str) -> Scalar:
    """The scalar that a person means: true, false, null, an integer, a float (`1e-3` too), or the text itself."""
    lowered = text.lower()
    if lowered in _NAMED_VALUES:
        return _NAMED_VALUES[lowered]
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,4})?", text):
        return float(text)
    return text
