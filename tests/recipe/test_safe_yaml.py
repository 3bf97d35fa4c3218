"""YAML of strangers: what plain values mean, and what is refused before it costs anything."""

import pytest

from cnnlab.errors import RecipeError
from cnnlab.recipe.safe_yaml import MAX_DEPTH, load_yaml


def test_values_and_lines():
    document = load_yaml("a: 1\nb:\n  c: [x, 1e-3, true]\n  d: 'no'\n", "x.yaml")
    assert document.value == {"a": 1, "b": {"c": ["x", 1e-3, True], "d": "no"}}
    assert document.lines[("b", "d")] == 4
    assert document.lines[("b", "c", 1)] == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-.5", -0.5),
        ("no", "no"),
        ("on", "on"),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("0x10", "0x10"),
    ],
)
def test_plain_scalars_mean_what_they_mean_in_a_spec(text, value):
    assert load_yaml(f"key: {text}", "x").value == {"key": value}


def test_an_alias_repeats_a_value():
    assert load_yaml("a: &x [1, 2]\nb: *x", "x").value == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "line 2: the key a is given twice"),
        ("a: [1", "line 1: not YAML"),
        ("a: !!python/object/apply:os.system ['true']", "the tag"),
        ("[" * 5000, f"nested more than {MAX_DEPTH} deep"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: &x [*x]", "stands for nothing"),
        ("? [1, 2]\n: 3", "expected text"),
        ("x" * 2_000_000, "bytes of YAML"),
        ("a: \x1b[31m", "not YAML"),
    ],
)
def test_refused(text, message):
    with pytest.raises(RecipeError) as caught:
        load_yaml(text, "x.yaml")
    assert message in caught.value.message
    assert "\x1b" not in caught.value.message


def test_an_alias_bomb_is_refused_before_it_grows():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(RecipeError, match="more than 20,000 values"):
        load_yaml("\n".join(lines), "bomb.yaml")
