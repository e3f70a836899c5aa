"""The mean field without sampling: its exponent against closed forms, its own stationary equations and the flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import erf
from tests.all_cells import SHORT_RUN
from tests.references import gauss, vanilla_variance

import gatefield as gf
from gatefield.meanfield.continuous import continuous_limit
from gatefield.meanfield.deterministic import DeterministicMeanField, deterministic_mean_field
from gatefield.spectra.long_term import constant_update_gate

# ln(g √E φ'²) at q = g² E φ²
VANILLA = {1.2: 0.0164763, 1.5: 0.0652172, 2.0: 0.1547242, 3.0: 0.3102493, 5.0: 0.5324279, 10.0: 0.8564352}
# variance and exponent of the flow: D. G. Clark 2026
FLOW = {1.5: (0.747686, 0.046746), 2.0: (1.92480, 0.112458), 3.0: (5.4463, 0.23546), 5.0: (16.964, 0.43370)}


def field(cell: gf.Cell, gain: float, steps: int = 300, initial: float = 0.6, **more: Any) -> DeterministicMeanField:
    """With the gain of the last pre-activation alone."""
    ensemble = gf.Ensemble(cell, gain={cell.preactivation_names[-1]: gain}, **more)
    return deterministic_mean_field(ensemble, steps=steps, initial=initial, tangent=True)


# ---- the map ----


@pytest.mark.parametrize("gain", VANILLA)
def test_vanilla_has_the_closed_form(gain: float) -> None:
    run = field(gf.Vanilla(), gain, 150)
    q = vanilla_variance(gain)
    slope = gauss(lambda y: np.cosh(y) ** -4.0, q)
    assert run.lyapunov_max.value == pytest.approx(np.log(gain * slope**0.5), abs=1e-10)
    assert run.lyapunov_max.value == pytest.approx(VANILLA[gain], abs=1e-7)
    assert run.lyapunov_max.error < 1e-9
    assert run.second_moment[-1] == pytest.approx(q / gain**2, rel=1e-9)


def test_vanilla_with_biases() -> None:
    ensemble = gf.Ensemble(gf.Vanilla(), gain={"input": 2.0}, bias_var={"input": 0.4}, current={"input": 0.3})
    run = deterministic_mean_field(ensemble, steps=100, tangent=True)
    q = vanilla_variance(2.0, 0.4, 0.3)
    slope = gauss(lambda y: np.cosh(y) ** -4.0, q, 0.3)
    assert run.lyapunov_max.value == pytest.approx(0.5 * np.log(4.0 * slope), abs=1e-8)


# ---- leaky ----


@pytest.mark.parametrize(("step", "steps", "exponent"), [(0.5, 300, 0.2161237), (0.25, 500, 0.2254015)])
def test_leaky_at_gain_3(step: float, steps: int, exponent: float) -> None:
    """Per unit time, from an independent stationary solution."""
    value = field(gf.Leaky(step=step), 3.0, steps, 2.33).lyapunov_max
    assert value.value / step == pytest.approx(exponent, abs=2e-7)
    assert value.error / step < 2e-6


def test_large_steps_reach_the_right_solution() -> None:
    """The stationary equation has another solution, of variance 5.2458."""
    assert field(gf.Leaky(step=0.9), 3.0, 200).second_moment[-1] == pytest.approx(5.469, abs=1e-3)


def test_a_step_of_1_is_the_map() -> None:
    leaky, vanilla = field(gf.Leaky(step=1.0), 2.0, 50, 0.8), field(gf.Vanilla(), 2.0, 50, 0.4)
    assert leaky.lyapunov_max.value == pytest.approx(vanilla.lyapunov_max.value, abs=1e-12)
    assert leaky.second_moment == pytest.approx(4.0 * vanilla.second_moment, rel=1e-12)


@pytest.mark.parametrize(("gain", "step"), [(0.7, 0.3), (0.3, 0.8), (0.0, 0.5)])
def test_leaky_below_chaos(gain: float, step: float) -> None:
    """K(t, t) is then a sum of squared binomials, so that growth settles like 1/t."""
    value = field(gf.Leaky(step=step), gain, 400).lyapunov_max
    assert value.value == pytest.approx(np.log(1.0 - step + step * gain), abs=1.1 * value.error + 1e-12)
    assert value.error < 2e-3


def test_growth_from_the_first_step_on() -> None:
    """At zero activity each power of the Jacobian has a closed form [CKS 122]; growth varies at first."""
    growth = field(gf.Leaky(step=0.3), 0.7, 40, 0.0).growth
    assert growth is not None
    assert np.exp(2.0 * np.cumsum(growth)) == pytest.approx(constant_update_gate(0.7, 0.7, range(1, 40)), rel=1e-10)


def test_covariance_of_leaky_is_that_of_its_state() -> None:
    more = {"bias_mean": {"input": 0.4}, "bias_var": {"input": 0.3}, "current": {"input": 0.1}}
    run = field(gf.Leaky(step=0.4), 1.6, 120, 1.0, **more)
    assert run.second_moment[0] == pytest.approx(1.0 + 0.3 + 0.5**2)
    ensemble = run.ensemble
    sampled = gf.mean_field(ensemble, seed=1, **SHORT_RUN).autocorrelation["x"]
    assert np.all(np.abs(sampled.value[:10] - run.autocorrelation[:10]) < 5 * sampled.error[:10])


def test_mehlers_series_falls_short_by_less_than_it_says() -> None:
    """Neighbouring times at a large gain, where φ is steep; the stationary equations have no such series."""
    run = field(gf.Leaky(step=0.25), 10.0, 200, 8.4)
    exact = continuous_limit(run.ensemble, steps=(0.5, 0.25)).exponents[0]
    away = abs(run.lyapunov_max.value / 0.25 - exact)
    assert 1e-3 < away < run.lyapunov_max.error / 0.25


def test_kinks_are_between_panels() -> None:
    """hard-tanh: E φ'² is the share of neurons that are not saturated, erf(1/√(2C))."""
    run = field(gf.Vanilla(activation="hard_tanh"), 2.0, 100)
    second = run.second_moment[-1]
    std = 2.0 * np.sqrt(second)
    inside, edge = erf(1.0 / (std * np.sqrt(2.0))), np.sqrt(2.0 / np.pi) / std * np.exp(-0.5 / std**2)
    assert second == pytest.approx(std**2 * (inside - edge) + 1.0 - inside, rel=1e-12)
    assert run.lyapunov_max.value == pytest.approx(0.5 * np.log(4.0 * inside), abs=1e-12)
    assert abs(run.lyapunov_max.value - 0.2965729) < 1e-7


# ---- GRU ----


def test_gru_without_gates_is_leaky() -> None:
    """At a_z = a_r = 0, h' = h/2 + φ(y)/2 with y = (a/2) U h."""
    gru, leaky = field(gf.GRU(), 6.0, 150, 0.8), field(gf.Leaky(step=0.5), 3.0, 150, 2.4)
    assert gru.growth == pytest.approx(leaky.growth, abs=1e-12)
    assert 9.0 * gru.covariance == pytest.approx(leaky.covariance, abs=1e-12)


def test_the_tangent_leaves_covariances_alone() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 3.0, "reset": 10.0})
    alone, both = (deterministic_mean_field(ensemble, steps=60, tangent=t) for t in (False, True))
    assert np.array_equal(alone.covariance, both.covariance)
    assert alone.growth is None
    with pytest.raises(ValueError, match="tangent=True"):
        _ = alone.lyapunov_max


# ---- the flow ----


@pytest.mark.parametrize("gain", FLOW)
def test_the_flow(gain: float) -> None:
    variance, exponent = FLOW[gain]
    limit = continuous_limit(gf.Ensemble(gf.Leaky(), gain={"input": gain}))
    digits = {1.5: (6, 6), 2.0: (5, 6), 3.0: (4, 5), 5.0: (3, 5)}[gain]
    assert limit.variance.value == pytest.approx(variance, abs=0.6 * 10.0 ** -digits[0])
    assert limit.lyapunov_max.value == pytest.approx(exponent, abs=0.6 * 10.0 ** -digits[1])
    assert limit.variance.error < 1e-8
    assert limit.lyapunov_max.error < 1e-7
    assert limit.residual < 1e-10


def potential_variance(gain: float) -> float:
    """C_0 by conservation of energy, g² E[Φ(x) Φ(x')] = C²/2 with Φ = ln cosh at C = C_0, where C falls to 0."""

    def energy(q: float) -> float:
        together, apart = gauss(lambda x: np.log(np.cosh(x)) ** 2, q), gauss(lambda x: np.log(np.cosh(x)), q) ** 2
        return 0.5 * q * q - gain**2 * (together - apart)

    top = vanilla_variance(gain)
    return brentq(energy, 0.5 * top, top, xtol=1e-13)


@pytest.mark.parametrize("gain", [1.1, 2.0, 3.0])
def test_variance_by_conservation_of_energy(gain: float) -> None:
    """Sompolinsky, Crisanti & Sommers 1988: without any lag."""
    limit = continuous_limit(gf.Ensemble(gf.Leaky(), gain={"input": gain}))
    assert limit.variance.value == pytest.approx(potential_variance(gain), abs=3 * limit.variance.error + 1e-10)


@pytest.mark.parametrize(
    "more", [{}, {"bias_mean": {"input": 0.5}, "bias_var": {"input": 0.3}, "current": {"input": 0.2}}]
)
def test_its_maps_are_what_runs_end_at(more: dict[str, Any]) -> None:
    """The stationary equations against the causal pass."""
    limit = continuous_limit(gf.Ensemble(gf.Leaky(), gain={"input": 3.0}, **more), steps=(0.5, 0.25))
    for step, variance, exponent in zip(limit.steps, limit.variances, limit.exponents, strict=True):
        run = field(gf.Leaky(step=step), 3.0, int(120 / step), 2.3, **more)
        assert run.second_moment[-1] - run.ensemble.means[0] ** 2 == pytest.approx(variance, abs=1e-6)
        assert abs(run.lyapunov_max.value / step - exponent) < run.lyapunov_max.error / step + 1e-9


def test_a_short_range_of_lags_shows_in_the_error() -> None:
    ensemble = gf.Ensemble(gf.Leaky(), gain={"input": 3.0})
    short, long = (continuous_limit(ensemble, steps=(0.2, 0.1, 0.05), time=t) for t in (10.0, None))
    for name in ("variance", "lyapunov_max"):
        a, b = getattr(short, name), getattr(long, name)
        assert 1e-7 < abs(a.value - b.value) < a.error
    assert short.time == 10.0


@pytest.mark.parametrize("gain", [0.0, 0.7])
def test_the_flow_below_chaos(gain: float) -> None:
    limit = continuous_limit(gf.Ensemble(gf.Leaky(), gain={"input": gain}))
    assert limit.variance.value == 0.0
    assert limit.lyapunov_max.value == pytest.approx(gain - 1.0, abs=1e-10)


def test_the_flow_at_rest_with_biases() -> None:
    limit = continuous_limit(gf.Ensemble(gf.Leaky(), gain={"input": 1.2}, bias_var={"input": 0.3}))
    q = vanilla_variance(1.2, 0.3)
    assert limit.variance.value == pytest.approx(q, rel=1e-9)
    assert limit.lyapunov_max.value == pytest.approx(
        1.2 * gauss(lambda y: np.cosh(y) ** -4.0, q) ** 0.5 - 1.0, abs=1e-8
    )


# ---- input ----


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="Vanilla, Leaky and the paper's GRU, not LSTM"):
        deterministic_mean_field(gf.Ensemble(gf.LSTM()))
    with pytest.raises(ValueError, match="not GRU\\(reset_after=True\\)"):
        deterministic_mean_field(gf.Ensemble(gf.GRU(reset_after=True)))
    driven = gf.Ensemble(gf.Leaky(), gain={"input": 2.0}, current={"input": gf.WhiteCurrent(0.3)})
    for solve in (deterministic_mean_field, continuous_limit):
        with pytest.raises(ValueError, match="constant in time"):
            solve(driven)
    with pytest.raises(ValueError, match="is for Leaky"):
        continuous_limit(gf.Ensemble(gf.Vanilla(), gain={"input": 2.0}))
    leaky = gf.Ensemble(gf.Leaky(), gain={"input": 2.0})
    for steps in ((0.1,), (0.1, 0.1), (0.1, 0.7)):
        with pytest.raises(ValueError, match="at least two different steps up to 0.5"):
            continuous_limit(leaky, steps=steps)
    with pytest.raises(ValueError, match="smooth"):
        continuous_limit(gf.Ensemble(gf.Leaky(activation="hard_tanh"), gain={"input": 2.0}))
    with pytest.raises(ValueError, match="without bound"):
        continuous_limit(gf.Ensemble(gf.Leaky(activation=lambda x: 2.0 * x), gain={"input": 2.0}))
