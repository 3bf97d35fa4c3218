"""A user's own layer: which layer it means to be, whether its gradients are right, and which known bug they show."""

import copy
import math
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.backprop import Array, Layer
from cnnlab.errors import UsageError
from cnnlab.gradient_check.bugs import BUGS
from cnnlab.gradient_check.cases import CASES, Case
from cnnlab.gradient_check.check import case_generator, check_subject
from cnnlab.gradient_check.subject import FAILURES, LayerFault, LossAtTarget, Subject, seed_dropout
from cnnlab.gradient_check.verdicts import AUTOGRAD_TOLERANCE, Check, Match, Report, relative_error
from cnnlab.models.user import load_class
from cnnlab.recipe.spec import Spec
from cnnlab.text import cut, printable

_EQUAL = 1e-6
"""Relative error below which two gradients are the same one."""
_GENERIC_CASES = 3


@dataclass(frozen=True)
class UserLayer:
    """The class that a person named, and the options of the spec for its constructor."""

    cls: type
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """The class's name, as checks show it."""
        return printable(self.cls.__name__)

    def beside(self, family: str, case: Case, rng: np.random.Generator) -> tuple[Subject, Subject] | None:
        """The user's layer and the right one, with the same parameters and input; None where it cannot be made so.

        Options of the spec replace those of the case, for both.
        """
        if self.options and case.build is None:
            case = replace(case, arguments=(), options=self.options)
        try:
            right = case.subject(family, rng)
            copy.deepcopy(right).forward()  # whether the input suits these options; statistics are not to move
            layer = self._make(case, right.layer)
            if isinstance(right.layer, LossAtTarget):
                layer = LossAtTarget(layer, right.layer.target)
            elif not _adopt(layer, right.layer):
                return None
        except FAILURES:  # a class that cannot be made this way is not this layer in this case
            return None
        return Subject(layer, right.x.copy(), reference=right.layer), right

    def _make(self, case: Case, right: Any) -> Any:
        arguments, options = case.arguments, self.options or case.options
        smoothing = getattr(right.loss, "label_smoothing", 0.0) if isinstance(right, LossAtTarget) else 0.0
        if smoothing:
            options = {"label_smoothing": smoothing, **options}
        return self.cls(*arguments, **options)


def load(spec: Spec) -> UserLayer:
    """Run the file that a spec `FILE.py:Class[:key=value,…]` names, and take its class.

    Raises:
        UsageError: no such file or class, or the class has no forward and backward.
        DataError: the file fails when it is run.
    """
    file, _, name = spec.name.rpartition(":")
    cls = load_class(Path(file), name)
    missing = [method for method in ("forward", "backward") if not callable(getattr(cls, method, None))]
    if missing:
        raise UsageError(
            f"{printable(spec.name)} has no {' and no '.join(missing)}",
            hint="A layer has forward(x), backward(delta), parameters as arrays, and grads, a dict of their gradients",
        )
    return UserLayer(cls, dict(spec.options))


def check_user_layer(user: UserLayer, seed: int) -> Report:
    """Check the layer as what it is by its forward, or by differences alone where no known layer is its equal.

    Raises:
        UsageError: it could not be made, or no input suited it.
    """
    report = Report()
    family = _family(user, seed)
    if family is None:
        report.checks += _check_unknown(user, seed)
        return report
    for number, case in enumerate(CASES[family]):
        rng = case_generator(family, number, seed)
        pair = user.beside(family, case, rng)
        problem = _refusal(user.beside(family, case, case_generator(family, number, seed)))
        if pair is None or problem is not None:
            if not user.options:
                report.skipped.append(f"{user.name}, {case.name}: {problem}")
            continue
        report.checks += check_subject(user.name, case.name, pair[0], rng)
    wrong = {check.parameter for check in report.checks if check.verdict == "wrong"}
    report.matches += _matches(user, family, wrong, seed)
    return report


def _refusal(pair: tuple[Subject, Subject] | None) -> str | None:
    """Why a user's layer does not take the case; None where it does. The layer tried is not used again."""
    if pair is None:
        return "it cannot be made so"
    try:
        pair[0].forward()
    except LayerFault:  # it takes the case, and is wrong
        return None
    except FAILURES as error:
        return cut(f"{type(error).__name__}: {error}", 160)
    return None


def _adopt(layer: Any, right: Layer) -> bool:
    """Give a user's layer the parameters, buffers and mode of the right one; False where it lacks a parameter."""
    for name in right.parameter_names + right.buffer_names:
        value, own = getattr(right, name), np.asarray(getattr(layer, name, None))
        if name in right.parameter_names and value is not None and own.shape != value.shape:
            return False
        if hasattr(layer, name):
            setattr(layer, name, None if value is None else np.array(value))
    if callable(getattr(layer, "train", None)) and callable(getattr(layer, "eval", None)):
        layer.train() if right.training else layer.eval()
    elif hasattr(layer, "training"):
        layer.training = right.training
    return True


def _family(user: UserLayer, seed: int) -> str | None:
    """The known layer whose forward the user's equals in most of the cases that it can be made for."""
    best, best_score = None, (0.5, math.inf)  # more than half of the cases must agree
    for family, cases in CASES.items():
        equal = [_same_forward(user, family, number, case, seed) for number, case in enumerate(cases)]
        agreed, tried = equal.count(True), len(equal) - equal.count(None)
        score = (agreed / max(tried, 1), agreed)
        if score > best_score:
            best, best_score = family, score
    return best


def _same_forward(user: UserLayer, family: str, number: int, case: Case, seed: int) -> bool | None:
    """Whether both forwards agree; None where the user's layer cannot be made for the case."""
    pair = user.beside(family, case, case_generator(family, number, seed))
    if pair is None:
        return None
    own, right = pair
    seed_dropout(own.layer)
    try:
        output = np.asarray(own.layer.forward(own.x), np.float64)
    except FAILURES:  # then it is not this layer
        return False
    expected = right.forward()
    return output.shape == expected.shape and bool(relative_error(output, expected).max() <= AUTOGRAD_TOLERANCE)


def _check_unknown(user: UserLayer, seed: int) -> Iterator[Check]:
    """Differences alone, on the first inputs that the forward accepts."""
    try:
        user.cls(**user.options)
    except FAILURES as error:  # whatever the constructor raises is the answer
        raise UsageError(
            f"{user.name} could not be made: {_told(user, error)}",
            hint=f"Give its constructor's arguments: FILE.py:{user.name}:key=value,key=value",
        ) from error
    tried, shapes, refused = 0, set(), ""
    for family, cases in CASES.items():
        for number, case in enumerate(cases):
            rng = case_generator(family, number, seed)
            x = case.draw(rng)
            if x.shape in shapes or tried == _GENERIC_CASES:
                continue
            problem = _problem(user, x)
            if problem is not None:
                refused = problem
                continue
            shapes.add(x.shape)
            tried += 1
            yield from check_subject(user.name, f"input of shape {x.shape}", Subject(user.cls(**user.options), x), rng)
    if not tried:
        raise UsageError(
            f"{user.name}.forward accepts none of the inputs tried: (N, features) and (N, C, H, W) of several sizes; "
            f"the last attempt: {refused}",
            hint="Give the class defaults that suit (4, 5) or (2, 2, 6, 5), or options in the spec",
        )


def _problem(user: UserLayer, x: Array) -> str | None:
    """Why the forward does not take this input; None where it does."""
    try:
        output = np.asarray(user.cls(**user.options).forward(x.copy()))
    except FAILURES as error:
        return _told(user, error)
    return None if output.size else f"an input of shape {x.shape} gives an empty output"


def _told(user: UserLayer, error: BaseException) -> str:
    """What the user's code ended in, and the line of the file that led there."""
    file = getattr(sys.modules.get(user.cls.__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" ({printable(Path(file).name)}:{lines[-1]})" if file and lines else ""
    return f"{type(error).__name__}: {cut(error, 160)}{where}"


def _matches(user: UserLayer, family: str, wrong: set[str], seed: int) -> list[Match]:
    """For each wrong gradient the known bugs that give the same one in every case."""
    trials = list(_trials(user, family, seed)) if wrong else []
    found = []
    for bug in (bug for bug in BUGS.values() if bug.layer == family):
        for parameter in sorted(wrong):
            agreements = [_agrees(trial, bug.wrong, parameter) for trial in trials]
            if agreements and "differs" not in agreements and "shows" in agreements:
                found.append(Match(parameter, bug.name, bug.statement))
    return found


@dataclass(frozen=True)
class _Trial:
    """One case: the right layer after its backward, its gradients, and the user's."""

    layer: Any
    x: Array
    delta: Array
    right: dict[str, Array]
    own: dict[str, Array]


def _trials(user: UserLayer, family: str, seed: int) -> Iterator[_Trial]:
    for number, case in enumerate(CASES[family]):
        rng = case_generator(family, number, seed)
        pair = user.beside(family, case, rng)
        if pair is None:
            continue
        own, right = pair
        delta = rng.standard_normal(right.forward().shape)
        gradients = right.backward(delta)
        try:
            own.forward()
            yield _Trial(right.layer, right.x, delta, gradients, own.backward(delta))
        except FAILURES:  # a case in which the user's code fails says nothing about its formula
            continue


def _agrees(trial: _Trial, wrong: Any, parameter: str) -> str:
    """`shows` the bug, `differs` from it, or `nothing`: the bug changes nothing here, or cannot be computed."""
    if parameter not in trial.own or parameter not in trial.right:
        return "nothing"
    try:
        planted = wrong(trial.layer, trial.x, trial.delta, {name: one.copy() for name, one in trial.right.items()})
    except ValueError:
        return "nothing"
    expected, own, right = planted.get(parameter, trial.right[parameter]), trial.own[parameter], trial.right[parameter]
    if own.shape != expected.shape or relative_error(expected, own).max(initial=0) > _EQUAL:
        return "differs"
    visible = expected.shape != right.shape or relative_error(right, expected).max(initial=0) > _EQUAL
    return "shows" if visible else "nothing"
