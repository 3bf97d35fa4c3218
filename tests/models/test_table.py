"""The layer table: the lecture's counts, and receptive fields against gradients."""

import pytest
import torch
from torch import nn

from cnnlab.models import build, find
from cnnlab.models.table import layer_table


def net_of(arch, shape, classes=10, **options):
    chosen = find(arch).options.model_validate({"arch": arch, **options})
    return build(chosen, shape[0], classes, shape[1:])


def test_the_lecture_counts_15_052_800_weights():
    with torch.device("meta"):
        net = net_of("mlp", (3, 224, 224), width=100, depth=1)
    table = layer_table(net, (3, 224, 224))
    first = next(layer for layer in table.layers if layer.type == "Linear")
    assert (first.weights, first.biases, first.macs) == (15_052_800, 100, 15_052_800)


@pytest.mark.parametrize(
    ("layers", "weights"),
    [
        ([{"conv": 1, "kernel": 2, "padding": 0, "bias": False}, "flatten"], 4),
        (["flatten", {"linear": 4, "bias": False}], 36),
    ],
)
def test_a_shared_kernel_has_4_weights_and_full_connection_36(layers, weights):
    table = layer_table(net_of("seq", (1, 3, 3), 4, layers=layers), (1, 3, 3))
    assert table.weights == weights
    assert table.macs == (16 if weights == 4 else 36)


def test_resnet20_has_the_parameters_and_multiply_adds_of_the_paper():
    # He et al. 2016, table 6: 0.27 M parameters; 41 M multiply-adds are widely counted for it.
    table = layer_table(net_of("resnet", (3, 32, 32), depth=20), (3, 32, 32))
    assert table.parameters == pytest.approx(0.27e6, rel=0.03)
    assert table.macs == pytest.approx(41e6, rel=0.03)


def test_totals_are_those_of_torch():
    for arch in ("mlp", "lenet", "cnn", "plain", "resnet"):
        net = net_of(arch, (3, 32, 32))
        table = layer_table(net, (3, 32, 32))
        assert table.parameters == sum(parameter.numel() for parameter in net.parameters())
        assert table.macs == sum(layer.macs for layer in table.layers)
        assert table.layers[-1].output_shape == (10,)


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("cnn", {}),
        ("cnn", {"depth": 8, "pool": "mean"}),
        ("cnn", {"depth": 5}),
        ("resnet", {"depth": 14}),
        ("plain", {"depth": 8}),
        ("lenet", {}),
    ],
)
def test_receptive_fields_equal_what_gradients_reach(arch, options):
    """Independent of the table: with positive weights and linear layers, the gradient of one output is nonzero
    exactly on the pixels that it sees."""
    side = 96
    net = net_of(arch, (1, side, side), width=2, **options) if arch != "lenet" else net_of(arch, (1, side, side))
    table = layer_table(net, (1, side, side))
    _make_linear_and_positive(net)
    outputs = {}
    for name, layer in net.named_modules():
        if next(layer.children(), None) is None:
            layer.register_forward_hook(lambda _, __, output, name=name: outputs.__setitem__(name, output))
    image = torch.ones((1, 1, side, side), dtype=torch.float64, requires_grad=True)
    net.double().eval()(image)
    checked = 0
    for row in table.layers:
        output = outputs[row.name]
        if output.dim() != 4 or row.type == "AdaptiveAvgPool2d":
            continue
        unit = output[0, 0, output.shape[2] // 2, output.shape[3] // 2]
        (gradient,) = torch.autograd.grad(unit, image, retain_graph=True)
        rows, columns = gradient[0, 0].nonzero(as_tuple=True)
        reached = (int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1))
        assert reached == row.receptive_field, row.name
        checked += 1
    assert checked >= 5


def _make_linear_and_positive(net: nn.Module) -> None:
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
            elif isinstance(child, nn.ReLU | nn.Tanh):
                setattr(parent, name, nn.Identity())


def test_a_module_of_ones_own_with_functions_instead_of_layers_is_followed():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(1, 4, 5, stride=2, padding=2)
            self.b = nn.Conv2d(1, 4, 1, stride=2)
            self.c = nn.Conv2d(8, 4, 3, dilation=2, padding="same")

        def forward(self, x):
            x = torch.cat([self.a(x), self.b(x)], dim=1)
            x = torch.nn.functional.max_pool2d(self.c(x), 3, stride=2)
            return x.mean(dim=(2, 3))

    table = layer_table(Odd(), (1, 32, 32))
    fields = {layer.name: layer.receptive_field for layer in table.layers}
    assert fields == {"a": (5, 5), "b": (1, 1), "c": (13, 13)}
    assert table.macs == 4 * 25 * 256 + 4 * 256 + 4 * 8 * 9 * 256
