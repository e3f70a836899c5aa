"""Ensembles and currents: what they hold and what they refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.all_cells import EACH_CELL, EACH_ENSEMBLE, Case

import gatefield as gf

PARTS = ("gain", "bias_mean", "bias_var", "current")
finite = st.floats(allow_nan=False, allow_infinity=False)
not_finite = st.sampled_from([math.nan, math.inf, -math.inf])


@given(
    gain=st.floats(0.0, 1e300), mean=finite, variance=st.floats(0.0, 1e300), current=finite,
    name=st.sampled_from(("update", "reset", "candidate")),
)  # fmt: skip
def test_holds_what_it_is_given(gain: float, mean: float, variance: float, current: float, name: str) -> None:
    ensemble = gf.Ensemble(
        gf.GRU(), gain={name: gain}, bias_mean={name: mean}, bias_var={name: variance}, current={name: current}
    )
    k = ensemble.names.index(name)
    assert (ensemble.gain[name], ensemble.bias_mean[name], ensemble.bias_var[name]) == (gain, mean, variance)
    assert ensemble.gains[k] == gain
    assert ensemble.means[k] == mean + current
    assert ensemble.static_variance[k] == variance
    assert np.count_nonzero(ensemble.gains) == (gain > 0.0)
    assert not ensemble.driven


@given(value=not_finite, part=st.sampled_from(PARTS), name=st.sampled_from(("update", "reset", "candidate")))
def test_not_finite(value: float, part: str, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{part}\['{name}'\]=.*(nan|inf) must be finite"):
        gf.Ensemble(gf.GRU(), **{part: {name: value}})


@given(value=st.floats(max_value=-5e-324, allow_infinity=False), part=st.sampled_from(("gain", "bias_var")))
def test_negative(value: float, part: str) -> None:
    with pytest.raises(ValueError, match=rf"{part}\['reset'\]=-.* must be at least 0"):
        gf.Ensemble(gf.GRU(), **{part: {"reset": value}})


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("case", EACH_CELL)
def test_unknown_name_lists_the_known(case: Case, part: str) -> None:
    with pytest.raises(
        ValueError, match=f"{part}: .* has no 'gate'; it has " + ", ".join(case.cell.preactivation_names)
    ):
        gf.Ensemble(case.cell, **{part: {"gate": 1.0}})


@pytest.mark.parametrize("value", ["ten", None, [1.0], {}])
def test_not_a_number(value: Any) -> None:
    for part in PARTS:
        with pytest.raises(ValueError, match=rf"{part}\['update'\]=.* must be a number"):
            gf.Ensemble(gf.GRU(), **{part: {"update": value}})


@pytest.mark.parametrize("part", PARTS)
def test_not_a_mapping(part: str) -> None:
    with pytest.raises(ValueError, match=f"{part}=3.0 must be a mapping from pre-activation names"):
        gf.Ensemble(gf.GRU(), **{part: 3.0})


def test_missing_names_are_zero() -> None:
    ensemble = gf.Ensemble(gf.LSTM(), gain={"cell": 2})
    assert ensemble.gain == {"forget": 0.0, "input": 0.0, "output": 0.0, "cell": 2.0}
    assert not ensemble.means.any()
    assert not ensemble.static_variance.any()


def test_gain_where_there_are_no_weights() -> None:
    with pytest.raises(ValueError, match=r"gain\['current'\]=2, but 'current' has no recurrent weights"):
        gf.Ensemble(gf.GRU(reset_after=True), gain={"current": 2.0})
    gf.Ensemble(gf.GRU(reset_after=True), gain={"current": 0.0}, bias_var={"current": 1.0})


@pytest.mark.parametrize("cell", [gf.GRU, "gru", None])
def test_not_a_cell(cell: Any) -> None:
    with pytest.raises(ValueError, match="must be a gatefield.Cell, such as"):
        gf.Ensemble(cell)


def test_cell_that_cannot_be_hashed() -> None:
    @dataclass
    class Loose(gf.Cell):
        leak: float = 0.4

    with pytest.raises(ValueError, match="Loose is not hashable; make it a frozen dataclass"):
        gf.Ensemble(Loose())


def test_what_was_given_may_change_later() -> None:
    gain = {"update": 1.0}
    ensemble = gf.Ensemble(gf.GRU(), gain=gain)
    gain["update"] = 7.0
    assert ensemble.gain["update"] == 1.0


@pytest.mark.parametrize("ensemble", EACH_ENSEMBLE)
def test_describes_itself_as_json(ensemble: gf.Ensemble) -> None:
    told = json.loads(json.dumps(ensemble.describe()))
    assert told["gain"] == dict(ensemble.gain)
    assert told["bias_mean"] == dict(ensemble.bias_mean)
    assert told["bias_var"] == dict(ensemble.bias_var)
    assert told["cell"].split("(")[0] == type(ensemble.cell).__name__


def test_description_names_parameters_and_currents() -> None:
    ensemble = gf.Ensemble(gf.Leaky(step=0.25, activation="hard_tanh"), current={"input": gf.WhiteCurrent(0.5)})
    told = ensemble.describe()
    assert told["cell"] == "Leaky(activation=hard_tanh, step=0.25)"
    assert told["current"] == {"input": "WhiteCurrent(variance=0.5)"}


# ---- the zero state ----


@pytest.mark.parametrize(
    ("ensemble", "fixed"),
    [
        (gf.Ensemble(gf.GRU(), gain={"candidate": 3.0}), True),
        (gf.Ensemble(gf.GRU(), bias_mean={"update": 1.0}, bias_var={"reset": 2.0}), True),
        (gf.Ensemble(gf.GRU(), bias_mean={"candidate": 0.1}), False),
        (gf.Ensemble(gf.GRU(), bias_var={"candidate": 0.1}), False),
        (gf.Ensemble(gf.GRU(), current={"candidate": 0.1}), False),
        (gf.Ensemble(gf.GRU(), current={"update": gf.WhiteCurrent(0.1)}), False),
        (gf.Ensemble(gf.LSTM(), bias_var={"forget": 1.0, "input": 1.0, "output": 1.0}), True),
        (gf.Ensemble(gf.LSTM(), bias_mean={"cell": 1.0}), False),
        (gf.Ensemble(gf.Vanilla(activation=lambda x: x + 0.5)), False),
    ],
)
def test_whether_zero_is_fixed(ensemble: gf.Ensemble, fixed: bool) -> None:
    assert ensemble.zero_is_fixed is fixed


# ---- currents ----


def samples(current: Any, steps: int, size: int) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(current.sample(jax.random.key(0), steps, size))


def test_constant_current_acts_as_a_bias() -> None:
    plain = gf.Ensemble(gf.GRU(), bias_mean={"update": 0.3}, bias_var={"update": 0.2})
    for current in (0.3, np.float32(0.25), 1):
        ensemble = gf.Ensemble(gf.GRU(), current={"update": current})
        assert ensemble.means[0] == float(current)
        assert not ensemble.driven
    ensemble = gf.Ensemble(gf.GRU(), current={"update": gf.ConstantCurrent(mean=0.3, variance=0.2)})
    np.testing.assert_array_equal(ensemble.means, plain.means)
    np.testing.assert_array_equal(ensemble.static_variance, plain.static_variance)


def test_white_current() -> None:
    steps, size, v = 6, 50_000, 0.7
    u = samples(gf.WhiteCurrent(v), steps, size)
    assert u.shape == (steps, size)
    # covariance between two samples of Gaussians has standard deviation v/√size, a variance √2 times that
    np.testing.assert_allclose(u @ u.T / size, v * np.eye(steps), rtol=0, atol=5 * 2**0.5 * v / size**0.5)
    assert gf.Ensemble(gf.GRU(), current={"update": gf.WhiteCurrent(v)}).driven


def decaying(lag: np.ndarray) -> np.ndarray:
    return 0.5 * np.exp(-lag / 2.0) * np.cos(lag)


@pytest.mark.parametrize("given_as", [decaying, list(decaying(np.arange(6))), decaying(np.arange(40))])
def test_correlated_current(given_as: Any) -> None:
    steps, size = 6, 50_000
    u = samples(gf.CorrelatedCurrent(given_as), steps, size)
    lag = np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    np.testing.assert_allclose(u @ u.T / size, decaying(lag), rtol=0, atol=5 * 2**0.5 * 0.5 / size**0.5)


def test_short_autocovariance_ends_in_zeros() -> None:
    u = samples(gf.CorrelatedCurrent([1.0, 0.4]), 4, 50_000)
    expected = np.eye(4) + 0.4 * (np.eye(4, k=1) + np.eye(4, k=-1))
    np.testing.assert_allclose(u @ u.T / 50_000, expected, rtol=0, atol=5 * 2**0.5 / 50_000**0.5)


def test_constant_autocovariance_is_constant_in_time() -> None:
    u = samples(gf.CorrelatedCurrent(np.ones_like), 5, 100)
    np.testing.assert_allclose(u - u[0], 0.0, atol=1e-6)


NO_PROCESS = {
    "indefinite": ([1.0, 0.9, -0.9], "not that of any process"),
    "no variance": (lambda lag: np.where(lag == 0, 0.0, 1.0), "not that of any process"),
    "negative": ([-1.0], "not that of any process"),
    "nan": ([1.0, math.nan], "one finite value per lag"),
    "a number": (lambda lag: 1.0, "one finite value per lag"),
    "a matrix": (lambda lag: np.ones((2, 2)), "one finite value per lag"),
}


@pytest.mark.parametrize(("autocovariance", "message"), NO_PROCESS.values(), ids=NO_PROCESS)
def test_autocovariance_of_no_process(autocovariance: Any, message: str) -> None:
    ensemble = gf.Ensemble(gf.Vanilla(), gain={"input": 1.0}, current={"input": gf.CorrelatedCurrent(autocovariance)})
    with pytest.raises(ValueError, match=f"current autocovariance .*{message}"):
        gf.mean_field(ensemble, steps=8, samples=32, batches=2)
    with pytest.raises(ValueError, match=f"current autocovariance .*{message}"):
        gf.Network(ensemble, size=4).run(8)


@given(value=st.one_of(not_finite, st.floats(max_value=-1e-300, allow_infinity=False)))
def test_current_variance_out_of_range(value: float) -> None:
    for make in (gf.WhiteCurrent, lambda v: gf.ConstantCurrent(variance=v)):
        with pytest.raises(ValueError, match="current variance=.* must be"):
            make(value)


@given(value=not_finite)
def test_current_mean_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="current mean=.* must be finite"):
        gf.ConstantCurrent(mean=value)


def test_current_of_another_type() -> None:
    given_as: Mapping[str, Any] = {"update": "white"}
    with pytest.raises(ValueError, match="must be a number .*WhiteCurrent or CorrelatedCurrent"):
        gf.Ensemble(gf.GRU(), current=given_as)
