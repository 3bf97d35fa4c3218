"""`cnnlab train` as it is typed: what it prints, what it leaves, and how it fails."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec

SMALL = ("--arch", "mlp:depth=1,width=16", "--data", "digits", "--epochs", "2", "--threads", "1")


def test_json_is_one_document_and_the_talk_is_elsewhere(cli):
    ended = cli("train", *SMALL, "--json")
    assert ended.code == 0
    assert ended.json["data"] == "digits"
    assert ended.json["fallback"] is False
    assert 0 < ended.json["test_acc"] <= 1
    assert "test accuracy" in ended.err
    assert ended.json == json.loads((Path(ended.json["run"]) / "result.json").read_text())


def test_what_a_users_own_net_prints_is_kept_out_of_the_document(cli):
    Path("net.py").write_text(
        """print("loaded")
import torch
class Net(torch.nn.Sequential):
    def __init__(self, in_channels, num_classes, image_size):
        print("made")
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(in_channels * image_size ** 2, num_classes))
    def forward(self, x):
        print("asked")
        return super().forward(x)
"""
    )
    Image.new("L", (8, 8)).save("a.png")
    own = ("net.py:Net", "--data", "digits", "--epochs", "1", "--threads", "1")
    for command in (
        ("train", "--arch", *own, "--name", "own"),
        ("train", "--arch", "net.py:Net", "--data", "digits", "--dry-run"),
        ("train", "--arch", "net.py:Net", "--data", "digits", "--check"),
        ("evaluate", "runs/own", "--trust-code"),
        ("evaluate", "runs/own", "a.png", "--trust-code"),
        ("compare", *own, "mlp:depth=1,width=4"),
    ):
        ended = cli(*command, "--json")
        assert (ended.code, type(ended.json)) == (0, dict)
        assert "made" in ended.err


def test_plain_lines_without_a_terminal_fit_80_columns(cli):
    ended = cli("train", *SMALL)
    assert ended.code == 0
    assert "\x1b" not in ended.out
    lines = ended.out.splitlines()
    epochs = [line for line in lines if line.strip().startswith(("1/2", "2/2"))]
    assert len(epochs) == 2
    assert all(len(line) <= 80 for line in epochs)
    assert "cnnlab evaluate runs/" in ended.out


def test_typed_keys_without_effect_are_told(cli):
    arch = "mlp:depth=1,width=16,optim.muon_lr=0.1"
    told = cli("train", "--arch", arch, "--set", "train.freeze_from=0.5", "--data", "digits", "--dry-run", "--json")
    assert told.code == 0
    assert "note: optim.muon_lr has no effect" in told.err
    assert "note: train.freeze_from has no effect" in told.err
    assert "no effect" not in cli("train", "--arch", "cnn:optim.name=sgd", "--data", "digits", "--dry-run").out


def test_quiet_says_nothing(cli):
    ended = cli("train", *SMALL, "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_without_network_digits_stand_in_loudly(cli):
    ended = cli("train", "--arch", "mlp:depth=1,width=16", "--epochs", "1", "--offline")
    assert ended.code == 0
    assert ended.out.startswith("cifar10 could not be found or downloaded")
    assert "--data cifar10" in " ".join(ended.out.split())
    run = next(Path("runs").iterdir())
    result = json.loads((run / "result.json").read_text())
    assert (result["data"], result["data_requested"], result["fallback"]) == ("digits", "cifar10", True)


def test_a_stand_in_is_told_by_a_quiet_command_too(cli):
    ended = cli("train", "--arch", "mlp:depth=1,width=16", "--epochs", "1", "--offline", "--quiet")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("cifar10 could not be found or downloaded: training on the built-in digits")


def test_without_a_validation_part_no_curve_is_named_after_it(cli):
    run = ("train", "--arch", "mlp:depth=1,width=16", "--data", "digits", "--epochs", "2")
    assert "val" in cli(*run).out.partition("accuracy %")[2].splitlines()[0]
    ended = cli(*run, "--set", "data.val_fraction=0")
    assert "val" not in ended.out.partition("accuracy %")[2].splitlines()[0]


def test_named_data_are_never_swapped(cli, monkeypatch):
    ended = cli("train", "--data", "cifar10", "--offline", "--json")
    assert ended.code == 4
    message = ended.json["error"]["message"] + str(ended.json["error"]["hint"])
    assert "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce" in message
    assert "https://" in message
    monkeypatch.setenv("CNNLAB_NO_FALLBACK", "1")
    assert cli("train", "--offline").code == 4
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--arch", "cmn"), 2, "unknown architecture 'cmn'"),
        (("--arch", "cnn:widht=3"), 2, "did you mean width"),
        (("--set", "train.epoks=3"), 2, "did you mean epochs"),
        (("--recipe", "nosuch"), 2, "unknown recipe"),
        (("--recipe", "nosuch.yaml"), 2, "no such recipe"),
        (("--data", "digitz"), 2, "digitz"),
        (("--epochs", "-1"), 2, "greater than or equal to 1"),
        (("--lr", "fast"), 2, "--lr"),
        (("--batch-size", "100000"), 2, "1293 images"),
        (("--device", "cuda"), 4, "no device 'cuda'"),
        (("--device", "tpu"), 2, "tpu"),
        (("--name", "a/b"), 2, "--name"),
        (("--out", "file/below"), 4, "a part of the path is a file"),
        (("--resume", "nosuch"), 2, "no run"),
        (("--resume", "last", "--epochs", "3"), 2, "--epochs does not go with --resume"),
        (("--log", "wandb"), 2, "expected tensorboard"),
        (("--dry-run", "--input", "3x32"), 2, "expected CxHxW"),
        (("--dry-run", "--input", "1x3x3"), 2, "at least 4x4"),
        (("--dry-run", "--set", "train.freeze_up_to=body"), 2, "no layer with weights has that name"),
        (("--dry-run", "--set", "train.rest_up_to=body"), 2, "train.rest_up_to is 'body'; no layer with weights"),
        (("--recipe", "shared-kernel"), 2, "outputs"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(cli, arguments, code, message):
    if "--device" in arguments:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("this machine has CUDA")
    Path("file").write_text("")
    data = () if "--data" in arguments or "--resume" in arguments else ("--data", "digits")
    ended = cli("train", *data, *arguments)
    assert ended.code == code, ended.err
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert not Path("runs").exists()


def test_dry_run_shows_the_lectures_count_without_data(cli):
    ended = cli("train", "--arch", "mlp:width=100,depth=1", "--dry-run", "--input", "3x224x224", "--json")
    layers = ended.json["layers"]
    assert next(layer for layer in layers if layer["type"] == "Linear")["weights"] == 15_052_800
    assert ended.json["parameters"] == ended.json["weights"] + ended.json["biases"]
    assert set(layers[0]) == {
        "name", "type", "output_shape", "kernel", "stride", "receptive_field", "weights", "biases", "macs",
    }  # fmt: skip
    text = cli("train", "--arch", "mlp:width=100,depth=1", "--dry-run", "--input", "3x224x224").out
    assert "15,052,800" in text


@pytest.mark.parametrize(("recipe", "weights"), [("shared-kernel", 4), ("fully-connected", 36)])
@pytest.mark.parametrize("given", [(), ("--input", "1x3x3")])
def test_dry_run_of_the_tiny_recipes(cli, recipe, weights, given):
    assert cli("train", "--recipe", recipe, "--dry-run", *given, "--json").json["weights"] == weights


def test_dry_run_estimates_the_time_where_it_knows_the_data(cli):
    document = cli("train", "--arch", "lenet", "--data", "digits", "--dry-run", "--json").json
    assert document["input_shape"] == [1, 8, 8]
    images = document["expected_minutes"] * 60 * document["images_per_s"]
    assert images == pytest.approx(100 * 1293)  # its 1,000 steps at least are 100 epochs here
    assert document["activation_bytes"] > 0


def test_dry_run_counts_the_images_and_their_pixels_as_a_training_does(cli, own_world):
    """A folder's own validation part is no fraction of the training set; images that grow cost less."""
    for part, count in (("train", 20), ("val", 8), ("test", 4)):
        for name in ("a", "b"):
            (own_world / "photos" / part / name).mkdir(parents=True)
            for number in range(count // 2):
                image = Image.effect_noise((32, 32), 50 + 10 * number)
                image.save(own_world / "photos" / part / name / f"{part}{number}.png")

    def minutes_times_rate(*options):
        document = cli("train", "--arch", "fast:width=2", "--data", "photos", "--epochs", "3", "--batch-size", "4",
                       *options, "--dry-run", "--json").json  # fmt: skip
        return document["expected_minutes"] * document["images_per_s"] * 60

    full = minutes_times_rate("--set", "train.initial_scale=1")
    assert full == pytest.approx(3 * 20)
    growing = minutes_times_rate("--set", "train.initial_scale=0.5", "--set", "train.full_scale_from=0.8")
    assert growing == pytest.approx(3 * 20 * (0.2 + 0.2 * (0.5**2 + 0.625**2 + 0.75**2 + 0.875**2)))


@pytest.mark.parametrize("columns", [45, 50, 60, 80])
def test_no_number_of_the_layer_table_is_broken_in_two(cli, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    told = cli("train", "--arch", "resnet:depth=8", "--dry-run", "--input", "3x224x224").out
    for macs in ("115,605,504", "21,676,032"):
        assert macs in told
    assert all(len(line) <= columns for line in told.splitlines())
    assert ("type" in told.split()) == (columns == 80)


def test_the_layer_table_fits_80_columns(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for arch in ("resnet:depth=14", "torchvision:resnet18"):
        ended = cli("train", "--arch", arch, "--dry-run", "--input", "3x32x32")
        assert ended.code == 0
        assert max(map(len, ended.out.splitlines())) <= 80
    assert "\nlayer4.1.conv2 " in ended.out


def test_the_layer_table_shows_what_holds_parameters_without_running(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    Path("net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, in_channels, num_classes, image_size):\n"
        "        super().__init__()\n"
        "        self.patches = nn.Conv2d(in_channels, 16, 4, 4)\n"
        "        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)\n"
        "        self.fc = nn.Linear(16, num_classes)\n"
        "    def forward(self, x):\n"
        "        x = self.patches(x).flatten(2).mT\n"
        "        return self.fc(self.attention(x, x, x)[0].mean(1))\n"
    )
    ended = cli("train", "--arch", "net.py:Net", "--trust-code", "--dry-run", "--input", "3x16x16")
    assert ended.code == 0, ended.err
    lines = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines() if line.strip()}
    assert lines["attention"] == ["MultiheadAttention", "16x16", "16x16", "768", "48", "24,576"]
    assert lines["attention.out_proj"] == ["NonDynamicallyQuantizableLinear", "256", "16", "0"]
    assert lines["total"] == ["1,952", "90", "37,024"]


def test_print_recipe_can_be_run_again(cli):
    printed = cli("train", "--arch", "cnn:width=8", "--lr", "0.25", "--print-recipe").out
    Path("mine.yaml").write_text(printed)
    again = cli("train", "--recipe", "mine.yaml", "--print-recipe").out
    assert again == printed
    assert "lr: 0.25" in printed


def test_list_names_architectures_recipes_and_data(cli):
    entries = cli("train", "--list", "--json").json
    assert {"mlp", "lenet", "cnn", "plain", "resnet", "seq"} <= {entry["name"] for entry in entries["architectures"]}
    assert "shared-kernel" in {entry["name"] for entry in entries["recipes"]}
    assert {"cifar10", "fashion-mnist", "digits"} <= {entry["name"] for entry in entries["data"]}
    shown = {entry["name"]: entry["options"] for entry in entries["architectures"]}
    for name in ("mlp", "cnn", "fast"):  # as the name alone means, not as the family would be without its recipe
        assert shown[name] == resolve(arch=parse_spec(name)).model.model_dump(exclude={"arch"})
    summaries = {entry["name"]: entry["summary"] for entry in entries["recipes"]}
    assert "10 epochs instead of 9.9: what" in summaries["airbench94"]
    assert f"width={shown['cnn']['width']}" in cli("train", "--list").out


@pytest.mark.parametrize("arch", ["lenet", "fast:width=8"])
def test_check_passes_a_sound_net(cli, arch):
    sound = cli("train", "--arch", arch, "--data", "digits", "--check", "--json")
    assert sound.code == 0, sound.err
    assert sound.json["passed"] is True
    assert {verdict["check"] for verdict in sound.json["checks"]} == {
        "first loss", "no dead layer", "20 images by heart",
    }  # fmt: skip


def test_check_fails_a_dead_net(cli):
    deep = "mlp:depth=30,width=16,activation=sigmoid,batch_norm=false,dropout=0"
    dead = cli("train", "--arch", deep, "--data", "digits", "--check")
    assert dead.code == 5
    assert "by heart" in dead.err
    assert "FAILED" in dead.out
    assert not Path("runs").exists()


def test_a_failed_check_is_one_json_document_with_the_checks_and_the_error(cli):
    dead = cli("train", "--arch", "mlp:depth=1,width=4", "--data", "digits", "--lr", "1000", "--check", "--json", "-q")
    assert dead.code == 5
    assert dead.json["passed"] is False
    assert dead.json["error"]["code"] == 5
    assert "pre-flight failed" in dead.json["error"]["message"]
    assert dead.err == ""


NETS_OF_A_USERS_OWN = """
import torch
class Bare(torch.nn.Module): pass
class Net(torch.nn.Module):
    def __init__(self, in_channels, num_classes, image_size):
        super().__init__()
        self.fc = torch.nn.Linear(in_channels * image_size**2, num_classes)
class Same(Net):
    def forward(self, x): return x
class Idle(Net):
    def forward(self, x): return torch.zeros(len(x), 10)
class Ending(Net):
    def forward(self, x): raise SystemExit(0)
class Ended(Net):
    def __init__(self, **sizes): raise SystemExit("bye")
class Unfit(Net):
    def forward(self, x): return self.fc(x)
class Other(Net):
    def forward(self, x): return self.fc(x.flatten(1))[:, :7]
class Whole(Net):
    def forward(self, x): return self.fc(x.flatten(1))
class Counting(Whole):
    def get_extra_state(self): return {"steps": 1}
class Masked(Whole):
    saved = True
    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.register_buffer("mask", torch.full((2, 2), float("-inf")).triu(1), persistent=self.saved)
class Unsaved(Masked): saved = False
class Listed(Whole):
    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.blocks = {"first": [torch.nn.ReLU(), torch.nn.Linear(64, 64)]}
    def forward(self, x): return super().forward(self.blocks["first"][1](x.flatten(1)))
class Twice(Whole):
    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.layers = [self.fc, torch.nn.ReLU()]
class Loose(Whole):
    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.fc.scale = torch.ones(10, requires_grad=True)
    def forward(self, x): return super().forward(x) * self.fc.scale
class Squashed(Whole):
    def forward(self, x): return super().forward(x).softmax(1)
class Bilinear(Net):
    def __init__(self, in_channels, num_classes, image_size):
        super().__init__(in_channels, num_classes, image_size)
        self.pair = torch.nn.Bilinear(10, 10, num_classes)
    def forward(self, x): return self.pair(self.fc(x.flatten(1)), self.fc(x.flatten(1)))
class Named(Net):
    def forward(self, x): return self.fc(torch.tanh(input=x).flatten(1))
class Empty(torch.nn.Flatten):
    def __init__(self, in_channels, num_classes, image_size): super().__init__()
"""


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        *((name, how, message) for how in ("--dry-run", "--no-test") for name, message in (
            ("Bare", "cannot be made: TypeError"),
            ("Ended", "cannot be made: SystemExit: bye"),
            ("Same", "are not a tensor that depends on its parameters"),
            ("Idle", "are not a tensor that depends on its parameters"),
            ("Other", "gives (7,) outputs for a picture; the data have 10 classes"),
            ("Empty", "has no parameters to train"),
            ("Bilinear --precision bf16", "fails in bf16: RuntimeError"),
        )),
        ("Unfit", "--dry-run", "does not take an input of 1x8x8"),
        ("Ending", "--dry-run", "does not take an input of 1x8x8"),
        ("Ending", "--no-test", "fails on images of 1x8x8: SystemExit"),
        ("Counting", "--no-test", "has _extra_state in its state, which is not a tensor"),
        ("Masked", "--no-test", "mask of net.py:Masked is not finite before the first step"),
        ("Listed", "--no-test", "does not know of the weights in blocks: they would be neither trained nor saved"),
        ("Loose", "--dry-run", "does not know of the weights in fc.scale"),
        ("Unfit", "--no-test", "fails on images of 1x8x8: RuntimeError"),
        ("Idle", "--dry-run --input 1x8x8", "the outputs of the net do not depend on its parameters"),
    ],
)  # fmt: skip
def test_a_users_net_that_cannot_be_trained_is_told(cli, name, how, message):
    Path("net.py").write_text(NETS_OF_A_USERS_OWN)
    ended = cli("train", "--arch", *f"net.py:{name}".split(), "--data", "digits", *how.split())
    assert ended.code == 2
    assert message in " ".join(ended.err.split())


@pytest.mark.parametrize("name", ["Twice", "Named", "Bilinear --precision fp32"])
def test_a_users_odd_but_sound_net_is_trained(cli, name):
    """A list that names layers once more; `torch.tanh(input=x)`; a layer that autocast does not know."""
    Path("net.py").write_text(NETS_OF_A_USERS_OWN)
    assert cli("train", "--arch", *f"net.py:{name}".split(), "--data", "digits", "--epochs", "1").code == 0


@pytest.mark.parametrize("how", ["--no-test", "--check"])
def test_a_softmax_before_cross_entropy_is_said(cli, how):
    Path("net.py").write_text(NETS_OF_A_USERS_OWN)

    def said(name, *more):
        ended = cli("train", "--arch", f"net.py:{name}", "--data", "digits", "--epochs", "1", how, *more)
        return " ".join((ended.out + ended.err).split())

    told = "are probabilities already, as a softmax gives them"
    assert told in said("Squashed")
    assert "the loss cannot fall below 1.461" in said("Squashed")
    assert told not in said("Whole")
    assert told not in said("Squashed", "--set", "train.loss=mse")


def test_a_mask_that_is_not_saved_may_be_infinite(cli):
    Path("net.py").write_text(NETS_OF_A_USERS_OWN)
    assert cli("train", "--arch", "net.py:Unsaved", "--data", "digits", "--epochs", "1").code == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--check", "--dry-run"), "--dry-run and --check do not go together"),
        (("--resume", "last", "--dry-run"), "--resume and --dry-run do not go together"),
        (("--resume", "last", "--check"), "--resume and --check do not go together"),
        (("--resume", "last", "--print-recipe"), "--resume and --print-recipe do not go together"),
        (("--dry-run", "--print-recipe"), "--print-recipe and --dry-run do not go together"),
        (("--check", "--init-from", "last"), "--check looks at new weights"),
    ],
)
def test_flags_of_which_one_would_be_ignored_are_refused(cli, flags, told):
    ended = cli("train", *SMALL, *flags)
    assert ended.code == 2
    assert told in ended.err


def test_a_dry_run_refuses_a_batch_larger_than_the_data(cli):
    ended = cli("train", *SMALL, "--batch-size", "5000", "--dry-run")
    assert ended.code == 2
    assert "the training set has 1293 images" in ended.err


def test_a_name_is_offered_for_resume_only_where_there_is_something_to_do(cli):
    cli("train", *SMALL, "--name", "mine")
    assert "--resume" not in cli("train", *SMALL, "--name", "mine").err
    Path("runs/mine/result.json").unlink()
    assert "train --resume runs/mine" in cli("train", *SMALL, "--name", "mine").err


def test_an_input_of_its_own_is_for_dry_runs(cli):
    ended = cli("train", *SMALL, "--input", "3x224x224")
    assert (ended.code, Path("runs").exists()) == (2, False)
    assert "go with --dry-run" in ended.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--input 3x32x32 --classes 100", "gives (10,) outputs for a picture; --classes asks for 100 classes"),
        ("--data digits --classes 100", "--classes goes with --input"),
        ("--classes 100", "--classes goes with --input"),
    ],
)
def test_a_dry_run_refuses_classes_that_are_not_the_nets_or_the_datas(cli, arguments, told):
    Path("my.yaml").write_text("model: {arch: seq, layers: [{conv: 4}, global-mean-pool, flatten, {linear: 10}]}\n")
    ended = cli("train", "--dry-run", "--arch", "my.yaml", *arguments.split())
    assert (ended.code, told in ended.err) == (2, True), ended.err


def test_a_dry_run_refuses_too_large_a_net_to_time_whose_outputs_are_not_the_datas_classes(cli, monkeypatch):
    monkeypatch.setattr("cnnlab.training.outline.PROBE_MACS", 0)
    Path("my.yaml").write_text("model: {arch: seq, layers: [flatten, {linear: 7}]}\n")
    ended = cli("train", "--dry-run", "--arch", "my.yaml", "--data", "digits")
    assert (ended.code, "gives (7,) outputs for a picture; the data have 10 classes" in ended.err) == (2, True)
    assert cli("train", "--dry-run", "--arch", "my.yaml", "--input", "1x8x8", "--classes", "7").code == 0


def test_the_lectures_loss_and_engine_go_with_the_mlps_recipe(cli):
    ended = cli("train", "--arch", "mlp", "--engine", "numpy", "--set", "train.loss=mse", "--data", "digits",
                "--epochs", "1", "--json")  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.json["engine"] == "numpy"


def test_digits_stand_in_and_the_real_command_is_what_was_typed(cli, monkeypatch):
    monkeypatch.setattr("sys.argv", ["cnnlab", "train", "--arch", "mlp:width=8", "--epochs", "1", "--name", "mine"])
    cli("train", "--arch", "mlp:width=8", "--epochs", "1", "--name", "mine")
    told = json.loads(Path("runs/mine/environment.json").read_text())["data"]["real_command"]
    assert told == "cnnlab train --arch mlp:width=8 --epochs 1 --data cifar10"


def test_resume_of_a_finished_run_says_so(cli):
    run = cli("train", *SMALL, "--name", "mine", "--json").json["run"]
    ended = cli("train", "--resume", "last", "--json")
    assert ended.code == 0
    assert ended.json["run"] == run
    assert "has already finished" in cli("train", "--resume", "mine").out


def test_a_recipe_and_a_run_that_name_a_python_file_need_trust(cli):
    Path("net.py").write_text(
        "from pathlib import Path\nfrom torch import nn\nPath('executed').touch()\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, in_channels, num_classes, image_size):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))\n"
    )
    Path("mine.yaml").write_text("model: {arch: 'net.py:Net'}\ntrain: {epochs: 1}\n")
    ended = cli("train", "--recipe", "mine.yaml", "--data", "digits")
    assert ended.code == 2
    assert "--trust-code" in ended.err
    assert not Path("executed").exists()
    ended = cli("train", "--arch", "net.py:Net", "--data", "digits", "--epochs", "1", "--name", "own", "--json")
    assert ended.code == 0, ended.err
    assert (Path("runs/own") / "net.py").read_text() == Path("net.py").read_text()
    Path("executed").unlink()
    Path("runs/own/result.json").unlink()
    assert cli("train", "--resume", "own").code == 2
    assert not Path("executed").exists()
    resumed = cli("train", "--resume", "own", "--trust-code")
    assert resumed.code == 0
    (line,) = [line for line in resumed.out.splitlines() if line.startswith("next")]
    assert cli(*line.split()[2:]).code == 0  # what it says to type next works


@pytest.mark.parametrize(
    "encoding", ["gbk", pytest.param("utf-8", marks=pytest.mark.slow), pytest.param("ascii", marks=pytest.mark.slow)]
)
def test_a_folder_with_chinese_names_in_every_encoding(cli_process, encoding):
    import numpy as np

    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 3)):
        for name, level in (("猫", 60), ("狗[/b]", 190)):
            folder = Path("图片") / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(level, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    ended = cli_process(
        "train", "--arch", "mlp:depth=1,width=8", "--data", "图片", "--epochs", "2", "--batch-size", "8",
        "--name", encoding, "--threads", "1", PYTHONIOENCODING=encoding, PYTHONWARNINGS="error",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert Path("runs", encoding, "curves.png").stat().st_size > 10_000


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.faults)]
)
def test_a_signal_stops_kindly_and_the_run_goes_on(cli, number, code):
    # A child inherits an ignored Ctrl-C, as jobs in the background have it; one with a handler starts with the default.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "cnnlab", "train", "--arch", "cnn:width=4", "--data", "digits", "--epochs", "500",
             "--threads", "1", "--name", "long"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            err = _stop_after_two_epochs(process, number)
        finally:
            process.kill()
    assert process.returncode == code
    assert "--resume" in err
    assert "Traceback" not in err
    assert not list(Path("runs/long").rglob("*.tmp"))


def _stop_after_two_epochs(process, number):
    """Send the signal once two epochs are saved; what the process then says on stderr."""
    metrics = Path("runs/long/metrics.jsonl")
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    return process.communicate(timeout=60)[1]


def test_tensorboard_writes_event_files(cli):
    pytest.importorskip("tensorboard")
    ended = cli("train", *SMALL, "--log", "tensorboard", "--json")
    assert ended.code == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(Path(ended.json["run"]) / "tensorboard"))
    events.Reload()
    assert {"train_loss", "val_acc"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("val_acc")] == [1, 2]


def test_help_has_examples(cli):
    text = cli("train", "--help").out
    assert "cnnlab train --arch cnn" in text
    assert "--dry-run" in text
