"""The Dyson equation of products of Jacobians: a window of a trajectory closed into a ring, time as one more index.

The block-cyclic matrix with the Jacobian J_t in block (t+1, t), t = 0..m−1, has the eigenvalues whose m-th powers are
those of J_{m−1}…J_0: the logarithms of their moduli are the Lyapunov exponents as m grows. It is a matrix of the form
that `dyson` treats, with the same weights at every step. Per sampled window, with the shift S from t to t+1,

    R = (λ − S F_s)^{-1},   Γ = V_s R S F_x + V_x        (G m × K m: rows by distinct source, columns times a_l).

The p and q of `dyson` become m×m matrices over pairs of times. The state being stationary they are circulant, so over
frequencies ω they are positive vectors P_i, i = (g, ω), and Q_j. With Z = √P Γ √Q and W = (1 + Z Z†)^{-1} they make
stationary

    Ψ = E log det(1 + Z Z†) − Σ_i P_i Q_i,

that is P_i Q_i = E (1 − W)_ii = E Σ_{l of i} (Z† W Z)_ll. The fraction of exponents below s = log|λ| is, averaged over
the phase of λ,

    F(s) = (1/mD) ∂Φ/∂s,   Φ = E log|det(λ − S F_s)| + Ψ/2,   at fixed P and Q.

A phase of λ within 2π/m is a twist of the ring; larger phases number the frequencies anew. Complex conjugation halves
that interval again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gatefield.cells import Structure

_SILENT = 1e-20  # share of the whole response below which a pre-activation does not count
_TOLERANCE = 1e-7  # largest residual of P_i Q_i, relative to their mean, at which a solution is accepted
_ITERATIONS = 60
_CHUNK = 2**21  # complex numbers per array of a chunk of windows
_SMALL = 1e-9  # least P Q that a start gives, relative to the largest
_LONGEST = 2.0  # change of log P Q or log P/Q in one step
_FLAT = 1e-4  # curvature below which a step along is shortened
_SOFT = 1e-9  # curvature, relative to the largest, below which a direction is a gauge


@dataclass(frozen=True, eq=False)
class Windows:
    """Local derivatives along windows of m steps of n neurons, gains included.

    Attributes:
        f_s: (n, m, D, D).
        f_x: columns times their gains, (n, m, D, L).
        v_s: one row per group, (n, m, G, D).
        v_x: columns times their gains, (n, m, G, L).
        group_of: the group of each of the L columns.
        batch: the batch of the mean field that each window comes from, (n,).
    """

    f_s: np.ndarray
    f_x: np.ndarray
    v_s: np.ndarray
    v_x: np.ndarray
    group_of: np.ndarray
    batch: np.ndarray

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.f_s)

    @property
    def length(self) -> int:
        """Steps m of a window."""
        return self.f_s.shape[1]

    @property
    def groups(self) -> int:
        """Number of distinct sources that matter."""
        return self.v_s.shape[2]

    @property
    def states(self) -> int:
        """State variables D of a neuron."""
        return self.f_s.shape[2]

    def part(self, kept: Any) -> Windows:
        """Some of the windows."""
        names = ("f_s", "f_x", "v_s", "v_x", "batch")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})

    def shortened(self, pieces: int) -> Windows:
        """The windows cut into `pieces` equal parts, all of them kept."""
        n, m = self.count, self.length // pieces
        names = ("f_s", "f_x", "v_s", "v_x")
        cut = {name: getattr(self, name)[:, : m * pieces] for name in names}
        arrays = {name: a.reshape(n * pieces, m, *a.shape[2:]) for name, a in cut.items()}
        return replace(self, batch=np.repeat(self.batch, pieces), **arrays)


def windows_of(
    structure: Structure, gains: np.ndarray, derivatives: tuple[np.ndarray, ...], batch: np.ndarray
) -> Windows:
    """Windows from F_s, F_x, V_s, V_x, each (n, m, ·, ·), grouped by shared source.

    A pre-activation without gain, or one to which nothing responds, drops out, and so does a source that feeds none
    but such.
    """
    f_s, f_x, v_s, v_x = derivatives
    groups = [[k for k in g.members if gains[k] > 0.0] for g in structure.groups]
    while True:
        groups = [members for members in groups if members]
        rows, columns = [members[0] for members in groups], [k for members in groups for k in members]
        found = Windows(
            f_s,
            f_x[..., columns] * gains[columns],
            v_s[:, :, rows],
            v_x[:, :, rows][..., columns] * gains[columns],
            np.repeat(np.arange(len(groups)), [len(members) for members in groups]).astype(int),
            batch,
        )
        if not groups:
            return found
        gamma = _gamma(found.part(slice(None, None, max(1, found.count // 256))), 1.0 + 0.1j)
        power = np.sum(np.abs(gamma) ** 2, axis=(0, 1, 2, 4))
        silent = {k for k, size in zip(columns, power, strict=True) if size <= _SILENT * np.max(power)}
        if not silent:
            return found
        groups = [[k for k in members if k not in silent] for members in groups]


# ---- how a window answers ----


def _resolvent(f: np.ndarray, z: complex) -> tuple[np.ndarray, np.ndarray]:
    """R and λ ∂R/∂λ of windows f (n, m, D, D), both (n, m, m, D, D) by times; R_{t,t'} carries from t' to t."""
    n, m, d, _ = f.shape
    if d == 1:
        return _scalar_resolvent(f[..., 0, 0], z)
    ring = np.zeros((n, m, m, d, d), complex)
    t = np.arange(m)
    ring[:, (t + 1) % m, t] -= f
    ring[:, t, t] += z * np.eye(d)
    dense = ring.transpose(0, 1, 3, 2, 4).reshape(n, m * d, m * d)
    r = np.linalg.inv(dense)
    shape = (n, m, d, m, d)
    return tuple(a.reshape(shape).transpose(0, 1, 3, 2, 4) for a in (r, -z * (r @ r)))  # pyright: ignore


def _scalar_resolvent(f: np.ndarray, z: complex) -> tuple[np.ndarray, np.ndarray]:
    """The same for D = 1: products along the ring, R_{t'+τ,t'} = λ^{-1−τ} f_{t'} … f_{t'+τ−1}/(1 − Π_t f_t/λ)."""
    n, m = f.shape
    ratio = f / z
    around = np.prod(ratio, axis=1)
    pole = 1.0 / (1.0 - around)
    r, dr = np.empty((n, m, m, 1, 1), complex), np.empty((n, m, m, 1, 1), complex)
    product = np.broadcast_to((pole / z)[:, None], (n, m))
    t = np.arange(m)
    for tau in range(m):
        to = (t + tau) % m
        r[:, to, t, 0, 0] = product
        dr[:, to, t, 0, 0] = product * (-(1.0 + tau) - m * around * pole)[:, None]
        product = product * ratio[:, to]
    return r, dr


def _log_determinant(f: np.ndarray, z: complex) -> np.ndarray:
    """log|det(λ − S F_s)| of windows (n, m, D, D): (n,)."""
    n, m, d, _ = f.shape
    around = np.broadcast_to(np.eye(d), (n, d, d))
    for t in range(m):
        around = f[:, t] @ around / z
    return m * d * np.log(abs(z)) + np.linalg.slogdet(np.eye(d) - around)[1]


def _frequencies(w: Windows, r: np.ndarray) -> np.ndarray:
    """V_s R S F_x over frequencies from R over times: (n, G, m, L, m)."""
    carried = np.roll(r, -1, axis=2)  # R_{t,u+1}
    left = w.v_s[:, :, None] @ carried @ w.f_x[:, None]  # (n, t, u, G, L)
    return _over_frequencies(left)


def _over_frequencies(times: np.ndarray) -> np.ndarray:
    """(n, t, u, G, L) over times as (n, G, ω, L, ω') over frequencies."""
    return np.fft.ifft(np.fft.fft(times, axis=1), axis=2).transpose(0, 3, 1, 4, 2)


def _instant(w: Windows) -> np.ndarray:
    """V_x over frequencies: (n, G, m, L, m)."""
    n, m, g, columns = w.v_x.shape
    times = np.zeros((n, m, m, g, columns))
    t = np.arange(m)
    times[:, t, t] = w.v_x
    return _over_frequencies(times)


def _gamma(w: Windows, z: complex) -> np.ndarray:
    """Γ over frequencies, (n, G, m, L, m)."""
    return _frequencies(w, _resolvent(w.f_s, z)[0]) + _instant(w)


# ---- averages over windows ----


@dataclass(frozen=True, eq=False)
class _Sums:
    """What windows contribute at one λ, P and Q; I = G m rows.

    Attributes:
        parts: per window, (1 − W)_ii and Σ_{l of i} (Z† W Z)_ll, (n, 2 I).
        hessian: sum over windows of the second derivatives in (log P, log Q) but for the diagonal, (2 I, 2 I).
        fraction: per window, m D F(s), (n,).
        potential: per window, Φ + Σ P Q/2, (n,).
        mixed: sum over windows of ∂_s of the first derivatives in (log P, log Q), (2 I,).
    """

    parts: np.ndarray
    hessian: np.ndarray = field(default_factory=lambda: np.zeros(0))
    fraction: np.ndarray = field(default_factory=lambda: np.zeros(0))
    potential: np.ndarray = field(default_factory=lambda: np.zeros(0))
    mixed: np.ndarray = field(default_factory=lambda: np.zeros(0))


def _sums(w: Windows, z: complex, log_u: np.ndarray, want: str) -> _Sums:
    """Contributions of windows; `want` is "gradient", "hessian" or "all"."""
    n, m, size = w.count, w.length, w.groups * w.length
    r, dr = _resolvent(w.f_s, z)
    left = np.exp(0.5 * log_u[:size])[:, None]
    right = np.exp(0.5 * log_u[size:]).reshape(w.groups, m)[w.group_of].reshape(-1)

    def scaled(gamma: np.ndarray) -> np.ndarray:
        return gamma.reshape(n, size, -1) * left * right

    zed = scaled(_frequencies(w, r) + _instant(w))
    dagger = np.conj(zed.transpose(0, 2, 1))
    inverse = np.linalg.inv(np.eye(size) + zed @ dagger)
    wz = inverse @ zed
    diagonal = 1.0 - np.einsum("nii->ni", inverse).real
    columns = np.sum(np.conj(zed) * wz, axis=1).real
    parts = np.concatenate([diagonal, _by_group(w, columns)], axis=1)
    if want == "gradient":
        return _Sums(parts)
    x = dagger @ wz
    between = np.eye(size) - inverse
    pp = -_square_sum(between)
    qq = -_by_group(w, _by_group(w, _square_sum(x)).T)
    pq = _by_group(w, _square_sum(wz))
    hessian = np.block([[pp, pq], [pq.T, qq]])
    if want == "hessian":
        return _Sums(parts, hessian)
    dz = scaled(_frequencies(w, dr))
    trace = z * np.einsum("nttii->n", r)
    fraction = (trace + np.sum(np.conj(wz) * dz, axis=(1, 2))).real
    wdz = inverse @ dz
    y = dagger @ wdz
    down = 2.0 * np.sum(wdz * np.conj(wz), axis=2).real
    across = 2.0 * (np.einsum("nll->nl", y) - np.einsum("nlk,nkl->nl", y, x)).real
    mixed = np.concatenate([down.sum(axis=0), _by_group(w, across.sum(axis=0))])
    potential = _log_determinant(w.f_s, z) - 0.5 * np.linalg.slogdet(inverse)[1]
    return _Sums(parts, hessian, fraction, potential, mixed)


def _square_sum(a: np.ndarray) -> np.ndarray:
    """Σ_n |a|²."""
    real, imaginary = np.real(a), np.imag(a)
    return np.einsum("nij,nij->ij", real, real) + np.einsum("nij,nij->ij", imaginary, imaginary)


def _by_group(w: Windows, columns: np.ndarray) -> np.ndarray:
    """Sum of the last axis, over (l, ω), into (g, ω)."""
    chosen = w.group_of[None, :] == np.arange(w.groups)[:, None]
    split = columns.reshape(*columns.shape[:-1], len(w.group_of), w.length)
    return np.einsum("gl,...lw->...gw", chosen.astype(float), split).reshape(*columns.shape[:-1], -1)


def _transfer_sums(w: Windows, z: complex) -> np.ndarray:
    """Σ_n Σ_{l of h} |Γ_{i,(l,ω)}|²: (I, I)."""
    gamma = _gamma(w, z).reshape(w.count, w.groups * w.length, -1)
    return _by_group(w, _square_sum(gamma))


class Averages:
    """Averages over windows, in chunks spread over threads."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        w = windows
        per_window = max((w.groups * w.length) ** 2, len(w.group_of) * w.groups * w.length**2, 1)
        step = max(1, min(_CHUNK // per_window, -(-w.count // (os.cpu_count() or 1))))
        self._chunks = [w.part(slice(i, i + step)) for i in range(0, w.count, step)]

    def _map(self, function: Callable[[Windows], Any]) -> list[Any]:
        with threadpool_limits(1), ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            return list(pool.map(function, self._chunks))

    def sums(self, z: complex, log_u: np.ndarray, want: str) -> _Sums:
        """`_sums` of all windows."""
        found = self._map(lambda chunk: _sums(chunk, z, log_u, want))

        def joined(name: str, join: Callable[[list[Any]], Any]) -> Any:
            return join([getattr(one, name) for one in found])

        return _Sums(
            np.concatenate([one.parts for one in found]),
            joined("hessian", lambda v: np.sum(v, axis=0)),
            joined("fraction", np.concatenate),
            joined("potential", np.concatenate),
            joined("mixed", lambda v: np.sum(v, axis=0)),
        )

    def transfer(self, z: complex) -> np.ndarray:
        """E Σ_{l of h} |Γ_{i,(l,ω)}|², (I, I): its Perron eigenvalue is above 1 inside the support."""
        return np.sum(self._map(lambda chunk: _transfer_sums(chunk, z)), axis=0) / self.windows.count


# ---- solving ----


@dataclass(frozen=True, eq=False)
class RingSolution:
    """The equation solved at one λ.

    Attributes:
        log_u: (log P, log Q), (2 I,); empty outside the support.
        residual: largest |E(…) − P_i Q_i| relative to the mean of P_i Q_i; 0 outside.
        iterations: of Newton's method.
        fraction: F(s).
        potentials: per window, Φ/(m D) at fixed P and Q, which is all that matters to first order, (n,).
        influence: per window, by how much F would change if it were all there was, to first order, (n,).
    """

    log_u: np.ndarray
    residual: float
    iterations: int
    fraction: float
    potentials: np.ndarray
    influence: np.ndarray

    @property
    def potential(self) -> float:
        """Φ/(m D)."""
        return float(np.mean(self.potentials))

    @property
    def converged(self) -> bool:
        """Whether the equation is solved."""
        return self.residual <= _TOLERANCE


def perron(matrix: np.ndarray) -> float:
    """Largest real part of an eigenvalue."""
    return float(np.max(np.linalg.eigvals(matrix).real)) if matrix.size else 0.0


def solve_ring(windows: Windows, z: complex, start: np.ndarray | None = None) -> RingSolution:
    """Solve at λ = z by Newton's method from `start` (log P, log Q), or from Perron vectors."""
    everything = Averages(windows)
    transfer = everything.transfer(z)
    if perron(transfer) <= 1.0:
        return _outside(windows, z)
    if start is None or start.size == 0:
        start = _first_guess(transfer)
    log_u, residual, iterations = _newton(everything, z, start)
    return _with_fraction(everything, z, log_u, residual, iterations)


def _outside(w: Windows, z: complex) -> RingSolution:
    """Where P = Q = 0: the neurons alone; F averaged over every phase of λ."""
    n, m, d = w.count, w.length, w.states
    around = np.broadcast_to(np.eye(d), (n, d, d))
    for t in range(m):
        around = w.f_s[:, t] @ around / abs(z)
    share = np.mean(np.abs(np.linalg.eigvals(around)) < 1.0, axis=1)
    potentials = _log_determinant(w.f_s, z) / (m * d)
    return RingSolution(np.zeros(0), 0.0, 0, float(share.mean()), potentials, share - share.mean())


def _first_guess(transfer: np.ndarray) -> np.ndarray:
    """Perron vectors of T as P and Q, their product set as for a single equal response."""
    size = len(transfer)
    left = right = np.ones(size)
    for _ in range(30):
        right, left = transfer @ right, left @ transfer
        right, left = right / right.sum(), left / left.sum()
    amplitude = size * max(1.0 - 1.0 / perron(transfer), 1e-6) / np.sum(left * right)
    root = np.sqrt(amplitude)
    left, right = (root * np.maximum(v, _SMALL * v.max()) for v in (left, right))
    return np.log(np.concatenate([left, right]))


def _newton(everything: Averages, z: complex, log_u: np.ndarray) -> tuple[np.ndarray, float, int]:
    residual = np.inf
    for iteration in range(1, _ITERATIONS + 1):
        sums = everything.sums(z, log_u, "hessian")
        mean, weight = sums.parts.mean(axis=0), _products(log_u)
        residual = _residual(mean, weight)
        if residual <= _TOLERANCE:
            return log_u, residual, iteration
        log_u = log_u + _step(mean, weight, sums.hessian / everything.windows.count)
    return log_u, residual, _ITERATIONS


def _products(log_u: np.ndarray) -> np.ndarray:
    """P Q, twice over: (2 I,)."""
    size = len(log_u) // 2
    return np.tile(np.exp(log_u[:size] + log_u[size:]), 2)


def _residual(mean: np.ndarray, weight: np.ndarray) -> float:
    return float(np.max(np.abs(mean - weight)) / np.mean(weight))


def _curvature(mean: np.ndarray, weight: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Ψ's second derivatives in (log P, log Q), scaled by 1/√(P Q) on both sides."""
    size = len(mean) // 2
    full = hessian.copy()
    at = np.arange(size)
    full[at, size + at] -= weight[:size]
    full[size + at, at] -= weight[:size]
    full += np.diag(mean - weight)
    root = np.sqrt(weight)
    return full / root[:, None] / root


def _gauge_free(curvature: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve, leaving out directions of no curvature: P_i → c P_i, Q_i → Q_i/c, together or by frequency."""
    values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
    kept = np.abs(values) > _SOFT * np.max(np.abs(values))
    return vectors[:, kept] @ ((vectors[:, kept].T @ right) / values[kept])


def _step(mean: np.ndarray, weight: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """A step towards the saddle of Ψ: least over the ratios P_i/Q_i, greatest over the products P_i Q_i.

    E log det(1 + Z Z†) is a logarithm of sums of exponentials in (log P, log Q) (Cauchy and Binet), hence convex, and
    the ratios enter nowhere else. Eliminating them leaves a function of w_i = P_i Q_i which was found to be concave.
    Newton's method in these coordinates, signs of curvature made so where they are not, does not go astray.
    """
    size = len(mean) // 2
    root = np.sqrt(weight[:size])
    full = (hessian + np.diag(mean)) / np.tile(root, 2)[:, None] / np.tile(root, 2)
    pp, pq, qq = full[:size, :size], full[:size, size:], full[size:, size:]
    residual = (mean - weight) / np.tile(root, 2)
    by_product, by_ratio = residual[:size] + residual[size:], residual[:size] - residual[size:]
    values, vectors = np.linalg.eigh(pp + qq - pq - pq.T)
    kept = values > _SOFT * np.max(values)  # the others are gauges: P_i → c P_i, Q_i → Q_i/c, perhaps by frequency
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    mixed = pp - qq + pq.T - pq
    reduced = pp + qq + pq + pq.T - np.diag(4.0 + 2.0 * by_product / root) - mixed @ inverse @ mixed.T
    values, vectors = np.linalg.eigh(0.5 * (reduced + reduced.T))
    along = (vectors.T @ (by_product - mixed @ inverse @ by_ratio)) / np.maximum(np.abs(values), _FLAT)
    product = np.clip(vectors @ along / root, -_LONGEST / 2, _LONGEST / 2)
    ratio = -inverse @ (by_ratio + mixed.T @ (product * root)) / root
    ratio /= max(1.0, float(np.max(np.abs(ratio))) / _LONGEST)
    return np.concatenate([product + ratio, product - ratio])


def _with_fraction(
    everything: Averages, z: complex, log_u: np.ndarray, residual: float, iterations: int
) -> RingSolution:
    w = everything.windows
    norm = w.length * w.states
    sums = everything.sums(z, log_u, "all")
    mean, weight = sums.parts.mean(axis=0), _products(log_u)
    root = np.sqrt(weight)
    curvature = _curvature(mean, weight, sums.hessian / w.count)
    reply = _gauge_free(curvature, 0.5 * sums.mixed / w.count / root) / root
    direct = sums.fraction - sums.fraction.mean()
    influence = (direct - (sums.parts - mean) @ reply) / norm
    potentials = (sums.potential - 0.25 * float(np.sum(weight))) / norm
    return RingSolution(log_u, residual, iterations, float(np.mean(sums.fraction)) / norm, potentials, influence)
