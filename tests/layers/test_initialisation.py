"""Layers brought to a target: closed forms at the zero state, and measurements by other routes."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gatefield as gf
from gatefield.layers.initialisation import blank_layer, initialize_layer, white_inputs
from gatefield.layers.targets import as_target, log_perron_at_zero, zero_state_factor

LSTM, GRU = gf.LSTM(), gf.GRU(reset_after=True)
CELLS = pytest.mark.parametrize("cell", [LSTM, GRU], ids=["LSTM", "GRU"])
N, M = 200, 16


def along(layer: gf.Layer, inputs: np.ndarray) -> float:
    """λ_max by `lyapunov_along`, mean over sequences."""
    paths = layer.run_batch(inputs)
    found = [gf.networks.lyapunov_along(p, layer.weights, count=1, transient=p.steps // 4).largest.value for p in paths]
    return float(np.mean(found))


# ---- what the theory expects ----


@CELLS
@pytest.mark.parametrize("gate_bias", [0.0, 1.0])
def test_newton_finds_the_closed_form(cell: gf.Cell, gate_bias: float) -> None:
    """The edge of the zero state: 4 (1 − σ(b_f)) for an LSTM, 2 for a GRU whatever b_z [CKS 18, Cor. 11]."""
    names = cell.preactivation_names
    gate, inner = ("forget", "cell") if cell is LSTM else ("update", "candidate")
    biases = np.array([[gate_bias if name == gate else 0.0 for name in names]])
    free = np.array([name == inner for name in names])
    gains = np.array([0.0 if name == "current" else 0.7 for name in names])
    found = zero_state_factor(cell, gains, free, biases, 1.0)
    expected = 4.0 * (1.0 - 1.0 / (1.0 + np.exp(-gate_bias))) if cell is LSTM else 2.0
    assert 0.7 * found.factor == pytest.approx(expected, rel=1e-10)
    assert found.slope == pytest.approx(2.0, rel=1e-10)  # T grows with the square of the only gain that matters


def test_the_derivative_is_that_of_finite_differences() -> None:
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        arrays = (
            jnp.array([1.0, 1.5, 0.7, 1.2]),
            jnp.array([True, False, True, True]),
            jnp.asarray(rng.normal(size=(50, 4))),
        )

        def value(u: Any) -> Any:
            return log_perron_at_zero(LSTM, u, *arrays, jnp.asarray(1.1))

        slope = float(jax.grad(value)(jnp.asarray(0.2)))
        assert slope == pytest.approx(float(value(0.2 + 1e-5) - value(0.2 - 1e-5)) / 2e-5, rel=1e-7)


def test_a_factor_that_is_nowhere() -> None:
    found = zero_state_factor(
        LSTM, np.array([1.0, 1.0, 1.0, 0.0]), np.array([True, True, True, False]), np.zeros((1, 4)), 1.0
    )
    assert np.isnan(found.factor)
    assert found.as_json()["factor"] is None


# ---- what is achieved ----


@CELLS
def test_the_edge_of_a_layer_left_alone(cell: gf.Cell) -> None:
    made = initialize_layer(blank_layer(cell, N), seed=1)
    assert made.converged
    layer = made.layer
    zero = layer.run(steps=1).snapshot()
    assert np.abs(layer.network().eigenvalues(zero)).max() == pytest.approx(1.0, abs=2e-4)
    assert made.prediction is not None
    assert made.gain["update" if cell is GRU else "cell"] == pytest.approx(2.0, abs=4.0 / np.sqrt(N))
    assert made.prediction.factor == pytest.approx(2.0, rel=1e-9)
    assert made.weight_std["reset" if cell is GRU else "forget"] == pytest.approx(made.factor / np.sqrt(N), rel=1e-9)
    assert all(value == 0.0 for value in made.bias.values())


def test_weights_with_another_state_at_the_edge_are_drawn_anew() -> None:
    """The first weights of this seed have a state beside the zero one, where λ_max is about −0.03."""
    made = initialize_layer(blank_layer(GRU, N), seed=2, theory=False)
    assert made.converged
    network = made.layer.network()
    for start in range(4):  # by another route, from other states
        run = network.lyapunov_spectrum(300, count=1, transient=600, seed=start)
        assert abs(run.largest.value) < 0.01
    rng, blank = np.random.default_rng(2), blank_layer(GRU, N)
    first = gf.Layer(GRU, {name: rng.standard_normal((N, N)) / np.sqrt(N) for name in blank.weights}, {})
    kept = initialize_layer(first, keep=["recurrent_weights"], seed=2, theory=False)
    assert not kept.converged
    assert kept.achieved.value == pytest.approx(0.0, abs=1e-3)  # at the zero state
    assert "may settle beside the zero state, where λ_max is -0.03" in kept.message


@pytest.fixture(scope="module", params=[LSTM, GRU], ids=["LSTM", "GRU"])
def driven(request: pytest.FixtureRequest) -> tuple[Any, np.ndarray]:
    u = white_inputs(M, steps=150, seed=3)
    return initialize_layer(blank_layer(request.param, N, M), inputs=u, seed=2), u


def test_the_edge_along_inputs(driven: tuple[Any, np.ndarray]) -> None:
    """By another route and on other inputs of the same kind; and inputs do move it."""
    made, u = driven
    assert made.converged
    assert abs(along(made.layer, u)) < 0.01
    assert abs(along(made.layer, white_inputs(M, steps=150, seed=4))) < 0.015
    assert made.gain["update" if "update" in made.gain else "cell"] > 2.5
    assert made.prediction is not None
    assert made.prediction.factor == pytest.approx(made.factor, rel=2.0 / np.sqrt(N))
    assert "For infinite networks the theory expects" in str(made)


def test_records(driven: tuple[Any, np.ndarray]) -> None:
    import json

    made, _ = driven
    found = json.loads(json.dumps(made.as_json(), allow_nan=False))
    assert found["converged"]
    assert set(found["weight_std"]) == set(made.layer.weights)
    dataset = made.to_dataset()
    assert float(dataset.achieved) == made.achieved.value
    assert dataset.sizes["variable"] == len(made.layer.names)


@CELLS
def test_other_targets_left_alone(cell: gf.Cell) -> None:
    layer = blank_layer(cell, N)
    slow = initialize_layer(layer, target={"timescale": 50}, seed=1)
    assert slow.achieved.value == pytest.approx(50.0, rel=0.01)
    small = initialize_layer(layer, target={"spectral_radius": 0.9}, seed=1)
    assert small.achieved.value == pytest.approx(0.9, abs=1e-3)
    share = initialize_layer(layer, target={"slow_modes": 0.2}, seed=1)
    zero = share.layer.run(steps=1).snapshot()
    found = share.layer.network().eigenvalues(zero)
    assert np.mean(np.abs(found - 1.0) < 0.05) == pytest.approx(0.2, abs=0.03)
    assert np.abs(found).max() == pytest.approx(1.0, abs=0.01)


def test_what_is_kept_and_held() -> None:
    rng = np.random.default_rng(0)
    names = LSTM.preactivation_names
    old = gf.Layer(
        LSTM,
        {name: 0.3 * rng.normal(size=(N, N)) / np.sqrt(N) for name in names},
        {name: rng.normal(size=(N, M)) for name in names},
        {name: 0.2 * rng.normal(size=N) for name in names},
    )
    made = initialize_layer(
        old, keep=("recurrent_weights", "input_weights"), gain={"forget": 1.0}, bias={"forget": 1.0}, theory=False
    )
    for name in names:
        np.testing.assert_array_equal(made.layer.input_weights[name], old.input_weights[name])
        ratio = made.layer.weights[name] / old.weights[name]
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
    assert made.gain["forget"] == pytest.approx(1.0, rel=1e-9)
    np.testing.assert_allclose(made.layer.bias("forget"), 1.0)
    assert np.abs(made.layer.network().eigenvalues(made.layer.run(steps=1).snapshot())).max() == pytest.approx(
        1.0, abs=2e-4
    )
    kept = initialize_layer(old, target={"spectral_radius": 0.8}, keep="biases", theory=False, seed=1)
    for name in names:
        np.testing.assert_array_equal(kept.layer.bias(name), old.bias(name))
    # biases move it off the zero state: the radius is that of the state in which it settles
    path = kept.layer.run(steps=300)
    assert np.abs(kept.layer.network().eigenvalues(path.snapshot())).max() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "edges"}, "target='edges' is not known; use 'edge', {'spectral_radius': 0.95}"),
        ({"target": {"timescale": -3.0}}, "target timescale=-3.0 must be above 0"),
        ({"target": {"slow_modes": 1.5}}, "must lie between 0 and 1"),
        ({"gain": {"reset": 1.0}}, "no 'reset'"),
        ({"gain": dict.fromkeys(LSTM.preactivation_names, 1.0)}, "leave one free"),
        ({"keep": "weights"}, "keep='weights' is not known"),
        ({"keep": "recurrent_weights"}, "are all equal, so they cannot be kept"),
        ({"target": {"slow_modes": 0.1}, "bias": {"forget": 1.0}}, "needs the bias of the forget gate free"),
        ({"target": {"spectral_radius": 0.3}}, "out of reach"),
        ({"target": {"spectral_radius": 0.3}}, "factors tried, from"),
    ],
)
def test_one_line_says_what_to_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        initialize_layer(blank_layer(LSTM, 20), **options)
    assert "\n" not in str(caught.value)


def test_targets() -> None:
    assert as_target({"timescale": 100}).exponent == -0.01
    assert as_target({"spectral_radius": 2.0}).exponent == pytest.approx(np.log(2.0))
    assert str(as_target({"slow_modes": 0.2})) == "slow_modes 0.2"


# ---- Flax ----


def test_flax_modules_in_place() -> None:
    pytest.importorskip("flax")
    from flax import nnx

    import gatefield.flax as gx

    module = nnx.OptimizedLSTMCell(M, 64, rngs=nnx.Rngs(0))
    u = white_inputs(M, sequences=2, steps=80)
    found = gx.initialize_(module, target="edge", inputs=u, bias={"forget": 1.0}, theory=False)["layer"]
    layer = gx.read(module)["layer"]
    assert layer.dtype == "float32"
    np.testing.assert_array_equal(layer.bias("forget"), np.ones(64))
    assert gf.layers.layer_exponent(layer, u, seed=1).value == pytest.approx(found.achieved.value, abs=1e-9)
    assert abs(found.achieved.value) < 0.02
    gru = nnx.GRUCell(M, 64, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="keeps no bias of 'candidate'"):
        gx.initialize_(gru, bias={"candidate": 0.1}, theory=False, inputs=u)


def test_linen_variables() -> None:
    pytest.importorskip("flax")
    from flax import linen

    import gatefield.flax as gx

    model = linen.RNN(linen.GRUCell(64))
    variables = model.init(jax.random.key(0), jnp.ones((1, 5, M)))
    new, found = gx.initialize(variables, bias={"update": 1.0})
    assert jax.tree.structure(new) == jax.tree.structure(variables)
    layer = gx.read(new)["cell"]
    np.testing.assert_array_equal(layer.bias("update"), np.ones(64))
    assert abs(gf.layers.layer_exponent(layer).value) < 2e-3
    assert abs(found["cell"].achieved.value) < 2e-3
    with pytest.raises(ValueError, match="use initialize, which returns new ones"):
        gx.initialize_(variables)
