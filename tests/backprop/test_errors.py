"""Wrong input is refused with the layer and the shape in the message."""

import re

import numpy as np
import pytest

from cnnlab import backprop
from cnnlab.errors import NumericError, UsageError

X = np.zeros((2, 3, 6, 5))

LAYERS = [
    (backprop.Linear(5, 2), (4, 5)),
    (backprop.Conv2d(3, 4, 3), X.shape),
    (backprop.MaxPool2d(2), X.shape),
    (backprop.AvgPool2d(2), X.shape),
    (backprop.AdaptiveMaxPool2d(1), X.shape),
    (backprop.AdaptiveAvgPool2d(1), X.shape),
    (backprop.BatchNorm1d(3), (4, 3)),
    (backprop.BatchNorm2d(3), X.shape),
    (backprop.Dropout(0.5), X.shape),
    (backprop.Flatten(), X.shape),
    (backprop.ReLU(), X.shape),
    (backprop.Sigmoid(), X.shape),
    (backprop.Tanh(), X.shape),
    (backprop.GELU(), X.shape),
    (backprop.SiLU(), X.shape),
    (backprop.Identity(), X.shape),
    (backprop.Residual(backprop.Tanh()), X.shape),
    (backprop.Sequential(backprop.Identity()), X.shape),
]
every_layer = pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=[type(layer).__name__ for layer, _ in LAYERS])


def test_no_layer_is_left_out():
    kinds = {value for value in vars(backprop).values() if isinstance(value, type)}
    known = {kind for kind in kinds if issubclass(kind, backprop.Layer)} - {backprop.Layer}
    assert {type(layer) for layer, _ in LAYERS} == known


def shown(shape):
    """A shape as a message has it, for a regular expression."""
    return re.escape(str(shape))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: backprop.Conv2d(3, 4, 3, stride=0), "Conv2d: stride must be an integer of at least 1, .* received 0"),
        (lambda: backprop.Conv2d(3, 4, 0), "Conv2d: kernel_size .* received 0"),
        (lambda: backprop.Conv2d(3, 4, 3, padding=-1), "Conv2d: padding .* at least 0, .* received -1"),
        (lambda: backprop.Conv2d(3, 4, (3, 3, 3)), r"Conv2d: kernel_size .* received \(3, 3, 3\)"),
        (lambda: backprop.Conv2d(0, 4, 3), "Conv2d: in_channels .* received 0"),
        (lambda: backprop.MaxPool2d(2, stride=0), "MaxPool2d: stride .* received 0"),
        (lambda: backprop.MaxPool2d(2, padding=2), "MaxPool2d: padding may be at most half of kernel_size 2"),
        (lambda: backprop.Linear(3, 2.5), "Linear: out_features .* received 2.5"),
        (lambda: backprop.AdaptiveAvgPool2d(7), "AdaptiveAvgPool2d: only an output_size of 1 .* received 7"),
        (lambda: backprop.Dropout(1.0), r"Dropout: p must be in \[0, 1\), received 1.0"),
        (lambda: backprop.Dropout("x"), r"Dropout: p must be a number in \[0, 1\], received 'x'"),
        (lambda: backprop.Dropout(float("nan")), "Dropout: p must be a number .* received nan"),
        (lambda: backprop.CrossEntropyLoss(label_smoothing=2), "label_smoothing must be .* received 2"),
        (lambda: backprop.CrossEntropyLoss(np.ones(4)), "CrossEntropyLoss: label_smoothing must be a number"),
        (
            lambda: backprop.BatchNorm2d(3, eps=-1e-5),
            r"BatchNorm2d: eps must be a number in \[0, inf\], received -1e-05",
        ),
        (lambda: backprop.BatchNorm2d(3, eps=float("inf")), "BatchNorm2d: eps .* received inf"),
        (lambda: backprop.BatchNorm1d(3, eps=float("nan")), "BatchNorm1d: eps .* received nan"),
        (lambda: backprop.BatchNorm2d(3, momentum=None), "BatchNorm2d: momentum must be a number .* received None"),
        (lambda: backprop.BatchNorm2d(3, momentum=1.5), "BatchNorm2d: momentum .* received 1.5"),
        (lambda: backprop.Sequential({"a": 3}), "Sequential expects layers"),
        (lambda: backprop.Residual(None), "Residual expects a layer.* received NoneType and NoneType"),
        (lambda: backprop.Residual(backprop.ReLU(), "x"), "Residual expects .* received ReLU and str"),
        (lambda: backprop.Linear(2, 2, dtype="junk"), "expected float32 or float64, received 'junk'"),
        (lambda: backprop.Linear(2, 2, dtype=np.int64), "expected float32 or float64, received int64"),
    ],
)
def test_arguments(make, told):
    with pytest.raises(UsageError, match=told):
        make()


def test_what_stands_elsewhere_in_torchs_order_is_given_by_name():
    """torch's fourth argument of AvgPool2d is ceil_mode, of SGD dampening: neither may be taken for another."""
    with pytest.raises(TypeError, match="positional argument"):
        backprop.AvgPool2d(2, 2, 1, False)
    with pytest.raises(TypeError, match="positional argument"):
        backprop.SGD([], 0.1, 0.9, 0, 5e-4)


@pytest.mark.parametrize(
    ("layer", "x", "told"),
    [
        (
            backprop.Conv2d(3, 4, 7),
            X,
            r"Conv2d\(3, 4, .*window of 7×7 is larger than the input of shape \(2, 3, 6, 5\)",
        ),
        (backprop.MaxPool2d(6), X, r"MaxPool2d.*window of 6×6 is larger than the input of shape \(2, 3, 6, 5\)"),
        (backprop.Conv2d(2, 4, 3), X, r"Conv2d.* expects 2 input channels, received an input of \(2, 3, 6, 5\)"),
        (backprop.Conv2d(3, 4, 3), X[0], r"Conv2d.*\(N, in_channels, H, W\), received \(3, 6, 5\)"),
        (backprop.Linear(5, 2), np.zeros((2, 4)), r"Linear\(5, 2\) expects .*\(N, 5\), received \(2, 4\)"),
        (backprop.BatchNorm2d(4), X, r"BatchNorm2d\(4.* expects 4 channels and 4 axes, received \(2, 3, 6, 5\)"),
        (backprop.BatchNorm1d(3), np.zeros((1, 3)), "more than one value a channel in training"),
        (backprop.BatchNorm2d(3), np.zeros((1, 3, 1, 1)), "received 1 images of 1 values a channel"),
        (backprop.AvgPool2d(3, stride=1), X[:, :, :, :2], r"AvgPool2d.*window of 3×3 .* input of shape \(2, 3, 6, 2\)"),
        (
            backprop.MaxPool2d((9, 2), padding=(1, 1)),
            X,
            r"window of 9×2 is larger than .* \(2, 3, 6, 5\), 8×7 with its padding",
        ),
        (backprop.AvgPool2d(2), X[0], r"AvgPool2d.*\(N, C, H, W\), received \(3, 6, 5\)"),
        (backprop.AdaptiveMaxPool2d(1), X[0], r"AdaptiveMaxPool2d.*\(N, C, H, W\), received \(3, 6, 5\)"),
        (backprop.AdaptiveAvgPool2d(1), X[0], r"AdaptiveAvgPool2d.*\(N, C, H, W\), received \(3, 6, 5\)"),
        (backprop.Linear(5, 2), X, r"Linear.*\(N, in_features\), received \(2, 3, 6, 5\)"),
        (backprop.Flatten(), np.zeros(3), r"Flatten\(\) expects an input of at least two axes, received \(3,\)"),
        (backprop.Flatten(), np.array(3.0), r"Flatten\(\) .* received \(\)"),
        (backprop.ReLU(), np.zeros((0, 3)), r"ReLU\(\) received an empty input of shape \(0, 3\)"),
        (
            backprop.Residual(backprop.Conv2d(3, 3, 3)),
            X,
            r"F\(x\) has shape \(2, 3, 4, 3\), the shortcut \(2, 3, 6, 5\)",
        ),
    ],
)
def test_shapes(layer, x, told):
    with pytest.raises(UsageError, match=told) as caught:
        layer(x)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.complex128, np.uint8, bool])
@every_layer
def test_dtypes(layer, shape, dtype):
    told = rf"{type(layer).__name__}.* float32 or float64 input, received {np.dtype(dtype)} {shown(shape)}"
    with pytest.raises(UsageError, match=told):
        layer(np.zeros(shape, dtype))


@every_layer
def test_a_list_is_no_array(layer, shape):
    with pytest.raises(TypeError, match=rf"{type(layer).__name__}.* expects a NumPy array as input, received list"):
        layer(np.zeros(shape).tolist())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@every_layer
def test_values_that_are_not_finite(layer, shape, value):
    x = np.random.default_rng(0).standard_normal(shape)
    delta = np.ones_like(layer(x))
    delta.flat[-1] = value
    with pytest.raises(NumericError, match=rf"{type(layer).__name__}.* 1 values? .*not finite in a delta"):
        layer.backward(delta)
    x.flat[-1] = value
    with pytest.raises(NumericError, match=rf"{type(layer).__name__}.* 1 values? .*not finite.* {shown(shape)}"):
        layer(x)


@every_layer
def test_a_delta_of_another_shape_or_dtype(layer, shape):
    z = layer(np.random.default_rng(0).standard_normal(shape))
    with pytest.raises(UsageError, match=rf"{type(layer).__name__}.* output's shape {shown(z.shape)}, received"):
        layer.backward(np.zeros((*z.shape, 1)))
    with pytest.raises(UsageError, match=rf"{type(layer).__name__}.* output's dtype float64, received float32"):
        layer.backward(np.zeros(z.shape, np.float32))


def test_two_values_a_channel_are_enough_for_batch_norm():
    y = backprop.BatchNorm1d(1, eps=0.0)(np.array([[1.0], [3.0]]))
    assert y.tolist() == [[-1.0], [1.0]]


def test_large_finite_values_are_no_error():
    x = np.full((1, 4), 3e38, np.float32)  # their sum overflows
    assert np.array_equal(backprop.Identity()(x), x)


def test_delta():
    layer = backprop.Conv2d(3, 4, 3)
    with pytest.raises(UsageError, match=r"Conv2d.* backward before forward"):
        layer.backward(np.zeros((2, 4, 4, 3)))
    layer(X)
    with pytest.raises(UsageError, match=r"output's shape \(2, 4, 4, 3\), received \(2, 4, 3, 4\)"):
        layer.backward(np.zeros((2, 4, 3, 4)))
    with pytest.raises(UsageError, match="output's dtype float64, received float32"):
        layer.backward(np.zeros((2, 4, 4, 3), np.float32))


def test_an_assigned_parameter_of_a_wrong_shape():
    layer = backprop.Conv2d(3, 4, 3)
    layer.weight = np.zeros((3, 4, 3, 3))
    with pytest.raises(UsageError, match=r"Conv2d.* expects weight of shape \(4, 3, 3, 3\), received \(3, 4, 3, 3\)"):
        layer(X)


@pytest.mark.parametrize("dtype", [object, str, np.complex128, bool])
def test_an_assigned_parameter_of_a_wrong_dtype(dtype):
    layer = backprop.Conv2d(3, 4, 3)
    layer.weight = np.ones((4, 3, 3, 3)).astype(dtype)
    with pytest.raises(UsageError, match=r"Conv2d.* expects weight as float32 or float64, received .*\(4, 3, 3, 3\)"):
        layer(X)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_assigned_statistics(name, training):
    layer = backprop.BatchNorm2d(3).train(training)
    for value, told in ((np.ones(4), r"shape \(3,\), received \(4,\)"), (None, "received \\(\\)"), (["a"] * 3, "<U1")):
        setattr(layer, name, value)
        with pytest.raises(UsageError, match=rf"BatchNorm2d.* expects {name} .*{told}"):
            layer(X)
    setattr(layer, name, [1.0, 2.0, 3.0])
    assert layer(X).shape == X.shape


def test_a_negative_variance():
    layer = backprop.BatchNorm2d(3).eval()
    layer.running_var = np.array([1.0, -1.0, 1.0])
    with pytest.raises(NumericError, match=r"BatchNorm2d.* running_var of at least 0, received -1"):
        layer(X)


@pytest.mark.parametrize("loss", [backprop.CrossEntropyLoss(), backprop.HalfSquaredError()], ids=str)
def test_targets_that_are_no_numbers(loss):
    z = np.zeros((3, 4))
    for dtype in (object, str, np.complex128, "M8[s]"):
        with pytest.raises(UsageError, match=rf"{type(loss).__name__}.* target of real numbers, received .*\(3, 4\)"):
            loss(z, np.zeros((3, 4), dtype))
    with pytest.raises(UsageError, match=rf"{type(loss).__name__}.* target of shape \(3, 4\): .*inhomogeneous"):
        loss(z, [[1], [1, 2], [3]])


def test_a_step_before_a_backward():
    parameters = backprop.Linear(3, 2).parameters()
    for use in (backprop.SGD(parameters).step, lambda: backprop.clip_grad_norm(parameters, 1.0)):
        with pytest.raises(UsageError, match=r"Linear\(3, 2\) has no gradient of weight") as caught:
            use()
        assert "backward" in caught.value.hint


def test_no_dtype_is_torchs_default():
    assert backprop.Conv2d(1, 1, 1, dtype=None).weight.dtype == np.float32
    layer = backprop.BatchNorm2d(1, dtype=None)
    assert layer.weight.dtype == layer.bias.dtype == layer.running_var.dtype == np.float32


def test_targets():
    loss = backprop.CrossEntropyLoss()
    z = np.zeros((3, 4))
    with pytest.raises(UsageError, match="labels from 0 to 3, received 0 to 4"):
        loss(z, np.array([0, 1, 4]))
    with pytest.raises(UsageError, match="expects 3 labels, received 2"):
        loss(z, np.array([0, 1]))
    with pytest.raises(UsageError, match="labels from 0 to 3, received -1 to 1"):
        loss(z, np.array([0, 1, -1]))
    with pytest.raises(UsageError, match=r"target of shape \(3, 4\), or 3 class numbers .* received float64 \(3, 5\)"):
        loss(z, np.zeros((3, 5)))
    with pytest.raises(UsageError, match=r"3 class numbers as integers; received float64 \(3,\)"):
        loss(z, np.zeros(3))
    with pytest.raises(NumericError, match=r"target of shape \(3, 4\) that is not finite"):
        loss(z, np.full((3, 4), np.inf))
    with pytest.raises(NumericError, match="not finite"):
        loss(np.full((3, 4), np.nan), np.array([0, 1, 2]))


@pytest.mark.parametrize("loss", [backprop.CrossEntropyLoss(), backprop.HalfSquaredError()], ids=str)
def test_outputs(loss):
    name, target = type(loss).__name__, np.array([0, 1, 2])
    with pytest.raises(UsageError, match=rf"{name}.* backward before forward"):
        loss.backward()
    with pytest.raises(UsageError, match=rf"{name}.* float32 or float64 array as output, received int64"):
        loss(np.zeros((3, 4), np.int64), target)
    with pytest.raises(UsageError, match=rf"{name}.* output of shape \(N, K\), received \(3, 4, 1\)"):
        loss(np.zeros((3, 4, 1)), target)
    with pytest.raises(UsageError, match=rf"{name}.* output of shape \(N, K\), received \(0, 4\)"):
        loss(np.zeros((0, 4)), target[:0])


def test_states_of_another_layer():
    layer = backprop.Linear(2, 3)
    with pytest.raises(UsageError, match="lacks bias"):
        layer.load_state_dict({"weight": layer.weight})
    with pytest.raises(UsageError, match="has scale, which this layer has not"):
        layer.load_state_dict({**layer.state_dict(), "scale": np.zeros(1)})
    with pytest.raises(UsageError, match=r"weight has shape \(3, 2\), received \(2, 3\)"):
        layer.load_state_dict({"weight": layer.weight.T, "bias": layer.bias})
