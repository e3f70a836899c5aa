"""All Lyapunov exponents of an infinite network of any cell: their distribution, and what follows from it.

Windows of sampled trajectories are closed into rings, whose Dyson equation (`ring`) gives F(s), the fraction of
exponents below s, and the mean of max(exponent, s), its integral. A single phase is not enough: where gates are slow,
much goes round the whole ring. The phases (2j + 1)π/T are together one ring of T turns. Both F and its integral are
taken at a window m and at its halves and quarters with as many more turns: what these differ by is what the ends of a
window do. Short windows of many more neurons take away most of what is due to the few whose whole windows are solved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq
from threadpoolctl import threadpool_limits

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.chaos.curves import Curve, Family, Level
from gatefield.chaos.histories import Histories, histories_of
from gatefield.chaos.largest import LargestExponent, largest_exponent, runs_with_growth
from gatefield.chaos.ring import Edge, Ring, solve, solve_path
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import whole
from gatefield.running.progress import progress

_GROUPS = 16  # of neurons, for errors
_POOL = 8000  # neurons of the mean field, or four times the windows
_SHORT_ONES = 16  # short windows for each whole one, as far as there are neurons
_PHASES = 32  # where nothing moves and a step is as good as a window
_ROUND = 64  # steps of all turns of a window together, at least two turns
_SHORT_TURNS = 4  # of short windows, which only carry what is known of few neurons over to all
_SHARE = 1.0 / 3.0  # of F_m − F_{m/2} is left if the ends of a window matter as 1/m²
_LOWEST_FRACTION = 3e-3  # the curve is followed down to there
_LOWEST = -30.0  # below the largest exponent, or to there
_FAR = (-6.0, -12.0, -18.0, -24.0, -30.0, -40.0)  # where one step's determinant is read off
_NOTHING = 1e-6  # fraction of exponents further down that does not count
_SINGLE_STEPS = 16_000
_TOLERANCE = 1e-4  # residual with which a point counts as solved


@dataclass(frozen=True, eq=False, repr=False)
class LyapunovDistribution(Result):
    """Lyapunov exponents of an infinite network, per step; dimension and entropy are per neuron.

    Values are extrapolated in the window. Errors hold the scatter of sixteen groups of neurons, and what the window
    and its halves differ by, or half of what these and their quarters differ by if that is more.

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
    _family: Family

    @property
    def points(self) -> int:
        """How many s."""
        return len(self.s)

    @property
    def _states(self) -> int:
        return len(self.ensemble.cell.state_names)

    def fraction_below(self, s: Any) -> Estimate:
        """Share of all exponents below s, an array of any shape."""
        at = np.asarray(s, float)
        return self._family.estimate(lambda curve: curve.below(at))

    def exponents(self, quantiles: Any) -> Estimate:
        """The exponents below which these shares of all exponents lie."""
        share = np.asarray(quantiles, float)
        if np.any(~((share >= 0.0) & (share <= 1.0))):
            raise ValueError(f"quantiles={quantiles!r} must lie in [0, 1]")
        return self._family.estimate(lambda curve: curve.quantile(share))

    @cached_property
    def kaplan_yorke_dimension(self) -> Estimate:
        """D_KY/N: D times the share of largest exponents whose sum is zero."""
        return self._family.estimate(Curve.dimension, self._states)

    @cached_property
    def entropy_rate(self) -> Estimate:
        """h/N: sum of the positive exponents per neuron, nats per step."""
        return self._family.estimate(lambda curve: max(curve.mean_above(0.0), 0.0), self._states)

    @cached_property
    def fraction_positive(self) -> Estimate:
        """Share of all exponents above 0."""
        return self._family.estimate(lambda curve: 1.0 - float(curve.below(0.0)))

    @cached_property
    def mean(self) -> Estimate:
        """Mean exponent, as F integrates to; compare `determinant`."""
        if not np.isfinite(self.determinant.value):
            return Estimate(float("-inf"), float("nan"))
        tail = self._family.best.tail  # of all: few exponents are so far down
        found = self._family.estimate(lambda curve: curve.mean(tail))
        left = 0.3 * float(self._family.best.below(self.s[0])) / tail if np.isfinite(tail) else 0.0
        return Estimate(found.value, float(np.hypot(found.error, left)))

    def description(self) -> Description:
        largest = Estimate(self.largest.value, self.largest.error)
        return Description(
            quantities={
                "edge": Quantity(self.edge, units="1/step"),
                "lyapunov_max": Quantity(largest, units="1/step", source=self.largest.route),
                "kaplan_yorke_dimension": Quantity(self.kaplan_yorke_dimension, units="1/neuron"),
                "entropy_rate": Quantity(self.entropy_rate, units="nats/step/neuron"),
                "fraction_positive": Quantity(self.fraction_positive),
                "mean": Quantity(self.mean, units="1/step"),
                "determinant": Quantity(self.determinant, units="1/step"),
                "fraction_below": Quantity(self.fraction, ("s",), source="Dyson equation over a window of steps"),
                "window_effect": Quantity(self.window_effect, ("s",)),
            },
            coordinates={"s": Quantity(self.s, units="1/step", json="s")},
            facts={
                "ensemble": self.ensemble, "regime": self.largest.field.regime, "window": self.window,
                "samples": self.samples, "seed": self.seed, "residual": self.residual, "message": self.message,
            },
        )  # fmt: skip


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
        window: steps m of each window, even and at least 4. Time grows as m² to m³. Slow gates need windows longer
            than their correlation time; `window_effect` and the errors tell.
        samples: windows, each of another neuron, at least 16. Short windows are taken of sixteen times as many.
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
    sampled = _sampled(ensemble, window, samples, seed, steps, initial)
    if sampled.windows.groups == 0:
        raise ValueError(f"gain={dict(ensemble.gain)}: no neuron acts on another; give a gain that does")
    with threadpool_limits(1, user_api="blas"), progress(_work(sampled, points), "exponents") as report:
        return _solved(ensemble, sampled, points, seed, report)


def _work(sampled: _Sampled, points: int) -> int:
    """Solutions that a progress bar counts, if nothing rests."""
    return points * sum(len(rings) for rings in _levels(sampled, False))


@dataclass(frozen=True, eq=False)
class _Sampled:
    """Windows of some neurons, and short ones, a part of those, of all."""

    largest: LargestExponent
    windows: Histories
    pool: Histories


def _sampled(ensemble: Ensemble, window: int, samples: int, seed: int, steps: int, initial: float) -> _Sampled:
    """The largest exponent by the tangent mean field, and windows of the neurons of the same run."""
    total = steps + window + 1
    neurons = max(_POOL, 4 * samples)
    done, states, xs = [], [], []
    for run in runs_with_growth(ensemble, steps=total, samples=neurons, seed=seed, initial=initial):
        done.append(run)
        states.append(run.before[-window - 1 :])
        xs.append(run.xs[-window - 1 :])
    largest = largest_exponent(ensemble, done, steps=total, seed=seed)
    if largest.field.regime == "quiescent" and ensemble.zero_is_fixed:
        rest = Snapshot.at_zero(ensemble, samples=samples, seed=seed)
        still = (np.repeat(a[None], window + 1, axis=0) for a in (rest.state, rest.preactivations))
        windows = histories_of(ensemble, *still)
        return _Sampled(largest, windows, windows)
    state, x = (np.concatenate(arrays, axis=1) for arrays in (states, xs))
    short = window // _pieces(window) + 1
    many, few = (_spread(state.shape[1], count) for count in (_SHORT_ONES * samples, samples))
    windows, pool = (histories_of(ensemble, state[-m:, n], x[-m:, n]) for m, n in ((window + 1, few), (short, many)))
    return _Sampled(largest, windows, pool)


def _spread(total: int, count: int) -> np.ndarray:
    """Some of all neurons, evenly, so that groups of them are parts of the groups of all."""
    return np.linspace(0, total, min(total, count), endpoint=False).astype(int)


def _pieces(window: int) -> int:
    """Into how many short windows a window is cut: of 8 steps, or of fewer."""
    if window % 8 == 0 and window >= 32:
        return window // 8
    return 4 if window % 4 == 0 and window >= 16 else 2


def _levels(sampled: _Sampled, resting: bool) -> list[list[Ring]]:
    """Rings to average over: short windows of all neurons and of some; then of these whole ones, halves and quarters.

    At rest they are of one step with many turns, and half as many.
    """
    windows, pool = sampled.windows, sampled.pool
    if resting:
        still = windows.split(windows.steps).part(slice(None, None, windows.steps))
        return [_phases(still, 2 * _PHASES), _phases(still, _PHASES)]
    pieces = windows.steps // pool.steps
    cuts = [windows.split(c) for c in ((1, 2, 4) if windows.steps % 4 == 0 and windows.steps >= 16 else (1, 2))]
    if windows.memory == 0:  # white P and Q: all phases say the same
        return [[Ring(h)] for h in (pool, windows.split(pieces), *cuts)]
    turns = max(2, _ROUND // windows.steps)
    return [
        _phases(pool, _SHORT_TURNS),
        _phases(windows.split(pieces), _SHORT_TURNS),
        *(_phases(h, turns * (windows.steps // h.steps)) for h in cuts),
    ]


def _phases(histories: Histories, turns: int) -> list[Ring]:
    """The phases of an even number of turns, less those that are conjugate to others; the smallest first."""
    return [Ring(histories, (2 * j + 1) * np.pi / turns) for j in range(turns // 2)]


def _solved(
    ensemble: Ensemble,
    sampled: _Sampled,
    points: int,
    seed: int,
    report: Callable[[int], None],
) -> LyapunovDistribution:
    largest = sampled.largest
    resting = largest.field.regime in ("quiescent", "fixed point")
    rings = _levels(sampled, resting)
    edges = [largest.value] * len(rings)
    if not resting:
        edges = [_edge(phases[0]) for phases in rings]  # the smallest phase grows most
    s = _chosen(sampled.windows, max(edges), points, resting)
    levels, worst = [], 0.0
    for phases, edge in zip(rings, edges, strict=True):
        level, residual = _level(phases, s, edge, resting, report)
        levels.append(level)
        worst = max(worst, residual)
    family = _family(levels, s, resting)
    result = LyapunovDistribution(
        ensemble=ensemble,
        s=s,
        fraction=family.estimate(lambda curve: curve.below(s)),
        window=1 if resting else sampled.windows.steps,
        samples=sampled.windows.neurons,
        seed=seed,
        window_effect=family.windows[0].fraction - family.windows[1].fraction,
        edge=family.estimate(lambda curve: curve.edge),
        largest=largest,
        determinant=_determinant(sampled.pool),
        residual=worst,
        _family=family,
    )
    complaint = _complaint(result)
    return replace(result, messages=(complaint,)) if complaint else result


def _level(
    rings: list[Ring], s: np.ndarray, edge: float, resting: bool, report: Callable[[int], None]
) -> tuple[Level, float]:
    """Averages over phases, and the largest residual."""
    paths = []
    for ring in rings:
        try:
            paths.append(list(solve_path(ring, s)))
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"window={ring.histories.steps}: its equations have no solution with these samples ({error}); increase "
                "steps and samples, or window"
            ) from error
        report(len(s))
    fraction = np.mean([[one.fraction for one in path] for path in paths], axis=0)
    each = np.mean([[one.potentials for one in path] for path in paths], axis=0)  # (S, n)
    potential, residual = each.mean(axis=1), max(one.residual for path in paths for one in path)
    if each.shape[1] < _GROUPS:  # a single neuron stands for all
        none = np.zeros((_GROUPS, len(s)))
        return Level(fraction, potential, edge, none, none[:, 0]), residual
    groups = np.array_split(each.T, np.linspace(0, each.shape[1], _GROUPS + 1).astype(int)[1:-1])
    shares = np.stack([group.mean(axis=0) for group in groups]) - potential
    moved = np.zeros(_GROUPS)
    if not resting:
        top, step = Edge(rings[0]), 1e-3
        slope = (top.log_growth(edge + step) - top.log_growth(edge - step)) / (2.0 * step)
        moved = -top.shares(edge, _GROUPS) / slope
    return Level(fraction, potential, edge, shares, moved), residual


def _family(levels: list[Level], s: np.ndarray, resting: bool) -> Family:
    """Windows → ∞, what short windows say of some neurons being replaced by what they say of all."""
    if not resting:
        gained = levels[0] - levels[1]
        levels = [level + gained for level in levels[2:]]
    best = levels[0] + _SHARE * (levels[0] - levels[1])
    return Family(best.curve(s), tuple(level.curve(s) for level in levels), best.parts(s))


def _edge(ring: Ring) -> float:
    """The largest exponent of a ring."""
    edge = Edge(ring)

    def growth(s: float) -> float:
        return edge.log_growth(s)

    width = 0.05
    low = high = 0.0
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
    if single.neurons < _GROUPS:
        return Estimate(far.potential, 0.0)
    groups = np.array_split(far.potentials, _GROUPS)
    return Estimate(far.potential, float(from_batches([group.mean() for group in groups]).error))


def _complaint(result: LyapunovDistribution) -> str:
    """What is wrong, and what to change."""
    field = result.largest.field
    if field.message:
        return field.message
    if result.window % field.period and field.regime == "periodic":
        return f"neurons repeat what they do after {field.period} steps; give a window that holds whole periods"
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
