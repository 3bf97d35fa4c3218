"""What was meant by whoever named a Python file without a class of it. The file is parsed; nothing of it runs."""

import ast
import warnings
from pathlib import Path

from cnnlab.files import is_file
from cnnlab.reading import read_up_to
from cnnlab.text import cut

_MAX_BYTES = 500_000
_SHOWN = 20


def advice_on_file(name: str) -> str | None:
    """How the class of a Python file is named, where `name` means such a file: `net.py`, `net`, `net:Net`."""
    stem, colon, _ = name.rpartition(":")
    for file in (name, stem) if colon else (name,):
        path = file if file.lower().endswith(".py") else f"{file}.py"
        if file and is_file(Path(path)):
            classes = _classes(Path(path))
            has = f"it has {', '.join(classes)}" if classes else "no class was found in it"
            return f"Write {cut(path)}:Class; {has}"
    return f"Write FILE.py:Class; there is no {cut(name)}" if name.lower().endswith(".py") else None


def _classes(file: Path) -> list[str]:
    """The classes at the top of a file, the first of very many; none where it is no Python or too large."""
    try:
        text = read_up_to(file, _MAX_BYTES)
        if len(text) > _MAX_BYTES:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    names = [cut(node.name, 60) for node in tree.body if isinstance(node, ast.ClassDef)]
    return names[:_SHOWN] + ["…"] * (len(names) > _SHOWN)
