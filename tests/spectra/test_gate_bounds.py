"""Bounds and laws of one gate at large gain against exact averages, and against the neurons that they are about."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit, ndtri
from scipy.stats import qmc

import gatefield as gf
from gatefield.spectra.gate_bounds import (
    forget_gate_curve,
    forget_gate_growth,
    forget_kernel,
    input_gate_bound,
    input_gate_radius_bound,
    output_gate,
    shaping_bounds,
)
from gatefield.spectra.limits import gate_slope_square, shaping
from gatefield.spectra.lstm_equations import constant_forget_radius, lstm_neurons

VARIANCE = 0.16
LSTM = gf.LSTM()


def normal(columns: int) -> np.ndarray:
    """8192 quasi-random neurons: columns of independent standard normal numbers."""
    return ndtri(qmc.Sobol(columns, rng=0).random(8192))


def neurons(ensemble: gf.Ensemble, cell_std: float) -> gf.Snapshot:
    """Independent Gaussian pre-activations and cells."""
    noise = normal(5)
    std = np.sqrt(ensemble.gains**2 * VARIANCE + ensemble.static_variance)
    state = np.stack([cell_std * noise[:, 4], np.zeros(8192)], axis=1)
    return gf.Snapshot(ensemble.cell, state, ensemble.means + std * noise[:, :4])


@settings(deadline=None)
@given(reset=st.floats(0.0, 1e3), candidate=st.floats(0.1, 10.0), variance=st.floats(0.0, 1.0))
def test_shaping_lies_between_its_bounds(reset: float, candidate: float, variance: float) -> None:
    """[CKS 106]"""
    ensemble = gf.Ensemble(gf.GRU(), gain={"reset": reset, "candidate": candidate})
    low, high = shaping_bounds(ensemble, variance=variance)
    square = shaping(ensemble, variance=variance) ** 2
    assert low * (1 - 1e-9) <= square <= high * (1 + 1e-9)
    if reset == 0.0 or variance == 0.0:
        assert square == pytest.approx(low, rel=1e-9)  # E r² = ¼


def input_gate(gain: float, bias: float) -> gf.Ensemble:
    return gf.Ensemble(LSTM, gain={"input": gain, "cell": 5.0}, bias_mean={"input": bias, "forget": 0.3, "output": 0.5})


@pytest.mark.parametrize("bias", [0.0, 2.0])
@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_bound_of_the_input_gate(gain: float, bias: float) -> None:
    """[CKS 143–146]: E p and the radius stay below their bounds, which neurons whose cells are empty come near to."""
    ensemble = input_gate(gain, bias)
    bound = input_gate_bound(ensemble, variance=VARIANCE)
    for cell_std in (0.0, 1.0):
        snapshot = neurons(ensemble, cell_std)
        found = np.mean(lstm_neurons(ensemble, snapshot).p)
        assert 0.1 * bound < found < bound
        assert constant_forget_radius(ensemble, snapshot) < input_gate_radius_bound(ensemble, variance=VARIANCE)


def test_input_gate_grows_as_its_root() -> None:
    """[CKS 145–146]"""
    ratios = [input_gate_bound(input_gate(gain, 0.0), variance=VARIANCE) / gain for gain in (1e4, 1e5)]
    assert ratios[0] == pytest.approx(ratios[1], rel=5e-3)
    y = 2.0 * normal(1)[:, 0]
    slope = 1e5**2 * gate_slope_square(1e5 * np.sqrt(VARIANCE)) / 1e5
    assert ratios[1] == pytest.approx(expit(0.5) ** 2 * slope * np.mean(np.tanh(y) ** 2), rel=2e-3)


def test_the_printed_split_is_no_bound() -> None:
    """[CKS 144] as printed, E[i'² φ'(c)² φ(y)²] ≤ E i'² E[φ'(c)² φ(y)²] and likewise: E p can be larger."""
    bias = {"bias_mean": {"input": 2.0, "forget": -40.0}, "bias_var": {"cell": 4.0}}
    ensemble = gf.Ensemble(LSTM, gain={"input": 5.0, "cell": 1.0}, **bias)
    snapshot = neurons(ensemble, 0.0)
    i, y = snapshot.preactivations[:, 1], snapshot.preactivations[:, 3]
    read = np.cosh(expit(i) * np.tanh(y)) ** -4.0
    printed = 25.0 * np.mean((expit(i) * expit(-i)) ** 2) * np.mean(read * np.tanh(y) ** 2)
    printed += np.mean(expit(i) ** 2) * np.mean(read * np.cosh(y) ** -4.0)
    found = np.mean(lstm_neurons(ensemble, snapshot).p)
    assert found > 1.02 * 0.25 * printed
    assert found < input_gate_bound(ensemble, variance=VARIANCE)


@pytest.mark.parametrize(("gain", "bias"), [(4.0, 0.0), (100.0, 0.0), (100.0, 10.0)])
def test_output_gate(gain: float, bias: float) -> None:
    """[CKS 147–151]: E q and E p of neurons; the law's relative error is of order 1/s²."""
    ensemble = gf.Ensemble(LSTM, gain={"output": gain, "cell": 5.0}, bias_mean={"output": bias, "input": -0.4})
    snapshot = neurons(ensemble, 0.7)
    new = snapshot.derivatives.f_s[:, 0, 0] * snapshot.state[:, 0]
    new = new + expit(-0.4) * np.tanh(snapshot.preactivations[:, 3])
    result = output_gate(ensemble, variance=VARIANCE, cell_square=float(np.mean(np.tanh(new) ** 2)))
    found = lstm_neurons(ensemble, snapshot)
    assert np.mean(found.q) == pytest.approx(result.q, rel=0.02)  # of 8192 neurons, of which 6/s count
    assert 0.0 < np.mean(found.p) < result.bound
    if gain == 100.0:
        assert result.q == pytest.approx(result.law, rel=3.0 / (VARIANCE * gain**2))
    if bias == 0.0:
        assert result.bound <= 0.5 * (expit(-0.4) * 5.0) ** 2
        radius = constant_forget_radius(ensemble, snapshot)
        assert np.sqrt(result.q) * 0.98 < radius < 0.5 + np.sqrt(result.q + result.bound) * 1.02


def test_kernel_of_the_forget_gate() -> None:
    """By adaptive quadrature; the paper's 1/|λ − ½|² is its limit far away."""
    for z in (1.2, -0.3, 2.0 + 0.5j, 0.5 + 0.2j):
        value, _ = quad(lambda f, z=z: 6 * f * (1 - f) / abs(z - f) ** 2, 0.0, 1.0)
        assert forget_kernel(z) == pytest.approx(value, rel=1e-5)
    assert forget_kernel(1.2) == pytest.approx(3.05, abs=0.005)
    assert forget_kernel(30.0j) * 900.25 == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("z", [1.2, 2.0 + 1.0j])
def test_forget_gate_at_large_gain(z: complex) -> None:
    """[CKS 134–135, 141–142]: what neurons add to the curve by their forget gate, c being independent of it."""
    gain = 200.0
    ensemble = gf.Ensemble(
        gf.LSTM(activation="hard_tanh"), gain={"forget": gain, "cell": 6.0}, bias_mean={"output": 0.5}
    )
    f, c = gain * 0.4 * ndtri((np.arange(200_000) + 0.5) / 200_000), np.where(np.arange(200_000) % 4 < 2, 0.3, -0.1)
    x = np.stack([f, np.zeros_like(f), np.full_like(f, 0.5), np.zeros_like(f)], axis=1)
    snapshot = gf.Snapshot(ensemble.cell, np.stack([c, 0 * c], axis=1), x)
    exact = np.mean((gain * expit(f) * expit(-f) * expit(0.5) * c) ** 2 / np.abs(z - expit(f)) ** 2)
    growth = forget_gate_growth(ensemble, snapshot, variance=VARIANCE)
    assert growth * forget_kernel(z) == pytest.approx(exact, rel=1e-3)
    assert growth == pytest.approx(gain * expit(0.5) ** 2 * 0.05 / (6 * np.sqrt(2 * np.pi * VARIANCE)), rel=1e-3)
    radius = gf_limit(ensemble)
    curve = forget_gate_curve(ensemble, snapshot, z, variance=VARIANCE)
    assert curve == pytest.approx(growth * forget_kernel(z) + radius**2 / abs(z) ** 2 - 1.0, rel=1e-12)
    assert abs(growth / abs(z - 0.5) ** 2 / exact - 1.0) > 0.015  # (141) with the σ(b_o)² that it lacks


def gf_limit(ensemble: gf.Ensemble) -> float:
    from gatefield.spectra.limits import forget_gate_limit

    return forget_gate_limit(ensemble, variance=VARIANCE).radius


ALL = gf.Ensemble(LSTM, gain=dict.fromkeys(("forget", "input", "output", "cell"), 2.0))
BIASED = gf.Ensemble(LSTM, gain={"forget": 2.0}, bias_mean={"forget": 1.0})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shaping_bounds(ALL, variance=0.1), "the bounds are for"),
        (lambda: shaping_bounds(gf.Ensemble(gf.GRU(), bias_mean={"reset": 1.0}), variance=0.1), "must be 0"),
        (lambda: input_gate_bound(ALL, variance=0.1), r"gain\['forget'\]=2"),
        (lambda: output_gate(ALL, variance=0.1, cell_square=0.1), r"gain\['forget'\]=2 and the variance"),
        (lambda: output_gate(gf.Ensemble(LSTM), variance=0.1, cell_square=0.1), r"gain\['output'\]=0.0 must be above"),
        (lambda: output_gate(gf.Ensemble(gf.GRU()), variance=0.1, cell_square=0.1), "ensemble of GRU"),
        (lambda: forget_kernel(0.5), "keep 1e-6 away"),
        (lambda: forget_gate_growth(BIASED, gf.Snapshot.at_zero(BIASED), variance=0.1), r"bias_mean\['forget'\]"),
    ],
)
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
