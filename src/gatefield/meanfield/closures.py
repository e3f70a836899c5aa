"""The GRU's autocorrelation from an approximate closed equation [CKS 45–46].

Taking the update gate z_t and the state h_{t−1} as independent closes the mean field in C_h(k) = E[h(t) h(t + k)]:

    κ [C_h(k + 1) + C_h(k − 1) − 2 C_h(k)] = (1 − 2κ + C_z(k)) (C_h(k) − C_φ(k)),

κ = E z, C_z, C_φ = E φ(y) φ(y') and C_r Gaussian averages, y of covariance a_h² C_r(k) C_h(k) + v_h. [CKS 46] is
this at k = 0 with C_h(−1) = C_h(1). It is a particle's equation of motion, time k, that starts at rest from C_h(0); the
stationary solution is the one that comes to rest again, on top of the hill where C_h = C_φ. From a lower C_h(0) it
rolls over, from a higher one back: C_h(0) is found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import acos, sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import BarycentricInterpolator, CubicSpline
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit

from gatefield.cells.builtin import GRU
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.kinks import activation_kinks
from gatefield.meanfield.sampled import MeanField
from gatefield.numerics.correlation import decay_time
from gatefield.numerics.estimates import Estimate
from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import whole

_ANGLES = 32  # quadratures per table
_CELLS = 1024  # of the spline that carries it
_LONGEST = 50_000  # steps of one shot
_STARTS = 24
_AGREE = 1e-5  # relative difference at which two shots about the solution part
_SMALLEST, _LARGEST = 1e-10, 1e6  # second moments among which static solutions are sought
_PER_DECADE = 12
_SOLVED = 1e-5  # residual

Function = Callable[[np.ndarray], np.ndarray]
Breaks = tuple[float, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Closure(Result):
    """The state of an infinite GRU as the closure [CKS 45–46] has it.

    Attributes:
        autocorrelation: C_h(lag) = E[h(t) h(t + lag)], not centred, at `lags`.
        limit: C_h at infinite lag.
        mean: E h.
        regime: "quiescent" (h = 0), "fixed point" or "chaotic" (time-dependent).
        residual: largest imbalance of [CKS 45–46] over `lags`, relative to C_h(0).
    """

    ensemble: Ensemble
    lags: np.ndarray
    autocorrelation: np.ndarray
    limit: float
    mean: float
    regime: str
    residual: float

    @property
    def second_moment(self) -> float:
        """C_h(0) = E h²."""
        return float(self.autocorrelation[0])

    @property
    def variance(self) -> float:
        """E h² − (E h)²; the two come from different quadratures, so that 0 may miss by what they leave."""
        return max(0.0, self.second_moment - self.mean**2)

    @property
    def bound(self) -> float:
        """C_φ(0) = E φ(y)², which C_h(0) does not exceed [CKS 47]; equal to it at rest.

        It follows from [CKS 46] and C_h(1) ≤ C_h(0), so it is a theorem where the closure is exact: at a constant
        update gate. The paper goes on to the fixed point's C_h; here C_φ(0) is taken at the C_h(0) of the state.
        `MeanField.response_autocorrelation["candidate"]` has that of the mean field.
        """
        return self.second_moment * (1.0 + _surplus(self.ensemble, self.second_moment)) if self.second_moment else 0.0

    @property
    def autocorrelation_time(self) -> float:
        """Lag at which the centred autocorrelation has fallen to 1/e; infinite where it does not within `lags`."""
        centred = self.autocorrelation - self.mean**2
        return float("nan") if self.regime == "quiescent" else decay_time(centred).value

    def compare(self, field: MeanField) -> Estimate:
        """Error of the closure: its C_h less the sampled one, relative to the sampled C_h(0), lag by lag.

        The array's first entry, lag 0, is the relative difference in C_h(0). Standard errors are the mean field's.

        Raises:
            ValueError: a mean field of another ensemble, or one in which activity has died.
        """
        if field.ensemble.describe() != self.ensemble.describe():
            raise ValueError(
                f"field is of {field.ensemble.title()}, the closure of {self.ensemble.title()}; give the mean field "
                "of the same ensemble"
            )
        if field.regime == "quiescent":
            raise ValueError("field is quiescent, so nothing is left to compare; start it from more activity (initial)")
        sampled = field.autocorrelation["h"]
        count = min(len(self.lags), len(field.lags))
        scale = sampled.value[0]
        return Estimate((self.autocorrelation[:count] - sampled.value[:count]) / scale, sampled.error[:count] / scale)

    def description(self) -> Description:
        return Description(
            quantities={
                "second_moment": Quantity(self.second_moment, source="E h²"),
                "variance": Quantity(self.variance, source="E h² − (E h)²"),
                "autocorrelation_time": Quantity(self.autocorrelation_time, units="steps"),
                "autocorrelation": Quantity(self.autocorrelation, ("lag",), source="CKS 45–46"),
                "bound": Quantity(self.bound, source="CKS 47"),
            },
            coordinates={"lag": Quantity(self.lags, units="steps", json="lags")},
            facts={
                "ensemble": self.ensemble, "regime": self.regime, "mean": self.mean, "limit": self.limit,
                "residual": self.residual,
            },
        )  # fmt: skip


def closure(ensemble: Ensemble, *, lags: int = 200) -> Closure:
    """Solve the closure [CKS 45–46] for a GRU's stationary autocorrelation. An approximation: see `Closure.compare`.

    Exact where the update gate is constant, a_z = v_z = 0. Otherwise z_t and h_{t−1} are correlated, because the update
    gate's input is correlated in time, and the paper's equations, which neglect that, are off: at a_h = 3, (a_z, a_r) =
    (10, 10) they give C_h = 0.3597 where `mean_field` finds 0.3954, and at (10, 1) a correlation time of some 10 steps
    instead of some 700.

    Quadrature is accurate to some 1e-10 for smooth activations; the kinks of a hard-tanh leave errors of up to 1e-6 in
    C_φ, near correlation 1. Where several solutions exist the time-dependent one comes first, then the one of larger
    C_h. The zero solution is given only where there is no other.

    Args:
        ensemble: of the paper's GRU, with currents constant in time.
        lags: largest lag of the result.

    Raises:
        ValueError: another cell, a GRU with `reset_after`, a varying current, or activity without bound.
    """
    _check(ensemble)
    lag = np.arange(whole("lags", lags, 1) + 1)
    roots = _static_roots(ensemble)
    for bottom, top in _falling(ensemble, roots):
        start = _bracket(ensemble, bottom, top)
        if start is None:
            continue
        over, turned = _bisect(ensemble, *start)
        if over.hilltop is not None:  # or the bisection has come to a static root, from below which all go over
            return _chaotic(ensemble, lag, over, turned, over.hilltop)
    second = roots[-1] if roots else 0.0
    motion = _motion(ensemble, second)
    regime = "fixed point" if second > 0.0 else "quiescent"
    residual = abs(motion.target(second) - second) / max(second, _SMALLEST)
    return _solved(ensemble, lag, np.full(len(lag), second), second, motion.mean, regime, residual)


def _solved(
    ensemble: Ensemble, lag: np.ndarray, c: np.ndarray, limit: float, mean: float, regime: str, residual: float
) -> Closure:
    left = f"[CKS 45–46] are not solved (residual {residual:.2g}); change a gain slightly, or use mean_field(ensemble)"
    return Closure(ensemble, lag, c, limit, mean, regime, residual, messages=(left,) if residual > _SOLVED else ())


def _check(ensemble: Ensemble) -> None:
    cell = ensemble.cell
    if not isinstance(cell, GRU) or cell.reset_after:
        raise ValueError(
            f"ensemble is of {repr_cell(cell)}; the closure is that of GRU() with reset_after=False, "
            "mean_field(ensemble) answers for any cell"
        )
    if ensemble.driven:
        raise ValueError("current: the closure takes constant currents only; use mean_field(ensemble) for varying ones")


# ---- Gaussian averages ----


def _breaks(ensemble: Ensemble) -> Breaks:
    """Where φ has kinks."""
    return activation_kinks(ensemble.cell.activation)  # pyright: ignore[reportAttributeAccessIssue]


def _phi(cell: Any, x: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(cell.phi(jnp.asarray(x)))


def _average(function: Function, mean: float, variance: float, breaks: Breaks = ()) -> float:
    x, weights = gaussian_nodes(np.asarray(mean), np.sqrt(variance), breaks=breaks)
    return float(expectation(function(x), weights))


@dataclass(frozen=True, eq=False)
class _Table:
    """E f(x) f(x') for x, x' Gaussian of one mean and variance, by their covariance.

    A spline in the angle whose cosine is their correlation: even the average of a step function is smooth in it.
    """

    variance: float
    pieces: list[list[float]]

    def __call__(self, covariance: float) -> float:
        if self.variance == 0.0:
            return self.pieces[0][3]
        angle = acos(min(1.0, max(0.0, covariance / self.variance)))
        position = angle * (2.0 * _CELLS / np.pi)
        i = min(int(position), _CELLS - 1)
        t = angle - i * (np.pi / (2.0 * _CELLS))
        a, b, c, d = self.pieces[i]
        return ((a * t + b) * t + c) * t + d


def _table(function: Function, mean: float, variance: float, breaks: Breaks = ()) -> _Table:
    if variance == 0.0:
        return _Table(0.0, [[0.0, 0.0, 0.0, float(function(np.array([mean]))[0]) ** 2]])
    angle = np.pi / 4 * (1.0 - np.cos(np.pi * np.arange(_ANGLES) / (_ANGLES - 1)))
    shared, own = np.sqrt(variance * np.cos(angle).clip(0.0)), np.sqrt(2.0 * variance) * np.sin(angle / 2)
    outer, outer_weights = gaussian_nodes(np.full(_ANGLES, mean), shared, breaks=breaks)
    inner, weights = gaussian_nodes(outer, np.broadcast_to(own[:, None], outer.shape), breaks=breaks)
    values = expectation(expectation(function(inner), weights) ** 2, outer_weights)
    fine = np.linspace(0.0, np.pi / 2, _CELLS + 1)
    spline = CubicSpline(fine, BarycentricInterpolator(angle, values)(fine))
    return _Table(variance, spline.c.T.tolist())


@dataclass(frozen=True, eq=False)
class _Motion:
    """What moves C_h(k), given C_h(0)."""

    second: float
    mean: float
    gate: float
    gates: Callable[[float], float]
    target: Callable[[float], float]

    def pull(self, c: float) -> float:
        """E (1 − z)(1 − z')."""
        return 1.0 - 2.0 * self.gate + self.gates(c)

    def force(self, c: float) -> float:
        """Second difference of C_h."""
        return self.pull(c) * (c - self.target(c)) / self.gate


def _motion(ensemble: Ensemble, second: float) -> _Motion:
    (a_z, a_r, a_h), (b_z, b_r, b_h) = ensemble.gains, ensemble.means
    v_z, v_r, v_h = ensemble.static_variance
    phi, breaks = partial(_phi, ensemble.cell), _breaks(ensemble)
    gates = _table(expit, b_z, a_z**2 * second + v_z)
    resets = _table(expit, b_r, a_r**2 * second + v_r)
    candidates = _table(phi, b_h, a_h**2 * second * resets(a_r**2 * second + v_r) + v_h, breaks)
    return _Motion(
        second=second,
        mean=_average(phi, b_h, candidates.variance, breaks),
        gate=_average(expit, b_z, gates.variance),
        gates=lambda c: gates(a_z**2 * c + v_z),
        target=lambda c: candidates(a_h**2 * c * resets(a_r**2 * c + v_r) + v_h),
    )


# ---- static solutions: C_h = C_φ [CKS 10] ----


def _surplus(ensemble: Ensemble, second: float) -> float:
    """C_φ(0)/C_h(0) − 1 at a static state of that second moment."""
    _, a_r, a_h = ensemble.gains
    _, b_r, b_h = ensemble.means
    _, v_r, v_h = ensemble.static_variance
    reset = _average(lambda x: expit(x) ** 2, b_r, a_r**2 * second + v_r)
    candidate = a_h**2 * second * reset + v_h
    return _average(lambda x: _phi(ensemble.cell, x) ** 2, b_h, candidate, _breaks(ensemble)) / second - 1.0


def _static_roots(ensemble: Ensemble) -> list[float]:
    """Non-zero static second moments, in order."""
    count = int(_PER_DECADE * np.log10(_LARGEST / _SMALLEST))
    grid = np.geomspace(_SMALLEST, _LARGEST, count + 1)
    surplus = [_surplus(ensemble, c) for c in grid]
    if surplus[-1] > 0.0:
        raise ValueError(
            f"gain['candidate']={ensemble.gain['candidate']:g}: activity has no bound with this activation; lower it"
        )
    cells = [i for i in range(count) if (surplus[i] > 0.0) != (surplus[i + 1] > 0.0)]
    return [_root(partial(_surplus, ensemble), grid[i], grid[i + 1]) for i in cells]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    root: Any = brentq(function, low, high, xtol=1e-15)
    return float(root)


def _falling(ensemble: Ensemble, roots: list[float]) -> list[tuple[float, float]]:
    """Ranges of C_h(0) below C_φ(0), each up to a static root, largest first: only from there can C_h(k) fall."""
    edges = [0.0, *roots]
    pairs = [(edges[i], edges[i + 1]) for i in range(len(roots))]
    return [(a, b) for a, b in reversed(pairs) if _surplus(ensemble, max((a + b) / 2, _SMALLEST)) > 0.0]


# ---- the time-dependent solution ----


def _hilltop(motion: _Motion) -> float | None:
    """Smallest C_h at which C_φ − C_h falls through zero: where a falling C_h can come to rest."""
    grid = np.concatenate([[0.0], np.linspace(0.0, motion.second, 257)[:-1] + 1e-6 * motion.second])
    above = np.array([motion.target(c) - c for c in grid])
    below = np.nonzero(above < 0.0)[0]
    if len(below) == 0:
        return None
    i = int(below[0])
    if i == 1 and above[0] <= 1e-13 * motion.second:
        return 0.0
    return _root(lambda c: motion.target(c) - c, grid[i - 1], grid[i])


@dataclass(frozen=True, eq=False)
class _Shot:
    """C_h(k) from rest until it has passed the hilltop, or 0 where there is none (`over`), or turned back."""

    motion: _Motion
    hilltop: float | None
    path: list[float]
    over: bool

    @property
    def height(self) -> float:
        """Lowest point above the hilltop, relative to C_h(0); below 0 if it went over."""
        return (min(self.path) - (self.hilltop or 0.0)) / self.path[0]


def _shoot(ensemble: Ensemble, second: float) -> _Shot:
    motion = _motion(ensemble, second)
    hilltop = _hilltop(motion)
    path = [second, second + motion.force(second) / 2.0]
    floor = hilltop or 0.0
    while floor < path[-1] < path[-2] and len(path) < _LONGEST:
        path.append(2.0 * path[-1] - path[-2] + motion.force(path[-1]))
    return _Shot(motion, hilltop, path, over=path[-1] <= floor)


def _bracket(ensemble: Ensemble, bottom: float, top: float) -> tuple[_Shot, float] | None:
    """A start from which C_h(k) goes over, and one above it from which it turns back; None where none goes over."""
    starts = top - (top - bottom) * np.arange(1, _STARTS) / _STARTS
    heights, last = [], top
    for second in starts:
        shot = _shoot(ensemble, float(second))
        if shot.over:
            return shot, float(last)
        heights.append(shot.height)
        last = second
    # near the fold where chaos begins, only a narrow range goes over
    best = int(np.argmin(heights))
    bounds = (starts[min(best + 1, len(starts) - 1)], starts[best - 1] if best else top)
    found = minimize_scalar(lambda c: _shoot(ensemble, c).height, bounds=bounds, method="bounded")
    shot = _shoot(ensemble, float(found.x))  # pyright: ignore[reportAttributeAccessIssue]
    return (shot, float(bounds[1])) if shot.over else None


def _bisect(ensemble: Ensemble, over: _Shot, back: float) -> tuple[_Shot, _Shot | None]:
    """Shots from neighbouring starts, one that goes over and one that turns back."""
    turned: _Shot | None = None
    while True:
        middle = (over.motion.second + back) / 2
        if middle in (over.motion.second, back):
            return over, turned
        shot = _shoot(ensemble, middle)
        if shot.over:
            over = shot
        else:
            back, turned = middle, shot


def _chaotic(ensemble: Ensemble, lag: np.ndarray, over: _Shot, turned: _Shot | None, hilltop: float) -> Closure:
    """Where the two shots part, the rest is the exponential approach to the hilltop."""
    motion = over.motion
    other = turned.path if turned else over.path[:1]
    known = 1
    while known < min(len(over.path), len(other)):
        a, b = over.path[known], other[known]
        if abs(a - b) > _AGREE * (a - hilltop):
            break
        known += 1
    rate = _decay(motion, hilltop)
    tail = hilltop + (over.path[known - 1] - hilltop) * rate ** np.maximum(lag - known + 1, 0)
    c = np.where(lag < known, np.pad(over.path[:known], (0, len(lag)))[lag], tail)
    return _solved(ensemble, lag, c, hilltop, motion.mean, "chaotic", _imbalance(motion, c))


def _decay(motion: _Motion, hilltop: float) -> float:
    """Factor per step of the approach to the hilltop: q + 1/q = 2 + the slope of the force there."""
    step = 1e-6 * motion.second
    slope = motion.pull(hilltop) * (1.0 - (motion.target(hilltop + step) - motion.target(hilltop)) / step) / motion.gate
    half = max(slope, 0.0) / 2.0
    return 1.0 / (1.0 + half + sqrt(half * (2.0 + half)))


def _imbalance(motion: _Motion, c: np.ndarray) -> float:
    """Largest left less right side of [CKS 45–46], relative to C_h(0)."""
    before = np.concatenate([c[1:2], c[:-2]])
    sides = [
        motion.gate * (ahead + behind - 2.0 * now) - motion.pull(now) * (now - motion.target(now))
        for behind, now, ahead in zip(before, c[:-1], c[1:], strict=True)
    ]
    return float(np.max(np.abs(sides)) / c[0])
