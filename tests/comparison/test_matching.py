"""`--match`: what the width costs, counted by hand; what no width satisfies."""

import itertools
from pathlib import Path

import pytest

from cnnlab.comparison.contestants import enter
from cnnlab.comparison.matching import TOLERANCE, cost, match_widths
from cnnlab.errors import UsageError
from cnnlab.models import registry

SHAPE, CLASSES = (3, 32, 32), 10


def entered(*specs):
    return enter(specs, settings=(), flags={"--data": "digits"}, out=Path("runs"), trust_code=False)


def parameters(recipe):
    """Counted by torch, on a net with weights."""
    net = registry.build(recipe.model, SHAPE[0], CLASSES, SHAPE[1:])
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("others", [("mlp",), ("resnet:depth=8", "mlp:depth=1,batch_norm=false")])
def test_parameters_are_within_two_percent(others):
    first, *rest = match_widths(entered("cnn", *others), "params", SHAPE, CLASSES)
    target = parameters(first.recipe)
    assert first.matched is None
    for entry in rest:
        assert abs(parameters(entry.recipe) - target) <= TOLERANCE * target
        assert entry.matched == f"width={entry.recipe.model.width}"


def test_the_width_is_the_best_there_is():
    """One hidden layer of w units: 3072 w + w + 10 w + 10 parameters."""
    _, entry = match_widths(entered("cnn", "mlp:depth=1,batch_norm=false"), "params", SHAPE, CLASSES)
    target = parameters(entered("cnn", "mlp")[0].recipe)
    exact = (target - 10) / (3072 + 1 + 10)
    assert abs(entry.recipe.model.width - exact) <= 0.5


def test_multiply_adds_are_matched_too():
    first, entry = match_widths(entered("lenet", "mlp:depth=2"), "macs", SHAPE, CLASSES)
    target, width = cost(first.recipe, SHAPE, CLASSES).of("macs"), entry.recipe.model.width
    assert abs(3072 * width + width * width + 10 * width - target) <= TOLERANCE * target


def test_what_no_width_satisfies_is_told_with_the_closest():
    with pytest.raises(UsageError, match=r"no width of resnet:depth=8 comes within 2%") as caught:
        match_widths(entered("mlp:depth=0", "resnet:depth=8"), "macs", SHAPE, CLASSES)
    assert "the closest are width=1: " in caught.value.message
    assert "%" in caught.value.message.split("width=1: ")[1]


def test_between_two_widths_both_are_told():
    with pytest.raises(UsageError, match=r"the closest are width=\d+: [\d,]+ \(-\d.*%\), width=\d+: [\d,]+ \(\+"):
        match_widths(entered("mlp:depth=1,width=1,batch_norm=false", "cnn"), "params", SHAPE, CLASSES)


def test_nets_without_a_width_are_refused_unless_they_match_already():
    with pytest.raises(UsageError, match=r"lenet has no width that cnnlab could .* has .* parameters \(-") as caught:
        match_widths(entered("cnn", "lenet"), "params", SHAPE, CLASSES)
    assert "Put it first" in caught.value.hint
    Path("flat.yaml").write_text("model: {arch: seq, layers: [flatten, {linear: classes}]}")
    with pytest.raises(UsageError, match=r"flat\.yaml has no width") as caught:
        match_widths(entered("lenet", "flat.yaml"), "params", SHAPE, CLASSES)
    assert "Nor has the first" in caught.value.hint
    assert match_widths(entered("lenet", "b=lenet"), "params", SHAPE, CLASSES)[1].matched is None


def test_weight_layers_are_those_of_the_name():
    for family, depth in itertools.product(("plain", "resnet"), (8, 20)):
        recipe = entered(f"{family}:depth={depth}", "mlp")[0].recipe
        assert cost(recipe, SHAPE, CLASSES).weight_layers == depth
    assert cost(entered("mlp:depth=4", "cnn")[0].recipe, SHAPE, CLASSES).weight_layers == 5
