"""Neurons of a cell at rest: their static state, quantities there, how these separate, and where they have kinks.

A neuron at rest has s = F(s, x). A quantity depends on some of the K pre-activations only, and may be a product of
factors (σ(o) times a function of f, i, y); both are found by evaluating the cell at probe points, and so is where it
has kinks. `averages` integrates over x.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.kinks import changes, deciding_signs
from gatefield.cells.tracing import affine_in_state, next_state, source_values, structure

_NEWTON_STEPS = 12
_CURVED_STEPS, _FIRST_STEPS = 80, 40  # where F is not affine in s: of Newton's method, and half-way to F before it
_PROBES = 5
_CLOSED = 1e-18  # a gate so closed that 1 − F_s rounds to 0
_BLOCK = 4096  # points at a time, of one size so that compiled code is reused
_SAMPLES = 4000  # neurons among which kinks that cross pre-activations are sought


@dataclass(frozen=True)
class Separation:
    """How a function of x separates: Π_c f(x_c; others at `reference`) / value^(number of factors − 1).

    Attributes:
        factors: the pre-activations of each.
        reference: a point x.
        value: f there.
    """

    factors: tuple[tuple[int, ...], ...]
    reference: tuple[float, ...]
    value: float


def static_state(cell: Cell, x: jax.Array) -> jax.Array:
    """The state with s = F(s, x) for one neuron, by Newton's method from 0: x (K,) → (D,).

    Where F is not affine in s, neurons first go some way by F itself, for far from a root Newton's method may stray.
    """
    identity, zero = jnp.eye(len(cell.state_names)), jnp.zeros(len(cell.state_names))
    affine = affine_in_state(cell)
    steps = _NEWTON_STEPS if affine else _CURVED_STEPS

    def unsolved(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        count, s, move = carry
        return (count < steps) & jnp.any(jnp.abs(move) > 1e-15 * (1.0 + jnp.abs(s)))

    def step(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        count, s, move = carry
        s = s + solve_small(identity - jax.jacfwd(partial(next_state, cell))(s, x), move)
        return count + 1, s, next_state(cell, s, x) - s

    def half_way(_: int, s: jax.Array) -> jax.Array:
        return 0.5 * (s + next_state(cell, s, x))

    start = zero if affine else jax.lax.fori_loop(0, _FIRST_STEPS, half_way, zero)
    return jax.lax.while_loop(unsolved, step, (jnp.array(0), start, next_state(cell, start, x) - start))[1]


def solve_small(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """A small linear system by elimination, written out; no pivots, I − F_s being diagonally heavy in gated cells."""
    size = right.shape[0]
    rows = [[matrix[i, j] for j in range(size)] + [right[i]] for i in range(size)]
    for k in range(size):
        pivot = jnp.where(jnp.abs(rows[k][k]) < _CLOSED, _CLOSED, rows[k][k])
        rows[k] = [value / pivot for value in rows[k]]
        for i in range(size):
            if i != k:
                factor = rows[i][k]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return jnp.stack([row[-1] for row in rows])


def _values(cell: Cell, x: jax.Array) -> jax.Array:
    """Static states (D), sources of the groups (G) and |det(1 − F_s)| of one neuron."""
    s = static_state(cell, x)
    slope = jax.jacfwd(partial(next_state, cell))(s, x)
    return jnp.concatenate([s, source_values(cell, s, x)[_rows(cell)], _openness(slope)[None]])


def _openness(slope: jax.Array) -> jax.Array:
    """|det(1 − F_s)|, from the pivots of its elimination."""
    size = slope.shape[0]
    rows = jnp.eye(size) - slope
    determinant = jnp.ones(())
    for k in range(size):
        determinant = determinant * rows[k, k]
        rows = rows - jnp.outer(rows[:, k], rows[k]) / jnp.where(rows[k, k] == 0.0, _CLOSED, rows[k, k])
    return jnp.abs(determinant)


def _rows(cell: Cell) -> jax.Array:
    """One pre-activation of each group."""
    return jnp.array([group.members[0] for group in structure(cell).groups], dtype=int)


def _response(cell: Cell, x: jax.Array) -> jax.Array:
    """Γ(1) = V_s (1 − F_s)^{-1} F_x + V_x at the static state, (K, K)."""
    s = static_state(cell, x)
    f_s, f_x = jax.jacfwd(partial(next_state, cell), argnums=(0, 1))(s, x)
    v_s, v_x = jax.jacfwd(partial(source_values, cell), argnums=(0, 1))(s, x)
    moved = jnp.stack([solve_small(jnp.eye(len(s)) - f_s, f_x[:, k]) for k in range(x.shape[0])], axis=1)
    return v_s @ moved + v_x


@partial(jax.jit, static_argnums=(0, 1))
def _evaluate(cell: Cell, responses: bool, column: jax.Array, x: jax.Array) -> jax.Array:
    one = (lambda y: _response(cell, y)[_rows(cell)].ravel()) if responses else partial(_values, cell)
    return jax.vmap(lambda y: one(y)[column])(x)


def evaluate(cell: Cell, index: int, x: np.ndarray) -> np.ndarray:
    """One quantity at many points: x (n, K) → (n,).

    By index: static states (D), sources of the groups (G), the sources' total derivatives by x (G·K); −1 stands for
    |det(1 − F_s)|.
    """
    values = len(cell.state_names) + len(structure(cell).groups)
    responses, column = index >= values, index - values if index >= values else index % (values + 1)
    out = np.empty(len(x))
    affine_in_state(cell)  # found out here, not within a trace
    with jax.enable_x64(True):
        for start in range(0, len(x), _BLOCK):
            block = x[start : start + _BLOCK]
            full = block
            if len(block) < _BLOCK:  # one size, so that code is compiled once
                full = np.zeros((_BLOCK, x.shape[1]))
                full[: len(block)] = block
            out[start : start + _BLOCK] = np.asarray(_evaluate(cell, responses, np.int64(column), full))[: len(block)]
    return out


@lru_cache(maxsize=512)
def separation(cell: Cell, index: int) -> Separation:
    """On which pre-activations a quantity depends, and into which factors it falls."""
    count = len(cell.preactivation_names)
    rng = np.random.default_rng(12345)
    base, other = rng.normal(size=(2, _PROBES, count))

    def mixed(moved: tuple[int, ...]) -> np.ndarray:
        x = base.copy()
        x[:, list(moved)] = other[:, list(moved)]
        return evaluate(cell, index, x)

    at = mixed(())
    single = {k: mixed((k,)) for k in range(count)}
    depends = [k for k in range(count) if not np.allclose(single[k], at, rtol=1e-11, atol=1e-14)]
    linked = {k: {k} for k in depends}
    for i, j in combinations(depends, 2):
        if not np.allclose(mixed((i, j)) * at, single[i] * single[j], rtol=1e-9, atol=1e-14):
            merged = linked[i] | linked[j]
            for k in merged:
                linked[k] = merged
    factors = tuple(sorted({tuple(sorted(group)) for group in linked.values()}))
    best = int(np.argmax(np.abs(at)))
    return Separation(factors, tuple(base[best]), float(at[best]))


def _decided(cell: Cell, x: jax.Array) -> jax.Array:
    """Signs of what decides the cell's branches at rest."""
    s = static_state(cell, x)
    return deciding_signs(lambda s, x: (next_state(cell, s, x), source_values(cell, s, x)), s, x)


@partial(jax.jit, static_argnums=0)
def _decide(cell: Cell, x: jax.Array) -> jax.Array:
    return jax.vmap(partial(_decided, cell))(x)


@lru_cache(maxsize=256)
def _compares(cell: Cell) -> bool:
    """Whether the cell's formulas compare anything; a trace tells, without compiling."""
    return jax.eval_shape(partial(_decided, cell), np.zeros(len(cell.preactivation_names))).size > 0


def _branches(cell: Cell, x: np.ndarray) -> np.ndarray:
    """Signs of what decides the branches of many neurons, (n, comparisons)."""
    blocks = []
    with jax.enable_x64(True):
        for start in range(0, len(x), _BLOCK):
            block = x[start : start + _BLOCK]
            full = np.zeros((_BLOCK, x.shape[1]))
            full[: len(block)] = block
            blocks.append(np.asarray(_decide(cell, full))[: len(block)])
    return np.concatenate(blocks)


@lru_cache(maxsize=256)
def _branching(cell: Cell, index: int, dims: tuple[int, ...]) -> np.ndarray:
    """Which pre-activations among `dims` decide each comparison, the others at their reference: (comparisons, dims)."""
    if not _compares(cell):
        return np.zeros((0, len(dims)), dtype=bool)
    rng = np.random.default_rng(54321)
    x = np.tile(np.asarray(separation(cell, index).reference), (_SAMPLES, 1))
    size = 10.0 ** rng.uniform(-1.0, 1.5, size=(2, _SAMPLES, len(dims)))
    here, there = size * rng.normal(size=size.shape)
    x[:, dims] = here
    at = _branches(cell, x)
    decides = []
    for axis, k in enumerate(dims):
        moved = x.copy()
        moved[:, k] = there[:, axis]
        decides.append((_branches(cell, moved) != at).any(axis=0))
    return np.stack(decides, axis=1)


def kinks(cell: Cell, index: int, dims: tuple[int, ...], k: int, within: float) -> tuple[float, ...]:
    """Where the factor over `dims` of a quantity has kinks along x_k, whatever its other pre-activations are."""
    decides = _branching(cell, index, dims)
    alone = decides[:, dims.index(k)] & (decides.sum(axis=1) == 1)
    return _along(cell, index, k, tuple(np.nonzero(alone)[0].tolist()), within) if alone.any() else ()


@lru_cache(maxsize=512)
def _along(cell: Cell, index: int, k: int, which: tuple[int, ...], within: float) -> tuple[float, ...]:
    reference = np.asarray(separation(cell, index).reference)

    def signs(values: np.ndarray) -> np.ndarray:
        x = np.tile(reference, (len(values), 1))
        x[:, k] = values
        return _branches(cell, x)[:, list(which)]

    return changes(signs, within)


def crossing(cell: Cell, index: int) -> bool:
    """Whether a quantity has kinks that run across several pre-activations, which no panels can follow."""
    return any(
        bool((_branching(cell, index, dims).sum(axis=1) > 1).any())
        for dims in separation(cell, index).factors
        if len(dims) > 1
    )


def evaluate_states(cell: Cell, x: np.ndarray) -> np.ndarray:
    """Static states of many neurons: x (n, K) → (n, D)."""
    return np.stack([evaluate(cell, d, x) for d in range(len(cell.state_names))], axis=1)
