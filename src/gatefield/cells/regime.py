"""What a run comes to, in a word: quiescent, fixed point, periodic, chaotic or driven; and after how many steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gatefield.cells.ensemble import Ensemble

REGIMES = ("quiescent", "fixed point", "periodic", "chaotic", "driven")
_LONGEST = 16  # periods looked for
_REST = 1e-12  # of E[s²], rounding
_GONE, _FALLING = 1e-3, 0.2  # of what there was in the middle of the run
_PERIODIC, _NEARLY = 1e-3, 2e-2  # E[(s(t) − s(t−p))²] beside that at shorter lags
_EXPLAINED = 0.8  # share of the changes of E[s²] that its phases explain
_VISIBLE = 1e-2  # their size beside E[s²] itself
_CLEAR = 6.0  # standard errors between independent parts


class Regime(NamedTuple):
    """A regime by name, its period, and what is wrong with calling it settled ("" if nothing).

    The period is that of the state where it is periodic, or nearly, else of E[s²]; 1 where neither changes in turn.
    """

    name: str
    message: str = ""
    period: int = 1


def return_distances(states: Any, start: int) -> list[list[Any]]:
    """Σ_s E[(s(t) − s(t−p))²] for p = 1, 2, …, at the step after `start` and at the last: states (steps + 1, n, D)."""
    last = len(states) - 1
    longest = min(_LONGEST, start, (last - start) // 2)
    return [
        [((states[t] - states[t - p]) ** 2).mean(0).sum() for p in range(1, longest + 1)] for t in (start + 1, last)
    ]


def classify(ensemble: Ensemble, energies: np.ndarray, motion: np.ndarray, returns: Any, start: int) -> Regime:
    """Regime of a run.

    Args:
        ensemble: what ran.
        energies: Σ_s E[s(t)²] at each step, of independent parts, (parts, steps).
        motion: Σ_s E[(s(t) − s(t−1))²] at each step.
        returns: `return_distances`, averaged over the parts.
        start: the step from which the run is taken for its steady state.
    """
    if ensemble.driven:
        return _in_turn(Regime("driven"), energies, start)
    energy = energies.mean(axis=0)
    last, middle = energy[-1], energy[start]
    if last < 1e-9 or last < 1e-6 * energy[0]:
        return Regime("quiescent")
    falling = last < 0.5 * middle and motion[-1] < 0.5 * motion[start]
    if falling and ensemble.zero_is_fixed:
        return Regime("quiescent", f"activity is still falling (E[s²] = {last:.2g}); increase steps")
    if motion[-1] < _REST * last:
        return Regime("fixed point")
    apart = np.asarray(returns, float)
    repeating = _repeating(apart[0], apart[1], last)
    if repeating is None and motion[-1] < _GONE * motion[start]:
        return Regime("fixed point")
    if repeating is None and motion[-1] < _FALLING * motion[start]:
        return Regime("fixed point", f"activity is still settling (E[Δs²] = {motion[-1]:.2g}); increase steps")
    return _in_turn(repeating or Regime("chaotic"), energies, start)


def _repeating(middle: np.ndarray, end: np.ndarray, energy: float) -> Regime | None:
    """The state that a run repeats, or nearly; None where it does not, or comes to rest."""
    between = np.maximum.accumulate(end)[:-1]  # the largest at lags shorter than p = 2, 3, …
    lasting = between > _FALLING * np.maximum.accumulate(middle)[:-1]
    part = end[1:] / np.maximum(between, 1e-300)
    gone = (end[1:] < _REST * energy) | (end[1:] < _GONE * middle[1:])
    for good, settled in ((gone & (part < _PERIODIC), True), (part < _PERIODIC, False), (part < _NEARLY, False)):
        for k in np.flatnonzero(good & lasting):
            p, left = int(k) + 2, f"E[(s(t) − s(t−{k + 2}))²] = {end[k + 1]:.2g}"
            if settled:
                return Regime("periodic", "", p)
            if part[k] < _PERIODIC:
                return Regime("periodic", f"activity is still settling towards period {p} ({left}); increase steps", p)
            few = f"activity nearly repeats after {p} steps ({left}): a long transient, or chaos of few neurons"
            return Regime("chaotic", f"{few}; increase steps", p)
    return None


def _in_turn(regime: Regime, energies: np.ndarray, start: int) -> Regime:
    """The same, with what follows where E[s²] itself takes several values in turn."""
    period = _period_of_averages(energies[:, start:])
    if period == 1:
        return regime
    said = (
        f"E[s²] takes {period} values in turn: averages are over these phases, the snapshot is of the last step's "
        "alone, and so is what is derived from it"
    )
    return Regime(regime.name, "; ".join(filter(None, (regime.message, said))), max(regime.period, period))


def _period_of_averages(energies: np.ndarray) -> int:
    """After how many steps E[s²] repeats, of independent parts (parts, steps); 1 where it changes by chance only."""
    steps = energies.shape[1]
    for p in range(2, min(_LONGEST, steps // 4) + 1):
        whole = energies[:, steps % p :]
        phases = whole.reshape(len(whole), -1, p).mean(axis=1)
        phases = phases - phases.mean(axis=1, keepdims=True)
        pattern, mean = phases.mean(axis=0), whole.mean(axis=0)
        size = float(np.sqrt(np.mean(pattern**2)))
        if size < _VISIBLE * mean.mean() or size**2 < _EXPLAINED * mean.var():
            continue
        along = phases @ pattern  # neurons that each keep their own time differ between parts
        if len(along) == 1 or along.mean() > _CLEAR * along.std(ddof=1) / np.sqrt(len(along)):
            return p
    return 1
