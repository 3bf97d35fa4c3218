"""The layer table: the lecture's counts, and receptive fields against gradients."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnnlab.models import build, find
from cnnlab.models.table import layer_table, without_weights


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


def rows_of(table):
    return {row.name: row for row in table.layers}


def assert_rows_sum_to_the_totals(table, net):
    assert sum(row.macs for row in table.layers) == table.macs
    assert sum(row.weights for row in table.layers) == table.weights
    assert sum(row.biases for row in table.layers) == table.biases
    assert table.parameters == sum(parameter.numel() for parameter in net.parameters())


class Called(nn.Module):
    """A function of the image and of parameters of the shapes named."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        for number, shape in enumerate(shapes):
            self.register_parameter(f"own{number}", nn.Parameter(torch.zeros(shape)))

    def forward(self, x):
        return self.function(x, *self.parameters())


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (lambda x, w: x.flatten(1) @ w, [(768, 10)], 7680),
        (lambda x, w: (w.T @ x.flatten(1).T).T, [(768, 10)], 7680),
        (lambda x, w, b: torch.addmm(b, x.flatten(1), w), [(768, 10), (10,)], 7680),
        (lambda x, w: torch.einsum("bi,io->bo", x.flatten(1), w), [(768, 10)], 7680),
        (lambda x, w: x.flatten(1) @ w, [(768,)], 768),
        (lambda x, w, b: torch.addmv(b, x.flatten(1), w), [(768,), (1,)], 768),
        (lambda x, w: x.flatten() @ w, [(768,)], 768),
        (lambda x, w: torch.baddbmm(x.flatten(2), x.flatten(2), w), [(1, 256, 256)], 3 * 256 * 256),
        # 256 queries, keys and values of 3 numbers: 256·256·(3 + 3)
        (lambda x: F.scaled_dot_product_attention(*3 * [x.flatten(2).mT]), [], 256 * 256 * 6),
        (lambda x, w: F.conv_transpose2d(x, w, stride=2), [(3, 4, 2, 2)], 16 * 16 * 3 * 4 * 4),
        (lambda x, w: F.conv_transpose2d(x, w, stride=2, groups=3), [(3, 4, 2, 2)], 16 * 16 * 3 * 4 * 4),
        (lambda x, w: F.conv1d(x.flatten(2), w), [(5, 3, 3)], 254 * 5 * 9),
        (lambda x, w: F.conv2d(x, w, groups=3), [(6, 1, 3, 3)], 14 * 14 * 6 * 9),
        (lambda x, w: F.linear(x, w), [(5, 16)], 3 * 16 * 16 * 5),
        (lambda x, w: F.linear(input=x, weight=w), [(5, 16)], 3 * 16 * 16 * 5),
        # x·A, then that times y, of 3 and 4 numbers, for 5 matrices A
        (lambda x, w: F.bilinear(x.flatten(1)[:, :3], x.flatten(1)[:, 3:7], w), [(5, 3, 4)], 5 * 3 * 4 + 5 * 4),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_multiply_adds_by_hand_of_an_image_of_3x16x16(function, shapes, macs, device):
    net = Called(function, *shapes).to(device)
    table = layer_table(net, (3, 16, 16))
    assert table.macs == macs
    assert_rows_sum_to_the_totals(table, net)


def test_deformable_convolutions_and_lstms_multiply_too():
    from torchvision.ops import deform_conv2d

    deformed = Called(lambda x, w: deform_conv2d(x, x.new_zeros(1, 18, 14, 14), w), (4, 3, 3, 3))
    assert layer_table(deformed, (3, 16, 16)).macs == 14 * 14 * 4 * 27

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(16, 8, batch_first=True)

        def forward(self, x):
            return self.lstm(x.flatten(1, 2))[0][:, -1]

    table = layer_table(Recurrent(), (3, 16, 16))
    [lstm] = [row for row in table.layers if row.type == "LSTM"]
    assert (lstm.weights, lstm.biases) == (4 * 8 * (16 + 8), 2 * 4 * 8)
    assert lstm.macs == 48 * 4 * 8 * (16 + 8)


class Attending(nn.Module):
    """16 tokens of 16 numbers, two heads."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.place = nn.Parameter(torch.zeros(16, 16))
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.unused = nn.Linear(2, 3)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.norm(self.patches(x).flatten(2).transpose(1, 2) + self.place)
        return self.fc(self.attention(x, x, x)[0].mean(1))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_has_a_row_and_rows_sum_to_the_totals(device):
    net = Attending().to(device)
    table = layer_table(net, (3, 16, 16))
    assert_rows_sum_to_the_totals(table, net)
    rows = rows_of(table)
    # Of 16 tokens: queries, keys and values, Q·Kᵀ, A·V, and the layer after them.
    assert rows["attention"].macs == 16 * 16 * 48 + 2 * 16 * 16 * 16 + 16 * 16 * 16
    assert (rows["attention"].weights, rows["attention"].biases) == (16 * 48, 48)
    assert (rows["attention.out_proj"].weights, rows["attention.out_proj"].biases) == (256, 16)
    assert (rows["unused"].output_shape, rows["unused"].receptive_field, rows["unused"].weights) == ((), None, 6)
    assert rows["attending"].weights == 256
    fields = [rows[name].receptive_field for name in ("patches", "norm", "attention", "fc")]
    assert fields == [(4, 4), (4, 4), (16, 16), (16, 16)]
    assert [row.name for row in table.layers] == [
        "attending", "patches", "norm", "attention", "attention.out_proj", "fc", "unused",
    ]  # fmt: skip
    # The net's own output, which the last layer gave, counts once.
    assert table.activation_elements == 16 * 16 + 16 * 16 + 16 * 16 + 10


def torchvision_net(name):
    from torchvision import models

    extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    with without_weights():
        return models.get_model(name, weights=None, **extra)


def test_vit_b_16_multiplies_as_often_as_by_hand():
    net = torchvision_net("vit_b_16")
    table = layer_table(net, (3, 224, 224))
    # FlopCounterMode in train mode on a CPU, and Q·Kᵀ and A·V of 12 layers of 197 tokens, which it leaves out there.
    assert table.macs == 16_848_500_736 + 12 * 2 * 197 * 197 * 768
    assert_rows_sum_to_the_totals(table, net)
    assert rows_of(table)["encoder.layers.encoder_layer_0.ln_1"].receptive_field == (16, 16)
    assert rows_of(table)["encoder.layers.encoder_layer_0.ln_2"].receptive_field == (224, 224)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121", "squeezenet1_0",
        "vgg11", "alexnet", "convnext_tiny", "efficientnet_b0", "googlenet", "inception_v3", "mnasnet0_5",
        "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t",
    ],
)  # fmt: skip
def test_multiply_adds_are_those_torch_counts(name):
    net = torchvision_net(name)
    shape = (3, 299, 299) if name == "inception_v3" else (3, 224, 224)
    table = layer_table(net, shape)
    assert_rows_sum_to_the_totals(table, net)
    net.train()
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros((1, *shape), device="meta"))
    assert table.macs * 2 == counter.get_total_flops()


def test_convnext_sees_as_far_as_by_hand():
    fields = {name: row.receptive_field for name, row in rows_of(
        layer_table(torchvision_net("convnext_tiny"), (3, 224, 224))).items()}  # fmt: skip
    # 4×4 stride 4; 7×7 at a jump of 4; twice more; 2×2 stride 2; 7×7 at a jump of 8.
    expected = {
        "features.0.1": 4,
        "features.1.0.block.0": 4 + 6 * 4,
        "features.1.0.block.5": 28,
        "features.1.2.block.0": 76,
        "features.2.1": 80,
        "features.3.0.block.0": 80 + 6 * 8,
    }
    assert {name: fields[name] for name in expected} == {name: (side, side) for name, side in expected.items()}


def mixed_in_place(x):
    """Half of the channels get what sees 9 rows added, by way of a view."""
    y = x.clone()
    y[:, :2].add_(F.max_pool2d(x, 9, 1, 4)[:, :2])
    return y


@pytest.mark.parametrize(
    ("layers", "sides"),
    [
        ([nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(4), nn.Conv2d(4, 4, 3)], [3, 6, 14]),
        ([nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveMaxPool2d(8), nn.Conv2d(4, 4, 3)], [3, 4, 8]),
        ([nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(16), nn.Conv2d(4, 4, 3)], [3, 3, 5]),
        ([nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(4), nn.Conv2d(4, 4, 3)], [3, 16, 16]),  # 14 to 4 does not divide
        ([nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 3, padding=1)], [3, 16, 16]),
        ([nn.ConvTranspose2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3)], [16, 16]),
        ([nn.Conv2d(3, 4, 3), nn.Softmax2d(), nn.Hardswish(), nn.Upsample(28)], [3, 16, 16, 16]),
        ([nn.Conv2d(3, 4, 3), nn.ZeroPad2d(1), nn.Hardswish(), nn.GroupNorm(2, 4), nn.GLU(1)], [3] * 5),
        ([Called(lambda x, w: x.flatten(1) @ w, (768, 10))], [16]),
        ([Called(lambda x: x.flatten(1)), nn.Linear(768, 10)], [1, 16]),
        ([Called(lambda x: x.flatten(1).unflatten(1, (3, 16, 16))), nn.Conv2d(3, 4, 3)], [1, 16]),
        ([Called(lambda x: x.flip(3)), nn.Conv2d(3, 4, 3)], [16, 16]),
        ([Called(lambda x: 2 / x[:, :, 1::2, ::2]), nn.Conv2d(3, 4, 3)], [1, 5]),
        ([Called(lambda x: x - x.mean(1, keepdim=True)), nn.Conv2d(3, 4, 3)], [1, 3]),
        ([Called(lambda x: x - x.mean((2, 3), keepdim=True)), nn.Conv2d(3, 4, 3)], [16, 16]),
        ([Called(lambda x: x.permute(0, 2, 3, 1)), nn.Linear(3, 4), nn.LayerNorm(4)], [1, 1, 1]),
        ([Called(lambda x: torch.cat([x, x], 2)), nn.Conv2d(3, 4, 3)], [1, 16]),
        ([Called(lambda x: torch.cat([x[:, 1:], x[:, :1]], 1)), nn.Conv2d(3, 4, 3)], [1, 3]),
        ([Called(lambda x: x.__setitem__((0, 0), x[0, 1].clone()) or x), nn.Conv2d(3, 4, 3)], [16, 16]),
        ([Called(lambda x: torch.tanh(input=x)), nn.Conv2d(3, 4, 3)], [1, 3]),
        ([Called(lambda x: F.max_pool2d(x, 3, 2, 1) + x[:, :, :8, :8]), nn.Conv2d(3, 4, 1)], [3, 16]),  # 2 and 1 apart
        ([Called(lambda x: F.max_pool2d(x, 3, 2, 1) + x[:, :, ::2, ::2]), nn.Conv2d(3, 4, 3)], [3, 7]),
        ([Called(mixed_in_place), nn.Conv2d(3, 4, 1)], [16, 16]),
        ([Called(lambda x: torch.view_as_real(torch.fft.rfft2(x))[..., 0]), nn.Conv2d(3, 4, 1)], [16, 16]),
        ([Called(lambda x: x + torch.meshgrid(*2 * [x[0, 0, 0]], indexing="ij")[0]), nn.Conv2d(3, 4, 1)], [16, 16]),
        ([Called(lambda x: torch.ones_like(x[:1, :1, :1, :1]) + 2 * x), nn.Conv2d(3, 4, 3)], [1, 3]),
    ],
)  # fmt: skip
def test_receptive_fields_by_hand_of_an_image_of_16x16(layers, sides):
    table = layer_table(nn.Sequential(*layers), (3, 16, 16))
    assert [row.receptive_field for row in table.layers] == [(side, side) for side in sides]


def test_a_view_takes_no_memory_of_its_own():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 10))
    for device in ("cpu", "meta"):
        assert layer_table(net.to(device), (3, 16, 16)).activation_elements == 784 + 784 + 10


def test_rows_and_columns_may_change_places():
    net = nn.Sequential(Called(lambda x: x.transpose(2, 3)[:, :, ::4]), nn.AvgPool2d((2, 1), 1), nn.Conv2d(3, 4, 1))
    assert layer_table(net, (3, 16, 16)).layers[-1].receptive_field == (16, 16)
    back = nn.Sequential(Called(lambda x: x.transpose(2, 3)[:, :, ::4].mT), nn.AvgPool2d((1, 2), 1))
    assert layer_table(back, (3, 16, 16)).layers[-1].receptive_field == (1, 5)
    small = nn.Sequential(nn.AvgPool2d(16, 16), Called(lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2)))
    conv = nn.Conv2d(3, 4, 3, padding=1)
    assert layer_table(nn.Sequential(small, conv), (3, 16, 16)).layers[-1].receptive_field == (48, 48)


def test_a_shuffle_of_channels_is_followed_through_views():
    from torchvision.models import shufflenet_v2_x0_5

    table = layer_table(shufflenet_v2_x0_5(weights=None), (3, 224, 224))
    # 3×3 stride 2; pooling 3×3 stride 2; the second half's 3×3 stride 2; the next block's 3×3.
    fields = rows_of(table)
    assert [fields[f"stage2.{name}"].receptive_field for name in ("0.branch2.3", "1.branch2.3")] == [(15, 15), (31, 31)]


def test_counting_a_net_of_our_own_does_not_import_the_compiler():
    code = (
        "import sys\n"
        "from cnnlab.models import build, find\n"
        "from cnnlab.models.table import layer_table, without_weights\n"
        "for arch in ('mlp', 'lenet', 'cnn'):\n"
        "    with without_weights():\n"
        "        net = build(find(arch).options.model_validate({'arch': arch}), 3, 10, (32, 32))\n"
        "    assert layer_table(net, (3, 32, 32)).macs > 0\n"
        "sys.exit('imported' if 'torch._dynamo' in sys.modules else 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
