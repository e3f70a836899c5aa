"""Gaussian expectations against closed forms and a much finer rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatefield.numerics.quadrature import expectation, gaussian_nodes

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh squared": lambda u: np.tanh(u) ** 2,
    "gate squared": lambda u: (0.5 + 0.5 * np.tanh(u / 2)) ** 2,
    "sech to the fourth": lambda u: 1.0 / np.cosh(np.clip(u, -80, 80)) ** 4,
}


@given(mean=st.floats(-6, 6), std=st.floats(0, 300))
@example(mean=1.0, std=2.2250738585e-313)  # mean/std is not a number of float64
def test_moments_of_a_gaussian(mean: float, std: float) -> None:
    x, w = gaussian_nodes(np.array(mean), np.array(std))
    assert expectation(x, w) == pytest.approx(mean, abs=1e-10 * (1 + std))
    assert expectation(x**2, w) == pytest.approx(mean**2 + std**2, rel=1e-10)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("mean", "std"), [(0, 1e-3), (0, 1), (-3, 0.9), (6, 1), (0.5, 3), (2, 10), (1.5, 60), (0, 300)]
)
def test_steep_functions(name: str, mean: float, std: float, monkeypatch: pytest.MonkeyPatch) -> None:
    function = FUNCTIONS[name]
    x, w = gaussian_nodes(np.array(mean), np.array(std))
    monkeypatch.setattr("gatefield.numerics.quadrature._STEP", 0.01)
    fine, weights = gaussian_nodes(np.array(mean), np.array(std))
    assert len(x) < 260 < len(fine)
    assert expectation(function(x), w) == pytest.approx(expectation(function(fine), weights), rel=1e-10)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (0.0, 5.0), (1.0, 2.0)])
def test_the_coarse_rule_is_good_to_a_millionth(mean: float, std: float) -> None:
    values = []
    for coarse in (False, True):
        x, w = gaussian_nodes(np.array(mean), np.array(std), coarse=coarse)
        values.append(expectation(np.tanh(x) ** 2, w))
    assert values[1] == pytest.approx(values[0], rel=1e-6)
