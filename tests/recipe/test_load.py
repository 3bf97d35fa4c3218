"""The recipe: layers in their order, strictness, where a fault stands, and that it can be run again."""

from pathlib import Path

import pytest

from cnnlab.errors import CnnlabError, RecipeError, UsageError
from cnnlab.models import ARCHITECTURES
from cnnlab.recipe.load import digest, dump, from_file, resolve, shipped
from cnnlab.recipe.spec import parse_spec


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_is_valid_and_names_no_data(name):
    recipe = resolve(recipe=name)
    assert recipe.data.name is None


def test_the_promised_recipes_are_shipped():
    assert {"mlp", "lenet", "cnn", "plain", "resnet", "fully-connected", "shared-kernel"} <= set(shipped())


def test_later_layers_win(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {arch: cnn, width: 8}\ntrain: {epochs: 3, batch_size: 16}\noptim: {lr: 0.5}\n")
    recipe = resolve(
        recipe=str(file),
        arch=parse_spec("cnn:width=16,optim.lr=0.4,train.batch_size=32"),
        settings=["optim.lr=0.3,train.epochs=4", "model.dropout=0.5"],
        flags={"--lr": 0.2},
    )
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.optim.lr) == (4, 32, 0.2)
    assert (recipe.model.width, recipe.model.dropout) == (16, 0.5)
    assert recipe.optim.momentum == 0.9


def test_plain_is_trained_as_resnet_is():
    plain, residual = (from_file(shipped()[name]) for name in ("plain", "resnet"))
    assert (plain.data, plain.train, plain.optim) == (residual.data, residual.train, residual.optim)
    assert plain.model.model_copy(update={"arch": "resnet"}) == residual.model


def test_an_architecture_means_its_shipped_recipe():
    assert resolve(arch=parse_spec("cnn")) == resolve(recipe="cnn")


def test_with_a_recipe_an_architecture_replaces_only_the_net():
    recipe = resolve(recipe="cnn", arch=parse_spec("mlp:width=64"))
    assert recipe.model.arch == "mlp"
    assert recipe.optim == resolve(recipe="cnn").optim


def test_epochs_that_were_asked_for_are_not_raised():
    assert resolve(arch=parse_spec("cnn")).train.min_steps > 0
    assert resolve(arch=parse_spec("cnn"), flags={"--epochs": 2}).train.min_steps == 0
    assert resolve(arch=parse_spec("cnn"), settings=["train.epochs=2", "train.min_steps=7"]).train.min_steps == 7


def test_keys_of_one_layer_do_not_take_each_other_back(tmp_path):
    for keys in ("min_steps: 300, epochs: 5", "epochs: 5, min_steps: 300"):
        (tmp_path / "mine.yaml").write_text(f"model: {{arch: cnn}}\ntrain: {{{keys}}}\n")
        assert resolve(recipe=str(tmp_path / "mine.yaml")).train.min_steps == 300


def test_the_lectures_loss_drops_a_recipes_smoothing_but_not_ones_own():
    smoothed = [name for name in shipped() if resolve(recipe=name).train.label_smoothing]
    assert "mlp" in smoothed
    for name in smoothed:
        assert resolve(recipe=name, settings=["train.loss=mse"]).train.label_smoothing == 0
    with pytest.raises(RecipeError, match="goes with cross-entropy only"):
        resolve(recipe="mlp", settings=["train.label_smoothing=0.1", "train.loss=mse"])


def test_the_learning_rate_flag_changes_muons_too():
    shipped_cnn = resolve(recipe="cnn").optim
    assert shipped_cnn.name == "muon"
    doubled = resolve(recipe="cnn", flags={"--lr": 2 * shipped_cnn.lr}).optim
    assert (doubled.lr, doubled.muon_lr) == pytest.approx((2 * shipped_cnn.lr, 2 * shipped_cnn.muon_lr))
    own = resolve(recipe="cnn", settings=["optim.muon_lr=0.3"], flags={"--lr": 0.1}).optim
    assert (own.lr, own.muon_lr) == (0.1, 0.3)
    other = resolve(recipe="cnn", settings=["optim.name=sgd"], flags={"--lr": 0.1}).optim
    assert (other.lr, other.muon_lr) == (0.1, shipped_cnn.muon_lr)
    with pytest.raises(RecipeError, match="greater than 0"):
        resolve(recipe="cnn", flags={"--lr": -1.0})


def test_a_triangle_has_no_warmup():
    with pytest.raises(RecipeError, match="does not go with"):
        resolve(recipe="airbench94", settings=["optim.warmup=1"])


def test_a_dumped_recipe_reads_back_equal(tmp_path):
    for name in shipped():
        recipe = resolve(recipe=name, flags={"--data": "数据/100% [/b]"})
        file = tmp_path / "again.yaml"
        file.write_text(dump(recipe), encoding="utf-8")
        assert from_file(file) == recipe
        assert digest(from_file(file)) == digest(recipe)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train:\n  epochs: -1\n", "line 2: train.epochs: expected greater than or equal to 1, received -1"),
        ("optim:\n  lr: fast\n", 'line 2: optim.lr: expected a valid number, received "fast"'),
        ("train:\n  epoks: 3\n", "line 2: unknown key train.epoks; did you mean epochs?"),
        ("trian:\n  epochs: 3\n", "unknown key trian; did you mean train"),
        ("model:\n  arch: cnn\n  widht: 3\n", "line 3: unknown key model.widht; did you mean width?"),
        ("model:\n  arch: cmm\n", "line 2: unknown architecture 'cmm'"),
        ("model:\n  arch: resnet\n  depth: 21\n", "6n \\+ 2: 20 or 26"),
        ("data:\n  augment: {crop: sideways}\n", "data.augment.crop"),
        ("train: {loss: mse, label_smoothing: 0.1}\n", "label_smoothing goes with cross-entropy"),
        ("- a\n- b\n", "expected sections .*, received a list"),
        ("", "received nothing"),
        ("just words\n", "received a single value"),
        ("train: [1]\n", "train"),
        ("epochs: {a: 1}\n", "unknown key epochs"),
        ("train: {epochs: true}\n", "train.epochs: expected a valid integer"),
        ("train: {epochs: 1.5}\n", "train.epochs"),
        ("optim: {lr: .nan}\n", "optim.lr"),
    ],
)
def test_faults_say_where_they_stand(tmp_path, yaml, message):
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml)
    with pytest.raises(RecipeError, match=message):
        resolve(recipe=str(file))


@pytest.mark.parametrize(
    ("layers", "message", "hint"),
    [
        ("[relu,\n    batchnorm]", 'line 4: model.layers[1]: unknown layer "batchnorm"', "Did you mean batch-norm"),
        (
            "\n    - relu\n    - conv: {out_channels: 32}",
            "line 5: model.layers[1]: conv: expected a whole number from 1, received {'out_channels': 32}",
            "Write conv: 32, or {conv: 32, kernel: 5, stride: 2}",
        ),
        (
            "\n    - residual:\n        - conv: 8\n          kernal: 3",
            "line 6: model.layers[0].residual[0]: conv: unknown key 'kernal'",
            "Did you mean kernel?",
        ),
        ("\n    - conv: 8\n      stride: 0", "line 5: model.layers[0]: stride: expected a whole", "All keys"),
        (
            "\n    - linear: clases",
            "line 4: model.layers[0]: linear: expected",
            "Write linear: 128, or linear: classes",
        ),
        (
            "&a [{residual: [{conv: x}]}, &b {dropout: 2}, *b]",
            "line 3: model.layers[0].residual[0]: conv",
            "Write conv",
        ),
    ],
)
def test_a_wrong_layer_is_told_with_its_line_and_a_way_out(tmp_path, layers, message, hint):
    file = tmp_path / "net.yaml"
    file.write_text(f"model:\n  arch: seq\n  layers: {layers}\ntrain: {{epochs: 0}}\n")
    with pytest.raises(RecipeError) as caught:
        resolve(recipe=str(file))
    assert caught.value.message.startswith(f"{file}, {message}")
    assert "train.epochs: expected greater than or equal to 1" in caught.value.message
    assert hint in str(caught.value.hint)


def test_a_seq_without_layers_is_told_what_it_needs(tmp_path):
    with pytest.raises(RecipeError, match=r"the spec seq: seq needs its list of layers, model\.layers") as caught:
        resolve(arch=parse_spec("seq"))
    example = str(caught.value.hint).partition(":\n")[2]
    (tmp_path / "net.yaml").write_text(example)
    assert resolve(arch=parse_spec(str(tmp_path / "net.yaml"))).model.arch == "seq"


def test_all_faults_are_told_at_once(tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text("train: {epochs: 0}\noptim: {lr: 0}\nmodel: {arch: cnn, depth: 9}\n")
    with pytest.raises(RecipeError) as caught:
        resolve(recipe=str(file))
    for key in ("train.epochs", "optim.lr", "model.depth"):
        assert key in caught.value.message


@pytest.mark.parametrize(
    ("arch", "setting", "message"),
    [
        ("cnn", "dropout=0.5", "--set: unknown key dropout; did you mean model.dropout?"),
        ("cnn", "train.dropout=0.5", "unknown key train.dropout; did you mean model.dropout?"),
        ("cnn:lr=0.1", "seed=1", "the spec cnn: unknown key model.lr; did you mean optim.lr?"),
        ("cnn", "name=adam", "unknown key name; did you mean data.name or optim.name?"),
        ("cnn", "batch-size=3", "unknown key batch-size; did you mean train.batch_size?"),
        ("cnn", "augment.flip=true", "unknown key augment; did you mean data.augment?"),
        ("cnn", "flip=true", "unknown key flip; did you mean data.augment.flip?"),
        ("cnn", "epoch=3", "unknown key epoch; did you mean train.epochs?"),
        ("cnn", "train.epoch=3", "unknown key train.epoch; did you mean epochs"),
        ("resnet", "dropout=0.5", "unknown key dropout; it is an option of mlp, cnn"),
        ("cnn:batch-size=3", "seed=1", "unknown key model.batch-size; did you mean train.batch_size?"),
    ],
)
def test_a_key_of_another_section_is_named_with_it(arch, setting, message):
    with pytest.raises(RecipeError) as caught:
        resolve(arch=parse_spec(arch), settings=[setting])
    assert message in caught.value.message


@pytest.mark.parametrize("text", ["cnn,dropout=0.5", "cnn,dropout=0.5,width=3", "cnn,norm=none"])
def test_options_after_a_comma_are_shown_after_a_colon(text):
    with pytest.raises(UsageError) as caught:
        resolve(arch=parse_spec(text))
    assert caught.value.hint == f"Options begin with a colon: {text.replace(',', ':', 1)}"


@pytest.mark.parametrize("name", ["cn", "resnett", "xyz"])
def test_an_unknown_net_names_valid_ones(name):
    with pytest.raises(UsageError) as caught:
        resolve(arch=parse_spec(name))
    assert any(known in str(caught.value.hint) for known in ARCHITECTURES)


def test_none_means_absent_where_a_number_may_be_absent():
    recipe = resolve(arch=parse_spec("cnn"), settings=["train.patience=3", "train.patience=none"])
    assert recipe.train.patience is None
    assert resolve(arch=parse_spec("cnn:norm=none")).model.norm == "none"


def test_a_recipe_that_names_a_python_file_needs_trust(tmp_path):
    (tmp_path / "net.py").write_text("raise SystemExit('executed')")
    file = tmp_path / "mine.yaml"
    file.write_text("model: {arch: 'net.py:Net', width: 3}\n")
    with pytest.raises(UsageError, match="names a Python file") as caught:
        resolve(recipe=str(file))
    assert "--trust-code" in str(caught.value.hint)
    trusted = resolve(recipe=str(file), trust_code=True)
    assert Path(trusted.model.arch.rpartition(":")[0]) == tmp_path / "net.py"
    assert trusted.model.model_extra == {"width": 3}


def test_names_with_escapes_are_shown_escaped(tmp_path):
    with pytest.raises(CnnlabError) as caught:
        resolve(recipe="\x1b[31mred.yaml")
    assert "\x1b" not in caught.value.message


def test_a_value_set_for_a_whole_section_is_blamed_on_the_command_line_not_on_the_recipe_below():
    with pytest.raises(RecipeError) as caught:
        resolve(recipe="cnn", settings=["train=3"])
    assert caught.value.message == "--set: train: expected a section, received 3"


def test_the_valid_keys_of_a_section_are_said_once():
    with pytest.raises(RecipeError) as caught:
        resolve(settings=["train.k0=1", "train.k1=1", "optim.k2=1"])
    first, second, third = caught.value.message.splitlines()
    assert "; valid: epochs, " in first
    assert "unknown key train.k1" in second
    assert "valid" not in second
    assert "; valid: name, lr, " in third
