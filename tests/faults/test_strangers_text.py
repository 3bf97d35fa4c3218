"""Recipes, specs and kernels from strangers: bounded, plain, and nothing in them runs."""

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from cnnlab.errors import RecipeError
from cnnlab.recipe.safe_yaml import load_yaml

NET = (
    "from pathlib import Path\nfrom torch import nn\nPath('executed').touch()\n"
    "class Net(nn.Sequential):\n"
    "    def __init__(self, in_channels, num_classes, image_size):\n"
    "        super().__init__(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))\n"
)
LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

RECIPES = {
    "alias bomb": (LAUGHS, "more than 20,000 values"),
    "alias of itself": ("model: &a {arch: *a}", "stands for nothing defined before it"),
    "long text many times": (
        f"data: {{name: &a {'x' * 90_000}}}\ntrain: {{epochs: [{'*a, ' * 9000}]}}",
        "more than 20,000 values",
    ),
    "5,000 brackets": ("model: " + "[" * 5000, "nested more than 20 deep"),
    "5,000 braces": ("model: " + "{a: " * 5000, "nested more than 20 deep"),
    "5,000 indentations": ("".join(" " * i + "a:\n" for i in range(500)), "nested more than 20 deep"),
    "duplicate keys": ("train:\n  epochs: 1\n  epochs: 2\n", "line 3: the key epochs is given twice"),
    "duplicate sections": ("train: {epochs: 1}\ntrain: {epochs: 2}\n", "line 2: the key train is given twice"),
    "python object": ("model: !!python/object/apply:os.system [touch executed]", "the tag tag:yaml.org,2002:python"),
    "merge key": ("train: {<<: {epochs: 1}}", "unknown key train.<<"),
    "half a megabyte": ("#" * 500_000, "at most 200,000"),
    "9,000 unknown keys": ("train:\n" + "".join(f"  k{i}: 1\n" for i in range(9000)), "and 8,980 more"),
    "not utf-8": (b"model: {arch: \xff\xfe}", "not YAML"),
    "a nul": ("model: {arch: 'a\0b'}", "not YAML"),
    "two documents": ("seed: 1\n---\nseed: 2\n", "a second document"),
    "a list": ("- 1\n- 2\n", "expected sections"),
    "escape in a key": ('"\\e[31m": 1', "\\x1b[31m"),
    "right to left": ('train: {"\u202eegaps": 1}', "\\u202eegaps"),
    "a net of 10^12 weights": ("model: {arch: cnn, width: 65536}", "too many to train"),
    "sizes beyond 64 bits": (
        "model: {arch: seq, layers: [{conv: 65536}, {conv: 65536, kernel: 65535}, flatten, {linear: classes}]}",
        "cannot be built",
    ),
}


@pytest.mark.parametrize("case", RECIPES)
def test_a_hostile_recipe_is_one_short_error(cli, own_world, case):
    text, message = RECIPES[case]
    Path("x.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.process_time()
    ended = cli("train", "--recipe", "x.yaml", "--data", "digits")
    assert time.process_time() - started < 5
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err.replace("\n", " ").replace("  ", " ")
    assert len(ended.err) < 4000
    assert "\x1b" not in ended.err
    assert [entry.name for entry in own_world.iterdir()] == ["x.yaml"]


def test_1e_3_is_a_number_wherever_it_is_written(cli):
    Path("x.yaml").write_text("optim: {lr: 1e-3}")
    for arguments in (["--recipe", "x.yaml"], ["--set", "optim.lr=1e-3"], ["--arch", "cnn:optim.lr=1e-3"]):
        assert cli("train", *arguments, "--print-recipe", "--json").json["optim"]["lr"] == 0.001


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this file system")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["train", "--recipe", "x.yaml"], 2),
        (["train", "--arch", "x.yaml"], 2),
        (["filter", "sample:china", "--kernel", "x.yaml"], 2),
        (["filter", "x.png", "--kernel", "edge"], 3),
        (["train", "--data", "x.zip"], 3),
    ],
)
@pytest.mark.parametrize("kind", ["a pipe", "a device without end"])
def test_a_pipe_or_a_device_is_not_waited_for(cli, arguments, code, kind):
    for name in ("x.yaml", "x.png", "x.zip"):
        if kind == "a pipe":
            os.mkfifo(name)
        else:
            Path(name).symlink_to("/dev/zero")
    ended = cli(*arguments)
    assert ended.code == code
    assert "a pipe or a device" in ended.err


@pytest.mark.parametrize("matrix", [f"[[{'*a, ' * 9000}]]", "[[&b [1], *b]]", "[[{a: 1}]]"])
def test_a_hostile_kernel_file_is_one_short_error(cli, matrix):
    Path("k.yaml").write_text(f"name: &a {'x' * 90_000}\nmatrix: {matrix}\n")
    ended = cli("filter", "sample:china", "--kernel", "k.yaml")
    assert ended.code == 2
    assert len(ended.err) < 1000


@pytest.fixture
def own_code_run(cli) -> Path:
    """A finished run of the user's own net, its code present, and no trace of its having run."""
    Path("net.py").write_text(NET)
    ended = cli("train", "--arch", "net.py:Net", "--data", "digits", "--epochs", 1, "--name", "own", "-q")
    assert ended.code == 0, ended.err
    Path("executed").unlink()
    Path("x.yaml").write_text("model: {arch: 'net.py:Net'}\ntrain: {epochs: 1}\n")
    return Path("runs/own")


@pytest.mark.faults
def test_a_recipe_or_run_that_names_a_python_file_runs_nothing_without_trust(cli, own_code_run):
    (own_code_run / "result.json").unlink()
    data = ("--data", "digits")
    for arguments in (
        ["train", "--recipe", "x.yaml", *data],
        ["train", "--arch", "x.yaml", *data],
        ["train", "--arch", "x.yaml", "--dry-run"],
        ["train", "--arch", "x.yaml", "--check", *data],
        ["train", "--resume", "own"],
        ["compare", "x.yaml", "mlp", "--epochs", "1", *data],
        ["compare", "own", "mlp", "--epochs", "1"],
        ["evaluate", "own"],
        ["evaluate", "own", "x.png"],
        ["evaluate", "own", "--export", "x.onnx"],
        ["gradcheck", "--arch", "x.yaml"],
    ):
        ended = cli(*arguments)
        assert ended.code == 2, (arguments, ended.err)
        assert "--trust-code" in ended.err, arguments
        assert not Path("executed").exists(), arguments
    # These look at the run, and need no code for it.
    assert cli("evaluate").code == 0
    assert cli("filter", "sample:china", "--kernel", "own:conv1[0]").code == 2
    assert not Path("executed").exists()
    assert cli("train", "--resume", "own", "--trust-code").code == 0
    assert Path("executed").exists()


@pytest.mark.parametrize("use", ["c: *b", "? *b\n: 1", "model: {arch: seq, layers: *b}"])
def test_a_list_of_aliases_of_a_long_text_is_never_written_out(use):
    text = f"a: &a {'x' * 100_000}\nb: &b [{','.join(['*a'] * 9000)}]\n{use}\n"
    tracemalloc.start()
    try:
        with pytest.raises(RecipeError, match="more than 20,000 values"):
            load_yaml(text, "r.yaml")
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
