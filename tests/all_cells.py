"""Every cell that the generic tests run over, each with three ensembles. A new cell needs a row here.

The ensembles forget within some ten steps, so that runs of 200 steps say what the steady state is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gatefield as gf

# Mean fields of one cell share compiled code where they share steps and samples per batch.
RUN = {"steps": 200, "samples": 8000, "batches": 8}
SHORT_RUN = {"steps": 200, "samples": 4000, "batches": 4}


@dataclass(frozen=True)
class TwoRooms(gf.Cell):
    """A user's cell: two state variables, and a source that uses both and the pre-activations before it."""

    leak: float = 0.3
    state_names = ("front", "back")
    preactivation_names = ("door", "guard", "mix")

    def sources(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
        door, guard = jax.nn.sigmoid(x["door"]), jax.nn.sigmoid(x["guard"])
        front = state["front"]
        return {"door": front, "guard": front, "mix": guard * front + door * state["back"]}

    def update(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
        door = jax.nn.sigmoid(x["door"])
        back = self.leak * door * state["back"] + (1.0 - door) * jnp.tanh(x["mix"])
        return {"front": jax.nn.sigmoid(x["guard"]) * jnp.sin(back + state["front"]), "back": back}


@dataclass(frozen=True)
class Case:
    """A cell and three ensembles of it."""

    name: str
    cell: gf.Cell
    ensembles: tuple[gf.Ensemble, ...]


def case(name: str, cell: gf.Cell, *settings: dict[str, dict[str, float]]) -> Case:
    assert len(settings) == 3
    return Case(name, cell, tuple(gf.Ensemble(cell, **setting) for setting in settings))


CASES = (
    case(
        "vanilla",
        gf.Vanilla(),
        {"gain": {"input": 3.0}},
        {"gain": {"input": 1.8}, "bias_mean": {"input": 0.2}},
        {"gain": {"input": 0.9}, "bias_mean": {"input": 0.1}, "bias_var": {"input": 0.5}},
    ),
    case(
        "leaky",
        gf.Leaky(step=0.5),
        {"gain": {"input": 6.0}},
        {"gain": {"input": 4.0}, "bias_mean": {"input": 0.3}},
        {"gain": {"input": 1.2}, "bias_mean": {"input": 1.5}},
    ),
    case(
        "gru",
        gf.GRU(),
        {"gain": {"update": 3.0, "reset": 3.0, "candidate": 5.0}},
        {"gain": {"update": 2.0, "reset": 4.0, "candidate": 4.0}, "bias_mean": {"update": -1.0, "reset": 0.5}},
        {
            "gain": {"update": 2.0, "reset": 2.0, "candidate": 1.2},
            "bias_mean": {"update": -1.0, "reset": -0.5},
            "bias_var": {"update": 0.5, "candidate": 0.5},
        },
    ),
    case(
        "gru-reset-after",
        gf.GRU(reset_after=True),
        {"gain": {"update": 2.0, "reset": 3.0, "candidate": 7.0}, "bias_mean": {"update": -1.0}},
        {"gain": {"update": 2.0, "reset": 4.0, "candidate": 5.0}, "bias_mean": {"update": -1.0, "current": 0.3}},
        {"gain": {"update": 2.0, "reset": 2.0, "candidate": 1.2}, "bias_mean": {"update": -1.0, "current": 1.0}},
    ),
    case(
        "lstm",
        gf.LSTM(),
        {"gain": {"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 8.0}, "bias_mean": {"forget": -1.0}},
        {
            "gain": {"forget": 1.0, "input": 3.0, "output": 2.0, "cell": 6.0},
            "bias_mean": {"forget": -1.0, "output": 1.0},
        },
        {
            "gain": {"forget": 1.0, "input": 1.0, "output": 2.0, "cell": 1.0},
            "bias_mean": {"forget": -0.5},
            "bias_var": {"output": 0.5, "cell": 1.0},
        },
    ),
    case(
        "lstm-coupled",
        gf.LSTM(coupled=True),
        {"gain": {"forget": 2.0, "output": 3.0, "cell": 8.0}, "bias_mean": {"forget": -1.0}},
        {"gain": {"forget": 2.0, "output": 2.0, "cell": 7.0}, "bias_mean": {"forget": -1.0, "output": 1.0}},
        {"gain": {"forget": 1.0, "output": 2.0, "cell": 1.5}, "bias_mean": {"cell": 1.0}},
    ),
    case(
        "mgu",
        gf.MGU(),
        {"gain": {"forget": 2.0, "candidate": 6.0}, "bias_mean": {"forget": 1.0}},
        {"gain": {"forget": 3.0, "candidate": 4.0}, "bias_mean": {"forget": 1.0, "candidate": 0.2}},
        {"gain": {"forget": 1.0, "candidate": 1.2}, "bias_mean": {"forget": 0.5, "candidate": 1.0}},
    ),
    case(
        "two-rooms",
        TwoRooms(),
        {"gain": {"door": 2.0, "guard": 2.0, "mix": 3.0}},
        {"gain": {"door": 1.0, "guard": 3.0, "mix": 4.0}, "bias_mean": {"door": -1.0, "guard": 1.0}},
        {"gain": {"door": 1.0, "guard": 1.0, "mix": 1.0}, "bias_var": {"guard": 0.5, "mix": 0.5}},
    ),
)

EACH_CELL = [pytest.param(c, id=c.name) for c in CASES]
EACH_ENSEMBLE = [pytest.param(e, id=f"{c.name}-{i}") for c in CASES for i, e in enumerate(c.ensembles)]


@cache
def settled(ensemble: gf.Ensemble) -> gf.meanfield.MeanField:
    """The ensemble's mean field, solved once for all tests."""
    return gf.mean_field(ensemble, seed=1, **SHORT_RUN)


def half_of(snapshot: gf.Snapshot) -> gf.Snapshot:
    """The first half of the batches: enough, where networks scatter more."""
    kept = slice(snapshot.neurons // 2)
    return gf.Snapshot(snapshot.cell, snapshot.state[kept], snapshot.preactivations[kept], groups=snapshot.groups // 2)


def scattered(ensemble: gf.Ensemble, neurons: int = 300, seed: int = 0, groups: int = 2) -> gf.Snapshot:
    """Neurons at random, for identities that hold whatever the neurons are. Code is compiled anew for each number."""
    rng = np.random.default_rng(seed)
    state = 0.6 * rng.standard_normal((neurons, len(ensemble.cell.state_names)))
    x = ensemble.means + 0.5 * (0.2 + ensemble.gains) * rng.standard_normal((neurons, len(ensemble.names)))
    return gf.Snapshot(ensemble.cell, state, x, groups=groups)
