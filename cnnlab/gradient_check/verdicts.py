"""How far two gradients lie apart, and what that says."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from cnnlab.backprop import Array
from cnnlab.errors import CnnlabError, NumericError

Verdict = Literal["ok", "kink", "wrong"]

DIFFERENCES_TOLERANCE = 1e-7
"""Greatest relative error of a right gradient against central differences, in float64."""
AUTOGRAD_TOLERANCE = 1e-10
"""Greatest relative error of a right gradient against PyTorch's autograd, in float64."""


@dataclass(frozen=True)
class Check:
    """One gradient of one case, compared two ways; an error is None where that way does not apply."""

    layer: str
    case: str
    parameter: str
    max_rel_error_fd: float | None
    max_rel_error_autograd: float | None
    worst_index: tuple[int, ...] | None
    verdict: Verdict
    note: str = ""

    @property
    def name(self) -> str:
        """Case and parameter in words."""
        return f"{self.case}: {self.parameter}"

    def document(self) -> dict[str, Any]:
        """The check as JSON holds it; an error that is not finite becomes null."""
        return {
            "layer": self.layer,
            "case": self.case,
            "parameter": self.parameter,
            "max_rel_error_fd": _finite(self.max_rel_error_fd),
            "max_rel_error_autograd": _finite(self.max_rel_error_autograd),
            "worst_index": None if self.worst_index is None else list(self.worst_index),
            "verdict": self.verdict,
            "note": self.note,
        }


@dataclass(frozen=True)
class BugCheck:
    """Whether the checks of a layer caught a bug planted into it, and which check was the first."""

    name: str
    layer: str
    statement: str
    caught: bool
    caught_by: str | None


@dataclass(frozen=True)
class Match:
    """A wrong gradient that equals the one of a known bug."""

    parameter: str
    bug: str
    statement: str

    @property
    def told(self) -> str:
        """The match in words."""
        return f"∂J/∂{self.parameter} equals the known mistake {self.bug}: {self.statement}"


@dataclass
class Report:
    """All checks of one call; `matches` are of a user's own layer, `bugs` of planted ones."""

    checks: list[Check] = field(default_factory=list)
    bugs: list[BugCheck] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Cases that a user's own layer does not take, and why."""

    @property
    def passed(self) -> bool:
        """Whether no gradient is wrong; never so with a bug planted, caught or not."""
        return not self.bugs and all(check.verdict != "wrong" for check in self.checks)

    @property
    def missed(self) -> list[BugCheck]:
        """The planted bugs that no check of their layer caught."""
        return [bug for bug in self.bugs if not bug.caught]

    @property
    def all_caught(self) -> bool:
        """Whether bugs were planted and the checks caught each: what was wanted, though a gradient is wrong."""
        return bool(self.bugs) and not self.missed

    def document(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {
            "checks": [check.document() for check in self.checks],
            "bugs": [asdict(bug) for bug in self.bugs],
            "matches": [asdict(match) for match in self.matches],
            "passed": self.passed,
        }


def failure(report: Report) -> CnnlabError | None:
    """What the report says against the gradients, as an error: None if all are right."""
    if report.missed:
        names = ", ".join(bug.name for bug in report.missed)
        return CnnlabError(
            f"a bug in cnnlab: {len(report.missed)} of {len(report.bugs)} planted mistakes passed every check: {names}",
            hint="Please report it, with the seed",
        )
    if report.all_caught:
        return NumericError(f"a wrong gradient was found, as it should be: {len(report.bugs)} planted, all caught")
    wrong = [check for check in report.checks if check.verdict == "wrong"]
    if not wrong:
        return None
    hint = None
    if report.matches:
        hint = "\n".join(match.told for match in report.matches)
    first = f"{wrong[0].layer}, {wrong[0].name}"
    return NumericError(
        f"{len(wrong)} of {len(report.checks)} checks found a wrong gradient; the first: {first}", hint=hint
    )


def relative_error(a: Array, n: Array, largest: float | None = None) -> Array:
    """|a − n| / max(|a|, |n|, 0.01 · ‖a‖∞, 1e-12), elementwise; NaN counts as infinitely wrong.

    `largest` is ‖a‖∞ where `a` is only a sample of the gradient.
    """
    top = float(np.abs(a).max(initial=0)) if largest is None else largest
    scale = np.maximum(np.maximum(np.abs(a), np.abs(n)), max(0.01 * top, 1e-12))
    with np.errstate(invalid="ignore"):
        error: Array = np.abs(a - n) / scale
    return np.where(np.isnan(error), np.inf, error)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
