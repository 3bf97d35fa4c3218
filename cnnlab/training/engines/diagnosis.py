"""Where numbers went wrong: the first tensor that is not finite, looked for after the fact: it costs nothing before."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cnnlab.errors import NumericError
from cnnlab.text import printable
from cnnlab.training.engines.base import StepKey

LOWER_LR = "Lower the learning rate (--lr), or clip gradients (--set train.clip_norm=1)"


def not_finite(what: str, key: StepKey, where: str | None) -> NumericError:
    """The error that names epoch, step, and the layer and tensor where it began (`where`), if that is known."""
    cause = f": {where}" if where else ""
    return NumericError(f"{what} in epoch {key.epoch}, step {key.step + 1}{cause}", hint=LOWER_LR)


def bad_weight(weights: Iterable[tuple[str, bool]]) -> str | None:
    """What to say of the first weight that is not finite, given (name, finite) of each."""
    name = next((name for name, finite in weights if not finite), None)
    return name and f"the first bad tensor is {printable(name)}, which the update of the step before made not finite"


def bad_gradient(gradients: Iterable[tuple[str, bool]]) -> str | None:
    """What to say of the first gradient that is not finite, given (name, finite) of each, last layer first."""
    name = next((name for name, finite in gradients if not finite), None)
    return name and f"the first bad tensor on the way back is the gradient of {printable(name)}"


def bad_output(layers: Iterable[tuple[str, Any]], run: Callable[[], object], watch: Callable[..., Any]) -> str | None:
    """What to say of the first layer whose output is not finite when `run` computes forward once more.

    Args:
        layers: the layers that have none below them, with their names.
        run: computes forward; a NumericError of a layer ends it.
        watch: `watch(layer, note)` has `note(finite)` called with each output's finiteness; gives what undoes it.
    """
    first: list[str] = []
    with contextlib.ExitStack() as undo:
        for name, layer in layers:

            def note(finite: bool, name: str = name, layer: Any = layer) -> None:
                if not finite and not first:
                    first.append(f"{printable(name)} ({type(layer).__name__})")

            undo.callback(watch(layer, note))
        with contextlib.suppress(NumericError):
            run()
    return f"the first bad tensor is the output of {first[0]}" if first else None


def leaves(named: Iterable[tuple[str, Any]], children: Callable[[Any], object]) -> Iterator[tuple[str, Any]]:
    """The layers without layers below them."""
    return ((name, layer) for name, layer in named if not children(layer))
