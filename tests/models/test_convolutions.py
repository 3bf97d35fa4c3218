"""Convolutions with fewer products: PyTorch's own are the reference."""

import pytest
import torch
import torch.nn.functional as F

from cnnlab.models import convolutions
from cnnlab.models.convolutions import SmallMapConv, Winograd, WinogradPooledConv, WithoutPadding

FORMS = [
    *((Winograd, size, 0) for size in [(4, 4), (8, 8), (6, 10), (16, 4)]),
    *((WithoutPadding, size, 1) for size in [(1, 1), (1, 3), (2, 2), (3, 3), (3, 2), (5, 4)]),
]


def of_double(size, images=3):
    torch.manual_seed(0)
    x = torch.randn(images, 3, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    return x, weight


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("form", "size", "padding"), FORMS)
def test_outputs_and_gradients_are_those_of_the_direct_convolution(form, size, padding, layout, monkeypatch):
    monkeypatch.setattr(convolutions, "TILES_AT_A_TIME", 8)  # several parts, the last a small one
    x, weight = (tensor.detach().to(memory_format=layout).requires_grad_() for tensor in of_double(size, images=5))
    expected, outputs = F.conv2d(x, weight, padding=padding), form.apply(x, weight)
    delta = torch.randn_like(expected)
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(outputs, (x, weight), delta), torch.autograd.grad(expected, (x, weight), delta), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("form", "size"), [(Winograd, (6, 4)), (WithoutPadding, (3, 2))])
def test_gradients_agree_with_central_differences(form, size):
    assert torch.autograd.gradcheck(form.apply, of_double(size))


def layer_and_images(kind, side, channels=96, images=40):
    torch.manual_seed(1)
    layer = kind(channels, 128, 3, padding=1, bias=False)
    return layer, torch.randn(images, channels, side, side)


def root_mean_square(tensor):
    return tensor.square().mean().sqrt().item()


@pytest.fixture
def used(monkeypatch):
    """The forms that layers use, in order."""
    names = []
    for form in (Winograd, WithoutPadding):
        apply = form.apply
        monkeypatch.setattr(form, "apply", lambda *a, form=form, apply=apply: (names.append(form), apply(*a))[1])
    return names


@pytest.mark.parametrize(
    ("kind", "side", "form"),
    [(WinogradPooledConv, 7, Winograd), (WinogradPooledConv, 8, Winograd), (SmallMapConv, 3, WithoutPadding)],
)
def test_in_bf16_on_a_cpu_it_differs_from_fp32_by_its_rounding_alone(kind, side, form, used):
    layer, images = layer_and_images(kind, side)
    expected = layer(images)
    delta = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(expected, layer.weight, delta)
    assert used == []
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(images)
    (mine,) = torch.autograd.grad(outputs, layer.weight, delta.bfloat16())
    assert used == [form]
    assert outputs.dtype == torch.bfloat16
    assert mine.dtype == torch.float32
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    for value, reference in ((outputs, expected), (mine, gradient)):
        assert 0 < root_mean_square(value - reference) < 0.012 * root_mean_square(reference)


@pytest.mark.parametrize(
    ("kind", "side", "channels"),
    [(WinogradPooledConv, 7, 64), (SmallMapConv, 4, 96)],
    ids=["few channels", "larger maps"],
)
def test_where_it_saves_nothing_it_is_the_direct_one(kind, side, channels, used):
    layer, images = layer_and_images(kind, side, channels)
    with torch.autocast("cpu", torch.bfloat16):
        layer(images)
    assert used == []


def test_a_map_with_nothing_to_pool_is_refused_by_torch():
    layer, images = layer_and_images(WinogradPooledConv, 1)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="size"):
        layer(images)


def test_other_precisions_take_the_direct_one(used):
    layer, images = layer_and_images(SmallMapConv, 3)
    assert torch.equal(layer(images), F.conv2d(images, layer.weight, padding=1))
    with torch.autocast("cpu", torch.float16):
        layer(images)
    assert used == []
