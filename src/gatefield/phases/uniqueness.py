"""Whether each neuron at rest has one state: static averages over the neurons rest on it.

s = F(s, x) has one solution where F is affine in s, as in every built-in cell, or where each state is affine in itself
once those before it are known (the LSTM's h follows from c). Any other cell may have neurons that remember which of
several states they came from, and then no average over x alone says what a network does. Such cells are tried from
many starts at many pre-activations: by F itself, which finds the states that attract, and by Newton's method, which
finds the others. Around the neuron closest to a fold, where 1 − F_s is smallest, the search is drawn ever closer.
"""

from __future__ import annotations

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import repr_cell
from gatefield.cells.tracing import affine_in_state, next_state
from gatefield.phases.static import solve_small, static_state

_NEURONS = 256
_ROUNDS = 8  # each within a third of the one before
_STARTS = 12
_STEPS, _NEWTON = 400, 40
_REACH = 6.0  # standard deviations: one neuron in 1e9 is beyond
_SETTLED, _APART = 1e-9, 1e-4  # of a state
_FLAT = 1e-9  # |1 − F_s| with too few digits to tell states apart


def require_single_states(cell: Cell, mean: np.ndarray, std: np.ndarray) -> None:
    """Refuse a cell whose neurons have several static states, x_k ~ N(mean_k, std_k²), or none.

    Args:
        cell: the cell.
        mean: (K,).
        std: the largest standard deviations of interest, (K,).

    Raises:
        ValueError: a neuron with several static states, or one whose static state Newton's method from 0 misses.
    """
    if affine_in_state(cell):
        return
    found = _trouble(cell, tuple(np.asarray(mean, float).tolist()), tuple(np.asarray(std, float).tolist()))
    if found:
        raise ValueError(
            f"a neuron of {repr_cell(cell)} {found}: averages over pre-activations do not determine its static "
            "states; those that a network reaches from a given start are found by gatefield.mean_field, or by running "
            "one"
        )


@lru_cache(maxsize=128)
def _trouble(cell: Cell, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """What is wrong with the static states of neurons, "" if nothing."""
    rng = np.random.default_rng(11)
    middle, reach = np.array(mean), _REACH * np.array(std)
    centre, width, lacking = middle, reach, ""
    for k in range(_ROUNDS):
        # at first at all scales, for what happens within |x| < e^{-f} of the mean counts too
        size = 10.0 ** -rng.uniform(0.0, 4.0, (_NEURONS, 1)) if k == 0 else 1.0
        x = centre + size * width * rng.uniform(-1.0, 1.0, (_NEURONS, len(mean)))
        x[0] = centre
        x = np.clip(x, middle - reach, middle + reach)
        with jax.enable_x64(True):
            tried = _tried(cell, jnp.asarray(x), jnp.asarray(_starts(cell)))
        states, move, openness, missed = (np.asarray(a) for a in tried)
        sure = (move < _SETTLED) & (np.abs(openness) > _FLAT)
        if several := _several(cell, x, states, sure):
            return several
        if k == 0:  # later ones come as close to a fold as Newton's method can tell
            lacking = _lacking(sure, np.abs(openness) <= _FLAT, missed)
        centre, width = x[np.argmin(np.min(np.where(sure, openness, np.inf), axis=1))], width / 3.0
    return lacking


def _lacking(sure: np.ndarray, flat: np.ndarray, missed: np.ndarray) -> str:
    """What some neurons lack, by neuron and start, if anything."""
    if not np.all(np.any(sure | flat, axis=1)):
        return "has no static state that could be found"
    if np.any(missed & sure.any(axis=1)):
        return "has a static state that Newton's method does not find from 0"
    return ""


def _several(cell: Cell, x: np.ndarray, states: np.ndarray, sure: np.ndarray) -> str:
    """Of the first neuron with two different states among those found, (n, starts, D), what they are."""
    size = 1.0 + np.max(np.abs(states), axis=2, where=sure[..., None], initial=0.0).max(axis=1)
    high = np.max(states, axis=1, where=sure[..., None], initial=-np.inf)
    low = np.min(states, axis=1, where=sure[..., None], initial=np.inf)
    for n in np.flatnonzero(np.any(high - low > _APART * size[:, None], axis=1)):
        d = int(np.argmax(high[n] - low[n]))
        where = ", ".join(f"{name} = {value:.3g}" for name, value in zip(cell.preactivation_names, x[n], strict=True))
        return (
            f"has several static states where {where}, such as {cell.state_names[d]} = {low[n, d]:.3g} and "
            f"{high[n, d]:.3g}"
        )
    return ""


def _starts(cell: Cell) -> np.ndarray:
    """States at all scales, each with its opposite, (starts, D)."""
    normal = np.random.default_rng(13).normal(size=(_STARTS // 2, len(cell.state_names)))
    scaled = np.geomspace(0.05, 10.0, _STARTS // 2)[:, None] * np.sign(normal) * (0.5 + np.abs(normal))
    return np.concatenate([scaled, -scaled])


@partial(jax.jit, static_argnums=0)
def _tried(cell: Cell, x: jax.Array, starts: jax.Array) -> tuple[jax.Array, ...]:
    """Of neurons x (n, K): states found, the last relative moves and det(1 − F_s), by start; if none is that from 0."""
    identity = jnp.eye(len(cell.state_names))

    def one(x: jax.Array) -> tuple[jax.Array, ...]:
        f = partial(next_state, cell, x=x)

        def newton(s: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            def step(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
                s, _last = carry
                move = solve_small(identity - jax.jacfwd(f)(s), f(s) - s)
                return s + move, move

            s, move = jax.lax.fori_loop(0, _NEWTON, step, (s, jnp.zeros_like(s)))
            relative = jnp.max(jnp.abs(move) / (1.0 + jnp.abs(s)))
            settled = jnp.where(jnp.all(jnp.isfinite(s)), relative, jnp.inf)
            return s, settled, jnp.linalg.det(identity - jax.jacfwd(f)(s))

        iterated = jax.vmap(lambda s: jax.lax.fori_loop(0, _STEPS, lambda _, s: f(s), s))(starts)
        found, move, open_ = jax.vmap(newton)(jnp.concatenate([starts, iterated]))
        own = static_state(cell, x)
        apart = jnp.max(jnp.abs(found - own), axis=1) > _APART * (1.0 + jnp.max(jnp.abs(own)))
        return found, move, open_, jnp.all(apart | (move >= _SETTLED)) | ~jnp.all(jnp.isfinite(own))

    return jax.vmap(one)(x)
