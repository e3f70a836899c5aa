"""Lyapunov exponents along a trajectory that is there already, and of any map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.snapshot import Snapshot
from gatefield.cells.tracing import local_derivatives, structure
from gatefield.networks.exponents import MeasuredExponents, spectrum_of
from gatefield.networks.frames import LONGEST, carry_frame, checked_count
from gatefield.networks.network import Path
from gatefield.networks.tangent import apply_jacobian, cheaper_formed, seen_columns
from gatefield.numerics.draws import normal
from gatefield.running.arguments import known_names, whole


def lyapunov_along(
    path: Path | Sequence[Snapshot],
    weights: Mapping[str, Any],
    *,
    count: int | None = None,
    transient: int = 0,
    seed: int = 0,
) -> MeasuredExponents:
    """Lyapunov exponents along a trajectory with any weights: those of a trained layer, say, on its own inputs.

    Args:
        path: a run of a network, or its snapshots one after the other. Inputs need not be known: what neurons do at
            each step says it all.
        weights: U_k by pre-activation, (N, N); those left out are 0.
        count: how many exponents, the largest first; all by default.
        transient: first steps of the path that are not measured, in which perturbations turn to where they belong.
        seed: of the first perturbations.

    Raises:
        ValueError: weights of another size or with values that are not finite, an unknown name, or a path not longer
            than the transient.
    """
    cell, before, xs = _trajectory(path)
    total, size, d = before.shape
    u = _checked_weights(cell, weights, size)
    transient, dimension = whole("transient", transient, 0), d * size
    if total - transient < 2:
        raise ValueError(f"transient={transient} leaves fewer than 2 of the path's {total} steps; give a longer path")
    count = checked_count(count, dimension)
    formed = cheaper_formed(cell, u, count, size)
    with jax.enable_x64(True):
        arrays = jnp.asarray(before), jnp.asarray(xs)
        frame = jnp.asarray(normal(jax.random.key(whole("seed", seed, 0)), (count, dimension)))

        def advance(_: None, frame: jax.Array, begin: int, steps: int, quiet: int = 0) -> Any:
            frame = _carry_along(cell, formed, quiet, u, *arrays, frame, begin, steps)
            return None, frame, before[begin : begin + steps, :, -1]

        growth = carry_frame(
            advance, None, frame, steps=total - transient, transient=transient, description=f"{count} exponents",
            seen=seen_columns(cell, size),
        )  # fmt: skip
    return spectrum_of(growth, transient=transient, dimension=dimension, neurons=size, cell=type(cell).__name__)


def _trajectory(path: Path | Sequence[Snapshot]) -> tuple[Cell, np.ndarray, np.ndarray]:
    if isinstance(path, Path):
        return path.cell, np.asarray(path.before, np.float64), np.asarray(path.preactivations, np.float64)
    snapshots = list(path)
    if not snapshots or len({(s.cell, s.neurons) for s in snapshots}) > 1:
        raise ValueError("path must be a Path or at least two snapshots of the same neurons, one after the other")
    states, xs = (np.stack([getattr(s, name) for s in snapshots]) for name in ("state", "preactivations"))
    return snapshots[0].cell, states, xs


def _checked_weights(cell: Cell, weights: Mapping[str, Any], size: int) -> dict[int, Any]:
    known_names("weights", weights, cell.preactivation_names, type(cell).__name__)
    found = {}
    for name, value in weights.items():
        matrix = np.asarray(value, dtype=np.float64)
        if matrix.shape != (size, size):
            raise ValueError(f"weights[{name!r}] of shape {matrix.shape} must be ({size}, {size}), one row per neuron")
        if not np.all(np.isfinite(matrix)):
            raise ValueError(f"weights[{name!r}] holds values that are not finite")
        if cell.preactivation_names.index(name) in structure(cell).sourceless:
            raise ValueError(f"weights[{name!r}]: this pre-activation has no recurrent weights; leave it out")
        found[cell.preactivation_names.index(name)] = matrix
    return dict(sorted(found.items()))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _carry_along(
    cell: Cell,
    formed: bool,
    quiet: int,
    weights: dict[int, jax.Array],
    before: jax.Array,
    xs: jax.Array,
    frame: jax.Array,
    begin: int,
    steps: int,
) -> jax.Array:
    def body(i: Any, frame: jax.Array, quiet: int = 0) -> jax.Array:
        local = local_derivatives(cell, before[begin + i], xs[begin + i])
        return apply_jacobian(cell, weights, local, frame, formed=formed, quiet=quiet)

    _, size, d = before.shape
    shaped = frame.reshape(-1, d, size)
    if quiet:
        shaped = body(0, shaped, quiet)
    return jax.lax.fori_loop(1 if quiet else 0, steps, body, shaped).reshape(frame.shape)


def lyapunov_of_map(
    step: Callable[[jax.Array], jax.Array],
    state: Any,
    *,
    steps: int = 10_000,
    count: int | None = None,
    transient: int = 1000,
    seed: int = 0,
) -> MeasuredExponents:
    """Lyapunov exponents of any differentiable map, s' = step(s), by automatic differentiation.

    Args:
        step: a function of a state (n,), written with `jax.numpy`.
        state: where to begin, (n,).
        steps: measured steps.
        count: how many exponents, the largest first; all by default.
        transient: steps before them.
        seed: of the first perturbations.

    Raises:
        ValueError: an argument out of its range, a map that changes the shape of the state, or one that diverges.
    """
    start = np.asarray(state, dtype=np.float64)
    if start.ndim != 1 or not start.size or not np.all(np.isfinite(start)):
        raise ValueError(f"state of shape {start.shape} must be a vector of finite numbers")
    steps, transient = whole("steps", steps, 2), whole("transient", transient, 0)
    count = checked_count(count, len(start))
    with jax.enable_x64(True):
        shape = jax.eval_shape(step, jnp.asarray(start)).shape
        if shape != start.shape:
            raise ValueError(f"step turns a state of shape {start.shape} into one of shape {shape}")
        advance = _map_advance(step)
        frame = jnp.asarray(normal(jax.random.key(whole("seed", seed, 0)), (count, len(start))))
        growth = carry_frame(
            advance, jnp.asarray(start), frame, steps=steps, transient=transient, description=f"{count} exponents"
        )
    if not np.all(np.isfinite(growth.carry)):
        raise ValueError("the trajectory diverges; start from a state within the basin of an attractor")
    name = getattr(step, "__name__", "map")
    return spectrum_of(growth, transient=transient, dimension=len(start), neurons=len(start), map=name)


def _map_advance(step: Callable[[jax.Array], jax.Array]) -> Any:
    @jax.jit
    def run(s: jax.Array, frame: jax.Array, steps: int) -> Any:
        def body(i: jax.Array, carry: Any) -> Any:
            s, frame, record = carry
            later, linear = jax.linearize(step, s)
            return later, jax.vmap(linear)(frame), record.at[i].set(later)

        return jax.lax.fori_loop(0, steps, body, (s, frame, jnp.zeros((LONGEST, len(s)))))

    def advance(s: jax.Array, frame: jax.Array, _: int, steps: int) -> Any:
        s, frame, record = run(s, frame, steps)
        return s, frame, np.asarray(record)[:steps]

    return advance
