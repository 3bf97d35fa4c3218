"""Identities that hold for any shape: linearity, shift, and ⟨A x, y⟩ = ⟨x, Aᵀ y⟩."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from cnnlab import backprop


@st.composite
def convolutions(draw):
    """A convolution without bias, and an input that its window fits."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    least = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
    shape = tuple(draw(st.integers(one, one + 6)) for one in least)
    channels, kernels, batch = (draw(st.integers(1, 3)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    layer = backprop.Conv2d(channels, kernels, kernel, stride, padding, bias=False, dtype=np.float64, rng=rng)
    return layer, rng.standard_normal((batch, channels, *shape)), rng


@given(convolutions())
@settings(max_examples=60, deadline=None)
def test_convolution_backward_is_the_adjoint_of_forward(case):
    layer, x, rng = case
    z = layer(x)
    delta = rng.standard_normal(z.shape)
    forward = float((z * delta).sum())
    assert_allclose((x * layer.backward(delta)).sum(), forward, rtol=1e-10, atol=1e-10)
    assert_allclose((layer.weight * layer.grads["weight"]).sum(), forward, rtol=1e-10, atol=1e-10)


@given(convolutions())
@settings(max_examples=30, deadline=None)
def test_convolution_is_linear(case):
    layer, x, rng = case
    y = rng.standard_normal(x.shape)
    assert_allclose(layer(2 * x - 3 * y), 2 * layer(x) - 3 * layer(y), rtol=1e-9, atol=1e-11)


@given(st.integers(0, 1000), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_a_shifted_input_gives_a_shifted_output(seed, stride):
    rng = np.random.default_rng(seed)
    layer = backprop.Conv2d(2, 3, 3, stride, dtype=np.float64, rng=rng)
    x = rng.standard_normal((1, 2, 12, 12))
    assert_allclose(layer(x[:, :, stride:])[:, :, :2], layer(x)[:, :, 1:3], rtol=1e-12, atol=1e-13)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_mean_pooling_backward_is_the_adjoint_of_forward(seed, kernel, stride, padding):
    rng = np.random.default_rng(seed)
    layer = backprop.AvgPool2d(kernel, stride, min(padding, kernel // 2))
    x = rng.standard_normal((2, 2, kernel + 5, kernel + 3))
    z = layer(x)
    delta = rng.standard_normal(z.shape)
    assert_allclose((x * layer.backward(delta)).sum(), (z * delta).sum(), rtol=1e-10, atol=1e-10)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_max_pooling_loses_and_invents_no_delta(seed, kernel, stride):
    rng = np.random.default_rng(seed)
    layer = backprop.MaxPool2d(kernel, stride)
    z = layer(rng.integers(0, 3, (2, 2, kernel + 5, kernel + 3)).astype(np.float64))
    delta = rng.standard_normal(z.shape)
    assert_allclose(layer.backward(delta).sum(axis=(2, 3)), delta.sum(axis=(2, 3)), rtol=1e-10, atol=1e-12)


@given(st.integers(0, 1000), st.floats(0.05, 0.9))
@settings(max_examples=20, deadline=None)
def test_dropout_keeps_the_mean_and_drops_the_same_both_ways(seed, p):
    layer = backprop.Dropout(p, rng=np.random.default_rng(seed))
    x = np.ones((100, 100))
    y = layer(x)
    assert set(np.unique(y)) <= {0.0, 1 / (1 - p)}
    assert abs(y.mean() - 1) < 6 * np.sqrt(p / (1 - p)) / 100
    assert np.array_equal(layer.backward(x), y)
    assert np.array_equal(layer.eval()(x), x)
    layer.train()
