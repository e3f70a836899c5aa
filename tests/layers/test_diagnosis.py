"""Diagnoses of layers: against the theory for random ones, and of what is planted in them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import gatefield as gf
from gatefield.layers.diagnosis import diagnose_layers, edge_factor
from gatefield.layers.growth import jacobian_radius
from gatefield.layers.layer import inputs_by_layer
from gatefield.numerics.crossings import search

N, M = 200, 16  # and the shape of the inputs are those of test_initialisation, so that code is compiled once
LSTM = gf.LSTM()
U = np.random.default_rng(5).normal(size=(8, 150, M))


def random_layer(
    cell: gf.Cell, gain: float, *, seed: int = 0, bias: dict[str, float] | None = None, n: int = N
) -> gf.Layer:
    rng = np.random.default_rng(seed)
    recurrent = [name for name in cell.preactivation_names if name != "current"]
    driven = [
        name for name in cell.preactivation_names if name != "candidate" or not getattr(cell, "reset_after", False)
    ]
    return gf.Layer(
        cell,
        {name: gain * rng.normal(size=(n, n)) / np.sqrt(n) for name in recurrent},
        {name: rng.normal(size=(n, M)) / np.sqrt(M) for name in driven},
        {name: np.full(n, value) for name, value in (bias or {}).items()},
    )


@pytest.fixture(scope="module")
def diagnosis() -> gf.layers.Diagnosis:
    return gf.layers.diagnose_layer(random_layer(LSTM, 1.0), inputs=U, exponents=4)


def test_a_random_layer_is_as_the_theory_says(diagnosis: gf.layers.Diagnosis) -> None:
    assert diagnosis.theory is not None
    assert diagnosis.exponent.value == pytest.approx(diagnosis.theory.value, abs=0.02)
    assert diagnosis.exponents is not None
    assert diagnosis.exponents.largest.value == pytest.approx(diagnosis.exponent.value, abs=0.02)
    assert len(diagnosis.exponents.exponents.value) == 4
    for spectrum in diagnosis.spectra:
        assert spectrum.radius == pytest.approx(spectrum.predicted_radius.value, abs=0.06)
        assert not len(spectrum.outliers)
        slowest = spectrum.time_constants[0]
        assert np.exp(-1.0 / slowest) == pytest.approx(spectrum.radius, abs=1e-12)
    assert all(s.spikes == 0 for s in diagnosis.statistics.values())


def test_statistics(diagnosis: gf.layers.Diagnosis) -> None:
    found = diagnosis.statistics["forget"]
    assert found.gain == pytest.approx(1.0, rel=0.02)
    assert found.input_gain == pytest.approx(1.0, rel=0.05)
    assert found.current_std == pytest.approx(1.0, rel=0.05)
    assert found.gate == pytest.approx(0.5, abs=0.02)
    assert found.closed == pytest.approx(found.opened, abs=0.01)
    assert diagnosis.statistics["cell"].gate is None


def test_the_factor_leads_to_the_edge(diagnosis: gf.layers.Diagnosis) -> None:
    assert diagnosis.verdict.kind == "vanishing"
    assert diagnosis.verdict.factor is not None
    assert diagnosis.verdict.horizon == pytest.approx(-1.0 / diagnosis.exponent.value)
    there = gf.layers.layer_exponent(diagnosis.layer.scaled(diagnosis.verdict.factor), U)
    assert abs(there.value) < 0.01
    assert "multiply its recurrent weights by" in str(diagnosis)


def test_records(diagnosis: gf.layers.Diagnosis) -> None:
    import json

    found = json.loads(json.dumps(diagnosis.as_json(), allow_nan=False))
    assert found["verdict"]["kind"] == "vanishing"
    assert set(found["statistics"]) == set(LSTM.preactivation_names)
    dataset = diagnosis.to_dataset()
    assert dataset.eigenvalue.shape == (2, 2 * N, 2)
    assert float(dataset.lyapunov_max) == diagnosis.exponent.value
    np.testing.assert_allclose(dataset.radius, [s.radius for s in diagnosis.spectra])
    from gatefield.plots.layers import plot_diagnosis

    assert len(plot_diagnosis(diagnosis).axes) == 3


def test_what_is_planted_is_found() -> None:
    """A rank-one part of the candidate's weights puts one eigenvalue beside the disc, at ½ + ¼ strength."""
    layer = random_layer(gf.GRU(reset_after=True), 0.5, seed=3)
    direction = np.random.default_rng(1).normal(size=N)
    direction /= np.linalg.norm(direction)
    weights = dict(layer.weights)
    weights["candidate"] = weights["candidate"] + 1.6 * np.outer(direction, direction)
    found = gf.layers.diagnose_layer(gf.Layer(layer.cell, weights), theory=False)
    assert found.exponent.route == "zero state"
    (outlier,) = found.outliers
    assert outlier == pytest.approx(0.9, abs=0.05)
    assert found.statistics["candidate"].spikes == 1
    assert found.statistics["update"].spikes == 0
    assert "outside the support" in str(found)
    assert found.exponent.value == pytest.approx(np.log(outlier.real), abs=1e-6)


def test_verdicts() -> None:
    layer = random_layer(gf.Vanilla(), 0.5)
    near = 0.998 / np.exp(gf.layers.layer_exponent(layer).value)  # the zero state's radius is the gain
    kinds = [gf.layers.diagnose_layer(layer.scaled(g), theory=False).verdict for g in (1.0, near, 4.0)]
    assert [v.kind for v in kinds] == ["vanishing", "edge", "exploding"]
    assert "at the edge in the zero state" in kinds[1].text
    assert "grows by" in kinds[2].text
    stuck = gf.layers.diagnose_layer(random_layer(LSTM, 1.0, bias={"forget": 4.0}), inputs=U, theory=False)
    assert "% of the forget gates are open" in str(stuck)


def test_the_zero_state_of_large_and_small_layers() -> None:
    """Arnoldi iteration against all eigenvalues."""
    layer = random_layer(LSTM, 1.3, n=220)
    zero = gf.Snapshot(LSTM, np.zeros((220, 2)), np.zeros((220, 4)))
    every = np.abs(layer.network().eigenvalues(zero)).max()
    assert jacobian_radius(layer, zero) == pytest.approx(every, abs=1e-6)


def test_a_search_that_cannot_end() -> None:
    assert not search(lambda x: -1.0 - np.exp(-x), 0.0, tolerance=0.1).reached
    found = search(lambda x: np.tanh(x - 2.0), 0.0, tolerance=1e-6)
    assert found.reached
    assert found.at == pytest.approx(2.0, abs=1e-5)
    silent = search(lambda x: -np.inf if x < 1.0 else x - 2.0, 0.0, tolerance=1e-6)
    assert silent.at == pytest.approx(2.0, abs=1e-5)
    layer = random_layer(gf.Vanilla(), 0.5)
    assert edge_factor(layer, None, gf.layers.layer_exponent(layer), tolerance=1e-3) is not None


def test_stacks_are_fed_by_the_layer_below() -> None:
    lower, upper = random_layer(gf.Vanilla(), 1.0), random_layer(gf.Vanilla(), 1.0, n=30)
    upper = gf.Layer(upper.cell, upper.weights, {"input": np.ones((30, N)) / N})
    fed = inputs_by_layer({"rnn.l0": lower, "rnn.l1": upper}, U)
    np.testing.assert_array_equal(fed["rnn.l1"], lower.outputs(U))
    with pytest.raises(ValueError, match=re.escape("give inputs by name, inputs={'a': array, …}")):
        inputs_by_layer({"a": lower, "b": lower}, U)
    with pytest.raises(ValueError, match="no 'c'"):
        inputs_by_layer({"a": lower, "b": lower}, {"c": U})
    both = diagnose_layers({"a": random_layer(gf.Vanilla(), 0.5, n=20)}, theory=False)
    assert "vanishing" in str(both)
    assert both.as_json()["a"]["verdict"]["kind"] == "vanishing"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": np.ones((50, M + 1))}, "takes 16 inputs"),
        ({"inputs": np.ones((4, M))}, "too short"),
        ({"inputs": np.full((50, M), np.nan)}, "not finite"),
        ({"exponents": 0}, "exponents=0"),
        ({"slow_radius": -1.0}, "slow_radius=-1.0"),
    ],
)
def test_one_line_says_what_to_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        gf.layers.diagnose_layer(random_layer(LSTM, 1.0, n=20), **options)
