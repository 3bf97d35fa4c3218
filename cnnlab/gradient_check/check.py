"""The check itself: hand-derived, central differences and autograd, side by side."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cnnlab.backprop import Array, Layer
from cnnlab.errors import UsageError
from cnnlab.gradient_check.autograd import Twin
from cnnlab.gradient_check.cases import CASES
from cnnlab.gradient_check.differences import Differences, central_differences
from cnnlab.gradient_check.subject import FAILURES, LayerFault, Subject
from cnnlab.gradient_check.verdicts import (
    AUTOGRAD_TOLERANCE,
    DIFFERENCES_TOLERANCE,
    Check,
    Verdict,
    relative_error,
)
from cnnlab.models.class_names import advice_on_file
from cnnlab.text import cut, did_you_mean, printable

SAMPLE = 40
"""Elements of each array that are checked by differences; autograd checks all."""

_UNSTEADY = "forward gives another output each time for the same input; draw from self.rng, which is set before each"


def known_layers(names: Sequence[str]) -> list[str]:
    """The layers meant, all of them where none is named; upper and lower case are not told apart.

    Raises:
        UsageError: there is no such layer.
    """
    by_lower = {name.lower(): name for name in CASES}
    for name in names:
        if name.lower() not in by_lower:
            hint = advice_on_file(name) or did_you_mean(name, CASES)
            known, _, options = name.partition(":")
            if options and known.lower() in by_lower:
                hint = f"Its cases choose the options; write the name alone: {by_lower[known.lower()]}"
            raise UsageError(f"no layer {printable(name)!r} to check", hint=hint)
    return [by_lower[name.lower()] for name in names] or list(CASES)


def check_layer(layer: str, seed: int) -> Iterator[Check]:
    """Every case of a layer of `cnnlab.backprop`, every gradient of it."""
    for number, case in enumerate(CASES[layer]):
        rng = case_generator(layer, number, seed)
        yield from check_subject(layer, case.name, case.subject(layer, rng), rng)


def case_generator(layer: str, number: int, seed: int) -> np.random.Generator:
    """The random numbers of one case: a function of the seed, the layer and the case."""
    return np.random.default_rng([seed, *layer.encode(), number])


def check_subject(layer: str, case: str, subject: Subject, rng: np.random.Generator) -> Iterator[Check]:
    """The output, the buffers and every gradient of one layer at one input."""
    twin = None if subject.reference is None else Twin(subject.reference)
    stage = "forward"
    try:
        output = subject.forward()
        delta = rng.standard_normal(output.shape)
        stage = "backward"
        gradients = subject.backward(delta)
        arrays = subject.arrays()
    except FAILURES as error:  # a layer under test may fail in any way; that is the finding
        yield _failed(layer, case, stage, error)
        return
    exact: dict[str, Array] = {}
    if twin is not None:
        expected, exact, buffers = twin.run(subject.x, delta)
        yield _values(layer, case, "output", output, expected)
        for name, buffer in buffers.items():
            if (own := _buffer(subject, name)) is not None:
                yield _values(layer, case, name, own, buffer)
    if not _repeats(subject, output):
        yield _failed(layer, case, "forward", LayerFault(_UNSTEADY))
        return
    for name, array in arrays.items():
        both = gradients.get(name), exact.get(name)
        try:
            yield compare((layer, case, name), subject.forward, array, delta, both, rng, Tolerance())
        except FAILURES as error:
            yield _failed(layer, case, name, error)


def _repeats(subject: Subject, output: Array) -> bool:
    try:
        return np.array_equal(subject.forward(), output)
    except FAILURES:
        return False


def _buffer(subject: Subject, name: str) -> Array | None:
    own = subject.layer.state_dict().get(name) if isinstance(subject.layer, Layer) else None
    return None if own is None else np.asarray(own)


def _values(layer: str, case: str, name: str, own: Array, expected: Array) -> Check:
    """An array that is no gradient, against torch's."""
    if own.shape != expected.shape:
        return _wrong_shape(layer, case, name, own.shape, expected.shape)
    errors = relative_error(own, expected)
    verdict: Verdict = "ok" if errors.max(initial=0) <= AUTOGRAD_TOLERANCE else "wrong"
    return Check(layer, case, name, None, float(errors.max(initial=0)), _index(errors), verdict)


@dataclass(frozen=True)
class Tolerance:
    """How a gradient is compared: elements sampled for differences, and what counts as rounding."""

    sample: int = SAMPLE
    floor: float = 0.0
    """Absolute error of the gradient that rounding alone may make."""
    noise: bool = False
    """Whether differences may deviate by their own rounding error: needed in a deep net, where δ may be tiny."""


def compare(
    names: tuple[str, str, str],
    forward: Callable[[], Array],
    array: Array,
    delta: Array,
    gradients: tuple[Array | None, Array | None],
    rng: np.random.Generator,
    tolerance: Tolerance,
) -> Check:
    """One gradient against central differences, and against autograd's where there is one.

    Args:
        names: layer, case and parameter.
        forward: the output for `array` as it is now.
        array: what is differentiated by.
        delta: the upstream gradient, of the output's shape.
        gradients: the hand-derived gradient (None if it is missing) and autograd's (None if there is none).
        rng: draws the sample.
        tolerance: see there.
    """
    own, exact = gradients
    if own is None or own.shape != array.shape:
        return _wrong_shape(*names, None if own is None else own.shape, array.shape)
    indices = _sample(array.shape, tolerance.sample, rng)
    numeric = central_differences(forward, array, delta, indices)
    sampled = np.array([own[index] for index in indices])
    errors = relative_error(sampled, numeric.derivative, float(np.abs(own).max()))
    rounding = numeric.noise * tolerance.noise + tolerance.floor
    explained = (errors > DIFFERENCES_TOLERANCE) & (np.abs(sampled - numeric.derivative) <= rounding)
    errors = np.where(numeric.kink | explained, 0.0, errors)
    wrong = bool((errors > DIFFERENCES_TOLERANCE).any()) or not _between(sampled, numeric)
    worst: tuple[int, ...] | None = indices[int(np.argmax(np.where(numeric.kink, -1.0, errors)))]
    autograd_error = None
    if exact is not None:
        autograd_errors = relative_error(own, exact)
        explained = (autograd_errors > AUTOGRAD_TOLERANCE) & (np.abs(own - exact) <= tolerance.floor)
        autograd_errors = np.where(explained, 0.0, autograd_errors)
        autograd_error = float(autograd_errors.max())
        if autograd_error > AUTOGRAD_TOLERANCE:
            wrong, worst = True, _index(autograd_errors)
    kinks = int(numeric.kink.sum())
    note = f"{kinks} of {len(indices)} at a kink" if kinks else ""
    verdict: Verdict = "wrong" if wrong else "kink" if kinks else "ok"
    return Check(*names, float(errors.max()), autograd_error, worst, verdict, note)


def _between(own: Array, numeric: Differences) -> bool:
    """Whether each gradient at a kink is one that exists there: from the left, from the right, or between."""
    slack = 1e-5 * np.maximum(np.abs(numeric.low), np.abs(numeric.high)) + numeric.noise
    inside = (own >= numeric.low - slack) & (own <= numeric.high + slack)
    return bool((inside | ~numeric.kink).all())


def _sample(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """All indices, or the first, the last and random ones of them."""
    size = int(np.prod(shape))
    flat = np.arange(size)
    if size > count:
        flat = np.r_[0, size - 1, rng.choice(np.arange(1, size - 1), count - 2, replace=False)]
    return [tuple(int(i) for i in np.unravel_index(position, shape)) for position in flat]


def _index(errors: Array) -> tuple[int, ...] | None:
    return tuple(int(i) for i in np.unravel_index(int(errors.argmax()), errors.shape)) if errors.size else None


def _wrong_shape(
    layer: str, case: str, name: str, received: tuple[int, ...] | None, expected: tuple[int, ...]
) -> Check:
    found = "is missing" if received is None else f"has shape {received}"
    return Check(layer, case, name, None, None, None, "wrong", f"{found}, expected {expected}")


def _failed(layer: str, case: str, stage: str, error: BaseException) -> Check:
    told = str(error) if isinstance(error, LayerFault) else f"{type(error).__name__}: {error}"
    return Check(layer, case, stage, None, None, None, "wrong", cut(told, 160))
