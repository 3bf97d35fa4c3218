"""A checkpoint's tensors that fit no training are refused before an optimiser meets them: it may crash the process."""

import numpy as np
import pytest
import torch

from cnnlab.errors import CheckpointError
from cnnlab.models.registry import build
from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training.engines.base import Batch, StepKey
from cnnlab.training.engines.numpy import NumpyEngine
from cnnlab.training.engines.torch import TorchEngine


def make_engine(kind, optimiser):
    recipe = resolve(arch=parse_spec("mlp:depth=1,width=4"), settings=[f"optim.name={optimiser}", "train.ema=0.9"])
    net = build(recipe.model, 1, 3, (4, 4))
    levels = {"mean": np.array([100.0]), "std": np.array([50.0])}
    if kind == "numpy":
        return NumpyEngine(net, recipe.train, recipe.optim, **levels)
    device = torch.device("cpu")
    return TorchEngine(net, recipe.train, recipe.optim, **levels, device=device, precision="fp32")


def batch():
    rng = np.random.default_rng(0)
    return Batch(rng.integers(0, 256, (8, 4, 4, 1), dtype=np.uint8), rng.integers(0, 3, 8))


@pytest.fixture(params=["torch", "numpy"])
def kind(request):
    return request.param


def test_what_an_engine_gave_it_takes(kind):
    for optimiser in ("sgd", "adam", "adamw"):
        engine, other = make_engine(kind, optimiser), make_engine(kind, optimiser)
        engine.step(batch(), 0.1, StepKey(0, 1, 0))
        other.load_training_state(engine.training_state())
        assert engine.step(batch(), 0.1, StepKey(0, 1, 1)) == other.step(batch(), 0.1, StepKey(0, 1, 1))


WRONG = {
    "a scalar instead of an array": lambda key, array: np.float32(0) if key != "step" else array,
    "another type": lambda key, array: array.astype(np.int64) if key != "step" else array.astype(np.bool_),
    "twice the precision": lambda key, array: array.astype(np.float64) if key != "step" else -np.ones_like(array),
    "one too few": lambda key, array: None,
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize(
    ("optimiser", "key"), [("sgd", "momentum_buffer"), ("adam", "exp_avg"), ("adam", "exp_avg_sq"), ("adamw", "step")]
)
def test_an_optimisers_state_that_does_not_fit(kind, optimiser, key, what):
    if key == "step" and what.startswith("a scalar"):
        pytest.skip("a count is one")
    engine = make_engine(kind, optimiser)
    engine.step(batch(), 0.1, StepKey(0, 1, 0))
    state = engine.training_state()
    name = f"optimizer.{key}.fc1.weight"
    changed = WRONG[what](key, state.pop(name))
    state |= {} if changed is None else {name: np.asarray(changed)}
    with pytest.raises(CheckpointError, match=r"fc1\.weight"):
        make_engine(kind, optimiser).load_training_state(state)


@pytest.mark.parametrize("extra", ["optimizer.other.fc1.weight", "optimizer.exp_avg.fc9.weight", "what\x1b[31m"])
def test_tensors_that_no_training_has(kind, extra):
    engine = make_engine(kind, "adam")
    engine.step(batch(), 0.1, StepKey(0, 1, 0))
    state = engine.training_state() | {extra: np.zeros(3, np.float32)}
    with pytest.raises(CheckpointError, match="unknown to this net") as caught:
        make_engine(kind, "adam").load_training_state(state)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.bool_, np.complex64, np.uint8])
def test_weights_of_another_type(kind, dtype):
    engine = make_engine(kind, "sgd")
    weights = engine.weights() | {"fc1.weight": np.ones((4, 16), dtype)}
    with pytest.raises(CheckpointError, match=r"fc1\.weight of the checkpoint is of type"):
        engine.load_weights(weights)


def test_weights_in_twice_the_precision_are_taken(kind):
    engine = make_engine(kind, "sgd")
    engine.load_weights({name: array.astype(np.float64) if array.dtype.kind == "f" else array
                         for name, array in engine.weights().items()})  # fmt: skip
