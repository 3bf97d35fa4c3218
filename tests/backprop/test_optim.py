"""Optimisers and clipping, step by step against torch."""

import inspect

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cnnlab import backprop
from cnnlab.errors import UsageError

KINDS = [
    (backprop.SGD, torch.optim.SGD, {"lr": 0.1}),
    (backprop.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (backprop.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (backprop.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.02}),
    (backprop.Adam, torch.optim.Adam, {"lr": 0.01}),
    (backprop.Adam, torch.optim.Adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (backprop.AdamW, torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-5)])
@pytest.mark.parametrize(("own", "theirs", "options"), KINDS)
def test_five_steps(own, theirs, options, dtype, tolerance):
    rng = np.random.default_rng(0)
    layer = backprop.Linear(3, 2, dtype=dtype)
    tensors = [torch.from_numpy(one.value.copy()).requires_grad_() for one in layer.parameters()]
    ours, reference = own(layer.parameters(), **options), theirs(tensors, **options)
    for step in range(5):
        for name, tensor in zip(("weight", "bias"), tensors, strict=True):
            layer.grads[name] = rng.standard_normal(tensor.shape).astype(dtype)
            tensor.grad = torch.from_numpy(layer.grads[name].copy())
        if step == 3:
            for group in (*ours.param_groups, *reference.param_groups):
                group["lr"] *= 0.5
        ours.step()
        reference.step()
        assert layer.weight.dtype == layer.bias.dtype == dtype
        # Values that a step brings near 0 keep the rounding of what they were: tolerance of 0.01 as well.
        assert_allclose(layer.weight, tensors[0].detach().numpy(), rtol=tolerance, atol=0.01 * tolerance)
        assert_allclose(layer.bias, tensors[1].detach().numpy(), rtol=tolerance, atol=0.01 * tolerance)


@pytest.mark.parametrize(("own", "theirs"), sorted({kind[:2] for kind in KINDS}, key=str))
def test_defaults_are_torchs(own, theirs):
    """But that decay is optional in AdamW alone: a default that differs would be a silent change of method."""
    reference = inspect.signature(theirs.__init__).parameters
    parameters = list(inspect.signature(own.__init__).parameters.values())[2:]
    assert {one.name: one.default for one in parameters} == {
        one.name: reference[one.name].default for one in parameters
    }


@pytest.mark.parametrize(("own", "theirs", "options"), KINDS)
def test_a_step_leaves_the_gradients_as_they_are(own, theirs, options):
    layer = backprop.Linear(3, 2, dtype=np.float64)
    layer.grads = {"weight": np.arange(6.0).reshape(2, 3), "bias": np.array([0.5, -2.0])}
    kept = {name: grad.copy() for name, grad in layer.grads.items()}
    optimizer = own(layer.parameters(), **options)
    for _ in range(3):
        optimizer.step()
    for name, grad in kept.items():
        assert np.array_equal(layer.grads[name], grad)


def test_a_parameter_is_changed_in_place():
    """Whoever holds the array sees the step."""
    layer = backprop.Linear(3, 2)
    weight = layer.weight
    layer.grads = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, np.float32)}
    before = weight.copy()
    backprop.SGD(layer.parameters(), lr=0.5).step()
    assert layer.weight is weight
    assert_allclose(weight, before - 0.5)


def test_groups_have_their_own_weight_decay_and_rate():
    layer = backprop.Linear(3, 2, dtype=np.float64)
    weight, bias = layer.parameters()
    before = layer.state_dict()
    optimizer = backprop.SGD(
        [{"params": [weight], "weight_decay": 0.5}, {"params": [bias], "weight_decay": 0.0, "lr": 0.3}], lr=0.1
    )
    layer.grads = {"weight": np.zeros((2, 3)), "bias": np.zeros(2)}
    optimizer.step()
    assert_allclose(layer.weight, 0.95 * before["weight"])
    assert np.array_equal(layer.bias, before["bias"])
    layer.grads["bias"] = np.ones(2)
    optimizer.step()
    assert_allclose(layer.bias, before["bias"] - 0.3)


@pytest.mark.parametrize("limit", [1e-6, 0.7, 1.0])
@pytest.mark.parametrize("scale", [0.1, 1e-5, 10.0])
def test_clipping(scale, limit):
    rng = np.random.default_rng(1)
    layer = backprop.Linear(3, 2, dtype=np.float64)
    layer.grads = {"weight": scale * rng.standard_normal((2, 3)), "bias": scale * rng.standard_normal(2)}
    tensors = [torch.zeros(one.value.shape, dtype=torch.float64, requires_grad=True) for one in layer.parameters()]
    for tensor, parameter in zip(tensors, layer.parameters(), strict=True):
        tensor.grad = torch.from_numpy(parameter.grad.copy())
    expected = torch.nn.utils.clip_grad_norm_(tensors, limit)
    assert backprop.clip_grad_norm(layer.parameters(), limit) == pytest.approx(float(expected), rel=1e-13)
    for tensor, parameter in zip(tensors, layer.parameters(), strict=True):
        assert_allclose(parameter.grad, tensor.grad.numpy(), rtol=1e-13)


def test_clipping_squares_in_double_precision():
    """1e30² is beyond float32."""
    layer = backprop.Linear(3, 2, bias=False)
    layer.grads = {"weight": np.full((2, 3), 1e30, np.float32)}
    assert backprop.clip_grad_norm(layer.parameters(), 1.0) == pytest.approx(1e30 * 6**0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p: backprop.SGD(p, lr=-1), "SGD: lr must not be negative, received -1"),
        (lambda p: backprop.SGD(p, lr=float("nan")), "SGD: lr must not be negative, received nan"),
        (lambda p: backprop.SGD(p, momentum=-0.1), "SGD: momentum"),
        (lambda p: backprop.SGD(p, nesterov=True), "nesterov needs a momentum above 0"),
        (lambda p: backprop.Adam(p, betas=(0.9, 1.0)), r"Adam: betas must be in \[0, 1\)"),
        (lambda p: backprop.AdamW(p, weight_decay=-1), "AdamW: weight_decay"),
    ],
)
def test_options(make, told):
    with pytest.raises(UsageError, match=told):
        make(backprop.Linear(2, 2).parameters())
