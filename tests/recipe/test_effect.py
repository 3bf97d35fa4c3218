"""Keys that change nothing beside others: told for those that were typed, and for no others."""

import pytest

from cnnlab.recipe.effect import without_effect
from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec


@pytest.mark.parametrize(
    ("arch", "settings", "reason"),
    [
        ("mlp", "train.full_scale_from=0.5", "initial_scale is 1"),
        ("mlp", "train.freeze_from=0.5", "freeze_up_to names no layer"),
        ("mlp", "train.rest_until=0.5", "rest_up_to names no layer"),
        ("mlp", "data.split_seed=3,data.val_fraction=0", "val_fraction is 0"),
        ("mlp", "data.augment.alternate=true,data.augment.flip=false", "flip is false"),
        ("mlp", "optim.muon_lr=0.1,optim.name=sgd", "name is sgd"),
        ("cnn", "optim.muon_momentum=0.9,optim.name=adam", "name is adam"),
        ("cnn", "optim.nesterov=true,optim.name=adamw", "name is adamw"),
    ],
)
def test_a_key_that_does_nothing_is_told_with_the_reason(arch, settings, reason):
    keys = [setting.partition("=")[0] for setting in settings.split(",")]
    sentences = without_effect(resolve(arch=parse_spec(arch), settings=[settings]), keys)
    assert len(sentences) == 1
    assert sentences[0].startswith(f"{keys[0]} has no effect: ")
    assert reason in sentences[0]


@pytest.mark.parametrize(
    "settings",
    [
        "train.full_scale_from=0.5,train.initial_scale=0.5",
        "train.freeze_from=0.5,train.freeze_up_to=conv1",
        "train.rest_until=0.5,train.rest_up_to=conv1",
        "data.split_seed=3",
        "data.augment.alternate=true,data.augment.flip=auto",
        "optim.muon_lr=0.1,optim.name=muon",
        "optim.nesterov=true,optim.name=muon",
    ],
)
def test_a_key_that_does_something_is_not(settings):
    keys = [setting.partition("=")[0] for setting in settings.split(",")]
    assert without_effect(resolve(arch=parse_spec("cnn"), settings=[settings]), keys) == []


def test_what_a_recipe_brings_along_is_not_told():
    recipe = resolve(arch=parse_spec("cnn"), settings=["optim.name=sgd"])  # its muon_lr is idle now
    assert without_effect(recipe, ["optim.name"]) == []
