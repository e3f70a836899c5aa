"""LSTMs at their edge of chaos: onset law, tricritical point, biases, theorems, and everything side by side."""

from __future__ import annotations

import numpy as np
import pytest
from tests.commands import Command

import gatefield as gf
from gatefield import edge
from gatefield.edge.coexistence import _fit
from gatefield.edge.onset import GATES


@pytest.mark.parametrize(
    ("gates", "moment", "exponent"),
    [(2.0, 0.001667, 0.001042), (3.0, 0.002857, 0.004018), (1.0, 0.001333, 0.000208)],
)
def test_law(gates: float, moment: float, exponent: float) -> None:
    law = edge.onset_law(2.02, gates)
    assert law.second_moment == pytest.approx(moment, abs=1e-6)
    assert law.lyapunov_max == pytest.approx(exponent, abs=1e-6)
    assert law.autocorrelation(law.half_time) == pytest.approx(law.second_moment / 2)
    assert law.continuous


@pytest.mark.parametrize(
    ("gates", "gain", "moment", "exponent", "half"),
    # mean fields of 8 batches of 8000 neurons over 1200 steps; the last two of one
    [
        (2.0, 2.02, 0.0016506681, 0.0010209537, 44.126),
        (3.0, 2.02, 0.0027548747, 0.0038264315, 23.182),
        (2.0, 2.05, 0.0040644136, 0.0026422664, 27.938),
        (1.0, 2.05, 0.0032582713, 0.0007988057, 49.951),
        (0.0, 2.2, 0.01179, 0.00176, 36.0),
    ],
)
def test_law_against_mean_fields(gates: float, gain: float, moment: float, exponent: float, half: float) -> None:
    """Corrections are of relative order ε, and the sampled numbers have errors of some per cent. [EOC §4 question 1]"""
    law, epsilon = edge.onset_law(gain, gates), gain / 2 - 1
    allowed = 0.06 + 3.5 * epsilon
    assert moment / law.second_moment == pytest.approx(1.0, abs=allowed)
    assert exponent / law.lyapunov_max == pytest.approx(1.0, abs=allowed + 0.45 * (gates == 1.0))
    assert half / law.half_time == pytest.approx(1.0, abs=allowed + 0.2 * (gates == 1.0))


def test_frozen_gates_are_the_reduced_map() -> None:
    """[EOC §4 question 1]"""
    law, r = edge.onset_law(2.004, 0.0), edge.reduced(2.004)
    assert 8 * law.second_moment == pytest.approx(r.map.variance, rel=0.01)
    assert law.lyapunov_max == pytest.approx(r.map.lyapunov_max, rel=0.02)
    assert law.half_time == pytest.approx(r.map.half_time, rel=0.01)


def test_tricritical_points() -> None:
    assert edge.tricritical_gates(forget=1, input=1, output=1).gates == pytest.approx(dict.fromkeys(GATES, 4.0))
    for name, value in zip(GATES, (24**0.5, 96**0.5, 96**0.5), strict=True):
        found = edge.tricritical_gates(**{name: 2.0})
        assert found.gates[name] == pytest.approx(value)
        assert edge.onset_law(2.01, {name: 0.999 * value}).continuous
        below = edge.onset_law(1.99, {name: 1.001 * value})
        assert not below.continuous
        assert below.second_moment > 0.0  # the unstable branch
        assert np.isnan(edge.onset_law(2.01, {name: 1.001 * value}).second_moment)
        static = gf.edge.lstm(2.0, found.static)
        assert gf.phases.static_transition(static).coefficient == pytest.approx(0.0, abs=1e-12)


def test_fit_of_the_tricritical_point() -> None:
    """The fit finds the point from moments that obey the law, with noise of 3 % and a curvature of its own."""
    s, g = (a.ravel() for a in np.meshgrid([3.0, 3.5, 4.0, 4.5], [2.04, 2.07, 2.1, 2.15, 2.2], indexing="ij"))
    stiffness = 8.0 - s**2 / 2.0
    moment = (-stiffness + np.sqrt(stiffness**2 + 4 * 60.0 * (g / 2 - 1))) / 120.0
    noisy = moment * (1 + 0.03 * np.random.default_rng(0).standard_normal(len(s)))
    found = _fit(dict.fromkeys(GATES, 1.0), 4.0, s, g, gf.Estimate(noisy, 0.03 * moment))
    assert 0.0 < found.scale.error < 0.2
    assert abs(found.scale.value - 4.0) < 3.0 * found.scale.error
    assert abs(found.stiffness.value - 0.5) < 3.0 * found.stiffness.error


@pytest.mark.slow
def test_the_fit_on_mean_fields() -> None:
    found = edge.measure_tricritical((3.0, 4.0, 5.0), (2.1, 2.2), steps=200, samples=6000)
    assert len(found.gains) == 6
    assert abs(found.scale.value - found.predicted) < 3.0 * found.scale.error + 0.4  # short runs
    assert found.as_json()["predicted"] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("bias_std", "gates", "gain"),
    [
        (0.1, 0.0, 2.48789),
        pytest.param(0.1, None, 2.14579, marks=pytest.mark.slow),
        pytest.param(0.1, 1.0, 2.38575, marks=pytest.mark.slow),
    ],
)
def test_critical_gain_with_a_cell_bias(bias_std: float, gates: float | None, gain: float) -> None:
    found = edge.bias_critical_gain(bias_std, gates=gates)
    assert found.gain == pytest.approx(gain, abs=2e-5)
    assert found.notes == pytest.approx(2.24508, abs=1e-5)
    if gates is None:
        assert found.gates["forget"] == found.gain


@pytest.mark.slow
def test_critical_gain_by_another_quadrature() -> None:
    """Equal gains, σ = 1, where every other route must resolve gates that are nearly open: T(1) by a plain grid."""
    gain = edge.bias_critical_gain(1.0).gain
    assert gain == pytest.approx(2.63976, abs=2e-5)
    assert _support_at_one(gain, 1.0) == pytest.approx(1.0, abs=1e-4)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _support_at_one(gain: float, sigma: float) -> float:
    """T(1) of an LSTM of equal gains with a cell bias: trapezoidal sums over forget, input and cell input."""

    def grid(std: float, step: float) -> tuple[np.ndarray, np.ndarray]:
        z = np.arange(-9.5, 9.5 + step / 2, step)
        weights = np.exp(-0.5 * z**2)
        return std * z, weights / weights.sum()

    moment = gf.fixed_points(edge.lstm(gain, gain, bias_var={"cell": sigma**2}))[-1].second_moment["h"]
    std = gain * np.sqrt(moment)
    (xf, wf), (xi, wi), (xo, wo) = grid(std, 0.1), grid(std, 0.03), grid(std, 0.1)
    y, wy = grid(np.hypot(std, sigma), 0.03)
    i, slope = sigmoid(xi)[:, None], (sigmoid(xi) * sigmoid(-xi))[:, None]
    weights, candidate = wi[:, None] * wy, np.tanh(y)
    square = gate = 0.0
    for x, w in zip(xf, wf, strict=True):
        f, left = sigmoid(x), sigmoid(-x)
        c = i * candidate / left
        inner = (c * f * left) ** 2 + (candidate * slope) ** 2 + (i * (1 - candidate**2)) ** 2
        square += w * np.sum(weights * np.tanh(c) ** 2)
        gate += w * np.sum(weights * inner / (np.cosh(np.clip(c, -150, 150)) ** 4 * left**2))
    o, read = sigmoid(xo) ** 2 @ wo, (sigmoid(xo) * sigmoid(-xo)) ** 2 @ wo
    return float(gain**2 * (read * square + o * gate))


def test_small_cell_biases() -> None:
    """Exponent 2/3 with frozen gates; with live ones 1, approached slowly."""
    small, smaller = (edge.bias_critical_gain(s, gates=0.0) for s in (1e-3, 1e-4))
    assert small.gain - 2 == pytest.approx(small.law - 2, rel=2e-3)
    exponent = np.log10((small.gain - 2) / (smaller.gain - 2))
    assert exponent == pytest.approx(2 / 3, abs=2e-3)
    assert small.law - 2 == pytest.approx(2 * (small.notes - 2), rel=0.3)
    assert edge.bias_critical_gain(0.0).gain == pytest.approx(2.0)


@pytest.mark.slow
def test_small_cell_bias_with_live_gates() -> None:
    found = edge.bias_critical_gain(1e-3)
    assert found.law - 2 == pytest.approx(2.309e-3, rel=1e-3)
    assert found.gain - 2 == pytest.approx(found.law - 2, rel=0.03)


def test_theorems_below_and_above() -> None:
    """[EOC Thm 1, Thm 2, §2.1 gates]"""
    below = edge.gate_statistics(edge.lstm(1.5, 1.5), sizes=(200, 400), networks=4, times=(1, 200))
    assert np.all(below.second_moment.value[:, -1] < 1e-12)
    assert np.all(below.gate_variance.value[:, -1] < 1e-12)
    assert np.all(below.tail.value == 0.0)
    above = edge.gate_statistics(edge.lstm(4.0, 4.0), sizes=(200, 400), networks=6, times=(1, 200))
    variance, error = above.gate_variance.value[:, -1, 0], above.gate_variance.error[:, -1, 0]
    assert np.all(np.abs(variance - 0.0590) < 4 * error + 0.004)  # of the mean field, at any N
    assert np.all(np.abs(above.variance_ratio.value[:, -1] - 1) < 0.08)
    assert np.all(above.tail.value <= above.bound)
    # N E[U_ii h_i] does not vanish for gates: its first term alone is of order 1
    memory, spread = above.memory.value[:, -1], above.memory.error[:, -1]
    assert np.all(memory[:, :3] > 4 * spread[:, :3])
    assert memory[0, :3] == pytest.approx(memory[1, :3], abs=4 * np.max(spread[:, :3]))
    assert np.all(np.abs(memory[:, 3]) < 5 * spread[:, 3])  # odd under a change of all signs
    assert np.all(np.abs(above.off_diagonal.value) < 6 * above.off_diagonal.error)
    assert above.as_json()["names"] == ["forget", "input", "output", "cell"]


def test_exponents_near_the_edge() -> None:
    """[EOC §4 question 1]"""
    gains = [2.01, 2.02, 2.05, 2.1, 2.2, 2.3]
    for quantity, expected in (("lyapunov_max", 2.0), ("dynamic_variance", 1.0), ("half_time", -1.0)):
        values = gf.Estimate(np.array([getattr(edge.reduced(g), quantity) for g in gains]), 0.0)
        found = edge.critical_exponent(gains, values)
        assert found.exponent.value == pytest.approx(expected, abs=0.01)
    laws = [edge.onset_law(g, 2.0).lyapunov_max for g in gains]
    assert edge.critical_exponent(gains, gf.Estimate(np.array(laws), 0.0)).exponent.value == pytest.approx(1.0)


# ---- the command ----


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
class TestCommand:
    def test_text_and_json(self, gatefield: Command) -> None:
        done = gatefield("edge", "--gain", "3")
        assert done.code == 0, done.err
        for text in ("chaotic", "0.793354", "0.7476864", "negative: imaginary"):
            assert text in done.out
        found = gatefield("edge", "--gain", "2.02", "--gate", "forget=2", "--json").json
        assert found["reduced"]["dynamic_variance"] == pytest.approx(0.0101159128)
        assert found["onset_law"]["gates"] == {"forget": 2.0, "input": 0.0, "output": 0.0}

    @pytest.mark.parametrize("kind", ["variance", "potential", "autocorrelation"])
    def test_figures(self, gatefield: Command, tmp_path, kind: str) -> None:
        done = gatefield("edge", "--figure", kind, "--output", "edge.png")
        assert done.code == 0, done.err
        assert (tmp_path / "edge.png").stat().st_size > 20_000

    def test_refusals(self, gatefield: Command) -> None:
        assert "use one of variance" in gatefield("edge", "--figure", "chaos", "--output", "x.png").err
        assert "--output" in gatefield("edge", "--figure", "bias").err
        assert "gates" in gatefield("edge", "--gate", "reset=1").err


def test_laws_far_from_the_edge_say_so() -> None:
    assert edge.onset_law(2.5, 1.0).converged
    assert "compared with networks up to 3 only" in edge.onset_law(8.0, 1.0).messages[0]
    far = np.array([2.1, 2.5, 3.0, 5.0])
    found = edge.critical_exponent(far.tolist(), gf.Estimate(far / 2.0 - 1.0, 0.0))
    assert "cell gain 5" in found.messages[0]
