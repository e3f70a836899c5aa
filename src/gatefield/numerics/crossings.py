"""Where a measured quantity crosses a target as one number, such as a factor on the gains, is turned up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_STEP = 0.35
_SHORTEST = 1e-4


@dataclass(frozen=True)
class Crossing:
    """What a search found.

    Attributes:
        at: where the quantity is nearest to the target.
        value: the quantity there, less the target.
        tried: every (where, value), in order.
        reached: whether it is within the tolerance.
    """

    at: float
    value: float
    tried: tuple[tuple[float, float], ...]
    reached: bool


def search(
    excess: Callable[[float], float], start: float, *, tolerance: float, step: float = _STEP, limit: int = 24
) -> Crossing:
    """Search upwards and downwards from `start` for a zero of a function that rises, but for noise.

    A bracket by growing steps, then straight lines through its ends (Illinois), until within the tolerance.

    Args:
        excess: the quantity less its target; −∞ where it is below any.
        start: where to begin.
        tolerance: of the value.
        step: first step.
        limit: evaluations at the most.
    """
    tried: list[tuple[float, float]] = []

    def at(x: float) -> float:
        y = excess(x)
        tried.append((x, y))
        return y

    x, y = start, at(start)
    low, high = ((x, y), None) if y <= 0.0 else (None, (x, y))
    while (low is None or high is None) and abs(y) > tolerance and len(tried) < limit // 2:
        x, step = (x + step, 1.6 * step) if high is None else (x - step, 1.6 * step)
        y = at(x)
        low, high = ((x, y), high) if y <= 0.0 else (low, (x, y))
    if low is not None and high is not None:
        _narrow(at, low, high, tried, tolerance, limit)
    best = min(tried, key=lambda point: abs(point[1]) if np.isfinite(point[1]) else np.inf)
    return Crossing(*best, tuple(tried), bool(abs(best[1]) <= tolerance))


def _narrow(
    at: Callable[[float], float],
    low: tuple[float, float],
    high: tuple[float, float],
    tried: list[tuple[float, float]],
    tolerance: float,
    limit: int,
) -> None:
    weights = [1.0, 1.0]  # of the ends' values: an end that stays has its own halved
    while min(abs(y) for _, y in tried) > tolerance and len(tried) < limit and high[0] - low[0] > _SHORTEST * tolerance:
        a, b = low[1] * weights[0], high[1] * weights[1]
        share = -a / (b - a) if np.isfinite(a) and b > a else 0.5
        x = low[0] + float(np.clip(share, 0.02, 0.98)) * (high[0] - low[0])
        y = at(x)
        if y <= 0.0:
            low, weights = (x, y), [1.0, weights[1] / 2.0]
        else:
            high, weights = (x, y), [weights[0] / 2.0, 1.0]
