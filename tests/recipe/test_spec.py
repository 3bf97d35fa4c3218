"""Specs: the grammar that every command shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnlab.errors import UsageError
from cnnlab.recipe.spec import Spec, parse_options, parse_spec, parse_value


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("cnn", Spec("cnn")),
        ("mlp:depth=3,width=64", Spec("mlp", {"depth": 3, "width": 64})),
        ("adam=cnn:optim.name=adam,optim.lr=1e-3", Spec("cnn", {"optim.name": "adam", "optim.lr": 1e-3}, "adam")),
        ("torchvision:resnet18", Spec("torchvision:resnet18")),
        ("tv=torchvision:resnet18:stem=small", Spec("torchvision:resnet18", {"stem": "small"}, "tv")),
        ("net.py:Net:width=8", Spec("net.py:Net", {"width": 8})),
        (r"C:\nets\net.py:Net", Spec(r"C:\nets\net.py:Net")),
        ("<b>x</b>=cnn", Spec("cnn", {}, "<b>x</b>")),
        ("runs/20260101-cnn", Spec("runs/20260101-cnn")),
    ],
)
def test_parse(text, spec):
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no name"),
        ("cnn:", "no options"),
        ("=cnn", "empty label"),
        ("x=", "no name"),
        ("cnn:a=1,b", "expected key=value"),
        ("cnn:a=1,a=2", "twice"),
        ("x" * 5000, "too long"),
    ],
)
def test_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_spec(text)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("dropout=0,5", "dropout: expected a number with a decimal point, received 0,5", "write dropout=0.5"),
        ("width=8,optim.lr=1,5e-3,depth=7", "received 1,5e-3", "write optim.lr=1.5e-3"),
        ("norm=none,5", "expected key=value, received '5'", "Such as"),
        ("5", "expected key=value, received '5'", "Such as"),
    ],
)
def test_a_decimal_comma_is_recognised(text, message, hint):
    with pytest.raises(UsageError) as caught:
        parse_options(text)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2", -2),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("none", "none"),
        ("0x1", "0x1"),
    ],
)
def test_values(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text):
    try:
        spec = parse_spec(text)
    except UsageError:
        return
    assert spec.name
    assert all(parse_options(f"{key}=1") for key in spec.options)
