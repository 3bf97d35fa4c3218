"""3×3 convolutions that take fewer multiplications than the direct ones, with the same weights."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LEAST_WINOGRAD_CHANNELS = 96
"""Fewer input channels gain less by the products than the transforms cost (64 to 192: a sixth more time on Zen 5)."""
LARGEST_SMALL_MAP = 3
"""Of 3×3, two products in five are with padding; of 5×5, one in four, which gathering the inputs costs as well."""
TILES_AT_A_TIME = 1000
"""Few enough that what the transforms write stays in a CPU's caches."""
_WEIGHT_TRANSFORM = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


class PooledConv(nn.Conv2d):
    """A 3×3 convolution, padded by 1, that 2×2 pooling follows: maps of an odd side lose their last row or column.

    Pooling would drop them (of 7×7 it sees 6×6), so they are not computed: a quarter of the multiply-adds at 7×7.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H − H mod 2, W − W mod 2)."""
        if x.shape[-2] % 2 == x.shape[-1] % 2 == 0:
            return super().forward(x)
        return F.conv2d(_padded(x), self.weight, self.bias)


class WinogradPooledConv(PooledConv):
    """A PooledConv without bias; in bf16 on a CPU by Winograd's F(2×2, 3×3): 16 products for 36 (see `Winograd`)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H − H mod 2, W − W mod 2)."""
        if not _in_bf16_on_cpu(x) or x.shape[1] < LEAST_WINOGRAD_CHANNELS or min(x.shape[-2:]) < 2:
            return super().forward(x)
        result: Tensor = Winograd.apply(_padded(x.to(torch.bfloat16)), self.weight)
        return result


class SmallMapConv(nn.Conv2d):
    """A 3×3 convolution, padded by 1, without bias; in bf16 on a CPU, of maps up to 3×3, without padding's products."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H, W)."""
        if not _in_bf16_on_cpu(x) or max(x.shape[-2:]) > LARGEST_SMALL_MAP:
            return super().forward(x)
        result: Tensor = WithoutPadding.apply(x.to(torch.bfloat16), self.weight)
        return result


def _padded(x: Tensor) -> Tensor:
    """Zeros around a map; none behind the last row or column of an odd side, which is then not computed."""
    return F.pad(x, (1, 1 - x.shape[-1] % 2, 1, 1 - x.shape[-2] % 2))


def _in_bf16_on_cpu(x: Tensor) -> bool:
    """Where the forms here are faster: in fp32 oneDNN's convolutions are, on a GPU cuDNN's."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and not torch.compiler.is_compiling()
    )


class Winograd(torch.autograd.Function):
    """The 3×3 convolution y = x ∗ w without padding, of maps of even sides, by Winograd's F(2×2, 3×3).

    Of each tile of 4×4 inputs, Bᵀ·d·B; times G·g·Gᵀ of the kernel, position by position and summed over the channels:
    16 products of matrices; Aᵀ·m·A of the sums are 2×2 outputs. Direct, they take 36 products for each pair of
    channels. The gradients go the same way back, by the adjoint transforms.

    In bf16 the transforms round once more each: the error of an output is four times that of the direct convolution,
    about 0.7 % of the outputs' root mean square.
    Source: Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks".
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """(N, C, H, W), H and W even, and (out, C, 3, 3), to (N, out, H − 2, W − 2), in the dtype of `x`."""
        maps = x.permute(0, 2, 3, 1).contiguous()  # (N, H, W, C): no copy of channels_last
        with torch.autocast("cpu", enabled=False):
            transform = weight.new_tensor(_WEIGHT_TRANSFORM)
            kernels = torch.einsum("au,ocuv,bv->abco", transform, weight, transform).flatten(0, 1)
            kernels = kernels.to(x.dtype).contiguous()  # (16, C, out)
            out = maps.new_empty(len(maps), maps.shape[1] - 2, maps.shape[2] - 2, len(weight))
            for some, its_out in _parts(maps, out):
                _untransform_outputs(torch.bmm(_transform_inputs(some), kernels), its_out)
        ctx.save_for_backward(maps, kernels)
        ctx.weight_dtype = weight.dtype
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, Tensor]:
        """∂J/∂x and ∂J/∂w of δ (N, out, H − 2, W − 2)."""
        maps, kernels = ctx.saved_tensors
        delta = delta.permute(0, 2, 3, 1).contiguous()
        gradient = torch.empty_like(maps)
        total = torch.zeros_like(kernels, dtype=ctx.weight_dtype)
        with torch.autocast("cpu", enabled=False):
            for some, its_gradient, its_delta in _parts(maps, gradient, delta):
                transformed = _transform_delta(its_delta)
                total += torch.bmm(_transform_inputs(some).transpose(1, 2), transformed)
                _untransform_gradient(torch.bmm(transformed, kernels.transpose(1, 2)), its_gradient)
            transform = total.new_tensor(_WEIGHT_TRANSFORM)
            by_tap = torch.einsum("au,abco,bv->ocuv", transform, total.unflatten(0, (4, 4)), transform)
        return gradient.permute(0, 3, 1, 2), by_tap


def _parts(maps: Tensor, *others: Tensor) -> Any:
    """The tensors (N, …) in parts of few images, together."""
    tiles = (maps.shape[1] // 2 - 1) * (maps.shape[2] // 2 - 1)
    return zip(*(tensor.split(max(1, TILES_AT_A_TIME // tiles)) for tensor in (maps, *others)), strict=True)


def _lines(tensor: Tensor, axis: int) -> list[Tensor]:
    """Line 0, 1, 2, 3 of every tile of 4 lines: tiles overlap by 2, so that each is every second line of the axis."""
    tiles = tensor.shape[axis] // 2 - 1
    return [
        tensor.narrow(axis, line, 2 * tiles - 1)[(slice(None),) * axis + (slice(None, None, 2),)] for line in range(4)
    ]


def _transform_inputs(maps: Tensor) -> Tensor:
    """Bᵀ·d·B of every tile of (n, H, W, C): (16, tiles, C)."""
    count, height, width, channels = maps.shape
    half = maps.new_empty(4, count, height // 2 - 1, width, channels)
    _mix(_lines(maps, 1), half)
    whole = maps.new_empty(4, 4, count, height // 2 - 1, width // 2 - 1, channels)
    _mix(_lines(half, 3), whole.transpose(0, 1))
    return whole.view(16, -1, channels)


def _mix(d: list[Tensor], out: Tensor) -> None:
    """Bᵀ along one axis."""
    torch.sub(d[0], d[2], out=out[0])
    torch.add(d[1], d[2], out=out[1])
    torch.sub(d[2], d[1], out=out[2])
    torch.sub(d[1], d[3], out=out[3])


def _untransform_gradient(products: Tensor, out: Tensor) -> None:
    """The adjoint of `_transform_inputs`, (16, tiles, C) to `out` (n, H, W, C)."""
    count, height, width, channels = out.shape
    by_place = products.view(4, 4, count, height // 2 - 1, width // 2 - 1, channels)
    half = products.new_empty(4, count, height // 2 - 1, width, channels)
    _unmix(by_place.transpose(0, 1), half, 3)
    _unmix(half, out, 1)


def _unmix(m: Tensor, out: Tensor, axis: int) -> None:
    """B along one axis; where tiles overlap, their parts are added."""
    out.narrow(axis, out.shape[axis] - 2, 2).zero_()  # the last tile's own: no line 0 or 1 lies there
    d = _lines(out, axis)
    d[0].copy_(m[0])
    torch.sub(m[1], m[2], out=d[1]).add_(m[3])
    d[2].add_(m[1]).add_(m[2]).sub_(m[0])
    d[3].sub_(m[3])


def _untransform_outputs(products: Tensor, out: Tensor) -> None:
    """Aᵀ·m·A of (16, tiles, out) to `out` (n, H − 2, W − 2, out)."""
    count, height, width, channels = out.shape
    by_place = products.view(4, 4, count, height // 2, width // 2, channels)
    for column, half in enumerate(_sums(by_place.transpose(0, 1))):
        for row, whole in enumerate(_sums(half)):
            out[:, row::2, column::2] = whole


def _sums(m: Tensor) -> tuple[Tensor, Tensor]:
    """Aᵀ along one axis."""
    return (m[1] + m[2]).add_(m[0]), (m[1] - m[2]).sub_(m[3])


def _transform_delta(delta: Tensor) -> Tensor:
    """The adjoint of `_untransform_outputs`, (n, H − 2, W − 2, out) to (16, tiles, out)."""
    count, height, width, channels = delta.shape
    half = delta.new_empty(4, count, height // 2, width, channels)
    _spread(delta[:, 0::2], delta[:, 1::2], half)
    whole = delta.new_empty(4, 4, count, height // 2, width // 2, channels)
    _spread(half[:, :, :, 0::2], half[:, :, :, 1::2], whole.transpose(0, 1))
    return whole.view(16, -1, channels)


def _spread(first: Tensor, second: Tensor, out: Tensor) -> None:
    """A along one axis."""
    out[0] = first
    torch.add(first, second, out=out[1])
    torch.sub(first, second, out=out[2])
    torch.neg(second, out=out[3])


class WithoutPadding(torch.autograd.Function):
    """The 3×3 convolution y = x ∗ w, padded by 1, by one product of matrices for each place of the map.

    A place's matrix has the inputs that lie inside the map: of 3×3, 4 at the corners, 6 at the edges, 9 in the middle.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """(N, C, H, W) and (out, C, 3, 3) to (N, out, H, W), in the dtype of `x`."""
        maps = x.permute(0, 2, 3, 1).contiguous()
        ctx.save_for_backward(maps, weight)
        with torch.autocast("cpu", enabled=False):
            return _place_by_place(maps, weight.permute(2, 3, 1, 0))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, Tensor]:
        """∂J/∂x and ∂J/∂w of δ (N, out, H, W)."""
        maps, weight = ctx.saved_tensors
        delta = delta.permute(0, 2, 3, 1).contiguous()
        height, width = maps.shape[1:3]
        by_tap = weight.new_empty(3, 3, *weight.shape[:2])
        with torch.autocast("cpu", enabled=False):
            gradient = _place_by_place(delta, weight.flip(2, 3).permute(2, 3, 0, 1))
            for row in range(3):
                for column in range(3):
                    its_delta = delta[:, _inside(row, height), _inside(column, width)].flatten(0, 2)
                    its_maps = maps[:, _inside(2 - row, height), _inside(2 - column, width)].flatten(0, 2)
                    by_tap[row, column] = its_delta.t() @ its_maps
        return gradient, by_tap.permute(2, 3, 0, 1)


def _inside(tap: int, side: int) -> slice:
    """The places whose input by this tap, of 0, 1, 2, lies inside the map; for 2 − tap, those inputs."""
    return slice(max(0, 1 - tap), min(side, side + 1 - tap))


def _place_by_place(maps: Tensor, taps: Tensor) -> Tensor:
    """(N, H, W, C) and kernels (3, 3, C, out) to (N, out, H, W)."""
    count, height, width, _ = maps.shape
    taps = taps.to(maps.dtype).contiguous()
    out = maps.new_empty(count, height, width, taps.shape[-1])
    for row in range(height):
        above, below = max(0, row - 1), min(height, row + 2)
        for column in range(width):
            left, right = max(0, column - 1), min(width, column + 2)
            inputs = maps[:, above:below, left:right].flatten(1)
            its_taps = taps[above - row + 1 : below - row + 1, left - column + 1 : right - column + 1].flatten(0, 2)
            out[:, row, column] = inputs @ its_taps
    return out.permute(0, 3, 1, 2)
