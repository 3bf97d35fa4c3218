"""The hand-derived engine trains as torch does: same seed, same weights, same batches, same curve."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from cnnlab.errors import CheckpointError, NumericError, UsageError
from cnnlab.training.engines.base import Batch, StepKey
from cnnlab.training.settings import Settings

FP64 = "train.precision=fp64"
NETS = [
    ("mlp:width=32", ()),
    ("lenet", ("optim.name=sgd", "optim.lr=0.05", "train.loss=mse")),
    ("mlp:width=32,dropout=0.3,batch_norm=true,activation=gelu", ("optim.name=adam", "train.label_smoothing=0.1")),
    ("cnn:width=4,depth=5,head=max", ("optim.name=muon", "optim.lr=0.05")),
    pytest.param(
        "cnn:width=4,depth=5,dropout=0.2",
        ("train.clip_norm=0.5", "train.ema=0.9", "data.augment.mixup=0.4"),
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "resnet:depth=8,width=4",
        ("optim.name=sgd", "optim.lr=0.05", "optim.nesterov=false"),
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("spec", "assignments"), NETS, ids=lambda one: one if isinstance(one, str) else "")
def test_both_engines_draw_the_same_curve(train_digits, spec, assignments):
    curves = []
    for engine in ("torch", "numpy"):
        finished = train_digits(spec, FP64, *assignments, epochs=3, engine=engine)
        assert finished.result["engine"] == engine
        curves.append([(row.objective, row.train_loss, row.val_loss, row.train_acc) for row in finished.rows])
    assert np.allclose(*curves, rtol=1e-10, atol=0)


def test_both_engines_grow_their_images_and_turn_their_weights_alike(train_digits, small_images_shrink):
    options = ("optim.name=muon", "optim.lr=0.05", "optim.norm_bias_lr=8.0", "train.initial_scale=0.5")
    curves = []
    for engine in ("torch", "numpy"):
        finished = train_digits("resnet:depth=8,width=4", FP64, *options, engine=engine)
        curves.append([(row.objective, row.train_loss, row.val_loss, row.train_acc) for row in finished.rows])
    assert np.allclose(*curves, rtol=1e-9, atol=0)


@pytest.mark.parametrize("optimiser", ["sgd", "muon"])
def test_both_engines_freeze_the_lowest_layers_alike(train_digits, optimiser):
    options = (
        "train.freeze_up_to=stage1-block1",
        "train.freeze_from=0.4",
        f"optim.name={optimiser}",
        "train.clip_norm=0.5",
    )
    curves = []
    for engine in ("torch", "numpy"):
        finished = train_digits("resnet:depth=8,width=4", FP64, *options, engine=engine)
        curves.append([(row.objective, row.train_loss, row.val_loss, row.train_acc) for row in finished.rows])
    assert np.allclose(*curves, rtol=1e-9, atol=0)


@pytest.mark.parametrize("size", [(15, 9), (8, 16), (3, 5)])
def test_both_engines_shrink_images_alike(size):
    images, labels = pictures(8)
    reference, own = engines("resnet:depth=8,width=2")
    values = [engine.step(Batch(images, labels, size=size), 0.01, StepKey(0, 1, 0)) for engine in (reference, own)]
    full = own.step(Batch(images, labels), 0.01, StepKey(0, 1, 1))
    assert values[1] == pytest.approx(values[0], rel=1e-10)
    assert full != pytest.approx(values[0], rel=1e-6)


def engines(spec, *assignments, device="cpu", names=("torch", "numpy")):
    """Both engines with the same net."""
    from cnnlab.recipe.load import resolve
    from cnnlab.recipe.spec import parse_spec
    from cnnlab.training.net import build_net
    from cnnlab.training.prepare import make_engine

    recipe = resolve(arch=parse_spec(spec), settings=[FP64, *assignments])
    mean, std = np.array([100.0, 120.0, 90.0]), np.array([50.0, 60.0, 40.0])
    return [
        make_engine(recipe, Settings(engine=name, device=device), build_net(recipe, (3, 16, 16), 5), mean, std)
        for name in names
    ]


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 16, 3), np.uint8), rng.integers(0, 5, count)


@pytest.mark.parametrize(
    "spec", ["cnn:width=4,activation=sigmoid,dropout=0.2", "resnet:depth=8,width=4", "mlp:depth=4"]
)
def test_gradients_by_layer_are_the_same_and_change_nothing(spec):
    reference, own = engines(spec)
    images, labels = pictures(20)
    before = own.training_state()
    for theirs, ours in zip(
        reference.layer_gradients(images, labels), own.layer_gradients(images, labels), strict=True
    ):
        theirs, ours = asdict(theirs), asdict(ours)
        assert theirs.pop("layer") == ours.pop("layer")
        for key, value in theirs.items():
            assert ours[key] == (None if value is None else pytest.approx(value, rel=1e-9)), key
    for name, array in own.training_state().items():
        assert np.array_equal(array, before[name]), name


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "muon"])
def test_a_state_goes_on_bit_for_bit_and_moves_between_engines(optimiser):
    spec, assignments = "cnn:width=2,depth=5", (f"optim.name={optimiser}", "train.ema=0.9")
    batches = [Batch(*pictures(8, seed)) for seed in range(4)]
    reference, own = engines(spec, *assignments)
    for step in (0, 1):
        reference.step(batches[step], 0.01, StepKey(0, 1, step))
        own.step(batches[step], 0.01, StepKey(0, 1, step))
    _, resumed = engines(spec, *assignments)
    _, adopted = engines(spec, *assignments)
    resumed.load_training_state(own.training_state())
    adopted.load_training_state(reference.training_state())
    for step in (2, 3):
        values = [engine.step(batches[step], 0.01, StepKey(0, 1, step)) for engine in (own, resumed, adopted)]
        assert values[0] == values[1]
        assert values[2] == pytest.approx(values[0], rel=1e-9)
    for name, array in own.training_state().items():
        assert np.array_equal(array, resumed.training_state()[name]), name
    assert own.predict(pictures(3)[0]) == pytest.approx(adopted.predict(pictures(3)[0]), rel=1e-7)


def test_what_the_engine_lacks_is_refused_by_name():
    with pytest.raises(UsageError, match="no precision bf16"):
        engines("cnn:width=2", "train.precision=bf16")
    with pytest.raises(UsageError, match=r"no train\.lookahead, received 5"):
        engines("cnn:width=2", "train.lookahead=5")
    with pytest.raises(UsageError, match=r"no train\.rest_up_to, received 'conv1'"):
        engines("cnn:width=2", "train.rest_up_to=conv1")
    with pytest.raises(UsageError, match=r"no train\.compile, received true"):
        engines("cnn:width=2", "train.compile=true")
    with pytest.raises(UsageError, match="no device cuda; it computes on the CPU"):
        engines("cnn:width=2", device="cuda", names=("numpy",))


def test_weights_of_another_net_are_refused():
    (_, own), (_, other) = engines("mlp:width=8"), engines("mlp:width=9")
    for load, state in ((own.load_weights, other.weights()), (own.load_training_state, other.training_state())):
        with pytest.raises(CheckpointError, match=r"does not fit this net: .*fc1.weight"):
            load(state)
    damaged = own.training_state() | {"optimizer.exp_avg.nothing": np.zeros(3)}
    with pytest.raises(CheckpointError, match="unknown to this net"):
        own.load_training_state(damaged)


def test_a_loss_that_is_not_finite_names_the_step_and_leaves_the_weights():
    _, own = engines("mlp:width=8,depth=1")
    weights = own.weights()
    weights["fc2.weight"] = np.full_like(weights["fc2.weight"], 1e308)
    own.load_weights(weights)
    with pytest.raises(NumericError, match=r"in epoch 3, step 5: .* the output of fc2 \(Linear\)") as caught:
        own.step(Batch(*pictures(4)), 0.1, StepKey(0, 3, 4))
    assert "learning rate" in caught.value.hint
    assert all(np.array_equal(array, weights[name]) for name, array in own.weights().items())


def test_engines_are_both_known_to_the_run_folder(train_digits):
    finished = train_digits("mlp:width=8,depth=1", epochs=1, engine="numpy", gradients=True)
    environment = json.loads((finished.run / "environment.json").read_text(encoding="utf-8"))
    assert environment["engine"] == "numpy"
    assert finished.result["precision"] == "fp32"
    rows = [json.loads(line) for line in (finished.run / "gradients.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["layer"] for row in rows] == ["fc1", "fc2"] * 2
    assert (finished.run / "gradients.png").is_file()
