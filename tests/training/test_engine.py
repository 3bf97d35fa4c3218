"""The PyTorch engine against plain PyTorch, step by step."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnnlab.errors import NumericError, RecipeError
from cnnlab.models import build, find
from cnnlab.recipe.schema import OptimSection, TrainSection
from cnnlab.training.engines.base import Batch, StepKey
from cnnlab.training.engines.torch import TorchEngine
from cnnlab.training.world import ALONE, World

MEAN, STD = np.array([100.0, 110.0, 120.0]), np.array([50.0, 60.0, 70.0])


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))


def make_engine(net, precision="fp64", train=None, world=ALONE, **optim):
    return TorchEngine(
        net,
        TrainSection(**(train or {})),
        OptimSection(**{"lr": 0.1, "weight_decay": 0.0, **optim}),
        mean=MEAN,
        std=STD,
        device=torch.device("cpu"),
        precision=precision,
        world=world,
    )


def batches(count=3):
    rng = np.random.default_rng(0)
    return [Batch(rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8), rng.integers(0, 5, 16)) for _ in range(count)]


def normalised(images):
    return torch.from_numpy(((images - MEAN) / STD).transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.1)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.0)),
    ],
)
def test_steps_equal_a_plain_loop(name, make):
    engine, net = make_engine(make_net(), name=name), make_net().double()
    optimizer = make(net.parameters())
    for step, batch in enumerate(batches()):
        value = engine.step(batch, 0.1, StepKey(0, 1, step))
        loss = nn.functional.cross_entropy(net(normalised(batch.images)), torch.from_numpy(batch.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert float(value) == pytest.approx(loss.item(), rel=1e-12)
    net.eval()
    images = batches()[0].images
    assert engine.predict(images) == pytest.approx(net(normalised(images)).detach().numpy(), abs=1e-6)


NARROW = """
import numpy as np, torch
from torch import nn
from cnnlab.recipe.schema import OptimSection, TrainSection
from cnnlab.training.engines.base import Batch, StepKey
from cnnlab.training.engines.torch import TorchEngine

def weights(channels, precision):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.Conv2d(channels, 8, 1, stride=2), nn.Flatten(),
                        nn.Linear(128, 5))
    optim, level = OptimSection(name="sgd", lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0), np.array([100.0])
    engine = TorchEngine(net, TrainSection(), optim, mean=level, std=level, device=torch.device("cpu"),
                         precision=precision)
    for step in range(10):
        images = np.random.default_rng(step).integers(0, 256, (64, 8, 8, 1), dtype=np.uint8)
        engine.step(Batch(images, np.arange(64) % 5), 0.1, StepKey(0, 1, step))
    return engine.weights()["1.weight"]

for threads in (1, 2):
    torch.set_num_threads(threads)
    for channels in (1, 2, 3, 7, 8, 15, 16):
        right = weights(channels, "fp64")
        print(threads, channels, np.abs(weights(channels, "fp32") - right).max() / np.abs(right).max(), flush=True)
"""


def test_narrow_strided_1x1_convolutions_have_right_gradients():
    """oneDNN's own are wrong in channels_last, or end the process, which is one apart here."""
    ended = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended
    errors = {line.rpartition(" ")[0]: float(line.split()[-1]) for line in ended.stdout.splitlines()}
    assert len(errors) == 14
    assert all(error < 1e-4 for error in errors.values()), errors


def test_weight_decay_leaves_biases_and_normalisation_alone():
    engine = make_engine(make_net(), name="sgd", momentum=0.0, nesterov=False, weight_decay=0.5)
    before = engine.weights()
    batch = batches(1)[0]
    plain = make_engine(make_net(), name="sgd", momentum=0.0, nesterov=False)
    engine.step(batch, 0.1, StepKey(0, 1, 0))
    plain.step(batch, 0.1, StepKey(0, 1, 0))
    with_decay, without = engine.weights(), plain.weights()
    for name in ("0.bias", "1.weight", "1.bias", "4.bias"):
        assert np.array_equal(with_decay[name], without[name]), name
    for name in ("0.weight", "4.weight"):
        assert with_decay[name] == pytest.approx(without[name] - 0.1 * 0.5 * before[name], abs=1e-12)


def test_clipping_bounds_the_norm_of_the_step():
    engine = make_engine(make_net(), train={"clip_norm": 0.01}, name="sgd", momentum=0.0, nesterov=False)
    before = engine.weights()
    engine.step(batches(1)[0], 1.0, StepKey(0, 1, 0))
    after = engine.weights()
    moved = [after[name] - before[name] for name in ("0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias")]
    assert np.sqrt(sum(float(np.square(part).sum()) for part in moved)) == pytest.approx(0.01, rel=1e-4)


def test_the_moving_average_is_what_predicts():
    engine = make_engine(make_net(), train={"ema": 0.5}, name="sgd", momentum=0.0, nesterov=False)
    start = engine.weights()["4.weight"]
    averaged = start.copy()
    for step, batch in enumerate(batches()):
        engine.step(batch, 0.1, StepKey(0, 1, step))
        decay = min(0.5, (2 + step) / (11 + step))
        averaged += (1 - decay) * (engine.training_state()["model.4.weight"] - averaged)
    assert engine.weights()["4.weight"] == pytest.approx(averaged, rel=1e-12)


def test_pictures_that_may_not_be_written_to_are_taken_without_a_warning(recwarn):
    """IDX files are read in place."""
    images = batches(1)[0].images
    expected = make_engine(make_net()).predict(images)
    images.flags.writeable = False
    assert (make_engine(make_net()).predict(images) == expected).all()
    assert not recwarn.list


def test_mixup_blends_pictures_and_losses():
    batch = batches(1)[0]
    partners = np.random.default_rng(1).permutation(16)
    mixed = Batch(batch.images, batch.labels, partners, 0.3)
    value = float(make_engine(make_net()).step(mixed, 0.1, StepKey(0, 1, 0)))
    net, images = make_net().double(), normalised(batch.images)
    outputs = net(0.3 * images + 0.7 * images[torch.from_numpy(partners)])
    labels = torch.from_numpy(batch.labels)
    expected = 0.3 * nn.functional.cross_entropy(outputs, labels)
    expected = expected + 0.7 * nn.functional.cross_entropy(outputs, labels[torch.from_numpy(partners)])
    assert value == pytest.approx(expected.item(), rel=1e-12)


def test_bf16_stays_near_fp32():
    few = batches()
    low, high = make_engine(make_net(), "bf16", name="sgd"), make_engine(make_net(), "fp32", name="sgd")
    for step, batch in enumerate(few):
        assert float(low.step(batch, 0.01, StepKey(0, 1, step))) == pytest.approx(
            float(high.step(batch, 0.01, StepKey(0, 1, step))), rel=0.03
        )


class WithAnIdleLayer(nn.Module):
    """A net whose outputs do not depend on one of its layers."""

    def __init__(self, net):
        super().__init__()
        self.net, self.idle = net, nn.Linear(8, 2)

    def forward(self, x):
        self.idle(x)
        return self.net(x)


def test_layer_gradients_where_an_activation_works_in_place_and_a_layer_is_idle():
    batch, net = batches(1)[0], make_net()
    expected = make_engine(make_net()).layer_gradients(batch.images, batch.labels)
    net[2] = nn.ReLU(inplace=True)
    idle, *rows = make_engine(WithAnIdleLayer(net)).layer_gradients(batch.images, batch.labels)
    assert (idle.layer, idle.delta_rms, idle.weight_rms) == ("idle", 0.0, 0.0)
    assert [replace(row, layer=row.layer.removeprefix("net.")) for row in rows] == expected


class SecondOfTwo(World):
    """Rank 1, to which rank 0 sends sevens."""

    def copy_from_first(self, tensors):
        for tensor in tensors:
            tensor.fill_(7)


def test_averages_start_from_what_rank_0_drew():
    engine = make_engine(make_net(), train={"ema": 0.9, "lookahead": 5}, world=SecondOfTwo(1, 2))
    engine.take_over_from_first()
    assert all(
        (array == 7).all() for name, array in engine.training_state().items() if name.startswith(("ema", "slow"))
    )
    assert (engine.weights()["4.weight"] == 7).all()


def test_buffers_that_are_not_saved_are_rank_0s_too():
    net = make_net()
    net.register_buffer("drawn", torch.randn(3), persistent=False)
    engine = make_engine(net, world=SecondOfTwo(1, 2))
    engine.take_over_from_first()
    assert (engine.net.drawn == 7).all()


def test_buffers_that_are_equal_in_three_processes_stay_as_they_are():
    class ThreeAlike(World):
        def add_up(self, tensor):
            tensor.copy_(tensor + tensor + tensor)

    net = make_net()
    net.register_buffer("constants", torch.tensor([0.1, 0.7, 1 / 3, 1 / 255, 3e38]))
    engine = make_engine(net, "fp32", world=ThreeAlike(0, 3))
    before = engine.weights()
    engine.share_statistics()
    assert all(np.array_equal(array, before[name]) for name, array in engine.weights().items())


def test_layer_gradients_equal_autograd_and_change_nothing():
    engine = make_engine(make_net())
    before = engine.training_state()
    batch = batches(1)[0]
    rows = engine.layer_gradients(batch.images, batch.labels)
    after = engine.training_state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    net = make_net().double()
    outputs = net[0](normalised(batch.images))
    outputs.retain_grad()
    nn.functional.cross_entropy(net[1:](outputs), torch.from_numpy(batch.labels)).backward()
    assert [row.layer for row in rows] == ["0", "4"]
    assert rows[0].delta_rms == pytest.approx(16 * outputs.grad.square().mean().sqrt().item(), rel=1e-9)
    assert rows[0].weight_rms == pytest.approx(net[0].weight.grad.square().mean().sqrt().item(), rel=1e-9)
    active = (net[1](outputs) > 0).double().mean().item()
    assert rows[0].slope == pytest.approx(active)
    assert rows[1].slope is None


def test_looking_ahead_draws_weights_and_average_together():
    engine = make_engine(make_net(), train={"lookahead": 2})
    started = engine.weights()
    engine.step(batches()[0], 0.1, StepKey(0, 1, 0))
    stepped = engine.weights()
    engine.look_ahead(0.75)
    for name, array in engine.weights().items():
        if array.dtype.kind == "f":
            assert array == pytest.approx(0.75 * started[name] + 0.25 * stepped[name], abs=1e-12)
    assert not np.allclose(stepped["4.weight"], engine.weights()["4.weight"])
    drawn = engine.weights()
    engine.step(batches()[1], 0.1, StepKey(0, 1, 1))
    engine.look_ahead(1.0)
    assert all(
        np.array_equal(array, drawn[name]) for name, array in engine.weights().items() if array.dtype.kind == "f"
    )


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_frozen_layers_stay_and_those_behind_train_on(name):
    """As in a plain loop that keeps the frozen weights out of it; statistics of batch norm go on."""
    engine, net = (
        make_engine(make_net(), name=name, train={"freeze_up_to": "1"}, weight_decay=0.01),
        make_net().double(),
    )
    engine.step(batches()[0], 0.1, StepKey(0, 1, 0))
    before = engine.weights()
    for _ in range(2):
        engine.step(batches()[1], 0.1, StepKey(0, 1, 1), 0.0)
    after = engine.weights()
    changed = {name for name, array in after.items() if not np.array_equal(array, before[name])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked", "4.weight", "4.bias"}
    assert all(parameter.grad is None for parameter in engine.net[:2].parameters())
    assert engine._trained.probe() is not None  # what is looked at each step for numbers that are not finite
    net.load_state_dict({name: torch.from_numpy(array) for name, array in before.items()})
    outputs = net.train()(normalised(batches()[1].images))
    loss = nn.functional.cross_entropy(outputs, torch.from_numpy(batches()[1].labels))
    other = make_engine(make_net(), train={"freeze_up_to": "1"})
    other.load_weights(before)
    assert other.step(batches()[1], 0.1, StepKey(0, 1, 1), 0.0) == pytest.approx(loss.item(), rel=1e-12)


def test_a_frozen_net_still_refuses_what_is_not_finite():
    """The gradient that is looked at then is the lowest one that is left; the objective itself is finite."""
    engine = make_engine(make_net(), train={"freeze_up_to": "0"})
    engine.net[1].weight.register_hook(lambda gradient: gradient * np.nan)
    before = engine.weights()
    with pytest.raises(NumericError, match="a gradient became not finite"):
        engine.step(batches()[0], 0.1, StepKey(0, 1, 0), 0.0)
    after = engine.weights()
    assert all(np.array_equal(after[name], before[name]) for name in ("0.weight", "1.weight", "4.weight", "4.bias"))


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_layers_that_rest_stay_for_that_step_alone(name):
    """What they would have had of decay or momentum waits too; the others train as ever."""
    engine, other = (
        make_engine(make_net(), name=name, train={"rest_up_to": rest}, weight_decay=0.01, norm_bias_lr=2.0)
        for rest in ("1", None)
    )
    for each in (engine, other):
        each.step(batches()[0], 0.1, StepKey(0, 1, 0), None, False)
    for (key, array), expected in zip(engine.training_state().items(), other.training_state().values(), strict=True):
        assert np.array_equal(array, expected), key
    before = engine.training_state()
    rested, expected = (
        each.step(batches()[1], 0.1, StepKey(0, 1, 1), None, each is engine) for each in (engine, other)
    )
    assert rested == expected
    assert engine._trained.probe() is not None
    after, of_other = engine.training_state(), other.training_state()
    for key, array in after.items():
        kept = any(f".{layer}." in key for layer in (0, 1)) and "running" not in key and "num_batches" not in key
        assert np.array_equal(array, (before if kept else of_other)[key]), key
    engine.step(batches()[0], 0.1, StepKey(0, 1, 2))
    assert not np.array_equal(engine.weights()["0.weight"], after["model.0.weight"])


def test_biases_of_a_whitening_layer_rest_and_train_in_their_epochs_alone():
    options = find("fast").options.model_validate({"arch": "fast", "width": 2, "whiten_bias_epochs": 1})
    net = build(options, 3, 5, (8, 8))
    engine = make_engine(net, train={"rest_up_to": "norm1_2"})
    trains = []
    for step, (epoch, rest) in enumerate([(1, False), (1, True), (1, False), (2, False), (2, True), (2, False)]):
        before = engine.weights()
        engine.step(batches()[0], 0.1, StepKey(0, epoch, step), None, rest)
        after = engine.weights()
        trains.append([not np.array_equal(after[key], before[key]) for key in ("whiten.bias", "conv1_2.weight")])
    assert trains == [[True, True], [False, False], [True, True], [False, True], [False, False], [False, True]]


def test_a_step_with_layers_at_rest_still_refuses_what_is_not_finite():
    engine = make_engine(make_net(), train={"rest_up_to": "0"})
    engine.net[1].weight.register_hook(lambda gradient: gradient * np.nan)
    before = engine.weights()
    with pytest.raises(NumericError, match="a gradient became not finite"):
        engine.step(batches()[0], 0.1, StepKey(0, 1, 1), None, True)
    after = engine.weights()
    assert all(np.array_equal(after[name], before[name]) for name in ("0.weight", "1.weight", "4.weight", "4.bias"))


def test_layers_that_rest_and_then_freeze_stay_frozen():
    engine = make_engine(make_net(), train={"rest_up_to": "1", "freeze_up_to": "0"})
    engine.step(batches()[0], 0.1, StepKey(0, 1, 0), 0.1, True)
    engine.step(batches()[0], 0.1, StepKey(0, 1, 1), 0.0, False)
    before = engine.weights()
    engine.step(batches()[0], 0.1, StepKey(0, 1, 2), 0.0, False)
    after = engine.weights()
    assert [np.array_equal(after[key], before[key]) for key in ("0.weight", "1.weight")] == [True, False]
    assert engine.net[0].weight.grad is None  # nothing is back-propagated to it


def test_layers_that_rested_in_the_step_before_the_freezing_train_on():
    """Their gradients are added up over the processes, and looked at."""
    summed = []

    class Counting(World):
        def add_up(self, tensor):
            summed.append(tensor.numel())

    engine = make_engine(make_net(), train={"rest_up_to": "1", "freeze_up_to": "0"}, world=Counting(0, 2))
    engine.step(batches()[0], 0.1, StepKey(0, 1, 0), 0.1, True)
    engine.step(batches()[0], 0.1, StepKey(0, 1, 1), 0.0, False)
    assert summed[1] == sum(parameter.numel() for parameter in engine.net[1:].parameters()) + 3
    engine.net[1].weight.register_hook(lambda gradient: gradient * np.nan)
    with pytest.raises(NumericError, match="a gradient became not finite"):
        engine.step(batches()[0], 0.1, StepKey(0, 1, 2), 0.0, False)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_lowest_layers_have_a_rate_of_their_own(name):
    """Of one step the change is in proportion to the rate, layer by layer."""
    changes = []
    for lowest in (0.1, 0.05, None):
        engine = make_engine(make_net(), name=name, train={"freeze_up_to": "0"}, norm_bias_lr=4.0)
        before = engine.weights()
        engine.step(batches()[0], 0.1, StepKey(0, 1, 0), lowest)
        after = engine.weights()
        changes.append({key: after[key] - before[key] for key in ("0.weight", "0.bias", "1.bias", "4.weight")})
    full, half, same = changes
    for key, change in full.items():
        assert np.abs(change).max() > 0
        assert np.array_equal(change, same[key])
        assert half[key] == pytest.approx(change / 2 if key.startswith("0") else change, rel=1e-9)


@pytest.mark.parametrize(
    ("layer", "message", "hint"),
    [
        ("2", "'2'; no layer with weights has that name", "Those of this net: 0, 1, 4"),
        ("conv\x1b", r"'conv.*x1b'; no layer", "Those"),
        ("4", "'4', the last layer with weights: none would be left", "Name one before it"),
    ],
)
@pytest.mark.parametrize("key", ["freeze_up_to", "rest_up_to"])
def test_layers_that_cannot_be_frozen_are_refused(layer, message, hint, key):
    with pytest.raises(RecipeError, match=f"train.{key} is {message}") as caught:
        make_engine(make_net(), train={key: layer})
    assert hint in str(caught.value.hint)


def test_biases_of_batch_norm_may_learn_faster():
    moved = []
    for factor in (1.0, 8.0):
        engine = make_engine(make_net(), norm_bias_lr=factor, name="sgd", momentum=0.0, nesterov=False)
        before = engine.weights()
        engine.step(batches()[0], 0.01, StepKey(0, 1, 0))
        after = engine.weights()
        moved.append({name: after[name] - before[name] for name in ("1.bias", "1.weight", "4.bias")})
    slow, fast = moved
    assert fast["1.bias"] == pytest.approx(8 * slow["1.bias"])
    assert fast["1.weight"] == pytest.approx(slow["1.weight"])
    assert fast["4.bias"] == pytest.approx(slow["4.bias"])


def test_a_faster_bias_is_decayed_as_far_as_the_weights_are():
    engine = make_engine(make_net(), norm_bias_lr=8.0, weight_decay=0.4)
    decay = {id(p): group["weight_decay"] * group["lr_factor"] for group in engine.optimizer.param_groups
             for p in group["params"]}  # fmt: skip
    norm = engine.net[1]
    assert decay[id(norm.bias)] == pytest.approx(0.4)
    assert decay[id(norm.weight)] == 0.0
    assert decay[id(engine.net[0].weight)] == pytest.approx(0.4)


def test_images_shrink_as_by_pillow_before_they_are_normalised():
    seen = []
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    net[0].register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    engine = make_engine(net)
    batch = batches(1)[0]
    engine.step(replace(batch, size=(5, 6)), 0.1, StepKey(0, 1, 0))
    channels = batch.images.astype(np.float32).transpose(0, 3, 1, 2).reshape(-1, 8, 8)
    shrunk = [np.asarray(Image.fromarray(channel).resize((6, 5), Image.Resampling.BILINEAR)) for channel in channels]
    expected = np.array(shrunk).reshape(16, 3, 5, 6).transpose(0, 2, 3, 1)
    assert seen[0].numpy() == pytest.approx(normalised(expected).numpy(), abs=1e-5)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
