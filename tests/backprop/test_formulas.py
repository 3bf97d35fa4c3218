"""Every layer against the lecture's scalar formulas, written as loops."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnlab import backprop

GEOMETRIES = [
    # input rows, columns; kernel; stride; padding
    ((5, 6), (3, 3), (1, 1), (1, 1)),
    ((6, 5), (3, 3), (2, 2), (1, 1)),
    ((7, 4), (2, 3), (1, 2), (0, 1)),
    ((7, 8), (2, 2), (3, 3), (0, 0)),
    ((4, 4), (2, 2), (2, 2), (1, 1)),
    ((3, 5), (3, 5), (1, 1), (0, 0)),
    ((5, 5), (1, 1), (2, 2), (0, 0)),
]


@pytest.fixture
def rng():
    return np.random.default_rng(20260)


def size(shape, kernel, stride, padding):
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape, kernel, stride, padding, strict=True))


@pytest.mark.parametrize("batch", [1, 4])
def test_linear(scalar, rng, batch):
    layer = backprop.Linear(5, 3, dtype=np.float64)
    x, delta = rng.standard_normal((batch, 5)), rng.standard_normal((batch, 3))
    z, dx, dw, db = scalar.linear(x, layer.weight, layer.bias, delta)
    assert_allclose(layer(x), z, rtol=1e-12)
    assert_allclose(layer.backward(delta), dx, rtol=1e-12, atol=1e-14)
    assert_allclose(layer.grads["weight"], dw, rtol=1e-12, atol=1e-14)
    assert_allclose(layer.grads["bias"], db, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), [*GEOMETRIES, ((3, 4), (2, 2), (1, 1), (2, 3))])
@pytest.mark.parametrize(("batch", "channels", "kernels"), [(2, 3, 2), (1, 1, 1)])
def test_conv2d(scalar, rng, shape, kernel, stride, padding, batch, channels, kernels):
    layer = backprop.Conv2d(channels, kernels, kernel, stride, padding, dtype=np.float64)
    x = rng.standard_normal((batch, channels, *shape))
    delta = rng.standard_normal((batch, kernels, *size(shape, kernel, stride, padding)))
    z, dx, dw, db = scalar.conv(x, layer.weight, layer.bias, delta, stride, padding)
    assert_allclose(layer(x), z, rtol=1e-11, atol=1e-13)
    assert_allclose(layer.backward(delta), dx, rtol=1e-11, atol=1e-13)
    assert_allclose(layer.grads["weight"], dw, rtol=1e-11, atol=1e-13)
    assert_allclose(layer.grads["bias"], db, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), [g for g in GEOMETRIES if g[3] <= g[1]])
@pytest.mark.parametrize("values", ["normal", "ties"])
def test_pooling(scalar, rng, shape, kernel, stride, padding, values):
    x = rng.standard_normal((2, 3, *shape)) if values == "normal" else rng.integers(-2, 1, (2, 3, *shape)).astype(float)
    delta = rng.standard_normal((2, 3, *size(shape, kernel, stride, padding)))
    for kind, formula in ((backprop.MaxPool2d, scalar.max_pool), (backprop.AvgPool2d, scalar.avg_pool)):
        layer = kind(kernel, stride, padding)
        z, dx = formula(x, delta, kernel, stride, padding)
        assert_allclose(layer(x), z, rtol=1e-12, atol=1e-15)
        assert_allclose(layer.backward(delta), dx, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("values", ["normal", "ties"])
def test_global_pooling_is_pooling_with_the_whole_map_as_window(scalar, rng, values):
    x = rng.standard_normal((2, 3, 4, 5)) if values == "normal" else rng.integers(-2, 1, (2, 3, 4, 5)).astype(float)
    delta = rng.standard_normal((2, 3, 1, 1))
    for kind, formula in (
        (backprop.AdaptiveMaxPool2d, scalar.max_pool),
        (backprop.AdaptiveAvgPool2d, scalar.avg_pool),
    ):
        layer = kind(1)
        z, dx = formula(x, delta, (4, 5), (1, 1), (0, 0))
        assert_allclose(layer(x), z, rtol=1e-13)
        assert_allclose(layer.backward(delta), dx, rtol=1e-13)


def test_a_window_of_more_places_than_a_byte_counts():
    x, layer = np.arange(258.0).reshape(1, 1, 1, 258), backprop.MaxPool2d((1, 257), stride=1)
    assert layer(x).tolist() == [[[[256.0, 257.0]]]]
    assert np.flatnonzero(layer.backward(np.ones((1, 1, 1, 2)))).tolist() == [256, 257]


def test_batch_norm(scalar, rng):
    layer = backprop.BatchNorm1d(3, eps=0.01, dtype=np.float64)
    layer.weight, layer.bias = rng.standard_normal(3), rng.standard_normal(3)
    x, delta = rng.standard_normal((6, 3)) * 2 + 1, rng.standard_normal((6, 3))
    y, dx, dgamma, dbeta = scalar.batch_norm(x, layer.weight, layer.bias, delta, 0.01)
    assert_allclose(layer(x), y, rtol=1e-12)
    assert_allclose(layer.backward(delta), dx, rtol=1e-10, atol=1e-13)
    assert_allclose(layer.grads["weight"], dgamma, rtol=1e-12)
    assert_allclose(layer.grads["bias"], dbeta, rtol=1e-12)


def test_batch_norm_2d_is_batch_norm_1d_over_all_positions(rng):
    x, delta = rng.standard_normal((2, 2, 4, 3, 5))
    flat, maps = backprop.BatchNorm1d(2, dtype=np.float64), backprop.BatchNorm2d(2, dtype=np.float64)

    def rows(array):
        return np.ascontiguousarray(array[:, :2].transpose(0, 2, 3, 1).reshape(-1, 2))

    x, delta = np.ascontiguousarray(x[:, :2]), np.ascontiguousarray(delta[:, :2])
    assert_allclose(rows(maps(x)), flat(rows(x)), rtol=1e-12)
    assert_allclose(rows(maps.backward(delta)), flat.backward(rows(delta)), rtol=1e-10, atol=1e-14)
    assert_allclose(maps.running_var, flat.running_var, rtol=1e-12)


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_cross_entropy(scalar, rng, epsilon):
    z, labels = rng.standard_normal((4, 3)), np.array([0, 2, 1, 2])
    smoothed = (1 - epsilon) * np.eye(3)[labels] + epsilon / 3
    loss = backprop.CrossEntropyLoss(label_smoothing=epsilon)
    value, dz = scalar.cross_entropy(z, smoothed)
    assert loss(z, labels) == pytest.approx(value, rel=1e-13)
    assert_allclose(loss.backward(), dz, rtol=1e-10, atol=1e-15)


def test_cross_entropy_of_weights_that_do_not_sum_to_one(scalar, rng):
    z, weights = rng.standard_normal((4, 3)), rng.uniform(0, 2, (4, 3))
    loss = backprop.CrossEntropyLoss()
    value, dz = scalar.cross_entropy(z, weights)
    assert loss(z, weights) == pytest.approx(value, rel=1e-13)
    assert_allclose(loss.backward(), dz, rtol=1e-10, atol=1e-15)


def test_half_squared_error(scalar, rng):
    a, y = rng.standard_normal((2, 4, 3))
    loss = backprop.HalfSquaredError()
    value, da = scalar.half_squared(a, y)
    assert loss(a, y) == pytest.approx(value, rel=1e-13)
    assert_allclose(loss.backward(), da, rtol=1e-13)


@pytest.mark.parametrize(
    ("layer", "f", "slope"),
    [
        (backprop.ReLU(), lambda z: max(z, 0.0), lambda z: float(z > 0)),
        (backprop.Sigmoid(), lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
        (backprop.Tanh(), np.tanh, lambda z: 1 / np.cosh(z) ** 2),
        (backprop.SiLU(), lambda z: z / (1 + np.exp(-z)), None),
        (backprop.Identity(), lambda z: z, lambda z: 1.0),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, backprop.Layer) else "",
)
def test_activations(layer, f, slope):
    z = np.array([[-3.0, -1.0, -0.5, 0.0], [0.25, 1.0, 2.0, 4.0]])
    delta = np.array([[1.0, -2.0, 3.0, 4.0], [-1.0, 0.5, 2.0, 1.0]])
    assert_allclose(layer(z), [[f(one) for one in row] for row in z], rtol=1e-14)
    if slope is None:

        def slope(one):
            return (f(one + 1e-6) - f(one - 1e-6)) / 2e-6

    expected = delta * [[slope(one) for one in row] for row in z]
    assert_allclose(layer.backward(delta), expected, rtol=1e-9)


def test_residual_adds_both_ways():
    body = backprop.Conv2d(1, 1, 1, bias=False, dtype=np.float64)
    body.weight = np.full((1, 1, 1, 1), 3.0)
    x, delta = np.ones((1, 1, 2, 2)), np.full((1, 1, 2, 2), 2.0)
    assert_allclose(backprop.Residual(body)(x), 4 * x)
    layer = backprop.Residual(body, shortcut=body)
    layer(x)
    assert_allclose(layer.backward(delta), 6 * delta)
