"""What JAX finds out about a cell: its next state, sources and local derivatives, and what depends on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.csgraph import connected_components

from gatefield.cells.cell import Cell, Values

_PROBES = 48  # of derivatives


def next_state(cell: Cell, s: jax.Array, x: jax.Array) -> jax.Array:
    """F for one neuron: s (D,), x (K,) → (D,)."""
    out = cell.update(_named(cell.state_names, s), _named(cell.preactivation_names, x))
    return jnp.stack([jnp.asarray(out[name], s.dtype) for name in cell.state_names])


def source_values(cell: Cell, s: jax.Array, x: jax.Array) -> jax.Array:
    """V for one neuron: s (D,), x (K,) → (K,), zero where there is no source."""
    out = cell.sources(_named(cell.state_names, s), _named(cell.preactivation_names, x))
    values = [out[name] for name in cell.preactivation_names]
    return jnp.stack([jnp.zeros((), s.dtype) if v is None else jnp.asarray(v, s.dtype) for v in values])


def response_values(cell: Cell, x: jax.Array) -> dict[str, jax.Array]:
    """What pre-activations act by, by name: x (..., K) → (...)."""
    return {
        name: jnp.asarray(v)
        for name, v in cell.responses(_named(cell.preactivation_names, jnp.moveaxis(x, -1, 0))).items()
    }


def local_derivatives(cell: Cell, s: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    """F_s (n, D, D), F_x (n, D, K), V_s (n, K, D), V_x (n, K, K) of n neurons, by automatic differentiation."""
    f = jax.jacfwd(partial(next_state, cell), argnums=(0, 1))
    v = jax.jacfwd(partial(source_values, cell), argnums=(0, 1))
    (f_s, f_x), (v_s, v_x) = jax.vmap(f)(s, x), jax.vmap(v)(s, x)
    return f_s, f_x, v_s, v_x


@lru_cache(maxsize=256)
def affine_in_state(cell: Cell) -> bool:
    """Whether the update is affine in each state, or in those that depend on each other together, the rest given."""
    count, size = len(cell.state_names), len(cell.preactivation_names)
    rng = np.random.default_rng(7)
    scale = np.array([0.1, 1.0, 10.0])[np.arange(_PROBES) % 3, None]
    s, other = scale * rng.normal(size=(2, _PROBES, count))
    x = scale[rng.permutation(_PROBES)] * rng.normal(size=(_PROBES, size))
    here = _slopes(cell, s, x)
    linked = np.any(here != 0.0, axis=0)
    for members in _loops(linked):
        moved = s.copy()
        moved[:, members] = other[:, members]
        block = np.s_[:, np.array(members)[:, None], np.array(members)]
        if not np.allclose(here[block], _slopes(cell, moved, x)[block], rtol=1e-12, atol=1e-14):
            return False
    return True


def _loops(linked: np.ndarray) -> list[list[int]]:
    """States that depend on each other, in turn; `linked` (D, D) says which update depends on which."""
    count, labels = connected_components(linked, directed=True, connection="strong")
    return [np.flatnonzero(labels == k).tolist() for k in range(count)]


def _slopes(cell: Cell, s: np.ndarray, x: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(jax.vmap(jax.jacfwd(partial(next_state, cell)))(jnp.asarray(s), jnp.asarray(x)))


def _named(names: tuple[str, ...], values: Any) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


@dataclass(frozen=True)
class Group:
    """Pre-activations that share one source: their indices, and the round in which that source is known."""

    members: tuple[int, ...]
    level: int


class Uses(NamedTuple):
    """Indices of the state variables and pre-activations that a value depends on; its other derivatives are zero."""

    states: tuple[int, ...]
    preactivations: tuple[int, ...]


@dataclass(frozen=True)
class Structure:
    """How a cell's pre-activations hang together, read off its trace.

    Attributes:
        groups: pre-activations by shared source, ordered by level; those of level 0 depend on the state alone.
        sourceless: indices of pre-activations without recurrent weights.
        source_uses: for each pre-activation, the state variables that its source depends on, and the pre-activations.
        update_uses: for each state variable, the state variables that its update depends on, and the pre-activations.
    """

    groups: tuple[Group, ...]
    sourceless: tuple[int, ...]
    source_uses: tuple[Uses, ...]
    update_uses: tuple[Uses, ...]


@lru_cache(maxsize=256)
def structure(cell: Cell) -> Structure:
    """Trace the cell's two functions, check them, and find which sources are shared and in which order they follow.

    Raises:
        ValueError: names missing or repeated, a wrong set of keys or shapes returned, or a source that uses a
            pre-activation which is computed at the same time or later.
    """
    _check_names(cell)
    names = cell.preactivation_names
    zeros = {name: np.zeros(()) for name in names}
    state = {name: np.zeros(()) for name in cell.state_names}
    _check_outputs(cell, "update", jax.eval_shape(cell.update, state, zeros), cell.state_names)
    sourced: list[int] = []

    def active_sources(state: Values, x: Values) -> list[Any]:
        out = cell.sources(state, x)
        _check_outputs(cell, "sources", out, names)
        sourced[:] = [k for k, name in enumerate(names) if out[name] is not None]
        return [out[names[k]] for k in sourced]

    outvars, source_uses = _traced_uses(cell, active_sources, state, zeros)
    _, update_uses = _traced_uses(cell, lambda s, x: [cell.update(s, x)[n] for n in cell.state_names], state, zeros)
    every = dict(zip(sourced, source_uses, strict=True))
    return Structure(
        _grouped(cell, every, outvars),
        tuple(k for k in range(len(names)) if k not in every),
        tuple(every.get(k, Uses((), ())) for k in range(len(names))),
        tuple(update_uses),
    )


def _traced_uses(cell: Cell, function: Any, state: Values, x: Values) -> tuple[list[Any], list[Uses]]:
    """The output variables of a function of state and pre-activations, and what each of them depends on."""
    jaxpr = jax.make_jaxpr(function)(state, x).jaxpr
    # dictionaries flatten in sorted order of their keys
    inputs = [(0, cell.state_names.index(name)) for name in sorted(state)]
    inputs += [(1, cell.preactivation_names.index(name)) for name in sorted(x)]
    uses = _dependencies(jaxpr, {var: {which} for var, which in zip(jaxpr.invars, inputs, strict=True)})
    found = [set() if hasattr(var, "val") else uses.get(var, set()) for var in jaxpr.outvars]
    by_kind = [[tuple(sorted(i for kind, i in f if kind == wanted)) for wanted in (0, 1)] for f in found]
    return jaxpr.outvars, [Uses(*pair) for pair in by_kind]


def _check_names(cell: Cell) -> None:
    for attribute in ("state_names", "preactivation_names"):
        names = getattr(cell, attribute, None)
        if not names or isinstance(names, str) or not all(isinstance(n, str) for n in names):
            raise ValueError(f"{type(cell).__name__}.{attribute} must be a non-empty tuple of names, got {names!r}")
    names = (*cell.state_names, *cell.preactivation_names)
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise ValueError(f"{type(cell).__name__} uses the name {repeated[0]!r} twice; every name must be its own")


def _check_outputs(cell: Cell, function: str, out: Any, names: tuple[str, ...]) -> None:
    where = f"{type(cell).__name__}.{function}"
    if not isinstance(out, Mapping) or set(out) != set(names):
        got = sorted(out) if isinstance(out, Mapping) else type(out).__name__
        raise ValueError(f"{where} must return a value for each of {list(names)}, got {got}")
    for name, value in out.items():
        if value is not None and jnp.shape(value) != ():
            raise ValueError(f"{where} is for one neuron: {name!r} must be a scalar, got shape {jnp.shape(value)}")


def _dependencies(jaxpr: Any, uses: dict[Any, set[tuple[int, int]]]) -> dict[Any, set[tuple[int, int]]]:
    """Which inputs each variable of a trace depends on; calls count as using all their arguments."""
    for equation in jaxpr.eqns:
        inputs = [uses.get(v, set()) for v in equation.invars if not hasattr(v, "val")]
        for out in equation.outvars:
            uses[out] = set().union(*inputs)
    return uses


def _grouped(cell: Cell, uses: dict[int, Uses], outvars: list[Any]) -> tuple[Group, ...]:
    names = cell.preactivation_names
    level: dict[int, int] = dict.fromkeys(range(len(names)), 0)
    members: dict[Any, list[int]] = {}
    for position, ((k, used), var) in enumerate(zip(uses.items(), outvars, strict=True)):
        late = [j for j in used.preactivations if j >= k]
        if late:
            raise ValueError(
                f"{type(cell).__name__}: the source of {names[k]!r} uses {names[late[0]]!r}, which is not computed "
                f"before it; reorder preactivation_names"
            )
        level[k] = 1 + max((level[j] for j in used.preactivations), default=-1)
        members.setdefault(position if hasattr(var, "val") else var, []).append(k)
    groups = [Group(tuple(ks), max(level[k] for k in ks)) for ks in members.values()]
    return tuple(sorted(groups, key=lambda g: g.level))
