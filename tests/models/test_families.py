"""Every family: shapes, options, initial weights, and what it refuses."""

import math

import pytest
import torch
import torchvision
from torch import nn

from cnnlab.errors import DataError, RecipeError, UsageError
from cnnlab.models import ARCHITECTURES, build, find, seq, seq_layers
from cnnlab.models.layers import ACTIVATIONS, GELU, Dropout, Residual
from cnnlab.models.table import layer_table, without_weights
from cnnlab.randomness import generator

LAYERS = [{"conv": 4}, "batch-norm", "activation", {"max-pool": 2}, "flatten", {"dropout": 0.1}, {"linear": "classes"}]


def net_of(arch, shape=(3, 32, 32), classes=10, **options):
    if arch == "seq":
        options.setdefault("layers", LAYERS)
    chosen = find(arch).options.model_validate({"arch": arch, **options})
    return build(chosen, shape[0], classes, shape[1:])


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (2, 21, 13)])
def test_a_batch_becomes_one_row_of_outputs_a_picture(arch, shape):
    net = net_of(arch, shape, classes=7).eval()
    assert net(torch.zeros((2, *shape))).shape == (2, 7)


@pytest.mark.parametrize("arch", sorted(set(ARCHITECTURES) - {"seq"}))
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "gelu", "silu", "identity"])
def test_the_activation_is_the_one_asked_for(arch, activation):
    names = {
        "relu": "ReLU",
        "sigmoid": "Sigmoid",
        "tanh": "Tanh",
        "gelu": "GELU",
        "silu": "SiLU",
        "identity": "Identity",
    }
    kinds = {type(layer).__name__ for layer in net_of(arch, activation=activation).modules()}
    assert names[activation] in kinds
    assert not kinds & (set(names.values()) - {names[activation]})


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "off"), [(torch.bfloat16, 2**-7), (torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_gelu_is_pytorchs_but_for_the_last_bits(dtype, off, layout):
    torch.manual_seed(0)
    x = (3 * torch.randn(5, 8, 6, 4)).to(dtype).to(memory_format=layout).requires_grad_()
    outputs, expected = GELU()(x), nn.functional.gelu(x)
    assert outputs.is_contiguous(memory_format=layout)
    torch.testing.assert_close(outputs, expected, rtol=off, atol=off)
    delta = torch.randn_like(expected)
    mine, theirs = (torch.autograd.grad(each, x, delta)[0] for each in (outputs, expected))
    torch.testing.assert_close(mine, theirs, rtol=2 * off, atol=2 * off)


def test_gelu_takes_what_is_no_map():
    x = torch.randn(4, 3)
    assert torch.equal(GELU()(x), nn.functional.gelu(x))


@pytest.mark.parametrize("depth", [5, 6, 7, 8])
def test_cnn_has_the_weight_layers_that_depth_says(depth):
    net = net_of("cnn", depth=depth)
    assert sum(isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) for layer in net.modules()) == depth


@pytest.mark.parametrize(("head", "pool"), [("max", torch.amax), ("mean", torch.mean)])
def test_cnn_may_pool_its_last_maps_to_one_value_each(head, pool):
    net = net_of("cnn", width=4, head=head).eval()
    assert net.fc.weight.shape == (10, 16)
    for height, width in ((32, 32), (48, 40)):
        images = torch.randn(2, 3, height, width)
        maps = net[: list(dict(net.named_children())).index("pool")](images)
        assert maps.shape == (2, 16, height // 8, width // 8)
        assert torch.allclose(net(images), net.fc(pool(maps, dim=(2, 3))), atol=1e-6)


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_plain_and_resnet_have_6n_plus_2_weight_layers(depth):
    plain, residual = net_of("plain", depth=depth), net_of("resnet", depth=depth)
    assert sum(isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) for layer in plain.modules()) == depth
    assert sum(isinstance(layer, Residual) for layer in residual.modules()) == (depth - 2) // 2


def test_norm_none_has_biases_instead():
    net = net_of("resnet", norm="none")
    assert not any("norm" in name for name, _ in net.named_modules())
    assert all(layer.bias is not None for layer in net.modules() if isinstance(layer, torch.nn.Conv2d))


@pytest.mark.parametrize(("init", "deviation"), [("he", math.sqrt(2 / 512)), ("xavier", math.sqrt(2 / 1024))])
def test_initial_weights_have_the_published_variance(init, deviation):
    torch.manual_seed(0)
    weight = net_of("mlp", depth=2, width=512, init=init).fc2.weight.detach()
    assert float(weight.std()) == pytest.approx(deviation, rel=0.02)


def test_auto_is_he_for_relu_and_xavier_for_sigmoid():
    for activation, init in (("relu", "he"), ("silu", "he"), ("sigmoid", "xavier"), ("identity", "xavier")):
        torch.manual_seed(1)
        automatic = net_of("mlp", activation=activation).fc2.weight
        torch.manual_seed(1)
        named = net_of("mlp", activation=activation, init=init).fc2.weight
        assert torch.equal(automatic, named)


def test_the_first_loss_is_near_chance_under_he():
    torch.manual_seed(0)
    for arch in ("mlp", "cnn", "resnet"):
        outputs = net_of(arch)(torch.randn(64, 3, 32, 32))
        loss = torch.nn.functional.cross_entropy(outputs, torch.randint(10, (64,)))
        assert float(loss.detach()) == pytest.approx(math.log(10), rel=0.3)


def test_dropout_repeats_with_its_generator_and_keeps_the_mean():
    layer, ones = Dropout(0.25), torch.ones(100, 1000)
    layer.rng = generator(0, "dropout", 1, 0)
    first = layer(ones)
    layer.rng = generator(0, "dropout", 1, 0)
    assert torch.equal(first, layer(ones))
    assert float(first.mean()) == pytest.approx(1, abs=0.01)
    assert set(first.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    assert torch.equal(layer.eval()(ones), ones)
    with pytest.raises(RuntimeError, match="rng"):
        Dropout(0.5)(ones)


def test_residual_adds_its_input():
    layer = Residual(torch.nn.Identity())
    assert torch.equal(layer(torch.ones(2)), torch.full((2,), 2.0))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["relux"], "unknown layer"),
        ([{"conv": 3, "bias": None}], "bias: expected true or false, received null"),
        ([{"conv": 3, "stride": 0}], "stride: expected a whole number from 1, received 0"),
        ([{"max-pool": 2, "padding": 65_537}], "padding: expected a whole number from 0"),
        (["conv"], "conv: expected a whole number from 1, received null"),
        (["linear"], "linear: expected a whole number from 1, received null"),
        (["residual"], "residual: expected a list of layers, received null"),
        ([{"flatten": None, "dim": 1}], "flatten: unknown key 'dim'"),
        ([{"conv": 3, "kernal": 3}], "unknown key 'kernal'"),
        ([{"conv": -1}], "whole number"),
        ([{"conv": True}], "whole number"),
        ([{"linear": 3}], "needs a flat input"),
        (["flatten", {"linear": 3}, {"max-pool": 2}], "does not fit"),
        ([{"max-pool": 64}], "does not fit|leaves nothing"),
        ([{"dropout": 2}], "probability"),
        ([{"residual": []}], "expected a list"),
        ([{"conv": 2, "name": "a"}, {"conv": 2, "name": "a"}], "new word"),
        ([3], "unknown layer"),
        ([{"residual": ["flatten"]}], "no 1x1 projection"),
    ],
)
def test_seq_refuses_what_does_not_fit_and_says_where(layers, message):
    with pytest.raises(RecipeError, match=message) as caught:
        net_of("seq", layers=layers)
    assert "model.layers[" in caught.value.message


def test_each_layer_that_seq_admits_is_one_that_it_builds():
    assert set(seq_layers.LAYERS) == {*seq._LAYERS, *ACTIVATIONS, "activation", "residual"}


def test_seq_projects_a_residual_where_shapes_differ():
    net = net_of(
        "seq", layers=[{"residual": [{"conv": 8, "stride": 2}]}, "global-mean-pool", "flatten", {"linear": "classes"}]
    )
    assert net.residual1.shortcut is not None
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_too_small_pictures_are_refused():
    with pytest.raises(UsageError, match="at least 4x4"):
        net_of("cnn", (1, 3, 3))


@pytest.mark.parametrize(
    "name",
    [
        "regnet_y_400mf",  # its constructor reads values
        *(pytest.param(name, marks=pytest.mark.slow) for name in torchvision.models.list_models(torchvision.models)),
    ],
)
def test_every_classifier_of_torchvision_has_an_outline(name):
    size = (299, 299) if name == "inception_v3" else (224, 224)
    with without_weights():
        net = net_of(f"torchvision:{name}", (3, *size))
    assert all(parameter.is_meta for parameter in net.parameters())
    assert layer_table(net, (3, *size)).macs > 1e7


@pytest.mark.slow
def test_torchvision_gets_a_small_stem_for_small_pictures():
    net = net_of("torchvision:resnet18", (1, 32, 32), classes=5).eval()
    assert net.conv1.kernel_size == (3, 3)
    assert net(torch.zeros(2, 1, 32, 32)).shape == (2, 5)
    assert net_of("torchvision:resnet18", stem="original").conv1.kernel_size == (7, 7)
    with pytest.raises(UsageError, match="no net named") as caught:
        net_of("torchvision:resnet19")
    assert "resnet18" in str(caught.value.hint)


def test_a_users_own_module(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, in_channels, num_classes, image_size, width=4):\n"
        "        inputs = in_channels * image_size**2\n"
        "        super().__init__(nn.Flatten(), nn.Linear(inputs, width), nn.Linear(width, num_classes))\n"
        "class Other: pass\n"
    )
    assert net_of(f"{file}:Net", width=6)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    with pytest.raises(UsageError, match="no class") as caught:
        net_of(f"{file}:Nett")
    assert "Net" in str(caught.value.hint)
    with pytest.raises(UsageError, match="depth"):
        net_of(f"{file}:Net", depth=3)
    file.write_text("1 / 0")
    with pytest.raises(DataError, match="ZeroDivisionError"):
        net_of(f"{file}:Net")


@pytest.mark.parametrize(
    ("name", "kind"), [("global-max-pool", "AdaptiveMaxPool2d"), ("global-mean-pool", "AdaptiveAvgPool2d")]
)
def test_seq_pools_whole_maps(name, kind):
    net = net_of("seq", layers=[{"conv": 4}, name, "flatten", {"linear": "classes"}]).eval()
    assert [type(layer).__name__ for layer in net][1] == kind
    assert net(torch.zeros(2, 3, 20, 24)).shape == (2, 10)


def test_fast_passes_its_inputs_on_at_first_and_keeps_its_scales():
    net = net_of("fast")
    weight = net.conv2_1.weight.detach()
    assert torch.equal(weight[:64], torch.nn.init.dirac_(torch.empty(64, 64, 3, 3)))
    assert weight[64:].abs().min() > 0
    fixed = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    norms = {name for name, layer in net.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)}
    assert len(norms) == 6
    assert fixed == {"whiten.weight", *(f"{name}.weight" for name in norms)}
    assert sum(isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) for layer in net.modules()) == 8
    assert net_of("fast", init="he").conv2_1.weight[0].abs().min() > 0


@pytest.mark.parametrize("size", [(16, 16), (20, 28), (40, 40)])
def test_fast_takes_images_of_other_sizes_than_it_was_built_for(size):
    images = torch.randn(2, 3, *size)
    net = net_of("fast", width=8).eval()
    assert net[: list(dict(net.named_children())).index("flatten")](images).shape == (2, 32, 1, 1)
    assert net(images).shape == (2, 10)


def test_fast_has_the_groups_asked_for():
    net = net_of("fast", width=8, group2=3, group3=5)
    assert [net.get_submodule(f"conv{group}_2").out_channels for group in (1, 2, 3)] == [8, 24, 40]
    assert net.fc.in_features == 40


@pytest.mark.parametrize("size", [(32, 32), (28, 24), (26, 31), (16, 16)])
def test_fast_skips_what_pooling_drops_and_nothing_else(size):
    images = torch.randn(4, 3, *size, dtype=torch.float64)
    whole = net_of("fast", width=4, skip_unpooled=False).double()
    spared = net_of("fast", width=4).double()
    spared.load_state_dict(whole.state_dict())
    outputs = [net(images) for net in (whole, spared)]
    for output in outputs:
        output.square().sum().backward()
    assert torch.allclose(*outputs, rtol=1e-10)
    for (name, first), second in zip(whole.named_parameters(), spared.parameters(), strict=True):
        assert first.grad is second.grad is None or torch.allclose(first.grad, second.grad, rtol=1e-9), name


def test_fast_computes_less_by_what_pooling_drops():
    whole, spared = (layer_table(net_of("fast", skip_unpooled=skip), (3, 32, 32)) for skip in (False, True))
    rows = [{row.name: row for row in table.layers} for table in (whole, spared)]
    assert [row["conv3_1"].output_shape for row in rows] == [(256, 7, 7), (256, 6, 6)]
    assert rows[1]["conv3_1"].macs * 49 == rows[0]["conv3_1"].macs * 36
    assert rows[1]["conv2_1"].macs * 225 == rows[0]["conv2_1"].macs * 196
    assert [row.receptive_field for row in whole.layers] == [row.receptive_field for row in spared.layers]


def test_fast_skips_products_in_bf16_alone():
    images = torch.randn(8, 3, 32, 32)
    plain, spared = net_of("fast", width=48, skip_products=False), net_of("fast", width=48)
    spared.load_state_dict(plain.state_dict())
    assert torch.equal(plain(images), spared(images))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [net(images).float() for net in (plain, spared)]
    assert not torch.equal(*outputs)
    assert (outputs[0] - outputs[1]).norm() < 0.03 * outputs[0].norm()


def test_fast_scales_its_outputs_down():
    net = net_of("fast").eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(net(images), net[:-1](images) / 9)
