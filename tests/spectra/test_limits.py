"""Closed limits against the general theory at explicit snapshots, exact roots, and finite matrices and networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf, erfc, expit, ndtri
from scipy.stats import qmc
from tests.references import gru, zero_of

import gatefield as gf
from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.phases.limits import (
    bifurcation_reset_gain,
    critical_candidate_gain,
    small_variances,
)
from gatefield.spectra.limits import (
    BinaryGateSpectrum,
    bounding_edges,
    bounding_functions,
    constant_update_radius,
    forget_gate_limit,
    gate_slope_square,
    shaping,
    shaping_at_large_reset_gain,
    slow_mode_share,
    update_gate_limit,
)

NEURONS = 8192


def normal(count: int, columns: int, seed: int = 0) -> np.ndarray:
    """Quasi-random standard normal numbers, in random order: every n-th of a Sobol sequence is no sample."""
    return np.random.default_rng(seed).permutation(ndtri(qmc.Sobol(columns, rng=seed).random(count)))


def hard_tanh_square(std: float) -> float:
    """E clip(y, ±1)² for y ~ N(0, std²)."""
    edge = 1.0 / (std * np.sqrt(2.0))
    inside = erf(edge) - np.sqrt(2.0 / np.pi) * np.exp(-(edge**2)) / std
    return std**2 * inside + erfc(edge)


def fixed_variance(square: Callable[[float], float], gain: float) -> float:
    """C_h > 0 with C_h = square(gain √C_h), for a constant reset gate within the gain."""
    return zero_of(lambda c: square(gain * np.sqrt(c)) / c - 1.0, 1e-6, 1.0)


def tanh_square(std: float) -> float:
    x, weights = gaussian_nodes(np.asarray(0.0), np.asarray(std))
    return float(expectation(np.tanh(x) ** 2, weights))


def at_fixed_point(ensemble: gf.Ensemble, variance: float) -> gf.Snapshot:
    """Neurons with h = φ(y) and constant reset gate, at the given C_h."""
    z_mean, r_mean, _ = ensemble.means
    noise = normal(NEURONS, 2)
    y = ensemble.gain["candidate"] * expit(r_mean) * np.sqrt(variance) * noise[:, 1]
    z = z_mean + ensemble.gain["update"] * np.sqrt(variance) * noise[:, 0]
    h = np.clip(y, -1.0, 1.0) if ensemble.cell == gf.GRU(activation="hard_tanh") else np.tanh(y)
    return gf.Snapshot(ensemble.cell, h[:, None], np.stack([z, np.full(NEURONS, r_mean), y], axis=1))


# ---- binary gates ----


@pytest.mark.parametrize(("candidate", "beta", "bias"), [(16.0, 0.2, 0.4), (5.0, 0.0, 0.0)], ids=["wide", "narrow"])
@pytest.mark.parametrize("update", [300.0, 3000.0])
def test_binary_update_gate_is_the_limit(candidate: float, beta: float, bias: float, update: float) -> None:
    """Corrections are of order 1/a_z: gates that are not binary are a share of about 3/(a_z √C_h). [CKS 19, 77, 79]"""
    ensemble = gru(update, 0.0, candidate, hard=True, update=beta * update, reset=bias)
    variance = fixed_variance(hard_tanh_square, candidate * expit(bias))
    limit, snapshot = update_gate_limit(ensemble, variance=variance), at_fixed_point(ensemble, variance)
    assert limit.zeros + limit.ones + limit.disc == pytest.approx(1.0, abs=1e-15)
    tolerance = 2.0 / update + 5e-4  # and of quasi-random neurons
    for part in (0.2, 0.5, 0.8):
        radius = part * limit.radius
        if abs(radius - 1.0) > 0.05:
            assert gf.spectral_mass(ensemble, snapshot, radius=radius).value == pytest.approx(
                limit.mass(radius), abs=tolerance
            )
    ones = gf.spectral_mass(ensemble, snapshot, center=1.0, radius=0.03).value
    crossed = limit.density * np.pi * 0.03**2 if limit.radius > 1.03 else 0.0
    assert ones == pytest.approx(limit.ones + crossed, abs=3 * tolerance)
    if limit.radius > 1.0:
        assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(limit.radius, abs=4.0 * tolerance)
    else:
        # the rest of the support clings to 1 (pinching)
        assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(1.0, abs=tolerance)
        assert limit.spectral_radius == 1.0


def test_binary_update_gate_in_a_matrix() -> None:
    """J = ẑ + (1 − ẑ) φ̂' U r with gates drawn at 0 and 1, 1200 neurons."""
    size, gain = 1200, 12.0
    rng = np.random.default_rng(5)
    ensemble = gru(1.0, 0.0, gain, hard=True, update=0.3, reset=0.5)
    variance = fixed_variance(hard_tanh_square, gain * expit(0.5))
    limit = update_gate_limit(ensemble, variance=variance)
    closed = rng.normal(0.3, np.sqrt(variance), size) < 0.0
    linear = np.abs(gain * expit(0.5) * np.sqrt(variance) * rng.normal(size=size)) < 1.0
    weights = rng.normal(size=(size, size)) * gain / np.sqrt(size)
    found = gf.networks.eigenvalues(np.diag(1.0 - closed) + (closed & linear)[:, None] * weights * expit(0.5))
    noise = 3.0 / np.sqrt(size) / 2.0  # of binomial shares
    assert np.mean(np.abs(found - 1.0) < 1e-9) == pytest.approx(limit.ones, abs=noise)
    assert np.mean(np.abs(found) < 1e-9) == pytest.approx(limit.zeros, abs=noise)
    rest = np.abs(found[(np.abs(found) > 1e-9) & (np.abs(found - 1.0) > 1e-9)])
    assert len(rest) / size == pytest.approx(limit.disc, abs=noise)
    # the disc's edge varies by its number of eigenvalues and by N^{-1/2}
    assert rest.max() == pytest.approx(limit.radius, rel=0.5 / np.sqrt(len(rest)) + noise / limit.disc / 2.0)
    assert np.mean(rest < limit.radius / np.sqrt(2.0)) == pytest.approx(0.5, abs=0.2)


def test_binary_update_gate_fails_where_the_state_moves() -> None:
    """The radius grows with a_z in a chaotic state instead of tending to the limit's (errata of [CKS 19])."""
    radii = []
    for update in (10.0, 100.0):
        ensemble = gru(update, 0.0, 16.0, hard=True)
        field = gf.mean_field(ensemble, steps=100, samples=3000)
        assert field.regime == "chaotic"
        limit = update_gate_limit(ensemble, variance=field.variance["h"].value)
        radii.append(gf.spectral_radius(ensemble, field.snapshot).value / limit.radius)
    assert radii[0] > 1.05
    assert radii[1] > radii[0] + 0.2


def forget_snapshot(ensemble: gf.Ensemble, variance: float) -> gf.Snapshot:
    """Binary forget gates at their share of zeros; neurons with an open one saturated, as [CKS 136–138] assume."""
    noise = normal(NEURONS, 2)
    mean_f, mean_i, mean_o, _ = ensemble.means
    f = mean_f + ensemble.gain["forget"] * np.sqrt(variance) * noise[:, 0]
    y = ensemble.gain["cell"] * np.sqrt(variance) * noise[:, 1]
    binary = np.where(f > 0.0, 700.0, -700.0)
    x = np.stack([binary, np.full(NEURONS, mean_i), np.full(NEURONS, mean_o), y], axis=1)
    c = np.where(f > 0.0, 5.0, expit(mean_i) * np.clip(y, -1.0, 1.0))
    return gf.Snapshot(ensemble.cell, np.stack([c, np.zeros(NEURONS)], axis=1), x)


@pytest.mark.parametrize("bias", [{}, {"forget": 6.0, "input": 1.0, "output": -0.5}], ids=["unbiased", "biased"])
def test_binary_forget_gate_under_its_assumptions(bias: dict[str, float]) -> None:
    """[CKS 33, 136–139]"""
    ensemble = gf.Ensemble(gf.LSTM(activation="hard_tanh"), gain={"forget": 20.0, "cell": 6.0}, bias_mean=bias)
    limit, snapshot = forget_gate_limit(ensemble, variance=0.15), forget_snapshot(ensemble, 0.15)
    assert limit.zeros + limit.ones + limit.disc == pytest.approx(2.0, abs=1e-15)
    if not bias:  # as printed in (33)
        eta = erf(1.0 / (6.0 * np.sqrt(0.3)))
        printed = (1.0 + (1.0 - eta) / 2.0, 0.5, np.sqrt(eta / 2.0) * 1.5, 1.0 / (np.pi * 1.5**2))
        assert (limit.zeros, limit.ones, limit.radius, limit.density) == pytest.approx(printed, rel=1e-12)
    edge = gf.spectra.spectral_edge(ensemble, snapshot, angle=2.0)
    assert edge.value == pytest.approx(limit.radius, rel=2e-3)
    for part in (0.3, 0.7):
        found = gf.spectral_mass(ensemble, snapshot, radius=part * limit.radius).value
        assert found == pytest.approx(limit.mass(part * limit.radius), abs=1e-3)
    found = gf.spectral_mass(ensemble, snapshot, center=1.0, radius=0.03).value
    assert found == pytest.approx(limit.ones, abs=1e-3)


def test_mass_of_a_binary_spectrum() -> None:
    limit = BinaryGateSpectrum(zeros=0.2, ones=0.3, disc=0.5, radius=2.0, ensemble=gf.Ensemble(gf.GRU()))
    assert limit.mass(1.0) == pytest.approx(0.2 + 0.5 / 4)
    assert limit.mass(1.5) == pytest.approx(0.5 + 0.5 * 1.5**2 / 4)
    assert limit.mass(3.0) == pytest.approx(1.0)
    assert limit.density == pytest.approx(0.5 / (4 * np.pi))
    assert limit.spectral_radius == 2.0
    dead = update_gate_limit(gru(10.0, 0.0, 0.0, hard=True), variance=0.1)
    assert (dead.radius, dead.disc, dead.spectral_radius) == (0.0, 0.5, 1.0)
    assert dead.mass(0.5) == 0.5
    assert np.isnan(dead.density)


LSTMS = {"forget": 5.0, "cell": 6.0}
BIASED = gf.Ensemble(gf.GRU(), gain={"reset": 9.0, "candidate": 3.0}, bias_mean={"reset": 1.0})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: update_gate_limit(gru(5.0), variance=0.3), "must be 'hard_tanh'"),
        (lambda: update_gate_limit(gru(5.0, 1.0, hard=True), variance=0.3), r"gain\['reset'\]=1 .* must be 0"),
        (lambda: update_gate_limit(gru(0.0, hard=True), variance=0.3), "leaves the update gate no values"),
        (lambda: update_gate_limit(gru(5.0, hard=True), variance=0.0), "variance=0.0 must be above 0"),
        (lambda: update_gate_limit(gf.Ensemble(gf.MGU()), variance=0.3), "ensemble of MGU"),
        (lambda: forget_gate_limit(gru(5.0, hard=True), variance=0.3), "ensemble of GRU"),
        (lambda: forget_gate_limit(gf.Ensemble(gf.LSTM(), gain=LSTMS), variance=0.3), "LSTM must be 'hard_tanh'"),
        (
            lambda: forget_gate_limit(
                gf.Ensemble(gf.LSTM(activation="hard_tanh"), gain={**LSTMS, "output": 1.0}), variance=0.3
            ),
            r"gain\['output'\]=1 .* constant output gate",
        ),
        (lambda: slow_mode_share(gru(5.0), radius=1.0, variance=0.3), "radius=1.0 must lie between 0 and 1"),
        (lambda: slow_mode_share(gru(0.0), radius=0.1, variance=0.3), r"gain\['update'\]=0"),
        (lambda: slow_mode_share(gf.Ensemble(gf.MGU()), radius=0.1, variance=0.3), "for GRU and LSTM"),
        (lambda: shaping(gf.Ensemble(gf.GRU(reset_after=True)), variance=0.3), "reset gate before the weights"),
        (lambda: shaping(gru(), variance=-0.1), "variance=-0.1 must be at least 0"),
        (lambda: constant_update_radius(gru(1.0), variance=0.3), r"gain\['update'\]=1"),
        (lambda: shaping_at_large_reset_gain(BIASED, variance=0.3), "must be 0 in this limit"),
        (lambda: gate_slope_square(0.0), "must be above 0"),
        (lambda: shaping_at_large_reset_gain(gru(), variance=0.3), r"gain\['reset'\]=0.0 must be above 0"),
        (lambda: bifurcation_reset_gain(candidate_gain=2.1), "candidate_gain=2.1 must lie between"),
        (lambda: critical_candidate_gain(reset_bias_var=-1.0), "reset_bias_var=-1.0 must be at least 0"),
        (lambda: small_variances(excess=0.1, reset_gain=-1.0), "reset_gain=-1.0 must be at least 0"),
    ],
)
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---- slow modes ----


@pytest.mark.filterwarnings(
    "ignore::gatefield.spectra.dyson.UnsolvedWarning"
)  # where few sampled gates lie near the circle
@pytest.mark.parametrize("beta", [0.0, 0.2, -0.15])
def test_slow_modes_at_a_fixed_point(beta: float) -> None:
    """A fixed point of the tanh GRU; at β ≠ 0 the printed form, without b_z, is far off. [CKS 91–92]"""
    variance = fixed_variance(tanh_square, 1.5)
    for update, tolerance in ((30.0, 4e-3), (300.0, 8e-4)):
        ensemble = gru(update, 0.0, 3.0, update=beta * update)
        snapshot = at_fixed_point(ensemble, variance)
        for radius in (0.05, 1e-2, 1e-3):
            found = gf.spectral_mass(ensemble, snapshot, center=1.0, radius=radius).value
            share = float(slow_mode_share(ensemble, radius=radius, variance=variance))
            assert found == pytest.approx(share, abs=tolerance)
            if beta:
                printed = slow_mode_share(gru(update), radius=radius, variance=variance)
                assert abs(found - printed) > 20 * tolerance


def test_slow_modes_with_a_bias_variance() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 20.0, "candidate": 3.0}, bias_var={"update": 100.0})
    share = slow_mode_share(ensemble, radius=[1e-3, 1e-2], variance=0.36)
    std = np.sqrt(400 * 0.36 + 100)
    gates = std * normal(2**16, 1)[:, 0]
    np.testing.assert_allclose(share, [np.mean(expit(-gates) < r) for r in (1e-3, 1e-2)], atol=5e-4)


def test_slow_modes_of_an_lstm() -> None:
    """The forget gates' share, with neurons of open gates saturated."""
    ensemble = gf.Ensemble(gf.LSTM(activation="hard_tanh"), gain={"forget": 60.0, "cell": 6.0})
    noise = normal(NEURONS, 2)
    f, y = 60.0 * np.sqrt(0.15) * noise[:, 0], 6.0 * np.sqrt(0.15) * noise[:, 1]
    x = np.stack([f, np.zeros(NEURONS), np.zeros(NEURONS), y], axis=1)
    snapshot = gf.Snapshot(ensemble.cell, np.stack([np.where(f > 0, 5.0, 0.0), np.zeros(NEURONS)], axis=1), x)
    # without the forget gate's own weights, as at a fixed point
    still = gf.Ensemble(ensemble.cell, gain={"cell": 6.0})
    for radius in (0.05, 0.01):
        found = gf.spectral_mass(still, snapshot, center=1.0, radius=radius).value
        assert found == pytest.approx(float(slow_mode_share(ensemble, radius=radius, variance=0.15)), abs=3e-3)


# ---- shaping parameter and radius ----


@pytest.mark.parametrize(
    "ensemble",
    [
        gru(5.0, 4.0, 2.5),
        gru(0.0, 20.0, 3.0, reset=0.5, candidate=0.7),
        gf.Ensemble(gf.GRU(), gain={"reset": 2.0, "candidate": 3.0}, bias_var={"reset": 0.4, "candidate": 0.2}),
    ],
    ids=["tanh", "biases", "bias variance"],
)
def test_shaping_is_that_of_fixed_points(ensemble: gf.Ensemble) -> None:
    """[CKS 16, 103–105]"""
    point = gf.fixed_points(ensemble)[-1]
    assert shaping(ensemble, variance=point.second_moment["h"]) == pytest.approx(point.shaping, rel=1e-9)


def test_shaping_with_corners() -> None:
    ensemble = gru(0.0, 0.0, 6.0, hard=True, update=-0.5, reset=0.3)
    variance = fixed_variance(hard_tanh_square, 6.0 * expit(0.3))
    found = gf.spectral_radius(ensemble, at_fixed_point(ensemble, variance)).value
    assert found == pytest.approx(constant_update_radius(ensemble, variance=variance), rel=2e-3)


@pytest.mark.parametrize("reset", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("bias", [0.0, 1.5])
def test_radius_at_a_constant_update_gate(reset: float, bias: float) -> None:
    """[CKS Cor. 4, 20, 102]"""
    ensemble = gru(0.0, reset, 3.0, update=bias)
    point = gf.fixed_points(ensemble)[-1]
    radius = constant_update_radius(ensemble, variance=point.second_moment["h"])
    assert point.spectral_radius.value == pytest.approx(radius, rel=2e-3)
    gate = expit(bias)
    np.testing.assert_allclose(
        bounding_edges(ensemble, point.snapshot), gate + (1 - gate) * point.shaping, rtol=2e-3
    )  # the bounds meet


def test_radius_by_gelfand() -> None:
    """μ_n^{1/2n} → ρ [CKS 101]; ratios of successive μ_n converge as 1/n, by powers as ln(n)/n."""
    ensemble = gru(0.0, 0.0, 1.6, update=0.7, reset=0.4)
    jacobian = gf.long_term_jacobian(ensemble, gf.Snapshot.at_zero(ensemble), [50, 51, 200, 201])
    radius = constant_update_radius(ensemble, variance=0.0)
    ratios = np.sqrt(jacobian.value[1::2] / jacobian.value[::2]) / radius
    roots = jacobian.value[::2] ** (0.5 / np.array([50, 200])) / radius
    np.testing.assert_allclose(np.abs(ratios - 1.0) * [50, 200], 0.25, rtol=0.1)  # μ_n ∝ ρ^{2n} n^{-1/2}
    assert np.all(np.abs(roots - 1.0) < np.log([50, 200]) / [50, 200])


def test_gate_slope_at_large_gain() -> None:
    """The next term after the paper's is O(s⁻³), the one after that O(s⁻⁵). [CKS 107, 145]"""
    left = []
    for std in (20.0, 40.0):
        x, weights = gaussian_nodes(np.asarray(0.0), np.asarray(std))
        exact = float(expectation((expit(x) * expit(-x)) ** 2, weights))
        assert exact * 6 * std * np.sqrt(2 * np.pi) == pytest.approx(1.0, abs=1.0 / std**2)
        left.append(abs(exact - float(gate_slope_square(std))))
    assert left[0] / left[1] == pytest.approx(32.0, rel=0.1)


def test_shaping_at_large_reset_gain() -> None:
    """The ratio to the exact one tends to 1 as 1/a_r, at constant C_h. [CKS 108]"""
    errors = []
    for reset in (1e2, 1e3, 1e4):
        ensemble = gru(0.0, reset, 3.0)
        exact = shaping(ensemble, variance=0.35)
        errors.append(abs(shaping_at_large_reset_gain(ensemble, variance=0.35) / exact - 1.0))
    assert errors[0] < 0.02
    assert errors[2] / errors[1] == pytest.approx(0.1, rel=0.2)
    radii = [constant_update_radius(gru(0.0, reset, 3.0), variance=0.35) - 0.5 for reset in (1e7, 4e7)]
    assert radii[1] / radii[0] == pytest.approx(2.0, rel=1e-4)  # [CKS Prop. 5]


@settings(deadline=None)  # the first call compiles
@given(reset=st.floats(0.1, 1e4), candidate=st.floats(0.1, 10.0), variance=st.floats(1e-3, 1.0))
def test_bound_on_the_shaping_parameter(reset: float, candidate: float, variance: float) -> None:
    """ρ_t² ≤ a_h² (1/2 + a_r √C_h/(6√(2π))), at any a_r, as the corrected (108) has it. [CKS 108]"""
    bound = candidate**2 * (0.5 + reset * np.sqrt(variance) / (6.0 * np.sqrt(2.0 * np.pi)))
    assert shaping(gru(0.0, reset, candidate), variance=variance) ** 2 <= bound * (1.0 + 1e-12)


# ---- bounds of the support ----


@pytest.mark.parametrize(("update", "reset"), [(2.0, 0.0), (1.0, 1.0), (10.0, 10.0)])
def test_the_lower_bound_holds(update: float, reset: float) -> None:
    """[CKS 69–71]"""
    ensemble = gru(update, reset)
    field = gf.mean_field(ensemble, steps=80, samples=4000)
    points = (np.linspace(-1.5, 2.0, 36)[:, None] + 1j * np.linspace(0.02, 1.5, 16)).ravel()
    inner, outer = bounding_functions(ensemble, field.snapshot, points)
    exponent = gf.spectra.support_exponent(ensemble, field.snapshot, points)
    margin = 0.05  # ρ is a product of averages, which 4000 neurons know to some per cent
    assert np.count_nonzero(inner > margin) > 20
    assert np.all(exponent[inner > margin] > 0.0)
    assert np.all(outer >= inner)
    low, high = bounding_edges(ensemble, field.snapshot)
    edge = gf.spectra.spectral_edge(ensemble, field.snapshot)
    assert low < edge.value + 2 * edge.error
    assert low <= high
    np.testing.assert_allclose(bounding_functions(ensemble, field.snapshot, low)[0], 0.0, atol=1e-9)
    np.testing.assert_allclose(bounding_functions(ensemble, field.snapshot, high)[1], 0.0, atol=1e-9)


def test_the_upper_bound_is_none() -> None:
    """Neurons with gates near 1 that move and others that do not: the support reaches beyond Σ(ρ, ν). [CKS 69–71]"""
    ensemble = gru(2.0, 0.0, 1.0)
    h, y, z = np.array([[0.9, 0.0, 0.0, 0.0], [-2.0, 0.0, 0.0, 0.0], [1.0, -1.0, -1.0, -1.0]])
    snapshot = gf.Snapshot(ensemble.cell, h[:, None], np.stack([z, np.zeros(4), y], axis=1))
    edge, (low, high) = gf.spectra.spectral_edge(ensemble, snapshot).value, bounding_edges(ensemble, snapshot)
    assert low < high < edge - 0.01
    # S of [CKS 15] by hand
    gate, slope = expit(z), expit(z) * expit(-z)
    phi_square = np.mean(np.cosh(y) ** -4.0)
    mismatch = (h - np.tanh(y)) ** 2
    joint = 0.25 * np.cosh(y) ** -4.0 * (1 - gate) ** 2 + 4.0 * slope**2 * mismatch
    assert np.mean(joint / (edge - gate) ** 2) == pytest.approx(1.0, abs=1e-6)
    # and (69), by hand too, with a_z² = 4
    first, second = 0.25 * phi_square * (1 - gate) ** 2, 4.0 * np.mean(mismatch) * slope**2
    assert np.mean(first / (low - gate) ** 2) == pytest.approx(1.0, rel=1e-9)
    assert np.mean((first + second) / (high - gate) ** 2) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.slow
def test_the_upper_bound_fails_in_the_mean_field() -> None:
    """(a_z, a_r, a_h) = (2, 0, 3): edge 1.03279, bound 1.03144, and without a_z² in (69) far less."""
    ensemble = gru(2.0)
    snapshot = gf.mean_field(ensemble, steps=300, samples=16000, batches=8, seed=2).snapshot
    edge, (low, high) = gf.spectra.spectral_edge(ensemble, snapshot), bounding_edges(ensemble, snapshot)
    assert edge.value == pytest.approx(1.03279, abs=3.0 * edge.error)
    assert high == pytest.approx(1.03144, abs=3.0 * edge.error)
    size = snapshot.neurons // 8
    beyond = []
    for i in range(8):
        kept = slice(i * size, (i + 1) * size)
        part = gf.Snapshot(snapshot.cell, snapshot.state[kept], snapshot.preactivations[kept])
        beyond.append(gf.spectra.spectral_edge(ensemble, part).value - bounding_edges(ensemble, part)[1])
    error = float(np.std(beyond, ddof=1) / np.sqrt(8))
    assert np.mean(beyond) > 5.0 * error
    assert edge.value - high == pytest.approx(0.00135, abs=6e-4)
    assert low < high


def test_bounds_are_for_their_own_cell() -> None:
    with pytest.raises(ValueError, match="snapshot is of GRU"):
        bounding_edges(gru(hard=True), gf.Snapshot.at_zero(gru()))
    with pytest.raises(ValueError, match="reset gate before the weights"):
        bounding_edges(gf.Ensemble(gf.MGU()), gf.Snapshot.at_zero(gf.Ensemble(gf.MGU())))
