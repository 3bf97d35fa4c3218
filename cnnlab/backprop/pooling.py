"""Pooling: the greatest or the mean of each window."""

from collections.abc import Iterator

import numpy as np

from cnnlab.backprop.layer import Array, Layer, ShapeError, output_size, pair
from cnnlab.backprop.parallel import over_batch
from cnnlab.errors import UsageError

_CHUNK = 1 << 16
"""Input elements that a worker handles at once: they and their copies stay in the cache."""


class _Pool2d(Layer):
    """The windows that both kinds of pooling share."""

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = pair(name, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair(name, "stride", stride)
        self.padding = pair(name, "padding", padding, least=0)
        if any(2 * pad > size for pad, size in zip(self.padding, self.kernel_size, strict=True)):
            raise ShapeError(f"{name}: padding may be at most half of kernel_size {kernel_size}, received {padding}")

    def _describe(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def _padded(self, x: Array, value: float) -> Array:
        if self.padding == (0, 0):
            return x
        (down, across), (height, width) = self.padding, x.shape[2:]
        padded = np.full((*x.shape[:2], height + 2 * down, width + 2 * across), value, x.dtype)
        padded[:, :, down : down + height, across : across + width] = x
        return padded

    def _unpadded(self, padded: Array) -> Array:
        (down, across), (height, width) = self.padding, padded.shape[2:]
        return padded[:, :, down : height - down, across : width - across]

    def _offsets(self, output: tuple[int, ...]) -> Iterator[tuple[int, slice, slice]]:
        """For each place in the window, row-major: its number, and the rows and columns of the padded input there."""
        (rows, columns), (down, across) = self.kernel_size, self.stride
        for place in range(rows * columns):
            i, j = divmod(place, columns)
            yield (
                place,
                slice(i, i + (output[0] - 1) * down + 1, down),
                slice(j, j + (output[1] - 1) * across + 1, across),
            )


class MaxPool2d(_Pool2d):
    """z = the greatest of each window; ties go to the first in row-major order, as in torch."""

    def forward(self, x: Array) -> Array:
        """z[n,c,i,j] = max_{u,v} x[n, c, i·s+u−p, j·s+v−p]. (N, C, H, W) → (N, C, ⌊(H + 2p − K) / s⌋ + 1, …)."""
        self._check_input(x, "N", "C", "H", "W")
        size = output_size(self, x, self.kernel_size, self.stride, self.padding)
        z = np.empty((*x.shape[:2], *size), x.dtype)
        places = self.kernel_size[0] * self.kernel_size[1]
        winner = np.zeros(z.shape, np.uint8 if places <= 256 else np.int32)  # which place of the window was taken

        def work(first: int, last: int, worker: int) -> None:
            for part in _chunks(first, last, x):
                padded, best, place_of_best = self._padded(x[part], -np.inf), z[part], winner[part]
                for place, rows, columns in self._offsets(size):
                    candidate = padded[:, :, rows, columns]
                    if place == 0:
                        best[...] = candidate
                        continue
                    np.copyto(place_of_best, place, where=candidate > best)
                    np.maximum(best, candidate, out=best)

        over_batch(work, x.shape[0], z.size * places)
        return self._keep(z, x.shape, winner)

    def backward(self, delta: Array) -> Array:
        """δ goes to the element that was the greatest, and to no other; overlapping windows add up.

        Scalar: ∂J/∂x[n,c,h,k] = Σ_{i,j} δ[n,c,i,j] · [(h,k) is the first greatest of window (i,j)]
        Vector: ∂J/∂x = Σ_{u,v} place_{u,v}(δ ∘ [winner = (u,v)])
        """
        shape, winner = self._recall(delta)
        delta_below = np.empty(shape, delta.dtype)

        def work(first: int, last: int, worker: int) -> None:
            for part in _chunks(first, last, delta_below):
                below = self._padded(np.zeros_like(delta_below[part]), 0)
                for place, rows, columns in self._offsets(delta.shape[2:]):
                    below[:, :, rows, columns] += delta[part] * (winner[part] == place)
                delta_below[part] = self._unpadded(below)

        over_batch(work, shape[0], delta.size * self.kernel_size[0] * self.kernel_size[1])
        return delta_below


class AvgPool2d(_Pool2d):
    """z = the mean of each window; zeros of the padding count unless `count_include_pad` is false."""

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        *,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.count_include_pad = count_include_pad

    def forward(self, x: Array) -> Array:
        """z[n,c,i,j] = 1/K² · Σ_{u,v} x[n, c, i·s+u−p, j·s+v−p]. (N, C, H, W) → (N, C, ⌊(H + 2p − K) / s⌋ + 1, …)."""
        self._check_input(x, "N", "C", "H", "W")
        size = output_size(self, x, self.kernel_size, self.stride, self.padding)
        divisor = self._divisor(x, size)
        z = np.empty((*x.shape[:2], *size), x.dtype)

        def work(first: int, last: int, worker: int) -> None:
            for part in _chunks(first, last, x):
                padded, total = self._padded(x[part], 0), z[part]
                for place, rows, columns in self._offsets(size):
                    if place == 0:
                        total[...] = padded[:, :, rows, columns]
                    else:
                        total += padded[:, :, rows, columns]
                total /= divisor

        over_batch(work, x.shape[0], z.size * self.kernel_size[0] * self.kernel_size[1])
        return self._keep(z, x.shape, divisor)

    def backward(self, delta: Array) -> Array:
        """Every element of a window gets an equal share of its δ; overlapping windows add up.

        Scalar: ∂J/∂x[n,c,h,k] = 1/K² · Σ δ[n,c,i,j] over the windows (i,j) that hold (h,k)
        Vector: ∂J/∂x = Σ_{u,v} place_{u,v}(δ / K²)
        """
        shape, divisor = self._recall(delta)
        delta_below = np.empty(shape, delta.dtype)

        def work(first: int, last: int, worker: int) -> None:
            for part in _chunks(first, last, delta_below):
                below, share = self._padded(np.zeros_like(delta_below[part]), 0), delta[part] / divisor
                for _, rows, columns in self._offsets(delta.shape[2:]):
                    below[:, :, rows, columns] += share
                delta_below[part] = self._unpadded(below)

        over_batch(work, shape[0], delta.size * self.kernel_size[0] * self.kernel_size[1])
        return delta_below

    def _divisor(self, x: Array, size: tuple[int, int]) -> Array:
        """How many elements each window's sum is divided by: (OH, OW)."""
        if self.count_include_pad:
            return np.full(size, self.kernel_size[0] * self.kernel_size[1], x.dtype)
        inside = self._padded(np.ones((1, 1, *x.shape[2:]), x.dtype), 0)
        counts = [inside[0, 0, rows, columns] for _, rows, columns in self._offsets(size)]
        return np.sum(counts, axis=0, dtype=x.dtype)


class _GlobalPool2d(Layer):
    """Pooling of whole maps; only an output of 1×1 is there."""

    def __init__(self, output_size: int | tuple[int, int]) -> None:
        super().__init__()
        if output_size not in (1, (1, 1), [1, 1]):
            name = type(self).__name__
            raise UsageError(f"{name}: only an output_size of 1 is supported, received {output_size!r}")
        self.output_size = 1

    def _describe(self) -> str:
        return "1"


class AdaptiveMaxPool2d(_GlobalPool2d):
    """z = the greatest of each map; ties go to the first in row-major order, as in torch."""

    def forward(self, x: Array) -> Array:
        """z[n,c] = max_{i,j} x[n,c,i,j]. (N, C, H, W) → (N, C, 1, 1)."""
        self._check_input(x, "N", "C", "H", "W")
        maps = x.reshape(*x.shape[:2], -1)  # (N, C, H·W)
        winner = maps.argmax(axis=2, keepdims=True)
        return self._keep(np.take_along_axis(maps, winner, axis=2)[..., None], x.shape, winner)

    def backward(self, delta: Array) -> Array:
        """δ goes to the element of the map that was the greatest, and to no other.

        Scalar: ∂J/∂x[n,c,i,j] = δ[n,c] where (i,j) is the place of the first greatest of the map, 0 elsewhere
        Vector: ∂J/∂x = place_{argmax}(δ)
        """
        shape, winner = self._recall(delta)
        below = np.zeros((*shape[:2], shape[2] * shape[3]), delta.dtype)
        np.put_along_axis(below, winner, delta[..., 0], axis=2)
        return below.reshape(shape)


class AdaptiveAvgPool2d(_GlobalPool2d):
    """z = the mean of each map."""

    def forward(self, x: Array) -> Array:
        """z[n,c] = 1/(H·W) · Σ_{i,j} x[n,c,i,j]. (N, C, H, W) → (N, C, 1, 1)."""
        self._check_input(x, "N", "C", "H", "W")
        return self._keep(x.mean(axis=(2, 3), keepdims=True), x.shape)

    def backward(self, delta: Array) -> Array:
        """Every element of a map gets an equal share of its δ.

        Scalar: ∂J/∂x[n,c,i,j] = δ[n,c] / (H·W)
        Vector: ∂J/∂x = δ 1ᵀ / (H·W)
        """
        (shape,) = self._recall(delta)
        return np.broadcast_to(delta / (shape[2] * shape[3]), shape).astype(delta.dtype)


def _chunks(first: int, last: int, images: Array) -> Iterator[slice]:
    step = max(1, _CHUNK // (images[0].size or 1))
    for start in range(first, last, step):
        yield slice(start, min(start + step, last))
