"""Finite networks: their runs and Jacobians against the same network written out independently."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
import scipy.linalg
from scipy.optimize import linear_sum_assignment
from scipy.special import expit
from tests.all_cells import EACH_CELL, EACH_ENSEMBLE, Case

import gatefield as gf
from gatefield.cells.builtin import GRU, LSTM

SIZE = 12


def one_step(network: gf.Network, s: Any) -> tuple[Any, Any]:
    """s (N, D) → next state (N, D) and pre-activations (N, K): the definition in theory.md §1, line by line."""
    cell = network.ensemble.cell
    state = {name: s[:, i] for i, name in enumerate(cell.state_names)}
    x: dict[str, Any] = {name: jnp.zeros(len(s)) for name in cell.preactivation_names}
    for k, name in enumerate(cell.preactivation_names):
        source = cell.sources(state, x)[name]
        x[name] = jnp.asarray(network.biases)[:, k]
        if name in network.weights:
            x[name] = x[name] + jnp.asarray(network.weights[name]) @ source
    out = cell.update(state, x)
    return jnp.stack([out[n] for n in cell.state_names], 1), jnp.stack([x[n] for n in cell.preactivation_names], 1)


def flat_step(network: gf.Network, flat: Any) -> Any:
    """The step on all neurons' first state variable followed by all neurons' second."""
    d = len(network.ensemble.cell.state_names)
    return one_step(network, flat.reshape(d, -1).T)[0].T.reshape(-1)


def started(ensemble: gf.Ensemble, size: int = SIZE, steps: int = 5) -> tuple[gf.Network, gf.networks.Path]:
    network = gf.Network(ensemble, size=size, seed=3)
    return network, network.run(steps, seed=4)


# ---- runs ----


@pytest.mark.parametrize("ensemble", EACH_ENSEMBLE)
def test_run_is_the_definition(ensemble: gf.Ensemble) -> None:
    network, path = started(ensemble)
    with jax.enable_x64(True):
        for t in range(path.steps):
            s, x = one_step(network, jnp.asarray(path.before[t]))
            np.testing.assert_allclose(path.states[t], s, rtol=0, atol=1e-13)
            np.testing.assert_allclose(path.preactivations[t], x, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(path.before[1:], path.states[:-1])
    np.testing.assert_array_equal(path.last, path.states[-1])


# ---- Jacobians ----


@pytest.mark.parametrize("case", EACH_CELL)
def test_jacobian_is_that_of_the_whole_step(case: Case) -> None:
    network, path = started(case.ensembles[-1])
    at = path.before[-1].T.reshape(-1)
    found = network.jacobian(path.snapshot())
    with jax.enable_x64(True):
        exact = np.asarray(jax.jacfwd(lambda flat: flat_step(network, flat))(jnp.asarray(at)))
        step = 1e-6
        shifts = step * np.eye(len(at))
        ends = jax.vmap(lambda flat: flat_step(network, flat))(jnp.asarray(np.concatenate([at + shifts, at - shifts])))
    up, down = np.split(np.asarray(ends), 2)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found, (up - down).T / (2 * step), rtol=0, atol=1e-6)


@pytest.mark.parametrize("ensemble", EACH_ENSEMBLE)
def test_extended_matrix_has_the_jacobians_eigenvalues(ensemble: gf.Ensemble) -> None:
    """M v = diag(λ 1_s, 1_x) v [CKS 13, 123], that is (M − diag(0, 1)) v = λ diag(1, 0) v."""
    network, path = started(ensemble)
    snapshot = path.snapshot()
    states = SIZE * len(ensemble.cell.state_names)
    matrix = network.extended_matrix(snapshot)
    lower = np.arange(len(matrix)) >= states
    # homogeneous form: eigenvalue α/β, infinite (β = 0) once for each pre-activation
    alpha, beta = scipy.linalg.eig(matrix - np.diag(1.0 * lower), np.diag(1.0 * ~lower), homogeneous_eigvals=True)[0]
    largest = np.argsort(-np.abs(beta) / np.hypot(np.abs(alpha), np.abs(beta)))[:states]
    assert_same_numbers(alpha[largest] / beta[largest], network.eigenvalues(snapshot), 1e-7)


def assert_same_numbers(a: np.ndarray, b: np.ndarray, within: float) -> None:
    """The same complex numbers, in any order."""
    distance = np.abs(a[:, None] - b[None, :])
    rows, columns = linear_sum_assignment(distance)
    assert distance[rows, columns].max() < within


def slope(x: np.ndarray) -> np.ndarray:
    return expit(x) * expit(-x)


def test_gru_jacobian_by_hand() -> None:
    """[CKS 11]: J = ẑ + (1−ẑ)φ̂' U_h (r̂ + ĥ r̂' U_r) + (ĥ − φ̂) ẑ' U_z."""
    ensemble = gf.Ensemble(GRU(), gain={"update": 3.0, "reset": 2.0, "candidate": 4.0}, bias_mean={"reset": 0.5})
    network, path = started(ensemble)
    snapshot = path.snapshot()
    h, (z, r, y) = snapshot.state[:, 0], snapshot.preactivations.T
    uz, ur, uh = (np.asarray(network.weights[name]) for name in ("update", "reset", "candidate"))
    diag = np.diag
    expected = (
        diag(expit(z))
        + diag((1 - expit(z)) / np.cosh(y) ** 2) @ uh @ (diag(expit(r)) + diag(h * slope(r)) @ ur)
        + diag((h - np.tanh(y)) * slope(z)) @ uz
    )
    np.testing.assert_allclose(network.jacobian(snapshot), expected, rtol=0, atol=1e-12)


def test_lstm_jacobian_by_hand() -> None:
    """[CKS 26]: rows c' and h', columns c and h."""
    ensemble = gf.Ensemble(LSTM(), gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 4.0})
    network, path = started(ensemble)
    snapshot = path.snapshot()
    c, (f, i, o, y) = snapshot.state[:, 0], snapshot.preactivations.T
    uf, ui, uo, uh = (np.asarray(network.weights[name]) for name in ("forget", "input", "output", "cell"))
    new = path.last[:, 0]
    diag = np.diag
    g = diag(slope(f) * c) @ uf + diag(expit(i) / np.cosh(y) ** 2) @ uh + diag(slope(i) * np.tanh(y)) @ ui
    m = diag(expit(o) / np.cosh(new) ** 2)
    expected = np.block([[diag(expit(f)), g], [m @ diag(expit(f)), diag(slope(o) * np.tanh(new)) @ uo + m @ g]])
    np.testing.assert_allclose(network.jacobian(snapshot), expected, rtol=0, atol=1e-12)


def test_jacobian_refuses_another_networks_neurons() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 2.0})
    network, path = started(ensemble)
    other_size = gf.Network(ensemble, size=SIZE + 1)
    other_cell = gf.Network(gf.Ensemble(gf.MGU()), size=SIZE)
    for call in (other_size.jacobian, other_size.eigenvalues, other_cell.extended_matrix):
        with pytest.raises(ValueError, match="take it from this network's own run"):
            call(path.snapshot())
    assert network.jacobian(path.snapshot(0)).shape == (SIZE, SIZE)


def test_network_without_gains() -> None:
    network, path = started(gf.Ensemble(gf.GRU(), bias_mean={"update": 1.0}))
    assert network.weights == {}
    np.testing.assert_allclose(network.jacobian(path.snapshot()), expit(1.0) * np.eye(SIZE), atol=1e-15)


def test_eigenvalues_are_lapacks() -> None:
    matrix = np.random.default_rng(0).standard_normal((40, 40))
    found = gf.networks.eigenvalues(matrix)
    assert found.dtype == np.complex128
    assert_same_numbers(found, scipy.linalg.eigvals(matrix), 1e-12)
    assert gf.networks.eigenvalues(np.diag([1.0, 2.0])).dtype == np.complex128


# ---- seeds, precision, records ----


@pytest.mark.parametrize("case", EACH_CELL)
def test_same_seed_same_bits(case: Case) -> None:
    (a, first), (b, second) = started(case.ensembles[-1]), started(case.ensembles[-1])
    for name in a.weights:
        np.testing.assert_array_equal(a.weights[name], b.weights[name])
    np.testing.assert_array_equal(a.biases, b.biases)
    np.testing.assert_array_equal(first.last, second.last)
    np.testing.assert_array_equal(first.preactivations, second.preactivations)


def test_other_seeds_other_draws() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 1.0, "reset": 1.0}, bias_var={"update": 1.0, "reset": 1.0})
    a, b = gf.Network(ensemble, size=SIZE, seed=0), gf.Network(ensemble, size=SIZE, seed=1)
    assert not np.any(np.asarray(a.weights["update"]) == np.asarray(b.weights["update"]))
    assert not np.any(np.asarray(a.weights["update"]) == np.asarray(a.weights["reset"]))
    assert not np.any(np.asarray(a.biases[:, 0]) == np.asarray(b.biases[:, 0]))
    assert not np.any(np.asarray(a.biases[:, 0]) == np.asarray(a.biases[:, 1]))
    assert not np.any(a.run(1, seed=0).before == a.run(1, seed=1).before)


@pytest.mark.parametrize("case", EACH_CELL)
def test_continuing_equals_one_long_run(case: Case) -> None:
    network = gf.Network(case.ensembles[0], size=SIZE, seed=3)
    whole = network.run(10, seed=4)
    first = network.run(5, seed=4)
    second = network.run(5, state=first.last)
    np.testing.assert_allclose(second.states, whole.states[5:], rtol=0, atol=1e-10)
    np.testing.assert_allclose(second.preactivations, whole.preactivations[5:], rtol=0, atol=1e-9)


def test_long_runs_are_cut_into_pieces_unseen() -> None:
    """250 steps are more than one compiled piece; a stable network says the same however it is cut."""
    network = gf.Network(gf.Ensemble(gf.Vanilla(), gain={"input": 0.9}), size=SIZE, seed=0)
    whole = network.run(250, seed=1, record=33)
    assert whole.before.shape == (33, SIZE, 1)
    pieces = [network.run(217, seed=1).last]
    pieces.append(network.run(33, state=pieces[0]).last)
    np.testing.assert_allclose(whole.before[0], pieces[0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(whole.last, pieces[1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("record", [1, 7, 30, 99])
def test_record_keeps_the_last_steps(record: int) -> None:
    network = gf.Network(gf.Ensemble(gf.LSTM(), gain={"cell": 3.0, "output": 1.0}), size=SIZE, seed=0)
    whole, part = network.run(30, seed=1), network.run(30, seed=1, record=record)
    kept = min(record, 30)
    assert part.steps == kept
    np.testing.assert_array_equal(part.before, whole.before[-kept:])
    np.testing.assert_array_equal(part.preactivations, whole.preactivations[-kept:])
    np.testing.assert_array_equal(part.last, whole.last)
    np.testing.assert_array_equal(part.snapshot().state, whole.before[-1])


def test_path_times() -> None:
    _, path = started(gf.Ensemble(gf.GRU(), gain={"candidate": 3.0}))
    np.testing.assert_array_equal(path.snapshot(2).state, path.before[2])
    np.testing.assert_array_equal(path.snapshot(-5).preactivations, path.preactivations[0])
    for time in (5, -6):
        with pytest.raises(ValueError, match=rf"time={time} must lie in \[-5, 5\)"):
            path.snapshot(time)


def test_path_averages() -> None:
    _, path = started(gf.Ensemble(gf.LSTM(), gain={"cell": 5.0, "forget": 1.0}, bias_mean={"cell": 1.0}), steps=10)
    window = {"c": path.states[5:, :, 0], "h": path.states[5:, :, 1], "cell": path.preactivations[5:, :, 3]}
    for name, u in window.items():
        assert path.mean[name] == pytest.approx(u.mean(), rel=1e-12)
        assert path.variance[name] == pytest.approx(u.var(), rel=1e-12)
        expected = [np.mean([u[t] * u[t + lag] for t in range(5 - lag)]) for lag in range(3)]
        np.testing.assert_allclose(path.autocorrelation[name], expected, rtol=1e-12)
    assert set(path.variance) == {"c", "h", "forget", "input", "output", "cell"}


@pytest.mark.parametrize("case", EACH_CELL)
def test_float32(case: Case) -> None:
    ensemble = case.ensembles[-1]
    double, single = (gf.Network(ensemble, size=SIZE, seed=0, dtype=d) for d in ("float64", "float32"))
    state = 0.5 * np.random.default_rng(0).standard_normal((SIZE, len(case.cell.state_names)))
    low, high = single.run(5, state=state), double.run(5, state=state)
    assert low.last.dtype == low.preactivations.dtype == np.float32
    assert single.biases.dtype == np.float32
    assert all(w.dtype == np.float32 for w in single.weights.values())
    np.testing.assert_allclose(low.last, high.last, rtol=0, atol=1e-5)
    jacobian = single.jacobian(low.snapshot())
    assert jacobian.dtype == np.float64
    np.testing.assert_allclose(jacobian, double.jacobian(high.snapshot()), rtol=0, atol=1e-4)


def test_starts_from_random_states() -> None:
    network = gf.Network(gf.Ensemble(gf.LSTM()), size=1000, seed=0)
    start = network.run(1, initial=0.3).before[0]
    np.testing.assert_allclose(start.std(axis=0), 0.3, rtol=5 / 2000**0.5)
    assert not network.run(1, initial=0.0).before.any()


# ---- statistics of the draw ----


def test_weights_and_biases() -> None:
    size, gain = 600, {"update": 0.5, "reset": 2.0, "candidate": 3.0}
    mean, variance = {"update": 1.0, "candidate": -0.5}, {"update": 0.25, "reset": 4.0}
    network = gf.Network(gf.Ensemble(gf.GRU(), gain=gain, bias_mean=mean, bias_var=variance), size=size, seed=5)
    for name, a in gain.items():
        w = np.asarray(network.weights[name]) * size**0.5 / a
        assert abs(w.mean()) < 5 / size
        assert abs(w.var() - 1.0) < 5 * 2**0.5 / size
        assert abs(np.mean(w**4) - 3.0) < 5 * 96**0.5 / size  # Gaussian: Var x⁴ = 96
        assert abs(np.mean(w[:, 1:] * w[:, :-1])) < 5 / size
    for k, name in enumerate(gain):
        b, v = np.asarray(network.biases)[:, k], variance.get(name, 0.0)
        assert b.mean() == pytest.approx(mean.get(name, 0.0), abs=5 * (v / size) ** 0.5 + 1e-12)
        assert b.var() == pytest.approx(v, rel=5 * (2 / size) ** 0.5, abs=1e-20)


def test_gain_zero_has_no_weights() -> None:
    network = gf.Network(gf.Ensemble(gf.LSTM(), gain={"cell": 1.0}), size=4)
    assert set(network.weights) == {"cell"}


# ---- input currents ----


def recurrent_input(network: gf.Network, path: gf.networks.Path, name: str) -> np.ndarray:
    """W v of a pre-activation whose source is the state itself, (steps, N)."""
    return path.before[:, :, 0] @ np.asarray(network.weights[name]).T


def test_constant_current_is_a_bias() -> None:
    gain = {"update": 1.0, "candidate": 2.0}
    a = gf.Network(gf.Ensemble(gf.GRU(), gain=gain, bias_mean={"candidate": 0.4}), size=SIZE)
    b = gf.Network(gf.Ensemble(gf.GRU(), gain=gain, current={"candidate": 0.4}), size=SIZE)
    np.testing.assert_array_equal(a.run(5).last, b.run(5).last)


def test_white_current() -> None:
    size, steps, v = 100, 60, 0.5
    ensemble = gf.Ensemble(
        gf.Vanilla(), gain={"input": 1.0}, bias_mean={"input": 0.3}, current={"input": gf.WhiteCurrent(v)}
    )
    network = gf.Network(ensemble, size=size)
    path = network.run(steps, seed=1)
    current = path.preactivations[:, :, 0] - recurrent_input(network, path, "input") - 0.3
    count = size * steps
    assert abs(current.mean()) < 5 * (v / count) ** 0.5
    assert current.var() == pytest.approx(v, rel=5 * (2 / count) ** 0.5)
    assert abs(np.mean(current[1:] * current[:-1])) < 5 * v / count**0.5
    np.testing.assert_array_equal(path.last, network.run(steps, seed=1).last)
    assert not np.any(path.last == network.run(steps, seed=2).last)


def test_currents_of_two_pre_activations_are_independent() -> None:
    current = {"update": gf.WhiteCurrent(1.0), "reset": gf.CorrelatedCurrent([1.0, 0.5])}
    path = gf.Network(gf.Ensemble(gf.GRU(), current=current), size=100).run(50)
    update, reset, candidate = np.moveaxis(path.preactivations, 2, 0)
    assert abs(np.mean(update * reset)) < 5 / 5000**0.5
    assert np.mean(reset[1:] * reset[:-1]) == pytest.approx(0.5, abs=0.1)
    assert not candidate.any()


def test_current_that_varies_goes_on_through_a_long_run() -> None:
    """A current constant in time, given as one that varies, shows whether the pieces of a run join."""
    ensemble = gf.Ensemble(gf.Vanilla(), current={"input": gf.CorrelatedCurrent(np.ones_like)})
    x = gf.Network(ensemble, size=5).run(230).preactivations[:, :, 0]
    np.testing.assert_allclose(x - x[0], 0.0, atol=1e-5)
    assert x.std() > 0.1


# ---- refusals ----


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> int:
    """10 MB are free."""
    free = 10_000_000
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free, total=free))
    return free


def named_size(error: Any) -> int:
    return int(str(error.value).split("size=")[-1].split()[0])


@pytest.mark.usefixtures("little_memory")
def test_weights_that_do_not_fit() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 1.0, "candidate": 1.0})
    with pytest.raises(ValueError, match=r"size=100000: 224 GiB for its weights, .* size=\d+ would fit") as error:
        gf.Network(ensemble, size=100_000)
    fits = named_size(error)
    assert gf.Network(ensemble, size=fits).size == fits
    with pytest.raises(ValueError, match=f"size={fits} would fit"):
        gf.Network(ensemble, size=fits + 1)


@pytest.mark.usefixtures("little_memory")
def test_record_that_does_not_fit() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 1.0})
    network = gf.Network(ensemble, size=200)
    with pytest.raises(ValueError, match=r"size=200: .* GiB for a record of 9000 steps") as error:
        network.run(9000)
    fits = named_size(error)
    assert 0 < fits < 200
    assert gf.Network(ensemble, size=fits).run(9000, record=1).steps == 1
    assert network.run(9000, record=10).steps == 10


@pytest.mark.usefixtures("little_memory")
def test_jacobian_that_does_not_fit() -> None:
    ensemble = gf.Ensemble(gf.LSTM(), gain={"cell": 1.0})
    network = gf.Network(ensemble, size=700)
    snapshot = network.run(2).snapshot()
    for call in (network.jacobian, network.eigenvalues, network.extended_matrix):
        with pytest.raises(ValueError, match=r"size=700: .* GiB for its .* size=\d+ would fit"):
            call(snapshot)


@pytest.mark.usefixtures("little_memory")
def test_simulation_that_does_not_fit() -> None:
    ensemble = gf.Ensemble(gf.LSTM(), gain={"cell": 1.0})
    with pytest.raises(ValueError, match=r"size=700: .* size=\d+ would fit") as error:
        gf.simulate(ensemble, size=700, networks=1, steps=8)
    found = gf.simulate(ensemble, size=named_size(error), networks=1, steps=8)
    assert found.size == named_size(error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0 must be at least 1"),
        ({"size": -3}, "size=-3 must be at least 1"),
        ({"size": 2.5}, "size=2.5 must be a whole number"),
        ({"size": 4, "seed": -1}, "seed=-1 must be at least 0"),
        ({"size": 4, "dtype": "float16"}, "dtype='float16' must be 'float64' or 'float32'"),
    ],
    ids=str,
)
def test_wrong_networks(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.Network(gf.Ensemble(gf.GRU()), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"steps": 3.0}, "steps=3.0 must be a whole number"),
        ({"steps": 3, "record": 0}, "record=0 must be at least 1"),
        ({"steps": 3, "initial": -1.0}, "initial=-1.0 must be at least 0"),
        ({"steps": 3, "initial": float("nan")}, "initial=nan must be finite"),
        ({"steps": 3, "seed": -1}, "seed=-1 must be at least 0"),
        ({"steps": 3, "state": np.zeros((4, 2))}, r"state of shape \(4, 2\) must be .* = \(4, 1\)"),
    ],
    ids=str,
)
def test_wrong_runs(arguments: dict[str, Any], message: str) -> None:
    network = gf.Network(gf.Ensemble(gf.GRU()), size=4)
    with pytest.raises(ValueError, match=message):
        network.run(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0 must be at least 1"),
        ({"size": 4, "networks": 0}, "networks=0 must be at least 1"),
        ({"size": 4, "steps": 7}, "steps=7 must be at least 8"),
    ],
    ids=str,
)
def test_wrong_simulations(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.simulate(gf.Ensemble(gf.GRU()), **arguments)


def test_simulation_puts_networks_together() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 1.0, "candidate": 3.0}, bias_mean={"candidate": 0.2})
    found = gf.simulate(ensemble, size=40, networks=3, steps=20, seed=7)
    paths = [gf.Network(ensemble, size=40, seed=7 + j).run(20, seed=7 + j) for j in range(3)]
    variances = np.array([p.variance["h"] for p in paths])
    assert found.variance["h"].value == pytest.approx(variances.mean())
    student = 1.32  # of three networks, to a 68 % interval
    assert found.variance["h"].error == pytest.approx(student * variances.std(ddof=1) / 3**0.5, rel=2e-3)
    np.testing.assert_allclose(
        found.autocorrelation["update"].value, np.mean([p.autocorrelation["update"] for p in paths], axis=0)
    )
    for j, path in enumerate(paths):
        own = gf.Network(ensemble, size=40, seed=7 + j).eigenvalues(path.snapshot())
        assert_same_numbers(found.eigenvalues[j], own, 1e-10)
    radii = [np.abs(e).max() for e in found.eigenvalues]
    assert found.spectral_radius.value == pytest.approx(np.mean(radii))
    inside = [np.sum(np.abs(e - 0.1) < 0.3) / 40 for e in found.eigenvalues]
    assert found.mass(center=0.1, radius=0.3).value == pytest.approx(np.mean(inside))
