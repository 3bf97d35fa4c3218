"""Keys that change nothing beside the recipe's other keys: whoever has typed one expects something of it."""

from collections.abc import Iterable

from cnnlab.recipe.schema import Recipe


def without_effect(recipe: Recipe, keys: Iterable[str]) -> list[str]:
    """For each of `keys`, dotted as they are typed, that the recipe makes no use of: that and why, as a sentence."""
    idle = _idle(recipe)
    return [f"{key} has no effect: {idle[key]}" for key in dict.fromkeys(keys) if key in idle]


def _idle(recipe: Recipe) -> dict[str, str]:
    train, optim, augment = recipe.train, recipe.optim, recipe.data.augment
    idle = {}
    if train.initial_scale == 1:
        idle["train.full_scale_from"] = "train.initial_scale is 1, so the images have their full size from the start"
    if train.freeze_up_to is None:
        idle["train.freeze_from"] = "train.freeze_up_to names no layer"
    if train.rest_up_to is None:
        idle["train.rest_until"] = "train.rest_up_to names no layer"
    if recipe.data.val_fraction == 0:
        idle["data.split_seed"] = "data.val_fraction is 0, so nothing is kept for validation"
    if augment.flip is False:
        idle["data.augment.alternate"] = "data.augment.flip is false, so nothing is mirrored"
    if optim.name != "muon":
        idle |= dict.fromkeys(("optim.muon_lr", "optim.muon_momentum"), f"optim.name is {optim.name}, not muon")
    if optim.name in ("adam", "adamw"):
        idle["optim.nesterov"] = f"optim.name is {optim.name}, not sgd"
    return idle
