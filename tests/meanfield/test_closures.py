"""The closure [CKS 45–46] against exact solutions, its own equations by another quadrature, and the mean field."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
from scipy.special import expit
from tests.all_cells import RUN, SHORT_RUN
from tests.references import GRU_WITHOUT_UPDATE, NODES, WEIGHTS, gauss, gru_at_3, gru_fields, gru_static

import gatefield as gf
from gatefield.meanfield.closures import Closure, closure

# values.json "gru_closure_45_46_vs_dmft_Ch", candidate gain 3, by (update, reset): C_h of closure and mean field.
AT_3 = {(1.0, 10.0): (0.35315, 0.35083), (10.0, 10.0): (0.35966, 0.39537), (1.0, 1.0): (0.33909, 0.33857),
        (10.0, 1.0): (0.34135, 0.3507)}  # fmt: skip
# values.json "gru_dmft_az0_exact", update gain 0, by (candidate, reset): C_h at lags 0 and 1.
EXACT = {(3.0, 0.0): (0.33228137, 0.32983149), (3.0, 1.0): (0.33874321, 0.3339252),
         (3.0, 10.0): (0.35201699, 0.32674125), (2.1, 1.0): (0.05172589, 0.05166122)}  # fmt: skip


@cache
def at_3(update: float, reset: float) -> Closure:
    return closure(gru_at_3(update, reset))


@pytest.mark.parametrize(("candidate", "reset"), EXACT)
def test_constant_update_gate_is_exact(candidate: float, reset: float) -> None:
    result = closure(gf.Ensemble(gf.GRU(), gain={"reset": reset, "candidate": candidate}))
    assert result.regime == "chaotic"
    assert result.autocorrelation[:2] == pytest.approx(EXACT[candidate, reset], abs=6e-9)


@pytest.mark.parametrize(("update", "reset"), AT_3)
def test_live_update_gate(update: float, reset: float) -> None:
    printed, true = AT_3[update, reset]
    result = at_3(update, reset)
    assert result.second_moment == pytest.approx(printed, abs=6e-6)
    assert result.residual < 1e-8
    # the mean field's own error is 5e-4, at (10, 1) 2e-3
    assert (abs(result.second_moment - true) < 2e-3) == ((update, reset) == (1.0, 1.0))


@pytest.mark.parametrize(("update", "reset"), AT_3)
def test_bound(update: float, reset: float) -> None:
    """[CKS 47]: C_φ(0) by another quadrature, and the difference by [CKS 46], κ (C_h(0) − C_h(1))·2/(1 − 2κ + C_z)."""
    result = at_3(update, reset)
    c = result.autocorrelation
    reset_square = gauss(lambda x: expit(x) ** 2, reset**2 * c[0])
    assert result.bound == pytest.approx(gauss(lambda y: np.tanh(y) ** 2, 9.0 * c[0] * reset_square), rel=1e-9)
    gate_square = gauss(lambda x: expit(x) ** 2, update**2 * c[0])  # κ = ½
    assert result.bound - c[0] == pytest.approx((c[0] - c[1]) / gate_square, rel=1e-5)
    assert result.bound > c[0]


def test_memory_of_slow_gates_is_missed() -> None:
    assert 5.0 < at_3(10.0, 1.0).autocorrelation_time < 12.0  # about 700 steps in the mean field, errata 5


def pair_average(function: Any, mean: float, variance: float, covariance: float) -> float:
    """E f(x) f(x') on a plain square grid."""
    x = mean + np.sqrt(covariance) * NODES[:, None] + np.sqrt(max(variance - covariance, 0.0)) * NODES
    return float(WEIGHTS @ (function(x) @ WEIGHTS) ** 2)


BIASED = gf.Ensemble(
    gf.GRU(),
    gain={"update": 2.0, "reset": 3.0, "candidate": 4.0},
    bias_mean={"update": 0.4, "reset": 0.5, "candidate": 0.3},
    bias_var={"update": 0.2, "reset": 0.3, "candidate": 0.05},
)


@pytest.mark.parametrize("ensemble", [gru_at_3(1.0, 1.0), BIASED], ids=["zero-bias", "biased"])
def test_equations_hold(ensemble: gf.Ensemble) -> None:
    """[CKS 45–46] term by term, as printed."""
    c = closure(ensemble, lags=12).autocorrelation
    (a_z, a_r, a_h), (b_z, b_r, b_h) = ensemble.gains, ensemble.means
    v_z, v_r, v_h = ensemble.static_variance
    gate = float(WEIGHTS @ expit(b_z + np.sqrt(a_z**2 * c[0] + v_z) * NODES))
    c_z = [pair_average(expit, b_z, a_z**2 * c[0] + v_z, a_z**2 * x + v_z) for x in c]
    c_y = [a_h**2 * pair_average(expit, b_r, a_r**2 * c[0] + v_r, a_r**2 * x + v_r) * x + v_h for x in c]
    c_phi = [pair_average(np.tanh, b_h, c_y[0], x) for x in c_y]
    assert c[0] + c_z[0] * c[0] - 2 * gate * c[1] == pytest.approx((1 - 2 * gate + c_z[0]) * c_phi[0], abs=1e-9)
    for k in range(1, 12):
        left = c[k] - gate * c[k - 1] - gate * c[k + 1] + c_z[k] * c[k]
        assert left == pytest.approx((1 - 2 * gate + c_z[k]) * c_phi[k], abs=1e-9)


def test_chaos_begins_where_the_mean_field_says() -> None:
    """errata 4, candidate gain 1.9, constant update gate: between reset gains 8.2 and 8.3, not at the fold 5.381."""
    before, after = (closure(gf.Ensemble(gf.GRU(), gain={"reset": a, "candidate": 1.9})) for a in (8.2, 8.3))
    assert (before.regime, after.regime) == ("fixed point", "chaotic")
    static = before.second_moment
    reset = gauss(lambda x: expit(x) ** 2, 8.2**2 * static)
    assert static == pytest.approx(gauss(lambda y: np.tanh(y) ** 2, 1.9**2 * static * reset), rel=1e-9)
    assert np.all(before.autocorrelation == static)
    assert after.second_moment < static / 2


def test_silence_and_stable_activity() -> None:
    silent = closure(gf.Ensemble(gf.GRU(), gain={"update": 1.0, "candidate": 1.5}))
    assert (silent.regime, silent.second_moment, silent.limit) == ("quiescent", 0.0, 0.0)
    assert np.isnan(silent.autocorrelation_time)
    ensemble = gf.Ensemble(
        gf.GRU(), gain={"update": 2.0, "reset": 2.0, "candidate": 1.2}, bias_var={"candidate": 0.5},
        bias_mean={"candidate": 0.4},
    )  # fmt: skip
    steady = closure(ensemble, lags=5)
    expected = gru_static(candidate=1.2, reset=2.0, bias_mean=0.4, bias_var=0.5)
    assert (steady.regime, steady.autocorrelation_time) == ("fixed point", np.inf)
    assert (steady.second_moment, steady.mean) == pytest.approx(expected, rel=1e-9)
    assert steady.variance == pytest.approx(expected[0] - expected[1] ** 2, rel=1e-9)


@pytest.mark.parametrize("update", [-40.0, -4.0, 4.0])
def test_extreme_update_gates(update: float) -> None:
    """A constant gate z: C_h is the static one as z → 0, where the GRU is a map without memory."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"reset": 1.0, "candidate": 3.0}, bias_mean={"update": update})
    result = closure(ensemble)
    static = gru_static(candidate=3.0, reset=1.0, bias_mean=0.0, bias_var=0.0)[0]
    assert result.regime == "chaotic"
    assert result.residual < 1e-8
    assert 0.338 < result.second_moment < static * (1 + 1e-12)  # [CKS 47], true for constant gates
    if update == -40.0:
        assert result.second_moment == pytest.approx(static, rel=1e-12)
        assert result.autocorrelation[1:] == pytest.approx(0.0, abs=1e-15)


def test_autocorrelation_settles_at_its_limit() -> None:
    result = closure(BIASED)
    c = result.autocorrelation
    assert np.all(np.diff(c) <= 1e-13)
    assert c[-1] == pytest.approx(result.limit, rel=1e-6)
    assert c[0] > 2 * result.limit > 2 * result.mean**2 > 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("update", "reset", "expected"),
    [(10.0, 10.0, 0.35966 / 0.39537 - 1), (1.0, 1.0, 0.33909 / 0.33857 - 1)],
)
def test_difference_from_the_sampled_solution(update: float, reset: float, expected: float) -> None:
    field = gru_fields(update, reset)[0]
    difference = at_3(update, reset).compare(field)
    assert len(difference.value) == len(field.lags)
    assert abs(difference.value[0] - expected) < 4 * difference.error[0] + 2e-3  # the reference's own error
    assert difference.error[0] < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("reset", GRU_WITHOUT_UPDATE)
def test_sampled_solution_where_exact(reset: float) -> None:
    field = gf.mean_field(gru_at_3(0.0, reset), seed=3, **RUN)
    difference = at_3(0.0, reset).compare(field)
    bound = field.response_autocorrelation["candidate"]  # [CKS 47]
    assert abs(bound.value[0] - at_3(0.0, reset).bound) < 4.5 * bound.error[0]
    assert np.all(np.abs(difference.value[:20]) < 4.5 * difference.error[:20])


@pytest.mark.slow
def test_sampled_solution_with_biases() -> None:
    ensemble = gf.Ensemble(
        gf.GRU(), gain={"reset": 2.0, "candidate": 4.0}, bias_mean={"candidate": 0.3, "reset": 0.5},
        bias_var={"candidate": 0.05, "reset": 0.3},
    )  # fmt: skip
    result, field = closure(ensemble), gf.mean_field(ensemble, seed=1, **RUN)
    difference = result.compare(field)
    assert np.all(np.abs(difference.value[:20]) < 4.5 * difference.error[:20])
    assert abs(result.mean - field.mean["h"].value) < 4 * field.mean["h"].error
    assert abs(result.variance - field.variance["h"].value) < 4 * field.variance["h"].error


def test_comparison_needs_the_same_ensemble() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 1.0, "candidate": 1.5})
    quiet = gf.mean_field(ensemble, **SHORT_RUN)
    with pytest.raises(ValueError, match="same ensemble"):
        at_3(1.0, 1.0).compare(quiet)
    with pytest.raises(ValueError, match="quiescent"):
        closure(ensemble).compare(quiet)


@pytest.mark.parametrize(
    ("ensemble", "match"),
    [
        (gf.Ensemble(gf.LSTM(), gain={"cell": 3.0}), "LSTM.*mean_field"),
        (gf.Ensemble(gf.GRU(reset_after=True), gain={"candidate": 3.0}), "reset_after=False"),
        (gf.Ensemble(gf.GRU(), gain={"candidate": 3.0}, current={"candidate": gf.WhiteCurrent(0.1)}), "current"),
        (gf.Ensemble(gf.GRU(activation=jax.nn.relu), gain={"candidate": 9.0}), "no bound"),
    ],
)
def test_what_it_does_not_cover_is_refused(ensemble: gf.Ensemble, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        closure(ensemble)


def test_bad_lags_are_refused() -> None:
    with pytest.raises(ValueError, match="lags=0"):
        closure(gru_at_3(0.0, 0.0), lags=0)


def test_dataset() -> None:
    result = at_3(1.0, 1.0)
    data = result.to_dataset()
    np.testing.assert_array_equal(data["autocorrelation"], result.autocorrelation)
    assert data["lag"].attrs["units"] == "steps"
    assert data.attrs["regime"] == "chaotic"
