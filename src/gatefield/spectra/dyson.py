"""The Dyson equation of a random Jacobian, for any cell [CKS 54–58]; [CKS App. B, App. G] are special cases.

With R = (λ − F_s)^{-1} per neuron, Γ = V_s R F_x + V_x tells how source k answers pre-activation l. Sources that are
shared give equal rows, so Γ is kept as G distinct rows, its columns scaled by the gains a_l:

    M_g(λ) = Σ_{l in group g} a_l² Γ_·l Γ_·l†      (G×G, Hermitian, per neuron),   M = Σ_g Q_g M_g.

The K pairs (p_k, q_k) reduce to G pairs, P_g = Σ_{k in g} p_k and q_k = a_k² Q_g, stationary points of

    Ψ(P, Q) = E log det(1 + P̂ M) − Σ_g P_g Q_g,

that is Q_g = E B_gg and P_g = E tr(A M_g), with A = P̂ (1 + M P̂)^{-1} and B = M (1 + P̂ M)^{-1}. Then

    G(λ) = E tr(λ − J)^{-1}/N = E p'(λ)/p(λ) + E tr(A ∂M),   p = det(λ − F_s),

and the density (1/π) ∂G/∂λ̄ follows from the second derivatives of Ψ, P and Q being eliminated implicitly. One-row
cells (LSTM, vanilla, reset-after GRU) have G = 1, where this is the scalar equation [CKS 29] with F = 1/(P Q).

|p|² M_g is a polynomial in λ and λ̄ with real coefficients (see `response`): what is left at each λ is a few products
per neuron. G×G inverses are written out.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.numerics.algebra import (
    Complex,
    ComplexArray,
    Matrix,
    combine,
    dagger,
    inverse,
    matmul,
    total,
    trace_product,
)
from gatefield.spectra.response import Response, Shape

_TOLERANCE = 1e-5  # relative residual at which one more Newton step is the last
_MAX_ITERATIONS = 60
_WORK = 2**17  # λ times neurons per compiled call
_POINTS = (16, 128)  # λ per compiled call, at least and at most
_COARSE = 8  # the first iterations use every 8th neuron
_STRIDE = 4
_MANY = 4000  # neurons from which that pays
_DEEP = 0.5  # support exponent above which every 8th neuron is enough to call a point inside, and below minus which out
_AXIS, _OFF_AXIS = 1e-4, 5e-4  # λ nearer to the real axis than that may meet poles; where rounding does not
_POLE_DISTANCE = 1e-6  # λ is kept this far off the real axis, where F_s has its eigenvalues

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


class _Evaluator:
    """Averages of one response at many λ: compiled calls of a fixed size, spread over threads."""

    def __init__(self, response: Response) -> None:
        self.shape: Shape = (response.size, response.terms)
        with jax.enable_x64(True):
            self.arrays: Arrays = tuple(
                jax.device_put(a) for a in (response.coefficients, response.poly, response.weights)
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


# ---- solving ----


class UnsolvedWarning(RuntimeWarning):
    """The Dyson equation is not solved at some points; what was computed there is not to be trusted."""


@dataclass(frozen=True, eq=False)
class Solution:
    """P, Q (points, G), zero outside the support, and how well they are known.

    Attributes:
        residual: largest relative residual of their equations at the last evaluation, which one more Newton step
            followed, (points,).
        hessian: of Ψ in (log P, log Q) there, (points, 2G, 2G).
    """

    p: np.ndarray
    q: np.ndarray
    residual: np.ndarray
    hessian: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Which points lie in the support."""
        return np.any(self.p > 0.0, axis=1)

    @property
    def converged(self) -> np.ndarray:
        """Which points have been solved."""
        return self.residual <= _TOLERANCE


def off_poles(points: ComplexArray) -> ComplexArray:
    """λ moved off the real axis by 1e-6 where closer, and into the upper half plane (the spectrum is symmetric)."""
    return points.real + 1j * np.maximum(np.abs(points.imag), _POLE_DISTANCE)


def log_perron(response: Response, points: ComplexArray) -> np.ndarray:
    """log of the Perron eigenvalue of T(λ) at each point: at least 0 inside the support."""
    if response.size == 0:
        return np.full(len(points), -np.inf)
    return np.log(_perron(_Evaluator(response)("transfer", points)))


def _perron(matrices: np.ndarray) -> np.ndarray:
    if matrices.shape[-1] == 1:
        return matrices[..., 0, 0]
    return np.max(np.linalg.eigvals(matrices).real, axis=-1)


def solve(response: Response, points: ComplexArray) -> Solution:
    """P and Q at each point: Newton on a part of the neurons, then on all.

    Warns:
        UnsolvedWarning: some points are not solved.
    """
    size = response.size
    p, q = np.zeros((len(points), size)), np.zeros((len(points), size))
    residual, hessian = np.zeros(len(points)), np.zeros((len(points), 2 * size, 2 * size))
    solution = Solution(p, q, residual, hessian)
    if size == 0:
        return solution
    evaluate = _Evaluator(response)
    if len(response.weights) >= _MANY:
        inside, log_u = _start_from_part(response, evaluate, points)
        u, *known = _newton_by_neighbours(evaluate, points[inside], log_u)
    else:
        transfer = evaluate("transfer", points)
        inside = np.nonzero(_perron(transfer) > 1.0)[0]
        u, *known = _newton(evaluate, points[inside], _first_guess(transfer[inside]))
    residual[inside], hessian[inside] = known
    p[inside], q[inside] = np.exp(u[:, :size]), np.exp(u[:, size:])
    unsolved = np.count_nonzero(~solution.converged)
    if unsolved:
        message = (
            f"the Dyson equation is not solved at {unsolved} of {len(points)} points (largest relative residual "
            f"{residual.max():.2g}); more samples make it smoother"
        )
        warnings.warn(message, UnsolvedWarning, stacklevel=3)
    return solution


def _start_from_part(response: Response, evaluate: _Evaluator, points: ComplexArray) -> tuple[np.ndarray, np.ndarray]:
    """Which points are inside, and a first (log P, log Q) there from a part of the neurons.

    Their average is multiplied by the number that gives their T the Perron eigenvalue of all neurons': near the edge
    the solution depends on little else.
    """
    coarse = _Evaluator(response.part(slice(None, None, _COARSE)))
    transfer = coarse("transfer", points)
    rough = _perron(transfer)
    factor = np.ones(len(points))
    near = np.nonzero(np.abs(np.log(np.maximum(rough, 1e-300))) < _DEEP)[0]
    if len(near):
        factor[near] = _perron(evaluate("transfer", points[near])) / rough[near]
    inside = np.nonzero(factor * rough > 1.0)[0]
    factor = factor[inside]
    guess = _first_guess(factor[:, None, None] * transfer[inside])
    log_u, residual, _ = _newton(coarse, points[inside], guess, factor)
    return inside, np.where((residual <= _TOLERANCE)[:, None], log_u, guess)


def _first_guess(transfer: np.ndarray) -> np.ndarray:
    """Perron vectors of T, their product set as for a single equal response: (points, 2G) logarithms."""
    size = transfer.shape[-1]
    if len(transfer) == 0:
        return np.zeros((0, 2 * size))
    left = right = np.ones(transfer.shape[:-1])
    for _ in range(30):
        right = np.einsum("ngh,nh->ng", transfer, right)
        left = np.einsum("nhg,nh->ng", transfer, left)
        right, left = right / right.sum(axis=1, keepdims=True), left / left.sum(axis=1, keepdims=True)
    amplitude = size * (1.0 - 1.0 / _perron(transfer)) / np.sum(left * right, axis=1)
    root = np.sqrt(np.maximum(amplitude, 1e-12))[:, None]
    return np.log(np.maximum(np.concatenate([left * root, right * root], axis=1), 1e-12))


def _newton_by_neighbours(
    evaluate: _Evaluator, points: ComplexArray, log_u: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`_newton` at every 4th point; the others start from its corrections interpolated, one evaluation fewer.

    Points that are not solved that way start again from the first guess.
    """
    place = np.empty(len(points), int)
    place[np.lexsort((np.round(points.imag, 9), np.round(points.real, 9)))] = np.arange(len(points))
    anchor = place % _STRIDE == 0
    u, residual = log_u.copy(), np.full(len(points), np.inf)
    hessian = np.empty((len(points), log_u.shape[1], log_u.shape[1]))

    def improve(part: np.ndarray) -> None:
        u[part], residual[part], hessian[part] = _newton(evaluate, points[part], u[part])

    if len(points) == 0:
        return u, residual, hessian
    improve(anchor)
    from_left = np.argsort(place[anchor])
    for c, correction in enumerate((u - log_u)[anchor][from_left].T):
        u[~anchor, c] += np.interp(place[~anchor], place[anchor][from_left], correction)
    improve(~anchor)
    again = residual > _TOLERANCE
    if again.any():
        u[again] = _first_guess(evaluate("transfer", points[again]))
        improve(again)
    return u, residual, hessian


def _newton(
    evaluate: _Evaluator, points: np.ndarray, log_u: np.ndarray, factor: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Newton's method, points that are done dropping out: (log P, log Q), residuals and Hessians."""
    size = log_u.shape[1] // 2
    factor = np.ones(len(points)) if factor is None else factor
    log_u = log_u.copy()
    residual = np.full(len(points), np.inf)
    hessians = np.zeros((len(points), 2 * size, 2 * size))
    active = np.arange(len(points))
    for _ in range(_MAX_ITERATIONS if len(points) else 0):
        p, q = np.exp(log_u[active, :size]), np.exp(log_u[active, size:])
        gradient, hessians[active] = evaluate("newton", points[active], p, q, factor[active])
        relative = gradient / np.concatenate([p * q, p * q], axis=1)
        residual[active] = np.max(np.abs(relative), axis=1)
        log_u[active] += _step(gradient, hessians[active], relative)
        active = active[residual[active] > _TOLERANCE]
        if len(active) == 0:
            break
    return log_u, residual, hessians


def _step(gradient: np.ndarray, hessian: np.ndarray, relative: np.ndarray) -> np.ndarray:
    """Newton step, at most e-fold; where it points the wrong way, half a step of P, Q ← E tr(A M), E B."""
    size = gradient.shape[1] // 2
    newton = -_gauge_solve(hessian, gradient[..., None])[..., 0]
    image = np.log(np.maximum(1.0 + relative, 1e-3))
    fixed_point = 0.5 * np.concatenate([image[:, size:], image[:, :size]], axis=1)
    length = np.max(np.abs(newton), axis=1, keepdims=True)
    uphill = np.sum(newton * fixed_point, axis=1, keepdims=True) < 0.0
    good = np.isfinite(length) & ~uphill
    return np.where(good, newton / np.maximum(length, 1.0), fixed_point)


def _gauge_solve(hessian: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve with the Hessian, singular along the gauge P → cP, Q → Q/c, at right angles to that direction."""
    size = hessian.shape[-1] // 2
    gauge = np.concatenate([np.ones(size), -np.ones(size)]) / np.sqrt(2 * size)
    scale = np.max(np.abs(hessian), axis=(-2, -1), keepdims=True) + 1e-300
    ridge = 1e-14 * scale * np.eye(2 * size)
    matrix = hessian + scale * np.outer(gauge, gauge) - ridge
    try:
        return np.linalg.solve(matrix, right.astype(np.result_type(hessian, right)))
    except np.linalg.LinAlgError:  # a source to which next to nothing responds, to rounding
        return np.linalg.pinv(matrix) @ right


def trace_resolvent(response: Response, points: ComplexArray, solution: Solution) -> ComplexArray:
    """G(λ) at each point, normalised to D/λ at large λ."""
    evaluate = _Evaluator(response)
    g = np.array(evaluate("bare", points))
    inside = np.nonzero(solution.inside)[0]
    if len(inside):
        g[inside] += evaluate("resolvent", points[inside], solution.p[inside], solution.q[inside])
    return g


def column_traces(split: Response, points: ComplexArray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """E tr(A M_k) of each column by itself, (points, columns), from P (points, G) and each column's Q."""
    return _Evaluator(split)("parts", points, p, q)


def density(response: Response, points: ComplexArray, solution: Solution) -> np.ndarray:
    """Density of eigenvalues at each point, integrating to D; atoms are left out."""
    values = np.zeros(len(points))
    inside = np.nonzero(solution.inside)[0]
    if len(inside) == 0:
        return values
    evaluate = _Evaluator(response)
    values[inside] = _density(
        evaluate, points[inside], solution.p[inside], solution.q[inside], solution.hessian[inside]
    )
    noisy = _noisy(evaluate, points, solution, values)
    if len(noisy):
        moved = np.asarray(points[noisy].real + 1j * _OFF_AXIS, np.complex128)
        values[noisy] = density(response, moved, solve(response, moved))
    return values


def _density(
    evaluate: _Evaluator, points: ComplexArray, p: np.ndarray, q: np.ndarray, hessian: np.ndarray
) -> np.ndarray:
    laplacian, mixed = evaluate("mixed", points, p, q)
    slope = _gauge_solve(hessian, np.conj(mixed)[..., None])[..., 0]
    return np.real(laplacian - np.sum(mixed * slope, axis=1)) / np.pi


def _noisy(evaluate: _Evaluator, points: ComplexArray, solution: Solution, values: np.ndarray) -> np.ndarray:
    """Points on the real axis where the density is rounding, by what a further Newton step makes of it.

    At a distance r from a neuron's own eigenvalue and with two sources or more, M is 1/r² times a matrix of rank one:
    what the inverse of 1 + PM has left is rounding from r ~ 1e-4 down.
    """
    if evaluate.shape[0] < 2:
        return np.zeros(0, int)
    near = np.nonzero(solution.inside & (points.imag < _AXIS))[0]
    if len(near) == 0:
        return near
    p, q = solution.p[near], solution.q[near]
    gradient, hessian = evaluate("newton", points[near], p, q, np.ones(len(near)))
    log_u = np.log(np.concatenate([p, q], axis=1)) - _gauge_solve(hessian, gradient[..., None])[..., 0]
    p, q = np.split(np.exp(log_u), 2, axis=1)
    again, first = _density(evaluate, points[near], p, q, hessian), values[near]
    return near[(np.abs(again - first) > 1e-4 * np.abs(first)) | (first < 0.0)]
