"""What a run comes to, in a word: quiescent, fixed point, chaotic or driven."""

from __future__ import annotations

import numpy as np

from gatefield.cells.ensemble import Ensemble


def classify(ensemble: Ensemble, energy: np.ndarray, motion: np.ndarray, start: int) -> tuple[str, str]:
    """Regime of a run, and what is wrong with calling it settled ("" if nothing).

    Args:
        ensemble: what ran.
        energy: Σ_s E[s(t)²] at each step.
        motion: Σ_s E[(s(t) − s(t−1))²] at each step.
        start: the step from which the run is taken for its steady state.
    """
    if ensemble.driven:
        return "driven", ""
    last, middle = energy[-1], energy[start]
    if last < 1e-9 or last < 1e-6 * energy[0]:
        return "quiescent", ""
    falling = last < 0.5 * middle and motion[-1] < 0.5 * motion[start]
    if falling and ensemble.zero_is_fixed:
        return "quiescent", f"activity is still falling (E[s²] = {last:.2g}); increase steps"
    if motion[-1] < 1e-12 * last or motion[-1] < 1e-3 * motion[start]:
        return "fixed point", ""
    if motion[-1] < 0.2 * motion[start]:
        return "fixed point", f"activity is still settling (E[Δs²] = {motion[-1]:.2g}); increase steps"
    return "chaotic", ""
