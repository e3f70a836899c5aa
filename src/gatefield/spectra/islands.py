"""Parts of the support that surround single neurons' poles: outlines of those that a grid steps over.

On the real axis, where the poles of most cells lie, neighbours that touch make a strip, drawn by its height above the
axis; elsewhere each pole has an outline of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gatefield.numerics.algebra import ComplexArray
from gatefield.spectra import dyson
from gatefield.spectra.response import Response

_PROBE = 1e-6  # distance from a pole at which its island must still be seen
_WORK = 4_000_000  # poles times neurons from which strips are drawn through some of their poles only
_CAP = np.cos(np.pi / 16 * np.arange(1, 8))  # points between the end of a strip and its last pole
_DIRECTIONS = np.exp(2j * np.pi * (np.arange(24) + 0.5) / 24)
_ROUNDS, _CLOSE = 12, 1e-7  # steps towards a zero of the support exponent, and how near it they end
_STEEPEST = 50.0


def islands(response: Response, poles: ComplexArray) -> tuple[list[ComplexArray], ComplexArray]:
    """Counter-clockwise outlines around poles in the closed upper half plane and their images; poles without any."""
    poles = np.unique(np.round(poles, 12))
    if len(poles) == 0 or response.size == 0:
        return [], poles
    radii = _first_radii(response, poles)
    seen = radii > _PROBE
    on_axis = poles.imag <= _PROBE
    order = np.argsort(poles.real[seen & on_axis])
    loops = _strips(response, poles.real[seen & on_axis][order], radii[seen & on_axis][order])
    loops += _around(response, poles[seen & ~on_axis], radii[seen & ~on_axis])
    return loops, poles[~seen]


def _first_radii(response: Response, poles: ComplexArray) -> np.ndarray:
    """Radius of each island as if it were alone: near its pole T falls with the distance squared."""
    return _PROBE * np.exp(0.5 * dyson.log_perron(response, poles + 1j * _PROBE))


@dataclass(frozen=True)
class Rays:
    """Straight ways out of the support, with first guesses of their lengths."""

    response: Response
    start: ComplexArray
    direction: ComplexArray
    guess: np.ndarray
    limit: np.ndarray

    def exponent(self, length: np.ndarray) -> np.ndarray:
        """The support exponent at some length along each."""
        return dyson.log_perron(self.response, dyson.off_poles(self.start + length * self.direction))

    def lengths(self) -> np.ndarray:
        """How far the support reaches along each, at most to its limit; 0 where the start lies outside."""
        low, high = np.full(len(self.start), 1e-2 * _PROBE), np.minimum(self.guess, self.limit)
        f_low = self.exponent(low)
        f_high = self.exponent(high)
        for _ in range(40):
            on = (f_high > 0.0) & (high < self.limit)
            if not on.any():
                break
            low, f_low = np.where(on, high, low), np.where(on, f_high, f_low)
            high = np.where(on, np.minimum(2.0 * high, self.limit), high)
            f_high = np.where(on, self.exponent(high), f_high)
        found = np.exp(_zeros(lambda t: self.exponent(np.exp(t)), np.log(low), np.log(high), f_low, f_high))
        return np.where(f_high > 0.0, self.limit, np.where(f_low > 0.0, found, 0.0))


def between(response: Response, start: ComplexArray, stop: ComplexArray) -> ComplexArray:
    """Points of the curve between each start and stop, one of which lies inside; NaN where both or neither does."""

    def exponent(share: np.ndarray) -> np.ndarray:
        return dyson.log_perron(response, dyson.off_poles(start + share * (stop - start)))

    first, last = np.zeros(len(start)), np.ones(len(start))
    f_first, f_last = exponent(first), exponent(last)
    turned = f_first <= 0.0
    low, high = np.where(turned, last, first), np.where(turned, first, last)
    found = _zeros(exponent, low, high, *np.where(turned, [f_last, f_first], [f_first, f_last]))
    return np.where((f_first > 0.0) != (f_last > 0.0), start + found * (stop - start), np.nan)


def _zeros(
    exponent: Callable[[np.ndarray], np.ndarray], a: np.ndarray, b: np.ndarray, fa: np.ndarray, fb: np.ndarray
) -> np.ndarray:
    """Zeros of many functions at once between a, inside, and b, outside: straight lines, a lasting end counts half."""
    fa, fb = np.clip(fa, -_STEEPEST, _STEEPEST), np.clip(fb, -_STEEPEST, _STEEPEST)
    best, least = a, np.full(len(a), np.inf)
    for _ in range(_ROUNDS):
        t = a + np.clip(fa / np.where(fa > fb, fa - fb, 1.0), 0.02, 0.98) * (b - a)
        f = np.clip(exponent(t), -_STEEPEST, _STEEPEST)
        best, least = np.where(np.abs(f) < least, t, best), np.minimum(np.abs(f), least)
        if np.all(least < _CLOSE):
            break
        within = f > 0.0
        a, b = np.where(within, t, a), np.where(within, b, t)
        fa, fb = np.where(within, f, fa / 2.0), np.where(within, fb / 2.0, f)
    return best


def _around(response: Response, poles: ComplexArray, radii: np.ndarray) -> list[ComplexArray]:
    """Outlines of islands off the real axis, and of their images."""
    if len(poles) == 0:
        return []
    start, direction = np.repeat(poles, len(_DIRECTIONS)), np.tile(_DIRECTIONS, len(poles))
    guess = np.repeat(radii, len(_DIRECTIONS))
    lengths = Rays(response, start, direction, guess, np.full(len(start), np.inf)).lengths()
    loops = []
    for outline in (start + lengths * direction).reshape(len(poles), -1):
        closed = np.append(outline, outline[0])
        loops += [closed, np.conj(closed)[::-1]]
    return loops


def _strips(response: Response, poles: np.ndarray, radii: np.ndarray) -> list[ComplexArray]:
    """Outlines of strips along the real axis through sorted poles."""
    if len(poles) == 0:
        return []
    step = -(-len(poles) * len(response.weights) // _WORK)
    ends = np.append(np.arange(0, len(poles) - 1, step), len(poles) - 1)
    x, r = poles[ends], radii[ends]
    joined = _joined(response, x) | (step > 1)
    starts = np.nonzero(np.concatenate([[True], ~joined]))[0]
    stops = np.nonzero(np.concatenate([~joined, [True]]))[0]
    left, right = _ends(response, x, r, starts, stops)
    nodes = [_nodes(x[a : b + 1], lo, hi) for a, b, lo, hi in zip(starts, stops, left, right, strict=True)]
    guess = [np.full(len(n), np.max(r[a : b + 1])) for n, a, b in zip(nodes, starts, stops, strict=True)]
    flat = np.concatenate(nodes).astype(np.complex128)
    up = np.full(len(flat), 1j)
    heights = Rays(response, flat, up, np.concatenate(guess), np.full(len(flat), np.inf)).lengths()
    loops = []
    for part, lo, hi in zip(
        np.split(flat + 1j * heights, np.cumsum([len(n) for n in nodes])[:-1]), left, right, strict=True
    ):
        loops.append(np.concatenate([[hi], part[::-1], [lo], np.conj(part), [hi]]))
    return loops


def _joined(response: Response, x: np.ndarray) -> np.ndarray:
    """Which neighbours on the real axis have only the support between them."""
    if len(x) < 2:
        return np.zeros(0, bool)
    points = x[:-1, None] + np.diff(x)[:, None] * np.array([0.25, 0.5, 0.75])
    inside = dyson.log_perron(response, dyson.off_poles(points.ravel().astype(np.complex128))) > 0.0
    return np.asarray(np.all(inside.reshape(points.shape), axis=1))


def _ends(
    response: Response, x: np.ndarray, r: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where each strip begins and ends on the real axis."""
    gaps = np.concatenate([[np.inf], np.diff(x) / 2.0, [np.inf]])
    first = np.concatenate([x[starts], x[stops]]).astype(np.complex128)
    away = np.concatenate([-np.ones(len(starts)), np.ones(len(stops))]).astype(np.complex128)
    limit = np.concatenate([gaps[starts], gaps[stops + 1]])
    lengths = Rays(response, first, away, np.concatenate([r[starts], r[stops]]), limit).lengths()
    reach = first.real + away.real * lengths
    return reach[: len(starts)], reach[len(starts) :]


def _nodes(poles: np.ndarray, low: float, high: float) -> np.ndarray:
    """Where the height of a strip through some poles is taken, from left to right."""
    inner = np.concatenate([poles, *((poles[:-1] + f * np.diff(poles)) for f in (0.25, 0.5, 0.75))])
    left, right = poles[0] - (poles[0] - low) * _CAP, poles[-1] + (high - poles[-1]) * _CAP
    return np.sort(np.concatenate([left, inner, right]))
