"""Kernels: the table, how they are typed, how they come apart."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnlab.errors import UsageError
from cnnlab.imaging.decomposition import decompose, whole_numbers
from cnnlab.imaging.kernels import KERNELS, MAX_SIZE, named_kernel
from cnnlab.imaging.levels import default_response
from cnnlab.imaging.parsing import parse_kernel
from cnnlab.imaging.plan import make_plan
from cnnlab.text import name_part

BLURS = ("identity", "blur", "gaussian", "sharpen", "unsharp", "emboss", "mean-pool")
EDGES = ("edge", "laplacian", "log", "sobel-x", "sobel-y", "prewitt-x", "prewitt-y", "scharr-x", "scharr-y", "roberts")
COMBINED = ("sobel", "prewitt", "scharr", "max-pool")


def test_the_table_is_the_one_that_is_promised() -> None:
    assert set(KERNELS) == {*BLURS, *EDGES, *COMBINED}
    assert all(row.shows and row.source for row in KERNELS.values())


@pytest.mark.parametrize("name", BLURS)
def test_blurs_keep_the_brightness(name: str) -> None:
    kernel = named_kernel(name, {})
    assert kernel.weights[0].sum() == pytest.approx(1, abs=1e-12)
    assert default_response(kernel) == "clip"


@pytest.mark.parametrize("name", EDGES)
def test_edge_kernels_sum_to_zero(name: str) -> None:
    kernel = named_kernel(name, {})
    assert kernel.sums_to_zero
    assert default_response(kernel) == "abs"


@pytest.mark.parametrize(
    ("weights", "offset", "white", "response"),
    [
        ("-1 0 0.9", 0.0, 255, "signed"),
        ("-1 0 1.1", 0.0, 255, "clip"),
        ("-1", 255.0, 255, "clip"),  # a negative
        ("-1", 100.0, 255, "signed"),
        ("-1", 255.0, 765, "signed"),
        ("-1 0 1", -50.0, 255, "abs"),
    ],
)
def test_what_is_mostly_negative_does_not_become_black(
    weights: str, offset: float, white: float, response: str
) -> None:
    assert default_response(replace(parse_kernel(weights), offset=offset), white) == response


@pytest.mark.parametrize("weight", [1.0, -1.0])
@pytest.mark.parametrize("planes", [1, 3])
def test_a_learnt_kernel_shows_both_signs(weight: float, planes: int) -> None:
    tensors = {"conv1.weight": np.full((1, planes, 3, 3), weight)}
    assert default_response(parse_kernel("x:conv1[0]", lambda run: tensors)) == "signed"


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("edge", [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
        ("sobel-x", [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
        ("sobel-y", [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),
        ("blur:normalize=false", [[1, 1, 1], [1, 1, 1], [1, 1, 1]]),
    ],
)
def test_the_lectures_matrices(name: str, rows: list[list[int]]) -> None:
    np.testing.assert_array_equal(parse_kernel(name).weights[0], rows)


def test_opencv_has_the_same_sobel_scharr_and_gaussian() -> None:
    for name, kernels in (
        ("sobel", cv2.getDerivKernels(1, 0, 3)),
        ("scharr", cv2.getDerivKernels(1, 0, cv2.FILTER_SCHARR)),
    ):
        along, down = kernels
        np.testing.assert_array_equal(parse_kernel(f"{name}-x").matrices[0], np.outer(down, along))
        np.testing.assert_array_equal(parse_kernel(f"{name}-y").matrices[0], np.outer(along, down))
    for size, sigma in ((7, 1.5), (15, 0.0), (9, 2.0)):
        line = cv2.getGaussianKernel(size, sigma)
        text = f"gaussian:size={size}" + (f",sigma={sigma}" if sigma else "")
        np.testing.assert_allclose(parse_kernel(text).matrices[0], np.outer(line, line), atol=1e-12)


def test_the_laplacian_of_gaussian_is_the_second_derivative() -> None:
    matrix = parse_kernel("log:size=41,sigma=3").matrices[0]
    x = np.arange(41) - 20
    parabola = (x[:, None] ** 2 + x**2) / 2  # its Laplacian is 2 everywhere
    assert (matrix * parabola).sum() == pytest.approx(2, rel=1e-3)


def test_unsharp_adds_what_a_blur_takes_away() -> None:
    blurred = parse_kernel("gaussian:size=5,sigma=1").matrices[0]
    sharp = parse_kernel("unsharp:size=5,sigma=1,amount=0.5").matrices[0]
    identity = np.zeros((5, 5))
    identity[2, 2] = 1
    np.testing.assert_allclose(sharp, identity + 0.5 * (identity - blurred), atol=1e-15)


@pytest.mark.parametrize("name", ["gaussian", "unsharp", "log"])
@pytest.mark.parametrize("size", [3, 4])
def test_a_sigma_of_almost_nothing_leaves_the_middle_pixels(name: str, size: int) -> None:
    matrix = parse_kernel(f"{name}:size={size},sigma=0.001").matrices[0]
    middle = np.zeros(size)
    middle[(size - 1) // 2 : size // 2 + 1] = 1 / (2 - size % 2)
    blurred = np.outer(middle, middle)
    identity = np.zeros((size, size))
    identity[size // 2, size // 2] = 1
    expected = {"gaussian": blurred, "unsharp": 2 * identity - blurred, "log": 0 * blurred}[name]
    np.testing.assert_array_equal(matrix, expected)
    decompose(matrix)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("-1 0 1; -2 0 2; -1 0 1", [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
        ("1,2;3,4;", [[1, 2], [3, 4]]),
        ("[1 2e-1 .5]", [[1, 0.2, 0.5]]),
        ("1/9 2/9; 0 -1/4", [[1 / 9, 2 / 9], [0, -0.25]]),
        ("7", [[7]]),
        ("1, 2, 3; 4, 5, 6", [[1, 2, 3], [4, 5, 6]]),
        ("1 , 2 ; 3 , 4", [[1, 2], [3, 4]]),
        ("[[1,2,1],[0,0,0],[-1,-2,-1]]", [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]),
        ("[ [1, .5], [0, 1/4] ]", [[1, 0.5], [0, 0.25]]),
        ("[[1 2]\n [3 4]]", [[1, 2], [3, 4]]),  # as NumPy prints it
    ],
)
def test_inline_matrices(text: str, rows: list[list[float]]) -> None:
    kernel = parse_kernel(text)
    assert kernel.name == "custom"
    np.testing.assert_array_equal(kernel.matrices[0], rows)


@pytest.mark.parametrize(
    "text", ["1 2; 3", ";", "1;;2", "1,,2", "a b; c d", "nan 1", "inf 1", "1e400 1", "1/0 1", "1 true", "2e9 1"]
)
def test_no_matrices(text: str) -> None:
    with pytest.raises(UsageError):
        parse_kernel(text)


@pytest.mark.parametrize(
    "text", ["[[1,2],[3]]", "[[1,2],,[3,4]]", "[[[1,2],[3,4]],[[5,6],[7,8]]]", "[[a,b]]", "[[],[]]"]
)
def test_no_nested_matrices(text: str) -> None:
    with pytest.raises(UsageError):
        parse_kernel(text)


@pytest.mark.parametrize("text", ["0,5 0,5; 0,5 0,5", "0,5, 0,5; 0,5, 0,5", "1 2; 0,5 0,5", "[[0,5 0,5],[1 2]]"])
def test_decimal_commas_are_not_read_as_more_numbers(text: str) -> None:
    with pytest.raises(UsageError, match=r"is ambiguous: commas and spaces are mixed in '0,5,? 0,5'") as caught:
        parse_kernel(text)
    assert 'Write "0.5 0.5; 0.5 0.5": a point in numbers' in (caught.value.hint or "")


def test_an_oversized_matrix_is_refused() -> None:
    for text in (" ".join(["1"] * (MAX_SIZE + 1)), f"[{','.join(['[1]'] * (MAX_SIZE + 1))}]"):
        with pytest.raises(UsageError, match=f"a side may be {MAX_SIZE} at most"):
            parse_kernel(text)


@pytest.mark.parametrize("text", ["../../etc/passwd", "a:b*c?", "\x1b[31m", "CON.", "层 1", "", "x" * 300])
def test_names_become_legal_parts_of_file_names(text: str) -> None:
    part = name_part(text, "kernel")
    assert 0 < len(part) <= 60
    assert not set(part) & set('<>:"/\\|?*\x1b\0')
    assert not part.startswith(".")
    assert not part.endswith((".", " "))


def test_whole_factors_of_sobel() -> None:
    parts = decompose(parse_kernel("sobel-x").matrices[0])
    assert parts.whole
    [pair] = parts.pairs
    assert (pair.column.tolist(), pair.row.tolist(), pair.scale) == ([1, 2, 1], [-1, 0, 1], 1)
    assert parts.explain() == "rank 1: 3 + 3 multiplications instead of 9"
    assert "no saving" in decompose(parse_kernel("edge").matrices[0]).explain()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_parts_sum_to_the_kernel(rank: int, height: int, width: int, whole: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    factors = [
        random.integers(-5, 6, (2, max(height, width))) if whole else random.normal(size=(2, 7)) for _ in range(rank)
    ]
    matrix = sum(np.outer(u[:height], v[:width]) for u, v in factors).astype(float)
    parts = decompose(matrix)
    assert parts.rank == np.linalg.matrix_rank(matrix)
    rebuilt = sum((pair.scale * np.outer(pair.column, pair.row) for pair in parts.pairs), np.zeros_like(matrix))
    np.testing.assert_allclose(rebuilt, matrix, atol=1e-9 * max(np.abs(matrix).max(), 1))
    if whole and parts.rank == 1:
        assert parts.whole
        assert all(float(value).is_integer() for pair in parts.pairs for value in (*pair.column, *pair.row))
        np.testing.assert_array_equal(rebuilt, matrix)


@pytest.mark.parametrize(
    ("rows", "whole", "scale"),
    [
        ([[0.25, 0.5, 0.25]], [[1, 2, 1]], 0.25),
        ([[1 / 9] * 3], [[1, 1, 1]], 1 / 9),
        ([[4, 8], [12, 16]], [[1, 2], [3, 4]], 4),
        ([[0.1, 0.25]], [[2, 5]], 0.05),
        ([[0.0, 0.0]], [[0, 0]], 1),
        ([[math.pi, 1.0]], None, None),
        ([[5e-324, 1.0]], None, None),  # the smallest float64: half of it is 0
        ([[5e-324, 1e-323]], [[1, 2]], 5e-324),
    ],
)
def test_whole_numbers(rows: list[list[float]], whole: list[list[int]] | None, scale: float | None) -> None:
    form = whole_numbers(np.array(rows))
    if whole is None:
        assert form is None
        return
    assert form is not None
    np.testing.assert_array_equal(form[0], whole)
    assert form[1] == pytest.approx(scale, rel=1e-12)


def test_plans_take_the_cheap_way_in_the_narrowest_numbers() -> None:
    def plan(text: str, max_value: float = 255):
        kernel = parse_kernel(text)
        return make_plan(kernel.matrices[0], kernel.scale, max_value, precise=False)

    assert plan("sobel-x").dtype == np.int16
    assert plan("sobel-x").cost <= 3  # [1 1] ∗ [1 1], and a difference
    assert plan("sobel-x", 65535).dtype == np.float32
    assert plan("blur:size=61").tile_dtype == np.int16
    assert plan("gaussian:size=15").dtype == np.float32
    assert plan("gaussian:size=15").cost < 2 * 15 * 15 / 4
    assert len(plan("edge").terms) == 2  # a box, and the middle on top of it
    assert plan("100000 1 3").dtype == np.float64


def test_a_bound_that_int16_cannot_hold_is_not_put_into_it() -> None:
    # Σ |w| = 128 fits 255 · 128 = 32,640; one more does not.
    assert make_plan(np.array([[128.0, 0.0]]) - np.array([[1.0, -1.0]]), 1, 255, precise=False).dtype == np.int16
    assert make_plan(np.array([[128.0, 1.0]]), 1, 255, precise=False).dtype == np.float32
