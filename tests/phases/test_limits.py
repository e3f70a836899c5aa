"""Closed forms of the phase diagram against fixed points found by quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from tests.references import gru, zero_of

import gatefield as gf
from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.phases.limits import (
    bifurcation_reset_gain,
    critical_candidate_gain,
    small_variances,
    tricritical_variances,
    variance_at_infinite_reset_gain,
    variance_series,
)

# ---- fixed points near the thresholds ----


def growth(variance: np.ndarray | float, a_h: float, a_r: float, bias: float = 0.0) -> np.ndarray:
    """E φ²/C_h by quadrature; 1 at a fixed point."""
    c = np.asarray(variance)
    x, weights = gaussian_nodes(np.full(c.shape, bias), a_r * np.sqrt(c))
    y, weights_y = gaussian_nodes(np.zeros(c.shape), a_h * np.sqrt(c * expectation(expit(x) ** 2, weights)))
    return expectation(np.tanh(y) ** 2, weights_y) / c


def variances(a_h: float, a_r: float) -> list[float]:
    """C_h of every non-zero fixed point above 1e-8."""
    grid = np.geomspace(1e-8, 1.0, 500)
    values = growth(grid, a_h, a_r) - 1.0
    where = np.nonzero(values[:-1] * values[1:] < 0.0)[0]
    return [zero_of(lambda c: float(growth(c, a_h, a_r)) - 1.0, float(grid[i]), float(grid[i + 1])) for i in where]


@pytest.mark.parametrize(("a_h", "a_r"), [(2.01, 1.0), (1.99, 4.0), (2.1, 5.0)])
def test_variances_here_are_those_of_fixed_points(a_h: float, a_r: float) -> None:
    found = [p.second_moment["h"] for p in gf.fixed_points(gru(0.0, a_r, a_h))[1:]]
    np.testing.assert_allclose(variances(a_h, a_r), found, rtol=1e-8)


@pytest.mark.parametrize("bias", [0.0, 1.2, -0.4])
def test_variance_series(bias: float) -> None:
    """[CKS 109–112]"""
    series = variance_series(candidate_gain=1.7, reset_gain=2.0, reset_bias=bias)
    left = [float(growth(c, 1.7, 2.0, bias)) - np.polyval(series[::-1], c) for c in (0.004, 0.002)]
    assert left[0] / left[1] == pytest.approx(8.0, rel=0.1)
    a, b = 1.7**2, 4.0
    if bias == 0.0:  # [CKS 112]
        expected = [a / 4, a / 16 * (b - 2 * a), a / 192 * (17 * a**2 - 12 * a * b - 6 * b**2)]
        np.testing.assert_allclose(series, expected, rtol=1e-13)


@pytest.mark.parametrize("reset", [0.0, 1.0, 2.0])
def test_branch_below_the_tricritical_point(reset: float) -> None:
    """[CKS 21]"""
    errors = []
    for excess in (1e-2, 1e-3, 1e-4):
        (root,), (branch,) = variances(2.0 + excess, reset), small_variances(excess=excess, reset_gain=reset)
        assert branch == pytest.approx(4.0 * excess / (8.0 - reset**2), rel=1e-12)
        errors.append(abs(root / branch - 1.0))
    assert errors[2] < 1e-3
    assert errors[1] / errors[0] == pytest.approx(0.1, rel=0.3)
    assert errors[2] / errors[1] == pytest.approx(0.1, rel=0.3)
    assert small_variances(excess=-1e-3, reset_gain=reset) == ()
    assert variances(2.0 - 1e-3, reset) == []


def test_branch_at_the_tricritical_point() -> None:
    """√(3ε/31) along a_r = √2 a_h and at a_r = √8; the printed √ε/4 and √(ε/4) fit nowhere. [CKS 21]"""
    along = []
    for excess, known in ((1e-2, 0.34878), (1e-3, 0.32324), (1e-4, 0.31495), (1e-5, 0.31231)):
        (root,) = variances(2.0 + excess, np.sqrt(2.0) * (2.0 + excess))
        assert root / np.sqrt(excess) == pytest.approx(known, abs=2e-5)
        (branch,) = small_variances(excess=excess, reset_gain=np.sqrt(8.0))
        along.append(root / branch - 1.0)
        (straight,) = variances(2.0 + excess, np.sqrt(8.0))
        assert straight / branch == pytest.approx(1.0, abs=1.5 * np.sqrt(excess))
    np.testing.assert_allclose(np.array(along[1:]) / along[:-1], np.sqrt(0.1), rtol=0.1)
    assert small_variances(excess=-1e-3, reset_gain=np.sqrt(8.0)) == ()


def test_branch_above_the_tricritical_point() -> None:
    """The root at ε = 0 and its slope in ε, each to two orders in δ; those of (21) and (113) differ in the second."""
    quadratic, slope = [], []
    for delta in (0.4, 0.1):
        reset, eps = np.sqrt(8.0 + delta), 1e-7
        (root,) = variances(2.0, reset)
        assert small_variances(excess=0.0, reset_gain=reset) == (
            pytest.approx(3 * delta / 124 - 9 * delta**2 / 3844, rel=1e-12),
        )
        quadratic.append((root - 3 * delta / 124) / delta**2)
        above, below = variances(2.0 + eps, reset)[-1], variances(2.0 - eps, reset)[-1]
        slope.append((above - below) / (2 * eps) - 4 / delta)
        asymptotes = [small_variances(excess=s * eps, reset_gain=reset)[-1] for s in (1.0, -1.0)]
        assert (asymptotes[0] - asymptotes[1]) / (2 * eps) == pytest.approx(4 / delta + 18 / 31, rel=1e-6)
    assert (4 * quadratic[1] - quadratic[0]) / 3 == pytest.approx(-9 / 3844, rel=0.1)  # at δ = 0
    assert slope[1] == pytest.approx(18 / 31, rel=0.1)
    assert abs(slope[1] - 18 / 31) < 0.5 * abs(slope[0] - 18 / 31)
    # numbers at a_h = 2, where 6δ/(3a_r⁴ + 24a_r² − 136) as printed gives 0.018576
    assert variances(2.0, 3.0) == [pytest.approx(0.022055, abs=1e-6)]
    assert small_variances(excess=0.0, reset_gain=3.0)[0] == pytest.approx(0.022055, rel=0.02)


def test_both_branches_below_two() -> None:
    """[CKS 22]"""
    reset = np.sqrt(8.4)
    errors = []
    for excess in (-1e-5, -1e-6):
        found, branches = variances(2.0 + excess, reset), small_variances(excess=excess, reset_gain=reset)
        assert len(found) == len(branches) == 2
        errors.append([abs(a / b - 1.0) for a, b in zip(found, branches, strict=True)])
    assert errors[1][0] == pytest.approx(0.1 * errors[0][0], rel=0.2)
    assert errors[1][0] < 2e-3
    assert errors[1][1] < 5e-3  # of order δ²
    # a_r > √2 a_h is not enough [CKS 22]: here neither roots nor branches
    assert small_variances(excess=-0.01, reset_gain=3.0) == ()
    assert variances(1.99, 3.0) == []


@pytest.mark.parametrize(("sign", "scaled"), [(1, -20.0), (1, 0.0), (1, 30.0), (-1, 30.0), (-1, 60.0), (0, 30.0)])
def test_branches_around_the_tricritical_point(sign: int, scaled: float) -> None:
    """δ = κ√|ε|: ratios to the exact roots tend to 1 as √|ε|."""
    errors = []
    for size in (1e-4, 1e-5, 1e-6):
        excess, reset = sign * size, np.sqrt(8.0 + scaled * np.sqrt(size))
        found, branches = variances(2.0 + excess, reset), tricritical_variances(excess=excess, reset_gain=reset)
        assert len(found) == len(branches) == (2 if sign < 0 else 1)
        errors.append(max(abs(a / b - 1.0) for a, b in zip(found, branches, strict=True)))
    assert errors[2] < 0.03
    np.testing.assert_allclose(np.array(errors[1:]) / errors[:-1], np.sqrt(0.1), rtol=0.25)
    assert tricritical_variances(excess=-1e-4, reset_gain=np.sqrt(8.2)) == ()


def fold(candidate: float) -> float:
    """a_r at which max over C_h of E φ²/C_h reaches 1."""
    guess = bifurcation_reset_gain(candidate_gain=candidate) ** 2 - 8.0
    center = np.log(3.0 * guess / 248.0)

    def top(reset: float) -> float:
        best = minimize_scalar(
            lambda u: 1.0 - float(growth(np.exp(u), candidate, reset)),
            bounds=(center - 2.0, center + 2.0),
            method="bounded",
            options={"xatol": 1e-7},
        )
        return -float(best.fun)  # pyright: ignore[reportAttributeAccessIssue]

    return zero_of(top, float(np.sqrt(8.0 + 0.7 * guess)), float(np.sqrt(8.0 + 2.0 * guess)))


def test_fold() -> None:
    assert fold(1.999) == pytest.approx(2.978717439898211, rel=1e-8)  # an independent program's
    errors = []
    for excess in (1e-3, 1e-4, 1e-5):
        exact, law = fold(2.0 - excess), bifurcation_reset_gain(candidate_gain=2.0 - excess)
        assert law**2 == pytest.approx(8.0 + np.sqrt(1984.0 * excess / 3.0), rel=1e-12)
        errors.append((exact**2 - 8.0) / (law**2 - 8.0) - 1.0)
    assert 0.0 < errors[2] < 0.01
    np.testing.assert_allclose(np.array(errors[1:]) / errors[:-1], np.sqrt(0.1), rtol=0.1)
    law = bifurcation_reset_gain(candidate_gain=1.9999)
    assert len(tricritical_variances(excess=-1e-4, reset_gain=1.0001 * law)) == 2
    assert len(tricritical_variances(excess=-1e-4, reset_gain=0.9999 * law)) == 0


def test_threshold_at_infinite_reset_gain() -> None:
    errors = []
    for excess in (1e-1, 1e-2):
        gain = np.sqrt(2.0) + excess
        (root,) = variances(gain, 1e9)[-1:]
        branch = variance_at_infinite_reset_gain(candidate_gain=gain)
        assert branch == pytest.approx(excess / np.sqrt(2.0))
        errors.append(abs(root / branch - 1.0))
    assert errors[1] < 0.02
    assert errors[1] / errors[0] == pytest.approx(0.1, rel=0.3)
    assert variance_at_infinite_reset_gain(candidate_gain=1.41) == 0.0
    assert variances(1.41, 1e9) == []


@pytest.mark.parametrize("bias", [0.0, 0.7, -1.0, 2.0])
def test_critical_line(bias: float) -> None:
    gain = critical_candidate_gain(reset_bias=bias)
    assert gain == pytest.approx(1.0 + np.exp(-bias), rel=1e-12)
    for update in (0.0, 1.0):
        assert gf.spectra.zero_fixed_point(gru(1.0, 2.0, 0.999 * gain, update=update, reset=bias)).stable
        assert not gf.spectra.zero_fixed_point(gru(1.0, 2.0, 1.001 * gain, update=update, reset=bias)).stable


def test_critical_line_with_a_bias_variance() -> None:
    """A fixed point branches off at a_h √E σ(r)² = 1, and there the zero state loses stability."""
    gain = critical_candidate_gain(reset_bias=0.3, reset_bias_var=0.8)

    def ensemble(factor: float) -> gf.Ensemble:
        return gf.Ensemble(
            gf.GRU(),
            gain={"update": 1.0, "candidate": factor * gain},
            bias_mean={"reset": 0.3},
            bias_var={"reset": 0.8},
        )

    assert gain != pytest.approx(1.0 + np.exp(-0.3), rel=0.01)
    assert [p.growth < 1.0 for p in gf.fixed_points(ensemble(0.999))] == [True]
    below, above = gf.fixed_points(ensemble(1.001))
    assert below.growth > 1.0
    assert above.second_moment["h"] < 0.01
