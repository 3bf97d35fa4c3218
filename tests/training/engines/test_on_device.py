"""Pictures on a device: the same bits as on the host. On the CPU here; with a GPU, on that too."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab.data import Augmentation, draw, pick
from cnnlab.errors import NumericError
from cnnlab.randomness import generator
from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training.engines.base import Batch, StepKey
from cnnlab.training.engines.on_device import DevicePictures, picker
from cnnlab.training.engines.torch import TorchEngine
from cnnlab.training.events import EpochDone
from cnnlab.training.loop import resume
from cnnlab.training.settings import Settings

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(), Augmentation(crop=3), Augmentation(flip=True), Augmentation(cutout=5), Augmentation(2, True, 4)],
)
def test_pictures_on_a_device_are_those_of_the_host_bit_for_bit(augmentation, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    images = np.random.default_rng(0).integers(0, 256, (50, 9, 7, 3), dtype=np.uint8)
    fill = np.array([1, 2, 3], np.uint8)
    there = DevicePictures(images, augmentation.cutout, fill, torch.device(device))
    for step in range(5):
        indices = generator(0, "order", 1).permutation(50)[step * 8 : step * 8 + 8]
        moves = draw((9, 7), indices, augmentation, generator(3, "augmentation", 1, step))
        assert np.array_equal(there(moves).cpu().numpy(), pick(images, moves, augmentation.cutout, fill))


def engine_of(waits, **train):
    recipe = resolve(
        arch=parse_spec("mlp:width=8,depth=1,batch_norm=false"),
        settings=["optim.name=sgd", "train.ema=0", *(f"train.{key}={value}" for key, value in train.items())],
    )
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    engine = TorchEngine(
        net,
        recipe.train,
        recipe.optim,
        mean=np.full(1, 9.0),
        std=np.ones(1),
        device=torch.device("cpu"),
        precision="fp32",
    )
    engine.waits = waits
    return engine


@pytest.mark.parametrize("train", [{}, {"clip_norm": 0.1}, {"ema": 0.5}])
def test_a_step_that_nobody_waits_for_is_the_same_step(train):
    waiting, hurrying = engine_of(True, **train), engine_of(False, **train)
    rng = np.random.default_rng(0)
    for step in range(4):
        images = rng.integers(0, 20, (6, 3, 4, 1), dtype=np.uint8)
        batch, key = Batch(images, rng.integers(0, 3, 6)), StepKey(0, 1, step)
        assert float(hurrying.step(batch, 0.1, key)) == waiting.step(batch, 0.1, key)
    one, other = waiting.training_state(), hurrying.training_state()
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("train", [{}, {"clip_norm": 0.1}])
def test_a_step_that_nobody_waits_for_changes_nothing_where_numbers_go_wrong(train):
    engine = engine_of(False, **train)
    images, labels = np.zeros((6, 3, 4, 1), np.uint8), np.zeros(6, np.int64)
    engine.step(Batch(images, labels), 0.1, StepKey(0, 1, 0))
    before = engine.weights()
    engine._scale.fill_(math.nan)
    assert math.isnan(float(engine.step(Batch(images, labels), 0.1, StepKey(0, 1, 1))))
    after = engine.weights()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_refused_step_is_told_when_the_objectives_are_read(train_digits, monkeypatch):
    real = TorchEngine.step

    def step(self, batch, lr, key, *rest):
        self.waits = False
        if (key.epoch, key.step) == (2, 4):
            self._scale = self._scale * math.nan
        return real(self, batch, lr, key, *rest)

    monkeypatch.setattr(TorchEngine, "step", step)
    with pytest.raises(NumericError, match=r"epoch 2, step 5.*what epoch 1 left is kept"):
        train_digits(epochs=3, device="cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_trains_digits(cli, precision):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    ended = cli(
        "train",
        "--arch",
        "cnn:width=16",
        "--data",
        "digits",
        "--epochs",
        12,
        "--device",
        "cuda",
        "--precision",
        precision,
        "--json",
    )
    assert ended.code == 0, ended.err
    assert ended.json["device"] == "cuda"
    assert ended.json["test_acc"] > 0.95


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_a_run_on_a_device_goes_on(train_digits, device, optimiser):
    """What the optimiser remembers must lie where the weights do, Adam's count of steps too."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")

    def stop(event):
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_digits("mlp:depth=1,width=16", f"optim.name={optimiser}", name="cut", device=device, tell=stop)
    finished = resume(Path("runs/cut"), Settings(device=device))
    assert len(finished.rows) == 2
    assert finished.rows[1].train_loss < finished.rows[0].train_loss


@pytest.mark.slow
def test_a_compiled_net_learns_the_same(train_digits):
    plain = train_digits("mlp:depth=1,width=16,dropout=0", epochs=2, device="cpu").rows
    compiled = train_digits("mlp:depth=1,width=16,dropout=0", "train.compile=true", epochs=2, device="cpu").rows
    assert [row.objective for row in compiled] == pytest.approx([row.objective for row in plain], rel=1e-4)


def test_a_training_set_without_room_on_the_device_stays_on_the_host(monkeypatch):
    images = np.zeros((4, 2, 2, 1), np.uint8)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20, 100))
    assert not isinstance(picker(images, 0, np.zeros(1, np.uint8), torch.device("cuda")), DevicePictures)
    assert not isinstance(picker(images, 0, np.zeros(1, np.uint8), torch.device("cpu")), DevicePictures)
