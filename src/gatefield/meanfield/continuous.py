"""The flow ẋ = −x + U φ(x) + b at N = ∞, as the limit δ → 0 of its Euler maps, the `Leaky` cells.

Variance and largest exponent of the map of step δ are those of its stationary state (see `stationary`), of which there
may be several: it is the one next to that of the flow itself. Runs of `deterministic_mean_field` end there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatefield.cells.builtin import Leaky
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.meanfield.deterministic import activation
from gatefield.meanfield.stationary import Averages, euler_map, flow
from gatefield.numerics.estimates import Estimate
from gatefield.numerics.quadrature import gaussian_nodes
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import positive

_LARGEST_STEP = 0.5
_SOLVED = 1e-8  # residual of a map whose equation counts as solved


@dataclass(frozen=True, eq=False, repr=False)
class ContinuousLimit(Result):
    """Variance and largest Lyapunov exponent of a flow, extrapolated from its Euler maps.

    Attributes:
        variance: of x over neurons and time, about the mean of biases and currents.
        lyapunov_max: largest Lyapunov exponent per unit time.
        steps: the steps δ, ascending.
        variances: of the map of each step.
        exponents: of the map of each step, per unit time.
        time: the largest lag.
        residual: the most that is left of the equation for C, relative to the variance.
    """

    variance: Estimate
    lyapunov_max: Estimate
    steps: np.ndarray
    variances: np.ndarray
    exponents: np.ndarray
    time: float
    residual: float
    ensemble: Ensemble

    def description(self) -> Description:
        return Description(
            quantities={
                "variance": Quantity(self.variance, source="E[x²] − E[x]², δ → 0"),
                "lyapunov_max": Quantity(self.lyapunov_max, units="1/time", source="δ → 0"),
                "variances": Quantity(self.variances, ("step",)),
                "exponents": Quantity(self.exponents, ("step",), "1/time"),
                "residual": Quantity(self.residual),
            },
            coordinates={"step": Quantity(self.steps, units="time", json="steps")},
            facts={"ensemble": self.ensemble, "time": self.time},
        )


def continuous_limit(
    ensemble: Ensemble, *, steps: Sequence[float] = (0.2, 0.1, 0.05, 0.025, 0.0125), time: float | None = None
) -> ContinuousLimit:
    """The flow whose Euler maps are the ensemble's leaky cells, in the state that strong activity leads to.

    Errors are the change of the extrapolated values when the largest step is left out, with what the finite range of
    lags leaves on top.

    Args:
        ensemble: of a `Leaky` cell; its own step is not used.
        steps: at least two different steps up to 0.5.
        time: the largest lag; by default as large as correlations last.

    Raises:
        ValueError: another cell, a driven one, φ with kinks, steps out of their range, or activity without bound.
    """
    cell = ensemble.cell
    if not isinstance(cell, Leaky):
        raise ValueError(f"ensemble of {repr_cell(cell)}: the continuous limit is for Leaky()")
    if ensemble.driven:
        raise ValueError("the continuous limit needs currents that are constant in time")
    sizes = np.unique([positive("steps", step) for step in steps])
    if len(sizes) < 2 or sizes[-1] > _LARGEST_STEP:
        raise ValueError(f"steps={steps!r} must hold at least two different steps up to {_LARGEST_STEP}")
    averages, strongest = _averages(cell, ensemble)
    state = flow(averages, strongest=strongest)
    time = None if time is None else positive("time", time)
    found = [euler_map(averages, float(step), state, time=time) for step in sizes]
    variances, exponents = np.array([s.variance for s in found]), np.array([s.exponent for s in found])
    left, residual = max(s.window + s.residual for s in found), max(s.residual for s in found)
    return ContinuousLimit(
        _extrapolated(sizes**2 / (1.0 - sizes), variances, left * variances[0]),  # C depends on δ²/k alone
        _extrapolated(sizes, np.expm1(sizes * exponents) / sizes, left),  # κ, which at rest does not depend on δ
        sizes, variances, exponents, float(found[0].lags[-1]), residual, ensemble, messages=_unsolved(residual),
    )  # fmt: skip


def _unsolved(residual: float) -> tuple[str, ...]:
    if residual <= _SOLVED:
        return ()
    return (f"the equation for C is not solved (residual {residual:.2g}); give other steps, or a shorter time",)


def _extrapolated(x: np.ndarray, values: np.ndarray, error: float) -> Estimate:
    """The polynomial through the values at ascending x, at x = 0, with a further error."""

    def at_zero(x: np.ndarray, values: np.ndarray) -> float:
        others = [np.delete(x, i) for i in range(len(x))]
        return float(sum(v * np.prod(o / (o - y)) for v, o, y in zip(values, others, x, strict=True)))

    value = at_zero(x, values)
    return Estimate(value, abs(value - at_zero(x[:-1], values[:-1])) + error)


def _averages(cell: Leaky, ensemble: Ensemble) -> tuple[Averages, float]:
    """f(C) of an ensemble, and a variance that none of its states exceeds where φ stays within ±1."""
    mean, static = float(ensemble.means[0]), float(ensemble.static_variance[0])
    strongest = ensemble.gain["input"] ** 2 + static + 1.0
    functions = activation(cell, ensemble.gain["input"])
    x, weights = gaussian_nodes(np.array(mean), np.sqrt(strongest))
    values, slopes = (f(x) for f in functions)
    if abs(slopes @ weights - values * (x - mean) @ weights / strongest) > 1e-6 * np.max(np.abs(slopes)):
        raise ValueError("the continuous limit is for smooth activation functions only")
    return Averages(functions, mean=mean, static=static), strongest
