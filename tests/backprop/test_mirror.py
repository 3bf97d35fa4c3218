"""A torch net as a net of the hand-derived engine."""

import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from cnnlab import backprop
from cnnlab.backprop.mirror import mirror
from cnnlab.errors import UsageError
from cnnlab.models import build, find


def make(arch, **options):
    return build(find(arch).options(arch=arch, **options), 3, 10, (32, 32))


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("mlp", {"batch_norm": True, "activation": "gelu", "width": 20}),
        ("lenet", {}),
        ("cnn", {"width": 4, "pool": "mean"}),
        ("cnn", {"width": 4, "norm": "none", "activation": "silu"}),
        ("plain", {"depth": 8, "width": 4}),
        ("resnet", {"depth": 8, "width": 4}),
    ],
)
def test_the_same_net_with_the_same_weights(arch, options):
    net = make(arch, **options).double()
    own = mirror(net, np.float64)
    assert list(own.state_dict()) == list(net.state_dict())
    x = np.random.default_rng(0).standard_normal((4, 3, 32, 32))
    for training in (True, False):
        net.train(training)
        own.train(training)
        assert_allclose(own(x), net(torch.from_numpy(x)).detach().numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(4, 3, bias=False), (2, 4)),
        (nn.Conv2d(2, 3, (2, 3), stride=(2, 1), padding=(1, 2), bias=False), (2, 2, 6, 5)),
        (nn.MaxPool2d((3, 2), stride=(1, 3), padding=(1, 0)), (2, 2, 6, 5)),
        (nn.AvgPool2d((3, 2), stride=(1, 3), padding=(1, 0), count_include_pad=False), (2, 2, 6, 5)),
        (nn.AdaptiveMaxPool2d(1), (2, 2, 6, 5)),
        (nn.AdaptiveAvgPool2d(1), (2, 2, 6, 5)),
        (nn.BatchNorm1d(3, eps=0.2, momentum=0.4), (5, 3)),
        (nn.BatchNorm2d(2, eps=0.2, momentum=0.4), (2, 2, 6, 5)),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, nn.Module) else "",
)
def test_options_are_taken_over(layer, shape):
    net = nn.Sequential(layer).double()
    own = mirror(net, np.float64)
    x = np.random.default_rng(0).standard_normal(shape)
    assert_allclose(own(x), net(torch.from_numpy(x)).detach().numpy(), rtol=1e-10, atol=1e-12)
    for name, array in net.state_dict().items():
        assert_allclose(own.state_dict()[name], array.numpy(), rtol=1e-12)
    assert mirror(nn.Sequential(nn.Dropout(0.3)))[0].p == 0.3


def test_weights_are_copied():
    net = nn.Sequential(nn.Linear(2, 2))
    own = mirror(net)
    own.parameters()[0].value[...] = 7
    assert float(net[0].weight.detach().max()) < 1
    assert own.parameters()[0].value.dtype == np.float32


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (nn.ELU(), r"no ELU \(head.layer\)"),
        (nn.Conv2d(2, 2, 3, groups=2), r"no groups=2 for Conv2d \(head.layer\); only 1"),
        (nn.Conv2d(2, 2, 3, dilation=2), r"no dilation=\(2, 2\) for Conv2d"),
        (nn.Conv2d(2, 2, 3, padding="same"), "no padding='same'"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), "no padding_mode='reflect'"),
        (nn.MaxPool2d(2, ceil_mode=True), "no ceil_mode=True for MaxPool2d"),
        (nn.GELU(approximate="tanh"), "no approximate='tanh' for GELU"),
        (nn.BatchNorm2d(2, affine=False), "no affine=False"),
        (nn.BatchNorm2d(2, momentum=None), "no momentum=None"),
        (nn.AdaptiveMaxPool2d(7), "AdaptiveMaxPool2d: only an output_size of 1"),
        (nn.AdaptiveAvgPool2d(7), "only an output_size of 1"),
    ],
)
def test_what_the_engine_lacks_is_refused_by_name(layer, told):
    net = nn.Sequential(OrderedDict(head=nn.Sequential(OrderedDict(layer=layer))))
    with pytest.raises(UsageError, match=told):
        mirror(net)


def test_the_engine_imports_no_torch():
    code = "import sys, cnnlab.backprop, cnnlab.backprop.mirror; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_children_are_found_by_place():
    net = backprop.Sequential(backprop.ReLU(), backprop.Flatten())
    assert len(net) == 2
    assert isinstance(net[1], backprop.Flatten)
    with pytest.raises(UsageError, match="Sequential expects layers"):
        backprop.Sequential(backprop.ReLU(), {"a": backprop.ReLU()})
