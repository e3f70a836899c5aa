"""The Lyapunov spectrum at N = ∞: rings against dense algebra, exact cases, numbers known elsewhere, networks."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from scipy.optimize import brentq
from tests.all_cells import CASES

import gatefield as gf
from gatefield.chaos import distribution as spectra
from gatefield.chaos.curves import Curve, Level
from gatefield.chaos.histories import Histories, histories_of
from gatefield.chaos.ring import Edge, Ring, Unknowns, evaluate, solve
from gatefield.numerics.quadrature import gaussian_nodes

VANILLA = gf.Ensemble(gf.Vanilla(), gain={"input": 3.0})
GRU = gf.Ensemble(gf.GRU(), gain={"update": 10.0, "reset": 10.0, "candidate": 3.0})
LSTM_3 = gf.Ensemble(gf.LSTM(), gain=dict.fromkeys(("forget", "input", "output", "cell"), 3.0))
ENSEMBLES = [pytest.param(case.ensembles[0], id=case.name) for case in CASES]


def drawn(ensemble: gf.Ensemble, neurons: int, steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Trajectories of any numbers at all: what is exact must hold for them."""
    rng = np.random.default_rng(seed)
    shape = (steps + 1, neurons)
    state = 0.5 * rng.standard_normal((*shape, len(ensemble.cell.state_names)))
    return state, 1.5 * rng.standard_normal((*shape, len(ensemble.names)))


def made(ensemble: gf.Ensemble, neurons: int, steps: int, seed: int = 0) -> Histories:
    return histories_of(ensemble, *drawn(ensemble, neurons, steps, seed))


def dense(
    ensemble: gf.Ensemble, states: np.ndarray, xs: np.ndarray, ring: Ring, s: float, u: Unknowns
) -> tuple[np.ndarray, np.ndarray, float]:
    """P, Q and fraction from Γ = V_s (λ − S F_s)⁻¹ S F_x + V_x itself, frequencies from its definition."""
    m, n, d = len(states) - 1, states.shape[1], states.shape[2]
    groups = [g.members for g in ensemble.structure.groups]
    turn = np.zeros((m, m), complex)
    turn[np.arange(1, m), np.arange(m - 1)] = 1.0
    turn[0, m - 1] = np.exp(-1j * ring.twist)  # δ(t + m) = e^{iχ} δ(t)
    waves = np.exp(1j * ring.frequencies * np.arange(m)[:, None]) / np.sqrt(m)
    p, q = ([waves * v[ring._of] @ waves.conj().T for v in values] for values in (u.p, u.q))
    size = len(groups) * m
    p_hat = np.zeros((size, size), complex)
    for g in range(len(groups)):
        p_hat[g * m : (g + 1) * m, g * m : (g + 1) * m] = p[g]
    new_p, new_q, slope = np.zeros((len(groups), m)), np.zeros((len(groups), m)), 0.0
    for i in range(n):
        local = gf.Snapshot(ensemble.cell, states[:m, i], xs[:m, i]).derivatives

        def big(a: np.ndarray) -> np.ndarray:  # block-diagonal in time, time the inner index
            out = np.zeros((a.shape[1], m, a.shape[2], m), complex)
            out[:, np.arange(m), :, np.arange(m)] = a
            return out.reshape(a.shape[1] * m, a.shape[2] * m)

        shift = np.kron(np.eye(d), turn)
        rows = [g[0] for g in groups]
        f_s, f_x, v_s, v_x = map(big, (local.f_s, local.f_x, local.v_s[:, rows], local.v_x[:, rows]))
        resolvent = np.linalg.inv(np.exp(s) * np.eye(d * m) - shift @ f_s)
        gamma = v_s @ resolvent @ shift @ f_x + v_x
        d_gamma = -np.exp(s) * v_s @ resolvent @ resolvent @ shift @ f_x
        total = np.zeros((size, size), complex)
        columns = {k: gamma[:, k * m : (k + 1) * m] * ensemble.gains[k] for g in groups for k in g}
        for g, members in enumerate(groups):
            for k in members:
                total += columns[k] @ q[g] @ columns[k].conj().T
        a = np.linalg.inv(np.linalg.inv(p_hat) + total)
        b = np.linalg.inv(np.linalg.inv(total) + p_hat)
        slope += 2.0 * np.trace(np.exp(s) * resolvent).real
        for g, members in enumerate(groups):
            block = slice(g * m, (g + 1) * m)
            new_q[g] += np.diag(waves.conj().T @ b[block, block] @ waves).real / n
            for k in members:
                new_p[g] += np.diag(waves.conj().T @ columns[k].conj().T @ a @ columns[k] @ waves).real / n
                moved = d_gamma[:, k * m : (k + 1) * m] * ensemble.gains[k]
                slope += 2.0 * np.trace(a @ moved @ q[g] @ columns[k].conj().T).real
    return new_p, new_q, slope / (2.0 * m * d * n)


@pytest.mark.parametrize("twist", [np.pi, 0.7], ids=["real", "complex"])
@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_the_ring_is_that_of_dense_algebra(ensemble: gf.Ensemble, twist: float) -> None:
    states, xs = drawn(ensemble, 3, 4)
    states[-1], xs[-1] = states[0], xs[0]  # a source taken one step later sees the window's first step again
    ring = Ring(histories_of(ensemble, states, xs), twist)
    rng = np.random.default_rng(1)
    u = Unknowns(0.3 * rng.standard_normal((2, ring.histories.groups, len(ring.multiplicity))))
    found = evaluate(ring, -0.3, u, full=True)
    p, q, fraction = dense(ensemble, states, xs, ring, -0.3, u)
    np.testing.assert_allclose(found.p[:, ring._of], 0.5 * (p + p[:, ::-1]) if ring.real else p, rtol=1e-8)
    np.testing.assert_allclose(found.q[:, ring._of], 0.5 * (q + q[:, ::-1]) if ring.real else q, rtol=1e-8)
    assert found.fraction == pytest.approx(fraction, abs=1e-9)


@pytest.mark.parametrize("twist", [np.pi, 0.7], ids=["real", "complex"])
@pytest.mark.parametrize("ensemble", [GRU, LSTM_3, VANILLA], ids=["gru", "lstm", "vanilla"])
def test_an_accelerator_would_say_the_same(
    ensemble: gf.Ensemble, twist: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Ring(made(ensemble, 7, 4), twist)
    u = Unknowns(0.3 * np.random.default_rng(1).standard_normal((2, ring.histories.groups, len(ring.multiplicity))))
    here = evaluate(ring, -0.3, u, full=True)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    there = evaluate(ring, -0.3, u, full=True)
    assert isinstance(there.p, np.ndarray)
    for name in ("p", "q", "fraction", "potentials"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-9)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_the_fraction_is_the_slope_of_the_potential(ensemble: gf.Ensemble) -> None:
    ring, s, step = Ring(made(ensemble, 30, 4)), -0.5, 1e-3
    here = solve(ring, s, ring.start(), tolerance=1e-9)
    after, before = (solve(ring, s + h, here.unknowns, tolerance=1e-9).potential for h in (step, -step))
    assert here.residual < 1e-8
    assert 0.01 < here.fraction < 0.99
    assert (after - before) / (2 * step) == pytest.approx(here.fraction, abs=1e-5)


@pytest.mark.parametrize(
    ("ensemble", "distance"),
    [
        pytest.param(GRU, 0.012, id="gru"),
        pytest.param(LSTM_3, 0.004, id="lstm"),
    ],
)
def test_the_ring_is_that_of_a_network(ensemble: gf.Ensemble, distance: float) -> None:
    """Mean of log|λ − eigenvalue| of the closed window of one network, from its neurons alone: O(1/N) apart."""
    m, size = 6, 200
    network = gf.Network(ensemble, size=size, seed=0)
    path = network.run(200, record=m + 1)
    states, xs = path.before.copy(), path.preactivations.copy()
    states[-1], xs[-1] = states[0], xs[0]
    product = np.eye(size * states.shape[2])
    for t in range(m):
        product = network.jacobian(path.snapshot(t)) @ product
    eigenvalues = np.linalg.eigvals(product)
    for twist in (np.pi, 0.7):
        ring = Ring(histories_of(ensemble, states, xs), twist)
        for s in (-1.0, -0.3, 0.05):
            direct = np.mean(np.log(np.abs(np.exp(s * m) - np.exp(1j * twist) * eigenvalues))) / m
            assert solve(ring, s, ring.start()).potential == pytest.approx(direct, abs=distance)


def without(histories: Histories, first: int, last: int) -> Histories:
    kept = np.delete(np.arange(histories.neurons), slice(first, last))
    return replace(histories, **{n: getattr(histories, n)[kept] for n in ("f_s", "f_x", "c_s", "c_x")})


@pytest.mark.parametrize("ensemble", [GRU, VANILLA], ids=["gru", "vanilla"])
def test_what_neurons_add_to_the_potential(ensemble: gf.Ensemble) -> None:
    """Φ is stationary in P and Q: leaving neurons out changes it by their shares, to first order."""
    histories, s = made(ensemble, 96, 4), -0.5
    ring, rest = Ring(histories, 0.7), Ring(without(histories, 10, 14), 0.7)
    found = solve(ring, s, ring.start(), tolerance=1e-9)
    after = solve(rest, s, found.unknowns, tolerance=1e-9)
    assert found.potentials.shape == (96,)
    expected = np.mean(np.delete(found.potentials, slice(10, 14))) - found.potential
    assert abs(expected) > 1e-4
    assert after.potential - found.potential == pytest.approx(expected, rel=0.15)


def test_what_neurons_add_to_the_edge() -> None:
    histories, s = made(GRU, 96, 4), 0.1
    edge = Edge(Ring(histories, 0.7))
    shares = edge.shares(s, 16)
    assert np.mean(shares) == pytest.approx(edge.log_growth(s), abs=1e-9)
    g = int(np.argmax(np.abs(shares)))
    after = Edge(Ring(without(histories, 6 * g, 6 * g + 6), 0.7)).log_growth(s)
    expected = (edge.log_growth(s) - shares[g]) / 15.0
    assert after - edge.log_growth(s) == pytest.approx(expected, rel=0.15)


def test_groups_move_the_edge_as_they_do_alone() -> None:
    histories, s = made(GRU, 96, 4), np.array([-1.0, -0.5, -0.2, 0.0])
    ring = Ring(histories, 0.7)
    edge = spectra._edge(ring)
    level, _ = spectra._level([ring], s, edge, False, lambda _: None)
    assert np.mean(level.edge_shares) == pytest.approx(0.0, abs=1e-4)
    g = int(np.argmax(np.abs(level.edge_shares)))
    after = spectra._edge(Ring(without(histories, 6 * g, 6 * g + 6), 0.7))
    assert after - edge == pytest.approx(-level.edge_shares[g] / 15.0, rel=0.2)


def test_short_windows_of_all_correct_those_of_few() -> None:
    def level(value: float) -> Level:
        return Level(np.full(3, value), np.full(3, 2.0 * value), value, np.zeros((2, 3)), np.zeros(2))

    # all neurons' short windows, some neurons' short ones, and theirs whole, halved and quartered
    family = spectra._family([level(v) for v in (0.35, 0.30, 0.46, 0.43, 0.35)], np.array([-2.0, -1.0, 0.0]), False)
    assert [curve.edge for curve in family.windows] == pytest.approx([0.51, 0.48, 0.4])
    assert family.best.edge == pytest.approx(0.52)
    np.testing.assert_allclose(family.best.potential, 1.04)
    assert family.estimate(lambda curve: curve.edge).error == pytest.approx(0.04)  # half of the step before


def test_what_groups_change_in_the_fraction_is_a_slope() -> None:
    s, edge = np.linspace(-2.0, 0.4, 30), 0.5
    shares = np.array([[0.02], [-0.02]]) * (s - edge) ** 2
    level = Level(np.linspace(0.1, 0.9, 30), s.copy(), edge, shares, np.array([0.01, -0.01]))
    first, second = level.parts(s)
    np.testing.assert_allclose(first.fraction - level.fraction, 0.04 * (s - edge), atol=1e-4)
    np.testing.assert_allclose(first.potential - level.potential, shares[0])
    assert (first.edge, second.edge) == pytest.approx((0.51, 0.49))


def test_no_dimension_where_nothing_adds_up() -> None:
    # near the onset of chaos the mean of max(exponent, 0) may come out below 0
    curve = Curve(np.array([-1.0, -0.5, 0.0]), np.array([0.2, 0.5, 0.9]), np.array([-0.6, -0.3, -1e-5]), 0.05)
    assert curve.dimension() == pytest.approx(0.1)


def test_phases_are_turns() -> None:
    # a window passed through four times over is a ring of its own, closed with −1
    histories = made(GRU, 30, 4)
    turned = replace(
        histories, **{n: np.tile(getattr(histories, n), (1, 4, 1, 1)) for n in ("f_s", "f_x", "c_s", "c_x")}
    )
    for s in (-0.5, 0.0):
        whole = solve(Ring(turned), s, Ring(turned).start(), tolerance=1e-9)
        rings = [Ring(histories, twist) for twist in (np.pi / 4, 3 * np.pi / 4)]
        single = [solve(ring, s, ring.start(), tolerance=1e-9) for ring in rings]
        assert np.mean([one.fraction for one in single]) == pytest.approx(whole.fraction, abs=1e-7)
        assert np.mean([one.potential for one in single]) == pytest.approx(whole.potential, abs=1e-8)


@pytest.mark.parametrize("twist", [np.pi, 0.7], ids=["real", "complex"])
def test_a_gru_with_constant_gates_is_a_leaky_cell(twist: float) -> None:
    # x = 2 U h of h' = h/2 + tanh(x)/2 obeys x' = x/2 + U tanh(x); products of Jacobians are the same up to their ends
    rng = np.random.default_rng(0)
    x, h = 2.0 * rng.standard_normal((2, 9, 40, 1))
    leaky, gated = gf.Ensemble(gf.Leaky(step=0.5), gain={"input": 3.0}), gf.Ensemble(gf.GRU(), gain={"candidate": 6.0})
    gates = np.concatenate([np.zeros((9, 40, 2)), x], axis=2)
    rings = Ring(histories_of(leaky, x, h), twist), Ring(histories_of(gated, h, gates), twist)
    for s in (-1.0, -0.5, -0.1):
        one, other = (solve(ring, s, ring.start(), tolerance=1e-8) for ring in rings)
        assert 0.1 < one.fraction < 0.95
        assert other.fraction == pytest.approx(one.fraction, abs=1e-7)
        assert other.potential == pytest.approx(one.potential, abs=1e-8)


def test_runs_of_open_gates_do_not_drown_the_solution() -> None:
    # F far down, at 24 steps: Γ reaches e^{6·24}; single steps have no such runs, and bound what it can be
    ring = Ring(made(GRU, 60, 24))
    found = solve(ring, -6.0, ring.start())
    step = 1e-3
    after, before = (solve(ring, -6.0 + h, found.unknowns, tolerance=1e-8).potential for h in (step, -step))
    assert found.residual < 1e-5
    assert (after - before) / (2 * step) == pytest.approx(found.fraction, abs=1e-5)


def test_the_map_forgets_its_windows() -> None:
    # without memory white P and Q solve the equation over any window: each step counts for itself
    histories = made(VANILLA, 40, 8)
    whole, single = (Ring(h) for h in (histories, histories.split(8)))
    for s in (-1.0, 0.1):
        a, b = (solve(ring, s, ring.start(), tolerance=1e-9) for ring in (whole, single))
        assert a.fraction == pytest.approx(b.fraction, abs=1e-8)


def test_the_edge_of_the_map_is_exact() -> None:
    histories = made(VANILLA, 50, 4)
    edge = 0.5 * np.log(np.mean(histories.c_x**2))
    ring = Ring(histories)
    assert Edge(ring).log_growth(edge) == pytest.approx(0.0, abs=1e-9)
    assert solve(ring, edge + 0.1, ring.start()).fraction == 1.0
    assert 0.99 < solve(ring, edge - 0.01, ring.start()).fraction < 1.0


def test_a_quiescent_map_fills_its_disc() -> None:
    found = gf.lyapunov_spectrum(gf.Ensemble(gf.Vanilla(), gain={"input": 0.5}), window=4, samples=100, steps=100)
    assert found.converged, found.message
    s = np.array([-3.0, -1.5, -0.8])
    np.testing.assert_allclose(found.fraction_below(s).value, np.exp(2 * s) / 0.25, atol=2e-4)
    assert found.determinant.value == pytest.approx(np.log(0.5) - 0.5, abs=1e-6)
    assert found.mean.value == pytest.approx(np.log(0.5) - 0.5, abs=2e-3)
    assert found.kaplan_yorke_dimension.value == 0.0


def test_constant_gates_make_a_disc_off_centre() -> None:
    # J = ½ + ½ · ½ · 1.5 U at the zero fixed point: a uniform disc of radius 0.375 around 0.5 [CKS 17]
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 1.0, "reset": 1.0, "candidate": 1.5})
    found = gf.lyapunov_spectrum(ensemble, window=4, samples=100, steps=100)
    z = 0.5 + 0.375 * np.sqrt((np.arange(400) + 0.5) / 400)[:, None] * np.exp(2j * np.pi * np.arange(400) / 400)
    s = np.log([0.3, 0.5, 0.7])
    expected = [np.mean(np.abs(z) < np.exp(at)) for at in s]
    np.testing.assert_allclose(found.fraction_below(s).value, expected, atol=6e-3)
    assert found.determinant.value == pytest.approx(np.log(0.5), abs=1e-6)  # 0 lies outside the disc


def test_directions_that_vanish_at_once() -> None:
    found = gf.lyapunov_spectrum(gf.Ensemble(gf.LSTM(), gain={"cell": 0.5}), window=4, samples=100, steps=100)
    assert found.determinant.value == float("-inf")
    assert found.fraction_below(-3.0).value == pytest.approx(0.5, abs=1e-9)


def exact_map(g: float) -> dict[str, float]:
    """F of the vanilla map from one equation, 1 = E c/(1 + c x) with c = g² φ'² e^{−2s} and F = 1 − x."""
    z, w = gaussian_nodes(np.zeros(()), np.ones(()))

    def average(f: object) -> float:
        return float(np.sum(w * np.asarray(f)))

    variance = brentq(lambda v: g**2 * average(np.tanh(np.sqrt(v) * z) ** 2) - v, 0.5, 2.0 * g**2)
    log_slope = -np.log(np.cosh(np.sqrt(variance) * z))

    def above(s: float) -> float:
        c = np.exp(2.0 * (np.log(g) + 2.0 * log_slope - s))
        if average(c) <= 1.0:
            return 0.0
        return brentq(lambda x: average(c / (1.0 + c * x)) - 1.0, 0.0, 1.0)

    grid = np.linspace(-1.5, 0.5 * np.log(average(np.exp(2 * np.log(g) + 4 * log_slope))), 4001)
    x = np.array([above(s) for s in grid])
    summed = np.concatenate([np.cumsum((0.5 * (x[1:] + x[:-1]) * np.diff(grid))[::-1])[::-1], [0.0]])
    at = float(np.interp(0.0, summed + grid * x, grid))
    return {
        "positive": above(0.0),
        "entropy": float(np.interp(0.0, grid, summed)),
        "dimension": above(at),
        "mean": np.log(g) - 0.5 + average(2.0 * log_slope),
    }


def test_the_exact_map_has_the_published_numbers() -> None:
    # one network of N = 4096, 9.9e-5 for a rank and 1 % for what is summed (Clark 2026)
    found = exact_map(3.0)
    assert found["positive"] == pytest.approx(0.1526, abs=5e-4)
    assert found["dimension"] == pytest.approx(0.2872, abs=1e-3)
    assert found["entropy"] == pytest.approx(0.02511, abs=2e-4)
    assert found["mean"] == pytest.approx(-2.2739, abs=2e-3)


@cache
def chaotic() -> gf.chaos.LyapunovDistribution:
    return gf.lyapunov_spectrum(VANILLA, window=4, samples=2000, steps=200)


def test_the_chaotic_map() -> None:
    found, exact = chaotic(), exact_map(3.0)
    assert found.converged, found.message
    for estimate, expected in (
        (found.fraction_positive, exact["positive"]),
        (found.kaplan_yorke_dimension, exact["dimension"]),
        (found.entropy_rate, exact["entropy"]),
        (found.mean, exact["mean"]),
        (found.determinant, exact["mean"]),
    ):
        assert abs(estimate.value - expected) < 4.0 * estimate.error
        assert estimate.error < 0.03 * max(abs(expected), 0.1)
    assert np.max(np.abs(found.window_effect)) < 1e-4


def test_what_a_result_says_hangs_together() -> None:
    found = chaotic()
    quantiles = np.array([0.3, 0.6, 0.9])
    np.testing.assert_allclose(found.fraction_below(found.exponents(quantiles).value).value, quantiles, atol=1e-3)
    assert found.fraction_below(found.edge.value + 0.01).value == 1.0
    shown = json.loads(json.dumps(found.as_json()))
    assert shown["kaplan_yorke_dimension"]["value"] == found.kaplan_yorke_dimension.value
    dataset = found.to_dataset()
    assert dataset["fraction_below"].dims == ("s",)
    assert float(dataset["entropy_rate"]) == found.entropy_rate.value
    with pytest.raises(ValueError, match="quantiles"):
        found.exponents(1.5)


@pytest.mark.slow
def test_the_leaky_map() -> None:
    """g = 3, δ = 1/2: two networks of N = 1000 over 300 and 800 steps, D/N 0.0894 and 0.0885(15), h/N 0.00223, 0.00220;
    at δ → 0 the flow has 0.0617 (Clark 2026)."""
    found = gf.lyapunov_spectrum(
        gf.Ensemble(gf.Leaky(step=0.5), gain={"input": 3.0}), window=12, samples=240, points=10, steps=300
    )
    assert found.converged, found.message
    dimension = found.kaplan_yorke_dimension
    for estimate, seen, known in ((dimension, 0.089, 0.1), (found.entropy_rate, 0.0022, 0.2)):
        assert abs(estimate.value - seen) < 3.0 * estimate.error
        assert estimate.error < known * seen
    assert dimension.value - 3.0 * dimension.error > 0.0617


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"window": 7}, "window=7"),
        ({"window": 2}, "window=2"),
        ({"samples": 3}, "samples=3"),
        ({"points": 2}, "points=2"),
        ({"steps": 10}, "steps=10"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        gf.lyapunov_spectrum(VANILLA, **arguments)


def test_neurons_that_do_not_act_on_one_another() -> None:
    with pytest.raises(ValueError, match="no neuron acts"):
        gf.lyapunov_spectrum(gf.Ensemble(gf.Leaky()), window=4, samples=16, steps=64)
