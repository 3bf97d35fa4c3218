"""Learning rate and decay by parameter, the same for both engines."""

from collections.abc import Sequence
from typing import Any

from cnnlab.errors import RecipeError
from cnnlab.recipe.schema import OptimSection
from cnnlab.text import printable


def up_to(layer: str | None, names: Sequence[str]) -> int:
    """How many parameters lie in the layers up to and including `layer`.

    Args:
        layer: its name as in the table of layers, or that of a block of them; None: no parameter is meant.
        names: of all parameters, in the net's order, such as conv1.weight.

    Raises:
        RecipeError: no parameter is that layer's, or none lies behind it.
    """
    if layer is None:
        return 0
    last = max((number for number, name in enumerate(names, 1) if name.startswith(f"{layer}.")), default=None)
    if last is None:
        known = dict.fromkeys(name.rpartition(".")[0] for name in names)
        raise RecipeError(
            f"train.freeze_up_to is {printable(layer)!r}; no layer with weights has that name",
            hint="Those of this net: " + ", ".join(printable(name) for name in known if name),
        )
    if last == len(names):
        raise RecipeError(
            f"train.freeze_up_to is {printable(layer)!r}, the last layer with weights: none would be left to train",
            hint="Name one before it",
        )
    return last


def parameter_groups(trained: Sequence[tuple[Any, int, bool]], optim: OptimSection) -> list[dict[str, Any]]:
    """The optimiser's groups; each has an `lr_factor`, by which the engine multiplies the schedule's learning rate.

    Weight decay acts on weights alone, not on biases and normalisation parameters. With `norm_bias_lr`, the biases of
    batch normalisation are a group of their own, whose factor it is. Under Muon all weights but the last are.

    Args:
        trained: in the net's order, each parameter, its number of dimensions, and whether it is the bias of a batch
            normalisation.
        optim: the recipe's optimiser.
    """
    weights = [parameter for parameter, dimensions, _ in trained if dimensions > 1]
    turned = weights[:-1] if optim.name == "muon" else []
    faster = [parameter for parameter, _, is_norm_bias in trained if is_norm_bias and optim.norm_bias_lr != 1]
    others = [
        parameter
        for parameter, dimensions, is_norm_bias in trained
        if dimensions <= 1 and not (is_norm_bias and optim.norm_bias_lr != 1)
    ]
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "lr_factor": lr_factor}
        for parameters, decay, lr_factor in (
            (weights[len(turned) :], optim.weight_decay, 1.0),
            (others, 0.0, 1.0),
            (faster, optim.weight_decay / optim.norm_bias_lr, optim.norm_bias_lr),
        )
        if parameters
    ]
    if turned:
        factor = optim.muon_lr / optim.lr
        groups.append({"params": turned, "lr_factor": factor, "momentum": optim.muon_momentum, "orthogonal": True})
    return groups
