"""What neurons add to the equations over a window (`ring`): batched algebra, by NumPy or, on an accelerator, by JAX."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Wiring:
    """What is the same for all neurons, see `Histories`.

    Attributes:
        memory: states that remember.
        members: pre-activations of each group.
        at_once: groups whose source answers a pre-activation directly.
        drives: for each state that remembers, then each source that answers at once: which pre-activations act on it.
        late: which sources are taken one step later.
    """

    memory: int
    members: tuple[tuple[int, ...], ...]
    at_once: tuple[int, ...]
    drives: tuple[tuple[bool, ...], ...]
    late: tuple[bool, ...]

    def acting(self, group: int, a: int, b: int) -> list[int]:
        """Pre-activations of a group that act on both channels."""
        return [k for k in self.members[group] if self.drives[a][k] and self.drives[b][k]]


class Local(NamedTuple):
    """Local derivatives divided by e^s for each step that they carry on, as in `Histories`."""

    f_s: Any
    f_x: Any
    c_s: Any
    c_x: Any


class Kernels(NamedTuple):
    """P̂, 1/P̂ and Q̂ in the time domain, (G, m, m)."""

    p: Any
    p_inverse: Any
    q: Any


class Sums(NamedTuple):
    """Sums over neurons, (G, m, m) or scalar, and the log det of each, (n,)."""

    direct: Any
    sandwiched: Any
    answers: Any
    slope: Any
    log_det: Any


@partial(jax.jit, static_argnums=(0, 4))
def sums_on_device(wiring: Wiring, local: Local, kernels: Kernels, turn: Any, full: bool) -> Sums:
    """`sums` by JAX."""
    return sums(jnp, wiring, local, kernels, turn, full)


def sums(xp: Any, wiring: Wiring, local: Local, kernels: Kernels, turn: Any, full: bool) -> Sums:
    """c_s G_ss c_s†, A, the matrix whose spectrum is P, slope of log det, all summed over neurons; and each log det.

    G is the inverse of H, A = W⁻¹ − W⁻¹ [c_s, Z†] G [c_s, Z†]† W⁻¹ for sources that answer at once.

    Args:
        xp: numpy, or jax.numpy.
        wiring: of the neurons.
        local: their derivatives.
        kernels: P̂ and Q̂.
        turn: e^{iχ}, a real number at χ = π.
        full: whether slopes and log dets are wanted; they are 0 otherwise.
    """
    n, m = local.f_s.shape[:2]
    memory, count, groups = wiring.memory, len(wiring.at_once), len(wiring.members)
    inputs, noise = _noise(xp, wiring, local, kernels.q)
    before, behind = range(memory), range(memory, memory + count)
    y, z, v = (
        _blocks(xp, noise, rows, columns, n, m) for rows, columns in ((before,) * 2, (before, behind), (behind,) * 2)
    )
    w_inverse, log_det, slope = v, xp.zeros(n), 0.0
    if count:
        w = v + _diagonal(xp, [kernels.p_inverse[g] for g in wiring.at_once], m)
        w_inverse, log_det = xp.linalg.inv(w), _log_det(xp, w, full)
    direct, adjoint = xp.zeros((groups, m, m)), w_inverse
    if memory:
        seen = _seen(xp, wiring, local, w_inverse)
        carried = z @ w_inverse
        corner = _shift(xp, local.f_s, turn) + z @ seen
        h = _square(
            xp, _remembered(xp, wiring, local, kernels, seen), _dagger(xp, corner), corner, carried @ _dagger(xp, z) - y
        )
        inverse = xp.linalg.inv(h)
        log_det = log_det + _log_det(xp, h, full)
        edge = memory * m
        states, mixed = inverse[:, :edge, :edge], inverse[:, :edge, edge:]
        direct = _direct(xp, wiring, local, states)
        both = xp.concatenate([seen, _dagger(xp, carried)], axis=2)
        crossed = both @ inverse
        passed = crossed[:, :, edge:]
        adjoint = _square(
            xp, -inverse[:, edge:, edge:], _dagger(xp, passed), passed, w_inverse - crossed @ _dagger(xp, both)
        )
        if full:
            slope = _local_slope(xp, local, mixed) + _late_slope(xp, wiring, local, crossed[:, :, :edge])
    if full:
        slope = slope - _noise_slope(xp, wiring, adjoint, noise)
    return Sums(direct, _sandwiched(xp, wiring, adjoint, m), _answers(xp, wiring, inputs, adjoint, m), slope, log_det)


def _dagger(xp: Any, a: Any) -> Any:
    return xp.conj(xp.swapaxes(a, -1, -2))


def _log_det(xp: Any, matrices: Any, wanted: bool) -> Any:
    return xp.linalg.slogdet(matrices)[1] if wanted else xp.zeros(len(matrices))


def _square(xp: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    return xp.concatenate([xp.concatenate([a, b], axis=2), xp.concatenate([c, d], axis=2)], axis=1)


def _blocks(xp: Any, blocks: dict[tuple[int, int], Any], rows: range, columns: range, n: int, m: int) -> Any:
    """Blocks (n, m, m) in one matrix."""
    if not len(rows) or not len(columns):
        return xp.zeros((n, len(rows) * m, len(columns) * m))
    return xp.concatenate([xp.concatenate([blocks[a, b] for b in columns], axis=2) for a in rows], axis=1)


def _diagonal(xp: Any, blocks: list[Any], m: int) -> Any:
    """Blocks (m, m) along the diagonal of one matrix."""
    size, none = len(blocks), xp.zeros((m, m))
    rows = [xp.concatenate([block if i == j else none for j in range(size)], axis=1) for i, block in enumerate(blocks)]
    return xp.concatenate(rows, axis=0)


def _noise(xp: Any, wiring: Wiring, local: Local, q: Any) -> tuple[list[Any], dict[tuple[int, int], Any]]:
    """The channels through which pre-activations act, (K, n, m) each, and the covariances between them under Q̂."""
    channels = [local.f_x[:, :, i] for i in range(wiring.memory)] + [local.c_x[:, :, g] for g in wiring.at_once]
    inputs = [xp.transpose(a, (2, 0, 1)) for a in channels]
    n, m = local.f_s.shape[:2]
    found = {}
    for a in range(len(inputs)):
        for b in range(a, len(inputs)):
            total = xp.zeros((n, m, m), q.dtype)
            for g in range(len(wiring.members)):
                members = wiring.acting(g, a, b)
                if members:
                    total = total + _outer(xp, inputs[a], inputs[b], members) * q[g]
            found[a, b] = total
            if a != b:
                found[b, a] = _dagger(xp, total)
    return inputs, found


def _outer(xp: Any, left: Any, right: Any, members: list[int]) -> Any:
    """Σ_k left_k(t) right_k(t') over some pre-activations, (n, m, m)."""
    kept = np.array(members)
    return xp.transpose(left[kept], (1, 2, 0)) @ xp.transpose(right[kept], (1, 0, 2))


def _answers(xp: Any, wiring: Wiring, inputs: list[Any], adjoint: Any, m: int) -> Any:
    """Σ_k Σ_channels N_k(t) Θ(t, t') N_k(t') of each group, summed over neurons: (G, m, m)."""
    out = []
    for g in range(len(wiring.members)):
        total = xp.zeros((m, m), adjoint.dtype)
        for a in range(len(inputs)):
            for b in range(len(inputs)):
                members = wiring.acting(g, a, b)
                if members:
                    block = adjoint[:, a * m : (a + 1) * m, b * m : (b + 1) * m]
                    total = total + xp.einsum("ntr,ntr->tr", _outer(xp, inputs[a], inputs[b], members), block)
        out.append(total)
    return xp.stack(out)


def _seen(xp: Any, wiring: Wiring, local: Local, w_inverse: Any) -> Any:
    """W⁻¹ c_s, c_s being diagonal in time: (n, count·m, memory·m)."""
    n, m = local.f_s.shape[:2]
    if not wiring.at_once:
        return xp.zeros((n, 0, wiring.memory * m))
    columns = []
    for i in range(wiring.memory):
        parts = [
            w_inverse[:, :, j * m : (j + 1) * m] * local.c_s[:, None, :, g, i] for j, g in enumerate(wiring.at_once)
        ]
        columns.append(sum(parts[1:], parts[0]))
    return xp.concatenate(columns, axis=2)


def _remembered(xp: Any, wiring: Wiring, local: Local, kernels: Kernels, seen: Any) -> Any:
    """c_s† W⁻¹ c_s, of all sources."""
    n, m = local.f_s.shape[:2]
    blocks = {}
    for i in range(wiring.memory):
        for j in range(wiring.memory):
            total = xp.zeros((n, m, m), kernels.p.dtype)
            for g in range(len(wiring.members)):
                c = local.c_s[:, :, g, i, None]
                if g in wiring.at_once:
                    k = wiring.at_once.index(g)
                    total = total + c * seen[:, k * m : (k + 1) * m, j * m : (j + 1) * m]
                else:
                    total = total + c * kernels.p[g] * local.c_s[:, None, :, g, j]
            blocks[i, j] = total
    every = range(wiring.memory)
    return _blocks(xp, blocks, every, every, n, m)


def shift(f_s: np.ndarray, turn: Any) -> np.ndarray:
    """L of each neuron: the step back, with e^{iχ} where the window closes, less f_s; (n, memory·m, memory·m)."""
    return _shift(np, f_s, turn)


def _shift(xp: Any, f_s: Any, turn: Any) -> Any:
    n, m, memory = f_s.shape[:3]
    back = np.eye(m, k=1)
    corner = np.zeros((m, m))
    corner[m - 1, 0] = 1.0
    step, eye = back + turn * corner, np.eye(m)
    blocks = {
        (i, j): (step if i == j else 0.0) - f_s[:, :, i, j, None] * eye for i in range(memory) for j in range(memory)
    }
    return _blocks(xp, blocks, range(memory), range(memory), n, m)


def _direct(xp: Any, wiring: Wiring, local: Local, states: Any) -> Any:
    """c_s G_ss c_s† of sources that only states that remember move, summed over neurons: (G, m, m)."""
    m, out = local.f_s.shape[1], []
    for g in range(len(wiring.members)):
        total = xp.zeros((m, m), states.dtype)
        if g not in wiring.at_once:
            for i in range(wiring.memory):
                for j in range(wiring.memory):
                    block = states[:, i * m : (i + 1) * m, j * m : (j + 1) * m]
                    left, right = local.c_s[:, :, g, i, None], local.c_s[:, None, :, g, j]
                    total = total + xp.sum(left * block * right, axis=0)
        out.append(total)
    return xp.stack(out)


def _sandwiched(xp: Any, wiring: Wiring, adjoint: Any, m: int) -> Any:
    """A of sources that answer at once, summed over neurons: (G, m, m)."""
    out = []
    for g in range(len(wiring.members)):
        if g in wiring.at_once:
            k = wiring.memory + wiring.at_once.index(g)
            out.append(xp.sum(adjoint[:, k * m : (k + 1) * m, k * m : (k + 1) * m], axis=0))
        else:
            out.append(xp.zeros((m, m), adjoint.dtype))
    return xp.stack(out)


def _local_slope(xp: Any, local: Local, mixed: Any) -> Any:
    """2 Re tr(G_sμ f_s): what f_s ∝ e^{−s} adds to ∂ log det/∂s."""
    m, memory = local.f_s.shape[1:3]
    total = 0.0
    for i in range(memory):
        for j in range(memory):
            diagonal = xp.einsum("ntt->nt", mixed[:, j * m : (j + 1) * m, i * m : (i + 1) * m])
            total = total + 2.0 * xp.sum(xp.real(diagonal) * local.f_s[:, :, i, j])
    return total


def _late_slope(xp: Any, wiring: Wiring, local: Local, crossed: Any) -> Any:
    """What c_s ∝ e^{−s} adds to it, for sources that read what was just written."""
    m, total = local.f_s.shape[1], 0.0
    for k, g in enumerate(wiring.at_once):
        for i in range(wiring.memory) if wiring.late[g] else ():
            diagonal = xp.einsum("ntt->nt", crossed[:, k * m : (k + 1) * m, i * m : (i + 1) * m])
            total = total - 2.0 * xp.sum(xp.real(diagonal) * local.c_s[:, :, g, i])
    return total


def _noise_slope(xp: Any, wiring: Wiring, adjoint: Any, noise: dict[tuple[int, int], Any]) -> Any:
    """Σ (powers of e^{−s} in a covariance) Re tr(Θ covariance): minus what noises add to it."""
    powers = [1.0] * wiring.memory + [float(wiring.late[g]) for g in wiring.at_once]
    total = 0.0
    for (a, b), covariance in noise.items():
        m = covariance.shape[1]
        block = adjoint[:, a * m : (a + 1) * m, b * m : (b + 1) * m]
        # Θ and covariance are Hermitian
        products = xp.real(block) * xp.real(covariance) + xp.imag(block) * xp.imag(covariance)
        total = total + (powers[a] + powers[b]) * xp.sum(products)
    return total
