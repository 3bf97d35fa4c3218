"""What Typer refuses, in words of the command line: what was received, and what was probably meant."""

from typing import Any

from typer.exceptions import TyperException

from cnnlab.recipe.spec import decimal_point
from cnnlab.text import as_written


def message_of(error: TyperException) -> str:
    """What Typer says, without the words of pydantic, which it has convert the values."""
    text = error.format_message().replace(": Value error, ", ": ", 1).replace(": Input should be ", ": expected ", 1)
    if _kind(error).endswith("_parsing"):
        text = text.partition(", unable to parse")[0] + f", received {as_written(_received(error))}"
    return text


def hint_for(error: TyperException) -> str:
    """What to do instead."""
    if _kind(error) == "float_parsing" and (number := decimal_point(str(_received(error)))):
        return f"Write a decimal point: {number}"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "cnnlab"
    return f"See: {command} --help"


def _details(error: TyperException) -> dict[str, Any]:
    """What pydantic refused, empty where it was not asked."""
    errors = getattr(error.__cause__, "errors", None)
    return errors()[0] if errors is not None else {}


def _kind(error: TyperException) -> str:
    return str(_details(error).get("type", ""))


def _received(error: TyperException) -> Any:
    return _details(error).get("input")
