"""The two consoles of a command: results on stdout, talk on stdout too, or on stderr where `--json` owns stdout."""

import contextlib
import json
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cnnlab.errors import CnnlabError
from cnnlab.text import printable

PIPE_WIDTH = 100
"""Columns used where there is no terminal to ask (a pipe, a file), unless COLUMNS says otherwise."""
_UNBOUNDED = 10_000
"""Columns that no table takes."""


class _Console(Console):
    """A console that lets its caller know when nobody reads any more, where rich's own would end the program."""

    def on_broken_pipe(self) -> None:
        raise  # called where the BrokenPipeError is being handled


def make_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console that neither guesses markup nor highlights, and keeps a sensible width without a terminal."""
    console = _Console(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in console._environ:
        console.width = PIPE_WIDTH
    return console


class Output:
    """Where a command speaks: `talk` for people (a rich console), `result` for the one JSON document."""

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False, answers: bool = True) -> None:
        """Of several processes that train together, one `answers`: it prints the document."""
        self.json, self.quiet, self.verbose, self.answers = json, quiet, verbose, answers
        self.talk = make_console(stderr=json, quiet=quiet)

    def say(self, *renderables: RenderableType) -> None:
        """Print for people; plain strings are taken literally, never as markup."""
        for renderable in renderables:
            self.talk.print(renderable)

    def note(self, text: str) -> None:
        """Print a remark on what is done otherwise than might be expected."""
        self.say(Text(f"note: {text}", style="yellow"))

    def warn(self, text: str) -> None:
        """Print what nobody may miss, with `--quiet` on stderr."""
        talk = make_console(stderr=True) if self.quiet and self.answers else self.talk
        talk.print(Text(text, style="bold yellow"))

    def say_whole(self, text: Text) -> None:
        """Print a line that may be longer than the terminal is wide: a path in it can be copied."""
        self.talk.print(text, soft_wrap=True)

    def has_room_for(self, table: Table, *, wrapped: bool = False) -> bool:
        """Whether the terminal is wide enough for every cell on one line; with `wrapped`, for every word whole."""
        needed = self.talk.measure(table, options=self.talk.options.update(width=_UNBOUNDED))
        return (needed.minimum if wrapped else needed.maximum) <= self.talk.width

    def divert(self) -> contextlib.AbstractContextManager[Any]:
        """Where a person's own code runs: with `--json`, what it prints goes to stderr, stdout is the document's."""
        return contextlib.redirect_stdout(sys.stderr) if self.json else contextlib.nullcontext()

    def result(self, document: dict[str, Any]) -> None:
        """With `--json`, print the document; otherwise nothing (the command has rendered it for people)."""
        if self.json and self.answers:
            write_json(document)


def write_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout: ASCII, so that it survives any encoding; NaN and infinity are refused."""
    sys.stdout.write(json.dumps(document, ensure_ascii=True, allow_nan=False, indent=2) + "\n")


def error_document(error: CnnlabError) -> dict[str, Any]:
    """An error as it stands under `error` in the JSON document of a command that failed."""
    return {"code": error.exit_code, "kind": error.kind, "message": error.message, "hint": error.hint}


def render_error(error: CnnlabError, *, as_json: bool) -> None:
    """One short block on stderr: what happened, what to do. With `--json`, one document on stdout instead."""
    if as_json:
        write_json({"error": error_document(error)})
        return
    console = make_console(stderr=True)
    block = Text()
    block.append("error: ", style="bold red")
    block.append(_lines(error.message))
    if error.hint:
        block.append("\n" + _lines(error.hint), style="cyan")
    console.print(block, soft_wrap=True)


def _lines(message: str) -> str:
    """A second line of defence behind the core's own escaping; our own line breaks are kept."""
    return "\n".join(printable(line) for line in message.split("\n"))
