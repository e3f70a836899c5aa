"""An LSTM's averages by convolution, against quadrature in all dimensions and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

import gatefield as gf
from gatefield.phases.averages import Moments
from gatefield.phases.lstm_factors import LSTMMoments, has_factors

QUANTITIES = {"h": 1, "by forget": 3, "by input": 4, "by output": 5, "by cell": 6}
CASES = [
    ((1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0)),
    ((2.0, 1.5, 1.0, 0.7), (0.5, -0.3, 0.2, 0.4)),
    ((1e-3, 2e-3, 1e-3, 1e-3), (0.0, 0.0, 0.0, 0.0)),
    ((3.0, 0.0, 0.0, 0.02), (0.0, 1.0, 0.0, 0.5)),
]


@pytest.mark.parametrize("index", QUANTITIES.values(), ids=QUANTITIES.keys())
@pytest.mark.parametrize(("std", "mean"), CASES)
def test_quadrature_in_all_dimensions(std: tuple[float, ...], mean: tuple[float, ...], index: int) -> None:
    at, center = np.array([std]), np.array(mean)
    slow = Moments(gf.LSTM(), index, center, at[0], at[0], tolerance=1e-11)
    fast = LSTMMoments(index, center)
    assert fast.second(at) == pytest.approx(slow.second(at), rel=2e-11)
    assert fast.first(at) == pytest.approx(slow.first(at), rel=2e-11, abs=1e-15)


@pytest.mark.parametrize("gain", [5.0, 20.0, 200.0])
def test_a_gate_that_varies_much(gain: float) -> None:
    """E φ(c)² with c = φ(y)/(2 − 2σ(f)) at a constant y, an integral over f."""
    y = 0.3
    std, mean = np.array([[gain, 0.0, 0.0, 0.0]]), np.array([0.0, 0.0, 0.0, y])
    exact = quad(
        lambda f: np.tanh(0.5 * np.tanh(y) * (1.0 + np.exp(min(f, 300.0)))) ** 2 * norm.pdf(f / gain) / gain,
        -9.0 * gain, 9.0 * gain, points=[-5.0, 0.0, 2.0, 5.0], epsabs=1e-14, limit=500,
    )[0]  # fmt: skip
    assert LSTMMoments(1, mean).second(std)[0] == pytest.approx(expit(0.0) ** 2 * exact, rel=1e-10)


@pytest.mark.parametrize("index", QUANTITIES.values(), ids=QUANTITIES.keys())
@pytest.mark.parametrize("size", [0.3, 5.0, 12.0])
def test_finer_nodes_change_nothing(size: float, index: int) -> None:
    std, mean = np.full((1, 4), size), np.zeros(4)
    once, finer = (LSTMMoments(index, mean, surplus=s).second(std) for s in (0, 2))
    assert once == pytest.approx(finer, rel=1e-11)
    assert LSTMMoments(index, mean, coarse=True).second(std) == pytest.approx(finer, rel=1e-5)


def test_which_cells() -> None:
    assert has_factors(gf.LSTM(), 1)
    assert not has_factors(gf.LSTM(), 0)
    assert not has_factors(gf.LSTM(activation="hard_tanh"), 1)
    assert not has_factors(gf.LSTM(coupled=True), 1)
    assert not has_factors(gf.GRU(), 1)


def test_strong_gains() -> None:
    """All gains 12: the image of q by the same sum over f, i and y on plain grids."""
    names = ("forget", "input", "output", "cell")
    _, root = gf.fixed_points(gf.Ensemble(gf.LSTM(), gain=dict.fromkeys(names, 12.0)))
    assert root.residual < 1e-11
    std = 12.0 * np.sqrt(root.q)
    z = np.linspace(-8.5, 8.5, 341)
    w = norm.pdf(z) / norm.pdf(z).sum()
    log_cell = np.logaddexp(0.0, std * z)[:, None] - np.logaddexp(0.0, -std * z)  # of σ(i)/(1 − σ(f))
    tau = np.linspace(np.log(9.0 * std), -140.0, 1500)
    y = np.exp(tau)
    w_y = 2.0 * abs(tau[1] - tau[0]) * y * norm.pdf(y / std) / std
    squares = [w @ np.tanh(np.exp(np.minimum(log_cell + v, 300.0))) ** 2 @ w for v in np.log(np.tanh(y))]
    assert (w @ expit(std * z) ** 2) * (w_y @ squares) == pytest.approx(root.q, rel=1e-9)
