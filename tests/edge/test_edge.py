"""The reduced model of the notes [EOC], exact: numbers, series, the second open question, the critical line."""

from __future__ import annotations

import numpy as np
import pytest

import gatefield as gf
from gatefield import edge

# From independent solvers (adaptive quadrature of the energy, shooting for the exponents): C_0 static and dynamic,
# 1/κ, half-time, λ_max and the growth rate at the static solution, in the notes' units.
FLOW = {
    2.05: (0.025822174849595262, 0.02571789078116327, 144.7800600879, 190.59749014, 0.000143363223, 0.0001926435619),
    2.2: (0.11274988586549364, 0.1110631893698882, 40.58570763522651, 53.223423092, 0.0018562030443, 0.00254088497922),
    3.0: (0.793354042606778, 0.747686380553398, 12.377839710110772, 15.69211084956, 0.02337310976043, 0.03369542460693),
    6.0: (6.305391478778854, 5.446326083042464, 6.99562502350741, 8.167317382857, 0.11773048201689, 0.18188253951999),
}  # fmt: skip
# The same as a map: C_0, λ_max per step, half-time, C at lags 1, 5 and 20.
MAP = {
    2.2: (0.11106302051573388, 0.0018535235918753, 37.630776, 0.1109947081288, 0.1093761988535, 0.088432104574),
    3.0: (0.7476330837919347, 0.022956609649837225, 11.077597, 0.7421208451762249, 0.62917740411924, 0.14243381870473),
    6.0: (5.4418775797912975, 0.1080618523538422, 5.749298, 5.271300572361769, 3.10186413977232, 0.16247901016279),
}  # fmt: skip
# g = 3 with a bias: static and dynamic C_0, C_∞, λ_max.
BIASED = {0.1: (0.870899, 0.855859, 0.518236, 0.0160815), 0.2: (1.077908, 1.077695, 1.042158, 0.0023415)}
LINE = {1e-4: 2.006214418075607, 1e-3: 2.028840648942986, 0.01: 2.133566185084037, 0.1: 2.608291680113022}


@pytest.fixture(scope="module")
def models():
    return {gain: edge.reduced(gain) for gain in FLOW}


@pytest.mark.parametrize("gain", FLOW)
def test_flow(models, gain: float) -> None:
    """[EOC 3–6, §3.2 C_0]"""
    static, dynamic, decay, half, exponent, growth = FLOW[gain]
    r = models[gain]
    assert r.static_variance == pytest.approx(static, rel=1e-12)
    assert r.dynamic_variance == pytest.approx(dynamic, rel=1e-12)
    assert r.decay_time == pytest.approx(decay, rel=1e-10)
    assert r.half_time == pytest.approx(half, rel=1e-8)
    assert r.lyapunov_max == pytest.approx(exponent, rel=2e-8)
    assert r.static_lyapunov_max == pytest.approx(growth, rel=1e-10)


@pytest.mark.parametrize("gain", MAP)
def test_map(models, gain: float) -> None:
    variance, exponent, half, *later = MAP[gain]
    r = models[gain].map
    assert r.variance == pytest.approx(variance, rel=1e-9)
    assert r.lyapunov_max == pytest.approx(exponent, rel=1e-9)
    assert r.half_time == pytest.approx(half, rel=1e-3)  # interpolated between steps
    assert r.autocorrelation[[1, 5, 20]] == pytest.approx(later, rel=1e-7)
    assert r.residual < 1e-12


def test_map_is_the_leaky_cell(models) -> None:
    """A second route: the two-time mean field of the map, run from a random start, without stationarity."""
    # [EOC 4, §3.1 bulk term]
    run = gf.meanfield.deterministic_mean_field(
        gf.Ensemble(gf.Leaky(step=0.5), gain={"input": 1.5}), steps=400, tangent=True
    )
    assert run.lyapunov_max.value == pytest.approx(models[3.0].map.lyapunov_max, abs=2e-4)


@pytest.mark.parametrize("bias_std", BIASED)
def test_bias(bias_std: float) -> None:
    """[EOC 8–9, §3.3 translation]"""
    static, dynamic, plateau, exponent = BIASED[bias_std]
    r = edge.reduced(3.0, bias_std)
    assert [r.static_variance, r.dynamic_variance, r.plateau] == pytest.approx([static, dynamic, plateau], abs=1e-6)
    assert r.lyapunov_max == pytest.approx(exponent, abs=1e-7)
    assert r.autocorrelation[-1] == pytest.approx(r.plateau, rel=1e-4)
    # not a translation of the free covariance: without bias C falls to 0, and 4σ_b² = 0.04, 0.16
    assert r.plateau > 4.0 * bias_std**2 + 0.4


def test_the_odd_level_is_zero_and_the_ground_state_below(models) -> None:
    for r in models.values():
        assert abs(r.levels[1]) < 1e-12
        assert r.levels[0] < 0.0 < r.lyapunov_max


@pytest.mark.parametrize("bias_std", [0.0, 0.01, 0.3])
def test_chaos_is_linear_instability(bias_std: float) -> None:
    """The second open question: λ_max changes sign where the static solution does, which is [EOC 7]."""
    # [EOC §3.3 g_c, §4 question 2]
    critical = edge.critical_gain(bias_std)
    for gain in [1.9, 6.0, critical * 0.999, critical * 1.001]:
        r = edge.reduced(gain, bias_std)
        assert r.chaotic == (gain > critical)
        assert np.sign(r.lyapunov_max) == np.sign(r.static_lyapunov_max) == (1 if gain > critical else -1)
        if not r.chaotic:
            assert r.lyapunov_max == pytest.approx(r.static_lyapunov_max, abs=1e-14)


@pytest.mark.parametrize(("bias_std", "ratio"), [(0.0, 3 / 4), (0.1, 5 / 8)])
def test_dynamic_over_static_exponent_at_onset(bias_std: float, ratio: float) -> None:
    r = edge.reduced(edge.critical_gain(bias_std) + 1e-3, bias_std)
    assert r.lyapunov_max / r.static_lyapunov_max == pytest.approx(ratio, abs=2e-3)


@pytest.mark.parametrize("gain", [2.002, 2.02])
def test_series_at_the_edge(gain: float) -> None:
    """[EOC 6, §3.2 C_0]"""
    e = gain / 2 - 1
    r = edge.reduced(gain)
    assert r.static_variance == pytest.approx(e + 4 / 3 * e**2 - 7 / 9 * e**3, abs=20 * e**4)
    assert r.dynamic_variance == pytest.approx(e + 7 / 6 * e**2 - 7 / 9 * e**3, abs=20 * e**4)
    assert r.lyapunov_max == pytest.approx(e**2 / 4, rel=5 * e)
    assert r.decay_time == pytest.approx(2 * np.sqrt(3) / e, rel=3 * e)
    tau = np.array([0.0, 1.0, 3.0]) / e
    assert r.autocorrelation_at(tau) == pytest.approx(e / np.cosh(e * tau / (2 * np.sqrt(3))), rel=6 * e)
    assert r.map.variance == pytest.approx(r.dynamic_variance, rel=e**3)
    assert r.half_time / r.map.half_time == pytest.approx(np.sqrt(2), rel=1e-4)  # a step of the map counts twice in C̈


def test_potential(models) -> None:
    """The dynamic C_0 starts at the height at which it ends; the static one starts at a minimum below. [EOC 5–6]"""
    r = models[3.0]
    assert r.potential([0.0, r.dynamic_variance]) == pytest.approx([0.0, 0.0], abs=1e-15)
    assert np.all(r.potential(np.linspace(0.05, 0.95, 19) * r.dynamic_variance) < 0.0)
    h = 1e-3
    around = r.potential(r.static_variance * np.array([1 - 2 * h, 1 - h, 1.0]), static=True)
    assert around[2] < around[1] < around[0] < 0.0
    assert abs(around[1] - around[2]) < 0.5 * abs(around[0] - around[1])  # flat there: no force at the static C_0
    tau = 3.0 + np.array([-0.01, 0.0, 0.01])
    c = r.autocorrelation_at(tau)
    acceleration, speed = (c[2] - 2 * c[1] + c[0]) / 1e-4, (c[2] - c[0]) / 0.02
    force = -(np.diff(r.potential(c[1] + np.array([-1e-5, 1e-5])))[0]) / 2e-5
    assert acceleration == pytest.approx(force, rel=1e-4)
    assert 0.5 * speed**2 + r.potential(c[1]) == pytest.approx(0.0, abs=1e-8)


def test_the_notes_relaxation_time(models) -> None:
    """Imaginary in chaos, with either C_0; below the line only the correlation time, not the slowest mode."""
    # [EOC §3.2 τ_∞]
    moduli = {2.2: 19.8, 3.0: 5.4, 6.0: 2.2}  # at the static C_0
    for gain, modulus in moduli.items():
        r = models[gain]
        assert r.notes_relaxation < 0.0
        static = (1.0 + 2.0 * r.static_lyapunov_max) ** 2  # (g²/4) E sech⁴
        assert ((static - 1.0) / 4.0) ** -0.5 == pytest.approx(modulus, abs=0.06)
        assert r.decay_time > modulus
    r = edge.reduced(0.9 * edge.critical_gain(0.1), 0.1)
    assert r.notes_relaxation**-0.5 == pytest.approx(7.1, abs=0.05)
    assert -1.0 / r.lyapunov_max == pytest.approx(50.0, abs=0.5)


@pytest.mark.parametrize("bias_std", LINE)
def test_critical_gain(bias_std: float) -> None:
    """[EOC 7, §3.3 g_c]"""
    assert edge.critical_gain(bias_std) == pytest.approx(LINE[bias_std], rel=1e-12)


def test_critical_line_and_its_law() -> None:
    """[EOC §3.3 C_0, §3.3 law]"""
    sigma = np.geomspace(1e-4, 1e-2, 5)
    line = edge.critical_line(sigma)
    assert line.exponent == pytest.approx(2 / 3, abs=3e-3)
    assert line.exponent[0] == pytest.approx(2 / 3, abs=2e-5)
    left = line.gain - line.leading
    assert left == pytest.approx(-4.8 * sigma**2, rel=0.35)  # no term σ^{4/3}, which would be 2e4 times larger at 1e-4
    assert left[0] == pytest.approx(-4.8e-8, rel=0.03)
    gain = edge.reduced(2.2, 0.2).static_variance
    assert gain == pytest.approx(2.2**2 / 4 * _square(gain) + 4 * 0.2**2, rel=1e-12)  # [EOC 10]
    assert edge.critical_gain(0.0) == 2.0


def _square(variance: float) -> float:
    z = np.linspace(-10, 10, 2001)
    weights = np.exp(-0.5 * z**2)
    return float(np.tanh(np.sqrt(variance) * z) ** 2 @ weights / weights.sum())


def test_at_rest() -> None:
    """[EOC 2, §2.3 J, §2.3 g_c]"""
    r = edge.reduced(1.8)
    assert not r.chaotic
    assert r.dynamic_variance == r.static_variance == r.plateau == 0.0
    assert r.lyapunov_max == pytest.approx(0.5 * (0.9 - 1.0))
    assert r.map.lyapunov_max == pytest.approx(np.log(0.95))
    assert r.half_time == np.inf
    assert r.as_json()["half_time"] is None
    assert np.all(r.autocorrelation == 0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: edge.reduced(-1.0), "gain"),
        (lambda: edge.reduced(40.0), "deterministic_mean_field"),
        (lambda: edge.reduced(3.0, float("nan")), "bias_std"),
        (lambda: edge.critical_line([0.0]), "bias_stds"),
        (lambda: edge.onset_law(2.1, {"reset": 1.0}), "gates"),
        (edge.tricritical_gates, "all 0"),
        (lambda: edge.bias_critical_gain(0.1, on="reset"), "on"),
        (lambda: edge.gate_statistics(gf.Ensemble(gf.GRU(), gain={"update": 1.0})), "LSTM"),
        (lambda: edge.critical_exponent([2.1, 2.2], gf.Estimate(np.ones(2), 0.0)), "at least 4"),
        (lambda: edge.measure_tricritical((3.0,), (2.1,)), "at least 3"),
        (lambda: edge.autocorrelation_curves((1.5,)), "above 2"),
        (lambda: edge.comparison_curves(modes=("live",)), "modes"),
    ],
)
def test_wrong_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_datasets(models) -> None:
    data = models[3.0].to_dataset()
    assert float(data.dynamic_variance) == models[3.0].dynamic_variance
    assert data.lag.attrs["units"] == "steps"
    curves = edge.variance_curves([1.8, 2.5, 3.0])
    assert curves.dynamic.values == pytest.approx([0.0, 0.3155937568497422, 0.747686380553398])
    assert float(edge.potential_curves(3.0).potential.sel(kind="dynamic")[-1]) == pytest.approx(0.0, abs=1e-15)
