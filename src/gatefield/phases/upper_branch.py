"""How fast the upper branch of fixed points of the tanh GRU moves with the candidate gain, at a_h = 2 [CKS 113]."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.running.arguments import positive

_TRICRITICAL = 8.0  # a_r² above which the branch is there, b_r = 0


def branch_slope(*, reset_gain: float) -> float:
    """f(a_r) = (a_r² − 8) dC_h/dε at ε = 0 of the tanh GRU's upper branch at a_h = 2 + ε, b = 0 [CKS 113].

    Of the exact fixed point, by quadrature: C_h ≈ C* + f ε/(a_r² − 8) as in (21). f = 4 + 18δ/31 + … with δ = a_r² − 8.
    `printed_branch_slope` is the derivative of the series cut off after C_h², of which only f(√8) = 4 is right: its
    slope there is −6/31.

    Args:
        reset_gain: a_r, above √8.

    Raises:
        ValueError: a_r ≤ √8.
    """
    gain = _above(reset_gain)
    root = _root(gain)
    step = 1e-4
    ends = [_growth(np.exp(e) * root, 2.0, gain) for e in (step, -step)]
    by_variance = (ends[0] - ends[1]) / (2.0 * step * root)
    by_gain = (_growth(root, 2.0 + step, gain) - _growth(root, 2.0 - step, gain)) / (2.0 * step)
    return float(-by_gain / by_variance * (gain**2 - _TRICRITICAL))


def printed_branch_slope(*, reset_gain: float) -> float:
    """f(a_r) as [CKS 113] has it, 4 (31552 − 11424a² + 744a⁴ + 72a⁶ + 9a⁸)/(3a⁴ + 24a² − 136)²: right at √8 alone."""
    a = _above(reset_gain) ** 2
    return (
        4.0 * (31552.0 - 11424.0 * a + 744.0 * a**2 + 72.0 * a**3 + 9.0 * a**4) / (3.0 * a**2 + 24.0 * a - 136.0) ** 2
    )


def _above(reset_gain: float) -> float:
    gain = positive("reset_gain", reset_gain)
    if gain**2 <= _TRICRITICAL:
        raise ValueError(f"reset_gain={reset_gain!r} must be above √8, where the branch begins")
    return gain


def _growth(variance: float, candidate_gain: float, reset_gain: float) -> float:
    """E φ²/C_h, 1 at a fixed point."""
    x, weights = gaussian_nodes(np.asarray(0.0), np.asarray(reset_gain * np.sqrt(variance)))
    std = candidate_gain * np.sqrt(variance * expectation(expit(x) ** 2, weights))
    y, weights = gaussian_nodes(np.asarray(0.0), np.asarray(std))
    return float(expectation(np.tanh(y) ** 2, weights) / variance)


def _root(reset_gain: float) -> float:
    """C_h of the non-zero fixed point at a_h = 2, beyond the maximum of E φ²/C_h."""
    grid = np.geomspace(1e-6, 1.0, 400)
    values = np.array([_growth(c, 2.0, reset_gain) - 1.0 for c in grid])
    last = int(np.nonzero(values > 0.0)[0][-1])
    find: Any = brentq
    return float(find(lambda c: _growth(c, 2.0, reset_gain) - 1.0, grid[last], grid[last + 1], xtol=1e-15, rtol=1e-13))
