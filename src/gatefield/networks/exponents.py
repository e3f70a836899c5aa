"""Lyapunov spectra: exponents from measured growths, and the dimension and entropy that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gatefield.networks.frames import Growth
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result


def kaplan_yorke_dimension(exponents: np.ndarray, dimension: int) -> float:
    """j + (λ_1 + … + λ_j)/|λ_{j+1}|, j the largest number with λ_1 + … + λ_j ≥ 0 (Kaplan and Yorke 1979).

    Args:
        exponents: in descending order.
        dimension: of the phase space.

    Returns:
        The dimension; NaN where more exponents are needed to know it.
    """
    sums = np.cumsum(exponents)
    negative = np.nonzero(sums < 0.0)[0]
    if len(negative) == 0:
        return float(dimension) if len(exponents) == dimension else float("nan")
    j = int(negative[0])
    above = float(sums[j - 1]) if j else 0.0
    return j + above / abs(float(exponents[j]))


def entropy_rate(exponents: np.ndarray, dimension: int) -> float:
    """Sum of the positive exponents, nats per step: the Kolmogorov–Sinai entropy where Pesin's identity holds.

    NaN where the exponents end before they turn negative.
    """
    if len(exponents) < dimension and exponents.min() > 0.0:
        return float("nan")
    return float(np.sum(exponents[exponents > 0.0]))


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredExponents(Result):
    """Lyapunov exponents of a trajectory, per step and in descending order.

    Errors are half-widths of 68 % intervals from the scatter between consecutive batches of the run, and of what
    follows from the exponents by leaving out each batch in turn. They do not hold the effect of a finite network.

    Attributes:
        batches: exponents of each batch, in the order of the frame's directions, (batches, count).
        times: step at which each batch ends, after the transient.
        dimension: of the phase space, D·N for a network.
        neurons: N; `dimension` for a map.
        steps: measured steps.
        transient: steps before them.
        participation_ratio: (tr C)²/tr C², C the covariance between neurons of the activity that others see: how many
            directions the activity fills. NaN where activity rests.
        produced_by: what was measured, in words and numbers, or as an ensemble.
        messages: what has not converged in time, and what to change.
        block: steps between two eliminations, on average (see `frames`).
    """

    batches: np.ndarray
    times: np.ndarray
    dimension: int
    neurons: int
    steps: int
    transient: int
    participation_ratio: Estimate
    produced_by: dict[str, Any]
    block: float

    @property
    def count(self) -> int:
        """Number of exponents measured."""
        return self.batches.shape[1]

    @property
    def full(self) -> bool:
        """Whether these are all exponents."""
        return self.count == self.dimension

    @cached_property
    def _weights(self) -> np.ndarray:
        return np.diff(self.times, prepend=0) / self.times[-1]

    @cached_property
    def _order(self) -> np.ndarray:
        """Directions in descending order of their exponents: the fastest first, but for noise."""
        return np.argsort(-self._mean(slice(None)), kind="stable")

    def _mean(self, kept: Any) -> np.ndarray:
        weights = self._weights[kept]
        return weights @ self.batches[kept] / weights.sum()

    @cached_property
    def exponents(self) -> Estimate:
        """All exponents, per step, (count,)."""
        value = self._mean(slice(None))[self._order]
        with np.errstate(invalid="ignore"):
            error = from_batches(self.batches).error[self._order]
        return Estimate(value, np.where(np.isfinite(value), error, np.nan))

    @property
    def largest(self) -> Estimate:
        """λ_1, per step."""
        return Estimate(float(self.exponents.value[0]), float(self.exponents.error[0]))

    @cached_property
    def kaplan_yorke_dimension(self) -> Estimate:
        """Dimension of the attractor (Kaplan and Yorke); NaN where more exponents are needed."""
        return self._left_out(lambda e: kaplan_yorke_dimension(e, self.dimension))

    @cached_property
    def entropy_rate(self) -> Estimate:
        """Sum of the positive exponents, nats per step; NaN where more exponents are needed."""
        return self._left_out(lambda e: entropy_rate(e, self.dimension))

    @cached_property
    def mean(self) -> Estimate:
        """Mean exponent of those measured; of all of them, E log|det J| / (D·N)."""
        return self._left_out(lambda e: float(np.mean(e)))

    @cached_property
    def fraction_positive(self) -> Estimate:
        """Share of positive exponents among all D·N; NaN where more exponents are needed."""
        unknown = not self.full and self.exponents.value[-1] > 0.0
        return self._left_out(lambda e: float("nan") if unknown else np.count_nonzero(e > 0.0) / self.dimension)

    def fraction_below(self, s: Any) -> np.ndarray:
        """Share of all D·N exponents below s, an array of any shape.

        Raises:
            ValueError: the spectrum is not full.
        """
        if not self.full:
            raise ValueError(f"count={self.count} of {self.dimension} exponents; measure all of them (count=None)")
        return np.searchsorted(np.sort(self.exponents.value), np.asarray(s)) / self.dimension

    def _left_out(self, function: Callable[[np.ndarray], float]) -> Estimate:
        """A function of the exponents in descending order, its error by leaving out each batch in turn."""
        count = len(self.batches)
        value = float(function(np.sort(self._mean(slice(None)))[::-1]))
        if count < 2 or not np.isfinite(value):
            return Estimate(value, float("nan"))
        left = [function(np.sort(self._mean(np.arange(count) != i))[::-1]) for i in range(count)]
        return Estimate(value, float(from_batches(count * value - (count - 1) * np.array(left)).error))

    @cached_property
    def convergence(self) -> dict[str, np.ndarray]:
        """λ_1, Kaplan–Yorke dimension, entropy rate and mean exponent of the run up to each of `times`."""
        so_far = [np.sort(self._mean(slice(0, i + 1)))[::-1] for i in range(len(self.batches))]
        return {
            "largest": np.array([e[0] for e in so_far]),
            "kaplan_yorke_dimension": np.array([kaplan_yorke_dimension(e, self.dimension) for e in so_far]),
            "entropy_rate": np.array([entropy_rate(e, self.dimension) for e in so_far]),
            "mean": np.array([np.mean(e) for e in so_far]),
        }

    def description(self) -> Description:
        units = {"kaplan_yorke_dimension": "1", "entropy_rate": "nats/step"}
        return Description(
            quantities={
                "largest": Quantity(self.largest, units="1/step"),
                "kaplan_yorke_dimension": Quantity(self.kaplan_yorke_dimension, source="Kaplan and Yorke 1979"),
                "entropy_rate": Quantity(self.entropy_rate, (), "nats/step", "sum of the positive exponents"),
                "mean": Quantity(self.mean, units="1/step"),
                "fraction_positive": Quantity(self.fraction_positive),
                "participation_ratio": Quantity(self.participation_ratio, source="(tr C)²/tr C²"),
                "exponent": Quantity(
                    self.exponents, ("index",), "1/step", "QR method, Benettin et al. 1980", json="exponents"
                ),
                **{
                    f"{name}_so_far": Quantity(
                        values, ("time",), units.get(name, "1/step"), json=f"convergence.{name}"
                    )
                    for name, values in self.convergence.items()
                },
            },
            coordinates={
                "index": Quantity(np.arange(1, self.count + 1)),
                "time": Quantity(self.times, units="steps", json="convergence.steps"),
            },
            facts={
                **self.produced_by, "dimension": self.dimension, "neurons": self.neurons, "count": self.count,
                "steps": self.steps, "transient": self.transient, "message": self.message,
            },
        )  # fmt: skip


def spectrum_of(
    growth: Growth, *, transient: int, dimension: int, neurons: int, **produced_by: Any
) -> MeasuredExponents:
    """The spectrum that a run's growths give.

    Args:
        growth: the measured growths; `record` holds the activity seen by others at each step, (steps, N).
        transient: steps before the measurement.
        dimension: of the phase space.
        neurons: N.
        produced_by: what was measured.
    """
    found = MeasuredExponents(
        batches=growth.rates,
        times=growth.ends,
        dimension=dimension,
        neurons=neurons,
        steps=int(growth.ends[-1]),
        transient=transient,
        participation_ratio=participation_ratio(growth.record),
        produced_by=produced_by,
        block=growth.block,
    )
    complaint = _complaint(found)
    return replace(found, messages=(complaint,)) if complaint else found


def _complaint(found: MeasuredExponents) -> str:
    """What has not converged in time, and what to change."""
    half = len(found.batches) // 2
    if half < 2:
        return f"too few blocks ({len(found.batches)}) to tell an error; increase steps"
    first, second = (from_batches(np.max(b, axis=1)) for b in (found.batches[:half], found.batches[half:]))
    change, error = second.value - first.value, np.hypot(first.error, second.error)
    if abs(change) > 4.0 * error and abs(change) > 1e-3:
        return f"the largest exponent still drifts ({change:+.2g} between the run's halves); increase transient"
    if not found.full and np.isnan(found.kaplan_yorke_dimension.value):
        return f"the Kaplan–Yorke dimension needs more than count={found.count} exponents; increase count"
    return ""


# ---- activity ----

_SEGMENTS = 8
_MOMENTS = 4096


def participation_ratio(activity: np.ndarray) -> Estimate:
    """(tr C)²/tr C² of the covariance C between neurons of activity (T, N), centred in time.

    tr C² is taken between separate segments of the run, tr C_a C_b, which has no bias from the length of the run but
    for
    what memory ties segments together: neighbouring ones are left out. The error comes from leaving out segments.
    """
    u = np.asarray(activity[:: max(1, len(activity) // _MOMENTS)], dtype=np.float64)
    size = len(u) // _SEGMENTS
    if size < 2:
        return Estimate(float("nan"), float("nan"))
    u = u[: size * _SEGMENTS] - u[: size * _SEGMENTS].mean(axis=0)
    squares = ((u @ u.T) ** 2).reshape(_SEGMENTS, size, _SEGMENTS, size).sum(axis=(1, 3)) / size**2
    traces = (u**2).sum(axis=1).reshape(_SEGMENTS, size).mean(axis=1)
    within = u.reshape(_SEGMENTS, size, -1).var(axis=1).sum(axis=1)
    if within[-1] <= 1e-6 * within[0] or within[-1] <= 1e-20 * np.mean(activity**2) * activity.shape[1]:
        return Estimate(float("nan"), float("nan"))  # it is coming to rest, or rests
    a, b = np.meshgrid(np.arange(_SEGMENTS), np.arange(_SEGMENTS))
    apart = np.abs(a - b) > 1

    def ratio(kept: np.ndarray) -> float:
        pairs = apart & kept[:, None] & kept[None, :]
        square = float(np.mean(squares[pairs]))
        return float(np.mean(traces[kept])) ** 2 / square if square > 0.0 else float("nan")

    everything = np.ones(_SEGMENTS, bool)
    value = ratio(everything)
    left = np.array([ratio(np.arange(_SEGMENTS) != i) for i in range(_SEGMENTS)])
    return Estimate(value, float(from_batches(_SEGMENTS * value - (_SEGMENTS - 1) * left).error))
