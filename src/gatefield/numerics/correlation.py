"""Time correlations of many neurons."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.numerics.estimates import Estimate, from_batches


def lag_averages(u: jax.Array) -> jax.Array:
    """Average of u(t) u(t + lag) over neurons and t, for lags 0 … (T − 1)/2: u (T, n) → lags."""
    steps, size = u.shape
    gram = u @ u.T / size
    t, lag = np.meshgrid(np.arange(steps), np.arange(1 + (steps - 1) // 2))
    inside = t + lag < steps
    values = jnp.where(inside, gram[t, np.minimum(t + lag, steps - 1)], 0.0)
    return jnp.sum(values, axis=1) / inside.sum(axis=1)


def decay_time(correlation: np.ndarray, batches: np.ndarray | None = None) -> Estimate:
    """Lag at which a correlation has fallen to 1/e of its first value, interpolated; infinite where it does not."""
    return time_to_fall(correlation, 1.0 / np.e, batches)


def time_to_fall(correlation: np.ndarray, part: float, batches: np.ndarray | None = None) -> Estimate:
    """Lag at which a correlation has fallen to a part of its first value, interpolated; infinite where it does not.

    Args:
        correlation: at lags 0, 1, ….
        part: of its first value.
        batches: the same of independent batches, (batches, lags), for the error. Values at different lags fluctuate
            together, so that it is that of their difference C(lag) − part · C(0), over the slope.
    """
    target = part * correlation[0]
    below = np.nonzero(correlation <= target)[0]
    if correlation[0] <= 0.0 or len(below) == 0:
        return Estimate(float("inf"), float("nan"))
    j = int(below[0])
    slope = correlation[j - 1] - correlation[j]
    share = (correlation[j - 1] - target) / slope
    if batches is None:
        return Estimate(float(j - 1 + share), float("nan"))
    excess = (1.0 - share) * batches[:, j - 1] + share * batches[:, j] - part * batches[:, 0]
    return Estimate(float(j - 1 + share), float(from_batches(excess).error / slope))
