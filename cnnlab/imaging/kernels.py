"""What a kernel is, and the table of the named ones: matrix, options, what it shows, where it comes from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from cnnlab.errors import UsageError
from cnnlab.recipe.spec import Scalar
from cnnlab.text import cut, did_you_mean, printable

MAX_SIZE = 501
"""Longest side of a kernel."""
MAX_WEIGHT = 1e9
"""Largest magnitude of a weight, a scale or an offset; beyond it sums of products are no longer worth the name."""

Kind = Literal["linear", "planes", "magnitude", "max"]


@dataclass(frozen=True, eq=False)
class Kernel:
    """One operation on a picture.

    `kind` says what the matrices, each (kh, kw), are for:
        linear: response = scale · Σ matrix · pixels + offset, in each channel;
        planes: one matrix a channel, the responses summed: a convolutional layer's output channel;
        magnitude: √(gx² + gy²) of two responses;
        max: the largest pixel under a matrix of ones.
    `name` is a part of file names. `stride` is a pool's own step, None for all others; a pool takes whole windows
    only. `title` is what was asked for, options and all, where it says more than the name. `learnt`: a net's own.
    """

    name: str
    matrices: tuple[np.ndarray, ...]
    kind: Kind = "linear"
    scale: float = 1.0
    offset: float = 0.0
    stride: int | None = None
    title: str = ""
    learnt: bool = False

    @property
    def label(self) -> str:
        """The kernel as a person named it."""
        return self.title or self.name

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.matrices[0].shape
        return height, width

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """The matrices with the scale multiplied in."""
        return tuple(matrix * self.scale for matrix in self.matrices)

    @property
    def sums_to_zero(self) -> bool:
        """Whether a flat picture gives no response but the offset: true of edge kernels."""
        if self.kind not in ("linear", "planes"):
            return False
        total = sum(math.fsum(matrix.ravel()) for matrix in self.matrices)
        return abs(total) <= 1e-9 * sum(float(np.abs(matrix).sum()) for matrix in self.matrices)

    def flipped(self) -> "Kernel":
        """The kernel turned by 180°: correlation with it is convolution with this one."""
        turned = tuple(matrix[::-1, ::-1] for matrix in self.matrices)
        return replace(self, matrices=turned)


def checked_matrix(rows: object, where: str) -> np.ndarray:
    """A matrix (kh, kw) float64 from nested lists or an array.

    Raises:
        UsageError: empty, ragged, not of finite numbers, or larger than `MAX_SIZE`.
    """
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{where} is not a matrix of numbers with rows of equal length", hint=_MATRIX_HINT) from None
    if matrix.ndim != 2 or matrix.size == 0:
        raise UsageError(f"{where} is empty or no matrix: received the shape {matrix.shape}", hint=_MATRIX_HINT)
    if max(matrix.shape) > MAX_SIZE:
        raise UsageError(f"{where} is {matrix.shape[0]}×{matrix.shape[1]}; a side may be {MAX_SIZE} at most")
    if not np.isfinite(matrix).all() or np.abs(matrix).max() > MAX_WEIGHT:
        raise UsageError(f"{where} holds a weight that is not finite or beyond ±{MAX_WEIGHT:g}")
    return matrix


_MATRIX_HINT = 'Write rows with semicolons between them: "-1 0 1; -2 0 2; -1 0 1"'


@dataclass(frozen=True)
class NamedKernel:
    """A row of the table: `options` with their defaults, `build` from them to a kernel."""

    name: str
    shows: str
    source: str
    build: Callable[..., Kernel]
    options: Mapping[str, Scalar] = field(default_factory=dict)


def named_kernel(name: str, options: Mapping[str, Scalar]) -> Kernel:
    """The kernel `name` of the table with its options.

    Raises:
        UsageError: no such kernel, no such option, an option out of range.
    """
    row = KERNELS.get(name)
    if row is None:
        learnt = ":" in name and name.partition(":")[0] not in KERNELS
        run, _, layer = name.partition(":")
        learnt_as = f"{cut(run)}:{cut(layer.partition('[')[0]) or 'conv1'}[0]"
        hint = f"A learnt kernel is written {learnt_as}, 0 being its channel" if learnt else did_you_mean(name, KERNELS)
        raise UsageError(f"there is no kernel {printable(name)!r}", hint=hint)
    for key, value in options.items():
        if key not in row.options:
            valid = did_you_mean(key, row.options) if row.options else f"{name} has no options"
            raise UsageError(f"the kernel {name} has no option {printable(key)!r}", hint=valid)
        _check_option(name, key, value)
    kernel = row.build(**{**row.options, **options})
    title = ",".join(f"{key}={value}".lower() for key, value in options.items())
    return replace(kernel, title=f"{name}:{title}") if options else kernel


def _check_option(name: str, key: str, value: Scalar) -> None:
    def wrong(expected: str) -> UsageError:
        return UsageError(f"{name}:{key}: expected {expected}, received {printable(value)!r}")

    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in ("size", "stride"):
        if not (isinstance(value, int) and number and 1 <= value <= MAX_SIZE):
            raise wrong(f"a whole number from 1 to {MAX_SIZE}")
    elif key == "normalize":
        if not isinstance(value, bool):
            raise wrong("true or false")
    elif not (number and 1e-3 <= float(value) <= 1e3):  # type: ignore[arg-type]  # sigma, amount
        raise wrong("a number from 0.001 to 1000")


def gaussian_matrix(size: int | None, sigma: float | None) -> np.ndarray:
    """Samples of a Gaussian, normalised to sum 1: (size, size) float64.

    Without a size it reaches to 3σ; without a sigma it is OpenCV's 0.3 · ((size − 1) / 2 − 1) + 0.8.
    """
    if size is None:
        size = 5 if sigma is None else min(2 * math.ceil(3 * sigma) + 1, MAX_SIZE)
    if sigma is None:
        sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8
    bell = _bell(np.arange(size) - (size - 1) / 2, sigma)
    return np.outer(bell, bell)


def _bell(x: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian at `x`, normalised to sum 1."""
    exponents = x**2 / (2 * sigma**2)
    bell = np.exp(exponents.min() - exponents)  # with an even size no x is 0: all could be 0 in float64, their sum too
    return np.asarray(bell / bell.sum())


def _identity_matrix(size: int) -> np.ndarray:
    matrix = np.zeros((size, size))
    matrix[size // 2, size // 2] = 1
    return matrix


def _plain(name: str, shows: str, source: str, *rows: list[int]) -> NamedKernel:
    matrix = np.array(rows, dtype=np.float64)
    return NamedKernel(name, shows, source, lambda: Kernel(name, (matrix,)))


def _blur(size: int, normalize: bool) -> Kernel:
    return Kernel("blur", (np.ones((size, size)),), scale=1 / size**2 if normalize else 1.0)


def _gaussian(size: int | None, sigma: float | None) -> Kernel:
    return Kernel("gaussian", (gaussian_matrix(size, sigma),))


def _unsharp(size: int | None, sigma: float | None, amount: float) -> Kernel:
    blur = gaussian_matrix(size, sigma)
    return Kernel("unsharp", ((1 + amount) * _identity_matrix(len(blur)) - amount * blur,))


def _laplacian_of_gaussian(size: int | None, sigma: float) -> Kernel:
    if size is None:
        size = min(2 * math.ceil(4 * sigma) + 1, MAX_SIZE)
    x = np.arange(size) - (size - 1) / 2
    bell = _bell(x, sigma)
    curvature = (x**2 - sigma**2) / sigma**4 * bell  # the second derivative of the bell
    curvature -= bell * curvature.sum()  # exactly 0 in sum, cut off or not; and still of rank 2
    return Kernel("log", (np.outer(curvature, bell) + np.outer(bell, curvature),))


def _max_pool(size: int, stride: int | None) -> Kernel:
    return Kernel("max-pool", (np.ones((size, size)),), kind="max", stride=stride or size)


def _mean_pool(size: int, stride: int | None) -> Kernel:
    return Kernel("mean-pool", (np.ones((size, size)),), scale=1 / size**2, stride=stride or size)


_SOBEL_X = [-1, 0, 1], [-2, 0, 2], [-1, 0, 1]
_PREWITT_X = [-1, 0, 1], [-1, 0, 1], [-1, 0, 1]
_SCHARR_X = [-3, 0, 3], [-10, 0, 10], [-3, 0, 3]


def _turned(rows: tuple[list[int], ...]) -> tuple[list[int], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))


def _magnitude(name: str, rows: tuple[list[int], ...], source: str) -> NamedKernel:
    gx = np.array(rows, dtype=np.float64)
    shows = f"edges of every direction: √(gx² + gy²) of {name}-x and {name}-y"
    return NamedKernel(name, shows, source, lambda: Kernel(name, (gx, gx.T), kind="magnitude"))


_SOBEL_SOURCE = "Sobel and Feldman 1968"
_PREWITT_SOURCE = "Prewitt 1970"
_SCHARR_SOURCE = "Scharr 2000"
_POOL_SOURCE = "the lecture; as torch.nn does it"
_VERTICAL = "vertical edges: brightness rising to the right"
_HORIZONTAL = "horizontal edges: brightness rising downwards"

KERNELS: dict[str, NamedKernel] = {
    row.name: row
    for row in (
        _plain("identity", "the picture itself", "—", [0, 0, 0], [0, 1, 0], [0, 0, 0]),
        _plain("edge", "edges of every direction", "the lecture", [-1, -1, -1], [-1, 8, -1], [-1, -1, -1]),
        _plain("laplacian", "edges, as second derivative", "Δ by finite differences", [0, 1, 0], [1, -4, 1], [0, 1, 0]),
        NamedKernel(
            "blur",
            "a mean of the neighbours (sum 1; normalize=false: plain ones)",
            "the lecture: box filter",
            _blur,
            {"size": 3, "normalize": True},
        ),
        NamedKernel(
            "gaussian",
            "a blur without corners (sum 1)",
            "exp(−r² / 2σ²)",
            _gaussian,
            {"size": None, "sigma": None},
        ),
        _plain("sharpen", "more contrast at edges (sum 1)", "identity − Δ", [0, -1, 0], [-1, 5, -1], [0, -1, 0]),
        NamedKernel(
            "unsharp",
            "sharpened by what a Gaussian blur takes away (sum 1)",
            "unsharp masking: I + amount · (I − gaussian)",
            _unsharp,
            {"size": None, "sigma": None, "amount": 1.0},
        ),
        _plain("emboss", "a relief lit from the lower right (sum 1)", "—", [-2, -1, 0], [-1, 1, 1], [0, 1, 2]),
        _plain("sobel-x", _VERTICAL, _SOBEL_SOURCE, *_SOBEL_X),
        _plain("sobel-y", _HORIZONTAL, _SOBEL_SOURCE, *_turned(_SOBEL_X)),
        _plain("prewitt-x", _VERTICAL, _PREWITT_SOURCE, *_PREWITT_X),
        _plain("prewitt-y", _HORIZONTAL, _PREWITT_SOURCE, *_turned(_PREWITT_X)),
        _plain("scharr-x", _VERTICAL, _SCHARR_SOURCE, *_SCHARR_X),
        _plain("scharr-y", _HORIZONTAL, _SCHARR_SOURCE, *_turned(_SCHARR_X)),
        _plain("roberts", "diagonal edges", "Roberts 1963", [1, 0], [0, -1]),
        NamedKernel(
            "log",
            "edges and blobs of one scale: Laplacian of Gaussian (sum 0)",
            "Marr and Hildreth 1980",
            _laplacian_of_gaussian,
            {"size": None, "sigma": 1.4},
        ),
        NamedKernel(
            "max-pool",
            "the largest pixel of each window (stride: the size)",
            _POOL_SOURCE,
            _max_pool,
            {"size": 2, "stride": None},
        ),
        NamedKernel(
            "mean-pool",
            "the mean of each window (stride: the size)",
            _POOL_SOURCE,
            _mean_pool,
            {"size": 2, "stride": None},
        ),
        _magnitude("sobel", _SOBEL_X, _SOBEL_SOURCE),
        _magnitude("prewitt", _PREWITT_X, _PREWITT_SOURCE),
        _magnitude("scharr", _SCHARR_X, _SCHARR_SOURCE),
    )
}
