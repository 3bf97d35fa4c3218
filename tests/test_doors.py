"""`import cnnlab`: the commands as functions, with the commands' meaning and the commands' refusals."""

import json
from pathlib import Path

import pytest

import cnnlab
from cnnlab.errors import RecipeError, UsageError
from cnnlab.training.run_folder import RunFolder

SMALL = {"data": "digits", "epochs": 1, "threads": 1, "device": "cpu"}
NET = "mlp:depth=1,width=8"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: cnnlab.train(NET, **SMALL | {"device": "gpu"}), "expected auto, cpu, cuda, mps; received 'gpu'"),
        (lambda: cnnlab.train(NET, engine="Numpy", **SMALL), "engine: expected torch, numpy; received 'Numpy'"),
        (lambda: cnnlab.train(NET, devise="cpu"), "there is no argument 'devise'"),
        (lambda: cnnlab.compare("mlp", "cnn", x="time", **SMALL), "x: expected epoch, seconds; received 'time'"),
        (lambda: cnnlab.compare("mlp", "cnn", band="std", **SMALL), "band: expected min-max, sd, ci; received 'std'"),
        (lambda: cnnlab.compare("mlp", "cnn", match="param", **SMALL), "match: expected params, macs; received"),
        (lambda: cnnlab.compare("mlp", "cnn", seeds=0, **SMALL), "seeds: expected a number from 1 on, received 0"),
        (lambda: cnnlab.compare("mlp", "cnn", devise="cpu"), "there is no argument 'devise'"),
        (lambda: cnnlab.filter_image("x.png", "sobel-x", pad="mirror"), "pad: expected "),
        (lambda: cnnlab.train(NET, epohs=1), "there is no argument 'epohs'"),
        (lambda: cnnlab.train(NET, others=1), "there is no argument 'others'"),
        (lambda: cnnlab.train(dict, epochs=1), "expected text such as 'cnn:width=64', received type"),
        (lambda: cnnlab.filter_image([[1, 2]], None), "the kernel is not a matrix|the kernel is empty or no matrix"),
        (lambda: cnnlab.filter_image([[1, 2], [3]], "edge"), "expected pixels"),
        (lambda: cnnlab.filter_image(None, "edge"), "expected pixels"),
        (lambda: cnnlab.gradcheck("Conv3d"), "no layer 'Conv3d'"),
    ],
)  # fmt: skip
def test_a_word_that_is_no_choice_is_refused_before_anything_is_done(call, told):
    with pytest.raises(UsageError, match=told):
        call()
    assert not Path("runs").exists()


def test_short_flags_paths_as_text_and_names_of_runs():
    ended = cnnlab.train(NET, out="elsewhere", name="mine", batch_size=64, max_minutes=5.0, **SMALL)
    assert ended.run == Path("elsewhere/mine")
    assert "max_minutes: 5.0" in (ended.run / "recipe.yaml").read_text(encoding="utf-8")
    found = cnnlab.evaluate("last", out="elsewhere", device="cpu", precision="fp32", data_dir="data")
    assert (found.run, found.precision) == (ended.run, "fp32")
    assert cnnlab.evaluate("elsewhere/mine", split="val", device="cpu").split == "val"
    with pytest.raises(UsageError, match="split: expected test, val, train; received 'tset'"):
        cnnlab.evaluate(ended.run, split="tset")
    assert not (ended.run / "evaluation" / "tset.json").exists()


@pytest.mark.parametrize(
    ("beside", "flag"),
    [
        ({"arch": "cnn"}, "--arch"),
        ({"set": ["train.epochs=3"]}, "--set"),
        ({"epochs": 99}, "--epochs"),
        ({"seed": 0}, "--seed"),
        ({"name": "zzz"}, "--name"),
        ({"gradients": True}, "--gradients"),
        ({"engine": "numpy"}, "--engine"),
        ({"init_from": "other"}, "--init-from"),
    ],
)
def test_nothing_that_would_be_ignored_goes_with_resume(cli, beside, flag):
    with pytest.raises(UsageError, match=f"{flag} does not go with --resume: a run goes on with its own recipe"):
        cnnlab.train(resume="last", **beside)
    typed = {"set": "--set train.epochs=3", "gradients": "--gradients"}
    ((name, value),) = beside.items()
    ended = cli("train", "--resume", "last", *typed.get(name, f"{flag} {value}").split())
    assert (ended.code, f"error: {flag} does not go with --resume" in ended.err) == (2, True)


def test_threads_of_a_resumed_run_are_checked_as_a_new_runs_are(cli):
    run = cnnlab.train(NET, name="mine", **SMALL).run
    RunFolder(run).result.unlink()
    ended = cli("train", "--resume", "mine", "--threads", "-3")
    assert (ended.code, "threads" in ended.err) == (2, True)
    with pytest.raises(RecipeError, match="threads"):
        cnnlab.train(resume="mine", threads=0)
    assert cnnlab.train(resume="mine", threads=2).result["epochs"] == 1


def test_seeds_end_where_json_does(cli):
    ended = cli("compare", NET, "mlp", "--data", "digits", "--epochs", "1", "--seeds", "2", "--seed", str(2**53))
    assert ended.code == 2
    assert f"would be trained with seed {2**53 + 1}; seeds end at {2**53}" in " ".join(ended.err.split())
    assert not list(Path().rglob("checkpoints"))


def test_the_word_last_names_no_comparison(cli):
    ended = cli("compare", NET, "mlp", "--data", "digits", "--epochs", "1", "--name", "last")
    assert (ended.code, "--name last: that word means the newest run" in ended.err) == (2, True)


def test_a_users_net_has_one_name_and_its_folders_stay_out_of_it(cli):
    folder = Path("d\x1b[31mx")
    folder.mkdir()
    (folder / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Sequential):\n"
        "    def __init__(self, in_channels, num_classes, image_size):\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(in_channels * image_size**2, num_classes))\n"
    )
    ended = cli("train", "--arch", f"{folder}/net.py:Net", "--data", "digits", "--epochs", "1", "--name", "own")
    assert ended.code == 0
    assert "\x1b" not in ended.out + ended.err
    assert json.loads(Path("runs/own/result.json").read_text())["arch"] == "net.py:Net"
    assert cli("evaluate", "--json").json["runs"][0]["arch"] == "net.py:Net"
