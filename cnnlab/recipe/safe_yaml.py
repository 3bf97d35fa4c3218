"""YAML of strangers: bounded in size, depth and repetition, no duplicate keys, nothing constructed but plain values.

Built on the parser's events, so that no limit is exceeded before it is checked. Plain scalars mean what they mean
in a spec (`1e-3` is a number, `no` is text); lines are kept for error messages.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from cnnlab.errors import RecipeError
from cnnlab.recipe.spec import parse_value
from cnnlab.text import cut, printable

MAX_BYTES = 200_000
"""Ten times what a long recipe takes; the parser needs half a second for the worst text of this length."""
MAX_DEPTH = 20
MAX_VALUES = 20_000
"""Values in a document, each alias counted as often as it stands for one."""
LONG_TEXT = 1000
"""A text counts as one value more for so many characters: repeated by aliases it takes memory once it is shown."""

Path = tuple[str | int, ...]


@dataclass
class Document:
    """A parsed document: its value, and the line (from 1) of each key and item by path, such as ("train", "lr")."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)


@dataclass
class _Open:
    """A list or mapping that is being filled."""

    value: list[Any] | dict[str, Any]
    path: Path
    anchor: str | None
    key: str | None = None
    weight: int = 1


def load_yaml(text: str | bytes, source: str) -> Document:
    """Parse one YAML document of mappings, lists and scalars.

    Args:
        text: the document, UTF-8 when bytes.
        source: its name, for error messages.

    Raises:
        RecipeError: not YAML, over a limit, a duplicate key, a tag, several documents.
    """
    source = printable(source)
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{source}: {len(text):,} bytes of YAML; at most {MAX_BYTES:,} are read")
    try:
        return _Builder(source).build(yaml.parse(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise RecipeError(
            f"{source}{where}: not YAML: {cut(problem, 200)}", hint="Write `key: value` lines; see --print-recipe"
        ) from None


class _Builder:
    def __init__(self, source: str) -> None:
        self.source = source
        self.document = Document(None)
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.weight = 0

    def build(self, events: Iterator[yaml.Event]) -> Document:
        documents = 0
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error(line, "a second document; expected one")
            elif isinstance(event, yaml.ScalarEvent):
                self.refuse_tag(event.tag, line)
                plain = event.style is None
                value = _plain(event.value) if plain else event.value
                self.add(value, event.value, line, event.anchor, weight=1 + len(event.value) // LONG_TEXT)
            elif isinstance(event, yaml.AliasEvent):
                self.add_alias(event.anchor, line)
            elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                self.refuse_tag(event.tag, line)
                self.open(event, line)
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                closed = self.stack.pop()
                if closed.anchor:
                    self.anchors[closed.anchor] = (closed.value, closed.weight)
                if self.stack:
                    self.stack[-1].weight += closed.weight
        return self.document

    def add_alias(self, anchor: str | None, line: int) -> None:
        if anchor is None or anchor not in self.anchors:
            raise self.error(line, f"the alias *{cut(anchor)} stands for nothing defined before it")
        value, weight = self.anchors[anchor]
        text = None if isinstance(value, list | dict) else str(value)  # that of a list of aliases may fill the memory
        self.add(value, text, line, None, weight=weight)

    def open(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, line: int) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise self.error(line, f"nested more than {MAX_DEPTH} deep")
        value: list[Any] | dict[str, Any] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        path = self.add(value, None, line, None, weight=0)
        self.stack.append(_Open(value, path, event.anchor))

    def add(self, value: Any, text: str | None, line: int, anchor: str | None, weight: int) -> Path:
        """Put a value where it belongs: the document itself, the open list, or key or value of the open mapping."""
        self.weight += max(weight, 1)
        if self.weight > MAX_VALUES:
            raise self.error(line, f"more than {MAX_VALUES:,} values")
        if anchor:
            self.anchors[anchor] = (value, weight)
        if not self.stack:
            self.document.value = value
            return ()
        parent = self.stack[-1]
        parent.weight += weight
        if isinstance(parent.value, list):
            path: Path = (*parent.path, len(parent.value))
            parent.value.append(value)
        elif parent.key is None:
            if text is None:
                raise self.error(line, "a key that is a list or a mapping; expected text")
            if text in parent.value:
                raise self.error(line, f"the key {cut(text)} is given twice")
            parent.key = text
            path = (*parent.path, text)
        else:
            path = (*parent.path, parent.key)
            parent.value[parent.key] = value
            parent.key = None
            line = self.document.lines.get(path, line)
        self.document.lines[path] = line
        return path

    def refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None:
            raise self.error(line, f"the tag {cut(tag)}; expected plain values, nothing is constructed")

    def error(self, line: int, problem: str) -> RecipeError:
        return RecipeError(f"{self.source}, line {line}: {problem}")


def _plain(text: str) -> Any:
    return None if text in ("", "~") else parse_value(text)
