"""Learning rate and decay by parameter, the same for both engines."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from cnnlab.errors import RecipeError
from cnnlab.recipe.schema import OptimSection, TrainSection
from cnnlab.text import printable

T = TypeVar("T")


class Trained(NamedTuple):
    """A parameter that trains."""

    parameter: Any
    dimensions: int
    is_norm_bias: bool
    """Whether it is the bias of a batch normalisation."""
    lowest: bool = False
    """Whether it lies in the layers up to `train.freeze_up_to`."""


def up_to(train: TrainSection, key: str, parameters: Sequence[tuple[str, T]]) -> list[T]:
    """The parameters of the layers up to and including the one that `train` names; none where it names none.

    Args:
        train: the recipe's section.
        key: which of its keys, freeze_up_to or rest_up_to: a layer as in the table of layers, or a block of them.
        parameters: all of a net's, in its order, with names such as conv1.weight.

    Raises:
        RecipeError: no parameter is that layer's, or none lies behind it.
    """
    layer: str | None = getattr(train, key)
    if layer is None:
        return []
    last = max((number for number, (name, _) in enumerate(parameters, 1) if name.startswith(f"{layer}.")), default=None)
    if last is None:
        known = dict.fromkeys(name.rpartition(".")[0] for name, _ in parameters)
        raise RecipeError(
            f"train.{key} is {printable(layer)!r}; no layer with weights has that name",
            hint="Those of this net: " + ", ".join(printable(name) for name in known if name),
        )
    if last == len(parameters):
        raise RecipeError(
            f"train.{key} is {printable(layer)!r}, the last layer with weights: none would be left to train",
            hint="Name one before it",
        )
    return [parameter for _, parameter in parameters[:last]]


def set_rates(groups: Iterable[dict[str, Any]], lr: float, lowest_lr: float | None) -> None:
    """Give each group its learning rate of a step: `lowest_lr`, unless None, to the groups of the lowest layers."""
    for group in groups:
        group["lr"] = (lr if lowest_lr is None or not group["lowest"] else lowest_lr) * group["lr_factor"]


def parameter_groups(trained: Sequence[Trained], optim: OptimSection) -> list[dict[str, Any]]:
    """The optimiser's groups; each has an `lr_factor`, by which the schedule's learning rate is multiplied.

    Weight decay acts on weights alone, not on biases and normalisation parameters. With `norm_bias_lr`, the biases of
    batch normalisation are a group of their own, whose factor it is. Under Muon all weights but the last are. The
    lowest layers have groups of their own.

    Args:
        trained: the parameters that train, in the net's order.
        optim: the recipe's optimiser.
    """
    weights = [each for each in trained if each.dimensions > 1]
    turned = weights[:-1] if optim.name == "muon" else []
    faster = [each for each in trained if each.is_norm_bias and optim.norm_bias_lr != 1]
    others = [each for each in trained if each.dimensions <= 1 and not (each.is_norm_bias and optim.norm_bias_lr != 1)]
    muon = {"lr_factor": optim.muon_lr / optim.lr, "momentum": optim.muon_momentum, "orthogonal": True}
    kinds: list[tuple[list[Trained], dict[str, Any]]] = [
        (weights[len(turned) :], {"weight_decay": optim.weight_decay, "lr_factor": 1.0}),
        (others, {"weight_decay": 0.0, "lr_factor": 1.0}),
        (faster, {"weight_decay": optim.weight_decay / optim.norm_bias_lr, "lr_factor": optim.norm_bias_lr}),
        (turned, muon),
    ]
    return [
        {"params": [each.parameter for each in members if each.lowest == lowest], "lowest": lowest, **options}
        for members, options in kinds
        for lowest in sorted({each.lowest for each in members})
    ]
