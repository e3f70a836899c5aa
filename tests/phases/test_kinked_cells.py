"""Static states of cells whose activation has kinks, against integrals between the kinks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import erf, expit
from scipy.stats import norm

import gatefield as gf
from gatefield.cells.cell import relu


def hard_tanh_square(variance: float) -> float:
    """E hard-tanh(y)²."""
    std = np.sqrt(variance)
    inside = erf(1.0 / (std * np.sqrt(2.0)))
    return variance * (inside - np.sqrt(2.0 / np.pi) / std * np.exp(-0.5 / variance)) + 1.0 - inside


def relu_square(mean: float, variance: float) -> float:
    """E relu(y)²."""
    std = np.sqrt(variance)
    at = mean / std
    return (mean**2 + variance) * norm.cdf(at) + mean * std * norm.pdf(at)


def gate_square(mean: float, variance: float) -> float:
    """E σ²."""
    std = np.sqrt(variance)
    return quad(lambda z: expit(mean + std * z) ** 2 * norm.pdf(z), -12, 12, points=[0.0], epsabs=1e-14)[0]


def fixed(image: Any) -> float:
    find: Any = brentq
    return float(find(lambda q: image(q) / q - 1.0, 1e-3, 1e3, xtol=1e-15))


def only(ensemble: gf.Ensemble) -> Any:
    """The one static state with activity, resolved."""
    (root,) = (p for p in gf.fixed_points(ensemble) if p.q > 0.0)
    assert root.converged
    return root


@pytest.mark.parametrize("gain", [1.1, 3.0, 40.0])
def test_hard_tanh(gain: float) -> None:
    root = only(gf.Ensemble(gf.Vanilla(activation="hard_tanh"), gain={"input": gain}))
    q = fixed(lambda q: hard_tanh_square(gain**2 * q))
    assert root.q == pytest.approx(q, rel=1e-10)
    assert root.growth == pytest.approx(gain**2 * erf(1.0 / np.sqrt(2.0 * gain**2 * q)), rel=1e-9)


def test_a_gru_with_biased_resets() -> None:
    """[CKS 10]"""
    root = only(gf.Ensemble(gf.GRU(activation="hard_tanh"), gain={"candidate": 4.3}, bias_mean={"reset": 0.8}))
    assert root.second_moment["h"] == pytest.approx(
        fixed(lambda c: hard_tanh_square((4.3 * expit(0.8)) ** 2 * c)), rel=1e-10
    )


@pytest.mark.parametrize("cell", [gf.GRU(activation="hard_tanh"), gf.cells.MGU(activation="hard_tanh")])
def test_gates_that_vary(cell: gf.Cell) -> None:
    gate = cell.preactivation_names[-2]
    root = only(gf.Ensemble(cell, gain={gate: 3.0, "candidate": 3.0}))
    expected = fixed(lambda c: hard_tanh_square(9.0 * gate_square(0.0, 9.0 * c) * c))
    assert root.second_moment["h"] == pytest.approx(expected, rel=1e-9)


def test_a_kink_far_from_the_bias() -> None:
    ensemble = gf.Ensemble(
        gf.Vanilla(activation=relu), gain={"input": 1.2}, bias_mean={"input": 0.4}, bias_var={"input": 0.3}
    )
    assert only(ensemble).q == pytest.approx(fixed(lambda q: relu_square(0.4, 1.44 * q + 0.3)), rel=1e-10)


def test_a_relu_lstm() -> None:
    """h = σ(o) σ(i)/(1 − σ(f)) relu(y): its two kinks are one, and the averages factors."""
    names = ("forget", "input", "output", "cell")
    root = only(gf.Ensemble(gf.LSTM(activation=relu), gain=dict.fromkeys(names, 0.7), bias_mean={"cell": 0.5}))

    def image(q: float) -> float:
        variance = 0.49 * q
        opened = 1.0 + 2.0 * np.exp(variance / 2.0) + np.exp(2.0 * variance)  # E (1 − σ(f))^{-2}
        return gate_square(0.0, variance) ** 2 * opened * relu_square(0.5, variance)

    find: Any = brentq
    assert root.q == pytest.approx(find(lambda q: image(q) - q, 1e-3, 1.0, xtol=1e-15), rel=1e-9)


def test_kinks_that_run_across_preactivations_are_said() -> None:
    """h = hard-tanh(n + σ(r) y): by an integral over r of a closed form."""
    cell = gf.GRU(activation="hard_tanh", reset_after=True)
    ensemble = gf.Ensemble(cell, gain={"reset": 2.0, "candidate": 2.5}, bias_var={"current": 0.5})
    (root,) = gf.fixed_points(ensemble)

    def image(q: float) -> float:
        std = 2.0 * np.sqrt(q)
        average = quad(
            lambda z: hard_tanh_square(0.5 + 6.25 * q * expit(std * z) ** 2) * norm.pdf(z), -12, 12, points=[0.0]
        )
        return float(average[0])

    assert not root.converged
    assert any("run across several pre-activations" in message for message in root.messages)
    assert root.q == pytest.approx(fixed(image), rel=1e-3)
    with pytest.raises(ValueError, match="run across several pre-activations"):
        gf.phase_diagram(gain_x=("candidate", 2, 3, 3), gain_y=("reset", 0, 5, 3), ensemble=ensemble)


def test_a_diagram_agrees() -> None:
    ensemble = gf.Ensemble(gf.GRU(activation="hard_tanh"))
    diagram = gf.phase_diagram(gain_x=("candidate", 3, 5, 3), gain_y=("reset", 0, 5, 2), ensemble=ensemble)
    found = diagram["second_moment_h"].sel(candidate=4.0, reset=5.0)
    expected = fixed(lambda c: hard_tanh_square(16.0 * gate_square(0.0, 25.0 * c) * c))
    assert float(found.max()) == pytest.approx(expected, rel=1e-8)
