"""Perturbations of a network's state, carried on by its Jacobian without forming it, or formed where that is cheaper.

A frame is a block of P perturbations δs, stored (P, D, N): neurons along the last axis, so that weights act on rows by
one matrix product. Per step, in the notation of `cells`,

    δv_k = V_s δs + V_x δx,   δx_k = U_k δv_k,   δs' = F_s δs + F_x δx      [CKS 11, 26].

Applied, that is one product (P, N) × (N, N) for each pre-activation. Formed, the blocks ∂s'_d/∂s_e − F_s are made
first, one product N × N × N for each pre-activation that a later source depends on, and then D products per state
variable that
sources see: fewer where P is comparable with N (LSTM: 2 instead of 4).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from gatefield.cells.cell import Cell
from gatefield.cells.tracing import Group, local_derivatives, next_state, source_values, structure

Weights = dict[int, jax.Array]  # U_k (N, N) by index of the pre-activation
Local = tuple[jax.Array, ...]

# What forming the blocks costs besides products, in columns of a product: their elements are read and written.
_FORMING = 64


def cheaper_formed(cell: Cell, weights: Weights, count: int, size: int) -> bool:
    """Whether `count` perturbations of `size` neurons are carried on more cheaply by formed blocks."""
    known = structure(cell)
    chained = sum(len(set(known.source_uses[k].preactivations) & set(weights)) for k in weights)
    moved = sum(bool(set(used.preactivations) & set(weights)) for used in known.update_uses)
    formed = chained * size + len(_seen(cell)) * moved * count + _FORMING
    return formed < len(weights) * count


def driven(biases: jax.Array, currents: dict[int, jax.Array]) -> jax.Array:
    """Biases (N, K) with currents (N,) by index of the pre-activation: what there is before any source."""
    for k, values in currents.items():
        biases = biases.at[:, k].add(values)
    return biases


def step(
    cell: Cell,
    weights: Weights,
    inputs: jax.Array,
    s: jax.Array,
    frame: jax.Array,
    *,
    formed: bool = False,
    quiet: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """One step of a network together with a frame of perturbations.

    Args:
        cell: the cell.
        weights: by index of their pre-activation.
        inputs: biases and currents, (N, K).
        s: state, (N, D).
        frame: (P, D, N).
        formed: form the blocks of the Jacobian first.
        quiet: as many of the last perturbations move no source.

    Returns:
        The next state, and J applied to the frame.
    """
    x, changes = inputs, {}
    frame, still = _split(frame, quiet)
    for group in structure(cell).groups:
        known = [k for k in group.members if k in weights]
        if not known:
            continue
        rows = jax.vmap(partial(source_values, cell))(s, x)[:, group.members[0]][None]
        if not formed:  # the state's source rides along, so that weights are read once
            local = local_derivatives(cell, s, x)
            rows = jnp.concatenate([rows, _source_change(cell, group, local, frame, changes)])
        for k in known:
            product = rows @ weights[k].T
            x = x.at[:, k].add(product[0].astype(x.dtype))
            changes[k] = product[1:]
    local = local_derivatives(cell, s, x)
    new = jax.vmap(partial(next_state, cell))(s, x)
    if formed:
        moved = _apply_blocks(cell, local, frame, _blocks(cell, weights, local))
    else:
        moved = _state_change(cell, local, frame, changes)
    return new, _joined(cell, local, moved, still)


def apply_jacobian(
    cell: Cell, weights: Weights, local: Local, frame: jax.Array, *, formed: bool = False, quiet: int = 0
) -> jax.Array:
    """J applied to a frame (P, D, N), from the neurons' local derivatives; arguments as in `step`."""
    frame, still = _split(frame, quiet)
    if formed:
        return _joined(cell, local, _apply_blocks(cell, local, frame, _blocks(cell, weights, local)), still)
    changes: dict[int, jax.Array] = {}
    for group in structure(cell).groups:
        known = [k for k in group.members if k in weights]
        if known:
            change = _source_change(cell, group, local, frame, changes)
            changes |= {k: change @ weights[k].T for k in known}
    return _joined(cell, local, _state_change(cell, local, frame, changes), still)


def _split(frame: jax.Array, quiet: int) -> tuple[jax.Array, jax.Array]:
    return frame[: len(frame) - quiet], frame[len(frame) - quiet :]


def _joined(cell: Cell, local: Local, moved: jax.Array, still: jax.Array) -> jax.Array:
    """Perturbations after a step, those last that moved no source before it."""
    return jnp.concatenate([moved, _state_change(cell, local, still, {})]) if len(still) else moved


def _seen(cell: Cell) -> list[int]:
    """State variables that sources depend on."""
    return sorted({d for used in structure(cell).source_uses for d in used.states})


def seen_columns(cell: Cell, size: int) -> tuple[int, int] | None:
    """Columns of a frame (P, D·N) that sources depend on, from … to; none where these are all, or not in one piece."""
    seen = _seen(cell)
    whole = len(seen) in (0, len(cell.state_names)) or seen != list(range(seen[0], seen[-1] + 1))
    return None if whole else (seen[0] * size, (seen[-1] + 1) * size)


def _source_change(
    cell: Cell, group: Group, local: Local, frame: jax.Array, changes: dict[int, jax.Array]
) -> jax.Array:
    """δv of a group, (P, N)."""
    _, _, v_s, v_x = local
    row = group.members[0]
    used = structure(cell).source_uses[row]
    terms = [v_s[:, row, d] * frame[:, d] for d in used.states]
    terms += [v_x[:, row, j] * changes[j] for j in used.preactivations if j in changes]
    return sum(terms[1:], terms[0]) if terms else jnp.zeros_like(frame[:, 0])


def _state_change(cell: Cell, local: Local, frame: jax.Array, changes: dict[int, jax.Array]) -> jax.Array:
    """δs', (P, D, N)."""
    f_s, f_x, _, _ = local
    rows = []
    for d, used in enumerate(structure(cell).update_uses):
        terms = [f_s[:, d, e] * frame[:, e] for e in used.states]
        terms += [f_x[:, d, k] * changes[k] for k in used.preactivations if k in changes]
        rows.append(sum(terms[1:], terms[0]) if terms else jnp.zeros_like(frame[:, 0]))
    return jnp.stack(rows, axis=1)


def _blocks(cell: Cell, weights: Weights, local: Local) -> dict[tuple[int, int], jax.Array]:
    """∂s'_d/∂s_e by way of the pre-activations, (N, N) by (d, e)."""
    _, f_x, v_s, v_x = local
    known = structure(cell)
    responses: dict[tuple[int, int], jax.Array] = {}  # ∂x_k/∂s_e
    for group in known.groups:
        row = group.members[0]
        used = known.source_uses[row]
        for k in (k for k in group.members if k in weights):
            for e in _seen(cell):
                inner = [v_x[:, row, j, None] * responses[j, e] for j in used.preactivations if (j, e) in responses]
                terms = [weights[k] * v_s[:, row, e]] if e in used.states else []
                terms += [weights[k] @ sum(inner[1:], inner[0])] if inner else []
                if terms:
                    responses[k, e] = sum(terms[1:], terms[0])
    blocks = {}
    for d, used in enumerate(known.update_uses):
        for e in _seen(cell):
            terms = [f_x[:, d, k, None] * responses[k, e] for k in used.preactivations if (k, e) in responses]
            if terms:
                blocks[d, e] = sum(terms[1:], terms[0])
    return blocks


def _apply_blocks(cell: Cell, local: Local, frame: jax.Array, blocks: dict[tuple[int, int], jax.Array]) -> jax.Array:
    rows = []
    for d, used in enumerate(structure(cell).update_uses):
        terms = [local[0][:, d, e] * frame[:, e] for e in used.states]
        terms += [frame[:, e] @ block.T for (row, e), block in blocks.items() if row == d]
        rows.append(sum(terms[1:], terms[0]) if terms else jnp.zeros_like(frame[:, 0]))
    return jnp.stack(rows, axis=1)
