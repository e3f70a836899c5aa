"""Fixed and slow points: closed forms, planted ones, and the memories of a trained network."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.all_cells import CASES, Case

import gatefield as gf
from gatefield.networks.network import trajectory

RNG = np.random.default_rng(0)


def bistable(strength: float = 2.0, n: int = 12) -> gf.Layer:
    """h' = tanh(strength v v·h + u): three fixed points, at 0 and ± where strength tanh… balances."""
    v = np.ones(n) / np.sqrt(n)
    return gf.Layer(gf.Vanilla(), {"input": strength * np.outer(v, v)}, {"input": np.ones((n, 1))})


def test_a_bistable_layer() -> None:
    """All neurons alike: h = tanh(2 h), h = ±0.9575040240772687, and 0, with eigenvalue 2."""
    layer = bistable()
    starts = np.concatenate([a + 0.05 * RNG.normal(size=(4, 12, 1)) for a in (-0.8, 0.0, 0.8)])
    found = gf.layers.find_fixed_points(layer, starts, steps=500)
    assert found.converged
    assert str(found).startswith("layer: 3 fixed points, 2 of them stable; 0 slow points")
    levels = sorted(float(p.state.mean()) for p in found)
    np.testing.assert_allclose(levels, [-0.9575040240772687, 0.0, 0.9575040240772687], atol=1e-9)
    (saddle,) = (p for p in found if not p.stable)
    assert saddle.unstable_modes == 1
    assert saddle.eigenvalues[0] == pytest.approx(2.0, abs=1e-9)
    for p in found.stable:
        assert p.eigenvalues[0].real == pytest.approx(2.0 * (1.0 - 0.9575040240772687**2), abs=1e-9)
    assert sorted(np.concatenate([p.starts for p in found])) == list(range(12))
    assert found.raw.shape == starts.shape
    assert found.raw_speed.max() < 1e-3


def test_inputs_move_points() -> None:
    """At u the root of h = tanh(2 h + u); each start with its own input."""
    layer = bistable()
    inputs = np.repeat([[1.0], [-1.0]], 3, axis=0)
    found = gf.layers.find_fixed_points(layer, 0.1 * RNG.normal(size=(6, 12, 1)), inputs=inputs, steps=500)
    assert len(found) == 2
    for p in found:
        h = float(p.state.mean())
        assert h == pytest.approx(np.tanh(2.0 * h + p.inputs[0]), abs=1e-9)
        assert np.sign(h) == p.inputs[0]


def test_a_ghost_is_slow_and_not_fixed() -> None:
    """h = tanh(2h + u) loses its lower root by a fold at u = 0.5328: just beyond, a slow point is left."""
    found = gf.layers.find_fixed_points(bistable(), -0.7 + np.zeros((1, 12, 1)), inputs=[0.5338], steps=800)
    (ghost,) = found
    assert not ghost.fixed
    assert 1e-8 < ghost.speed < 1e-4
    assert float(ghost.state.mean()) == pytest.approx(-np.sqrt(0.5), abs=0.03)
    assert "1 of 1 came to slow points that are not fixed" in found.message
    assert not gf.layers.find_fixed_points(
        bistable(), -0.7 + np.zeros((1, 12, 1)), inputs=[0.5338], slow=1e-8, steps=800
    )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in ("gru", "lstm", "two-rooms")], ids=lambda c: c.name
)
def test_any_cell(case: Case) -> None:
    """The state in which a network at weak gains comes to rest, and its Jacobian's eigenvalues."""
    ensemble = gf.Ensemble(
        case.cell, {name: 0.3 * g for name, g in case.ensembles[2].gain.items()}, case.ensembles[2].bias_mean
    )
    network = gf.Network(ensemble, size=15, seed=1)
    path = network.run(300, seed=1)
    if np.max(np.abs(path.last - path.before[-1])) > 1e-9:
        pytest.skip("it does not rest")
    found = gf.layers.find_fixed_points(
        network, path.last[None] + 0.02 * RNG.normal(size=(3, 15, path.last.shape[1])), steps=400
    )
    nearest = min(found.stable, key=lambda p: np.linalg.norm(p.state - path.last))
    np.testing.assert_allclose(nearest.state, path.last, atol=1e-7)
    expected = np.abs(network.eigenvalues(path.snapshot())).max()
    assert np.abs(nearest.eigenvalues[0]) == pytest.approx(expected, abs=1e-6)


def test_paths_as_starts_and_records() -> None:
    import json

    layer = bistable()
    path = layer.run(np.full((5, 1), 0.3))
    found = gf.layers.find_fixed_points(layer, path, steps=300)
    assert len(found.raw) == 5
    record = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert record["points"][0]["fixed"]
    dataset = found.to_dataset()
    assert dataset.sizes["point"] == len(found)
    assert dataset.sizes["start"] == 5


@pytest.mark.parametrize(
    ("starts", "options", "message"),
    [
        (np.zeros((3, 5, 1)), {}, "(…, 12, 1), with the variables h"),
        (np.full((3, 12, 1), np.nan), {}, "not finite"),
        (np.zeros((3, 12, 1)), {"inputs": np.ones(2)}, "takes 1 inputs"),
        (np.zeros((3, 12, 1)), {"inputs": np.ones((2, 1))}, "must be constant"),
        (np.zeros((3, 12, 1)), {"rate": 0.0}, "rate=0.0"),
    ],
)
def test_one_line_says_what_to_do(starts: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        gf.layers.find_fixed_points(bistable(), starts, **options)


# ---- a trained network ----

BITS, UNITS = 2, 24


def flip_flop(rng: np.random.Generator, sequences: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Pulses ±1 on each input, rarely; the target is the sign of the last one."""
    pulses = rng.choice([-1.0, 1.0], size=(sequences, steps, BITS)) * (rng.random((sequences, steps, BITS)) < 0.15)
    pulses[:, 0] = rng.choice([-1.0, 1.0], size=(sequences, BITS))
    target = pulses.copy()
    for t in range(1, steps):
        target[:, t] = np.where(pulses[:, t] == 0.0, target[:, t - 1], pulses[:, t])
    return pulses, target


def trained(cell: gf.Cell, steps: int = 500) -> tuple[gf.Layer, np.ndarray]:
    """A layer trained on the task by Adam, and its readout."""
    import optax

    rng = np.random.default_rng(1)
    names = cell.preactivation_names
    recurrent = [n for n in names if n != "current"]
    driven = [n for n in names if n != "candidate" or "current" not in names]
    weights: dict[str, Any] = {
        "u": {n: jnp.asarray(rng.normal(size=(UNITS, UNITS)) / np.sqrt(UNITS)) for n in recurrent},
        "w": {n: jnp.asarray(rng.normal(size=(UNITS, BITS))) for n in driven},
        "b": jnp.zeros((UNITS, len(names))),
        "out": jnp.asarray(rng.normal(size=(BITS, UNITS)) / np.sqrt(UNITS)),
    }

    def loss(p: Any, pulses: jax.Array, target: jax.Array) -> jax.Array:
        indexed = {names.index(n): w for n, w in p["u"].items()}

        def one(u: jax.Array) -> jax.Array:
            drive = {names.index(n): u @ w.T for n, w in p["w"].items()}
            start = jnp.zeros((UNITS, len(cell.state_names)))
            last, (before, _) = trajectory(cell, len(u), indexed, p["b"], drive, start)
            states = jnp.concatenate([before[1:], last[None]])
            return states[:, :, -1] @ p["out"].T

        return jnp.mean((jax.vmap(one)(pulses) - target) ** 2)

    optimizer = optax.adam(0.01)

    @jax.jit
    def step(p: Any, state: Any, pulses: jax.Array, target: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(loss)(p, pulses, target)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(p, updates), state, value

    state, value = optimizer.init(weights), jnp.inf
    for _ in range(steps):
        weights, state, value = step(weights, state, *map(jnp.asarray, flip_flop(rng, 32, 30)))
    assert value < 0.02
    biases = {n: weights["b"][:, k] for k, n in enumerate(names)}
    return gf.Layer(cell, weights["u"], weights["w"], biases), np.asarray(weights["out"])


@pytest.mark.slow
@pytest.mark.parametrize("cell", [gf.GRU(reset_after=True), gf.LSTM()], ids=["GRU", "LSTM"])
def test_a_flip_flop_remembers_in_stable_corners(cell: gf.Cell) -> None:
    """2² memories are 2² stable fixed points, whose readouts are the corners (±1, ±1)."""
    pytest.importorskip("optax")
    with jax.enable_x64(True):
        layer, readout = trained(cell)
    pulses, _ = flip_flop(np.random.default_rng(2), 4, 40)
    starts = np.concatenate([path.states[::4] for path in layer.run_batch(pulses)])
    found = gf.layers.find_fixed_points(layer, starts, steps=1500)
    corners = [readout @ p.state[:, -1] for p in found.stable]
    signs = {tuple(np.sign(c)) for c in corners}
    assert signs == {(a, b) for a in (-1.0, 1.0) for b in (-1.0, 1.0)}
    assert len(found.stable) == 2**BITS
    np.testing.assert_allclose(np.abs(corners), 1.0, atol=0.3)
    for p in found.stable:
        path = layer.run(np.zeros((50, BITS)), state=p.state)
        np.testing.assert_allclose(path.last, p.state, atol=1e-6)
