"""Input currents: Gaussian processes, independent from neuron to neuron, that add to a pre-activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from gatefield.numerics.draws import normal
from gatefield.running.arguments import at_least, finite


class Current:
    """A stationary Gaussian current.

    Attributes:
        mean: the same for all neurons and times.
        static_variance: variance between neurons of what is constant in time.
        varies: whether it changes in time.
    """

    mean: float = 0.0
    static_variance: float = 0.0
    varies: bool = False

    def sample(self, key: jax.Array, steps: int, size: int) -> jax.Array:
        """What varies in time, for `size` neurons: (steps, size)."""
        raise NotImplementedError


@dataclass(frozen=True)
class ConstantCurrent(Current):
    """A current constant in time, drawn once per neuron from N(mean, variance)."""

    mean: float = 0.0
    variance: float = 0.0

    def __post_init__(self) -> None:
        finite("current mean", self.mean)
        at_least("current variance", self.variance, 0.0)

    @property
    def static_variance(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.variance


@dataclass(frozen=True)
class WhiteCurrent(Current):
    """A current drawn afresh for every neuron and step from N(0, variance)."""

    variance: float
    varies = True

    def __post_init__(self) -> None:
        at_least("current variance", self.variance, 0.0)

    def sample(self, key: jax.Array, steps: int, size: int) -> jax.Array:
        return jnp.asarray(np.sqrt(self.variance) * normal(key, (steps, size)))


@dataclass(frozen=True, eq=False)
class CorrelatedCurrent(Current):
    """A current of given autocovariance.

    Args:
        autocovariance: its value at lags 0, 1, 2, …: a function of an integer array of lags, or a sequence, taken as
            zero beyond its end.
    """

    autocovariance: Callable[[np.ndarray], Any] | Any
    varies = True

    def covariance(self, steps: int) -> np.ndarray:
        if callable(self.autocovariance):
            row = np.asarray(self.autocovariance(np.arange(steps)), dtype=float)
        else:
            given = np.asarray(self.autocovariance, dtype=float)[:steps]
            row = np.pad(given, (0, steps - len(given)))
        if row.shape != (steps,) or not np.all(np.isfinite(row)):
            raise ValueError("current autocovariance must give one finite value per lag")
        matrix = scipy.linalg.toeplitz(row)
        lowest = np.linalg.eigvalsh(matrix)[0]
        if lowest < -1e-8 * max(row[0], 1e-300):
            raise ValueError(
                f"current autocovariance is not that of any process (lowest eigenvalue {lowest:.3g} over {steps} "
                "lags); give a positive-definite function such as v*exp(-lag/tau)"
            )
        return matrix

    def sample(self, key: jax.Array, steps: int, size: int) -> jax.Array:
        values, vectors = np.linalg.eigh(self.covariance(steps))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        return jnp.asarray(root @ normal(key, (steps, size)))


def as_current(name: str, current: Any) -> Current:
    """A current from what a user gave: a `Current`, or a number, the value of a constant one."""
    if isinstance(current, Current):
        return current
    if isinstance(current, (int, float, np.floating, np.integer)):
        return ConstantCurrent(mean=finite(f"current[{name!r}]", current))
    raise ValueError(
        f"current[{name!r}]={current!r} must be a number (a constant current), ConstantCurrent, WhiteCurrent or "
        "CorrelatedCurrent"
    )
