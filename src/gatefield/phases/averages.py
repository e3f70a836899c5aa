"""Averages over the static states of a cell's mean field: what its neurons do when nothing moves.

At a static state x_k is constant in time, Gaussian with variance a_k² q_k + v_k, q_k = E v_k², and the state solves
s = F(s, x). Every average is an expectation over the K independent pre-activations. It is taken dimension by
dimension: a quantity that does not depend on a pre-activation (the GRU's h on its update gate) is not integrated over
it, and one that is a product of factors (σ(o) times a function of f, i, y) is integrated factor by factor. Both are
found by evaluating the cell at probe points.

The nodes of a factor are fixed for a range of standard deviations, so that the cell is evaluated once; each standard
deviation then has weights of its own. Where the quantity has kinks in one pre-activation they are Gauss's in panels
between the kinks, else those of the trapezoidal rule. Kinks that run across several pre-activations, as those of a
hard-tanh LSTM's h, leave errors; `crossing` tells. How dense nodes are, how far they reach and how closely they crowd
about zero (where an LSTM's neurons with an open forget gate switch within |y| < e^{-f}) is found by refining each in
turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, reduce
from math import prod

import numpy as np

from gatefield.cells.cell import Cell
from gatefield.numerics.quadrature import panels
from gatefield.phases.static import crossing, evaluate, kinks, separation

_UNRESOLVED = 1e-12  # of 1 − F_s, which then has four digits
_NEGLIGIBLE = 1e-8
_MOST_POINTS = 4_000_000
_ROUNDS = 24
_STRETCH = 10  # steps of the trapezoidal rule that a panel of 16 nodes takes the place of
_KINKS_WITHIN = 50.0  # standard deviations, at least as many units
_ACROSS = 1e-5  # the tolerance there, as more nodes help little
_PER_STD = 1.2  # nodes per standard deviation: the trapezoidal rule's error is then exp(−2π² 1.2²) = 4e-13


def moments(
    cell: Cell, index: int, mean: np.ndarray, std: np.ndarray, *, tolerance: float = 1e-10
) -> tuple[float, float]:
    """E u and E u² of a quantity for x_k ~ N(mean_k, std_k²) independent.

    NaN where E u² hangs on gates so closed that 1 − F_s has no digits: an LSTM's E c² ~ exp(2 a_f² q) may.
    """
    found = Moments(cell, index, mean, std, std, tolerance=tolerance)
    if any(factor.unresolved(std[list(factor.dims)]) for factor in found.factors):
        return float("nan"), float("nan")
    return float(found.first(std[None])[0]), float(found.second(std[None])[0])


class Moments:
    """E u and E u² of a quantity, x_k ~ N(mean_k, std_k²) independent, for all standard deviations within a range.

    Args:
        cell: the cell.
        index: of the quantity, as `evaluate` counts.
        mean: (K,).
        low: smallest standard deviations, (K,).
        high: largest ones, (K,).
        tolerance: relative error of the moments.
        surplus: how many times nodes are refined beyond need, for a check that uses other nodes.
    """

    def __init__(
        self,
        cell: Cell,
        index: int,
        mean: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        *,
        tolerance: float,
        surplus: int = 0,
    ) -> None:
        parts = separation(cell, index)
        self.scale = parts.value
        self.factors = [
            _Factor(cell, index, dims, *(np.asarray(v, dtype=float)[list(dims)] for v in (mean, low, high)))
            for dims in parts.factors
        ]
        for factor in self.factors:
            factor.fit(tolerance, surplus)

    def first(self, std: np.ndarray) -> np.ndarray:
        """E u at standard deviations (n, K): (n,)."""
        return self._product(1, std)

    def second(self, std: np.ndarray) -> np.ndarray:
        """E u² at standard deviations (n, K): (n,)."""
        return self._product(2, std)

    def _product(self, order: int, std: np.ndarray) -> np.ndarray:
        value = np.full(len(std), self.scale**order)
        for factor in self.factors:
            value = value * factor.moment(order, std[:, list(factor.dims)]) / self.scale**order
        return value


@dataclass(frozen=True)
class _Spread:
    """How nodes lie along one dimension, from −reach to reach standard deviations.

    They are equally spaced in

        t(x) = asinh((x − mean)/scale) + asinh(x/focus) + x/width,

    which is analytic, so that the trapezoidal rule in t converges exponentially. The scale is that of the smallest
    standard deviation. Spacings are at most step · width, and step · focus at zero; the width counts in eighths of the
    largest standard deviation where that exceeds 8.
    """

    step: float = 0.25
    focus: float = 1.0
    width: float = 8.0
    reach: float = 8.0

    def finer(self, name: str) -> _Spread:
        """Refined in one respect."""
        factor = {"step": 1 / 1.4, "focus": 1 / 30, "width": 1 / 2, "reach": 1.25}[name]
        return replace(self, **{name: factor * getattr(self, name)})


_RESPECTS = ("width", "step", "focus", "reach")
_COARSE = 0.5  # step along the other dimensions while one is refined


class _Factor:
    """One factor of a quantity on a grid of nodes in its dimensions."""

    def __init__(
        self, cell: Cell, index: int, dims: tuple[int, ...], mean: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> None:
        self.cell, self.index, self.dims = cell, index, dims
        self.mean, self.low, self.high = mean, low, high
        self.ends = np.stack([low, high]) if np.any(low < high) else low[None]
        reach = np.abs(mean) + _KINKS_WITHIN * np.maximum(1.0, high)
        within = 2.0 ** np.ceil(np.log2(reach))  # few different ones
        self.kinks = [kinks(cell, index, dims, k, float(w)) for k, w in zip(dims, within, strict=True)]
        self.crosses = len(dims) > 1 and crossing(cell, index)
        self.axes: list[tuple[np.ndarray, np.ndarray]] = []
        self.values = np.empty(0)

    def fit(self, tolerance: float, surplus: int) -> None:
        """Refine the nodes along each dimension until the moments no longer change, and evaluate the cell on them."""
        spreads = [_Spread()] * len(self.dims)
        live = [k for k in range(len(self.dims)) if self.high[k] > 0.0]
        for _ in range(_ROUNDS):
            settled = True
            for k in live:
                finer = self._refined(spreads, k, max(tolerance, _ACROSS) if self.crosses else tolerance)
                settled = settled and finer == spreads[k]
                spreads[k] = finer
            if settled or prod(len(axis[0]) for axis in self._axes(spreads)) > _MOST_POINTS // 2:
                break
        for _ in range(surplus):
            spreads = [replace(s, step=s.step / 1.2, width=s.width / 1.2, reach=s.reach + 0.5) for s in spreads]
        self.axes = self._axes(spreads)
        self.values = self._on(self.axes)

    def _refined(self, spreads: list[_Spread], k: int, tolerance: float) -> _Spread:
        """The spread along k, refined where that brings the moments closest to those refined in every respect."""
        others = [_Spread(step=_COARSE, focus=s.focus, reach=s.reach) for s in spreads]

        def at(spread: _Spread) -> np.ndarray:
            axes = self._axes([spread if j == k else s for j, s in enumerate(others)])
            values, weights = self._on(axes), self._weights(axes, self.ends)
            return np.stack([_contracted(values, weights), _contracted(values**2, weights)])

        def points(spread: _Spread) -> int:
            return prod(len(axis[0]) for axis in self._axes([spread if j == k else s for j, s in enumerate(others)]))

        kept = spread = spreads[k]
        stale, last = 0, np.inf
        for _ in range(_ROUNDS):
            best = at(reduce(_Spread.finer, _RESPECTS, spread))
            size = np.stack([np.sqrt(best[1]), best[1]]) + 1e-300

            def error(other: _Spread, best: np.ndarray = best, size: np.ndarray = size) -> float:
                return float(np.max(np.abs(at(other) - best) / size))

            now = error(spread)
            stale = stale + 1 if now > 0.5 * last else 0  # rounding: near closed gates 1 − F_s has few digits
            kept = kept if stale else spread
            if now <= tolerance or stale > 3 or points(spread) > _MOST_POINTS // 4:
                break
            spread, last = min(map(spread.finer, _RESPECTS), key=error), min(now, last)
        return kept

    def moment(self, order: int, std: np.ndarray) -> np.ndarray:
        """First or second moment at standard deviations (n, dims)."""
        return _contracted(self.values if order == 1 else self._squares, self._weights(self.axes, std))

    @cached_property
    def _squares(self) -> np.ndarray:
        return self.values**2

    def unresolved(self, std: np.ndarray) -> bool:
        """Whether the second moment at standard deviations (dims,) hangs on values where a gate looks closed."""
        closed = self._on(self.axes, -1) < _UNRESOLVED
        if not closed.any() or closed.all():
            return False
        sizes = [float(np.max(np.abs(self.values[where]))) for where in (closed, ~closed)]
        if sizes[0] < 10.0 * sizes[1]:
            return False  # it has saturated there, as h does
        weights = self._weights(self.axes, std[None])
        share = _contracted(np.where(closed, self._squares, 0.0), weights) / _contracted(self._squares, weights)
        return bool(share[0] > _NEGLIGIBLE)

    def _axes(self, spreads: list[_Spread]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            _nodes(float(m), float(a), float(b), spread, at)
            for m, a, b, spread, at in zip(self.mean, self.low, self.high, spreads, self.kinks, strict=True)
        ]

    def _on(self, axes: list[tuple[np.ndarray, np.ndarray]], index: int | None = None) -> np.ndarray:
        """The quantity, or another one, on all combinations of nodes."""
        reference = np.asarray(separation(self.cell, self.index).reference)
        x = np.broadcast_to(reference, (*(len(nodes) for nodes, _ in axes), len(reference))).copy()
        for axis, (k, (nodes, _)) in enumerate(zip(self.dims, axes, strict=True)):
            x[..., k] = nodes.reshape([-1 if a == axis else 1 for a in range(len(axes))])
        index = self.index if index is None else index
        return evaluate(self.cell, index, x.reshape(-1, len(reference))).reshape(x.shape[:-1])

    def _weights(self, axes: list[tuple[np.ndarray, np.ndarray]], std: np.ndarray) -> list[np.ndarray]:
        """Weights of each axis' nodes at each standard deviation: (n, nodes)."""
        weights = []
        for (nodes, spacing), mean, s in zip(axes, self.mean, std.T, strict=True):
            z = np.abs(nodes - mean) / np.maximum(s, 1e-300)[:, None]
            nearest = z.min(axis=1, keepdims=True)  # takes all where the deviation is 0
            with np.errstate(over="ignore"):  # far out, where the weight is 0
                w = spacing * np.exp(-0.5 * (z - nearest) * (z + nearest))
            weights.append(w / w.sum(axis=1, keepdims=True))
        return weights


@lru_cache(maxsize=1024)
def _nodes(
    mean: float, low: float, high: float, spread: _Spread, breaks: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes x and what each stands for, the spacing dx/dt, for standard deviations from low to high."""
    if high == 0.0:
        return np.array([mean]), np.ones(1)
    scale = low / (_PER_STD * spread.step)
    width = spread.width * max(1.0, high / 8.0)
    if mean == 0.0:  # one centre
        scale = min(scale, spread.focus)

    def position(x: np.ndarray) -> np.ndarray:
        focus = 0.0 if mean == 0.0 else np.arcsinh(x / spread.focus)
        return np.arcsinh((x - mean) / scale) + focus + x / width

    def density(x: np.ndarray) -> np.ndarray:
        focus = 0.0 if mean == 0.0 else 1.0 / np.hypot(x, spread.focus)
        return 1.0 / np.hypot(x - mean, scale) + focus + 1.0 / width

    first, last = position(mean + spread.reach * high * np.array([-1.0, 1.0]))
    t, measure = spread.step * np.arange(np.floor(first / spread.step), np.ceil(last / spread.step) + 1), 1.0
    if breaks:
        t, measure = panels(first, last, _STRETCH * spread.step, position(np.array(breaks)).tolist())
    below, above = mean + 2.0 * (spread.reach * high + scale) * np.array([[-1.0], [1.0]]) * np.ones(len(t))
    for _ in range(60):
        middle = 0.5 * (below + above)
        less = position(middle) < t
        below, above = np.where(less, middle, below), np.where(less, above, middle)
    x = 0.5 * (below + above)
    for _ in range(3):  # close to the mean, bisection leaves the last digits
        x = x + (t - position(x)) / density(x)
    return x, measure / density(x)


def _contracted(values: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Averages of values (nodes, ..., nodes) by weights (n, nodes) for each axis: (n,)."""
    found = (values.reshape(-1, values.shape[-1]) @ weights[-1].T).reshape(*values.shape[:-1], -1)
    for w in reversed(weights[:-1]):
        found = np.einsum("...aq,qa->...q", found, w)
    return found
