"""All Lyapunov exponents of an infinite network of any cell: their distribution, and what follows from it.

Windows of sampled trajectories are closed into rings, whose Dyson equation (`ring`) gives F(s), the fraction of
exponents below s, and the mean of max(exponent, s), its integral. A single phase is not enough: where gates are slow,
much goes round the whole ring. The phases (2j + 1)π/T are together one ring of T turns. Both F and its integral are
taken at a window m and at its halves with twice the turns: what these differ by is what the ends of a window do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator
from scipy.optimize import brentq
from threadpoolctl import threadpool_limits

from gatefield.arguments import whole
from gatefield.ensemble import Ensemble
from gatefield.estimates import Estimate, from_batches, plain
from gatefield.histories import Histories, histories_of
from gatefield.lyapunov import LargestExponent, largest_exponent, runs_with_growth
from gatefield.progress import progress
from gatefield.ring import Edge, Ring, RingSolution, solve, solve_path
from gatefield.snapshot import Snapshot

_GROUPS = 4  # of neurons, for errors
_PHASES = 32  # where nothing moves and a step is as good as a window
_ROUND = 64  # steps of all turns of a window together, at least two turns
_CHECKED = 6  # exponents at which groups are solved by themselves
_LINEAR, _QUADRATIC = 1.0, 1.0 / 3.0  # of F_m − F_{m/2} is left where ends matter as 1/m or as 1/m²
_LOWEST_FRACTION = 3e-3  # the curve is followed down to there
_LOWEST = -30.0  # below the largest exponent, or to there
_FAR = (-6.0, -12.0, -18.0, -24.0, -30.0, -40.0)  # where one step's determinant is read off
_NOTHING = 1e-6  # fraction of exponents further down that does not count
_SINGLE_STEPS = 16_000
_TOLERANCE = 1e-4  # residual with which a point counts as solved


@dataclass(frozen=True, eq=False)
class _Curve:
    """F and the mean of max(exponent, s) at ascending s, and the largest exponent."""

    s: np.ndarray
    fraction: np.ndarray
    potential: np.ndarray
    edge: float

    @cached_property
    def _knots(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        below = self.s < self.edge - 1e-6
        s = np.append(self.s[below], self.edge)
        fraction = np.append(np.maximum.accumulate(np.clip(self.fraction[below], 0.0, 1.0)), 1.0)
        return s, fraction, np.append(self.potential[below], self.edge)

    @property
    def tail(self) -> float:
        """d log F/ds at the lower end; infinite where nothing is left there."""
        s, fraction, _ = self._knots
        if len(s) < 3 or fraction[0] <= 1e-12:
            return np.inf
        return max(float(np.log(fraction[1] / fraction[0]) / (s[1] - s[0])), 1e-3)

    def below(self, s: Any) -> np.ndarray:
        """F at any s: an exponential tail below, 1 above."""
        knots, fraction, _ = self._knots
        s = np.asarray(s, float)
        if len(knots) == 1:
            return np.where(s < knots[0], 0.0, 1.0)
        logs = np.log(np.maximum(fraction, 1e-15))  # straight where F is an exponential, as it is far down
        inside = np.exp(PchipInterpolator(knots, logs)(np.clip(s, knots[0], knots[-1])))
        if not np.isfinite(self.tail):
            return np.where(s < knots[0], 0.0, inside)
        return np.where(s < knots[0], fraction[0] * np.exp(self.tail * np.minimum(s - knots[0], 0.0)), inside)

    def mean_above(self, s: float) -> float:
        """Mean of max(exponent, s)."""
        knots, fraction, potential = self._knots
        if s >= self.edge or len(knots) == 1:
            return max(s, self.edge)
        if s <= knots[0]:
            return float(potential[0] - (fraction[0] - self.below(s)) / self.tail)
        return float(CubicHermiteSpline(knots, potential, fraction)(s))

    def dimension(self) -> float:
        """Share of the largest exponents whose sum is zero: Φ(s) = s F(s) at the last of them."""
        if self.edge <= 0.0:
            return 0.0

        def total(s: float) -> float:
            return self.mean_above(s) - s * float(self.below(s))

        low = -1.0
        while total(low) > 0.0:
            low *= 2.0
            if low < 4.0 * _LOWEST:
                return 1.0
        root: Any = brentq(total, low, 0.0, xtol=1e-10)
        return 1.0 - float(self.below(root))

    def mean(self) -> float:
        """Of all exponents."""
        _, fraction, potential = self._knots
        return float(potential[0] - (fraction[0] / self.tail if np.isfinite(self.tail) else 0.0))

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """The exponents below which these shares lie."""
        knots, _, _ = self._knots
        low = knots[0] - (30.0 / self.tail if np.isfinite(self.tail) else 0.0)
        grid = np.concatenate([np.linspace(low, knots[0], 2000)[:-1], np.linspace(knots[0], knots[-1], 4000)])
        values = self.below(grid) + 1e-15 * np.arange(len(grid))
        return np.interp(share, values, grid, left=-np.inf)


@dataclass(frozen=True, eq=False)
class LyapunovDistribution:
    """Lyapunov exponents of an infinite network, per step; dimension and entropy are per neuron.

    Values are extrapolated in the window. Errors hold what differs between independent groups of sampled neurons, and
    half of what the window and its halves differ by.

    Attributes:
        s: where the equations were solved, ascending.
        fraction: F(s), the fraction of exponents below each.
        window: steps m of each window.
        samples: windows.
        points: how many s.
        seed: of everything drawn.
        window_effect: F at the window less F at its halves, at each s.
        edge: the largest exponent, where F reaches 1.
        largest: the same by the tangent mean field, without windows; its `field` is the state.
        determinant: E log|det J|/(D N) of single steps: what `mean` must be. −∞ where directions vanish.
        residual: largest of the equations' residuals.
        message: what is wrong and what to change; empty where nothing is.
    """

    ensemble: Ensemble
    s: np.ndarray
    fraction: Estimate
    window: int
    samples: int
    seed: int
    window_effect: np.ndarray
    edge: Estimate
    largest: LargestExponent
    determinant: Estimate
    residual: float
    message: str
    _best: _Curve
    _windows: tuple[_Curve, _Curve]
    _parts: tuple[_Curve, ...]

    @property
    def points(self) -> int:
        """How many s."""
        return len(self.s)

    @property
    def converged(self) -> bool:
        """Whether `message` is empty."""
        return not self.message

    def _estimate(self, function: Callable[[_Curve], Any], scale: float = 1.0) -> Estimate:
        return _estimate(function, self._best, self._windows, self._parts, scale)

    @property
    def _states(self) -> int:
        return len(self.ensemble.cell.state_names)

    def fraction_below(self, s: Any) -> Estimate:
        """Share of all exponents below s, an array of any shape."""
        at = np.asarray(s, float)
        return self._estimate(lambda curve: curve.below(at))

    def exponents(self, quantiles: Any) -> Estimate:
        """The exponents below which these shares of all exponents lie."""
        share = np.asarray(quantiles, float)
        if np.any(~((share >= 0.0) & (share <= 1.0))):
            raise ValueError(f"quantiles={quantiles!r} must lie in [0, 1]")
        return self._estimate(lambda curve: curve.quantile(share))

    @cached_property
    def kaplan_yorke_dimension(self) -> Estimate:
        """D_KY/N: D times the share of largest exponents whose sum is zero."""
        return self._estimate(_Curve.dimension, self._states)

    @cached_property
    def entropy_rate(self) -> Estimate:
        """h/N: sum of the positive exponents per neuron, nats per step."""
        return self._estimate(lambda curve: max(curve.mean_above(0.0), 0.0), self._states)

    @cached_property
    def fraction_positive(self) -> Estimate:
        """Share of all exponents above 0."""
        return self._estimate(lambda curve: 1.0 - float(curve.below(0.0)))

    @cached_property
    def mean(self) -> Estimate:
        """Mean exponent, as F integrates to; compare `determinant`."""
        if not np.isfinite(self.determinant.value):
            return Estimate(float("-inf"), float("nan"))
        found = self._estimate(_Curve.mean)
        tail = self._best.tail
        left = 0.3 * float(self._best.below(self.s[0])) / tail if np.isfinite(tail) else 0.0
        return Estimate(found.value, float(np.hypot(found.error, left)))

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and text, each number with its error as {"value", "error"}."""
        named = ("edge", "kaplan_yorke_dimension", "entropy_rate", "fraction_positive", "mean", "determinant")
        return {
            "ensemble": self.ensemble.describe(),
            "regime": self.largest.field.regime,
            "s": plain(self.s),
            "fraction_below": self.fraction.as_json(),
            "window_effect": plain(self.window_effect),
            **{name: getattr(self, name).as_json() for name in named},
            "lyapunov_max": Estimate(self.largest.value, self.largest.error).as_json(),
            "window": self.window,
            "samples": self.samples,
            "seed": self.seed,
            "residual": self.residual,
            "converged": self.converged,
            "message": self.message,
        }

    def to_dataset(self) -> Any:
        """As an `xarray.Dataset`: the fraction below each s, and what follows from it."""
        from gatefield.datasets import lyapunov_distribution_dataset

        return lyapunov_distribution_dataset(self)


def _estimate(
    function: Callable[[_Curve], Any],
    best: _Curve,
    windows: tuple[_Curve, _Curve],
    parts: tuple[_Curve, ...],
    scale: float = 1.0,
) -> Estimate:
    """A function of the curve: of the extrapolated one, with the scatter of the groups and half the window's effect."""
    value = np.asarray(function(best), float) * scale
    with np.errstate(invalid="ignore"):
        effect = 0.5 * scale * np.abs(np.asarray(function(windows[0])) - np.asarray(function(windows[1])))
        scatter = scale * from_batches([function(p) for p in parts]).error if len(parts) > 1 else 0.0
    error = np.hypot(effect, scatter)
    return Estimate(value, error) if np.ndim(value) else Estimate(float(value), float(error))


def lyapunov_spectrum(
    ensemble: Ensemble,
    *,
    window: int = 32,
    samples: int = 2000,
    seed: int = 0,
    points: int = 20,
    steps: int = 400,
    initial: float = 0.6,
) -> LyapunovDistribution:
    """The whole Lyapunov spectrum of an infinite network of any cell, autonomous or driven.

    Args:
        ensemble: the random networks.
        window: steps m of each window, even and at least 4. Time grows as m³. Slow gates need windows longer than
            their correlation time; `window_effect` and the errors tell.
        samples: windows, each of another neuron, at least 16.
        seed: of everything drawn.
        points: how many s to solve at, at least 6; they are chosen where the curve changes.
        steps: of the mean field before the windows, at least 64.
        initial: standard deviation of every state variable at the start.

    Raises:
        ValueError: an argument out of its range, or an ensemble in which no neuron acts on another.
    """
    window, samples = whole("window", window, 4), whole("samples", samples, 16)
    points, steps = whole("points", points, 6), whole("steps", steps, 64)
    if window % 2:
        raise ValueError(f"window={window} must be even: its halves are solved too")
    largest, histories = _sampled(ensemble, window, samples, seed, steps, initial)
    if histories.groups == 0:
        raise ValueError(f"gain={dict(ensemble.gain)}: no neuron acts on another; give a gain that does")
    with threadpool_limits(1, user_api="blas"), progress(_work(histories, points), "exponents") as report:
        return _solved(ensemble, histories, largest, points, seed, report)


def _work(histories: Histories, points: int) -> int:
    """Solutions that a progress bar counts, if nothing rests."""
    return points * sum(len(rings) for rings in _levels(histories, False)) + 2 * _GROUPS * _CHECKED


def _sampled(
    ensemble: Ensemble, window: int, samples: int, seed: int, steps: int, initial: float
) -> tuple[LargestExponent, Histories]:
    """The largest exponent by the tangent mean field, and windows of the neurons of the same run."""
    total = steps + window + 1
    neurons = max(8000, samples)
    done, states, xs = [], [], []
    for run in runs_with_growth(ensemble, steps=total, samples=neurons, seed=seed, initial=initial):
        done.append(run)
        states.append(run.before[-window - 1 :])
        xs.append(run.xs[-window - 1 :])
    largest = largest_exponent(ensemble, done, steps=total, seed=seed)
    if largest.field.regime == "quiescent" and ensemble.zero_is_fixed:
        rest = Snapshot.at_zero(ensemble, samples=samples, seed=seed)
        still = (np.repeat(a[None], window + 1, axis=0) for a in (rest.state, rest.preactivations))
        return largest, histories_of(ensemble, *still)
    each = -(-samples // len(states))
    chosen = (np.concatenate([a[:, :each] for a in arrays], axis=1) for arrays in (states, xs))
    return largest, histories_of(ensemble, *chosen)


def _levels(histories: Histories, resting: bool) -> tuple[list[Ring], list[Ring]]:
    """Rings to average over, and those of half the window; at rest, of one step with many turns and half as many."""
    if resting:
        still = histories.split(histories.steps).part(slice(None, None, histories.steps))
        return _phases(still, 2 * _PHASES), _phases(still, _PHASES)
    if histories.memory == 0:  # white P and Q: all phases say the same
        return [Ring(histories)], [Ring(histories.split(2))]
    turns = max(2, _ROUND // histories.steps)
    return _phases(histories, turns), _phases(histories.split(2), 2 * turns)


def _phases(histories: Histories, turns: int) -> list[Ring]:
    """The phases of an even number of turns, less those that are conjugate to others; the smallest first."""
    return [Ring(histories, (2 * j + 1) * np.pi / turns) for j in range(turns // 2)]


def _solved(
    ensemble: Ensemble,
    histories: Histories,
    largest: LargestExponent,
    points: int,
    seed: int,
    report: Callable[[int], None],
) -> LyapunovDistribution:
    resting = largest.field.regime in ("quiescent", "fixed point")
    levels = _levels(histories, resting)
    edges = [largest.value] * 2 if resting else [_edge(rings[0]) for rings in levels]  # the smallest phase grows most
    s = _chosen(histories, max(edges), points, resting)
    curves, all_solutions = [], []
    for rings, edge in zip(levels, edges, strict=True):
        paths = []
        for ring in rings:
            paths.append(list(solve_path(ring, s)))
            report(len(s))
        curves.append(_curve(paths, edge))
        all_solutions.append(paths)
    full, half = curves
    best = _extrapolated(full, half)
    middle = len(levels[0]) // 2
    parts = () if resting else _parts(levels[0], middle, full, all_solutions[0][middle], report)
    residual = max(one.residual for paths in all_solutions for path in paths for one in path)
    known = best, (full, half), parts
    result = LyapunovDistribution(
        ensemble=ensemble,
        s=s,
        fraction=_estimate(lambda curve: curve.below(s), *known),
        window=levels[0][0].histories.steps,
        samples=levels[0][0].histories.neurons,
        seed=seed,
        window_effect=full.fraction - half.fraction,
        edge=_estimate(lambda curve: curve.edge, *known),
        largest=largest,
        determinant=_determinant(histories),
        residual=residual,
        message="",
        _best=best,
        _windows=(full, half),
        _parts=parts,
    )
    object.__setattr__(result, "message", _complaint(result))
    return result


def _curve(paths: list[list[RingSolution]], edge: float) -> _Curve:
    """Averages over phases."""
    s = np.array([one.s for one in paths[0]])
    fraction, potential = (
        np.mean([[getattr(one, n) for one in p] for p in paths], axis=0) for n in ("fraction", "potential")
    )
    return _Curve(s, fraction, potential, edge)


def _extrapolated(full: _Curve, half: _Curve) -> _Curve:
    """Window → ∞: midway between what the ends do as 1/m and as 1/m²."""
    share = (_LINEAR + _QUADRATIC) / 2.0

    def onward(a: Any, b: Any) -> Any:
        return a + share * (a - b)

    fraction = np.clip(onward(full.fraction, half.fraction), 0.0, 1.0)
    return _Curve(full.s, fraction, onward(full.potential, half.potential), onward(full.edge, half.edge))


def _edge(ring: Ring, part: slice = slice(None), near: float = 0.0) -> float:
    """The largest exponent of a ring."""
    edge = Edge(ring)

    def growth(s: float) -> float:
        return edge.log_growth(s, part)

    width = 0.05
    low = high = near
    while growth(high) > 0.0:
        low, high, width = high, high + width, 2.0 * width
    while growth(low) <= 0.0:
        low, high, width = low - width, low, 2.0 * width
        if low < 2.0 * _LOWEST:
            raise ValueError("gain: neurons act on one another too little to tell an exponent; raise a gain")
    root: Any = brentq(growth, low, high, xtol=1e-6)
    return float(root)


def _chosen(histories: Histories, edge: float, points: int, resting: bool) -> np.ndarray:
    """Ascending s that share out what F and s change by, found on few and short windows; 0 is one of them."""
    few = histories.part(slice(None, None, max(1, histories.neurons // 100)))
    if resting:
        few = few.split(few.steps).part(slice(None, None, few.steps))
        rings = [Ring(few, np.pi * (j + 0.5) / 8) for j in range(8)]
    else:
        rings = [Ring(few.split(4 if few.steps % 8 == 0 else 2), np.pi / 2.0)]
    ring = rings[0]
    low, guess, before = edge - 1.0, ring.start(), 2.0
    while True:
        found = solve(ring, low, guess, tolerance=1e-3)
        nothing_more = found.outside and abs(found.fraction - before) < 1e-3  # a hole in the spectrum
        if found.fraction < _LOWEST_FRACTION or nothing_more or low < edge + _LOWEST:
            break
        low, guess, before = edge - 1.6 * (edge - low), found.unknowns, found.fraction
    grid = edge - np.geomspace(edge - low, 0.01, 32)
    rough = np.mean([[one.fraction for one in solve_path(ring, grid)] for ring in rings], axis=0)
    rough = np.maximum.accumulate(np.clip(rough, 0.0, 1.0))
    keep = max(0, int(np.searchsorted(rough, _LOWEST_FRACTION)) - 1)
    grid, rough = np.append(grid[keep:], edge), np.append(rough[keep:], 1.0)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(rough), 0.3 * np.diff(grid) / (grid[-1] - grid[0])))])
    s = np.interp(np.linspace(0.0, length[-1], points + 1)[:-1], length, grid)
    if s[0] < 0.0 < edge:
        s[int(np.argmin(np.abs(s)))] = 0.0
    return np.unique(s)


def _parts(
    rings: list[Ring], middle: int, full: _Curve, solutions: list[RingSolution], report: Callable[[int], None]
) -> tuple[_Curve, ...]:
    """The curve with each group's deviations from it, which are solved at some of its points for one phase."""
    ring, n = rings[middle], rings[middle].histories.neurons
    if n < 8 * _GROUPS:  # a single neuron stands for all
        return ()
    inside = [i for i, one in enumerate(solutions) if not one.outside]
    chosen = sorted({inside[round(j)] for j in np.linspace(0, len(inside) - 1, _CHECKED)})
    size, curves = n // _GROUPS, []
    for g in range(_GROUPS):
        part = slice(g * size, (g + 1) * size)
        found = [solve(ring, solutions[i].s, solutions[i].unknowns, part=part, tolerance=1e-4) for i in chosen]
        report(2 * len(found))
        moved = [
            np.interp(
                full.s,
                full.s[chosen],
                [getattr(a, name) - getattr(solutions[i], name) for a, i in zip(found, chosen, strict=True)],
            )
            for name in ("fraction", "potential")
        ]
        edge = _edge(rings[0], part, full.edge)
        curves.append(_Curve(full.s, full.fraction + moved[0], full.potential + moved[1], edge))
    return tuple(curves)


def _determinant(histories: Histories) -> Estimate:
    """E log|det J|/(D N): the mean of max(exponent, s) of single steps far below them all."""
    single = histories.split(histories.steps)
    single = single.part(slice(None, None, max(1, single.neurons // _SINGLE_STEPS)))
    ring = Ring(single)
    far = solve(ring, -3.0, ring.start())
    for s in _FAR:
        before, far = far, solve(ring, s, far.unknowns)
        if far.fraction < _NOTHING:
            break
        if before.s < -6.0 and far.fraction > 0.9 * before.fraction:
            return Estimate(float("-inf"), float("nan"))
    size = single.neurons // _GROUPS
    if size < 8:
        return Estimate(far.potential, 0.0)
    parts = [solve(ring, far.s, far.unknowns, part=slice(g * size, (g + 1) * size)) for g in range(_GROUPS)]
    return Estimate(far.potential, float(from_batches([one.potential for one in parts]).error))


def _complaint(result: LyapunovDistribution) -> str:
    """What is wrong, and what to change."""
    field = result.largest.field
    if field.message:
        return field.message
    if result.residual > _TOLERANCE:
        return f"the equations are not solved (residual {result.residual:.2g}); increase samples"
    effect = float(np.max(np.abs(result.window_effect)))
    if effect > 0.03:
        return f"fractions still change by {effect:.2g} between half the window and all of it; increase window"
    mean, exact = result.mean, result.determinant
    if np.isfinite(exact.value) and abs(mean.value - exact.value) > 4.0 * np.hypot(mean.error, exact.error) + 2e-3:
        return f"the mean exponent {mean} is not E log|det J|/(D N) = {exact}; increase points or samples"
    moving = field.regime in ("chaotic", "driven")
    apart = abs(result.edge.value - result.largest.value)
    if moving and apart > 4.0 * np.hypot(result.edge.error, result.largest.error) + 2e-3:
        return f"the curve ends at {result.edge}, the largest exponent is {result.largest.value:.4g}; increase window"
    return ""
