"""Static solutions of the mean field [CKS 10]: every fixed point of an infinite network, and its stability.

All variances of a static state follow from one number q = E v², the second moment of one source: the pre-activations
that it feeds determine the static state, hence the other sources, hence its own image q'. Roots of q'(q) = q are
scanned on a logarithmic grid, tangencies included, and polished. For the GRU q is E[σ(r)² h²] and this is [CKS 10]; for
the LSTM, which the paper calls difficult, c = σ(i) φ(y)/(1 − σ(f)) per neuron and the average is taken by quadrature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm, qmc

from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.snapshot import Snapshot
from gatefield.cells.tracing import structure
from gatefield.numerics.estimates import Estimate
from gatefield.phases.averages import Moments, moments
from gatefield.phases.lstm_factors import LSTMMoments, has_factors
from gatefield.phases.static import crossing, evaluate_states, separation
from gatefield.phases.uniqueness import require_single_states
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import positive
from gatefield.spectra.support import spectral_radius

_SMALLEST = 1e-13
_LARGEST = 27.0  # of log q
_PER_DECADE = 12
_DECADES_AT_ONCE = 2
_ROUNDING = 1e-8
_SAME = 1e-12
_COARSE, _FINE = 1e-5, 1e-12  # relative errors
_SOLVED = 1e-6  # residual
_NO_VARIANCE = 1e-13  # of the second moment


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoint(Result):
    """One static solution of the mean field.

    Attributes:
        mean, variance, second_moment: of each state variable and pre-activation; second moments of h are C_h. NaN
            where they hang on gates that float64 cannot tell from closed, as E c² ~ exp(2 a_f² q) of an LSTM may.
        shaping: ρ_0, with 1 − ρ_0² = det(1 − T(1)) [CKS 16]; a GRU's fixed point is stable iff it is below 1.
        growth: Perron eigenvalue of T(1), at least 1 where λ = 1 lies in the support of the spectrum. It and `shaping`
            are NaN where too large for float64.
        q: second moment of the source that determines the state.
        residual: |q'/q − 1|, found on other and more nodes than the root was (0 at the zero fixed point).
    """

    ensemble: Ensemble
    q: float
    mean: Mapping[str, float]
    variance: Mapping[str, float]
    second_moment: Mapping[str, float]
    shaping: float
    growth: float
    residual: float

    @cached_property
    def snapshot(self) -> Snapshot:
        """Neurons at this state: quasi-random pre-activations and the static states they lead to."""
        names = self.ensemble.names
        std = np.sqrt([self.variance[n] for n in names])
        count = 1 if not std.any() else 8192
        normal = np.zeros((1, len(names)))
        if count > 1:  # shuffled: every 8th point of the sequence itself is no sample
            normal = np.random.default_rng(0).permutation(norm.ppf(qmc.Sobol(len(names), rng=0).random(count)))
        x = self.ensemble.means + std * normal
        return Snapshot(self.ensemble.cell, evaluate_states(self.ensemble.cell, x), x)

    @cached_property
    def spectral_radius(self) -> Estimate:
        """Of the Jacobian at this state."""
        return spectral_radius(self.ensemble, self.snapshot)

    @property
    def stable(self) -> bool:
        """Whether small perturbations die: the spectrum lies within the unit circle [CKS Cor. 6].

        Decided at λ = 1, exactly, where built-in cells lose stability; elsewhere on the circle from the snapshot.
        """
        return self.growth < 1.0 and self.spectral_radius.value < 1.0 + max(1e-3, 3.0 * self.spectral_radius.error)

    def description(self) -> Description:
        """Quadrature has no sampling error, and is 0 in the errors; `residual` holds."""
        named = {"second_moment": self.second_moment, "variance": self.variance, "mean": self.mean}
        return Description(
            quantities={
                "spectral_radius": Quantity(self.spectral_radius, source="CKS 15, 30"),
                "stable": Quantity(self.stable),
                "shaping": Quantity(Estimate(self.shaping, 0.0), source="ρ_0, CKS 16"),
                "growth": Quantity(Estimate(self.growth, 0.0), source="Perron eigenvalue of T(1)"),
                "q": Quantity(self.q),
                "residual": Quantity(self.residual, source="|q'/q − 1|"),
                **{
                    f"{what}_{name}": Quantity(Estimate(value, 0.0), source="CKS 10", json=f"{what}.{name}")
                    for what, values in named.items()
                    for name, value in values.items()
                },
            },
            facts={"ensemble": self.ensemble},
        )


@dataclass(frozen=True, eq=False)
class ExcessCurve:
    """log(q'/q) against q: static states are where it is 0.

    Attributes:
        q: second moment of the source that determines the state, (n,).
        excess: log(q'/q), q' its image, to 1e-5; (n,).
        fed: the pre-activations that this source feeds.
    """

    ensemble: Ensemble
    q: np.ndarray
    excess: np.ndarray
    fed: tuple[str, ...]


def excess_curve(ensemble: Ensemble, *, low: float = 1e-6) -> ExcessCurve:
    """The equation that `fixed_points` solves, from q = `low` to beyond its last root, for a picture of it."""
    equation = _Equation(ensemble)
    grid, values = equation.scan(per_decade=40, low=positive("low", low))
    fed = tuple(ensemble.names[k] for k in equation.groups[equation.unknown].members if ensemble.gains[k] > 0.0)
    return ExcessCurve(ensemble, np.exp(grid), values, fed)


def fixed_points(ensemble: Ensemble) -> list[FixedPoint]:
    """Every static solution of the mean field, in order of variance [CKS 10].

    Raises:
        ValueError: a current that varies in time, a cell whose static state no single source determines, or one whose
            neurons rest in several states each, so that where they rest hangs on the past.
    """
    equation = _Equation(ensemble)
    roots = [0.0] if ensemble.zero_is_fixed else []
    return [equation.fixed_point(q) for q in roots + equation.roots()]


class _Equation:
    """q'(q) = q of one ensemble."""

    def __init__(self, ensemble: Ensemble) -> None:
        if ensemble.driven:
            name = next(n for n in ensemble.names if ensemble.current[n].varies)
            raise ValueError(f"current[{name!r}] varies in time, so that no state is static; leave it out")
        self.ensemble = ensemble
        self.cell = ensemble.cell
        self.groups = structure(self.cell).groups
        self._require_single_states(1.0)
        self.unknown, self.order = resolution(self.cell)

    def _require_single_states(self, q: float) -> None:
        """For sources of a second moment up to q."""
        std = np.sqrt(self.ensemble.static_variance + self.ensemble.gains**2 * q)
        require_single_states(self.cell, self.ensemble.means, std)

    def window(self, log_q: np.ndarray, tolerance: float, surplus: int = 0) -> _Window:
        """The equation for q within the range of some values."""
        return _Window(self, log_q, tolerance, surplus)

    def feed(self, variance: np.ndarray, group: int, q: np.ndarray) -> None:
        """Add what a source of second moment q (n,) gives to the pre-activations' variances (n, K)."""
        for k in self.groups[group].members:
            variance[:, k] += self.ensemble.gains[k] ** 2 * q

    @cached_property
    def top(self) -> float:
        """log q above which there is no root."""
        top = 0.0
        while (at := np.array([top])) is not None and self.window(at, _COARSE).excess(at)[0] > -0.1:
            top += np.log(4.0)
            if top > _LARGEST:
                raise ValueError(
                    f"the activity of this {repr_cell(self.cell)} ensemble is not bounded; no static root ends it"
                )
            self._require_single_states(float(np.exp(top)))
        return top

    def scan(self, *, per_decade: int = _PER_DECADE, low: float = _SMALLEST) -> tuple[np.ndarray, np.ndarray]:
        """A grid of log q up to beyond all roots, and the excess there to 1e-5 or better."""
        count = int(np.ceil((self.top - np.log(low)) / np.log(10.0) * per_decade))
        grid = np.linspace(np.log(low), self.top, count)
        if self._is_one_dimensional:  # nodes that serve a wide range are cheap
            return grid, self.window(grid, _FINE).excess(grid)
        parts = np.array_split(grid, -(-count // (_DECADES_AT_ONCE * per_decade)))
        return grid, np.concatenate([self.window(part, _COARSE).excess(part) for part in parts])

    @property
    def _is_one_dimensional(self) -> bool:
        first = len(self.cell.state_names)
        return all(len(f) == 1 for g in range(len(self.groups)) for f in separation(self.cell, first + g).factors)

    def roots(self) -> list[float]:
        """Non-zero roots."""
        grid, values = self.scan()
        sure = np.abs(values) > _ROUNDING  # at criticality the excess vanishes with q, down to rounding
        grid, values = grid[sure], values[sure]
        brackets = _sign_changes(grid, values) + self._tangencies(grid, values)
        polished = [self._polish(a, b) for a, b in brackets]
        return np.exp(self._distinct(sorted(u for u in polished if u is not None))).tolist()

    def _distinct(self, found: list[float]) -> list[float]:
        """Without repetitions: brackets may share a root, and between two roots the excess is more than rounding."""
        kept = found[:1]
        for u in found[1:]:
            if u - kept[-1] > 0.1 or abs(self._exact(kept[-1], u)(0.5 * (kept[-1] + u))) > _SAME:
                kept.append(u)
        return kept

    def _exact(self, low: float, high: float) -> Callable[[float], float]:
        """The excess between two values of log q."""
        window = self.window(np.linspace(low, high, 3), _FINE)
        return lambda u: float(window.excess(np.array([u]))[0])

    def _tangencies(self, grid: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
        """Pairs of roots between grid points, where the excess turns without having changed sign."""
        found = []
        for i in range(1, len(grid) - 1):
            side = np.sign(values[i])
            before, here, after = side * values[i - 1 : i + 2]
            # a parabola's turn lies at most an eighth of the larger step below the lowest of three points
            if 0.0 < here < min(before, after, max(before, after) - here + 10.0 * _COARSE):
                low, high = float(grid[i - 1]), float(grid[i + 1])
                excess = self._exact(low, high)
                turn = _turn(excess, float(side), low, high)
                if side * excess(turn) < 0.0:
                    found += [(low, turn), (turn, high)]
        return found

    def _polish(self, low: float, high: float) -> float | None:
        """The root in a bracket that a coarse scan found, widened once; None where exact values show none."""
        for a, b in ((low, high), (low - (high - low), high + (high - low))):
            excess = self._exact(a, b)
            if excess(a) * excess(b) < 0.0:
                return float(brentq(excess, a, b, xtol=1e-15, rtol=1e-14))  # pyright: ignore[reportArgumentType]
        return None

    def fixed_point(self, q: float) -> FixedPoint:
        """Everything about one root."""
        ensemble, cell = self.ensemble, self.cell
        at = np.array([np.log(max(q, 1e-300))])
        variance = self.window(at, _FINE).variances(np.array([q]))[0][0]
        std = np.sqrt(variance)
        states = [_both(cell, d, ensemble.means, std) for d in range(len(cell.state_names))]
        first = dict(zip(cell.state_names, (m for m, _ in states), strict=True)) | dict(
            zip(ensemble.names, ensemble.means.tolist(), strict=True)
        )
        second = dict(zip(cell.state_names, (m for _, m in states), strict=True)) | dict(
            zip(ensemble.names, (variance + ensemble.means**2).tolist(), strict=True)
        )
        transfer = self._transfer(std)
        residual = abs(float(np.expm1(self.window(at, _FINE, surplus=1).excess(at)[0]))) if q > 0.0 else 0.0
        return FixedPoint(
            ensemble=ensemble,
            q=q,
            mean=first,
            variance={n: _central(second[n], first[n]) for n in first}
            | dict(zip(ensemble.names, variance.tolist(), strict=True)),
            second_moment=second,
            shaping=_shaping(transfer),
            growth=_growth(transfer),
            residual=residual,
            messages=unresolved(residual) + (self._across if q > 0.0 else ()),
        )

    @cached_property
    def _across(self) -> tuple[str, ...]:
        """What kinks leave that run across pre-activations."""
        if not any(crossing(self.cell, index) for index in range(len(self.cell.state_names) + len(self.groups))):
            return ()
        return (
            f"kinks of {repr_cell(self.cell)} run across several pre-activations: averages hold to about 1e-3, "
            "shaping and growth to 1e-2",
        )

    def _transfer(self, std: np.ndarray) -> np.ndarray:
        """T(1) between sources, (G, G)."""
        size, count = len(self.groups), len(self.ensemble.names)
        start = len(self.cell.state_names) + size
        transfer = np.zeros((size, size))
        tolerance = 1e-10 if self._is_one_dimensional else 1e-9
        for g in range(size):
            for h, group in enumerate(self.groups):
                for k in group.members:
                    if self.ensemble.gains[k] > 0.0:
                        index = start + g * count + k
                        square = _both(self.cell, index, self.ensemble.means, std, tolerance)[1]
                        transfer[g, h] += self.ensemble.gains[k] ** 2 * square
        return transfer


def _both(cell: Cell, index: int, mean: np.ndarray, std: np.ndarray, tolerance: float = 1e-10) -> tuple[float, float]:
    """E u and E u² of a quantity."""
    if has_factors(cell, index):
        found = LSTMMoments(index, mean)
        return float(found.first(std[None])[0]), float(found.second(std[None])[0])
    return moments(cell, index, mean, std, tolerance=tolerance)


def _central(second: float, first: float) -> float:
    """E u² − (E u)²; 0 where only rounding of the two is left, as for a variable without variance."""
    central = second - first**2
    return 0.0 if central <= _NO_VARIANCE * second else central


def unresolved(residual: float) -> tuple[str, ...]:
    """What is wrong with a root whose residual on finer nodes is not small."""
    if residual <= _SOLVED:
        return ()
    return (f"q'/q − 1 is {residual:.2g} on finer nodes: gates are too steep for quadrature; lower their gains",)


def _shaping(transfer: np.ndarray) -> float:
    if not np.isfinite(transfer).all():
        return float("nan")
    return float(np.sqrt(max(0.0, 1.0 - np.linalg.det(np.eye(len(transfer)) - transfer))))


def _growth(transfer: np.ndarray) -> float:
    """Perron eigenvalue; NaN where an entry is too large to be known."""
    return float(np.max(np.abs(np.linalg.eigvals(transfer)))) if np.isfinite(transfer).all() else float("nan")


class _Window:
    """The equation within a range of q, on nodes that serve this range."""

    def __init__(self, equation: _Equation, log_q: np.ndarray, tolerance: float, surplus: int) -> None:
        self.equation = equation
        self.moments: list[Moments | LSTMMoments] = []
        ensemble = equation.ensemble
        q = np.exp(log_q)
        variance = self._start(q)
        for group in (*equation.order, equation.unknown):
            std = np.sqrt(variance)
            index = len(ensemble.cell.state_names) + group
            found: Moments | LSTMMoments
            if has_factors(ensemble.cell, index):
                found = LSTMMoments(index, ensemble.means, surplus=surplus, coarse=tolerance >= _COARSE)
            else:
                found = Moments(
                    ensemble.cell, index, ensemble.means, std.min(0), std.max(0), tolerance=tolerance, surplus=surplus
                )
            self.moments.append(found)
            if group != equation.unknown:
                equation.feed(variance, group, found.second(std))

    def _start(self, q: np.ndarray) -> np.ndarray:
        variance = np.tile(self.equation.ensemble.static_variance, (len(q), 1))
        self.equation.feed(variance, self.equation.unknown, q)
        return variance

    def variances(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variance of each pre-activation, (n, K), and the image q', (n,), at some q (n,)."""
        variance = self._start(q)
        for group, found in zip(self.equation.order, self.moments, strict=False):
            self.equation.feed(variance, group, found.second(np.sqrt(variance)))
        return variance, self.moments[-1].second(np.sqrt(variance))

    def excess(self, log_q: np.ndarray) -> np.ndarray:
        """log q'/q."""
        return np.log(np.maximum(self.variances(np.exp(log_q))[1], 1e-300)) - log_q


def _turn(excess: Callable[[float], float], side: float, low: float, high: float) -> float:
    """Where side · excess is least."""
    found = minimize_scalar(lambda u: side * excess(u), bounds=(low, high), options={"xatol": 1e-9})
    return float(found.x)  # pyright: ignore[reportAttributeAccessIssue]


def _sign_changes(grid: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
    where = np.nonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0)[0]
    return [(float(grid[i]), float(grid[i + 1])) for i in where]


@lru_cache(maxsize=256)
def resolution(cell: Cell) -> tuple[int, tuple[int, ...]]:
    """The source whose second moment determines all, and the order in which the others follow."""
    layout = structure(cell)
    first = len(cell.state_names)
    for unknown, group in enumerate(layout.groups):
        known = {*group.members, *layout.sourceless}
        order: list[int] = []
        waiting = [g for g in range(len(layout.groups)) if g != unknown]
        while waiting:
            ready = [g for g in waiting if known.issuperset(_dims(cell, first + g))]
            if not ready:
                break
            order += ready
            known |= {k for g in ready for k in layout.groups[g].members}
            waiting = [g for g in waiting if g not in ready]
        if not waiting and known.issuperset(_dims(cell, first + unknown)):
            return unknown, tuple(order)
    raise ValueError(
        f"no single source determines the static state of {repr_cell(cell)}; its fixed points are found by running "
        "gatefield.mean_field from several starts"
    )


def _dims(cell: Cell, index: int) -> set[int]:
    return {k for factor in separation(cell, index).factors for k in factor}
