"""Text of strangers made safe to show or to name a file by, and the nearest valid name for a wrong one."""

import difflib
import os
import re
import reprlib
import shlex
import subprocess
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

# Cc control, Cf format (bidirectional overrides), Cs lone surrogates of undecodable file names, Zl/Zp line breaks.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

LONGEST_NAME = 60
"""Characters of a name that a user gives, and of a part of one that is made."""
_LONGEST_WORD = 200


def printable(text: object) -> str:
    r"""`text` with every control, format and surrogate character written as an escape such as `\x1b`.

    Every file name, class name, label or key that came from outside goes through here before it is put into a
    message, a table, a figure or a report. (Rich markup is no danger: the renderers never parse such text.)
    """
    return "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in _UNSAFE_CATEGORIES else char
        for char in str(text)
    )


def cut(text: object, length: int = 100) -> str:
    """`printable`, cut to a length that a message can bear."""
    whole = str(text)
    return printable(whole[:length]) + ("…" if len(whole) > length else "")


def name_part(text: str, otherwise: str) -> str:
    """Text as a part of a file name that is legal everywhere: letters and digits of any script, dots, dashes.

    `otherwise` where nothing of it remains.
    """
    return re.sub(r"[^\w.-]+", "-", text).strip("-. ")[:LONGEST_NAME].strip("-. ") or otherwise


def as_written(value: Any) -> str:
    """A value of a stranger's document about as it stands there, cut to a length that a message can bear."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f'"{cut(value)}"' if isinstance(value, str) else cut(_bounded.repr(value))


_bounded = reprlib.Repr()
"""Looks at the first few items of a list only: the full text of one made of aliases may fill the memory."""
_bounded.maxlevel, _bounded.maxlist, _bounded.maxdict, _bounded.maxstring = 3, 6, 6, 40


def nearest(word: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The valid names most like a wrong one, best first; empty when none is near."""
    names = sorted(set(choices))
    lowered = {name.lower(): name for name in names}
    matches = difflib.get_close_matches(word[:_LONGEST_WORD].lower(), lowered, n=count, cutoff=0.5)
    return [lowered[match] for match in matches]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint: the nearest names, or the whole list when none is near."""
    names = sorted(set(choices))
    near = nearest(word, names)
    if near:
        return "Did you mean " + " or ".join(near) + "?"
    return "Valid: " + ", ".join(names)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 picture`, `2,000 pictures`, `2 classes` (plural given)."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def with_stand_in(data: str, requested: str, fallback: bool) -> str:
    """A data set's name, with what it stands in for where it does."""
    return f"{data} (standing in for {requested})" if fallback else data


def typed(command: Sequence[str]) -> str:
    """A command line as a person types it, fit to be shown."""
    return printable(subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command))


def command_path(path: object) -> str:
    """A path as it is typed on a command line: in quotes where it has spaces."""
    text = printable(path)
    return f'"{text}"' if " " in text else text
