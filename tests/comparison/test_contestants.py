"""What may stand beside what: names, labels, recipes, runs, data, splits, seeds, epochs."""

import json
import shutil
from pathlib import Path

import pytest

from cnnlab.comparison import contestants as module
from cnnlab.comparison.contestants import enter
from cnnlab.comparison.plan import Options, make_plan, require_same_plan
from cnnlab.data import load
from cnnlab.errors import UsageError
from cnnlab.recipe.load import dump, resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training.run_folder import safe_name


def entered(*specs, out="runs", settings=(), **flags):
    typed = {f"--{key}": value for key, value in flags.items()}
    return enter(specs, settings=settings, flags=typed, out=Path(out), trust_code=False)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def planned(digits, *specs, seeds=1, settings=(), **flags):
    typed = {f"--{key}": value for key, value in flags.items()}
    entries = entered(*specs, settings=settings, **flags)
    return make_plan(entries, digits, Options(seeds=seeds, assignments=settings, flags=typed))


@pytest.fixture
def run(digits_run, own_world):
    """A copy of a finished run below `runs`: digits, 3 epochs, seed 0."""
    return shutil.copytree(digits_run, own_world / "runs" / "digits-mlp")


def test_names_are_labels_or_what_was_typed():
    entries = entered("mlp:depth=4", "big=cnn:width=64", "猫=cnn", "\x1b[31m<b>=mlp")
    assert [entry.name for entry in entries] == ["mlp:depth=4", "big", "猫", "\\x1b[31m<b>"]
    assert [entry.spec for entry in entries] == ["mlp:depth=4", "cnn:width=64", "cnn", "mlp"]


@pytest.mark.parametrize("specs", [(), ("mlp",)])
def test_one_is_no_comparison(specs):
    with pytest.raises(UsageError, match=f"two contestants or more, received {len(specs)}"):
        entered(*specs)


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + "/x"])
def test_data_of_a_name_too_long_for_a_file_are_none(cli, name):
    ended = cli("compare", "mlp", "cnn", "--data", name)
    assert ended.code == 2
    assert "no data set and no file is named" in ended.err


def test_a_python_file_of_such_a_name_is_none(cli):
    ended = cli("compare", "mlp", "a" * 300 + ".py:Net", "--data", "digits", "--trust-code")
    assert ended.code == 2
    assert "no such file: aaa" in ended.err


@pytest.mark.parametrize(("typed", "near"), [("mpl", "mlp"), ("resnett", "resnet"), ("digits-mpl", "digits-mlp")])
def test_an_unknown_contestant_has_neighbours(run, typed, near):
    with pytest.raises(UsageError, match=f"unknown contestant '{typed}'") as caught:
        entered("cnn", typed)
    assert near in caught.value.hint


@pytest.mark.parametrize("specs", [("mlp", "cnn", "mlp"), ("a=mlp", "a=cnn")])
def test_a_name_is_given_once(specs):
    with pytest.raises(UsageError, match="is named twice") as caught:
        entered(*specs)
    assert "b=" in caught.value.hint
    assert "seed=1" in caught.value.hint


def test_the_hint_for_twins_works(digits):
    plan = planned(digits, "a=mlp:depth=1", "b=mlp:depth=1,seed=1", seeds=2)
    assert [(run.recipe.seed, run.recipe.split_seed) for run in plan.runs] == [(0, 0), (1, 0), (1, 1), (2, 1)]


def test_a_run_is_found_by_folder_prefix_and_last(run):
    for typed in (str(run), "digits", "last"):
        entry = entered("cnn", f"old={typed}")[1]
        assert (entry.name, entry.run.path.resolve(), entry.seed) == ("old", run.resolve(), 0)
        assert entry.recipe.data.name == "digits"


def test_a_run_gives_its_data_and_epochs_to_the_others(run, digits):
    plan = planned(digits, "cnn:width=4", "last")
    assert {one.recipe.data.name for one in plan.runs} == {"digits"}
    assert plan.epochs == 3
    assert [one.recipe.train.epochs for one in plan.runs] == [3, 3]
    assert [one.given is not None for one in plan.runs] == [False, True]


def test_more_seeds_of_a_run_are_trained_from_its_recipe(run, digits):
    plan = planned(digits, "last", "cnn:width=4", seeds=2)
    assert [one.given is not None for one in plan.runs] == [True, False, False, False]
    assert plan.runs[2].recipe.seed == 1
    assert plan.runs[2].recipe.model == plan.runs[0].recipe.model


def test_a_run_cannot_be_changed(run):
    with pytest.raises(UsageError, match="its options cannot be changed") as caught:
        entered("cnn", "last:width=3")
    assert "recipe.yaml" in caught.value.hint
    with pytest.raises(UsageError, match=r"train.epochs: 3 in the run, 9 asked for"):
        entered("cnn", "last", epochs=9)
    with pytest.raises(UsageError, match=r"optim.lr: 0.03 in the run, 0.5 asked for"):
        entered("cnn", "last", settings=["optim.lr=0.5"])
    with pytest.raises(UsageError, match=r"data.name: digits in the run, fashion-mnist asked for"):
        entered("cnn", "last", data="fashion-mnist")


def test_a_runs_recipe_may_enter_anew(run):
    entry = entered("cnn", f"again={run}/recipe.yaml:width=5")[1]
    assert entry.run is None
    assert entry.recipe.model.width == 5


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("cnn:data.name=mnist", "data.name is digits for mlp.*mnist for cnn"),
        ("cnn:data.val_fraction=0.2", "data.val_fraction is 0.1 for mlp.*0.2 for cnn"),
        ("cnn:data.image_size=16", "data.image_size is None for mlp.*16 for cnn"),
    ],
)
def test_different_data_are_refused_with_the_difference(spec, text):
    with pytest.raises(UsageError, match=text):
        entered("mlp:data.name=digits", spec)


def test_data_that_one_recipe_names_are_those_of_all():
    assert [entry.recipe.data.name for entry in entered("mlp", "cnn:data.name=digits")] == ["digits", "digits"]


def test_a_run_of_other_data_under_the_same_name_is_refused(run, digits):
    environment = json.loads((run / "environment.json").read_text())
    environment["data"]["fingerprint"] = "beef" * 16
    (run / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(UsageError, match="last was trained on other data: fingerprint beefbeefbeef…; digits has"):
        planned(digits, "cnn", "last")


def test_different_splits_are_refused_with_the_difference(run, own_world, digits):
    other = shutil.copytree(run, own_world / "runs" / "other")
    text = (other / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(text.replace("\nseed: 0", "\nseed: 7"))
    with pytest.raises(UsageError, match=r"validation part of a is chosen by seed 0, that of b by seed 7") as caught:
        planned(digits, f"a={run}", f"b={other}")
    assert "data.split_seed=0" in caught.value.hint
    (other / "recipe.yaml").write_text(
        text.replace("\nseed: 0", "\nseed: 7").replace("split_seed: null", "split_seed: 0")
    )
    assert len(planned(digits, f"a={run}", f"b={other}").runs) == 2


def test_epochs_are_the_most_that_a_recipe_asks_for_or_those_asked_for(digits):
    flags = {"data": "digits"}
    assert planned(digits, "mlp:train.epochs=5", "cnn:width=4,train.epochs=8", **flags).epochs == 8
    # The recipes' own: at least 1,000 steps of 128 images, ten to an epoch.
    assert planned(digits, "mlp", "cnn:width=4", **flags).epochs == 100
    plan = planned(digits, "mlp:train.epochs=5", "cnn:width=4", epochs=2, **flags)
    assert [run.recipe.train.epochs for run in plan.runs] == [2, 2]
    assert {run.recipe.train.min_steps for run in plan.runs} == {0}


def test_seeds_are_the_same_for_all_and_follow_the_first(digits):
    plan = planned(digits, "mlp", "cnn:width=4", seeds=3, data="digits", seed=5)
    assert plan.seeds == (5, 6, 7)
    assert [(run.contestant, run.seed, run.recipe.seed) for run in plan.runs] == [
        (0, 5, 5), (1, 5, 5), (0, 6, 6), (1, 6, 6), (0, 7, 7), (1, 7, 7),
    ]  # fmt: skip


def test_folders_of_runs_differ_where_names_are_alike(digits):
    plan = planned(digits, "a/b=mlp", "a?b=mlp:width=8", "A-b=mlp:width=9", data="digits")
    assert len({run.name.lower() for run in plan.runs}) == 3


@pytest.mark.parametrize("length", [54, 55, 56, 300])
def test_a_contestant_may_have_a_name_of_any_length(digits, length):
    plan = planned(digits, f"{'x' * length}=mlp", f"{'x' * (length - 1)}- =mlp:width=8", data="digits", seed=1234)
    assert [safe_name(run.name) for run in plan.runs] == [run.name for run in plan.runs]
    assert [(run.name[:3], run.name[-6:]) for run in plan.runs] == [("1-x", "-s1234"), ("2-x", "-s1234")]


def test_a_net_that_does_not_fit_is_told_by_name_before_anything_is_trained(own_world, digits):
    (own_world / "my.yaml").write_text("model: {arch: seq, layers: [flatten, {linear: 7}]}\n")
    with pytest.raises(
        UsageError, match=r"^mine: the net gives \(7,\) outputs for a picture; the data have 10 classes"
    ):
        planned(digits, "mlp", "mine=my.yaml", data="digits")


def test_recipes_of_a_users_file_need_no_trust_on_the_command_line_but_in_a_recipe(own_world):
    (own_world / "net.py").write_text("raise SystemExit('run')\n")
    recipe = resolve(arch=parse_spec("mlp"))
    (own_world / "my.yaml").write_text(dump(recipe).replace("arch: mlp", "arch: net.py:Net"))
    assert entered("mlp", "net.py:Net")[1].recipe.model.arch == "net.py:Net"
    with pytest.raises(UsageError, match="whose code would run"):
        entered("mlp", "my.yaml")


def test_recipes_compare_key_by_key():
    was, now = {"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"x": 1, "y": 5}, "b": 3, "c": 4}
    assert module._differences(was, now) == [("a.y", 2, 5), ("c", None, 4)]


@pytest.mark.parametrize(
    ("key", "was", "told"),
    [
        ("contestants", [1, 2], "its contestants: 1, 2; now a, b"),
        ("contestants", "x", "its contestants: ; now a, b"),
        ("contestants", [{"name": "a" * 10**6}] * 1000, "its contestants: aaa"),
        ("contestants", [{"name": "a"}, {"name": {"\x1b[31m": 1}}], r"its contestants: a, {'\\x1b\[31m': 1}; now a, b"),
        ("seeds", [10**18] * 500_000, r"its seeds: \[1000000000000000000, .*…; now \[0\]"),
        ("epochs", "\u202e" * 10**6, r'its epochs: "\\u202e.*…"; now 3'),
        ("match", {}, "its match: {}; now null"),
    ],
)
def test_a_plan_that_no_comparison_wrote_is_refused_in_few_words(key, was, told):
    recipes = [{"name": name, "code": None, "recipes": ["0" * 64]} for name in "ab"]
    now = {"seeds": [0], "epochs": 3, "match": None, "contestants": recipes}
    with pytest.raises(UsageError, match=told) as caught:
        require_same_plan(Path("cmp"), {**now, key: was}, now)
    assert len(caught.value.message) < 5000
