"""Curves of the fraction of Lyapunov exponents below s, what follows from them, and how far they may be off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline, CubicSpline, PchipInterpolator
from scipy.optimize import brentq

from gatefield.numerics.estimates import Estimate, from_batches

_LOWEST = -120.0


@dataclass(frozen=True, eq=False)
class Curve:
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

        if total(0.0) <= 0.0:  # by chance, near the onset of chaos
            return 1.0 - float(self.below(0.0))
        low = -1.0
        while total(low) > 0.0:
            low *= 2.0
            if low < _LOWEST:
                return 1.0
        root: Any = brentq(total, low, 0.0, xtol=1e-10)
        return 1.0 - float(self.below(root))

    def mean(self, tail: float | None = None) -> float:
        """Of all exponents; with another curve's tail if given."""
        _, fraction, potential = self._knots
        slope = self.tail if tail is None else tail
        return float(potential[0] - (fraction[0] / slope if np.isfinite(slope) else 0.0))

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """The exponents below which these shares lie."""
        knots, _, _ = self._knots
        low = knots[0] - (30.0 / self.tail if np.isfinite(self.tail) else 0.0)
        grid = np.concatenate([np.linspace(low, knots[0], 2000)[:-1], np.linspace(knots[0], knots[-1], 4000)])
        values = self.below(grid) + 1e-15 * np.arange(len(grid))
        return np.interp(share, values, grid, left=-np.inf)


@dataclass(frozen=True, eq=False)
class Level:
    """What windows of one length say, of some neurons; levels are added and subtracted as numbers are.

    Attributes:
        fraction, potential: F and the mean of max(exponent, s), (S,).
        edge: the largest exponent.
        shares: by how much the potential is larger for each of B groups of neurons, (B, S).
        edge_shares: likewise for the edge, (B,).
    """

    fraction: np.ndarray
    potential: np.ndarray
    edge: float
    shares: np.ndarray
    edge_shares: np.ndarray

    def _combined(self, other: Level, factor: float) -> Level:
        names = ("fraction", "potential", "edge", "shares", "edge_shares")
        return Level(*(getattr(self, name) + factor * getattr(other, name) for name in names))

    def __add__(self, other: Level) -> Level:
        return self._combined(other, 1.0)

    def __sub__(self, other: Level) -> Level:
        return self._combined(other, -1.0)

    def __rmul__(self, factor: float) -> Level:
        return self._combined(self, factor - 1.0)

    def curve(self, s: np.ndarray) -> Curve:
        """With all neurons, at these s."""
        return Curve(s, self.fraction, self.potential, self.edge)

    def parts(self, s: np.ndarray) -> tuple[Curve, ...]:
        """With each group of neurons.

        F is the slope of the potential, so what it changes by is the slope of what the potential changes by, which
        vanishes with its slope where the spectrum ends.
        """
        inside = s < self.edge - 1e-3
        knots = np.append(s[inside], self.edge)
        known = np.concatenate([self.shares[:, inside], np.zeros((len(self.shares), 1))], axis=1)
        ends: Any = ("not-a-knot", (1, np.zeros(len(known))))
        slopes = CubicSpline(knots, known, axis=1, bc_type=ends)(s, 1)
        slopes[:, ~inside] = 0.0
        return tuple(
            Curve(s, self.fraction + slope, self.potential + share, self.edge + edge)
            for slope, share, edge in zip(slopes, self.shares, self.edge_shares, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Family:
    """The extrapolated curve, those of a window, its half and its quarter, and what groups of neurons make of it."""

    best: Curve
    windows: tuple[Curve, ...]
    parts: tuple[Curve, ...]

    def estimate(self, function: Callable[[Curve], Any], scale: float = 1.0) -> Estimate:
        """A function of the curve, with the scatter of the groups and what windows of different lengths differ by.

        That is the difference between a window and its halves, or half of that between these and its quarters, if it is
        more: differences change their sign.
        """
        value = scale * np.asarray(function(self.best), float)
        with np.errstate(invalid="ignore"):
            found = [scale * np.asarray(function(curve), float) for curve in self.windows]
            steps = [np.abs(a - b) * 0.5**i for i, (a, b) in enumerate(pairwise(found))]
            scatter = scale * from_batches([function(part) for part in self.parts]).error
        error = np.hypot(np.max(steps, axis=0), scatter)
        return Estimate(value, error) if np.ndim(value) else Estimate(float(value), float(error))
