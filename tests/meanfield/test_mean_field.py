"""The mean field against exact solutions, published numbers, and its own error bars."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from tests import references
from tests.all_cells import EACH_CELL, RUN, SHORT_RUN, Case, TwoRooms, half_of, settled
from tests.references import (
    GRU_AT_3,
    GRU_WITHOUT_UPDATE,
    NODES,
    VANILLA,
    WEIGHTS,
    gauss,
    gru_at_3,
    gru_fields,
    together,
)

import gatefield as gf
from gatefield.meanfield import sampled as meanfield


def solve(ensemble: gf.Ensemble, seed: int = 0) -> gf.meanfield.MeanField:
    return gf.mean_field(ensemble, seed=seed, **RUN)


def assert_agrees(estimate: gf.Estimate, exact: float) -> None:
    """Within four errors: with eight batches it lies beyond once in 270."""
    assert abs(estimate.value - exact) < 4.0 * estimate.error, f"{estimate} against {exact}"


# ---- exact solutions ----


@pytest.mark.parametrize("gain", VANILLA)
def test_vanilla_variance(gain: float) -> None:
    assert references.vanilla_variance(gain) == pytest.approx(VANILLA[gain], abs=1e-6)
    field = solve(gf.Ensemble(gf.Vanilla(), gain={"input": gain}))
    assert_agrees(field.variance["input"], VANILLA[gain])
    assert field.variance["input"].error < 0.01 * VANILLA[gain]
    assert (field.regime, field.converged) == ("chaotic", True)
    # the map forgets in one step
    np.testing.assert_allclose(field.autocorrelation["h"].value[1:4], 0.0, atol=0.02 * field.variance["h"].value)


@pytest.mark.parametrize("reset", GRU_WITHOUT_UPDATE)
def test_gru_without_update_gate(reset: float) -> None:
    """[CKS 36–41, 43]"""
    field = solve(gru_at_3(0.0, reset))
    assert_agrees(field.variance["h"], GRU_WITHOUT_UPDATE[reset])
    assert field.variance["h"].error < 0.01 * GRU_WITHOUT_UPDATE[reset]
    assert field.variance["update"].value == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("update", "reset", "expected"), [(10.0, 10.0, 0.395), (1.0, 10.0, 0.351), (1.0, 1.0, 0.339)])
def test_published_gru(update: float, reset: float, expected: float) -> None:
    """C_h of the issue, each with an error of .001, and of values.json. [CKS 9, 36–41, 43]"""
    value, error = together([f.variance["h"] for f in gru_fields(update, reset)])
    assert error < 0.01 * expected
    assert abs(value - expected) < 4.0 * np.hypot(error, 0.001)
    reference, its_error = GRU_AT_3[update, reset]["C_h"]
    assert abs(value - reference) < 4.0 * np.hypot(error, its_error)


@pytest.mark.slow
@pytest.mark.parametrize(("update", "reset"), GRU_AT_3)
def test_gru_autocorrelation(update: float, reset: float) -> None:
    """values.json has no errors at lags; that of its C_h stands for them, for the amplitude is what is soft."""
    reference = GRU_AT_3[update, reset]
    for lag, expected in enumerate(reference["autocorrelation"]):
        parts = [
            gf.Estimate(c.value[lag], c.error[lag]) for c in (f.autocorrelation["h"] for f in gru_fields(update, reset))
        ]
        value, error = together(parts)
        assert abs(value - expected) < 4.0 * np.hypot(error, reference["C_h"][1]), f"lag {lag}"


@pytest.mark.parametrize(
    "ensemble",
    [
        gf.Ensemble(gf.GRU(), gain={"update": 3.0, "reset": 3.0, "candidate": 5.0}),
        gf.Ensemble(
            gf.LSTM(),
            gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 8.0},
            bias_mean={"forget": -1.0},
        ),
    ],
    ids=["gru", "lstm"],
)
def test_correlations_of_gates_are_those_of_gaussian_pre_activations(ensemble: gf.Ensemble) -> None:
    """[CKS 42, 44]: E f(x) f(x') on a square grid, from the covariance of x that the same run has."""
    field = settled(ensemble)
    lags = [0, 1, 5]
    for k, name in enumerate(ensemble.names):
        f = np.tanh if name in ("candidate", "cell") else expit
        c, mean = field.autocorrelation[name].value - ensemble.means[k] ** 2, ensemble.means[k]
        assert_near(field.response_mean[name], gauss(f, c[0], mean))
        for lag in lags:
            inner = f(mean + np.sqrt(c[lag]) * NODES[:, None] + np.sqrt(c[0] - c[lag]) * NODES)
            found = field.response_autocorrelation[name]
            assert_near(gf.Estimate(found.value[lag], found.error[lag]), float(WEIGHTS @ (inner @ WEIGHTS) ** 2))


def assert_near(estimate: gf.Estimate, expected: float) -> None:
    """Within four errors and what some thousand neurons depart from Gaussian ones by, their covariance being exact."""
    assert abs(estimate.value - expected) < 4.0 * estimate.error + 2e-3


def test_what_a_users_cell_acts_by_is_not_known() -> None:
    ensemble = gf.Ensemble(TwoRooms(), gain={"door": 1.0, "mix": 1.0})
    field = gf.mean_field(ensemble, steps=8, samples=32, batches=2)
    assert field.response_mean == field.response_autocorrelation == {}
    assert "response" not in field.to_dataset().data_vars


# ---- biases ----


@pytest.mark.parametrize(("gain", "mean", "variance"), [(0.8, 0.2, 0.3), (1.1, 1.5, 0.5), (0.0, 0.4, 0.25)])
def test_vanilla_with_biases_rests(gain: float, mean: float, variance: float) -> None:
    ensemble = gf.Ensemble(gf.Vanilla(), gain={"input": gain}, bias_mean={"input": mean}, bias_var={"input": variance})
    field = solve(ensemble)
    q = references.vanilla_variance(gain, variance, mean)
    assert (field.regime, field.converged) == ("fixed point", True)
    assert field.variance["input"].value == pytest.approx(q, abs=4 * field.variance["input"].error + 1e-12)
    assert field.mean["input"].value == pytest.approx(mean, abs=1e-12)  # noise and biases are drawn without mean
    assert field.mean["h"].value == pytest.approx(gauss(np.tanh, q, mean), abs=4 * field.mean["h"].error + 1e-3)
    correlation = field.autocorrelation["h"].value
    np.testing.assert_allclose(correlation, correlation[0], rtol=1e-9)


def test_gru_with_biases_rests() -> None:
    """[CKS 10]: the update gate drops out."""
    ensemble = gf.Ensemble(
        gf.GRU(),
        gain={"update": 2.0, "reset": 2.0, "candidate": 1.2},
        bias_mean={"update": -1.0, "candidate": 0.5},
        bias_var={"candidate": 0.3, "reset": 0.6},
    )
    field = solve(ensemble)
    second_moment, mean = references.gru_static(candidate=1.2, reset=2.0, bias_mean=0.5, bias_var=0.3, reset_var=0.6)
    assert field.regime == "fixed point"
    assert_agrees(field.mean["h"], mean)
    now = field.history["h"]
    assert_agrees(gf.Estimate(now.value[-1], now.error[-1]), second_moment)


def test_hard_tanh() -> None:
    """q = g² E hard-tanh²: by quadrature on a fine grid, for the kinks."""
    gain = 2.0
    x = np.linspace(-9, 9, 200_001)
    weight = np.exp(-(x**2) / 2)
    weight /= weight.sum()
    q = brentq(lambda q: gain**2 * weight @ np.clip(q**0.5 * x, -1, 1) ** 2 - q, 1e-3, 10.0)
    field = solve(gf.Ensemble(gf.Vanilla(activation="hard_tanh"), gain={"input": gain}))
    assert_agrees(field.variance["input"], q)


def test_leaky_with_step_one_is_vanilla() -> None:
    field = solve(gf.Ensemble(gf.Leaky(step=1.0), gain={"input": 2.0}))
    assert_agrees(field.variance["x"], VANILLA[2.0])


# ---- currents ----


@pytest.mark.parametrize(("gain", "variance", "mean"), [(0.8, 0.3, 0.0), (2.0, 1.0, 0.3)])
def test_white_current(gain: float, variance: float, mean: float) -> None:
    """q = g² E tanh² + v."""
    ensemble = gf.Ensemble(
        gf.Vanilla(), gain={"input": gain}, bias_mean={"input": mean}, current={"input": gf.WhiteCurrent(variance)}
    )
    field = solve(ensemble)
    assert (field.regime, field.converged) == ("driven", True)
    assert_agrees(field.variance["input"], references.vanilla_variance(gain, variance, mean))


def test_correlated_current() -> None:
    """C_y(k) = g² E[tanh y(t) tanh y(t + k)] + C_I(k), lag by lag, by two-dimensional quadrature."""
    gain, lags = 0.9, np.arange(8)

    def autocovariance(lag: np.ndarray) -> np.ndarray:
        return 0.6 * np.exp(-lag / 4.0)

    ensemble = gf.Ensemble(gf.Vanilla(), gain={"input": gain}, current={"input": gf.CorrelatedCurrent(autocovariance)})
    field = solve(ensemble)
    x, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()
    q = references.vanilla_variance(gain, 0.6)

    def product(c: float) -> float:
        """E tanh y tanh y' at variance q and covariance c."""
        y = q**0.5 * x[:, None]
        other = c / q**0.5 * x[:, None] + (q - c * c / q) ** 0.5 * x[None, :]
        return w @ (np.tanh(y) * np.tanh(other)) @ w

    assert_agrees(field.variance["input"], q)
    for lag in lags[1:]:
        drive = float(autocovariance(np.array([lag]))[0])
        exact = brentq(lambda c, d=drive: gain**2 * product(c) + d - c, 0.0, q * (1 - 1e-12))
        found = field.autocorrelation["input"]
        assert_agrees(gf.Estimate(found.value[lag], found.error[lag]), exact)


def test_constant_current_is_a_bias() -> None:
    gain = {"update": 2.0, "candidate": 1.5}
    a = gf.mean_field(gf.Ensemble(gf.GRU(), gain=gain, bias_mean={"candidate": 0.4}), **SHORT_RUN)
    b = gf.mean_field(gf.Ensemble(gf.GRU(), gain=gain, current={"candidate": 0.4}), **SHORT_RUN)
    np.testing.assert_array_equal(a.snapshot.state, b.snapshot.state)
    assert a.regime == b.regime == "fixed point"


# ---- regimes ----


@pytest.mark.parametrize("case", EACH_CELL)
def test_quiet_below_threshold(case: Case) -> None:
    """Gains small enough that activity dies: all below .5."""
    ensemble = gf.Ensemble(case.cell, gain={n: 0.4 for n, g in case.ensembles[0].gain.items() if g})
    field = gf.mean_field(ensemble, **SHORT_RUN)
    assert (field.regime, field.converged, field.message) == ("quiescent", True, "")
    assert all(e.value[-1] < 1e-9 for e in field.history.values())
    assert gf.spectral_radius(ensemble, half_of(field.snapshot)).value < 1.0


def test_dying_slowly_says_so() -> None:
    """Radius .995: activity falls by a third of a per cent each step, and 200 steps are not the end."""
    field = solve(gf.Ensemble(gf.Vanilla(), gain={"input": 0.99}))
    assert (field.regime, field.converged) == ("quiescent", False)
    assert "still falling" in field.message
    assert "increase steps" in field.message


def test_slow_chaos_says_so() -> None:
    """(update, reset) = (10, 1) has a correlation time of some 700 steps (errata)."""
    field = gf.mean_field(gru_at_3(10.0, 1.0), steps=100, samples=2000, seed=0)
    assert (field.regime, field.converged) == ("chaotic", False)
    assert "increase steps" in field.message
    assert field.autocorrelation_time("h").value == float("inf")


def test_where_silence_and_activity_coexist_the_start_decides() -> None:
    """Candidate 1.8, reset 20: above the fold at 8.157 (values.json "gru_fold"), below the zero state's threshold 2."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"reset": 20.0, "candidate": 1.8})
    assert gf.mean_field(ensemble, initial=0.02, **RUN).regime == "quiescent"
    assert gf.mean_field(ensemble, initial=0.6, **RUN).regime == "chaotic"


def test_silence_is_kept_exactly() -> None:
    field = gf.mean_field(gf.Ensemble(gf.LSTM(), gain={"cell": 9.0}), steps=20, samples=64, batches=2, initial=0.0)
    assert field.regime == "quiescent"
    assert not field.snapshot.state.any()


def test_autocorrelation_time() -> None:
    field = gf.mean_field(gru_at_3(0.0, 0.0), **RUN)
    centred = field.autocorrelation["h"].value - field.mean["h"].value ** 2
    time = field.autocorrelation_time("h").value
    assert np.interp(time, field.lags, centred) == pytest.approx(centred[0] / np.e)
    assert field.autocorrelation_time("h").error > 0.0
    with pytest.raises(ValueError, match="has no 'c'; it has h, update, reset, candidate"):
        field.autocorrelation_time("c")


# ---- error bars ----


def coverage(ensemble: gf.Ensemble, name: str, exact: float, seeds: int, **options: int) -> tuple[float, float]:
    """Share of seeds whose estimate lies within one and within three of its own errors."""
    found = [gf.mean_field(ensemble, seed=seed, **options).variance[name] for seed in range(seeds)]
    off = np.array([abs(e.value - exact) / e.error for e in found])
    return float(np.mean(off < 1.0)), float(np.mean(off < 3.0))


# Errors are Student's 68 % widths: of n seeds the share within one has mean .683 and deviation √(.683 · .317/n), .074
# at n = 40 and .095 at n = 24; [.48, .88] and [.45, .92] are 2.5 to 2.7 of them each way. Within three lie .963 with
# four batches: fewer than .85 of 40 happens with probability 2e-3, fewer than .83 of 24 with 2e-3.


def test_coverage_vanilla() -> None:
    exact = references.vanilla_variance(1.5)
    one, three = coverage(gf.Ensemble(gf.Vanilla(), gain={"input": 1.5}), "input", exact, 40, steps=60, samples=8000)
    assert 0.48 <= one <= 0.88
    assert three >= 0.85


@pytest.mark.slow
def test_coverage_gru() -> None:
    """Memory makes the amplitude softer and errors harder to tell."""
    one, three = coverage(gru_at_3(0.0, 10.0), "h", GRU_WITHOUT_UPDATE[10.0], 24, steps=64, samples=8000)
    assert 0.45 <= one <= 0.92
    assert three >= 0.83


# ---- samples, batches, seeds ----


def test_same_seed_same_bits() -> None:
    ensemble = gf.Ensemble(
        gf.GRU(),
        gain={"update": 2.0, "candidate": 3.0},
        bias_var={"reset": 1.0},
        current={"update": gf.WhiteCurrent(0.1)},
    )
    arguments = {"steps": 30, "samples": 200, "batches": 2}
    a, b, c = (gf.mean_field(ensemble, seed=seed, **arguments) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a.snapshot.state, b.snapshot.state)
    np.testing.assert_array_equal(a.snapshot.preactivations, b.snapshot.preactivations)
    np.testing.assert_array_equal(a.autocorrelation["h"].value, b.autocorrelation["h"].value)
    assert not np.any(a.snapshot.state == c.snapshot.state)


def test_batches_are_independent() -> None:
    """No neuron of one batch equals that of another, and batches are the snapshot's groups."""
    field = gf.mean_field(gf.Ensemble(gf.Vanilla(), gain={"input": 3.0}), steps=60, samples=8000, batches=8)
    assert field.batches == field.snapshot.groups == 8
    parts = field.snapshot.preactivations.reshape(8, -1)
    correlation = np.corrcoef(parts) - np.eye(8)
    assert np.abs(correlation).max() < 5 / 1000**0.5


@pytest.mark.parametrize("batches", [2, 4, 16])
def test_number_of_batches_does_not_matter(batches: int) -> None:
    field = gf.mean_field(gf.Ensemble(gf.Vanilla(), gain={"input": 2.0}), steps=60, samples=16_000, batches=batches)
    assert field.batches == batches
    assert field.samples == 16_000
    # few batches tell their error badly: within a per cent or four errors
    assert field.variance["input"].value == pytest.approx(VANILLA[2.0], rel=0.01)


def test_one_batch_knows_no_error() -> None:
    field = gf.mean_field(gf.Ensemble(gf.Vanilla(), gain={"input": 2.0}), steps=20, samples=400, batches=1)
    assert np.isnan(field.variance["h"].error)
    assert field.as_json()["variance"]["h"]["error"] is None


def test_samples_that_do_not_divide_are_rounded_up() -> None:
    field = gf.mean_field(gf.Ensemble(gf.Vanilla(), gain={"input": 2.0}), steps=10, samples=101, batches=4)
    assert field.samples == 104 == field.snapshot.neurons


@pytest.mark.parametrize(("steps", "samples", "batches"), [(100, 40, 1), (100, 80, 2), (90, 160, 1), (8, 16, 2)])
def test_fewer_samples_than_steps(steps: int, samples: int, batches: int) -> None:
    """The basis is full before the run ends; noise beyond it has no say."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 1.0, "candidate": 4.0})
    field = gf.mean_field(ensemble, steps=steps, samples=samples, batches=batches, seed=1)
    assert np.all(np.isfinite(field.snapshot.state))
    assert np.all(np.abs(field.snapshot.state) < 1.0)
    if samples >= 40:
        assert field.variance["h"].value == pytest.approx(0.5, abs=0.35)


class CaughtError(Exception):
    pass


@pytest.mark.parametrize(
    ("steps", "samples", "expected"), [(8, 16, 2), (300, 8000, 4), (300, 12_000, 6), (8, 40_000, 16), (1500, 15_000, 5)]
)
def test_default_batches(monkeypatch: pytest.MonkeyPatch, steps: int, samples: int, expected: int) -> None:
    """2000 neurons each and twice as many neurons as steps, but from 4 batches to 16; 2 for very few samples."""

    def caught(ensemble: gf.Ensemble, key: jax.Array, steps: int, size: int) -> None:
        raise CaughtError(size)

    monkeypatch.setattr(meanfield, "sample_start", caught)
    with pytest.raises(CaughtError, match=f"^{samples // expected}$"):
        gf.mean_field(gf.Ensemble(gf.Vanilla()), steps=steps, samples=samples)


def test_history_and_motion() -> None:
    """Second moments at every step, from the start's own scale on."""
    ensemble = gf.Ensemble(gf.Leaky(step=0.25), gain={"input": 0.0})
    field = gf.mean_field(ensemble, steps=16, samples=8000, batches=2, initial=0.5)
    start = 0.25  # E x² at the start; then x(t+1) = .75 x(t)
    np.testing.assert_allclose(field.history["x"].value, start * 0.75 ** (2 * np.arange(1, 17)), rtol=0.1)
    np.testing.assert_allclose(field.motion["x"].value[1:] / field.history["x"].value[:-1], 0.0625, rtol=1e-10)
    assert field.window == (8, 16)


def test_statistics_are_those_of_the_window() -> None:
    """Everything stands still here, so that the snapshot tells all averages."""
    ensemble = gf.Ensemble(gf.Vanilla(), bias_mean={"input": 0.3}, bias_var={"input": 0.5})
    field = gf.mean_field(ensemble, steps=10, samples=400, batches=2)
    h, y = field.snapshot.state[:, 0], field.snapshot.preactivations[:, 0]
    assert field.mean["h"].value == pytest.approx(h.mean())
    assert field.mean["input"].value == pytest.approx(y.mean())
    within = np.mean([part.var() for part in h.reshape(2, -1)])
    assert field.variance["h"].value == pytest.approx(within)
    np.testing.assert_allclose(field.autocorrelation["h"].value, np.mean(h**2))
    assert len(field.lags) == len(field.autocorrelation["h"].value) == 3


# ---- precision, memory, refusals ----


def run_python(code: str, timeout: float = 300.0) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=timeout)
    return json.loads(done.stdout)


def test_precision_of_others_is_left_alone() -> None:
    code = """
import json, jax, jax.numpy as jnp
before = str(jnp.ones(1).dtype), bool(jax.config.jax_enable_x64)
import gatefield as gf
ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 3.0, "update": 1.0})
field = gf.mean_field(ensemble, steps=8, samples=32, batches=2)
gf.spectral_radius(ensemble, field.snapshot)
network = gf.Network(ensemble, size=4)
network.eigenvalues(network.run(3).snapshot())
after = str(jnp.ones(1).dtype), bool(jax.config.jax_enable_x64)
print(json.dumps([before, after, str(field.snapshot.state.dtype)]))
"""
    before, after, own = run_python(code)
    assert before == after == ["float32", False]
    assert own == "float64"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory() -> None:
    """The issue: 20 000 samples, 500 steps, GRU, within 2 GiB.

    VmHWM and not ru_maxrss, which a process inherits from the one that starts it, here the test run.
    """
    code = """
import json, re
from pathlib import Path
import gatefield as gf
ensemble = gf.Ensemble(gf.GRU(), gain={"update": 10.0, "reset": 10.0, "candidate": 3.0})
field = gf.mean_field(ensemble, steps=500, samples=20000)
peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(json.dumps([peak, field.variance["h"].value, field.variance["h"].error]))
"""
    peak, value, error = run_python(code)
    assert peak < 2 * 2**30
    assert abs(value - 0.39537) < 4 * np.hypot(error, 0.00046)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps=0 must be at least 8"),
        ({"steps": 7}, "steps=7 must be at least 8"),
        ({"steps": 10.0}, "steps=10.0 must be a whole number"),
        ({"samples": 15}, "samples=15 must be at least 16"),
        ({"samples": "many"}, "samples='many' must be a whole number"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
        ({"batches": 0}, "batches=0 must be at least 1"),
        ({"samples": 64, "batches": 9}, "batches=9 leaves fewer than 8 of 64 samples each"),
        ({"initial": -0.1}, "initial=-0.1 must be at least 0"),
        ({"initial": float("inf")}, "initial=inf must be finite"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.mean_field(gf.Ensemble(gf.GRU()), **arguments)


def test_a_constant_has_no_negative_variance() -> None:
    for bias in (0.3, 1.7):
        field = solve(gf.Ensemble(gf.GRU(), bias_mean={"candidate": bias, "update": 0.7, "reset": -1.3}))
        assert all(0.0 <= v.value < 1e-25 for v in field.variance.values())
