"""The LSTM's scalar equations against the general theory, at neurons whose gates depend on each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit
from tests.all_cells import scattered

import gatefield as gf
from gatefield.spectra.lstm_equations import constant_forget_radius, lstm_neurons

LSTM = gf.Ensemble(gf.LSTM(), gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 4.0})
POINTS = np.array([0.62 + 0.05j, 0.2 + 0.1j, -0.3 + 0.4j, 0.6 + 0.5j, -9.0 + 0.5j])


def with_gains(**gain: float) -> tuple[gf.Ensemble, gf.Snapshot]:
    """An ensemble, and neurons whose gates without gain stand at their bias."""
    bias = {"forget": 0.4, "input": -0.3, "output": 0.2}
    ensemble = gf.Ensemble(gf.LSTM(), gain={"cell": 4.0, **gain}, bias_mean=bias)
    drawn = scattered(LSTM)
    x = np.where(ensemble.gains > 0.0, drawn.preactivations, ensemble.means)
    return ensemble, gf.Snapshot(ensemble.cell, drawn.state, x)


def test_q_and_p() -> None:
    """[CKS 28, 127] by hand."""
    snapshot, gain = scattered(LSTM), LSTM.gain
    neurons = lstm_neurons(LSTM, snapshot)
    c, (f, i, o, y) = snapshot.state[:, 0], snapshot.preactivations.T
    slope = [expit(x) * expit(-x) for x in (f, i, o)]
    new = expit(f) * c + expit(i) * np.tanh(y)
    inner = (gain["forget"] * c * slope[0]) ** 2 + (gain["input"] * slope[1] * np.tanh(y)) ** 2
    inner += (gain["cell"] * expit(i) / np.cosh(y) ** 2) ** 2
    np.testing.assert_allclose(neurons.q, (gain["output"] * slope[2] * np.tanh(new)) ** 2, rtol=1e-9)
    np.testing.assert_allclose(neurons.p, (expit(o) / np.cosh(new) ** 2) ** 2 * inner, rtol=1e-9)
    np.testing.assert_allclose(neurons.forget, expit(f), rtol=1e-12)


@pytest.mark.parametrize(
    "gain",
    [
        {"forget": 2.0, "input": 1.0, "output": 3.0},
        {},  # [CKS 129–131]
        {"forget": 2.0},  # [CKS 132–134]
        {"output": 3.0},  # [CKS 34, 147]
    ],
    ids=["all", "biases", "forget", "output"],
)
def test_the_general_theory_says_the_same(gain: dict[str, float]) -> None:
    """[CKS 26–31, 126–128, App. G density]: curve, F, G and density."""
    ensemble, snapshot = with_gains(**gain)
    neurons = lstm_neurons(ensemble, snapshot)
    density = gf.spectral_density(ensemble, snapshot, POINTS)
    inside = density.value > 0.0
    assert 1 <= np.count_nonzero(inside) < 5
    np.testing.assert_array_equal(neurons.boundary(POINTS) > 0.0, inside)
    # F = 1/(P Q) of the one source, Q = q_k/a_k²
    product = density.p.sum(axis=1) * density.q[:, 3] / 16.0
    np.testing.assert_allclose(1.0 / neurons.implicit(POINTS)[inside], 1.0 / product[inside], rtol=1e-6)
    np.testing.assert_allclose(
        neurons.resolvent(POINTS), gf.spectra.resolvent(ensemble, snapshot, POINTS).value, atol=1e-6
    )
    np.testing.assert_allclose(neurons.density(POINTS), density.value, rtol=2e-4, atol=1e-9)
    edge = gf.spectra.spectral_edge(ensemble, snapshot, angle=0.05).value
    assert neurons.boundary(edge * np.exp(0.05j)) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("gain", [{"input": 2.0}, {"output": 3.0}, {"input": 2.0, "output": 3.0}], ids=str)
def test_radius_with_a_constant_forget_gate(gain: dict[str, float]) -> None:
    """[CKS 34, 143, 147]"""
    ensemble, snapshot = with_gains(**gain)
    radius = constant_forget_radius(ensemble, snapshot)
    assert radius == pytest.approx(gf.spectral_radius(ensemble, snapshot).value, rel=1e-9)
    if "output" not in gain:
        assert radius == pytest.approx(expit(0.4) + np.sqrt(np.mean(lstm_neurons(ensemble, snapshot).p)), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lstm_neurons(gf.Ensemble(gf.GRU()), scattered(LSTM)), "ensemble of GRU"),
        (lambda: lstm_neurons(gf.Ensemble(gf.LSTM(coupled=True)), scattered(LSTM)), "snapshot is of LSTM"),
        (lambda: constant_forget_radius(LSTM, scattered(LSTM)), r"gain\['forget'\]=2"),
    ],
)
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
