"""Pictures on a device: the same bits as on the host. On the CPU here; with a GPU, on that too."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab.data import Augmentation, draw, load, pick
from cnnlab.errors import NumericError, Stopped
from cnnlab.randomness import generator
from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training.batches import Batches
from cnnlab.training.engines.base import Batch, StepKey
from cnnlab.training.engines.on_device import DevicePictures, picker
from cnnlab.training.engines.torch import TorchEngine
from cnnlab.training.events import EpochDone, StepDone
from cnnlab.training.loop import resume
from cnnlab.training.preflight import preflight
from cnnlab.training.prepare import prepare
from cnnlab.training.settings import Settings
from cnnlab.training.world import ALONE

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(), Augmentation(crop=3), Augmentation(flip=True), Augmentation(cutout=5), Augmentation(2, True, 4)],
)
def test_pictures_on_a_device_are_those_of_the_host_bit_for_bit(augmentation, device):
    images = np.random.default_rng(0).integers(0, 256, (50, 9, 7, 3), dtype=np.uint8)
    fill = np.array([1, 2, 3], np.uint8)
    there = DevicePictures(images, augmentation.cutout, fill, torch.device(device))
    for step in range(5):
        indices = generator(0, "order", 1).permutation(50)[step * 8 : step * 8 + 8]
        moves = draw((9, 7), indices, augmentation, generator(3, "augmentation", 1, step))
        assert np.array_equal(there(moves).cpu().numpy(), pick(images, moves, augmentation.cutout, fill))


def engine_of(waits, device="cpu", optimiser="sgd", **train):
    recipe = resolve(
        arch=parse_spec("mlp:width=8,depth=1,batch_norm=false"),
        settings=[f"optim.name={optimiser}", "train.ema=0", *(f"train.{key}={value}" for key, value in train.items())],
    )
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    engine = TorchEngine(
        net,
        recipe.train,
        recipe.optim,
        mean=np.full(1, 9.0),
        std=np.ones(1),
        device=torch.device(device),
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


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "muon"])
@pytest.mark.parametrize("train", [{}, {"clip_norm": 0.1}])
def test_a_step_that_nobody_waits_for_changes_nothing_where_numbers_go_wrong(train, optimiser, device):
    engine = engine_of(False, device, optimiser, **train)
    images, labels = np.zeros((6, 3, 4, 1), np.uint8), np.zeros(6, np.int64)
    engine.step(Batch(images, labels), 0.1, StepKey(0, 1, 0))
    before = engine.training_state()
    engine._scale.fill_(math.nan)
    assert math.isnan(float(engine.step(Batch(images, labels), 0.1, StepKey(0, 1, 1))))
    after = engine.training_state()
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

    def stop(event):
        if isinstance(event, StepDone) and (event.epoch, event.step) == (2, 7):
            raise Stopped("Ctrl-C", signal_number=2)

    with pytest.raises(NumericError, match=r"epoch 2, step 5.*what epoch 1 left is kept"):
        train_digits(epochs=3, device="cpu", tell=stop)  # read when the stopped run is to be saved


def test_a_check_tells_a_refused_step(monkeypatch):
    real = TorchEngine.step

    def step(self, batch, lr, key, *rest):
        self.waits = False
        if key.step == 3:
            self._scale = self._scale * math.nan
        return real(self, batch, lr, key, *rest)

    monkeypatch.setattr(TorchEngine, "step", step)
    recipe = resolve(arch=parse_spec("mlp:width=8,depth=1"), flags={"--data": "digits"})
    by_heart = preflight(recipe, Settings(device="cpu")).verdicts[-1]
    assert not by_heart.passed
    assert "not finite" in by_heart.measured


def test_a_training_set_that_may_not_be_written_to_goes_to_the_device():
    images = np.zeros((4, 2, 2, 1), np.uint8)
    images.flags.writeable = False  # as IDX files are read; torch would warn
    assert DevicePictures(images, 0, np.zeros(1, np.uint8), torch.device("cpu")).images.shape == images.shape


@pytest.mark.gpu
@pytest.mark.parametrize("spec", ["fast:width=8", "cnn:width=4", "resnet:depth=8,width=4"])
def test_a_gpu_trains_as_the_cpu_does(train_digits, spec):
    """In fp64, which no hardware shortens: pictures, growth, Muon, rest, averages, clipping, the schedule."""
    recipe = ("train.precision=fp64", "data.image_size=32", "data.augment.flip=true", "data.augment.cutout=4",
              "train.clip_norm=5")  # fmt: skip
    cpu, gpu = (train_digits(spec, *recipe, device=device, name=device).rows for device in ("cpu", "cuda"))
    for one, other in zip(cpu, gpu, strict=True):
        assert other.objective == pytest.approx(one.objective, rel=1e-7)
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-6)


@pytest.mark.gpu
def test_fp32_on_a_gpu_is_not_shortened():
    """TF32 would be off by 1e-3."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(16, 32, 3), torch.nn.Flatten())
    exact = copy.deepcopy(net).double()
    images = np.random.default_rng(0).integers(0, 256, (8, 9, 9, 16), dtype=np.uint8)
    recipe = resolve(arch=parse_spec("mlp"))
    engine = TorchEngine(net, recipe.train, recipe.optim, mean=np.zeros(16), std=np.full(16, 255.0),
                         device=torch.device("cuda"), precision="fp32")  # fmt: skip
    with torch.no_grad():
        expected = exact(torch.from_numpy(images / 255).permute(0, 3, 1, 2)).numpy()
    assert np.abs(engine.predict(images) - expected).max() < 1e-5


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize(
    ("name", "assignments"),
    [("fast", []), ("airbench94", []), ("cnn", ["train.clip_norm=5", "data.augment.mixup=0.2"]), ("mlp", [])],
)
def test_the_host_waits_for_nothing_in_a_step(name, assignments):
    recipe = resolve(
        recipe=name, settings=["data.image_size=32", "train.batch_size=64", *assignments], flags={"--data": "digits"}
    )
    prepared = prepare(recipe, Settings(device="cuda"), load("digits", image_size=32), ALONE)
    made, engine = Batches(prepared).of(1, 0), prepared.engine
    for step in range(3):  # libraries, cuDNN's choices, room in the memory
        engine.step(next(made), 0.1, StepKey(0, 1, step), 0.1, step % 2 == 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(3, 6):
            engine.step(next(made), 0.1, StepKey(0, 1, step), 0.1, step % 2 == 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_trains_digits(cli, precision):
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

    def stop(event):
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    recipe = ("mlp:depth=1,width=16", f"optim.name={optimiser}", "train.precision=fp32")
    whole = train_digits(*recipe, name="whole", device=device)
    with pytest.raises(KeyboardInterrupt):
        train_digits(*recipe, name="cut", device=device, tell=stop)
    finished = resume(Path("runs/cut"), Settings(device=device))
    assert len(finished.rows) == 2
    assert finished.rows[1].objective == pytest.approx(whole.rows[1].objective, rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo's own question behind a graph break
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dropout", [0, 0.2])
def test_a_compiled_net_learns_the_same(train_digits, dropout, device):
    spec = f"mlp:depth=1,width=16,dropout={dropout}"
    plain = train_digits(spec, device=device).rows
    compiled = train_digits(spec, "train.compile=true", device=device).rows
    assert [row.objective for row in compiled] == pytest.approx([row.objective for row in plain], rel=1e-4)


def test_a_training_set_without_room_on_the_device_stays_on_the_host(monkeypatch):
    images = np.zeros((4, 2, 2, 1), np.uint8)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20, 100))
    assert not isinstance(picker(images, 0, np.zeros(1, np.uint8), torch.device("cuda")), DevicePictures)
    assert not isinstance(picker(images, 0, np.zeros(1, np.uint8), torch.device("cpu")), DevicePictures)
