"""One helper compares shape, dtype, output, gradients and buffers with torch, for every layer and both dtypes."""

import copy
import inspect

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from cnnlab import backprop
from cnnlab.backprop.parallel import threads

LAYERS = {
    "Linear": ((7, 5), (9, 7)),
    "Conv2d": ((3, 4, 3, 2, 1), (70, 3, 9, 8)),
    "MaxPool2d": ((3, 2, 1), (70, 3, 9, 8)),
    "AvgPool2d": ((3, 2, 1), (70, 3, 9, 8)),
    "AdaptiveAvgPool2d": ((1,), (5, 3, 4, 6)),
    "BatchNorm1d": ((4,), (9, 4)),
    "BatchNorm2d": ((3,), (70, 3, 9, 8)),
    "Flatten": ((), (5, 3, 4, 6)),
    **dict.fromkeys(("ReLU", "Sigmoid", "Tanh", "GELU", "SiLU", "Identity"), ((), (5, 3, 4, 6))),
}
TOLERANCE = {np.float32: 2e-4, np.float64: 1e-11}


def compare(layer, twin, x):
    """Forward and backward of both, with a random upstream gradient."""
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in layer.state_dict().items()})
    expected = twin(tensor)
    delta = np.random.default_rng(1).standard_normal(tuple(expected.shape)).astype(x.dtype)
    expected.backward(torch.from_numpy(delta))
    close = {"rtol": TOLERANCE[x.dtype.type], "atol": TOLERANCE[x.dtype.type]}
    output = layer(x)
    below = layer.backward(delta)
    assert output.shape == tuple(expected.shape)
    assert below.shape == x.shape
    assert output.dtype == below.dtype == x.dtype
    assert_allclose(output, expected.detach().numpy(), **close)
    assert_allclose(below, tensor.grad.numpy(), **close)
    gradients = dict(twin.named_parameters())
    names = [name for name, _ in layer.named_parameters()]
    assert names == list(gradients)
    for name, parameter in layer.named_parameters():
        assert parameter.grad.dtype == x.dtype
        assert_allclose(parameter.grad, gradients[name].grad.numpy(), err_msg=name, **close)
    state = twin.state_dict()
    assert list(layer.state_dict()) == list(state)
    for name, array in layer.state_dict().items():
        assert_allclose(array, state[name].numpy(), err_msg=name, **close)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, training, dtype):
    arguments, shape = LAYERS[name]
    layer, twin = getattr(backprop, name)(*arguments), getattr(nn, name)(*arguments)
    layer.load_state_dict(
        {key: value.astype(dtype) for key, value in layer.state_dict().items() if value.ndim}
        | {key: value for key, value in layer.state_dict().items() if not value.ndim}
    )
    twin.to(torch.float32 if dtype == np.float32 else torch.float64)
    layer.train(training)
    twin.train(training)
    compare(layer, twin, np.random.default_rng(0).standard_normal(shape).astype(dtype))


@pytest.mark.parametrize("name", [*LAYERS, "Dropout", "CrossEntropyLoss"])
def test_arguments_have_torchs_names_and_defaults(name):
    """Every argument but `rng` is torch's, in torch's order, with torch's default."""
    own = inspect.signature(getattr(backprop, name).__init__).parameters
    theirs = inspect.signature(getattr(nn, name).__init__).parameters
    if name == "AvgPool2d":
        theirs = {key: value for key, value in theirs.items() if key != "ceil_mode"}
    shared = [key for key in own if key not in ("rng", "dtype", "bias")]
    assert shared == [key for key in theirs if key in shared]
    for key in own:
        if key in ("rng", "dtype"):  # torch's dtype None means float32
            assert own[key].kind is inspect.Parameter.KEYWORD_ONLY
        else:
            assert own[key].default == theirs[key].default, key


def test_a_batch_split_over_threads_gives_what_one_thread_gives():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((33, 4, 16, 15)).astype(np.float32)
    results, before = [], threads()
    for count in (1, 2, 3):
        backprop.set_threads(count)
        layers = [backprop.Conv2d(4, 8, 3, padding=1, rng=np.random.default_rng(5)), backprop.BatchNorm2d(8)]
        net = backprop.Sequential(*layers, backprop.MaxPool2d(2), backprop.AvgPool2d(2))
        y = net(x)
        results.append((y, net.backward(np.ones_like(y)), layers[0].grads["weight"]))
    backprop.set_threads(before)
    for arrays in zip(*results, strict=True):
        assert_allclose(arrays[1], arrays[0], rtol=1e-4, atol=1e-3)
        assert_allclose(arrays[2], arrays[0], rtol=1e-4, atol=1e-3)


def test_the_same_step_twice_is_the_same_bit_for_bit():
    x = np.random.default_rng(3).standard_normal((64, 3, 20, 20)).astype(np.float32)
    layer = backprop.Conv2d(3, 16, 3, padding=1)
    runs = []
    for _ in range(2):
        y = layer(x)
        runs.append((y, layer.backward(y), layer.grads["weight"], layer.grads["bias"]))
    for first, second in zip(*runs, strict=True):
        assert np.array_equal(first, second)


def test_a_layer_may_see_other_shapes_and_dtypes_between():
    """Buffers are kept from call to call: nothing of an earlier one may show."""
    rng = np.random.default_rng(4)
    layer, fresh = (backprop.Conv2d(2, 3, 3, stride=2, padding=1, rng=np.random.default_rng(5)) for _ in range(2))
    for shape, dtype in (((5, 2, 8, 9), np.float32), ((70, 2, 5, 4), np.float64)):
        layer(np.full(shape, 7, dtype))
        layer.backward(np.full_like(layer(np.full(shape, 7, dtype)), 5))
    x = rng.standard_normal((3, 2, 8, 9)).astype(np.float32)
    delta = rng.standard_normal((3, 3, 4, 5)).astype(np.float32)
    assert np.array_equal(layer(x), fresh(x))
    assert np.array_equal(layer.backward(delta), fresh.backward(delta))


def test_outputs_are_not_overwritten_by_the_next_call():
    rng = np.random.default_rng(6)
    for name, (arguments, shape) in LAYERS.items():
        layer = getattr(backprop, name)(*arguments)
        first = layer(rng.standard_normal(shape))
        kept = first.copy()
        layer(rng.standard_normal(shape))
        assert np.array_equal(first, kept), name


def test_a_copied_layer_is_independent():
    x = np.random.default_rng(7).standard_normal((2, 2, 5, 5))
    layer = backprop.Conv2d(2, 3, 3, padding=1)
    y = layer(x)
    twin = copy.deepcopy(layer)
    assert np.array_equal(twin(2 * x), layer(2 * x))
    twin.weight *= 0
    assert np.array_equal(layer(x), y)
