"""The recipe's net with its initial weights, and what of a net is refused before the first step."""

import math
from typing import Any

from cnnlab.errors import RecipeError, UsageError
from cnnlab.models import registry, user
from cnnlab.randomness import key
from cnnlab.recipe.schema import Recipe
from cnnlab.text import cut, printable
from cnnlab.training.schedule import Growth
from cnnlab.training.world import World

MAX_PARAMETERS = 2_000_000_000


def build_net(recipe: Recipe, input_shape: tuple[int, int, int], classes: int) -> Any:
    """The recipe's net with the initial weights of its seed.

    Raises:
        UsageError: it is too large, or its output is not (N, classes).
    """
    import torch

    from cnnlab.models.table import without_weights

    channels, height, width = input_shape
    if not registry.is_user_file(recipe.model.arch):
        with without_weights():
            outline = registry.build(recipe.model, channels, classes, (height, width))
        parameters = sum(parameter.numel() for parameter in outline.parameters())
        if parameters > MAX_PARAMETERS:
            raise UsageError(f"{printable(recipe.model.arch)} would have {parameters:,} parameters; too many to train")
    torch.manual_seed(key(recipe.seed, "initial weights") % 2**63)
    net = registry.build(recipe.model, channels, classes, (height, width))
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UsageError(f"{printable(recipe.model.arch)} has no parameters to train")
    net.eval()
    try:
        outputs = net(torch.zeros((2, channels, height, width)))
    except (Exception, SystemExit) as error:  # a user's own may call exit
        raise UsageError(
            f"{printable(recipe.model.arch)} fails on images of {channels}x{height}x{width}: "
            f"{type(error).__name__}: {printable(error)}"
        ) from error
    if not isinstance(outputs, torch.Tensor) or not outputs.requires_grad:
        raise UsageError(
            f"the outputs of {printable(recipe.model.arch)} are not a tensor that depends on its parameters: "
            "there is nothing to train"
        )
    require_outputs(tuple(outputs.shape[1:]), classes, "the data have")
    _require_savable(net, recipe)
    _require_other_sizes(net, recipe, input_shape)
    net.train()
    return net


def fails_in(precision: str, recipe: Recipe, error: Exception) -> UsageError:
    """What to say where a user's own net, which runs in fp32, does not in bf16 or fp64."""
    return UsageError(
        f"{printable(recipe.model.arch)} fails in {precision}: {type(error).__name__}: {cut(error, 300)}",
        hint="Train it in fp32: --precision fp32",
    )


def require_outputs(shape: tuple[int, ...], classes: int, whose: str) -> None:
    """Refuse a net whose output for one picture is not one number a class.

    Raises:
        UsageError: its shape is another than (classes,).
    """
    if shape != (classes,):
        raise UsageError(
            f"the net gives {shape} outputs for a picture; {whose} {classes} classes",
            hint="End it with as many units as classes: in a seq, {linear: classes}",
        )


def _require_savable(net: Any, recipe: Recipe) -> None:
    """Refuse a user's own net whose state no checkpoint could hold.

    Raises:
        UsageError: a part of the state is no tensor, or not finite before the first step; weights that are no part of
            it.
    """
    import torch

    if registry.is_user_file(recipe.model.arch) and (holder := user.holds_unknown_weights(net)) is not None:
        raise UsageError(
            f"{printable(recipe.model.arch)} does not know of the weights in {printable(holder)}: "
            "they would be neither trained nor saved",
            hint="Put layers into a torch.nn.ModuleList or ModuleDict instead of a list or dict, "
            "a tensor into a torch.nn.Parameter; of what is never to be trained, say requires_grad_(False)",
        )
    for name, value in net.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise UsageError(
                f"{printable(recipe.model.arch)} has {printable(name)} in its state, which is not a tensor: "
                "a run could not save it",
                hint="Leave get_extra_state out, or register_buffer a tensor",
            )
        if not bool(value.isfinite().all()):
            raise UsageError(
                f"{printable(name)} of {printable(recipe.model.arch)} is not finite before the first step",
                hint="A mask with -inf is not a weight: register_buffer(name, mask, persistent=False)",
            )


def _require_other_sizes(net: Any, recipe: Recipe, input_shape: tuple[int, int, int]) -> None:
    """Refuse growing images for a net that cannot take the small ones.

    Raises:
        RecipeError: its layers fit images of one size alone, or shrink the smallest to nothing.
    """
    import torch

    channels, *sides = input_shape
    full = sides[0], sides[1]
    for height, width in Growth.of(recipe.train, full).sizes(full):
        try:
            with torch.no_grad():
                net(torch.zeros((2, channels, height, width)))
        except (RuntimeError, ValueError, IndexError) as error:
            raise RecipeError(
                f"train.initial_scale is {recipe.train.initial_scale:g}, but {printable(recipe.model.arch)} "
                f"takes no images of {height}x{width} pixels",
                hint="Train on images of full size: --set train.initial_scale=1",
            ) from error


def require_several_values(net: Any, recipe: Recipe, input_shape: tuple[int, int, int], world: World) -> None:
    """Refuse batch normalisation over single values: of one image, where a channel has one value.

    Raises:
        RecipeError: a process's share of a batch is one image, and a layer would normalise that.
    """
    import torch

    if recipe.train.batch_size // world.size > 1:
        return
    single: list[str] = []

    def watch(name: str, layer: Any) -> Any:
        return layer.register_forward_pre_hook(
            lambda _, inputs: single.append(name) if inputs[0].numel() == inputs[0].shape[1] else None
        )

    norms = torch.nn.modules.batchnorm._BatchNorm
    watched = [watch(name, layer) for name, layer in net.named_modules() if isinstance(layer, norms) and layer.training]
    channels, *sides = input_shape
    full = sides[0], sides[1]
    net.eval()
    with torch.no_grad():
        for height, width in (*Growth.of(recipe.train, full).sizes(full), full):
            net(torch.zeros((1, channels, height, width)))
    net.train()
    for hook in watched:
        hook.remove()
    if single:
        share = "" if world.size == 1 else f" for {world.size} processes"
        raise RecipeError(
            f"train.batch_size is {recipe.train.batch_size}{share}: {printable(single[0])} would normalise one value "
            "by itself",
            hint=f"Use at least {2 * world.size}: --batch-size {2 * world.size}, or a net without batch normalisation",
        )


def doubts(net: Any, recipe: Recipe, input_shape: tuple[int, int, int]) -> tuple[str, ...]:
    """What of a user's own net is no fault, but hardly meant."""
    import torch

    if not registry.is_user_file(recipe.model.arch) or recipe.train.loss != "cross-entropy":
        return ()
    net.eval()
    with torch.no_grad():
        outputs = net(torch.zeros((2, *input_shape)))
    net.train()
    if bool((outputs >= 0).all()) and torch.allclose(outputs.sum(dim=1), torch.ones(2), atol=1e-3):
        classes = outputs.shape[1]
        return (
            f"the outputs of {printable(recipe.model.arch)} are probabilities already, as a softmax gives them; "
            "cross-entropy applies one of its own, so that the loss cannot fall below "
            f"{math.log(1 + (classes - 1) / math.e):.3f}. Leave the net's out",
        )
    return ()
