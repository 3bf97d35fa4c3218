"""Correlation against references of others: SciPy on the picture padded by NumPy, and OpenCV."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cnnlab.errors import UsageError
from cnnlab.imaging import tiles
from cnnlab.imaging.correlation import Correlation, Range
from cnnlab.imaging.kernels import KERNELS, Kernel, named_kernel
from cnnlab.imaging.levels import default_response, to_levels
from cnnlab.imaging.passes import Scratch
from cnnlab.imaging.tiles import PADS, Pad, Region

NUMPY_MODES = {"reflect": "reflect", "zero": "constant", "edge": "edge", "wrap": "wrap"}


def reference(pixels: np.ndarray, matrix: np.ndarray, pad: Pad, stride: int) -> np.ndarray:
    """SciPy's correlation in float64, on the picture that NumPy padded: (H', W', C)."""
    height, width = matrix.shape
    padded = pixels.astype(np.float64)
    if pad != "none":
        margins = ((height // 2, (height - 1) // 2), (width // 2, (width - 1) // 2), (0, 0))
        padded = np.pad(padded, margins, mode=NUMPY_MODES[pad])  # type: ignore[call-overload]
    planes = [ndimage.correlate(padded[:, :, c], matrix, mode="constant") for c in range(pixels.shape[2])]
    top, left = height // 2, width // 2
    bottom, right = padded.shape[0] - (height - 1) // 2, padded.shape[1] - (width - 1) // 2
    return np.stack(planes, axis=2)[top:bottom:stride, left:right:stride]


def correlate(
    pixels: np.ndarray,
    matrix: np.ndarray,
    *,
    pad: Pad = "reflect",
    stride: int = 1,
    flip: bool = False,
    threads: int | None = None,
) -> np.ndarray:
    """The response z = Σ Σ a · w as float64, put together from its tiles: (H, W[, C]) to (H', W'[, C])."""
    kernel = Kernel("k", (matrix,))
    plane = pixels if pixels.ndim == 3 else pixels[:, :, None]
    job = Correlation(plane, kernel.flipped() if flip else kernel, pad, stride)
    out = np.empty(job.shape)

    def keep(response: np.ndarray, region: Region, scratch: Scratch, ends: Range) -> None:
        np.multiply(response, job.scale, out=out[region], dtype=np.float64)

    job.run(keep, threads)
    return out if pixels.ndim == 3 else out[:, :, 0]


def levels(pixels: np.ndarray, kernel: Kernel, pad: Pad, stride: int) -> np.ndarray:
    return to_levels(Correlation(pixels, kernel, pad, stride, precise=False), "clip")[0]


pictures = st.tuples(st.integers(1, 24), st.integers(1, 24), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1)).map(
    lambda s: np.random.default_rng(s[3]).integers(0, 256, s[:3], dtype=np.uint8)
)


@st.composite
def matrices(draw: st.DrawFn, *, whole: bool) -> np.ndarray:
    """Of every sort that has a plan of its own: free, separable, constant, constant but for a few taps."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    limit = draw(st.sampled_from([1, 3, 50, 3000]))

    def numbers(*shape: int) -> np.ndarray:
        return random.integers(-limit, limit + 1, shape).astype(float) if whole else random.normal(size=shape) * limit

    sort = draw(st.sampled_from(["free", "separable", "constant", "background", "sum of two"]))
    if sort == "free":
        return numbers(height, width)
    if sort == "separable":
        return np.outer(numbers(height), numbers(width))
    if sort == "sum of two":
        return np.outer(numbers(height), numbers(width)) + np.outer(numbers(height), numbers(width))
    matrix = np.full((height, width), numbers(1)[0])
    if sort == "background":
        matrix[height // 2, width // 2] = numbers(1)[0]
    return matrix


def skip_where_nothing_fits(pixels: np.ndarray, matrix: np.ndarray, pad: Pad) -> bool:
    return pad == "none" and (matrix.shape[0] > pixels.shape[0] or matrix.shape[1] > pixels.shape[1])


@settings(max_examples=100, deadline=None)
@given(pictures, matrices(whole=True), st.sampled_from(PADS), st.integers(1, 4))
def test_whole_kernels_are_exact(pixels: np.ndarray, matrix: np.ndarray, pad: Pad, stride: int) -> None:
    if skip_where_nothing_fits(pixels, matrix, pad):
        return
    expected = reference(pixels, matrix, pad, stride)
    np.testing.assert_array_equal(correlate(pixels, matrix, pad=pad, stride=stride), np.rint(expected))
    picture = levels(pixels, Kernel("k", (matrix,)), pad, stride)
    np.testing.assert_array_equal(picture, np.clip(np.rint(expected), 0, 255))


@settings(max_examples=100, deadline=None)
@given(pictures, matrices(whole=False), st.sampled_from(PADS), st.integers(1, 4))
def test_float_kernels_are_within_one_level_and_one_in_100000(
    pixels: np.ndarray, matrix: np.ndarray, pad: Pad, stride: int
) -> None:
    if skip_where_nothing_fits(pixels, matrix, pad):
        return
    expected = reference(pixels, matrix, pad, stride)
    scale = np.abs(matrix).sum() * 255
    np.testing.assert_allclose(
        correlate(pixels, matrix, pad=pad, stride=stride), expected, rtol=1e-5, atol=1e-12 * scale
    )
    picture = levels(pixels, Kernel("k", (matrix,)), pad, stride)
    assert np.abs(picture - np.clip(np.rint(expected), 0, 255)).max() <= 1


@settings(max_examples=50, deadline=None)
@given(pictures, matrices(whole=True), st.sampled_from([("reflect", 4), ("zero", 0), ("edge", 1)]))
def test_opencv_agrees(pixels: np.ndarray, matrix: np.ndarray, pad: tuple[Pad, int]) -> None:
    if pad[0] == "reflect" and min(pixels.shape[:2]) < max(matrix.shape):
        return  # OpenCV reflects once only
    expected = cv2.filter2D(pixels.astype(np.float64), cv2.CV_64F, matrix, borderType=pad[1])
    ours = correlate(pixels, matrix, pad=pad[0])
    np.testing.assert_allclose(ours, expected.reshape(ours.shape), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(pictures, matrices(whole=False), st.sampled_from(["zero", "wrap", "none"]))
def test_flip_is_convolution(pixels: np.ndarray, matrix: np.ndarray, pad: Pad) -> None:
    if skip_where_nothing_fits(pixels, matrix, pad):
        return
    np.testing.assert_allclose(
        correlate(pixels, matrix, pad=pad, flip=True), correlate(pixels, matrix[::-1, ::-1], pad=pad)
    )


@settings(max_examples=40, deadline=None)
@given(matrices(whole=False), st.integers(0, 2**32 - 1))
def test_linear_and_adjoint(matrix: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, 12, 13))
    np.testing.assert_allclose(
        correlate(2 * a - 3 * b, matrix),
        2 * correlate(a, matrix) - 3 * correlate(b, matrix),
        atol=1e-8 * np.abs(matrix).sum(),
    )
    if matrix.shape[0] % 2 and matrix.shape[1] % 2:  # the adjoint of correlation is convolution: ⟨Ka, b⟩ = ⟨a, Kᵀb⟩
        left = np.vdot(correlate(a, matrix, pad="zero"), b)
        right = np.vdot(a, correlate(b, matrix, pad="zero", flip=True))
        np.testing.assert_allclose(left, right, atol=1e-8 * np.abs(matrix).sum())


@pytest.mark.parametrize("name", sorted(KERNELS))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_named_kernel(name: str, dtype: type) -> None:
    random = np.random.default_rng(5)
    pixels = random.integers(0, np.iinfo(dtype).max + 1, (31, 29, 3 if dtype == np.uint8 else 1), dtype=dtype)
    kernel = named_kernel(name, {})
    pad: Pad = "none" if kernel.stride else "reflect"
    stride = kernel.stride or 1
    if kernel.kind == "max":
        expected = ndimage.maximum_filter(pixels, size=(2, 2, 1))[1::2, 1::2].astype(float)
    else:
        parts = [reference(pixels, weights, pad, stride) for weights in kernel.weights]
        expected = np.hypot(*parts) if kernel.kind == "magnitude" else parts[0]
    response = default_response(kernel)
    if response == "abs":
        expected = np.abs(expected)
    picture, low, high = to_levels(Correlation(pixels, kernel, pad, stride), response, dtype)
    difference = picture - np.clip(np.rint(expected), 0, np.iinfo(dtype).max)
    assert np.abs(difference).max() <= (0 if kernel.matrices[0].dtype == int else 1)
    assert picture.dtype == dtype
    assert low <= high
    if response == "clip":
        np.testing.assert_allclose([low, high], [expected.min(), expected.max()], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("tile_bytes", [1, 3000])
def test_tiles_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch, tile_bytes: int) -> None:
    random = np.random.default_rng(7)
    pixels = random.integers(0, 256, (157, 243, 3), dtype=np.uint8)
    options = list(itertools.product(PADS, (1, 3), ((3, 3), (1, 40), (31, 2))))
    whole = [correlate(pixels, np.ones(size), pad=pad, stride=stride) for pad, stride, size in options]
    monkeypatch.setattr(tiles, "TILE_BYTES", tile_bytes)
    monkeypatch.setattr(tiles, "_INLINE_NUMBERS", 0)
    for (pad, stride, size), expected in zip(options, whole, strict=True):
        cut = correlate(pixels, np.ones(size), pad=pad, stride=stride, threads=3)
        np.testing.assert_array_equal(cut, expected)


def test_levels_of_each_response() -> None:
    pixels = np.array([[[0], [100], [50]]], dtype=np.uint8)
    kernel = Kernel("k", (np.array([[-1.0, 1.0, 0.0]]),))  # differences 0 − 100 (reflected), 100, −50
    job = Correlation(pixels, kernel)
    expected = {
        "clip": [0, 100, 0],
        "abs": [100, 100, 50],
        "signed": [1, 255, 64],  # 128 + 127 · v / 100; 64.5 goes to the even 64
        "scale": [0, 255, 64],  # (v + 100) · 255 / 200 = 63.75
    }
    for response, picture in expected.items():
        out, low, high = to_levels(job, response)  # type: ignore[arg-type]
        assert out[0, :, 0].tolist() == picture, response
        assert (low, high) == (-100, 100)


@pytest.mark.parametrize(
    ("dtype", "kernel", "level"),
    [
        (np.uint8, Kernel("k", (np.array([[1.0]]),), offset=0.5), 255),
        (np.uint8, Kernel("k", (np.array([[3.5]]),)), 73),  # 73 · 3.5 = 255.5
        (np.uint8, Kernel("k", (np.array([[1.0]]),), offset=0.499999), 255),  # 255.5 in float32 only
        (np.uint16, Kernel("k", (np.array([[1.0]]),), offset=0.5), 65535),
    ],
)
def test_white_and_a_half_stays_white(dtype: type, kernel: Kernel, level: int) -> None:
    job = Correlation(np.full((4, 5, 1), level, dtype), kernel, precise=False)
    for response in ("clip", "abs"):
        assert np.unique(to_levels(job, response, dtype)[0]).tolist() == [np.iinfo(dtype).max]  # type: ignore[arg-type]


@pytest.mark.parametrize("last", [*range(2, 60), 1023, 16383])
def test_spread_levels_are_rounded_to_the_nearest_halves_to_even(last: int) -> None:
    pixels = np.linspace(0, last, 2000).astype(np.uint16)[None, :, None]
    job = Correlation(pixels, named_kernel("identity", {}), precise=False)
    for response, top, middle in (("scale", 255, 0), ("signed", 127, 128)):
        whole, rest = np.divmod(pixels.astype(np.int64) * top + middle * last, last)
        expected = whole + (2 * rest + whole % 2 > last)
        np.testing.assert_array_equal(to_levels(job, response)[0], expected, err_msg=response)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_means_over_boxes_are_rounded_halves_to_even(dtype: type) -> None:
    """1/484, say, is no binary number: the sum is divided by 484, not multiplied by what is nearest to its inverse."""
    for side, level in itertools.product((2, 3, 14, 22, 34, 44), range(0, 250, 3)):
        pixels = np.full((side, side, 1), level, dtype)
        pixels[: side // 2] += 1
        job = Correlation(pixels, named_kernel("blur", {"size": side}), pad="none")
        assert to_levels(job, "clip", dtype)[0].ravel().tolist() == [round(int(pixels.sum()) / side**2)]


@pytest.mark.parametrize(("response", "level"), [("signed", 128), ("scale", 0)])
@pytest.mark.parametrize("kernel", ["edge", "sobel-x", "noise"])
def test_rounding_alone_is_no_picture(kernel: str, response, level: int) -> None:
    """One colour under changing transparency, or weights that are not whole and sum to 0: the response is 0."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(5, 5))
    chosen = Kernel("noise", (weights - weights.mean(),)) if kernel == "noise" else named_kernel(kernel, {})
    alpha = None if kernel == "noise" else random.integers(1, 256, (40, 60), np.uint8)
    for precise in (True, False):
        job = Correlation(np.full((40, 60, 3), 137, np.uint8), chosen, alpha=alpha, precise=precise)
        assert np.unique(to_levels(job, response)[0]).tolist() == [level]


def test_a_small_response_of_large_whole_weights_is_no_rounding() -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (9, 9, 1), np.uint8)
    job = Correlation(pixels, Kernel("large", (np.array([[1e6, 1 - 1e6]]),)), pad="none")
    assert {int(level) for level in np.unique(to_levels(job, "signed")[0])} == {1, 128, 255}
    weights = np.zeros((15, 15))  # added up in float32, in which so many weights could make 5 of 0 by rounding
    weights[7, 7:9] = 32_000, -31_999
    quiet = Correlation(np.full((20, 20, 1), 3, np.uint8), Kernel("large", (weights,)))
    assert np.unique(to_levels(quiet, "signed")[0]).tolist() == [255]


def test_a_flat_picture_is_zero_signed_mid_gray_and_no_crash_scaled() -> None:
    job = Correlation(np.full((5, 5, 1), 9, np.uint8), named_kernel("edge", {}))
    assert np.unique(to_levels(job, "signed")[0]).tolist() == [128]
    assert np.unique(to_levels(job, "scale")[0]).tolist() == [0]


def test_colour_hidden_under_transparency_reaches_nothing() -> None:
    random = np.random.default_rng(9)
    pixels = random.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    alpha = random.choice(np.array([0, 255], np.uint8), (20, 20))
    other = np.where(alpha[:, :, None] > 0, pixels, random.integers(0, 256, pixels.shape)).astype(np.uint8)
    for name in sorted(KERNELS):
        kernel = named_kernel(name, {})
        pad: Pad = "none" if kernel.stride else "reflect"
        seen = []
        for version in (pixels, other):
            job = Correlation(version, kernel, pad, kernel.stride or 1, alpha)
            picture = to_levels(job, "clip")[0]
            visible = alpha[job.grids[0].anchors][:, job.grids[1].anchors] > 0
            seen.append(picture[visible])
        np.testing.assert_array_equal(*seen, err_msg=name)


def test_the_outline_of_a_shape_is_no_edge() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (20, 20, 1), dtype=np.uint8)
    alpha = np.zeros((20, 20), np.uint8)
    alpha[5:15, 5:15] = 255
    pixels[5:15, 5:15] = 200
    for name, level in (("edge", 0), ("sobel", 0), ("blur", 200), ("gaussian", 200), ("sharpen", 200)):
        picture = to_levels(Correlation(pixels, named_kernel(name, {}), alpha=alpha), "abs")[0]
        assert np.unique(picture[5:15, 5:15]).tolist() == [level], name


def test_opaque_alpha_changes_nothing() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    alpha = np.full((9, 9), 255, np.uint8)
    for name in sorted(KERNELS):
        kernel = named_kernel(name, {})
        plain, clothed = (to_levels(Correlation(pixels, kernel, "zero", alpha=a), "clip")[0] for a in (None, alpha))
        np.testing.assert_array_equal(plain, clothed, err_msg=name)


def test_too_large_a_kernel_and_a_bad_stride() -> None:
    pixels = np.zeros((4, 9), np.uint8)
    with pytest.raises(UsageError, match="larger than the picture: height 5 against 4"):
        correlate(pixels, np.ones((5, 2)), pad="none")
    with pytest.raises(UsageError, match="stride must be 1 or more, received 0"):
        correlate(pixels, np.ones((2, 2)), stride=0)


def test_sobel_x_answers_to_vertical_edges_and_sobel_y_to_horizontal_ones() -> None:
    pixels = np.zeros((40, 40, 1), np.uint8)
    pixels[:, 20:] = 200  # one vertical edge
    across = to_levels(Correlation(pixels, named_kernel("sobel-x", {})), "abs")[0]
    down = to_levels(Correlation(pixels, named_kernel("sobel-y", {})), "abs")[0]
    assert across[:, 19:21].min() == 255
    assert across[:, :19].max() == 0
    assert down.max() == 0
    turned = pixels.transpose(1, 0, 2)
    np.testing.assert_array_equal(
        to_levels(Correlation(turned, named_kernel("sobel-y", {})), "abs")[0], across.transpose(1, 0, 2)
    )
