"""Averages over the neurons of a snapshot at many λ, compiled: all that the Dyson equation needs of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.snapshot import padded
from gatefield.numerics.algebra import (
    Complex,
    Matrix,
    combine,
    dagger,
    inverse,
    matmul,
    total,
    trace_product,
)
from gatefield.spectra.response import Response, Shape

_WORK = 2**17  # λ times neurons per compiled call
_POINTS = (16, 128)  # λ per compiled call, at least and at most

Arrays = tuple[jax.Array, ...]
# ---- averages over neurons at one λ (compiled, vectorised over λ) ----


def _powers(z: jax.Array, count: int) -> list[Complex]:
    """Powers of λ from 0 to `count`."""
    out = [Complex(1.0)]
    for _ in range(count):
        out.append(out[-1] * Complex(jnp.real(z), jnp.imag(z)))
    return out


def _polynomial(poly: jax.Array, powers: list[Complex], derivative: int = 0) -> Complex:
    """p(λ), or its first derivative, over neurons."""
    degree = len(poly) - 1
    parts = []
    for i, coefficient in enumerate(poly):
        power = degree - i
        if power >= derivative:
            parts.append(powers[power - derivative].scale(coefficient * (power if derivative else 1.0)))
    return total(parts)


@dataclass(frozen=True, eq=False)
class _Local:
    """M_g and, where asked, ∂_λ M_g and ∂_λ ∂_λ̄ M_g at one λ, and p'/p, all over neurons."""

    ms: list[Matrix]
    dms: list[Matrix]
    ddms: list[Matrix]
    log_slope: Complex


def _local(shape: Shape, arrays: Arrays, z: jax.Array, derivatives: int = 0) -> _Local:
    size, _ = shape
    powers = _powers(z, len(arrays[1]))
    p = _polynomial(arrays[1], powers)
    scale = 1.0 / p.squared()
    slope = _polynomial(arrays[1], powers, 1) * p.conj().scale(scale)
    every = [(g, i, j) for g in range(size) for i in range(size) for j in range(size)]
    m = _quotients(shape, arrays[0], powers, scale, (0, 0))
    dm, ddm, n10 = _zeros(size), _zeros(size), _zeros(size)
    if derivatives >= 1:  # ∂M = ∂N/|p|² − M p'/p for M = N/|p|²
        n10 = _quotients(shape, arrays[0], powers, scale, (1, 0))
        for g, i, j in every:
            dm[g][i][j] = n10[g][i][j] - m[g][i][j] * slope
    if derivatives >= 2:
        n11 = _quotients(shape, arrays[0], powers, scale, (1, 1))
        for g, i, j in every:
            if i <= j:
                entry = n11[g][i][j] - n10[g][i][j] * slope.conj() - dm[g][j][i].conj() * slope
                ddm[g][j][i] = entry.conj()
                ddm[g][i][j] = Complex(entry.re) if i == j else entry
    return _Local(m, dm, ddm, slope)


def _zeros(size: int, groups: int | None = None) -> list[Matrix]:
    return [[[Complex(0.0)] * size for _ in range(size)] for _ in range(size if groups is None else groups)]


def _quotients(
    shape: Shape, coefficients: jax.Array, powers: list[Complex], scale: jax.Array, order: tuple[int, int]
) -> list[Matrix]:
    """∂_λ^order[0] ∂_λ̄^order[1] of the polynomials |p|² M_g, times `scale`; orders 0 or 1.

    Hermitian where the orders are equal.
    """
    size, terms = shape
    left, right = order
    parts: dict[tuple[int, int, int], list[Complex]] = {}
    groups = max([size, *(term[0] + 1 for term in terms)])
    for (g, i, j, a, b), c in zip(terms, coefficients, strict=True):
        mirrored = [(j, i, b, a)] if i != j and left != right else []  # M_ji = conj M_ij
        for row, column, u, v in [(i, j, a, b), *mirrored]:
            if u >= left and v >= right:
                monomial = powers[u - left] * powers[v - right].conj()
                factor = float((u if left else 1) * (v if right else 1))
                parts.setdefault((g, row, column), []).append(monomial.scale(c * factor))
    out = _zeros(size, groups)
    for (g, i, j), summands in parts.items():
        entry = total(summands).scale(scale)
        if left == right:
            out[g][j][i] = entry.conj()
            entry = Complex(entry.re) if i == j else entry
        out[g][i][j] = entry
    return out


def _solution_matrices(ms: list[Matrix], p: jax.Array, q: jax.Array) -> tuple[Matrix, Matrix, Matrix]:
    """A = P(1 + MP)^{-1}, B = M(1 + PM)^{-1} and C = (1 + MP)^{-1} from S = 1 + √P M √P."""
    size = range(len(ms[0]))
    root = [jnp.sqrt(p[g]) for g in size]
    m = combine([q[g] for g in range(len(ms))], ms)
    s = [[m[i][j].scale(root[i] * root[j]) + Complex(1.0 if i == j else 0.0) for j in size] for i in size]
    s_inverse = inverse(s)
    a = [[s_inverse[i][j].scale(root[i] * root[j]) for j in size] for i in size]
    c = [[s_inverse[i][j].scale(root[j] / root[i]) for j in size] for i in size]
    return a, matmul(c, m), c


def _transfer(shape: Shape, arrays: Arrays, z: jax.Array) -> jax.Array:
    """T_gh = E (M_h)_gg, whose Perron eigenvalue is at least 1 inside the support: (G, G)."""
    ms, rows = _local(shape, arrays, z).ms, range(shape[0])
    return jnp.stack([jnp.stack([jnp.sum(arrays[2] * ms[h][g][g].re) for h in rows]) for g in rows])


def _gradient_and_hessian(
    shape: Shape, arrays: Arrays, z: jax.Array, p: jax.Array, q: jax.Array, factor: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Gradient (2G,) and Hessian (2G, 2G) of Ψ in (log P, log Q), its average multiplied by `factor`."""
    ms, rows = _local(shape, arrays, z).ms, range(shape[0])
    a, b, c = _solution_matrices(ms, p, q)

    def mean(values: Any) -> jax.Array:
        return factor * jnp.sum(arrays[2] * values)

    am = [matmul(a, m) for m in ms]
    left = [p[g] * (mean(b[g][g].re) - q[g]) for g in rows]
    right = [q[g] * (mean(total([am[g][i][i] for i in rows]).re) - p[g]) for g in rows]
    gradient = jnp.stack(left + right)
    cmc = [matmul(matmul(c, m), dagger(c)) for m in ms]
    pp = _symmetric(lambda g, h: -p[g] * p[h] * mean(b[g][h].squared()), len(ms))
    qq = _symmetric(lambda g, h: -q[g] * q[h] * mean(trace_product(am[g], am[h]).re), len(ms))
    pq = jnp.stack([jnp.stack([p[g] * q[h] * (mean(cmc[h][g][g].re) - (g == h)) for h in rows]) for g in rows])
    top, bottom = jnp.concatenate([pp, pq], axis=1), jnp.concatenate([pq.T, qq], axis=1)
    return gradient, jnp.concatenate([top, bottom]) + jnp.diag(gradient)


def _symmetric(entry: Callable[[int, int], Any], size: int) -> jax.Array:
    """The symmetric matrix of entry(i, j), each called once."""
    upper = {(i, j): entry(i, j) for i in range(size) for j in range(i, size)}
    return jnp.stack([jnp.stack([upper[min(i, j), max(i, j)] for j in range(size)]) for i in range(size)])


def _resolvent(shape: Shape, arrays: Arrays, z: jax.Array, p: jax.Array, q: jax.Array) -> jax.Array:
    """E tr(A ∂M): what G(λ) has inside the support beside E p'/p."""
    local = _local(shape, arrays, z, 1)
    a, _, _ = _solution_matrices(local.ms, p, q)
    return _mean(arrays, trace_product(a, combine([q[g] for g in range(shape[0])], local.dms)))


def _parts(shape: Shape, arrays: Arrays, z: jax.Array, p: jax.Array, q: jax.Array) -> jax.Array:
    """E tr(A M_k) for the M_k of `split_response`, q being the Q of each."""
    ms = _local(shape, arrays, z).ms
    joint = combine([q[k] for k in range(len(ms))], ms)
    a, _, _ = _solution_matrices([joint], p, jnp.ones(1))
    return jnp.stack([_mean(arrays, trace_product(a, m)).real for m in ms])


def _bare_resolvent(shape: Shape, arrays: Arrays, z: jax.Array) -> jax.Array:
    """E p'/p: G outside the support."""
    return _mean(arrays, _local(shape, arrays, z).log_slope)


def _mean(arrays: Arrays, value: Complex) -> jax.Array:
    return jnp.sum(arrays[2] * value.re) + 1j * (0.0 if value.im is None else jnp.sum(arrays[2] * value.im))


def _mixed_derivatives(
    shape: Shape, arrays: Arrays, z: jax.Array, p: jax.Array, q: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """∂_λ ∂_λ̄ Ψ, a real number, and ∂_λ of Ψ's gradient in (log P, log Q), (2G,) complex."""
    local, rows = _local(shape, arrays, z, 2), range(shape[0])
    a, _, c = _solution_matrices(local.ms, p, q)
    weights = [q[g] for g in rows]
    dm, ddm = combine(weights, local.dms), combine(weights, local.ddms)
    adm = matmul(a, dm)
    laplacian = trace_product(a, ddm) - trace_product(adm, matmul(a, dagger(dm)))
    cdc = matmul(matmul(c, dm), dagger(c))
    left = [p[g] * _mean(arrays, cdc[g][g]) for g in rows]
    right = [
        q[g] * _mean(arrays, trace_product(a, local.dms[g]) - trace_product(matmul(a, local.ms[g]), adm)) for g in rows
    ]
    return jnp.sum(arrays[2] * laplacian.re), jnp.stack(left + right)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "transfer": _transfer,
    "newton": _gradient_and_hessian,
    "bare": _bare_resolvent,
    "resolvent": _resolvent,
    "parts": _parts,
    "mixed": _mixed_derivatives,
}


@partial(jax.jit, static_argnums=(0, 1))
def _mapped(name: str, shape: Shape, arrays: Arrays, points: tuple[jax.Array, ...]) -> Any:
    return jax.lax.map(lambda point: _FUNCTIONS[name](shape, arrays, *point), points)


class Evaluator:
    """Averages of one response at many λ: compiled calls of a fixed size, spread over threads."""

    def __init__(self, response: Response) -> None:
        self.shape: Shape = (response.size, response.terms)
        weights = np.pad(response.weights, (0, len(padded(response.weights)) - len(response.weights)))
        with jax.enable_x64(True):
            self.arrays: Arrays = tuple(
                jax.device_put(a) for a in (padded(response.coefficients, 1), padded(response.poly, 1), weights)
            )

    def __call__(self, name: str, *per_point: np.ndarray) -> Any:
        """`name` at each point; the first axes of arguments and results run over points."""
        count = len(per_point[0])
        length = int(np.clip(_WORK // len(self.arrays[2]), *_POINTS))
        chunks = [tuple(_padded(a[i : i + length], length) for a in per_point) for i in range(0, count, length)]
        first = self._call(name, chunks[0])  # compiles, before other threads ask for it
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            results = [first, *pool.map(lambda chunk: self._call(name, chunk), chunks[1:])]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *results)

    def _call(self, name: str, chunk: tuple[np.ndarray, ...]) -> Any:
        with jax.enable_x64(True):  # the setting is per thread
            return jax.tree.map(np.asarray, _mapped(name, self.shape, self.arrays, chunk))


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    missing = length - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values
