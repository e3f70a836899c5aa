"""Measured scalings against closed forms, synthetic data of known noise, and mean-field states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import erfc, expit, ndtri
from scipy.stats import qmc

import gatefield as gf
from gatefield.reports.scaling import accumulation_fit, gate_scaling
from gatefield.spectra.limits import constant_update_radius


def vanilla_neurons(ensemble: gf.Ensemble, rng: np.random.Generator) -> gf.Snapshot:
    """Neurons with y ~ N(0, 1) whatever the gain, so that the radius is gain · √E sech⁴ y of the sample."""
    noise = rng.normal(size=(800, 2))
    return gf.Snapshot(ensemble.cell, noise[:, :1], noise[:, 1:])


def test_exponent_and_its_error() -> None:
    """Radii proportional to the gain, each with its own sampling noise: exponents scatter by their errors about 1."""
    rng = np.random.default_rng(3)
    ensemble = gf.Ensemble(gf.Vanilla())
    pulls = []
    for _ in range(12):
        found = gate_scaling(ensemble, "input", [1.0, 2.0, 4.0], snapshot=lambda e: vanilla_neurons(e, rng))
        pulls.append((found.exponent.value - 1.0) / found.exponent.error)
        assert found.exponent.error < 0.05
    # errors are widened where three points scatter more than they should, hence below 1
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 1.3
    assert abs(np.mean(pulls)) < 3.0 / np.sqrt(12)


def test_exponent_without_noise() -> None:
    """At the zero state the radius is 1/2 + a_h/4 exactly; without the offset the law is not a power."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 3.0})
    gains = [8.0, 1.0, 2.0]
    found = gate_scaling(ensemble, "candidate", gains, offset=0.5, snapshot=gf.Snapshot.at_zero)
    np.testing.assert_allclose(found.gains, [1.0, 2.0, 8.0])
    np.testing.assert_allclose(found.radii.value, 0.5 + found.gains / 4.0, rtol=1e-9)
    assert found.exponent.value == pytest.approx(1.0, abs=1e-8)
    assert found.exponent.error < 1e-8
    np.testing.assert_allclose(found.local.value, 1.0, atol=1e-8)
    assert ensemble.gain["candidate"] == 0.0
    plain = gate_scaling(ensemble, "candidate", gains, snapshot=gf.Snapshot.at_zero)
    x, y = np.log([1.0, 2.0, 8.0]), np.log([0.75, 1.0, 2.5])
    slope, covariance = np.polyfit(x, y, 1, cov=True)
    assert plain.exponent.value == pytest.approx(slope[0], rel=1e-8)
    assert plain.exponent.error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-6)
    assert np.all(np.diff(plain.local.value) > 0.0)


NOISE = np.random.default_rng(0).permutation(ndtri(qmc.Sobol(2, rng=0).random(2**14)))
VARIANCE = 0.35


def at_given_variance(ensemble: gf.Ensemble) -> gf.Snapshot:
    """GRU neurons at one C_h, the reset gate's gain in their pre-activations [CKS Prop. 5]."""
    r = ensemble.gain["reset"] * np.sqrt(VARIANCE) * NOISE[:, 0]
    y = ensemble.gain["candidate"] * np.sqrt(VARIANCE * np.mean(expit(r) ** 2)) * NOISE[:, 1]
    h = np.full((len(r), 1), np.sqrt(VARIANCE))
    return gf.Snapshot(ensemble.cell, h, np.stack([np.zeros(len(r)), r, y], axis=1))


def test_reset_gate_at_constant_variance() -> None:
    """ρ ∝ √a_r: the measured exponent is the closed form's over the same gains, which tends to 1/2."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 3.0})
    gains = [50.0, 100.0, 200.0, 400.0]

    def radius(gain: float) -> float:
        changed = gf.Ensemble(gf.GRU(), gain={"candidate": 3.0, "reset": gain})
        return constant_update_radius(changed, variance=VARIANCE)

    found = gate_scaling(ensemble, "reset", gains, offset=0.5, snapshot=at_given_variance)
    exact = np.array([radius(gain) for gain in gains])
    assert np.all(np.abs(found.radii.value - exact) < 4.0 * found.radii.error)
    slope = np.polyfit(np.log(gains), np.log(exact - 0.5), 1)[0]
    assert found.exponent.value == pytest.approx(slope, abs=2.0 * found.exponent.error)
    assert found.exponent.error < 0.04
    assert 0.42 < slope < 0.5
    assert np.log((radius(4e6) - 0.5) / (radius(1e6) - 0.5)) / np.log(4.0) == pytest.approx(0.5, abs=1e-4)


def steady(steps: int, samples: int = 12000) -> Callable[[gf.Ensemble], gf.Snapshot]:
    return lambda e: gf.mean_field(e, steps=steps, samples=samples, batches=6).snapshot


@pytest.mark.slow
def test_reset_gate_in_the_steady_state() -> None:
    """[CKS Prop. 5]: chaos, C_h settling by itself; over these gains the constant part still shows."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 3.0})
    found = gate_scaling(ensemble, "reset", [40.0, 80.0, 160.0, 320.0], offset=0.5, snapshot=steady(80))
    assert 0.3 < found.exponent.value < 0.5 + 2.0 * found.exponent.error
    assert found.exponent.error < 0.06
    assert found.radii.value[-1] > 1.7 * found.radii.value[0]


@pytest.mark.slow
@pytest.mark.parametrize("gate", ["input", "output"])
def test_lstm_gates_in_the_steady_state(gate: str) -> None:
    """[CKS Prop. 12]: growth at most as √a_k, and local exponents still on their way up. [CKS Prop. 12, 35]"""
    ensemble = gf.Ensemble(gf.LSTM(), gain={"cell": 3.0})
    offset = 0.5 if gate == "input" else 0.0  # the spectrum is a disc about σ(b_f) = 1/2 where a_o = 0
    found = gate_scaling(ensemble, gate, [20.0, 60.0, 180.0, 540.0], offset=offset, snapshot=steady(100, 6000))
    assert found.exponent.value > 5.0 * found.exponent.error
    assert np.all(found.local.value < 0.5 + 3.0 * found.local.error)
    assert found.local.value[-1] + 2.0 * found.local.error[-1] > found.local.value[0]


def test_by_default_the_state_is_the_mean_field(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def shorter(ensemble: gf.Ensemble) -> Any:
        seen.append(ensemble.gain["input"])
        return gf.mean_field(ensemble, steps=20, samples=400)

    monkeypatch.setattr("gatefield.reports.scaling.mean_field", shorter)
    found = gate_scaling(gf.Ensemble(gf.Vanilla()), "input", [2.0, 4.0, 3.0])
    assert seen == [2.0, 3.0, 4.0]
    assert found.radii.value.min() > 1.0


@pytest.mark.parametrize(
    ("gate", "gains", "offset", "message"),
    [
        ("forget", [1.0, 2.0, 3.0], 0.0, "GRU has no 'forget'"),
        ("current", [1.0, 2.0, 3.0], 0.0, "gate='current' .* has no recurrent weights"),
        ("reset", [1.0, 2.0], 0.0, "at least three different"),
        ("reset", [1.0, 2.0, 2.0], 0.0, "at least three different"),
        ("reset", [0.0, 1.0, 2.0], 0.0, "above 0"),
        ("reset", [1.0, 2.0, 3.0], 2.0, "offset=2 must lie below every radius; the smallest is 0.75"),
    ],
    ids=["unknown", "sourceless", "few", "repeated", "zero", "offset"],
)
def test_refusals(gate: str, gains: list[float], offset: float, message: str) -> None:
    ensemble = gf.Ensemble(gf.GRU(reset_after=True), gain={"candidate": 1.0})
    with pytest.raises(ValueError, match=message):
        gate_scaling(ensemble, gate, gains, offset=offset, snapshot=gf.Snapshot.at_zero)


# ---- accumulation near 1 ----

GAINS = np.array([2.0, 5.0, 10.0, 20.0, 40.0])


def test_fit_finds_its_form_again() -> None:
    """[CKS 93]"""
    found = accumulation_fit(GAINS, 0.4 * erfc(3.0 / GAINS))
    assert (found.c1.value, found.c2.value) == (pytest.approx(0.4, rel=1e-6), pytest.approx(3.0, rel=1e-6))
    assert found.residual < 1e-7
    np.testing.assert_allclose(found.share([7.0, 1e9]), [0.4 * erfc(3.0 / 7.0), 0.4], rtol=1e-5)


@pytest.mark.parametrize("known", [True, False], ids=["given errors", "from scatter"])
def test_errors_of_the_fit(known: bool) -> None:
    """Over noisy copies the parameters scatter by their errors."""
    rng = np.random.default_rng(8)
    gains, sigma = np.linspace(2.0, 40.0, 20), 0.01
    pulls = []
    for _ in range(200):
        shares = np.abs(0.5 * erfc(3.0 / gains) + sigma * rng.normal(size=len(gains)))
        found = accumulation_fit(gains, shares, errors=sigma if known else None)
        pulls.append([(found.c1.value - 0.5) / found.c1.error, (found.c2.value - 3.0) / found.c2.error])
    np.testing.assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.2)


def test_fit_at_fixed_points() -> None:
    """Masses by theory at constant C_h: c1 = 1/2 and c2 = −ln r/√(2 C_h), but for corrections of order 1/a_z."""
    # [CKS 92–93]
    variance, radius, neurons = VARIANCE, 0.05, 4096
    y = 1.5 * np.sqrt(variance) * NOISE[:neurons, 0]  # where C_h is 0.35, near enough to the fixed point's 0.3526
    masses = []
    for gain in GAINS:
        ensemble = gf.Ensemble(gf.GRU(), gain={"update": gain, "candidate": 3.0})
        z = gain * np.sqrt(variance) * NOISE[:neurons, 1]
        snapshot = gf.Snapshot(ensemble.cell, np.tanh(y)[:, None], np.stack([z, np.zeros(neurons), y], axis=1))
        masses.append(gf.spectral_mass(ensemble, snapshot, center=1.0, radius=radius).value)
    found = accumulation_fit(GAINS, masses)
    assert found.c1.value == pytest.approx(0.5, rel=0.03)
    assert found.c2.value == pytest.approx(-np.log(radius) / np.sqrt(2.0 * variance), rel=0.05)
    assert found.residual < 0.01


@pytest.mark.parametrize(
    ("gains", "shares", "errors", "message"),
    [
        ([1.0, 2.0], [0.1, 0.2], None, "at least three different"),
        ([1.0, 2.0, 3.0], [0.1, 0.2], None, "shares=.* one number from 0 on for each of 3"),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], None, "shares="),
        ([1.0, 2.0, 3.0], [0.1, -0.2, 0.3], None, "shares="),
        ([1.0, 2.0, 3.0], [0.1, 0.2, 0.3], [0.1, 0.0, 0.1], "errors must be above 0"),
    ],
    ids=["few", "lengths", "none", "negative", "errors"],
)
def test_fit_refusals(gains: list[float], shares: list[float], errors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accumulation_fit(gains, shares, errors=errors)
