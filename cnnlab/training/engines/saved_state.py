"""What a checkpoint gives an engine, checked before the engine takes it: an optimiser trusts its state's types."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.errors import CheckpointError
from cnnlab.recipe.schema import OptimSection
from cnnlab.text import cut

_HINT = "It belongs to another recipe, or was altered"


def require_same_kind(name: str, found: "np.dtype[Any]", expected: "np.dtype[Any]") -> None:
    """Refuse a tensor of another type than the net's; float32 and float64 stand in for each other.

    Raises:
        CheckpointError: it is of another type.
    """
    floats = {np.dtype(np.float32), np.dtype(np.float64)}
    if found != expected and not {found, expected} <= floats:
        raise CheckpointError(f"{cut(name)} of the checkpoint is of type {found}, this net's is {expected}", hint=_HINT)


def optimizer_state(
    state: Mapping[str, np.ndarray], parameters: Mapping[str, np.ndarray], optim: OptimSection, *, all_trained: bool
) -> dict[str, dict[str, np.ndarray]]:
    """The optimiser's part of a training's state, by parameter and torch's key, checked.

    Args:
        state: what `training_state` of an engine gave.
        parameters: the net's, by name.
        optim: the recipe's optimiser.
        all_trained: whether every parameter has had a gradient, and so has a state; a user's net may leave some out.

    Raises:
        CheckpointError: a tensor that belongs to no training of this recipe, or one that is missing.
    """
    of_sgd = {"momentum_buffer"} if optim.momentum else set()
    keys = of_sgd if optim.name in ("sgd", "muon") else {"step", "exp_avg", "exp_avg_sq"}
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in parameters}
    for full, array in state.items():
        if full == "updates" or full.startswith(("model.", "ema.", "slow.")):
            continue
        key, _, name = full.removeprefix("optimizer.").partition(".")
        if not full.startswith("optimizer.") or key not in keys or name not in parameters:
            raise CheckpointError(f"the checkpoint holds {cut(full)}, unknown to this net and optimiser", hint=_HINT)
        if not _fits(array, None if key == "step" else parameters[name]):
            raise CheckpointError(f"{cut(full)} of the checkpoint does not fit this net", hint=_HINT)
        found[name][key] = array
    for name, of_parameter in found.items():
        missing = sorted(keys - of_parameter.keys())
        if missing and (all_trained or of_parameter):
            raise CheckpointError(f"the checkpoint lacks the optimiser's {missing[0]} of {cut(name)}", hint=_HINT)
    return found


def _fits(array: np.ndarray, parameter: np.ndarray | None) -> bool:
    """Whether an array may be remembered of a parameter; None: whether it is a count of steps."""
    if parameter is None:
        return array.shape == () and array.dtype.kind in "fi" and bool(array >= 1)
    return array.shape == parameter.shape and array.dtype == parameter.dtype
