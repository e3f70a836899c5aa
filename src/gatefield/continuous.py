"""The flow ẋ = −x + U φ(x) + b at N = ∞, as the limit δ → 0 of its Euler maps, the `Leaky` cells.

Variance and largest exponent of the map of step δ are those of its stationary mean field, which one equation in the
lag l gives: with f(C) = g² E[φ φ'] at variance C_0 and covariance C, v the bias variance and k = 1 − δ,

    C_l − k (C_{l+1} − 2 C_l + C_{l−1})/δ² = f(C_l) + v,

the discrete form of C̈ = C − f(C) − v. A perturbation K(t, t') = Λ^{t+t'} ψ_l obeys, with Λ = 1 + δ κ,

    (1 + κ)² ψ_l = f'(C_l) ψ_l + (k Λ/δ²) (ψ_{l+1} − 2 ψ_l + ψ_{l−1}),

so that (1 + κ)² is the largest eigenvalue of a tridiagonal matrix (Sompolinsky, Crisanti & Sommers 1988, at δ = 0), and
ln(Λ)/δ the exponent per unit time. Of the equation's solutions it is the one next to that of the flow itself, where
½ Ċ² − ∫ (C − f − v) dC = 0. Runs of `deterministic_mean_field` end there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from scipy.linalg import eigh_tridiagonal, solve_banded
from scipy.optimize import brentq

from gatefield.arguments import positive
from gatefield.cells import Leaky
from gatefield.deterministic import activation
from gatefield.ensemble import Ensemble, repr_cell
from gatefield.estimates import Estimate
from gatefield.quadrature import gaussian_nodes

_POINTS = 128  # Chebyshev nodes in the correlation
_LARGEST_STEP = 0.5
_DECAYS = 16.0  # default range of lags, in decay times of the correlation


@dataclass(frozen=True, eq=False)
class ContinuousLimit:
    """Variance and largest Lyapunov exponent of a flow, extrapolated from its Euler maps.

    Attributes:
        variance: of x over neurons and time, about the mean of biases and currents.
        lyapunov_max: largest Lyapunov exponent per unit time.
        steps: the steps δ, ascending.
        variances: of the map of each step.
        exponents: of the map of each step, per unit time.
        time: the largest lag.
        residual: the most that is left of the equation for C, relative to the variance.
    """

    variance: Estimate
    lyapunov_max: Estimate
    steps: np.ndarray
    variances: np.ndarray
    exponents: np.ndarray
    time: float
    residual: float
    ensemble: Ensemble


def continuous_limit(
    ensemble: Ensemble, *, steps: Sequence[float] = (0.2, 0.1, 0.05, 0.025, 0.0125), time: float | None = None
) -> ContinuousLimit:
    """The flow whose Euler maps are the ensemble's leaky cells, in the state that strong activity leads to.

    Errors are the change of the extrapolated values when the largest step is left out, with what the finite range of
    lags leaves on top.

    Args:
        ensemble: of a `Leaky` cell; its own step is not used.
        steps: at least two different steps up to 0.5.
        time: the largest lag; by default as large as correlations last.

    Raises:
        ValueError: another cell, a driven one, φ with kinks, steps out of their range, or activity without bound.
    """
    cell = ensemble.cell
    if not isinstance(cell, Leaky):
        raise ValueError(f"ensemble of {repr_cell(cell)}: the continuous limit is for Leaky()")
    if ensemble.driven:
        raise ValueError("the continuous limit needs currents that are constant in time")
    sizes = np.unique([positive("steps", step) for step in steps])
    if len(sizes) < 2 or sizes[-1] > _LARGEST_STEP:
        raise ValueError(f"steps={steps!r} must hold at least two different steps up to {_LARGEST_STEP}")
    averages = _Averages(cell, ensemble)
    guess = _flow(averages, None if time is None else positive("time", time))
    found = [guess := _solve(averages, float(step), guess) for step in sizes]
    variances, exponents = np.array([s.variance for s in found]), np.array([s.exponent for s in found])
    left = max(s.window + s.residual for s in found)
    return ContinuousLimit(
        _extrapolated(sizes**2 / (1.0 - sizes), variances, left * variances[0]),  # C depends on δ²/k alone
        _extrapolated(sizes, np.expm1(sizes * exponents) / sizes, left),  # κ, which at rest does not depend on δ
        sizes, variances, exponents, guess.time, max(s.residual for s in found), ensemble,
    )  # fmt: skip


def _extrapolated(x: np.ndarray, values: np.ndarray, error: float) -> Estimate:
    """The polynomial through the values at ascending x, at x = 0, with a further error."""

    def at_zero(x: np.ndarray, values: np.ndarray) -> float:
        others = [np.delete(x, i) for i in range(len(x))]
        return float(sum(v * np.prod(o / (o - y)) for v, o, y in zip(values, others, x, strict=True)))

    value = at_zero(x, values)
    return Estimate(value, abs(value - at_zero(x[:-1], values[:-1])) + error)


# ---- the stationary state ----


@dataclass(frozen=True, eq=False)
class _Stationary:
    """Covariances at ascending lags, and what they give."""

    lags: np.ndarray
    covariance: np.ndarray
    exponent: float = float("nan")
    residual: float = 0.0

    @property
    def time(self) -> float:
        return float(self.lags[-1])

    @property
    def variance(self) -> float:
        return float(self.covariance[0])

    @property
    def window(self) -> float:
        """Relative error that the finite range of lags leaves, of order e^{−2 rate time}."""
        middle, last = np.interp(self.time * np.array([0.5, 1.0]), self.lags, self.covariance)
        fall = self.variance - last
        return 3.0 * float(((middle - last) / fall) ** 4) if fall > 1e-9 * self.variance else 0.0


def _flow(averages: _Averages, time: float | None) -> _Stationary:
    """At δ = 0: C as the path of a particle that leaves the variance at rest and stops at C_∞."""
    rest = averages.resting()
    if averages.at(rest, rest)[1] < 1.0:  # at a fixed point that is stable
        return _Stationary(np.array([0.0, time or 10.0]), np.full(2, rest))
    high, low = rest, 0.9 * rest
    while averages.barrier(low) > 0.0 and low > 1e-12 * rest:
        high, low = low, 0.9 * low
    variance = float(brentq(averages.barrier, low, high, xtol=1e-14 * rest))  # pyright: ignore[reportArgumentType]
    far = averages.far(variance)
    a = np.linspace(0.0, 6.0, 401)  # C = C_∞ + (C_0 − C_∞)/cosh² a
    middle = 0.5 * (a[1:] + a[:-1])
    c = far + (variance - far) / np.cosh(middle) ** 2
    speed = np.sqrt(2.0 * np.maximum(averages.energy(variance, c), 1e-300))
    rate = np.sqrt(1.0 - averages.at(variance, far)[1])
    lags = np.cumsum(np.diff(a) * 2.0 * (c - far) * np.tanh(middle) / speed)
    lags, c = np.append(0.0, lags), far + (variance - far) / np.cosh(a) ** 2
    time = float(_DECAYS / rate) if time is None else time
    tail = np.linspace(0.0, 1.0, 100)[1:] * max(time - lags[-1], 1e-9)
    c = np.append(c, far + (c[-1] - far) * np.exp(-rate * tail))
    return _Stationary(*_until(time, np.append(lags, lags[-1] + tail), c))


def _until(time: float, lags: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = lags < time
    return np.append(lags[kept], time), np.append(c[kept], np.interp(time, lags, c))


def _solve(averages: _Averages, step: float, guess: _Stationary) -> _Stationary:
    """That of one map by Newton's method, C being even in the lag about both ends of its range."""
    lags = step * np.arange(max(int(np.ceil(guess.time / step)), 2) + 1)
    c = np.interp(lags, guess.lags, guess.covariance)
    mesh = (1.0 - step) / step**2
    if guess.variance > 0.0:
        column = averages.by_variance(guess.variance, c)  # differs little from step to step
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
    return _Stationary(lags, c, _exponent(step, slope), float(left))


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


# ---- averages over neurons ----


class _Averages:
    """f(C) = g² E[φ(x) φ(x')] for Gaussian x, x' of equal variance and covariance C, and what follows from it."""

    def __init__(self, cell: Leaky, ensemble: Ensemble) -> None:
        self.mean, self.static = float(ensemble.means[0]), float(ensemble.static_variance[0])
        self.strong = ensemble.gain["input"] ** 2 + self.static + 1.0
        self.functions = activation(cell, ensemble.gain["input"])
        x, weights = gaussian_nodes(np.array(self.mean), np.sqrt(self.strong))
        values, slopes = (f(x) for f in self.functions)
        if abs(slopes @ weights - values * (x - self.mean) @ weights / self.strong) > 1e-6 * np.max(np.abs(slopes)):
            raise ValueError("the continuous limit is for smooth activation functions only")
        nodes = np.cos(np.pi * (np.arange(_POINTS) + 0.5) / _POINTS)
        self.rho, self.fit = nodes, np.linalg.inv(chebyshev.chebvander(nodes, _POINTS - 1))
        self._variance, self._series = -1.0, np.zeros((_POINTS, 2))

    def series(self, variance: float) -> np.ndarray:
        """Chebyshev series of f and f' = g² E[φ'(x) φ'(x')] in the correlation, the last one kept."""
        if variance != self._variance:
            self._variance, self._series = variance, self.fit @ self._averages(variance).T
        return self._series

    def at(self, variance: float, covariance: float | np.ndarray) -> np.ndarray:
        """f and f'."""
        return chebyshev.chebval(self._correlation(variance, covariance), self.series(float(variance)))

    def by_variance(self, variance: float, covariance: np.ndarray) -> np.ndarray:
        """What f changes by the variance."""
        up, down = variance * (1.0 + 1e-4), variance * (1.0 - 1e-4)
        return (self.at(up, covariance)[0] - self.at(down, covariance)[0]) / (up - down)

    def energy(self, variance: float, covariance: np.ndarray) -> np.ndarray:
        """∫ (C − f − v) dC from C_∞."""
        inner = chebyshev.chebint(self.series(variance)[:, 0])
        far = self.far(variance)
        f = chebyshev.chebval(self._correlation(variance, np.append(covariance, far)), inner) * variance
        return 0.5 * (covariance**2 - far**2) - (f[:-1] - f[-1]) - self.static * (covariance - far)

    def barrier(self, variance: float) -> float:
        """The energy at the variance: 0 where C may fall from it to C_∞."""
        if self.far(variance) >= variance:
            return -1.0
        return float(self.energy(variance, np.array([variance]))[0])

    def far(self, variance: float) -> float:
        """C_∞ = f(C_∞) + v, the least such; the variance itself if there is none below."""
        c = 0.0
        for _ in range(3000):
            before, c = c, min(float(self.at(variance, c)[0]) + self.static, variance)
            if c - before <= 1e-15 * variance:
                break
        return c

    def resting(self) -> float:
        """The variance at which neurons rest, C = f(C) + v, from strong activity down or up."""
        variance = self.strong
        for _ in range(5000):
            x, weights = gaussian_nodes(np.array(self.mean), np.sqrt(variance))
            before, variance = variance, float(self.functions[0](x) ** 2 @ weights) + self.static
            if abs(variance - before) <= 1e-15 * variance or variance < 1e-14:
                break
            if variance > 1e6 * self.strong:
                raise ValueError("the ensemble's activity grows without bound; its φ must saturate")
        return variance if variance >= 1e-14 else 0.0

    def _correlation(self, variance: float, covariance: float | np.ndarray) -> np.ndarray:
        return np.clip(np.asarray(covariance) / variance, -1.0, 1.0) if variance > 0.0 else np.zeros_like(covariance)

    def _averages(self, variance: float) -> np.ndarray:
        """f and f' at the nodes ρ, (2, nodes): x = m + u + w, x' = m + u − w with independent u and w."""
        u, u_weights = gaussian_nodes(np.zeros(_POINTS), np.sqrt(variance * (1.0 + self.rho) / 2.0))
        w, w_weights = gaussian_nodes(np.zeros(_POINTS), np.sqrt(variance * (1.0 - self.rho) / 2.0))
        x = self.mean + u[:, :, None] + w[:, None, :]
        values = np.stack([f(x) for f in self.functions])
        values = values * values[..., ::-1]  # the nodes w lie even about 0
        return np.einsum("fru,ru->fr", np.einsum("fruw,rw->fru", values, w_weights), u_weights)
