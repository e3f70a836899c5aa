"""Cells: formulas, structure, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from tests.all_cells import CASES, EACH_CELL, Case, TwoRooms

import gatefield as gf
from gatefield.cells.tracing import next_state, source_values, structure

Named = Mapping[str, np.ndarray]
Formula = Callable[[Named, Named], tuple[dict[str, Any], dict[str, Any]]]


# Each cell in numpy, from the table of theory.md §1: (sources, next state).


def vanilla(s: Named, x: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"input": s["h"]}, {"h": np.tanh(x["input"])}


def leaky(s: Named, x: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"input": np.tanh(s["x"])}, {"x": 0.5 * s["x"] + 0.5 * x["input"]}


def gru(s: Named, x: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    z, r, h = expit(x["update"]), expit(x["reset"]), s["h"]
    return (
        {"update": h, "reset": h, "candidate": r * h},
        {"h": z * h + (1 - z) * np.tanh(x["candidate"])},
    )


def gru_reset_after(s: Named, x: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    z, r, h = expit(x["update"]), expit(x["reset"]), s["h"]
    return (
        {"update": h, "reset": h, "candidate": h, "current": np.zeros_like(h)},
        {"h": z * h + (1 - z) * np.tanh(x["current"] + r * x["candidate"])},
    )


def lstm(s: Named, x: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    f, i, o = expit(x["forget"]), expit(x["input"]), expit(x["output"])
    c = f * s["c"] + i * np.tanh(x["cell"])
    return dict.fromkeys(("forget", "input", "output", "cell"), s["h"]), {"c": c, "h": o * np.tanh(c)}


def lstm_coupled(s: Named, x: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    f, o = expit(x["forget"]), expit(x["output"])
    c = f * s["c"] + (1 - f) * np.tanh(x["cell"])
    return dict.fromkeys(("forget", "output", "cell"), s["h"]), {"c": c, "h": o * np.tanh(c)}


def mgu(s: Named, x: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    f, h = expit(x["forget"]), s["h"]
    return {"forget": h, "candidate": f * h}, {"h": (1 - f) * h + f * np.tanh(x["candidate"])}


def two_rooms(s: Named, x: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    door, guard = expit(x["door"]), expit(x["guard"])
    back = 0.3 * door * s["back"] + (1 - door) * np.tanh(x["mix"])
    sources = {"door": s["front"], "guard": s["front"], "mix": guard * s["front"] + door * s["back"]}
    return sources, {"front": guard * np.sin(back + s["front"]), "back": back}


FORMULAS: dict[str, Formula] = {
    "vanilla": vanilla,
    "leaky": leaky,
    "gru": gru,
    "gru-reset-after": gru_reset_after,
    "lstm": lstm,
    "lstm-coupled": lstm_coupled,
    "mgu": mgu,
    "two-rooms": two_rooms,
}


def draw(cell: gf.Cell, neurons: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.standard_normal((neurons, len(cell.state_names))), 2 * rng.standard_normal(
        (neurons, len(cell.preactivation_names))
    )


@pytest.mark.parametrize("case", EACH_CELL)
def test_formulas(case: Case) -> None:
    """[CKS 1–8; EOC §2 LSTM]"""
    cell = case.cell
    s, x = draw(cell)
    sources, update = FORMULAS[case.name](
        dict(zip(cell.state_names, s.T, strict=True)), dict(zip(cell.preactivation_names, x.T, strict=True))
    )
    with jax.enable_x64(True):
        v = np.stack([source_values(cell, jnp.asarray(a), jnp.asarray(b)) for a, b in zip(s, x, strict=True)])
        f = np.stack([next_state(cell, jnp.asarray(a), jnp.asarray(b)) for a, b in zip(s, x, strict=True)])
    np.testing.assert_allclose(v.T, [sources[n] for n in cell.preactivation_names], rtol=0, atol=1e-14)
    np.testing.assert_allclose(f.T, [update[n] for n in cell.state_names], rtol=0, atol=1e-14)


def test_every_case_has_its_formula() -> None:
    assert {c.name for c in CASES} == set(FORMULAS)


def test_gru_update_at_its_ends() -> None:
    """σ(z) = 1 holds the state, σ(z) = 0 replaces it [CKS 2]."""
    for x, expected in ((50.0, 0.3), (-50.0, np.tanh(0.7))):
        out = gf.GRU().update({"h": 0.3}, {"update": x, "reset": 0.0, "candidate": 0.7})
        assert float(out["h"]) == pytest.approx(expected, abs=1e-6)


def test_coupled_lstm_is_the_lstm_with_opposite_gates() -> None:
    """σ(−f) = 1 − σ(f)."""
    rng = np.random.default_rng(0)
    f, o, y, c = rng.standard_normal(4)
    a = gf.LSTM(coupled=True).update({"c": c, "h": 0.0}, {"forget": f, "output": o, "cell": y})
    b = gf.LSTM().update({"c": c, "h": 0.0}, {"forget": f, "input": -f, "output": o, "cell": y})
    assert float(a["c"]) == pytest.approx(float(b["c"]), rel=1e-5)
    assert float(a["h"]) == pytest.approx(float(b["h"]), rel=1e-5)


# ---- structure ----

GROUPS = {
    "vanilla": [(("input",), 0)],
    "leaky": [(("input",), 0)],
    "gru": [(("update", "reset"), 0), (("candidate",), 1)],
    "gru-reset-after": [(("update", "reset", "candidate"), 0)],
    "lstm": [(("forget", "input", "output", "cell"), 0)],
    "lstm-coupled": [(("forget", "output", "cell"), 0)],
    "mgu": [(("forget",), 0), (("candidate",), 1)],
    "two-rooms": [(("door", "guard"), 0), (("mix",), 1)],
}


@pytest.mark.parametrize("case", EACH_CELL)
def test_structure(case: Case) -> None:
    names, found = case.cell.preactivation_names, structure(case.cell)
    assert [(tuple(names[k] for k in g.members), g.level) for g in found.groups] == GROUPS[case.name]
    sourceless = ("current",) if case.name == "gru-reset-after" else ()
    assert tuple(names[k] for k in found.sourceless) == sourceless


class Base(gf.Cell):
    state_names = ("h",)
    preactivation_names = ("first", "second")

    def sources(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"first": state["h"], "second": state["h"]}

    def update(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"h": jnp.tanh(x["first"] + x["second"])}


def changed(**attributes: Any) -> gf.Cell:
    """Base with something else in place of some of its parts."""
    return type("Changed", (Base,), attributes)()


def test_level_counts_the_longest_chain() -> None:
    """The second needs the first; the third needs the second; the fourth only the state."""
    cell = changed(
        preactivation_names=("first", "second", "third", "fourth"),
        sources=lambda _, s, x: {
            "first": s["h"],
            "second": x["first"] * s["h"],
            "third": x["second"],
            "fourth": s["h"] ** 2,
        },
        update=lambda _, s, x: {"h": x["fourth"]},
    )
    assert [(g.members, g.level) for g in structure(cell).groups] == [((0,), 0), ((3,), 0), ((1,), 1), ((2,), 2)]


def test_dependence_is_seen_through_calls_and_branches() -> None:
    cell = changed(
        sources=lambda _, s, x: {
            "first": s["h"],
            "second": jax.lax.cond(x["first"] > 0.0, lambda: s["h"], lambda: jax.jit(jnp.sin)(s["h"])),
        }
    )
    assert [g.level for g in structure(cell).groups] == [0, 1]


def test_constant_sources_are_kept_apart() -> None:
    cell = changed(sources=lambda _, s, x: {"first": 1.0, "second": 1.0})
    assert [g.members for g in structure(cell).groups] == [(0,), (1,)]


def test_no_source_at_all() -> None:
    cell = changed(sources=lambda _, s, x: {"first": None, "second": s["h"]})
    assert structure(cell).sourceless == (0,)
    assert [g.members for g in structure(cell).groups] == [(1,)]


WRONG = {
    "no state names": ({"state_names": ()}, "Changed.state_names must be a non-empty tuple"),
    "one string for names": ({"preactivation_names": "first"}, "preactivation_names must be a non-empty tuple"),
    "names that are not text": ({"state_names": (1,)}, "state_names must be a non-empty tuple"),
    "a name twice": ({"preactivation_names": ("first", "first")}, "the name 'first' twice"),
    "a name for state and pre-activation": ({"preactivation_names": ("first", "h")}, "the name 'h' twice"),
    "update with another key": (
        {"update": lambda _, s, x: {"g": x["first"]}},
        r"Changed.update must return a value for each of \['h'\], got \['g'\]",
    ),
    "update of another type": ({"update": lambda _, s, x: x["first"]}, "Changed.update must return"),
    "sources with one missing": (
        {"sources": lambda _, s, x: {"first": s["h"]}},
        r"Changed.sources must return a value for each of \['first', 'second'\], got \['first'\]",
    ),
    "sources with one too many": (
        {"sources": lambda _, s, x: dict.fromkeys(("first", "second", "third"), s["h"])},
        "Changed.sources must return",
    ),
    "update of many neurons": (
        {"update": lambda _, s, x: {"h": jnp.stack([x["first"], x["second"]])}},
        r"is for one neuron: 'h' must be a scalar, got shape \(2,\)",
    ),
    "sources of many neurons": (
        {"sources": lambda _, s, x: {"first": s["h"], "second": jnp.ones(3)}},
        r"is for one neuron: 'second' must be a scalar, got shape \(3,\)",
    ),
    "a source from a later pre-activation": (
        {"sources": lambda _, s, x: {"first": x["second"] * s["h"], "second": s["h"]}},
        "the source of 'first' uses 'second', which is not computed before it",
    ),
    "a source from its own pre-activation": (
        {"sources": lambda _, s, x: {"first": s["h"], "second": x["second"] * s["h"]}},
        "the source of 'second' uses 'second'",
    ),
}


@pytest.mark.parametrize(("attributes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_cells_are_refused(attributes: dict[str, Any], message: str) -> None:
    cell = changed(**attributes)
    with pytest.raises(ValueError, match=message):
        structure(cell)
    with pytest.raises(ValueError, match=message):
        gf.Ensemble(cell)


def test_unwritten_cell() -> None:
    with pytest.raises(ValueError, match="Cell.state_names"):
        gf.Ensemble(gf.Cell())


# ---- activations ----


def test_hard_tanh() -> None:
    """[CKS 74]"""
    x = np.array([-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 7.0])
    np.testing.assert_array_equal(gf.cells.hard_tanh(jnp.asarray(x)), [-1.0, -1.0, -0.25, 0.0, 0.5, 1.0, 1.0])
    slope = jax.vmap(jax.grad(gf.cells.hard_tanh))(jnp.array([-3.0, -0.25, 0.0, 0.5, 7.0]))
    np.testing.assert_array_equal(slope, [0.0, 1.0, 1.0, 1.0, 0.0])


BUILT_IN = [gf.Vanilla, gf.Leaky, gf.GRU, gf.LSTM, gf.MGU]


@pytest.mark.parametrize("kind", BUILT_IN)
def test_activation_by_name_and_as_function(kind: Any) -> None:
    def cube(x: Any) -> Any:
        return x**3

    named, given, own = kind(activation="hard_tanh"), kind(activation=gf.cells.hard_tanh), kind(activation=cube)
    assert named == given
    assert hash(named) == hash(given)
    assert named != kind()
    assert kind(activation="tanh") == kind()
    assert own.phi(2.0) == 8.0
    assert gf.Ensemble(own).names == kind().preactivation_names


def test_activation_enters_both_places_of_the_lstm() -> None:
    cell = gf.LSTM(activation=lambda x: 2.0 * x)
    out = cell.update({"c": 1.0, "h": 0.0}, {"forget": 0.0, "input": 0.0, "output": 0.0, "cell": 3.0})
    assert float(out["c"]) == pytest.approx(0.5 * 1.0 + 0.5 * 6.0)
    assert float(out["h"]) == pytest.approx(0.5 * 2.0 * 3.5)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_unknown_activation_lists_the_known(kind: Any) -> None:
    with pytest.raises(ValueError, match="activation='relu' is not known; use one of hard_tanh, tanh"):
        kind(activation="relu")


@pytest.mark.parametrize("step", [0.0, -0.1, 1.5, float("nan"), float("inf")])
def test_leaky_step_out_of_range(step: float) -> None:
    with pytest.raises(ValueError, match=r"step=.* must lie in \(0, 1\]"):
        gf.Leaky(step=step)


def test_leaky_with_step_one_is_vanilla_in_other_words() -> None:
    """x' = y with source φ(x): the pre-activations are those of the vanilla network, one step on."""
    out = gf.Leaky(step=1.0).update({"x": 0.4}, {"input": 0.9})
    assert out["x"] == pytest.approx(0.9)


def test_equal_cells_share_compiled_code() -> None:
    @dataclass(frozen=True)
    class Mine(TwoRooms):
        pass

    assert structure(gf.GRU()) is structure(gf.GRU())
    assert structure(TwoRooms()) is structure(TwoRooms(leak=0.3))
    assert TwoRooms() != TwoRooms(leak=0.2)
    assert Mine() != TwoRooms()
