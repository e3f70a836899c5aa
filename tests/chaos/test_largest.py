"""Chaos at N = ∞: the tangent mean field, replicas and critical gains, against closed forms and networks."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from tests.references import gru_at_3, vanilla_exponent, vanilla_variance

import gatefield as gf
from gatefield.chaos.largest import _rate
from gatefield.numerics.estimates import Estimate
from gatefield.reports.lyapunov import _extrapolate

LSTM_3 = gf.Ensemble(gf.LSTM(), gain=dict.fromkeys(("forget", "input", "output", "cell"), 3.0))


def vanilla(gain: float, noise: float = 0.0) -> gf.Ensemble:
    return gf.Ensemble(gf.Vanilla(), gain={"input": gain}, current={"input": gf.WhiteCurrent(noise)} if noise else {})


@cache
def solved(ensemble: gf.Ensemble, steps: int = 400, seed: int = 0) -> gf.chaos.LargestExponent:
    return gf.lyapunov_max(ensemble, steps=steps, seed=seed)


# ---- the largest exponent ----


# values.json "vanilla_map"
@pytest.mark.parametrize(
    ("gain", "exact"),
    [(1.2, 0.0164763), (1.5, 0.0652172), (2.0, 0.1547242), (3.0, 0.3102493), (5.0, 0.5324279), (10.0, 0.8564352)],
)
def test_vanilla_map(gain: float, exact: float) -> None:
    assert vanilla_exponent(gain) == pytest.approx(exact, abs=1e-6)
    found = solved(vanilla(gain))
    assert abs(found.value - exact) < 4.0 * found.error
    assert found.error < 0.0035 * max(1.0, gain / 3.0)
    assert found.verdict == "chaotic"
    assert found.converged, found.message


def test_lengths_are_corrected_for_the_logarithm() -> None:
    """At gain 10 few neurons carry the perturbation: the plain mean of log growth is low by five errors."""
    found = [solved(vanilla(10.0), seed=s) for s in range(3)]
    exact = vanilla_exponent(10.0)
    value = np.mean([f.value for f in found])
    plain = np.mean([f.growth.value[-200:].mean() for f in found])
    assert abs(value - exact) < 2.5 * found[0].error
    assert plain < exact - 0.002


def test_rate_of_a_random_walk() -> None:
    """Log lengths that walk: the square of the length grows faster than twice its mean logarithm, by the variance."""
    steps = 0.3 + 0.1 * np.random.default_rng(0).standard_normal((8, 400))
    found = _rate(steps)
    assert found.value == pytest.approx(0.31, abs=3.0 * found.error)
    still = np.full((8, 400), 0.3)
    still[:, ::2] += 0.1  # telescopes: nothing accumulates
    assert _rate(still).value == pytest.approx(0.35, abs=1e-3)


# values.json and theory.md §7: mean field and networks of N = 1000, with the spread between them. The GRU's .325(5)
# there is low by the effect that `_rate` corrects; networks extrapolated in 1/N agree with the value here (docs).
@pytest.mark.slow
@pytest.mark.parametrize(
    ("ensemble", "expected", "within", "steps"),
    [
        (gru_at_3(10.0, 10.0), 0.332, 0.008, 400),
        (gru_at_3(1.0, 1.0), 0.040, 0.003, 400),
        (LSTM_3, 0.076, 0.003, 400),
    ],
    ids=["gru-10-10", "gru-1-1", "lstm"],
)
def test_gated_cells(ensemble: gf.Ensemble, expected: float, within: float, steps: int) -> None:
    found = solved(ensemble, steps)
    assert abs(found.value - expected) < within + 3.0 * found.error
    assert found.error < 0.004
    assert found.route == "tangent mean field"


@pytest.mark.parametrize(
    "ensemble",
    [
        gf.Ensemble(gf.Leaky(step=0.5), gain={"input": 3.0}),
        gf.Ensemble(gf.GRU(), gain={"reset": 10.0, "candidate": 3.0}),
    ],
    ids=["leaky", "gru"],
)
def test_against_the_deterministic_route(ensemble: gf.Ensemble) -> None:
    exact = gf.meanfield.deterministic_mean_field(ensemble, steps=300, tangent=True).lyapunov_max
    assert exact.error < 1e-4
    found = solved(ensemble)
    assert abs(found.value - exact.value) < 4.0 * found.error
    assert found.error < 0.004


@pytest.mark.parametrize(
    ("ensemble", "exact"),
    [
        (vanilla(0.7), np.log(0.7)),
        (gf.Ensemble(gf.GRU(), gain={"update": 3.0, "reset": 3.0, "candidate": 1.2}), np.log(0.8)),
        (gf.Ensemble(gf.LSTM(), gain={"cell": 1.0}), np.log(0.75)),
        (gf.Ensemble(gf.Vanilla(), gain={}), -np.inf),
    ],
    ids=["vanilla", "gru", "lstm", "no gain"],
)
def test_at_rest_it_is_the_log_of_the_radius(ensemble: gf.Ensemble, exact: float) -> None:
    """[CKS 18, Cor. 11]."""
    found = gf.lyapunov_max(ensemble, steps=160, samples=2000)
    assert found.value == pytest.approx(exact, abs=1e-6)
    assert found.route == "spectral radius"
    assert found.verdict == "stable"


def test_undecided_near_criticality() -> None:
    found = gf.lyapunov_max(vanilla(1.004, noise=1e-5), steps=60, samples=400)
    assert found.verdict == "undecided" or abs(found.value) > 3.0 * found.error


@pytest.mark.parametrize(("gain", "noise"), [(1.5, 0.3), (1.5, 2.0), (3.0, 1.0)])
def test_white_input(gain: float, noise: float) -> None:
    """An input takes neurons into saturation: chaos is weaker under it, and gone where it is strong."""
    found, exact = solved(vanilla(gain, noise)), vanilla_exponent(gain, noise)
    assert exact < vanilla_exponent(gain)
    assert abs(found.value - exact) < 4.0 * found.error
    assert found.field.regime == "driven"
    assert found.verdict == ("chaotic" if exact > 0.0 else "stable")


def test_same_seed_same_exponent() -> None:
    pair = [gf.lyapunov_max(vanilla(2.0), steps=40, samples=800, seed=s) for s in (3, 3, 4)]
    assert pair[0].value == pair[1].value != pair[2].value


@pytest.mark.parametrize(
    ("arguments", "message"), [({"steps": 8}, "steps"), ({"samples": 3}, "samples"), ({"seed": -1}, "seed")]
)
def test_largest_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.lyapunov_max(vanilla(2.0), **arguments)


# ---- replicas ----


@pytest.mark.parametrize(("gain", "noise"), [(3.0, 0.0), (3.0, 1.0), (1.5, 2.0)])
def test_replicas_part_at_the_largest_exponent(gain: float, noise: float) -> None:
    """… and become strangers, or meet again where an input leaves no chaos."""
    exact = vanilla_exponent(gain, noise)
    found = gf.chaos.replicas(vanilla(gain, noise), steps=120, settle=60)
    assert abs(found.growth.value - exact) < 4.0 * found.growth.error + 0.01
    assert found.saturated
    if exact < 0.0:
        assert found.saturation["h"].value < 1e-20
    elif noise == 0.0:
        assert found.saturation["h"].value == pytest.approx(1.0, abs=0.03)
        assert found.overlap("h")[-1] == pytest.approx(0.0, abs=0.1)
    else:  # the common input keeps them alike
        assert 0.1 < found.saturation["h"].value < 0.95


@pytest.mark.slow
def test_replicas_of_an_lstm() -> None:
    theory = solved(LSTM_3)
    found = gf.chaos.replicas(LSTM_3, steps=240, samples=4000)
    assert abs(found.growth.value - theory.value) < 4.0 * np.hypot(found.growth.error, theory.error)
    for name in ("c", "h"):
        assert found.saturation[name].value == pytest.approx(1.0, abs=4.0 * found.saturation[name].error + 0.02)


def test_saturated_replicas_under_noise_are_exact() -> None:
    """For a map, the covariance of two copies under a common input closes: C = g² E φ(x)φ(x') + σ², Var x = q."""
    gain, noise = 3.0, 1.0
    q = vanilla_variance(gain, added=noise)
    z, w = np.polynomial.hermite_e.hermegauss(101)
    w = w / w.sum()

    def excess(c: float) -> float:
        common, own = np.sqrt(c), np.sqrt(q - c)
        inner = np.tanh(common * z[:, None] + own * z[None, :]) @ w
        return gain**2 * float(w @ inner**2) + noise - c

    c = brentq(excess, noise, 0.999 * q)
    exact = 1.0 - (c - noise) / (q - noise)
    found = gf.chaos.replicas(vanilla(gain, noise), steps=100, settle=40).saturation["h"]
    assert abs(found.value - exact) < 4.0 * found.error + 0.01


@pytest.mark.parametrize(
    ("arguments", "message"), [({"distance": 0.0}, "distance"), ({"settle": -1}, "settle"), ({"steps": 2}, "steps")]
)
def test_replicas_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.chaos.replicas(vanilla(2.0), **arguments)


# ---- critical gains ----


@pytest.mark.parametrize(
    ("ensemble", "name", "exact"),
    [
        (vanilla(3.0), "input", 1.0),
        (vanilla(0.3), "input", 1.0),
        (gf.Ensemble(gf.GRU()), "candidate", 2.0),
        (gf.Ensemble(gf.GRU(), bias_mean={"update": 1.0, "reset": -0.5}), "candidate", 1.0 + np.exp(0.5)),
        (gf.Ensemble(gf.LSTM(), bias_mean={"forget": 1.0}), "cell", 4.0 * (1.0 - 1.0 / (1.0 + np.exp(-1.0)))),
    ],
    ids=["vanilla above", "vanilla below", "gru", "gru biased", "lstm"],
)
def test_zero_fixed_point_loses_stability(ensemble: gf.Ensemble, name: str, exact: float) -> None:
    """σ(b_z) + (1 − σ(b_z)) σ(b_r) a_h = 1 [CKS 18]; σ(b_f) + σ(b_o) σ(b_i) a_h = 1 [CKS Cor. 11]."""
    found = gf.critical_gain(ensemble, name=name, target="zero_fixed_point")
    assert found.value == pytest.approx(exact, rel=1e-8)
    assert found.error < 1e-10
    assert not found.jump


@pytest.mark.parametrize("target", ["lyapunov_max", "spectral_radius"])
def test_transition_without_input(target: str) -> None:
    found = gf.critical_gain(vanilla(1.3), name="input", target=target, steps=120, samples=2000)
    assert found.value == pytest.approx(1.0, abs=0.003)
    assert not found.jump


def test_input_moves_the_transition() -> None:
    noise = 1.0
    exact = brentq(lambda g: vanilla_exponent(g, noise), 1.2, 3.0)
    found = gf.critical_gain(vanilla(1.5, noise), name="input", steps=200, tolerance=0.004)
    assert found.value > 1.5
    assert abs(found.value - exact) < 4.0 * found.error
    assert found.error < 0.02
    assert found.converged
    assert list(found.gains) == sorted(found.gains)


@pytest.mark.slow
def test_transition_that_jumps() -> None:
    """GRU, a_z = 0, a_h = 1.8: chaos appears at once, near a_r = 16.0–16.4 (values.json "gru_chaos_onset_az0")."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 1.8})
    found = gf.critical_gain(ensemble, name="reset", low=14.0, high=22.0, steps=240, samples=4000, tolerance=0.06)
    assert found.jump
    assert abs(found.value - 16.2) < 2.0  # within 240 steps chaos that is about to die still lives, and may die early


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "forget"}, "has no 'forget'"),
        ({"name": "input", "target": "chaos"}, "target='chaos' is not known"),
        ({"name": "input", "target": "zero_fixed_point", "low": 2.0}, "does not change from negative to positive"),
        ({"name": "input", "tolerance": 0.0}, "tolerance"),
    ],
)
def test_critical_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.critical_gain(vanilla(2.0), steps=16, samples=100, **arguments)


def test_critical_gain_of_what_has_none() -> None:
    after = gf.GRU(reset_after=True)
    with pytest.raises(ValueError, match="'current' has no recurrent weights"):
        gf.critical_gain(gf.Ensemble(after), name="current")
    with pytest.raises(ValueError, match="does not change"):
        gf.critical_gain(gf.Ensemble(gf.GRU()), name="update", target="zero_fixed_point")
    with pytest.raises(ValueError, match="zero is not a fixed point"):
        gf.critical_gain(vanilla(1.0, noise=0.1), name="input", target="zero_fixed_point")


# ---- sizes ----


def test_extrapolation_in_size() -> None:
    sizes = np.array([500, 1000, 2000])
    limit, slope = _extrapolate(sizes, Estimate(0.3 - 4.0 / sizes, np.array([0.01, 0.005, 0.003])))
    assert limit.value == pytest.approx(0.3, abs=1e-12)
    assert slope.value == pytest.approx(-4.0, abs=1e-9)
    assert 0.003 < limit.error < 0.01


@pytest.mark.parametrize(
    ("arguments", "message"), [({"sizes": (50, 50)}, "two different"), ({"networks": 1}, "networks")]
)
def test_sizes_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.reports.lyapunov_sizes(vanilla(2.0), **arguments)
