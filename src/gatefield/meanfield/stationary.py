"""Stationary states of ẋ = −x + U φ(x) + b at N = ∞, and of its Euler maps: variance, correlation, largest exponent.

With C(τ) the covariance of a neuron with itself, C_0 = C(0), v the variance of constant biases and

    f(C) = g² E[φ(x) φ(x')],  x, x' Gaussian of variance C_0 and covariance C,

the flow has C̈ = C − f(C) − v: a particle that starts at rest at C_0 and comes to rest at C_∞ = f(C_∞) + v, so that its
energy ½ Ċ² − ∫ (C − f − v) dC stays 0 (Sompolinsky, Crisanti & Sommers 1988; [EOC 6, 9]). That fixes the *dynamic*
C_0. The *static* one, of neurons that rest, has C_0 = f(C_0) + v [EOC 10].

Mehler's series f(C) = Σ a_n ρⁿ, ρ = C/C_0, has a_n = g² c_n² ≥ 0, c_n the Hermite coefficients of φ(m + √C_0 z). In it
all that vanishes near the onset of chaos is a sum of positive terms: for a path from C_0 to C_∞ with zero energy,

    C = C_∞ + (C_0 − C_∞)/cosh² s,   (ds/dτ)² = (1 − ρ_∞) Q(ρ)/(2 C_0),   Q = Σ a_n/(n + 1) h_{n−2}(ρ_∞, ρ_∞, 1, ρ),

with h_k the complete homogeneous symmetric polynomials: the divided difference of the potential at its zeros.

The Euler map of step δ, k = 1 − δ, has C_l − k (C_{l+1} − 2 C_l + C_{l−1})/δ² = f(C_l) + v instead. A perturbation
K(t, t') = Λ^{t+t'} ψ_l obeys, with Λ = 1 + δ κ,

    (1 + κ)² ψ_l = f'(C_l) ψ_l + (k Λ/δ²) (ψ_{l+1} − 2 ψ_l + ψ_{l−1}),

so that (1 + κ)² is the largest eigenvalue of a tridiagonal matrix, and ln(Λ)/δ the exponent per unit time. For the flow
it is −ψ̈ + (1 − f'(C)) ψ = E ψ and λ = −1 + √(1 − E_0), where E_1 = 0 belongs to Ċ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev, polynomial
from scipy.integrate import quad, solve_ivp
from scipy.linalg import eigh, eigh_tridiagonal, solve_banded
from scipy.optimize import brentq
from scipy.signal import lfilter

from gatefield.numerics.quadrature import gaussian_nodes

Function = Callable[[np.ndarray], np.ndarray]

_REACH = 13.0  # standard deviations; Hermite functions fall like e^{−z²/4}
_FEWEST, _MOST = 128, 4096  # terms of Mehler's series
_TAIL = 1e-14  # relative weight of its last quarter in f'(C_0)
_DEGREE, _BEYOND = 160, 0.05  # of polynomials in the correlation, and how far below 0 they reach
_FALLEN = 45.0  # decay times after which C − C_∞ is below rounding
_FLAT = 300.0  # s whose cosh is still a number of float64, squared
_DECAYS = 16.0  # default range of lags, in decay times of the correlation
_GRID = 0.16  # spacing of the Schrödinger equation's grid, in decay times, on the first try


class Averages:
    """f(C) and what follows from it, for one φ, gain and bias.

    Args:
        functions: g φ and g φ', of arrays.
        mean: of x.
        static: v, the variance of biases.
    """

    def __init__(self, functions: tuple[Function, Function], *, mean: float = 0.0, static: float = 0.0) -> None:
        self.functions, self.mean, self.static = functions, mean, static
        self._variance, self._series = -1.0, np.zeros(1)
        self._fits: dict[int, Chebyshev] = {}

    def series(self, variance: float) -> np.ndarray:
        """a_n of Mehler's series at a variance, the last one kept."""
        if variance != self._variance:
            terms = max(_FEWEST, len(self._series) // 2)
            while True:
                a = self._coefficients(variance, terms)
                weight = np.arange(terms) * a
                if weight[3 * terms // 4 :].sum() <= _TAIL * max(weight.sum(), 1e-300) or terms >= _MOST:
                    break
                terms *= 2
            self._variance, self._series, self._fits = variance, a, {}
        return self._series

    def _coefficients(self, variance: float, terms: int) -> np.ndarray:
        std = np.sqrt(variance)
        nodes, basis = _hermite_functions(terms, int(np.clip(np.ceil(np.log2(max(std, 1.0))), 0, 6)))
        values = self.functions[0](self.mean + std * nodes)
        return (basis @ values) ** 2

    def at(self, variance: float, covariance: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f and f' = g² E[φ'(x) φ'(x')] at covariances of any shape."""
        covariance = np.asarray(covariance, dtype=float)
        if variance <= 0.0:
            slope = float(self.functions[1](np.array([self.mean]))[0]) ** 2
            return np.full_like(covariance, self.functions[0](np.array([self.mean]))[0] ** 2), np.full_like(
                covariance, slope
            )
        a = self.series(float(variance))
        if not self._fits:
            self._fits = dict(enumerate(map(fitted, (a, np.arange(1, len(a)) * a[1:] / variance))))
        rho = np.clip(covariance / variance, -_BEYOND, 1.0)
        return self._fits[0](rho), self._fits[1](rho)

    def by_variance(self, variance: float, covariance: np.ndarray) -> np.ndarray:
        """What f changes by the variance."""
        up, down = variance * (1.0 + 1e-4), variance * (1.0 - 1e-4)
        return (self.at(up, covariance)[0] - self.at(down, covariance)[0]) / (up - down)

    def slope_at(self, variance: float) -> float:
        """g² E[φ'²], which needs no series."""
        return self._moment(1, variance)

    def square(self, variance: float) -> float:
        """f(C_0) = g² E[φ²]."""
        return self._moment(0, variance)

    def _moment(self, which: int, variance: float) -> float:
        x, weights = gaussian_nodes(np.array(self.mean), np.sqrt(variance))
        return float(self.functions[which](x) ** 2 @ weights)

    def resting(self, strongest: float) -> float:
        """The largest variance up to `strongest` at which neurons may rest, C_0 = f(C_0) + v; 0 if that is all.

        Raises:
            ValueError: activity grows without bound.
        """
        grid = np.geomspace(strongest, 1e-12 * min(1.0, strongest), 400)
        excess = np.array([self.square(c) + self.static - c for c in grid])
        if excess[0] > 0.0:
            raise ValueError("the ensemble's activity grows without bound; its φ must saturate")
        above = np.nonzero(excess > 0.0)[0]
        if not len(above):
            return 0.0

        def left(log_variance: float) -> float:
            variance = np.exp(log_variance)
            return self.square(variance) + self.static - variance

        i = int(above[0])
        return float(np.exp(_root(left, np.log(grid[i]), np.log(grid[i - 1]))))


def fitted(series: np.ndarray) -> Chebyshev:
    """A power series in ρ as a Chebyshev series, which is short: for ρ from just below 0 to 1."""
    return Chebyshev.interpolate(lambda rho: polynomial.polyval(rho, series), _DEGREE, (-_BEYOND, 1.0))


@lru_cache(maxsize=16)
def _hermite_functions(terms: int, fineness: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z and rows that turn values there into Hermite coefficients E[F(z) He_n(z)]/√n!, by the trapezoidal rule.

    Its spacing resolves the n-th polynomial and a φ whose scale is 2^{−fineness}.
    """
    step = min(0.22 / 2.0**fineness, 1.4 / np.sqrt(terms))
    z = step * np.arange(-np.ceil(_REACH / step), np.ceil(_REACH / step) + 1)
    rows = np.empty((terms, len(z)))
    rows[0] = step * np.exp(-0.25 * z**2) / (2.0 * np.pi) ** 0.5
    rows[1] = z * rows[0]
    for n in range(1, terms - 1):
        rows[n + 1] = (z * rows[n] - np.sqrt(n) * rows[n - 1]) / np.sqrt(n + 1.0)
    return z, rows * np.exp(-0.25 * z**2)


def _root(function: Callable[[float], float], low: float, high: float, tolerance: float = 1e-15) -> float:
    find: Any = brentq
    return float(find(function, low, high, xtol=tolerance, rtol=8.9e-16))


# ---- the flow ----


@dataclass(frozen=True, eq=False)
class Flow:
    """The stationary state of the flow that strong activity leads to, time in units of its leak.

    Attributes:
        averages: what it is of.
        static: variance of neurons that rest.
        variance: dynamic C_0; `static` where resting is stable.
        far: C_∞; the variance itself at rest.
    """

    averages: Averages
    static: float
    variance: float
    far: float

    @property
    def resting(self) -> bool:
        """Whether neurons rest."""
        return self.far >= self.variance

    @cached_property
    def _speed(self) -> Chebyshev:
        """(ds/dτ)² as a function of ρ."""
        a, ratio = self.averages.series(self.variance), self.far / self.variance
        q = np.append(0.0, a / np.arange(1.0, len(a) + 1.0))
        q = _divided(_divided(_divided(q, ratio), ratio), 1.0)
        return fitted((1.0 - ratio) * q / (2.0 * self.variance))

    def _rate(self, s: Any) -> Any:
        ratio = self.far / self.variance
        return np.sqrt(self._speed(ratio + (1.0 - ratio) / np.cosh(s) ** 2))

    @property
    def decay_rate(self) -> float:
        """κ of C − C_∞ ~ e^{−κτ}: √(1 − f'(C_∞)); 0 at rest."""
        return 0.0 if self.resting else float(2.0 * self._rate(50.0))

    def covariance(self, lags: np.ndarray) -> np.ndarray:
        """C(τ) at ascending lags from 0 on, by integrating its path."""
        lags = np.asarray(lags, dtype=float)
        if self.resting:
            return np.full_like(lags, self.variance)
        end = self._path.t_max
        s = self._path(np.minimum(lags, end))[0] + 0.5 * self.decay_rate * np.maximum(lags - end, 0.0)
        return self.far + (self.variance - self.far) / np.cosh(np.minimum(s, _FLAT)) ** 2

    @cached_property
    def _path(self) -> Any:
        """s(τ), up to where its rate no longer changes."""
        found = solve_ivp(
            lambda _, s: self._rate(s), (0.0, _FALLEN / self.decay_rate), [0.0],
            method="DOP853", rtol=1e-12, atol=1e-14, dense_output=True,
        )  # fmt: skip
        return found.sol

    def lag_of(self, part: float) -> float:
        """Lag at which C − C_∞ has fallen to a part of its first value; infinite at rest."""
        if self.resting:
            return float("inf")
        return float(quad(lambda s: 1.0 / self._rate(s), 0.0, np.arccosh(part**-0.5), epsabs=0.0, epsrel=1e-12)[0])

    @cached_property
    def levels(self) -> tuple[float, float]:
        """E_0 and E_1 of −ψ̈ + (1 − f'(C)) ψ = E ψ, of which E_1 = 0; at rest the bottom of the continuum, twice."""
        if self.resting:
            bottom = 1.0 - self.averages.slope_at(self.variance)
            return bottom, bottom
        spacing, before = _GRID, (np.inf, np.inf)
        while True:
            found = self._levels(spacing / self.decay_rate)
            if abs(found[0] - before[0]) <= 1e-13 or spacing < _GRID / 10.0:
                return found
            before, spacing = found, spacing / 1.5

    def _levels(self, step: float) -> tuple[float, float]:
        """By sinc collocation, even and odd functions apart."""
        count = int(np.ceil(40.0 / (self.decay_rate * step)))
        i = np.arange(count + 1)
        potential = 1.0 - self.averages.at(self.variance, self.covariance(step * i))[1]
        near, image = i[:, None] - i, i[:, None] + i
        kinetic = [_sinc_kinetic(d) / step**2 for d in (near, image)]
        even = kinetic[0] + kinetic[1]
        even[0] /= np.sqrt(2.0)
        even[:, 0] /= np.sqrt(2.0)
        odd = (kinetic[0] - kinetic[1])[1:, 1:]
        matrices = even + np.diag(potential), odd + np.diag(potential[1:])
        lowest = [float(eigh(m, eigvals_only=True, subset_by_index=(0, 0))[0]) for m in matrices]
        return lowest[0], lowest[1]

    @property
    def exponent(self) -> float:
        """The largest Lyapunov exponent."""
        return float(-1.0 + np.sqrt(1.0 - self.levels[0]))

    @property
    def static_exponent(self) -> float:
        """Growth rate of perturbations of neurons that rest at the static variance: g √E φ'² − 1."""
        return float(np.sqrt(self.averages.slope_at(self.static)) - 1.0)


def flow(averages: Averages, *, strongest: float) -> Flow:
    """The flow's state, whose variance is at most `strongest`."""
    static = averages.resting(strongest)
    if averages.slope_at(static) <= 1.0:
        return Flow(averages, static, static, static)
    highest, lowest = 1.0 - 1e-13, None
    for part in 1.0 - np.geomspace(1e-9, 0.99, 60):
        if _barrier(averages, part * static) <= 0.0:
            lowest = part
            break
        highest = part
    if lowest is None or _barrier(averages, highest * static) <= 0.0:  # too near the onset for float64
        return Flow(averages, static, static, static)
    variance = static * _root(lambda part: _barrier(averages, part * static), lowest, highest, 1e-16)
    return Flow(averages, static, variance, _far(averages, variance))


def _far(averages: Averages, variance: float) -> float:
    """C_∞ = f(C_∞) + v, the least such; the variance itself if there is none below."""
    if averages.static == 0.0 and averages.series(variance)[0] < 1e-30:
        return 0.0
    slope, force = (lambda c, i=i: float(averages.at(variance, c)[i]) for i in (1, 0))
    if slope(variance) <= 1.0 or slope(0.0) >= 1.0:
        return variance
    turn = _root(lambda c: slope(c) - 1.0, 0.0, variance)
    if force(turn) + averages.static - turn >= 0.0:
        return variance
    return _root(lambda c: force(c) + averages.static - c, 0.0, turn)


def _barrier(averages: Averages, variance: float) -> float:
    """Above 0 where C_0 = variance is too large for C to come to rest at C_∞, below 0 where it is too small.

    The divided difference of the energy at C_∞, C_∞ and C_0, in units of C_0.
    """
    far = _far(averages, variance)
    if far >= variance:
        return -1.0
    a, ratio = averages.series(variance), far / variance
    q = np.append(0.0, a / np.arange(1.0, len(a) + 1.0))
    return float(0.5 - _divided(_divided(q, ratio), ratio).sum() / variance)


def _divided(series: np.ndarray, x: float) -> np.ndarray:
    """(p(ρ) − p(x))/(ρ − x) of a power series p, by Horner's scheme: sums of positive terms for positive p and x."""
    if len(series) < 2:
        return np.zeros(1)
    return np.asarray(lfilter([1.0], [1.0, -x], series[::-1]))[:-1][::-1]


def _sinc_kinetic(difference: np.ndarray) -> np.ndarray:
    """−d²/dx² between sinc functions at unit spacing."""
    with np.errstate(divide="ignore"):
        return np.where(difference == 0, np.pi**2 / 3.0, 2.0 * (-1.0) ** difference / difference.astype(float) ** 2)


def potential(averages: Averages, variance: float, covariance: np.ndarray, *, origin: float) -> np.ndarray:
    """−∫ (C − f(C) − v) dC from `origin`, for any C_0: a particle moves in it along C(τ) [EOC 6]."""
    a = averages.series(variance)
    inner = np.append(0.0, a / np.arange(1.0, len(a) + 1.0)) * variance
    at = [polynomial.polyval(np.asarray(c, dtype=float) / variance, inner) for c in (covariance, origin)]
    return -(0.5 * (covariance**2 - origin**2) - (at[0] - at[1]) - averages.static * (covariance - origin))


# ---- Euler maps ----


@dataclass(frozen=True, eq=False)
class EulerMap:
    """The stationary state of the map of step δ.

    Attributes:
        lags: δ l.
        covariance: C_l.
        exponent: largest exponent per unit time.
        residual: the most that is left of the equation for C, relative to the variance.
    """

    lags: np.ndarray
    covariance: np.ndarray
    exponent: float
    residual: float

    @property
    def variance(self) -> float:
        """C_0."""
        return float(self.covariance[0])

    @property
    def window(self) -> float:
        """Relative error that the finite range of lags leaves, of order e^{−2 rate time}."""
        time = float(self.lags[-1])
        middle, last = np.interp(time * np.array([0.5, 1.0]), self.lags, self.covariance)
        fall = self.variance - last
        return 3.0 * float(((middle - last) / fall) ** 4) if fall > 1e-9 * self.variance else 0.0


def euler_map(averages: Averages, step: float, state: Flow, *, time: float | None = None) -> EulerMap:
    """The map's state next to that of the flow, by Newton's method, C being even about both ends of its range.

    Where C changes slowly the second difference is a derivative, and the map's C that of the flow in time τ/√k.
    """
    if time is None:
        time = 10.0 if state.resting else _DECAYS / state.decay_rate
    lags = step * np.arange(max(int(np.ceil(time / step)), 2) + 1)
    c = state.covariance(lags / np.sqrt(1.0 - step))
    mesh = (1.0 - step) / step**2
    if not state.resting:
        column = averages.by_variance(state.variance, c)  # differs little from step to step
        for _ in range(30):
            f, slope = averages.at(c[0], c)
            left = c - mesh * _second_difference(c) - f - averages.static
            newton = _tridiagonal_solve(mesh, 1.0 - slope, np.stack([left, column], axis=1))
            update = newton[:, 0] + newton[:, 1] * newton[0, 0] / (1.0 - newton[0, 1])
            c = c - min(1.0, 0.5 * c[0] / max(abs(update[0]), 1e-300)) * update
            if np.max(np.abs(update)) < 1e-12 * c[0]:
                break
    f, slope = averages.at(c[0], c)
    left = np.max(np.abs(c - mesh * _second_difference(c) - f - averages.static)) / max(c[0], 1e-300)
    return EulerMap(lags, c, _exponent(step, slope), float(left))


def _second_difference(c: np.ndarray) -> np.ndarray:
    around = np.concatenate([c[1:2], c, c[-2:-1]])
    return around[2:] - 2.0 * c + around[:-2]


def _tridiagonal_solve(mesh: float, diagonal: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(diagonal − mesh ∂²)^{-1} right."""
    band = np.full((3, len(diagonal)), -mesh)
    band[1] = diagonal + 2.0 * mesh
    band[0, 1] = band[2, -2] = -2.0 * mesh
    return solve_banded((1, 1), band, right)


def _exponent(step: float, slope: np.ndarray) -> float:
    """ln(Λ)/δ of the perturbation that grows fastest, from f' at each lag."""
    keep, growth, last = 1.0 - step, 1.0, len(slope) - 1
    if np.ptp(slope) < 1e-12:  # at rest
        return float(np.log(keep + step * np.sqrt(slope[0])) / step)
    for _ in range(30):
        mesh = keep * growth / step**2
        beside = np.full(last, mesh)
        beside[[0, -1]] *= np.sqrt(2.0)  # even about both ends, made symmetric
        diagonal = slope - 2.0 * mesh
        top = eigh_tridiagonal(diagonal, beside, eigvals_only=True, select="i", select_range=(last, last))
        before, growth = growth, keep + step * np.sqrt(max(float(np.max(top)), 0.0))
        if abs(growth - before) < 1e-11 * step:
            break
    return float(np.log(growth) / step)
