"""What Typer refuses, in words of the command line: what was received, and what was probably meant."""

import re
from collections.abc import Sequence
from typing import Any

from typer.exceptions import TyperException

from cnnlab.errors import UsageError
from cnnlab.recipe.spec import Spec, decimal_point, parse_spec
from cnnlab.text import as_written, typed

_EXTRA = "Got unexpected extra argument"


def told(error: TyperException, arguments: Sequence[str]) -> UsageError:
    """The error as cnnlab tells it, after the words that were typed."""
    meant = _meant(error, arguments)
    message = error.message if meant else error.format_message()
    # Without the words of pydantic, which Typer has convert the values.
    message = message.replace(": Value error, ", ": ", 1).replace(": Input should be ", ": expected ", 1)
    details = _details(error)
    if str(details.get("type", "")).endswith("_parsing"):
        message = message.partition(", unable to parse")[0] + f", received {as_written(details['input'])}"
        if details["type"] == "float_parsing" and (number := decimal_point(str(details["input"]))):
            meant = f"Write a decimal point: {number}"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "cnnlab"
    return UsageError(message, hint=meant or f"See: {command} --help")


def _details(error: TyperException) -> dict[str, Any]:
    """What pydantic refused, empty where it was not asked."""
    errors = getattr(error.__cause__, "errors", None)
    return errors()[0] if errors is not None else {}


def _meant(error: TyperException, arguments: Sequence[str]) -> str | None:
    """What an unknown option or a word too many probably stands for."""
    context = getattr(error, "ctx", None)
    if context is None:
        return None
    if hasattr(error, "possibilities"):  # an unknown option
        option = error.option_name  # type: ignore[attr-defined]
        group = (context.parent or context).command
        known = {command.name: _options_of(command) for command in group.commands.values()}
        written = _as_key(option, arguments, context.command.name) if "--set" in _options_of(context.command) else None
        owners = [f"cnnlab {name}" for name, options in known.items() if option in options]
        return written or (f"{option} is an option of {' and of '.join(owners)}" if owners else None)
    if error.message.startswith(_EXTRA) and context.command.name == "train":
        return _as_option(error.message.partition(" (")[2].rstrip(")").split(" ")[0])
    return None


def _options_of(command: Any) -> list[str]:
    return [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]


def _as_key(option: str, arguments: Sequence[str], command: str) -> str | None:
    """How a key of recipes or an option of nets is written, where `option` is one: `--dropout`."""
    from cnnlab.models import ARCHITECTURES
    from cnnlab.models.options import ModelOptions
    from cnnlab.recipe.faults import keys_by_word

    word = option.lstrip("-").replace("-", "_")
    if word == "arch":
        return None
    value = _value_of(option, arguments) or "VALUE"
    every = keys_by_word(ModelOptions)
    sections = {key.rpartition(".")[0] for keys in every.values() for key in keys}
    keys = [key for key in every.get(word, []) if key not in sections]
    if command == "evaluate":  # whose --set is for the data alone
        keys = [key for key in keys if key.startswith("data.")]
    if keys:
        return "Write " + " or ".join(f"--set {typed([f'{key}={value}'])}" for key in keys)
    nets = [net.name for net in ARCHITECTURES.values() if word in net.options.model_fields]
    if not nets or command == "evaluate":
        return None
    if _value_of("--recipe", arguments):
        return f"Write --set {typed([f'model.{word}={value}'])}"
    given = _value_of("--arch", arguments) or ""
    spec = _spec(given)
    if spec is None or spec.name not in nets:
        given, spec = ("cnn" if "cnn" in nets else nets[0]), None
    net = typed([f"{given}{',' if spec and spec.options else ':'}{word}={value}"])
    return f"{word} is an option of nets ({', '.join(nets)}): write {'--arch ' if command == 'train' else ''}{net}"


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    """What was typed as an option's value."""
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == option:
            return None if after.startswith("--") else after or None
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _as_option(word: str) -> str | None:
    """How a recipe, a net or a key is given to `cnnlab train`, which takes no words without an option."""
    from cnnlab.models import registry
    from cnnlab.recipe.load import is_recipe_file

    if is_recipe_file(word):
        return f"Write --recipe {word}"
    spec = _spec(word)
    if spec is None:
        return None
    name = spec.name
    if name in registry.ARCHITECTURES or registry.is_user_file(name) or is_recipe_file(name):
        return f"Write --arch {word}"
    return f"Write --set {word}" if re.match(r"[a-z_]+(\.[a-z_]+)*=", word) else None


def _spec(text: str) -> Spec | None:
    try:
        return parse_spec(text)
    except UsageError:
        return None
