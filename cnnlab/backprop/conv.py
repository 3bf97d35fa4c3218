"""Convolution as the field means it: correlation of every channel with its kernel, summed over the channels.

Both directions are matrix products of patches: a patch is the window under the kernel, laid out as one row. The
forward multiplies the patches of the padded input by the kernel; ∂J/∂w multiplies them by δ; ∂J/∂x multiplies the
patches of δ by the kernel turned by 180°. A few images at a time, so that the patches stay in the cache.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike

from cnnlab.backprop.layer import Array, Layer, ShapeError, output_size, pair, positive, uniform
from cnnlab.backprop.parallel import over_batch

_ROWS = 512
"""Patches in one product: enough for the BLAS to run at full rate, few enough for the second-level cache."""


class Conv2d(Layer):
    """z = x ⋆ w + b; `weight` is (out_channels, in_channels, rows, columns), `bias` (out_channels,) or None."""

    parameter_names = ("weight", "bias")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = positive("Conv2d", "in_channels", in_channels)
        self.out_channels = positive("Conv2d", "out_channels", out_channels)
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size)
        self.stride = pair("Conv2d", "stride", stride)
        self.padding = pair("Conv2d", "padding", padding, least=0)
        shape = (out_channels, in_channels, *self.kernel_size)
        fan_in = in_channels * self.kernel_size[0] * self.kernel_size[1]
        self.weight = uniform(shape, fan_in, dtype, rng)
        self.bias = uniform((out_channels,), fan_in, dtype, rng) if bias else None
        self._workspaces: dict[tuple[str, int], _Patches] = {}

    def __getstate__(self) -> dict[str, Any]:
        # A copy makes its own buffers: views into them do not survive copying.
        return {**self.__dict__, "_workspaces": {}}

    def _describe(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}"
        )

    def forward(self, x: Array) -> Array:
        """z[n,f,i,j] = b[f] + Σ_{c,u,v} x[n, c, i·s+u−p, j·s+v−p] · w[f,c,u,v], zero outside the input.

        (N, in_channels, H, W) → (N, out_channels, ⌊(H + 2p − K) / s⌋ + 1, the same of W).
        """
        self._check_input(x, "N", "in_channels", "H", "W")
        if x.shape[1] != self.in_channels:
            raise ShapeError(f"{self} expects {self.in_channels} input channels, received an input of {x.shape}")
        weight = self._parameter("weight", (self.out_channels, self.in_channels, *self.kernel_size), x.dtype)
        bias = None if self.bias is None else self._parameter("bias", (self.out_channels,), x.dtype)
        size = output_size(self, x, self.kernel_size, self.stride, self.padding)
        z = np.empty((x.shape[0], self.out_channels, *size), x.dtype)
        geometry = self._input_geometry(x, size)
        kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(-1, self.out_channels)  # (KKC, F)

        def work(first: int, last: int, worker: int) -> None:
            patches = self._workspace("input", worker, geometry)
            for start, stop in patches.chunks(first, last):
                rows = patches.gather(x[start:stop]) @ kernel  # (n·OH·OW, F)
                if bias is not None:
                    rows += bias
                z[start:stop] = _to_maps(rows, stop - start, size)

        over_batch(work, x.shape[0], z.size * kernel.shape[0])
        return self._keep(z, x, weight)

    def backward(self, delta: Array) -> Array:
        """∂J/∂w is a convolution of x with δ; δ passes back through convolution with the kernel turned by 180°.

        Scalar: ∂J/∂w[f,c,u,v] = Σ_{n,i,j} δ[n,f,i,j] · x[n, c, i·s+u−p, j·s+v−p];  ∂J/∂b[f] = Σ_{n,i,j} δ[n,f,i,j];
                ∂J/∂x[n,c,h,k] = Σ_{f,u,v} δ[n, f, (h+p−u)/s, (k+p−v)/s] · w[f,c,u,v], where s divides both
        Vector: ∂J/∂w = pad(x) ⋆ δ;  ∂J/∂x = pad(δ) ⋆ rot180(w), with s − 1 zeros between the elements of δ;
                as products: ∂J/∂W = patches(x)ᵀ δ and ∂J/∂X = patches(δ) rot180(W)
        """
        x, weight = self._recall(delta)
        delta_below = np.empty_like(x)
        of_x, of_delta = self._input_geometry(x, delta.shape[2:]), self._delta_geometry(x, delta.shape[2:])
        turned = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)).reshape(-1, self.in_channels)
        sums: dict[int, tuple[Array, Array]] = {}

        def work(first: int, last: int, worker: int) -> None:
            x_patches = self._workspace("input", worker, of_x)
            delta_patches = self._workspace("delta", worker, of_delta)
            weight_sum = np.zeros((turned.size // weight.shape[0], weight.shape[0]), x.dtype)  # (KKC, F)
            bias_sum = np.zeros(weight.shape[0], x.dtype)
            for start, stop in x_patches.chunks(first, last):
                rows = _to_rows(delta[start:stop])  # (n·OH·OW, F)
                weight_sum += x_patches.gather(x[start:stop]).T @ rows
                bias_sum += rows.sum(axis=0)
            for start, stop in delta_patches.chunks(first, last):
                below = delta_patches.gather(delta[start:stop]) @ turned  # (n·H·W, C)
                delta_below[start:stop] = _to_maps(below, stop - start, x.shape[2:])
            sums[worker] = weight_sum, bias_sum

        over_batch(work, x.shape[0], 2 * delta.size * turned.shape[0])
        weight_sums, bias_sums = zip(*(sums[worker] for worker in sorted(sums)), strict=True)
        shape = (*self.kernel_size, self.in_channels, self.out_channels)
        self.grads["weight"] = np.ascontiguousarray(sum(weight_sums).reshape(shape).transpose(3, 2, 0, 1))
        if self.bias is not None:
            self.grads["bias"] = np.asarray(sum(bias_sums), x.dtype)
        return delta_below

    def _input_geometry(self, x: Array, output: tuple[int, ...]) -> "_Geometry":
        """Patches of the padded input, one for each output element."""
        height, width = x.shape[2:]
        return _Geometry(
            channels=x.shape[1],
            kernel=self.kernel_size,
            stride=self.stride,
            output=(output[0], output[1]),
            rows=_Placement.of(height, self.padding[0], 1, height + 2 * self.padding[0]),
            columns=_Placement.of(width, self.padding[1], 1, width + 2 * self.padding[1]),
            dtype=x.dtype,
        )

    def _delta_geometry(self, x: Array, output: tuple[int, ...]) -> "_Geometry":
        """Patches of δ, one for each input element: its elements lie `stride` apart, K − 1 − p from the border."""
        height, width = x.shape[2:]
        (rows, columns), (down, across) = self.kernel_size, self.stride
        return _Geometry(
            channels=self.out_channels,
            kernel=self.kernel_size,
            stride=(1, 1),
            output=(height, width),
            rows=_Placement.of(output[0], rows - 1 - self.padding[0], down, height + rows - 1),
            columns=_Placement.of(output[1], columns - 1 - self.padding[1], across, width + columns - 1),
            dtype=x.dtype,
        )

    def _workspace(self, role: str, worker: int, geometry: "_Geometry") -> "_Patches":
        patches = self._workspaces.get((role, worker))
        if patches is None or patches.geometry != geometry:
            patches = self._workspaces[role, worker] = _Patches(geometry)
        return patches


@dataclass(frozen=True)
class _Placement:
    """Where the elements of one axis lie in a zeroed buffer: `source` of them are put at `target`."""

    source: slice
    target: slice
    size: int

    @classmethod
    def of(cls, count: int, offset: int, step: int, size: int) -> "_Placement":
        """Element k goes to `offset + k·step`; those that fall outside the buffer are left out."""
        first = -(offset // step) if offset < 0 else 0  # ⌈−offset / step⌉
        stop = min(count, (size - 1 - offset) // step + 1)
        if stop <= first:
            return cls(slice(0, 0), slice(0, 0), size)
        return cls(slice(first, stop), slice(offset + first * step, offset + (stop - 1) * step + 1, step), size)


@dataclass(frozen=True)
class _Geometry:
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    output: tuple[int, int]
    rows: _Placement
    columns: _Placement
    dtype: np.dtype[Any]


class _Patches:
    """The buffers of one worker: the padded images, channels last, and their patches as rows of a matrix."""

    def __init__(self, geometry: _Geometry) -> None:
        self.geometry = geometry
        (out_rows, out_columns), (rows, columns) = geometry.output, geometry.kernel
        self.images = max(1, _ROWS // (out_rows * out_columns))
        channels = geometry.channels
        self._padded = np.zeros((self.images, geometry.rows.size, geometry.columns.size, channels), geometry.dtype)
        image, row, column, channel = self._padded.strides
        # A row of the window is contiguous in channels-last memory: `columns · channels` elements in one run.
        self._windows = as_strided(
            self._padded,
            (self.images, out_rows, out_columns, rows, columns * channels),
            (image, row * geometry.stride[0], column * geometry.stride[1], row, channel),
            writeable=False,
        )
        self._patches = np.empty(self._windows.shape, geometry.dtype)

    def chunks(self, first: int, last: int) -> list[tuple[int, int]]:
        """[first, last) in pieces of as many images as the buffers hold."""
        return [(start, min(start + self.images, last)) for start in range(first, last, self.images)]

    def gather(self, maps: Array) -> Array:
        """The patches of (n, C, H, W), n ≤ `images`: (n·OH·OW, K·K·C)."""
        count, rows, columns = maps.shape[0], self.geometry.rows, self.geometry.columns
        inner = maps[:, :, rows.source, columns.source].transpose(0, 2, 3, 1)
        self._padded[:count, rows.target, columns.target] = inner
        patches = self._patches[:count]
        np.copyto(patches, self._windows[:count])
        height, width = self.geometry.output
        return patches.reshape(count * height * width, -1)


def _to_rows(maps: Array) -> Array:
    """(n, F, H, W) → (n·H·W, F), contiguous."""
    count, channels, height, width = maps.shape
    return np.ascontiguousarray(maps.reshape(count, channels, height * width).transpose(0, 2, 1)).reshape(-1, channels)


def _to_maps(rows: Array, count: int, size: tuple[int, ...]) -> Array:
    """(n·H·W, F) → (n, F, H, W), a view."""
    return rows.reshape(count, *size, -1).transpose(0, 3, 1, 2)
