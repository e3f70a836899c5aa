"""Time correlations of many neurons."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.numerics.estimates import Estimate


def lag_averages(u: jax.Array) -> jax.Array:
    """Average of u(t) u(t + lag) over neurons and t, for lags 0 … (T − 1)/2: u (T, n) → lags."""
    steps, size = u.shape
    gram = u @ u.T / size
    t, lag = np.meshgrid(np.arange(steps), np.arange(1 + (steps - 1) // 2))
    inside = t + lag < steps
    values = jnp.where(inside, gram[t, np.minimum(t + lag, steps - 1)], 0.0)
    return jnp.sum(values, axis=1) / inside.sum(axis=1)


def decay_time(correlation: np.ndarray, error: np.ndarray) -> Estimate:
    """Lag at which a correlation has fallen to 1/e of its first value, interpolated; infinite where it does not."""
    return time_to_fall(correlation, error, 1.0 / np.e)


def time_to_fall(correlation: np.ndarray, error: np.ndarray, part: float) -> Estimate:
    """Lag at which a correlation has fallen to a part of its first value, interpolated; infinite where it does not."""
    target = part * correlation[0]
    below = np.nonzero(correlation <= target)[0]
    if correlation[0] <= 0.0 or len(below) == 0:
        return Estimate(float("inf"), float("nan"))
    j = int(below[0])
    slope = correlation[j - 1] - correlation[j]
    return Estimate(float(j - 1 + (correlation[j - 1] - target) / slope), float(error[j] / slope))
