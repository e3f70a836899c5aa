"""Spectra that are known: one gate-less source, the circular law, and what does not count."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from tests.all_cells import scattered

import gatefield as gf

GRU = gf.Ensemble(gf.GRU(), gain={"update": 3.0, "reset": 2.0, "candidate": 3.0})


LSTM = gf.Ensemble(gf.LSTM(), gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 4.0})


# ---- vanilla ----


@pytest.mark.parametrize("activation", ["tanh", "hard_tanh"])
def test_vanilla_disc(activation: str) -> None:
    """J = φ̂' U. With m = a²φ'², P Q = X and Γ = φ'/λ, the equations read E[m / (|λ|² + X m)] = 1 and G = (1 − X)/λ:

    a disc of radius a√E φ'², and 1 − X is the share of eigenvalues within |λ|. At |λ| → 0 X tends to the share of
    neurons with φ' ≠ 0: the others make an atom at 0.
    """
    ensemble = gf.Ensemble(gf.Vanilla(activation=activation), gain={"input": 2.0})
    snapshot = scattered(ensemble)
    y = snapshot.preactivations[:, 0]
    m = 4.0 * (1.0 / np.cosh(y) ** 4 if activation == "tanh" else 1.0 * (np.abs(y) < 1.0))
    edge = np.mean(m) ** 0.5
    assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(edge, rel=1e-9)
    for radius in (0.1 * edge, 0.5 * edge, 0.9 * edge):
        share = brentq(lambda x, r=radius: np.mean(m / (r**2 + x * m)) - 1.0, 0.0, 1.0, xtol=1e-15)
        for z in (radius * 1j, radius * np.exp(2j)):
            assert abs(gf.spectra.resolvent(ensemble, snapshot, z).value - (1.0 - share) / z) < 1e-7
        assert gf.spectral_mass(ensemble, snapshot, radius=radius).value == pytest.approx(1.0 - share, abs=1e-6)
    assert gf.spectral_mass(ensemble, snapshot, radius=1.1 * edge).value == pytest.approx(1.0, abs=1e-9)


def test_linear_network_is_ginibre() -> None:
    """φ(x) = x: a uniform disc of radius a, 1/(π a²)."""
    ensemble = gf.Ensemble(gf.Vanilla(activation=lambda x: x), gain={"input": 1.5})
    snapshot = scattered(ensemble, 20)
    grid = 1.4 * np.array([0.0, 0.3, 0.5j, -0.7, 0.7 + 0.7j, 1.0, -0.9j])
    relative = gf.spectral_density(ensemble, snapshot, grid).value * np.pi * 1.5**2
    np.testing.assert_allclose(relative[1:], 1.0, rtol=1e-6)
    assert relative[0] == pytest.approx(1.0, rel=1e-3)  # exactly at the pole of all neurons
    assert gf.spectral_mass(ensemble, snapshot, radius=0.75).value == pytest.approx(0.25, abs=1e-9)


# ---- what does not count ----


def test_no_gain_leaves_the_poles() -> None:
    ensemble = gf.Ensemble(gf.GRU(), bias_var={"update": 1.0})
    snapshot = gf.Snapshot.at_zero(ensemble, samples=64)
    poles = expit(snapshot.preactivations[:, 0])
    assert gf.spectra.support_exponent(ensemble, snapshot, 0.4) == -np.inf
    assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(poles.max())
    assert gf.spectra.spectral_edge(ensemble, snapshot).value == pytest.approx(poles.max())
    assert gf.spectra.spectral_edge(ensemble, snapshot, angle=1.0).value == 0.0
    curve = gf.spectral_curve(ensemble, snapshot)
    assert curve.contours == ()
    assert np.sort(curve.atoms.real) == pytest.approx(np.sort(poles), abs=1e-11)
    assert gf.spectral_density(ensemble, snapshot, [0.3, 0.5 + 0.1j]).value.tolist() == [0.0, 0.0]
    z = 0.3 + 0.8j
    assert abs(gf.spectra.resolvent(ensemble, snapshot, z).value - np.mean(1.0 / (z - poles))) < 1e-12
    assert gf.spectral_mass(ensemble, snapshot, center=0.5, radius=0.6).value == pytest.approx(1.0, abs=1e-9)
    assert gf.spectral_mass(ensemble, snapshot, center=-2.0, radius=0.5).value == pytest.approx(0.0, abs=1e-9)


def test_silent_gates_drop_out() -> None:
    """At zero nothing responds to the gates, whatever their gains."""
    alone = gf.Ensemble(gf.GRU(), gain={"candidate": 3.0})
    gated = gf.Ensemble(gf.GRU(), gain={"update": 5.0, "reset": 7.0, "candidate": 3.0})
    points = np.array([0.6 + 0.1j, 0.5 + 0.7j, 1.0j])
    a, b = (gf.spectra.resolvent(e, gf.Snapshot.at_zero(e), points).value for e in (alone, gated))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_snapshot_of_another_cell() -> None:
    snapshot = scattered(GRU, 10)
    for call in (gf.spectral_radius, gf.spectral_curve, gf.spectra.spectral_edge):
        with pytest.raises(ValueError, match="they must be of one cell"):
            call(LSTM, snapshot)
    for call in (gf.spectral_density, gf.spectra.resolvent, gf.spectra.support_exponent):
        with pytest.raises(ValueError, match="they must be of one cell"):
            call(LSTM, snapshot, [0.1])
    with pytest.raises(ValueError, match="they must be of one cell"):
        gf.spectral_mass(gf.Ensemble(gf.GRU(activation="hard_tanh")), snapshot, radius=0.3)
