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
    "AdaptiveMaxPool2d": ((1,), (5, 3, 4, 6)),
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
        assert array.dtype == state[name].numpy().dtype, name


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


@pytest.mark.parametrize(("own", "dtype"), [(np.float32, np.float64), (np.float64, np.float32)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_all_is_in_the_dtype_of_the_input_whatever_that_of_the_parameters(name, training, own, dtype):
    arguments, shape = LAYERS[name]
    options = {"dtype": own} if getattr(backprop, name).parameter_names else {}
    layer = getattr(backprop, name)(*arguments, **options).train(training)
    y = layer(np.random.default_rng(0).standard_normal(shape).astype(dtype))
    assert y.dtype == layer.backward(y).dtype == dtype
    assert all(grad.dtype == dtype for grad in layer.grads.values())
    assert all(array.dtype in (own, np.int64) for array in layer.state_dict().values())


@pytest.mark.parametrize("kernel", [2, (3, 2)])
@pytest.mark.parametrize("kind", ["MaxPool2d", "AvgPool2d"])
def test_a_pooling_window_moves_by_its_own_size_where_no_stride_is_given(kind, kernel):
    compare(getattr(backprop, kind)(kernel), getattr(nn, kind)(kernel), np.random.default_rng(0).random((2, 3, 9, 8)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_input_and_delta_are_left_as_they_are(name, training, dtype):
    arguments, shape = LAYERS[name]
    rng = np.random.default_rng(0)
    layer = getattr(backprop, name)(*arguments).train(training)
    x = rng.standard_normal(shape).astype(dtype)
    given = x.copy()
    delta = rng.standard_normal(layer(x).shape).astype(dtype)
    upstream = delta.copy()
    layer.backward(delta)
    assert np.array_equal(x, given)
    assert np.array_equal(delta, upstream)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(backprop.Linear(7, 5, bias=False), (9, 7)), (backprop.Conv2d(3, 4, 3, bias=False), (5, 3, 4, 6))],
)
def test_without_a_bias_there_is_no_gradient_of_it(layer, shape):
    layer.backward(layer(np.ones(shape)))
    assert layer.grads.keys() == layer.state_dict().keys() == {"weight"}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_of_the_last_backward_alone(name):
    arguments, shape = LAYERS[name]
    rng = np.random.default_rng(0)
    layer, x = getattr(backprop, name)(*arguments), rng.standard_normal(shape)
    delta = rng.standard_normal(layer(x).shape)
    below = layer.backward(delta)
    first = {key: grad.copy() for key, grad in layer.grads.items()}
    assert np.array_equal(layer.backward(delta), below)
    for key, grad in layer.grads.items():
        assert np.array_equal(grad, first[key])


@pytest.mark.parametrize("layer", [backprop.BatchNorm1d(3), backprop.Dropout(0.5, rng=np.random.default_rng(1))])
def test_backward_belongs_to_the_mode_of_its_forward(layer):
    rng = np.random.default_rng(0)
    x, delta = rng.standard_normal((6, 3)), rng.standard_normal((6, 3))
    layer(x)
    expected = layer.backward(delta)
    layer.eval()
    assert np.array_equal(layer.backward(delta), expected)
    layer(x)
    assert not np.array_equal(layer.backward(delta), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(dtype, offset, smoothing):
    """Class numbers and soft targets; e^1000 is beyond any float."""
    rng = np.random.default_rng(0)
    z = (3 * rng.standard_normal((5, 4)) + offset).astype(dtype)
    tensor = torch.from_numpy(z).requires_grad_()
    own = backprop.CrossEntropyLoss(label_smoothing=smoothing)
    for target in (np.array([0, 3, 1, 1, 2]), rng.dirichlet(np.ones(4), 5).astype(dtype)):
        tensor.grad = None
        loss = nn.functional.cross_entropy(tensor, torch.from_numpy(target), label_smoothing=smoothing)
        loss.backward()
        assert own(z, target) == pytest.approx(loss.item(), rel=TOLERANCE[dtype])
        below = own.backward()
        assert below.dtype == dtype
        assert_allclose(below, tensor.grad.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_half_squared_error_is_half_of_torchs_sum(dtype):
    rng = np.random.default_rng(0)
    a, y = rng.standard_normal((2, 5, 4)).astype(dtype)
    tensor = torch.from_numpy(a).requires_grad_()
    loss = 0.5 * nn.functional.mse_loss(tensor, torch.from_numpy(y), reduction="sum") / 5
    loss.backward()
    own = backprop.HalfSquaredError()
    assert own(a, y) == pytest.approx(loss.item(), rel=TOLERANCE[dtype])
    below = own.backward()
    assert below.dtype == dtype
    assert_allclose(below, tensor.grad.numpy(), rtol=TOLERANCE[dtype])


@pytest.mark.parametrize(("layer", "fan_in"), [(backprop.Linear(400, 300), 400), (backprop.Conv2d(16, 64, 5), 400)])
def test_initial_values_are_torchs_default(layer, fan_in):
    """U(−1/√fan_in, 1/√fan_in), of deviation 1/√(3 fan_in)."""
    for array in (layer.weight, layer.bias):
        assert array.dtype == np.float32
        assert np.abs(array).max() <= np.float32(1 / np.sqrt(fan_in))
    assert layer.weight.std() == pytest.approx(1 / np.sqrt(3 * fan_in), rel=0.02)
    assert abs(layer.weight.mean()) < 1e-3


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
