"""Central differences: exact where all is smooth, and kinks told from errors."""

import numpy as np
import pytest

from cnnlab.gradient_check.differences import central_differences
from cnnlab.gradient_check.verdicts import relative_error


def differentiate(f, x):
    """Σ f(x) differentiated by every element of the vector x."""
    array = np.array(x, np.float64)
    return central_differences(lambda: f(array), array, np.ones_like(f(array)), [(i,) for i in range(len(array))])


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (np.sin, np.cos),
        (np.exp, np.exp),
        (lambda x: 1 / x, lambda x: -1 / x**2),
        (lambda x: np.tanh(3 * x), lambda x: 3 / np.cosh(3 * x) ** 2),
    ],
)
def test_smooth_functions_to_ten_digits(f, slope):
    x = np.array([0.3, 0.7, 1.1, -0.9])
    found = differentiate(f, x)
    assert not found.kink.any()
    assert relative_error(slope(x), found.derivative).max() < 1e-9


@pytest.mark.parametrize("x", [0.0, 1e-9, -1e-8])
def test_a_kink_at_the_point_is_recognised(x):
    found = differentiate(np.abs, [x, 2.0])
    assert found.kink.tolist() == [True, False]
    assert found.low[0] == pytest.approx(-1, abs=0.2)
    assert found.high[0] == pytest.approx(1, abs=0.2)
    assert found.derivative[1] == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("x", [2e-3, -1e-3, 3e-4, -1e-4, 2e-5])
def test_a_kink_within_the_first_step_only_makes_the_step_smaller(x):
    found = differentiate(np.abs, [x, 2.0])
    assert not found.kink.any()
    assert found.derivative[0] == pytest.approx(np.sign(x), rel=1e-7)


def test_a_steep_smooth_function_is_no_kink():
    found = differentiate(lambda x: np.tanh(50 * x), [0.0, 0.01, -0.02])
    assert not found.kink.any()
    assert found.derivative[0] == pytest.approx(50, rel=1e-7)


def test_the_array_is_left_as_it_was():
    x = np.array([0.1, 0.2])
    before = x.copy()
    central_differences(lambda: x * x, x, np.ones(2), [(0,), (1,)])
    assert np.array_equal(x, before)


def test_relative_error_is_the_documented_one():
    a, n = np.array([1.0, 0.0, 1e-3]), np.array([1.1, 1e-3, 2e-3])
    expected = [0.1 / 1.1, 1e-3 / 1e-2, 1e-3 / 1e-2]  # the floor is 0.01 · ‖a‖∞
    assert relative_error(a, n) == pytest.approx(expected)
    assert relative_error(np.zeros(1), np.array([1e-13])) == pytest.approx([0.1])
    assert relative_error(np.array([np.nan]), np.zeros(1)).tolist() == [np.inf]
