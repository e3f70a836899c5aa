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

import warnings
from dataclasses import dataclass

import numpy as np

from gatefield.numerics.algebra import (
    ComplexArray,
)
from gatefield.spectra.evaluator import Evaluator
from gatefield.spectra.response import Response

_TOLERANCE = 1e-5  # relative residual at which one more Newton step is the last
_MAX_ITERATIONS = 60
_COARSE = 8  # the first iterations use every 8th neuron
_STRIDE = 4
_MANY = 4000  # neurons from which that pays
_DEEP = 0.5  # support exponent above which every 8th neuron is enough to call a point inside, and below minus which out
_AXIS, _OFF_AXIS = 1e-4, 5e-4  # λ nearer to the real axis than that may meet poles; where rounding does not
_POLE_DISTANCE = 1e-6  # λ is kept this far off the real axis, where F_s has its eigenvalues


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
    return np.log(np.maximum(_perron(Evaluator(response)("transfer", points)), 1e-300))


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
    evaluate = Evaluator(response)
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


def _start_from_part(response: Response, evaluate: Evaluator, points: ComplexArray) -> tuple[np.ndarray, np.ndarray]:
    """Which points are inside, and a first (log P, log Q) there from a part of the neurons.

    Their average is multiplied by the number that gives their T the Perron eigenvalue of all neurons': near the edge
    the solution depends on little else.
    """
    coarse = Evaluator(response.part(slice(None, None, _COARSE)))
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
    evaluate: Evaluator, points: ComplexArray, log_u: np.ndarray
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
    evaluate: Evaluator, points: np.ndarray, log_u: np.ndarray, factor: np.ndarray | None = None
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
    evaluate = Evaluator(response)
    g = np.array(evaluate("bare", points))
    inside = np.nonzero(solution.inside)[0]
    if len(inside):
        g[inside] += evaluate("resolvent", points[inside], solution.p[inside], solution.q[inside])
    return g


def column_traces(split: Response, points: ComplexArray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """E tr(A M_k) of each column by itself, (points, columns), from P (points, G) and each column's Q."""
    return Evaluator(split)("parts", points, p, q)


def density(response: Response, points: ComplexArray, solution: Solution) -> np.ndarray:
    """Density of eigenvalues at each point, integrating to D; atoms are left out."""
    values = np.zeros(len(points))
    inside = np.nonzero(solution.inside)[0]
    if len(inside) == 0:
        return values
    evaluate = Evaluator(response)
    values[inside] = _density(
        evaluate, points[inside], solution.p[inside], solution.q[inside], solution.hessian[inside]
    )
    noisy = _noisy(evaluate, points, solution, values)
    if len(noisy):
        moved = np.asarray(points[noisy].real + 1j * _OFF_AXIS, np.complex128)
        values[noisy] = density(response, moved, solve(response, moved))
    return values


def _density(
    evaluate: Evaluator, points: ComplexArray, p: np.ndarray, q: np.ndarray, hessian: np.ndarray
) -> np.ndarray:
    laplacian, mixed = evaluate("mixed", points, p, q)
    slope = _gauge_solve(hessian, np.conj(mixed)[..., None])[..., 0]
    return np.real(laplacian - np.sum(mixed * slope, axis=1)) / np.pi


def _noisy(evaluate: Evaluator, points: ComplexArray, solution: Solution, values: np.ndarray) -> np.ndarray:
    """Points on the real axis where the density is rounding, by what a further Newton step makes of it.

    At a distance r from a neuron's own eigenvalue and with two sources or more, M is 1/r² times a matrix of rank one:
    what the inverse of 1 + PM has left is rounding from r ~ 1e-4 down.
    """
    near = np.nonzero(solution.inside & (points.imag < _AXIS))[0]
    if evaluate.shape[0] < 2:  # one source: an island's edge, where the density is a difference of large numbers
        return near[values[near] < 0.0]
    if len(near) == 0:
        return near
    p, q = solution.p[near], solution.q[near]
    gradient, hessian = evaluate("newton", points[near], p, q, np.ones(len(near)))
    log_u = np.log(np.concatenate([p, q], axis=1)) - _gauge_solve(hessian, gradient[..., None])[..., 0]
    p, q = np.split(np.exp(log_u), 2, axis=1)
    again, first = _density(evaluate, points[near], p, q, hessian), values[near]
    return near[(np.abs(again - first) > 1e-4 * np.abs(first)) | (first < 0.0)]
