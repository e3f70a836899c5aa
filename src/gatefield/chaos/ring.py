"""The Dyson equation of many steps at once: a window of m steps of an infinite network, closed into a ring.

Put the Jacobian J_t of step t into block (t+1, t) of an m×m block matrix, and e^{iχ} J_{m−1} into its corner. The m-th
powers of its eigenvalues are e^{iχ} times those of J_{m−1} … J_0, so that Lyapunov exponents are logarithms of their
moduli. It is a random matrix of the kind that `dyson` treats, time being one more index: each U_k stands there m times,
and neurons answer over the whole window. For one sampled neuron, local derivatives divided by e^s,

    δs(t+1) = f_s(t) δs(t) + f_x(t) δx(t),   δv(t) = c_s(t) δs(t) + c_x(t) δx(t),   δ(t + m) = e^{iχ} δ(t).

Between times, P_g and Q_g are m×m matrices, and stationarity makes them functions of t − t': positive numbers P_g(ω),
Q_g(ω) at the frequencies ω = (2πj + χ)/m. They are stationary points of

    Ψ(P, Q) = E log det(1 + P̂ M) − Σ_gω P_g(ω) Q_g(ω),   M = Σ_k a_k² Γ_k Q̂ Γ_k†,

as in `dyson`. Γ itself grows as e^{−s·(run of open gates)} and would drown 1 + P M in rounding. Nothing large appears
where the states δs and their adjoints μ are kept: with L = (t → t+1) − f_s, the covariances Y, Z, V of the noises
f_x δx and c_x δx under Q̂, and W = 1/P̂ + V,

    |det L|² det(1 + P̂ M) = |det H| det W det P̂ up to sign,
    H = [[c_s† W⁻¹ c_s, (L + Z W⁻¹ c_s)†], [L + Z W⁻¹ c_s, Z W⁻¹ Z† − Y]].

In the time domain Y, Z, V are products element by element; what costs are one inverse of H, of size 2m for each state
that remembers, and one of W, of size m for each source that answers at once. At χ = π all is real.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import jax
import numpy as np
from scipy.linalg import eig

from gatefield.chaos.histories import Histories
from gatefield.chaos.ring_algebra import Kernels, Local, Sums, shift, sums, sums_on_device

_CHUNK = 2**16  # numbers in H of the neurons that are treated together: they should fit a cache
_DEVICE_CHUNK = 2**24  # on an accelerator they should fit its memory
_MEMORY = 8  # steps that Anderson's method remembers
_MAX_ITERATIONS = 100
_LONGEST_STEP = 2.0  # in the logarithms of P and Q
_FAINT = 1e-2  # mean P Q below which a point may lie outside the spectrum


@dataclass(frozen=True, eq=False)
class Unknowns:
    """log P and log Q, (2, G, distinct frequencies)."""

    log: np.ndarray

    @property
    def p(self) -> np.ndarray:
        """P_g(ω)."""
        return np.exp(self.log[0])

    @property
    def q(self) -> np.ndarray:
        """Q_g(ω)."""
        return np.exp(self.log[1])


class Ring:
    """A window of m steps, closed with the phase χ.

    Args:
        histories: the neurons over the window.
        twist: χ; at 0 and π all is real, but at 0 single neurons' growth makes poles.
    """

    def __init__(self, histories: Histories, twist: float = np.pi) -> None:
        self.histories, self.twist = histories, twist
        m = histories.steps
        self.real = abs(np.sin(twist)) < 1e-12
        self.frequencies = (2.0 * np.pi * np.arange(m) + twist) / m
        lags = np.arange(1 - m, m)
        self._waves = np.exp(1j * self.frequencies * lags[:, None])
        self._lag = np.arange(m)[:, None] - np.arange(m) + m - 1
        alike = np.round(np.cos(self.frequencies), 9) if self.real else np.arange(m)  # ω and −ω
        _, self._first, self._of = np.unique(alike, return_index=True, return_inverse=True)
        self.multiplicity = np.bincount(self._of)

    @property
    def turn(self) -> Any:
        """e^{iχ}."""
        turn = np.exp(1j * self.twist)
        return float(turn.real) if self.real else turn

    def matrix(self, spectrum: np.ndarray) -> np.ndarray:
        """The m×m matrix with these eigenvalues, for each row of `spectrum`: (G, distinct) → (G, m, m)."""
        kernel: Any = spectrum[:, self._of] @ self._waves.T / len(self.frequencies)
        return np.asarray(np.real(kernel) if self.real else kernel)[:, self._lag]

    def spectrum(self, matrices: np.ndarray) -> np.ndarray:
        """Diagonals of matrices in the basis of frequencies: (G, m, m) → (G, distinct)."""
        m = len(self.frequencies)
        sums = np.stack([np.array([np.trace(a, -lag) for lag in range(1 - m, m)]) for a in matrices])
        values = np.real(sums @ np.conj(self._waves)) / m
        return np.stack([np.bincount(self._of, v) for v in values]) / self.multiplicity

    def start(self) -> Unknowns:
        """A first guess: P Q = 1, as it is deep inside the spectrum."""
        return Unknowns(np.zeros((2, self.histories.groups, len(self.multiplicity))))


@dataclass(frozen=True, eq=False)
class Averages:
    """What one evaluation at given P and Q tells.

    Attributes:
        p, q: what the equations make of P and Q.
        fraction: (1/(mD)) ∂Φ/∂s: where P and Q solve them, the fraction of exponents below s; NaN unless asked for.
        potentials: neurons' shares in Φ/(mD), (n,). Their mean is the mean of max(exponent, s), likewise.
    """

    p: np.ndarray
    q: np.ndarray
    fraction: float
    potentials: np.ndarray


def evaluate(ring: Ring, s: float, u: Unknowns, *, full: bool = False) -> Averages:
    """Averages over the neurons at exponent s."""
    here = ring.histories
    m, d = here.steps, here.states
    p, q = u.p, u.q
    kernels = Kernels(ring.matrix(p), ring.matrix(1.0 / p), ring.matrix(q))
    *added, log_det = _over_chunks(ring, here, s, kernels, full)
    direct, sandwiched, noise, slope = (value / here.neurons for value in added)
    at_once = here.at_once
    new_q = np.where(at_once[:, None], 1.0 / p - ring.spectrum(sandwiched) / p**2, ring.spectrum(direct))
    fraction, values = np.nan, np.full(here.neurons, np.nan)
    if full:
        slope = slope - 2.0 * np.sum((ring.multiplicity * p * new_q)[here.late & ~at_once])
        fraction = 1.0 + float(slope) / (2.0 * m * d)
        logs = np.sum((ring.multiplicity * np.log(p))[at_once])
        values = s + (log_det + logs - np.sum(ring.multiplicity * p * q)) / (2.0 * m * d)
    return Averages(ring.spectrum(noise), new_q, fraction, values)


def _over_chunks(ring: Ring, here: Histories, s: float, kernels: Kernels, full: bool) -> Sums:
    """Sums over all neurons, chunks of them spread over threads, or one after the other on an accelerator."""
    wiring, scaled = here.wiring, here.scaled(s)
    size = (max(2 * here.memory, len(wiring.at_once), 1) * here.steps) ** 2
    threads = os.cpu_count() or 1
    on_device = jax.default_backend() != "cpu"
    length = _DEVICE_CHUNK // size if on_device else min(_CHUNK // size, -(-here.neurons // (2 * threads)))
    chunks = [slice(i, i + max(1, length)) for i in range(0, here.neurons, max(1, length))]

    def one(chunk: slice) -> Sums:
        part = scaled.part(chunk)
        local = Local(part.f_s, part.f_x, part.c_s, part.c_x)
        if on_device:
            with jax.enable_x64(True):
                return Sums(*map(np.asarray, sums_on_device(wiring, local, kernels, ring.turn, full)))
        return sums(np, wiring, local, kernels, ring.turn, full)

    if on_device or len(chunks) == 1:
        found = [one(chunk) for chunk in chunks]
    else:
        with ThreadPoolExecutor(max_workers=threads) as pool:
            found = list(pool.map(one, chunks))
    *added, log_dets = (list(each) for each in zip(*found, strict=True))
    direct, sandwiched, answers, slope = (sum(each[1:], each[0]) for each in added)
    return Sums(direct, sandwiched, answers, slope, np.concatenate(log_dets))


# ---- solving ----


@dataclass(frozen=True, eq=False)
class RingSolution:
    """P and Q at one s, and what they say.

    Attributes:
        potentials: neurons' shares in the potential, (n,). As Φ is stationary in P and Q, the shares say to first order
            how it changes with the neurons that are drawn.
        residual: largest |P Q − what the equations make of it|; P Q is at most about 1.
        outside: whether no exponent lies near s, P and Q being 0.
    """

    s: float
    unknowns: Unknowns
    fraction: float
    potentials: np.ndarray
    residual: float
    iterations: int
    outside: bool

    @property
    def potential(self) -> float:
        """The mean of max(exponent, s)."""
        return float(np.mean(self.potentials))


def solve(ring: Ring, s: float, start: Unknowns, *, tolerance: float = 1e-5) -> RingSolution:
    """P and Q at exponent s by Anderson's method in their logarithms; outside the spectrum they are 0."""
    u, history = start.log, _Anderson()
    residual, iteration, checked = np.inf, 0, False
    for iteration in range(_MAX_ITERATIONS):
        now = Unknowns(u)
        p, q = now.p, now.q
        if not checked and float(np.mean(p * q)) < _FAINT:
            if Edge(ring).log_growth(s) <= 0.0:
                return RingSolution(s, start, *_bare(ring, s), 0.0, iteration, True)
            checked = True
        found = evaluate(ring, s, now)
        residual = float(max(np.max(np.abs(found.p * q - p * q)), np.max(np.abs(found.q * p - p * q))))
        if residual < tolerance * min(1.0, 10.0 * float(np.mean(p * q)) + 0.01):
            break
        u = history.step(u, np.stack([_log_ratio(found.p, p), _log_ratio(found.q, q)]))
    unknowns = Unknowns(u)
    last = evaluate(ring, s, unknowns, full=True)
    return RingSolution(s, unknowns, last.fraction, last.potentials, residual, iteration, False)


def _bare(ring: Ring, s: float) -> tuple[float, np.ndarray]:
    """Fraction and potentials of neurons that do not act on one another."""
    here = ring.histories
    m, d, memory = here.steps, here.states, here.memory
    if memory == 0:
        return 1.0, np.full(here.neurons, s)
    scaled = here.scaled(s)
    step = shift(scaled.f_s, ring.turn)
    inverse = np.linalg.inv(step).reshape(here.neurons, memory, m, memory, m)
    slope = float(np.sum(np.einsum("njtit->ntij", inverse).real * scaled.f_s)) / (here.neurons * m * d)
    return 1.0 + slope, s + np.linalg.slogdet(step)[1] / (m * d)


def _log_ratio(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(new / old, 1e-3))


class _Anderson:
    """Anderson's method for x = x + r(x)."""

    def __init__(self) -> None:
        self.points: list[np.ndarray] = []
        self.rests: list[np.ndarray] = []

    def step(self, u: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """The next point; P → cP, Q → Q/c leaves all as it is, and c is chosen to make them of a size."""
        x, r = u.ravel(), rest.ravel()
        self.points, self.rests = [*self.points, x][-_MEMORY:], [*self.rests, r][-_MEMORY:]
        move = 0.7 * r
        if len(self.points) > 1:
            points, rests = np.diff(np.array(self.points), axis=0).T, np.diff(np.array(self.rests), axis=0).T
            share = np.linalg.lstsq(rests, r, rcond=1e-8)[0]
            move = r - (points + rests) @ share
        move *= min(1.0, _LONGEST_STEP / max(float(np.max(np.abs(move))), 1e-300))
        new = (x + move).reshape(u.shape)
        gauge = (new[0].mean() - new[1].mean()) / 2.0
        return np.stack([new[0] - gauge, new[1] + gauge])


def solve_path(ring: Ring, exponents: np.ndarray, *, start: Unknowns | None = None) -> Iterator[RingSolution]:
    """Solutions along ascending exponents, each starting from those before it, extrapolated."""
    known: list[RingSolution] = []
    for s in exponents:
        guess = start or ring.start()
        if known:
            guess = known[-1].unknowns
        if len(known) > 1:
            before, last = known[-2:]
            ratio = min((s - last.s) / (last.s - before.s), 1.0)
            guess = Unknowns(last.unknowns.log + ratio * (last.unknowns.log - before.unknowns.log))
        found = solve(ring, float(s), guess)
        yield found
        if not found.outside:
            known.append(found)


# ---- the edge ----


@dataclass(frozen=True, eq=False)
class Edge:
    """The largest exponent of a ring: where perturbations of all frequencies just fail to grow."""

    ring: Ring

    def log_growth(self, s: float) -> float:
        """log of the Perron eigenvalue of T = a² E|Γ(ω, ω')|² between sources and frequencies: positive inside."""
        return float(np.log(np.max(np.linalg.eigvals(self._transfer(s, slice(None))).real)))

    def shares(self, s: float, groups: int) -> np.ndarray:
        """What log_growth at s would be, to first order, with each of consecutive groups of neurons, (groups,)."""
        bounds = np.linspace(0, self.ring.histories.neurons, groups + 1).astype(int)
        parts = np.stack([self._transfer(s, slice(a, b)) for a, b in pairwise(bounds.tolist())])
        found: Any = eig(np.mean(parts, axis=0), left=True)
        k = int(np.argmax(found[0].real))
        value, left, right = found[0][k].real, found[1][:, k].real, found[2][:, k].real
        return np.log(value) + (parts @ right @ left) / (value * (left @ right)) - 1.0

    @cached_property
    def _basis(self) -> np.ndarray:
        """Columns e^{iωt}/√m."""
        m = len(self.ring.frequencies)
        return np.exp(1j * self.ring.frequencies * np.arange(m)[:, None]) / np.sqrt(m)

    def _transfer(self, s: float, part: slice) -> np.ndarray:
        here = self.ring.histories.part(part)
        length = max(1, _CHUNK // (here.steps * max(here.memory, here.groups)) ** 2)
        total = 0.0
        for i in range(0, here.neurons, length):
            total = total + self._transfer_of(here.part(slice(i, i + length)).scaled(s))
        return np.asarray(total) / here.neurons

    def _transfer_of(self, scaled: Histories) -> np.ndarray:
        m, n, groups, memory = scaled.steps, scaled.neurons, scaled.groups, scaled.memory
        t = np.arange(m)
        answer = np.zeros((n, groups, m, scaled.f_x.shape[3], m), type(self.ring.turn))
        if memory:
            resolvent = np.linalg.inv(shift(scaled.f_s, self.ring.turn)).reshape(n, memory, m, memory, m)
            answer += np.einsum("ntgi,nitjr,nrjk->ngtkr", scaled.c_s, resolvent, scaled.f_x, optimize=True)
        answer[:, :, t, :, t] += scaled.c_x.transpose(1, 0, 2, 3)
        basis = self._basis
        power = np.sum(np.abs(np.conj(basis).T @ answer.transpose(0, 1, 3, 2, 4) @ basis) ** 2, axis=0)
        by_group = np.stack([power[:, members].sum(axis=1) for members in scaled.members], axis=1)
        return by_group.transpose(0, 2, 1, 3).reshape(groups * m, groups * m)
