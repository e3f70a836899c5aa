"""Where chaos begins in the plane of two gains of a GRU whose update gate is constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatefield.cells.builtin import GRU
from gatefield.cells.ensemble import Ensemble
from gatefield.meanfield.deterministic import deterministic_mean_field
from gatefield.meanfield.sampled import mean_field
from gatefield.phases.boundaries import Axis, bifurcation_curve, checked_axis
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, positive, whole
from gatefield.running.progress import track


@dataclass(frozen=True, eq=False, repr=False)
class ChaosOnset(Result):
    """Between which two gains a state that moves for ever begins to exist.

    Attributes:
        name: the gain that is varied.
        low, high: at `low` activity dies or rests, at `high` it is chaotic.
        method: "deterministic" or "sampled" mean field.
    """

    name: str
    low: float
    high: float
    method: str
    ensemble: Ensemble

    @property
    def value(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2.0

    def description(self) -> Description:
        return Description(
            quantities={name: Quantity(getattr(self, name)) for name in ("value", "low", "high")},
            facts={"ensemble": self.ensemble, "name": self.name, "method": self.method},
        )


def chaos_onset(
    ensemble: Ensemble,
    *,
    gain: str,
    low: float,
    high: float,
    tolerance: float = 0.01,
    steps: int = 600,
    samples: int = 8000,
    seed: int = 0,
) -> ChaosOnset:
    """Onset of chaos as one gain grows, from strong activity at the start, by bisection.

    It is not where non-zero fixed points appear: for a_h = 1.8 these come at a_r* = 8.157, chaos at 16.2 [corrects CKS
    §4.4]. A GRU with a constant update gate is followed without sampling; any other ensemble by `mean_field`.

    Args:
        ensemble: its own value of `gain` is not used.
        gain: name of the pre-activation.
        low: a gain without chaos.
        high: a gain with chaos.
        tolerance: relative width at which the bisection ends.
        steps: of each run. Near the onset activity dies late: a longer run moves it up a little.
        samples: of each sampled run.
        seed: likewise.

    Raises:
        ValueError: chaos already at `low`, or none at `high`.
    """
    low, high = at_least("low", low, 0.0), positive("high", high)
    tolerance, steps = positive("tolerance", tolerance), whole("steps", steps, 50)
    constant = (
        isinstance(ensemble.cell, GRU) and not ensemble.cell.reset_after and not ensemble.driven
        and ensemble.gain["update"] == 0.0 and ensemble.static_variance[0] == 0.0
    )  # fmt: skip

    def chaotic(value: float) -> bool:
        here = ensemble.with_gain(gain, value)
        if constant:
            return _survives(deterministic_mean_field(here, steps=steps).covariance)
        field = mean_field(here, steps=steps, samples=samples, seed=seed)
        return field.regime == "chaotic"

    for value, expected in ((low, False), (high, True)):
        if chaotic(value) != expected:
            raise ValueError(
                f"gain {gain!r} = {value:g} is {'chaotic' if not expected else 'not chaotic'}; choose low below the "
                "onset of chaos and high above it"
            )
    while high - low > tolerance * high:
        middle = (low + high) / 2.0
        low, high = (low, middle) if chaotic(middle) else (middle, high)
    return ChaosOnset(gain, low, high, "deterministic" if constant else "sampled", ensemble)


@dataclass(frozen=True, eq=False, repr=False)
class ChaosLine(Result):
    """Onset of chaos in gain_y at some gain_x: between `low` and `high`, (n,) each."""

    name_x: str
    name_y: str
    gain_x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ensemble: Ensemble

    def description(self) -> Description:
        bounds = {"low": self.low, "high": self.high}
        return Description(
            quantities={name: Quantity(values, (self.name_x,)) for name, values in bounds.items()},
            coordinates={self.name_x: Quantity(self.gain_x, units="gain", json="gain_x")},
            facts={"ensemble": self.ensemble, "name_x": self.name_x, "name_y": self.name_y},
        )


def chaos_line(
    *, gain_x: Axis, gain_y: tuple[str, float, float], ensemble: Ensemble, tolerance: float = 0.02, steps: int = 400
) -> ChaosLine:
    """`chaos_onset` along the axis of gain_x, from the folds up, as far as it lies below the highest gain_y.

    Args:
        gain_x: name, lowest and highest gain, number of points.
        gain_y: name, lowest and highest gain.
        ensemble: all else.
        tolerance: relative width of each bracket.
        steps: of each run.
    """
    name_x, gains = checked_axis("gain_x", gain_x)
    name_y, low, high = gain_y[:3]
    found: list[tuple[float, float, float]] = []
    for x in track(list(gains), "onset of chaos"):
        folds = bifurcation_curve(gain_x=(name_x, x, x, 1), gain_y=name_y, ensemble=ensemble).gain_y
        start = max([low, *folds.tolist()])
        here = ensemble.with_gain(name_x, x)
        try:
            onset = chaos_onset(here, gain=name_y, low=start, high=high, tolerance=tolerance, steps=steps)
        except ValueError:  # chaotic from the fold on, or not below the highest gain
            continue
        found.append((float(x), onset.low, onset.high))
    at, lowest, highest = np.array(found).reshape(-1, 3).T
    return ChaosLine(name_x, name_y, at, lowest, highest, ensemble)


def _survives(covariance: np.ndarray) -> bool:
    """Whether activity settles at a level at which it moves.

    Where it settles, the fall over the last quarter is less than half of that over the quarter before; at the onset
    itself, where it falls like 1/t towards the level, it is half.
    """
    moment = np.diagonal(covariance)
    last = len(moment) - 1
    middle, three = moment[last // 2], moment[3 * last // 4]
    if moment[last] < 1e-6 * moment[0]:
        return False
    settles = three - moment[last] < 0.5 * (middle - three) + 1e-9 * moment[last] or moment[last] >= three
    return bool(settles and covariance[last, last // 2] < 0.999 * moment[last])
