"""How an LSTM's non-zero static states appear as its cell gain grows: continuously, or by a fold with hysteresis.

For tanh, without bias on the cell input and with gates that all have the same bias, zero loses stability at the cell
gain a_c = (1 − σ(b_f)) / (σ(b_o) σ(b_i)) [CKS Cor. 11]. At small q = E h² the neurons' static states h = σ(o) tanh c,
c = σ(i) tanh(y) / (1 − σ(f)), x_k ~ N(b_k, a_k² q), give

    log(q'/q) = 2 log(a_y/a_c) + B q + O(q²),

    B = a_o² (1 − o)(2 − 3o) + a_i² (1 − i)(2 − 3i) + a_f² f (1 + f) − 2 a_y² (1 + (i/(1 − f))²),   o = σ(b_o), …

from E σ(x)² = o² (1 + a² q (1 − o)(2 − 3o)), E (1 − σ(x))^{-2} = (1 − f)^{-2} (1 + a² q f (1 + f)) and tanh² x =
x² − (2/3) x⁴, used twice. Roots branch off continuously iff B < 0 at a_c: without biases iff a_o² + a_i² + 3 a_f² < 64.
Otherwise they exist below a_c already, from a fold on, beside the stable zero state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from gatefield.cells.builtin import LSTM
from gatefield.cells.cell import tanh
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.phases.averages import Moments
from gatefield.phases.roots import unresolved
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result

_COARSE, _FINE = 1e-6, 1e-12  # relative errors of moments
_SMALLEST_Q = 1e-7
_PER_DECADE = 12
_SMALLEST_GAIN, _LARGEST_GAIN = 1e-3, 1.2  # of those tried, in units of a_c


@dataclass(frozen=True, eq=False, repr=False)
class StaticTransition(Result):
    """Where an LSTM's zero state loses stability, and how non-zero static states branch off there.

    Attributes:
        gain: cell gain a_c.
        coefficient: B of log(q'/q) = 2 log(a_y/a_c) + B q at a_c; without biases (a_o² + a_i² + 3 a_f² − 64)/4.
    """

    gain: float
    coefficient: float
    ensemble: Ensemble

    @property
    def continuous(self) -> bool:
        """Whether q grows from 0 above a_c; else the branch starts at q = 0 towards smaller cell gains."""
        return self.coefficient < 0.0

    def second_moment(self, gain: float) -> float:
        """E h² of the small root at a cell gain near a_c, to leading order; NaN on the side where there is none."""
        q = -2.0 * np.log(gain / self.gain) / self.coefficient
        return float(q) if q >= 0.0 else float("nan")

    def description(self) -> Description:
        return Description(
            quantities={
                "gain": Quantity(self.gain, source="CKS Cor. 11"),
                "coefficient": Quantity(self.coefficient, source="B of log(q'/q) = 2 log(a_y/a_c) + B q"),
                "continuous": Quantity(self.continuous),
            },
            facts={"ensemble": self.ensemble},
        )


@dataclass(frozen=True, eq=False, repr=False)
class StaticHysteresis(Result):
    """Cell gains at which a stable zero state of an LSTM coexists with non-zero static states.

    Attributes:
        fold: the smallest cell gain that has a non-zero static state.
        gain: the cell gain a_c where zero loses stability.
        second_moment: E h² at the fold.
        residual: |q'/q − 1| there, found on other and more nodes than the fold was.
    """

    fold: float
    gain: float
    second_moment: float
    residual: float
    ensemble: Ensemble

    def description(self) -> Description:
        return Description(
            quantities={
                "fold": Quantity(self.fold),
                "gain": Quantity(self.gain, source="CKS Cor. 11"),
                "second_moment": Quantity(self.second_moment, source="E h² at the fold"),
                "residual": Quantity(self.residual, source="|q'/q − 1|"),
            },
            facts={"ensemble": self.ensemble},
        )


def static_transition(ensemble: Ensemble) -> StaticTransition:
    """Where an LSTM's zero state loses stability as the cell gain grows, and how; its own cell gain is left out.

    Raises:
        ValueError: not an LSTM with tanh and its own input gate, biases with a variance, or a bias on the cell input.
    """
    _check(ensemble)
    mean = dict(zip(ensemble.names, ensemble.means, strict=True))
    forget, write, read = (1.0 / (1.0 + np.exp(-mean[name])) for name in ("forget", "input", "output"))
    gain = (1.0 - forget) / (write * read)
    a = ensemble.gain
    coefficient = (
        a["output"] ** 2 * (1.0 - read) * (2.0 - 3.0 * read)
        + a["input"] ** 2 * (1.0 - write) * (2.0 - 3.0 * write)
        + a["forget"] ** 2 * forget * (1.0 + forget)
        - 2.0 * gain**2 * (1.0 + (write / (1.0 - forget)) ** 2)
    )
    return StaticTransition(float(gain), float(coefficient), ensemble)


def static_hysteresis(ensemble: Ensemble) -> StaticHysteresis | None:
    """The cell gains at which non-zero static states of an LSTM coexist with a stable zero; None where there are none.

    At given q the cell gain whose static state has E h² = q is unique, since q' grows with it; the fold is its minimum
    over q. The ensemble's own cell gain is left out.

    Raises:
        ValueError: as for `static_transition`.
    """
    critical = static_transition(ensemble).gain
    count = int(np.ceil(-np.log10(_SMALLEST_Q) * _PER_DECADE)) + 1
    grid = np.linspace(np.log(_SMALLEST_Q), 0.0, count)
    gains = np.concatenate(
        [
            _Branch(ensemble, part, critical * np.array([_SMALLEST_GAIN, _LARGEST_GAIN]), _COARSE).gains(part)
            for part in np.array_split(grid, -(-count // _PER_DECADE))
        ]
    )
    best = int(np.argmin(gains))
    if best == 0 or gains[best] > critical * (1.0 - 1e-9):
        return None
    around = grid[[best - 1, min(best + 1, count - 1)]]
    near = gains[best] * np.array([0.8, 1.25])
    branch = _Branch(ensemble, around, near, _FINE)
    found: Any = minimize_scalar(branch.gain, bounds=tuple(around), method="bounded", options={"xatol": 1e-9})
    u = float(found.x)
    fold = branch.gain(u)
    check = _Branch(ensemble, np.array([u]), np.array([fold]), _FINE, surplus=1)
    residual = abs(float(np.expm1(check.excess(u, fold))))
    return StaticHysteresis(fold, critical, float(np.exp(u)), residual, ensemble, messages=unresolved(residual))


class _Branch:
    """Static states of an LSTM by q, for ranges of log q and of the cell gain."""

    def __init__(
        self, ensemble: Ensemble, log_q: np.ndarray, gains: np.ndarray, tolerance: float, surplus: int = 0
    ) -> None:
        self.gains_of_gates = ensemble.gains
        self.cell = ensemble.names.index("cell")
        self.bounds = float(gains.min()), float(gains.max())
        low = self._std(float(log_q.min()), self.bounds[0])
        high = self._std(float(log_q.max()), self.bounds[1])
        source = len(ensemble.cell.state_names)
        self.moments = Moments(ensemble.cell, source, ensemble.means, low, high, tolerance=tolerance, surplus=surplus)

    def _std(self, log_q: float, gain: float) -> np.ndarray:
        std = self.gains_of_gates * np.exp(0.5 * log_q)
        std[self.cell] = gain * np.exp(0.5 * log_q)
        return std

    def excess(self, log_q: float, gain: float) -> float:
        """log q'/q."""
        return float(np.log(self.moments.second(self._std(log_q, gain)[None])[0])) - log_q

    def gain(self, log_q: float) -> float:
        """The cell gain whose static state has this q; infinite above the range of gains, its lower end below."""
        low, high = self.bounds
        if self.excess(log_q, high) < 0.0:
            return float("inf")
        if self.excess(log_q, low) > 0.0:
            return low
        find: Any = brentq
        root = find(lambda v: self.excess(log_q, float(np.exp(v))), np.log(low), np.log(high), xtol=1e-15, rtol=1e-14)
        return float(np.exp(root))

    def gains(self, log_q: np.ndarray) -> np.ndarray:
        """`gain` at each."""
        return np.array([self.gain(float(u)) for u in log_q])


def _check(ensemble: Ensemble) -> None:
    cell = ensemble.cell
    if not isinstance(cell, LSTM) or cell.coupled or cell.activation is not tanh:
        raise ValueError(f"cell={repr_cell(cell)} must be an LSTM() with tanh; fixed_points(ensemble) is for any cell")
    if np.any(ensemble.static_variance > 0.0):
        raise ValueError("bias_var must be 0 here: biases and currents the same for all neurons; use fixed_points")
    if ensemble.means[ensemble.names.index("cell")] != 0.0:
        raise ValueError("bias_mean['cell'] must be 0, so that zero is a fixed point; use fixed_points")
    if ensemble.driven:
        raise ValueError("current must not vary in time; leave it out")
