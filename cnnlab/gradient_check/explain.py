"""What a student reads the night before the exam: the formula, a 3×3 example with numbers, and where the code is.

The formulas are those of the docstrings in `cnnlab.backprop`; the numbers, of `examples`, are computed by that code.
"""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab import backprop
from cnnlab.gradient_check.bugs import BUGS
from cnnlab.gradient_check.check import known_layers
from cnnlab.gradient_check.examples import EXAMPLES, Worked
from cnnlab.models.registry import is_user_file
from cnnlab.recipe.spec import parse_spec


@dataclass(frozen=True)
class Explanation:
    """One layer explained."""

    layer: str
    what: str
    forward: str
    idea: str
    scalar: str
    vector: str
    file: Path
    line: int
    worked: Worked

    def document(self) -> dict[str, Any]:
        """The explanation as JSON holds it."""
        return {
            "layer": self.layer,
            "what": self.what,
            "forward": self.forward,
            "idea": self.idea,
            "scalar": self.scalar,
            "vector": self.vector,
            "file": str(self.file),
            "line": self.line,
            "given": {name: array.tolist() for name, array in self.worked.given.items()},
            "results": {name: array.tolist() for name, array in self.worked.results.items()},
            "worked": self.worked.lines,
        }


def explain(layers: Sequence[str], inject_bug: str | None = None) -> list[Explanation]:
    """Explain the layers named, or that of a known mistake, or all; a user's own (`FILE.py:Class`) is passed over.

    Raises:
        UsageError: there is no such layer.
    """
    if not layers and inject_bug in BUGS:
        layers = [BUGS[inject_bug].layer]
    named = [name for name in layers if not is_user_file(parse_spec(name).name)]
    return [_explain(name) for name in known_layers(named)] if named or not layers else []


def _explain(name: str) -> Explanation:
    cls = getattr(backprop, name)
    backward = inspect.unwrap(cls.backward)
    idea, _, formulas = _documented(backward).partition("\nScalar:")
    scalar, _, vector = formulas.partition("\nVector:")
    file = inspect.getsourcefile(backward) or ""
    return Explanation(
        name,
        _documented(cls).partition("\n\n")[0],
        _documented(cls.forward).partition("\n\n")[0],
        idea.strip(),
        _formulas(scalar),
        _formulas(vector),
        Path(file),
        inspect.getsourcelines(backward)[1],
        EXAMPLES[name](name),
    )


def _documented(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").replace("`", "")


def _formulas(text: str) -> str:
    """One formula a line; in a docstring a semicolon, and more than one space after it, stands between them."""
    return "\n".join(" ".join(formula.split()) for formula in re.split(r";\s{2,}|;\n", text.strip()))
