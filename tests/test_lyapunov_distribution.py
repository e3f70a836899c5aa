"""The Lyapunov spectrum at N = ∞: what is exact of rings, then numbers known for the vanilla map, then networks."""

from __future__ import annotations

import json

import numpy as np
import pytest

import gatefield as gf
from gatefield import dyson
from gatefield.cells import structure
from gatefield.response import response_of
from gatefield.rings import Averages, Windows, _resolvent, solve_ring, windows_of

VANILLA = gf.Ensemble(gf.Vanilla(), gain={"input": 3.0})
GRU = gf.Ensemble(gf.GRU(), gain={"update": 2.0, "reset": 2.0, "candidate": 3.0})
LSTM = gf.Ensemble(gf.LSTM(), gain=dict.fromkeys(("forget", "input", "output", "cell"), 3.0))


def drawn(ensemble: gf.Ensemble, neurons: int, seed: int = 0) -> gf.Snapshot:
    """Neurons with any states and pre-activations at all: what is exact must hold for them."""
    rng = np.random.default_rng(seed)
    cell = ensemble.cell
    shapes = [(neurons, len(names)) for names in (cell.state_names, cell.preactivation_names)]
    states, xs = 0.5 * rng.standard_normal(shapes[0]), 1.5 * rng.standard_normal(shapes[1])
    return gf.Snapshot(cell, states, xs)


def windows(ensemble: gf.Ensemble, count: int, length: int, *, resting: bool = False, seed: int = 0) -> Windows:
    """Windows of steps drawn independently, or of the same step again and again."""
    found = drawn(ensemble, count if resting else count * length, seed).derivatives
    arrays = [np.asarray(a) for a in (found.f_s, found.f_x, found.v_s, found.v_x)]
    if resting:
        arrays = [np.repeat(a[:, None], length, axis=1) for a in arrays]
    arrays = [a.reshape(count, length, *a.shape[-2:]) for a in arrays]
    return windows_of(structure(ensemble.cell), ensemble.gains, tuple(arrays), np.arange(count) % 4)


def test_a_resting_map_has_the_exponents_of_its_disc() -> None:
    # J = g U at the zero fixed point: a fraction e^{2s}/g² of eigenvalues within e^s
    ones = tuple(np.ones((3, 8, 1, 1)) * v for v in (0.0, 1.0, 1.0, 0.0))
    w = windows_of(structure(gf.Vanilla()), np.array([0.8]), ones, np.zeros(3, int))
    for s in (-0.3, -1.0, -4.0):
        assert solve_ring(w, np.exp(s + 0.1j)).fraction == pytest.approx(np.exp(2 * s) / 0.64, abs=1e-8)
    assert solve_ring(w, np.exp(-0.2 + 0.1j)).fraction == 1.0


@pytest.mark.parametrize("ensemble", [GRU, LSTM], ids=["gru", "lstm"])
def test_a_ring_at_rest_is_the_dyson_equation_at_each_phase(ensemble: gf.Ensemble) -> None:
    m, s, theta = 4, -0.4, 0.3
    w = windows(ensemble, 60, m, resting=True)
    z = np.exp(s + 1j * (theta + 2 * np.pi * np.arange(m) / m))
    response = response_of(ensemble, drawn(ensemble, 60))
    upper = dyson.off_poles(z)
    g = dyson.trace_resolvent(response, upper, dyson.solve(response, upper))
    g = np.where(z.imag < 0.0, np.conj(g), g)
    expected = np.mean(np.real(z * g)) / w.states
    assert solve_ring(w, z[0]).fraction == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("ensemble", [VANILLA, GRU, LSTM], ids=["vanilla", "gru", "lstm"])
def test_the_fraction_is_the_slope_of_the_potential(ensemble: gf.Ensemble) -> None:
    w, z, step = windows(ensemble, 40, 4), np.exp(-0.5 + 0.3j), 1e-3
    here, after, before = (solve_ring(w, z * np.exp(d)) for d in (0.0, step, -step))
    assert here.converged
    assert 0.05 < here.fraction < 0.95
    assert (after.potential - before.potential) / (2 * step) == pytest.approx(here.fraction, abs=1e-5)


def test_the_map_leaves_out_what_its_products_hold() -> None:
    # F = 1 − Σ_ω P Q/m where no state remembers
    w = windows(VANILLA, 40, 8)
    found = solve_ring(w, np.exp(0.2j))
    assert found.fraction == pytest.approx(1.0 - np.exp(found.log_u.reshape(2, 8).sum(axis=0)).mean(), abs=1e-6)


@pytest.mark.parametrize("ensemble", [GRU, LSTM], ids=["gru", "lstm"])
def test_influence_tells_what_a_part_of_the_windows_would_give(ensemble: gf.Ensemble) -> None:
    w, z = windows(ensemble, 400, 2), np.exp(-0.5 + 0.3j)
    whole, kept = solve_ring(w, z), np.arange(400) % 8 > 0
    part = solve_ring(w.part(kept), z)
    change = part.fraction - whole.fraction
    assert abs(change) > 1e-5
    assert whole.influence[kept].mean() == pytest.approx(change, rel=0.1, abs=1e-5)


def test_products_along_the_ring_are_the_inverse() -> None:
    f = np.random.default_rng(1).uniform(-0.9, 0.9, (5, 6, 1, 1))
    z = 0.7 * np.exp(0.2j)
    wide = np.zeros((5, 6, 2, 2))  # the same neuron beside one that forgets at once
    wide[..., :1, :1] = f
    for narrow, dense in zip(_resolvent(f, z), _resolvent(wide, z), strict=True):
        np.testing.assert_allclose(narrow[..., 0, 0], dense[..., 0, 0], rtol=1e-9, atol=1e-12)


def test_the_solution_does_not_depend_on_the_start() -> None:
    w = windows(GRU, 60, 4)
    z = np.exp(-0.8 + 0.2j)
    other = solve_ring(w, np.exp(-0.1 + 0.2j)).log_u
    assert other.size
    assert solve_ring(w, z).fraction == pytest.approx(solve_ring(w, z, other).fraction, abs=1e-6)


def test_the_edge_is_where_the_transfer_matrix_loses_its_support() -> None:
    w = windows(VANILLA, 50, 4)
    slopes = w.f_x[..., 0, 0]
    edge = 0.5 * np.log(np.mean(slopes**2))
    # steps drawn independently: the windows' own average is not the product of averages, but the rows' sum is exact
    transfer = Averages(w).transfer(np.exp(edge) * np.exp(0.2j))
    np.testing.assert_allclose(transfer.sum(axis=0), 1.0, rtol=1e-9)


def test_pre_activations_without_effect_drop_out() -> None:
    w = windows_of(
        structure(GRU.cell),
        np.array([1.0, 0.0, 2.0]),
        tuple(np.random.default_rng(0).random((4, 3, *shape)) for shape in ((1, 1), (1, 3), (3, 1), (3, 3))),
        np.zeros(4, int),
    )
    assert (w.groups, list(w.group_of)) == (2, [0, 1])


@pytest.fixture(scope="module")
def chaotic() -> gf.LyapunovDistribution:
    return gf.lyapunov_spectrum(VANILLA, window=8, samples=800, steps=100)


@pytest.mark.slow
def test_the_chaotic_map(chaotic: gf.LyapunovDistribution) -> None:
    assert chaotic.converged, chaotic.message
    # simulated at N = 4096; the mean is exact, ln 3 − 1/2 + E log φ'
    for found, expected in (
        (chaotic.fraction_below(0.0), 1.0 - 0.1526),
        (chaotic.kaplan_yorke_dimension, 0.2872),
        (chaotic.entropy_rate, 0.02511),
        (chaotic.mean, -2.2739),
        (chaotic.determinant, -2.2739),
    ):
        assert abs(found.value - expected) < 3.0 * found.error
        assert found.error < 0.05 * max(abs(expected), 0.1)


@pytest.mark.slow
def test_what_a_result_says_hangs_together(chaotic: gf.LyapunovDistribution) -> None:
    quantiles = np.array([0.3, 0.6, 0.9])
    back = chaotic.fraction_below(chaotic.exponents(quantiles).value)
    np.testing.assert_allclose(back.value, quantiles, atol=1e-3)
    assert chaotic.fraction_below(chaotic.largest.value + 0.01).value == 1.0
    shown = json.loads(json.dumps(chaotic.as_json()))
    assert shown["kaplan_yorke_dimension"]["value"] == chaotic.kaplan_yorke_dimension.value
    dataset = chaotic.to_dataset()
    assert dataset["fraction_below"].dims == ("s",)
    assert float(dataset["entropy_rate"]) == chaotic.entropy_rate.value


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"window": 7}, "window=7"),
        ({"window": 2}, "window=2"),
        ({"samples": 3}, "samples=3"),
        ({"batches": 1}, "batches"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        gf.lyapunov_spectrum(VANILLA, **arguments)
