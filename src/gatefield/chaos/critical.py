"""Critical gains: where, as one gain grows, an infinite network changes its mind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import root_scalar

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.chaos.largest import lyapunov_max
from gatefield.meanfield.sampled import mean_field
from gatefield.numerics.estimates import Estimate
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, known_names, positive, whole
from gatefield.spectra.support import spectral_radius

_TARGETS = ("lyapunov_max", "zero_fixed_point", "spectral_radius")
_WIDEST = (1e-3, 1e3)
# Activity that falls or grows by less than this many e-folds within a run has not settled because it is critical.
_SLOW = 6.0


@dataclass(frozen=True, eq=False, repr=False)
class CriticalGain(Result):
    """A gain at which a quantity changes sign.

    Attributes:
        value: the gain.
        error: half-width of its 68 % interval: what the quantity's own error makes of it, and the last bracket's half.
        name: of the pre-activation whose gain it is.
        target: "lyapunov_max" (λ_max = 0), "zero_fixed_point" (its spectral radius is 1) or "spectral_radius" (that
            of the steady state is 1).
        gains, values, errors: where the quantity was evaluated, in order of gain: λ_max, or the log of the radius.
        jump: whether the quantity jumps across zero, by more than its errors and the bracket's width explain: two
            states coexist, and the start decides.
        messages: where runs at the ends of the last bracket were not settled.
    """

    value: float
    error: float
    name: str
    target: str
    gains: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    jump: bool
    ensemble: Ensemble

    def __str__(self) -> str:
        return f"{Estimate(self.value, self.error)}"

    def description(self) -> Description:
        units = "1/step" if self.target == "lyapunov_max" else "1"
        return Description(
            quantities={
                "value": Quantity(Estimate(self.value, self.error), json="critical_gain"),
                "jump": Quantity(self.jump),
                "gains": Quantity(self.gains, ("evaluation",)),
                "values": Quantity(Estimate(self.values, self.errors), ("evaluation",), units),
            },
            facts={"ensemble": self.ensemble, "name": self.name, "target": self.target},
        )


def critical_gain(
    ensemble: Ensemble,
    *,
    name: str,
    target: str = "lyapunov_max",
    low: float | None = None,
    high: float | None = None,
    tolerance: float = 0.002,
    steps: int = 400,
    samples: int = 8000,
    seed: int = 0,
    initial: float = 0.6,
) -> CriticalGain:
    """The gain of one pre-activation at which λ_max, or the log of a spectral radius, crosses zero.

    All else is as in `ensemble`. At each gain the same noise is used, so that the quantity is a smooth function of it.
    Where the zero state is fixed and a run has not settled because it is too near the transition, what becomes of its
    weak activity is decided by the zero state, whose spectral radius then stands for the run's. Such a transition is
    that of `zero_fixed_point`, unless activity survives below it (see `jump`).

    Args:
        ensemble: its own value of the gain is where the search starts.
        name: of the pre-activation.
        target: "lyapunov_max", "zero_fixed_point" or "spectral_radius".
        low: a gain below the critical one; searched for by default.
        high: a gain above it; likewise.
        tolerance: relative width of the last bracket, for what is sampled.
        steps: of each mean field.
        samples: likewise.
        seed: likewise.
        initial: likewise.

    Raises:
        ValueError: an unknown name or target, a zero state that is not fixed, or no change of sign.
    """
    known_names("name", [name], ensemble.names, type(ensemble.cell).__name__)
    if ensemble.names.index(name) in ensemble.structure.sourceless:
        raise ValueError(f"name={name!r} has no recurrent weights, so no gain")
    if target not in _TARGETS:
        raise ValueError(f"target={target!r} is not known; use one of {', '.join(_TARGETS)}")
    tolerance = positive("tolerance", tolerance)
    options = {"steps": whole("steps", steps, 16), "samples": samples, "seed": seed, "initial": initial}
    evaluate = _quantity(ensemble, name, target, options)
    known: dict[float, _Point] = {}

    def at(gain: float) -> float:
        if gain not in known:
            known[gain] = evaluate(gain)
        return known[gain].value

    exact = target == "zero_fixed_point" and not ensemble.static_variance.any()
    a, b = _bracket(at, ensemble.gain[name], low, high, name, target)
    if exact:
        value, error, jump = root_scalar(at, bracket=(a, b), method="brentq", xtol=1e-13).root, 1e-12 * b, False
    else:
        root = root_scalar(at, bracket=(a, b), method="bisect", xtol=tolerance * b / 2.0).root
        if known[root].value == 0.0:  # a gain at which zero is exactly critical
            at(root * (1.0 + tolerance))
        a, b = max(g for g in known if known[g].value <= 0.0), min(g for g in known if known[g].value > 0.0)
        value, error, jump = _crossing(min(a, b), max(a, b), known)
    gains = np.array(sorted(known))
    values, errors = (np.array([getattr(known[g], what) for g in gains]) for what in ("value", "error"))
    messages = () if exact else _unsettled(known, sorted((a, b)))
    return CriticalGain(
        float(value), float(error), name, target, gains, values, errors, jump, ensemble, messages=messages
    )


@dataclass(frozen=True)
class _Point:
    """The quantity at one gain, its error, and whether the run had settled."""

    value: float
    error: float
    settled: bool


def _unsettled(known: dict[float, _Point], ends: list[float]) -> tuple[str, ...]:
    """What to say of the ends of the last bracket."""
    return tuple(f"the run at a gain of {g:.4g} has not settled; increase steps" for g in ends if not known[g].settled)


def _quantity(ensemble: Ensemble, name: str, target: str, options: dict[str, Any]) -> Callable[[float], _Point]:
    if target == "zero_fixed_point" and not ensemble.zero_is_fixed:
        raise ValueError("target='zero_fixed_point': zero is not a fixed point of this ensemble; use 'lyapunov_max'")

    def at_zero(here: Ensemble) -> _Point:
        zero = Snapshot.at_zero(here, samples=options["samples"], seed=options["seed"])
        return _log(spectral_radius(here, zero), True)

    def evaluate(gain: float) -> _Point:
        here = ensemble.with_gain(name, gain)
        if target == "zero_fixed_point":
            return at_zero(here)
        if target == "lyapunov_max":
            found = lyapunov_max(here, **options)
            point = _Point(found.value, found.error, found.converged)
        else:
            field = mean_field(here, **options)
            point = _log(spectral_radius(here, field.snapshot), field.converged)
        slow = not point.settled and abs(point.value) * options["steps"] < _SLOW
        return at_zero(here) if slow and here.zero_is_fixed else point

    return evaluate


def _log(radius: Estimate, settled: bool) -> _Point:
    if radius.value <= 0.0:
        return _Point(float("-inf"), 0.0, settled)
    return _Point(float(np.log(radius.value)), float(radius.error / radius.value), settled)


def _bracket(
    at: Callable[[float], float], start: float, low: float | None, high: float | None, name: str, target: str
) -> tuple[float, float]:
    """Gains at which the quantity is negative and positive."""
    a = at_least("low", low, 0.0) if low is not None else None
    b = positive("high", high) if high is not None else None
    if a is None and b is None:
        first = start if start > 0.0 else 1.0
        a, b = (None, first) if at(first) > 0.0 else (first, None)
    if a is None and b is not None:
        a = _stepped(at, b, 0.7, wanted=False)
        if a is None and target == "zero_fixed_point" and at(0.0) > 0.0:
            raise ValueError(
                f"the zero state is unstable at every gain of {name!r}: without its weights the spectral radius is "
                f"{np.exp(at(0.0)):.6g} already"
            )
    elif b is None and a is not None:
        b = _stepped(at, a, 1.4, wanted=True)
    if a is None or b is None or a >= b or at(a) > 0.0 or at(b) <= 0.0:
        raise ValueError(
            f"{target} does not change from negative to positive as the gain of {name!r} grows"
            f"{'' if a is None or b is None else f' from {a:g} to {b:g}'}; give low and high around a change, or "
            "another name"
        )
    return a, b


def _stepped(at: Callable[[float], float], start: float, factor: float, *, wanted: bool) -> float | None:
    """The first gain along start, start·factor, … at which the quantity is positive, or not, as wanted."""
    gain = start if start > 0.0 else _WIDEST[0]
    while _WIDEST[0] <= gain <= _WIDEST[1]:
        if (at(gain) > 0.0) == wanted:
            return gain
        gain *= factor
    return None


def _crossing(a: float, b: float, known: dict[float, _Point]) -> tuple[float, float, bool]:
    """Where the straight line through the bracket's ends crosses zero, its error, and whether it is a jump."""
    low, high = known[a], known[b]
    near = sorted(known, key=lambda g: abs(np.log(g / b)))[:6]
    span = [g for g in near if np.isfinite(known[g].value)]
    step = high.value - low.value
    slope = np.polyfit(span, [known[g].value for g in span], 1)[0] if len(span) > 2 else step / (b - a)
    noise = float(np.median([point.error for point in known.values()]))  # at a jump some batches have died, others not
    jump = bool(step > 4.0 * noise and step > 0.02)
    share = -low.value / step if np.isfinite(step) and step > 0.0 else 0.5
    error = (b - a) / 2.0 if jump else float(np.hypot((b - a) / 2.0, max(low.error, high.error) / max(slope, 1e-12)))
    return a + share * (b - a), error, jump
