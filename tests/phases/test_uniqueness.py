"""Neurons that rest in several states each are told from those that rest in one, and refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from tests.all_cells import CASES, TwoRooms

import gatefield as gf
from gatefield.cells.tracing import affine_in_state
from gatefield.phases.roots import excess_curve
from gatefield.phases.uniqueness import require_single_states


@dataclass(frozen=True)
class Remembering(gf.Cell):
    """x' = x/2 + (g tanh x + y)/2: above g = 1 a neuron with |y| < y* rests in one of two states."""

    slope: float = 2.0
    bounded: bool = True
    state_names = ("x",)
    preactivation_names = ("input",)

    def sources(self, state: Any, x: Any) -> Any:
        return {"input": jnp.tanh(state["x"]) if self.bounded else state["x"]}

    def update(self, state: Any, x: Any) -> Any:
        return {"x": 0.5 * state["x"] + 0.5 * (self.slope * jnp.tanh(state["x"]) + x["input"])}

    def fold(self) -> float:
        """y*, where x = g tanh x + y touches: cosh² x = g."""
        at = np.arccosh(np.sqrt(self.slope))
        return float(self.slope * np.tanh(at) - at)


class Compiled(gf.LSTM):
    """An LSTM of whose update nothing can be read off, h' and c' coming out of one compiled function."""

    def update(self, state: Any, x: Any) -> Any:
        return jax.jit(super().update)(state, x)


@pytest.mark.parametrize("bounded", [True, False])
def test_fixed_points_of_remembering_neurons_are_refused(bounded: bool) -> None:
    ensemble = gf.Ensemble(Remembering(bounded=bounded), gain={"input": 0.4})
    message = "has several static states .*mean_field"
    with pytest.raises(ValueError, match=message):
        gf.fixed_points(ensemble)
    with pytest.raises(ValueError, match=message):
        excess_curve(ensemble)


def test_what_such_neurons_do_hangs_on_the_past() -> None:
    network = gf.Network(gf.Ensemble(Remembering(), gain={"input": 0.4}), size=300, seed=1)
    starts = np.ones((300, 1)), np.random.default_rng(0).normal(size=(300, 1))
    together, mixed = (np.mean(network.run(300, state=3.0 * s).last) for s in starts)
    assert together > 1.0 > 0.5 > abs(mixed)


@dataclass(frozen=True)
class TwoInputs(Remembering):
    """The same, with a second pre-activation, for planes of two gains."""

    preactivation_names = ("input", "other")

    def sources(self, state: Any, x: Any) -> Any:
        return dict.fromkeys(self.preactivation_names, jnp.tanh(state["x"]))

    def update(self, state: Any, x: Any) -> Any:
        return super().update(state, {"input": x["input"] + x["other"]})


def test_planes_of_remembering_neurons_are_refused() -> None:
    ensemble = gf.Ensemble(TwoInputs(), gain={"input": 0.4})
    x, y = ("input", 0.1, 2.0, 5), ("other", 0.1, 2.0, 5)
    for refused in (
        lambda: gf.phase_diagram(gain_x=x, gain_y=y, ensemble=ensemble),
        lambda: gf.phases.bifurcation_curve(gain_x=x, gain_y="other", ensemble=ensemble),
    ):
        with pytest.raises(ValueError, match="has several static states"):
            refused()


def test_only_neurons_within_reach_count() -> None:
    """At a bias beyond y* by more than inputs reach, each neuron has one state, and the fixed point is as by hand."""
    cell = Remembering()
    far = gf.Ensemble(cell, gain={"input": 0.05}, bias_mean={"input": cell.fold() + 1.0})
    (point,) = gf.fixed_points(far)
    path = gf.Network(far, size=2000, seed=0).run(300, seed=0, initial=3.0)
    assert point.second_moment["x"] == pytest.approx(np.mean(path.last**2), rel=3e-3)
    rest = brentq(lambda s: s - 2.0 * np.tanh(s) - (cell.fold() + 1.0), 0.0, 10.0)
    assert point.mean["x"] == pytest.approx(rest, rel=1e-2)
    near = gf.Ensemble(cell, gain={"input": 0.05}, bias_mean={"input": cell.fold() - 0.01})
    with pytest.raises(ValueError, match="has several static states"):
        gf.fixed_points(near)


@pytest.mark.parametrize("slope", [1.01, 1.2, 5.0])
@pytest.mark.parametrize("bias", [0.0, 0.3, -2.0])
def test_narrow_folds_are_found(slope: float, bias: float) -> None:
    """At slope 1.01 only neurons with |y| < 7e-4 have several."""
    cell = Remembering(slope=slope)
    with pytest.raises(ValueError, match="has several static states"):
        require_single_states(cell, np.array([bias]), np.array([1.0]))
    require_single_states(Remembering(slope=0.99), np.array([bias]), np.array([1.0]))


def test_built_in_cells_need_no_search() -> None:
    for case in CASES:
        assert affine_in_state(case.cell) == (not isinstance(case.cell, TwoRooms))


def test_closed_gates_are_not_mistaken_for_several_states() -> None:
    cell = Compiled()
    require_single_states(cell, np.array([3.0, 0.0, 0.0, 0.0]), np.full(4, 8.0))
    require_single_states(gf.LSTM(), np.array([40.0, 0.0, 0.0, 0.0]), np.full(4, 8.0))
