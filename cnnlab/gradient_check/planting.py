"""Every known bug planted in turn: the checks of its layer must catch it."""

from collections.abc import Iterator

from cnnlab.errors import UsageError
from cnnlab.gradient_check.bugs import BUGS, Bug, Planted
from cnnlab.gradient_check.cases import CASES
from cnnlab.gradient_check.check import case_generator, check_subject
from cnnlab.gradient_check.subject import Subject
from cnnlab.gradient_check.verdicts import BugCheck, Check
from cnnlab.text import did_you_mean, nearest, printable


def known_bugs(name: str) -> list[Bug]:
    """The bug of that name, or all of them for `all`.

    Raises:
        UsageError: there is no such bug.
    """
    if name == "all":
        return list(BUGS.values())
    if name not in BUGS:
        near = nearest(name, [*BUGS, "all"])
        hint = did_you_mean(name, near) if near else "Valid: all, " + ", ".join(sorted(BUGS))
        raise UsageError(f"no bug {printable(name)!r} to inject", hint=hint)
    return [BUGS[name]]


def check_with(bug: Bug, seed: int, *, to_the_end: bool = True) -> Iterator[Check]:
    """Every check of the bug's layer, with the bug in it; or those up to the first that catches it."""
    for number, case in enumerate(CASES[bug.layer]):
        rng = case_generator(bug.layer, number, seed)
        right = case.subject(bug.layer, rng)
        planted = Subject(Planted(right.layer, bug), right.x, reference=right.layer)
        for check in check_subject(bug.layer, case.name, planted, rng):
            yield check
            if check.verdict == "wrong" and not to_the_end:
                return


def judge(bug: Bug, checks: list[Check]) -> BugCheck:
    """Whether one of `checks` says wrong, and which is the first that does."""
    catching = next((check for check in checks if check.verdict == "wrong"), None)
    return BugCheck(
        bug.name, bug.layer, bug.statement, catching is not None, None if catching is None else catching.name
    )
