"""The notes' reduced model of an LSTM, as a flow and as a map, solved exactly [EOC 2–10].

    dh/dt = −h/2 + b + (1/4) J tanh(h),   J_ij ~ N(0, g²/N),   b_i ~ N(0, σ_b²)           (flow, [EOC 3, 8])
    h(t+1) = h(t)/2 + b + (1/4) J tanh(h(t))                                              (map)

Both are Sompolinsky, Crisanti and Sommers' network of gain g/2 and bias 2 b: the flow in time t/2, the map as its Euler
step ½ (`stationary`). All times here are the notes': one step of the map, which is one step of the LSTM.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq

from gatefield.meanfield.stationary import Averages, EulerMap, Flow, euler_map, flow, potential
from gatefield.numerics.correlation import time_to_fall
from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, positive

_CRITICAL = 2.0  # g_c without bias [EOC §2.3 g_c]
_LARGEST_GAIN = 12.0  # beyond, Mehler's series takes too many terms; all is far from the edge there
_LONGEST = 10.0  # lags that `Reduced.lags` holds, in decay times


@dataclass(frozen=True, eq=False, repr=False)
class ReducedMap(Result):
    """The reduced model as a map, which is what an LSTM with frozen gates resembles.

    Attributes:
        variance: dynamic C_0 = E h².
        plateau: C_∞.
        lags: 0, 1, 2, … steps.
        autocorrelation: C(lag).
        half_time: lag at which C − C_∞ has fallen to a half, in steps; infinite at rest.
        lyapunov_max: per step.
        residual: the most that is left of the equation for C, relative to C_0.
    """

    variance: float
    plateau: float
    lags: np.ndarray
    autocorrelation: np.ndarray
    half_time: float
    lyapunov_max: float
    residual: float

    def description(self) -> Description:
        return Description(
            quantities={
                "variance": Quantity(self.variance, source="dynamic C_0"),
                "plateau": Quantity(self.plateau, source="C_inf"),
                "half_time": Quantity(self.half_time, units="steps"),
                "lyapunov_max": Quantity(self.lyapunov_max, units="1/step"),
                "residual": Quantity(self.residual),
                "autocorrelation": Quantity(self.autocorrelation, ("lag",)),
            },
            coordinates={"lag": Quantity(self.lags, units="steps", json="lags")},
        )


@dataclass(frozen=True, eq=False, repr=False)
class Reduced(Result):
    """The stationary state of the reduced model that strong activity leads to, and what the notes say of it.

    Attributes:
        gain: g of the notes; 2 is critical without bias.
        bias_std: σ_b.
        state: the solution in units of the leak: time t/2, gain g/2, bias variance 4σ_b².
    """

    gain: float
    bias_std: float
    state: Flow

    @property
    def static_variance(self) -> float:
        """C_0 of neurons that rest, C_0 = (g²/4) E tanh² + 4σ_b² [EOC §3.2 C_0, 10].

        A fixed point, above the critical gain an unstable one, and not the variance of the chaotic state.
        """
        return self.state.static

    @property
    def dynamic_variance(self) -> float:
        """C_0 of the state itself, from zero energy; equal to the static one where resting is stable."""
        return self.state.variance

    @property
    def plateau(self) -> float:
        """C_∞: what a bias leaves of the correlation at long lags, not 4σ_b² [EOC §3.3 translation]."""
        return self.state.far

    @cached_property
    def half_time(self) -> float:
        """Lag at which C − C_∞ has fallen to a half; infinite at rest."""
        return 2.0 * self.state.lag_of(0.5)

    @cached_property
    def tenth_time(self) -> float:
        """Lag at which C − C_∞ has fallen to a tenth; infinite at rest."""
        return 2.0 * self.state.lag_of(0.1)

    @property
    def decay_time(self) -> float:
        """1/κ of C − C_∞ ~ e^{−κτ}, κ² = ¼ − (g²/16) E[φ'φ'] at C_∞; infinite at rest."""
        return 2.0 / self.state.decay_rate if self.chaotic else float("inf")

    @property
    def notes_relaxation(self) -> float:
        """1/τ_∞² = (1 − (g²/4) E sech⁴)/4 [EOC §3.2 τ_∞], at the dynamic C_0.

        Negative, so that τ_∞ is imaginary, wherever the state moves: the decay time is `decay_time`.
        """
        return (1.0 - self.state.averages.slope_at(self.dynamic_variance)) / 4.0

    @property
    def levels(self) -> tuple[float, float]:
        """E_0 and E_1 of H = −∂² + ¼ − (g²/16) E[φ'φ'].

        Where the state moves E_1 = 0, Ċ being an odd zero mode. At rest both are the bottom of the continuum.
        """
        return self.state.levels[0] / 4.0, self.state.levels[1] / 4.0

    @property
    def lyapunov_max(self) -> float:
        """Largest Lyapunov exponent per unit time, −½ + √(¼ − E_0)."""
        return self.state.exponent / 2.0

    @property
    def static_lyapunov_max(self) -> float:
        """Growth rate at the static solution, ½ ((g/2) √E sech⁴ − 1): its sign is that of `lyapunov_max`.

        Without activity ½ (g/2 − 1), the largest real part of the Jacobian of the linear flow [EOC 2, §2.3 J].
        """
        return self.state.static_exponent / 2.0

    @property
    def chaotic(self) -> bool:
        """Whether the state moves: exactly where resting is unstable [EOC §4 question 2]."""
        return not self.state.resting

    @cached_property
    def lags(self) -> np.ndarray:
        """400 lags from 0 to ten decay times (or 100 at rest)."""
        return np.linspace(0.0, _LONGEST * self.decay_time if self.chaotic else 100.0, 400)

    @cached_property
    def autocorrelation(self) -> np.ndarray:
        """C(τ) at `lags`, not centred."""
        return self.autocorrelation_at(self.lags)

    def autocorrelation_at(self, lags: Any) -> np.ndarray:
        """C(τ) at lags of any shape, of either sign."""
        lags = np.abs(np.asarray(lags, dtype=float))
        ascending, back = np.unique(lags, return_inverse=True)
        found = self.state.covariance(np.append(0.0, ascending) / 2.0)[1:]
        return found[back].reshape(lags.shape)

    def potential(self, covariance: Any, *, static: bool = False) -> np.ndarray:
        """V(C) of C̈ = −V'(C) [EOC 6, 9], 0 at C_∞; with the static C_0 instead of the dynamic one where asked for.

        The state leaves C_0 at rest and needs V(C_0) = V(C_∞) = 0 to come to rest again: the dynamic C_0 has that.
        """
        variance = self.static_variance if static else self.dynamic_variance
        c = np.asarray(covariance, dtype=float)
        if variance == 0.0:
            return -c * c / 8.0 * (1.0 - self.gain**2 / 4.0)
        return potential(self.state.averages, variance, c, origin=self.plateau) / 4.0

    @cached_property
    def map(self) -> ReducedMap:
        """The same model as a map."""
        time = None if self.chaotic else 50.0
        return _reduced_map(euler_map(self.state.averages, 0.5, self.state, time=time), self.plateau, self.chaotic)

    def description(self) -> Description:
        return Description(
            quantities={
                "static_variance": Quantity(self.static_variance, source="EOC 10"),
                "dynamic_variance": Quantity(self.dynamic_variance, source="zero energy in EOC 6, 9"),
                "plateau": Quantity(self.plateau, source="C_inf"),
                "half_time": Quantity(self.half_time, units="steps", source="EOC 6"),
                "tenth_time": Quantity(self.tenth_time, units="steps", source="EOC 6"),
                "decay_time": Quantity(self.decay_time, units="steps", source="1/kappa"),
                "lyapunov_max": Quantity(self.lyapunov_max, units="1/step", source="-1/2 + sqrt(1/4 - E_0)"),
                "static_lyapunov_max": Quantity(self.static_lyapunov_max, units="1/step", source="EOC 7"),
                "notes_relaxation": Quantity(
                    self.notes_relaxation, units="1/step^2", source="1/tau_inf^2, EOC 3.2"
                ),
                "levels": Quantity(self.levels, ("level",), source="E_0, E_1"),
                "critical_gain": Quantity(critical_gain(self.bias_std), source="EOC 7 with 10"),
                "autocorrelation": Quantity(self.autocorrelation, ("lag",), source="EOC 6, 9"),
            },
            coordinates={"lag": Quantity(self.lags, units="steps", json="lags")},
            facts={"gain": self.gain, "bias_std": self.bias_std, "chaotic": self.chaotic},
            parts={"map": self.map},
        )  # fmt: skip


def reduced(gain: float, bias_std: float = 0.0) -> Reduced:
    """The reduced model of an LSTM, as a flow (and as a map: `.map`), without sampling [EOC 3–6, 8–9].

    Args:
        gain: g of the notes, up to 12; half of it is the gain in Sompolinsky, Crisanti and Sommers' units.
        bias_std: σ_b of constant biases.

    Raises:
        ValueError: an argument out of its range.
    """
    g, sigma = at_least("gain", gain, 0.0), at_least("bias_std", bias_std, 0.0)
    if g > _LARGEST_GAIN:
        raise ValueError(
            f"gain={gain!r} is too far from the edge for the exact solution; take up to {_LARGEST_GAIN:g}, or "
            "deterministic_mean_field of a Leaky(step=0.5) ensemble"
        )
    half = g / 2.0
    averages = Averages(
        (lambda x: half * np.tanh(x), lambda x: half / np.cosh(x) ** 2), static=(2.0 * sigma) ** 2
    )  # fmt: skip
    state = flow(averages, strongest=half**2 + averages.static + 1.0)
    return Reduced(g, sigma, state)


def _reduced_map(found: EulerMap, plateau: float, chaotic: bool) -> ReducedMap:
    c = found.covariance
    end = float(c[-1]) if chaotic and plateau > 0.0 else plateau
    half = time_to_fall(c - end, 0.5).value if chaotic else float("inf")
    return ReducedMap(
        variance=float(c[0]),
        plateau=end if chaotic else float(c[0]),
        lags=np.arange(len(c)),
        autocorrelation=c,
        half_time=half,
        lyapunov_max=found.exponent / 2.0,
        residual=found.residual,
    )


# ---- the critical line ----


@dataclass(frozen=True, eq=False, repr=False)
class CriticalLine(Result):
    """Critical gains of the reduced model against the bias [EOC 7, 10].

    Attributes:
        bias_std: σ_b, (n,).
        gain: g_c(σ_b).
        variance: C_0 there, static and dynamic at once.
        leading: the notes' law 2 + 2·3^{1/3} σ_b^{2/3}.
        next_order: with −(24/5) σ_b² besides, which comes next: the term σ_b^{4/3} vanishes.
        exponent: d log(g_c − 2)/d log σ_b, which tends to 2/3.
    """

    bias_std: np.ndarray
    gain: np.ndarray
    variance: np.ndarray
    leading: np.ndarray
    next_order: np.ndarray
    exponent: np.ndarray

    def description(self) -> Description:
        sources = {
            "gain": "EOC 7 with 10", "variance": "EOC 10", "leading": "2 + 2·3^{1/3} σ_b^{2/3}",
            "next_order": "… − (24/5) σ_b²", "exponent": "d log(g_c − 2)/d log σ_b",
        }  # fmt: skip
        return Description(
            {name: Quantity(getattr(self, name), ("bias_std",), source=source) for name, source in sources.items()},
            {"bias_std": Quantity(self.bias_std, json="bias_std")},
        )


def critical_gain(bias_std: float) -> float:
    """The gain g_c(σ_b) above which the reduced model is chaotic, and resting unstable [EOC 7, 10, §3.3 g_c].

    2 without bias [EOC §2.3 g_c]. Exact in the dynamic theory too: there static and dynamic C_0 merge with C_∞. For its
    law see `critical_line`.

    Raises:
        ValueError: a negative bias_std.
    """
    return _critical(at_least("bias_std", bias_std, 0.0))[0]


def critical_line(bias_stds: Any) -> CriticalLine:
    """Critical gains at several σ_b > 0, beside their law at small σ_b [EOC §3.3 C_0, §3.3 law].

    Raises:
        ValueError: a bias_std that is not above 0.
    """
    sigma = np.array([positive("bias_stds", s) for s in np.atleast_1d(bias_stds)])
    found = np.array([_critical(s) for s in sigma])
    steps = np.array([[_critical(s * f)[0] - _CRITICAL for f in (0.99, 1.01)] for s in sigma])
    leading = _CRITICAL + 2.0 * np.cbrt(3.0 * sigma**2)
    return CriticalLine(
        sigma, found[:, 0], found[:, 1], leading, leading - 4.8 * sigma**2,
        np.diff(np.log(steps), axis=1)[:, 0] / np.log(1.01 / 0.99),
    )  # fmt: skip


def _critical(sigma: float) -> tuple[float, float]:
    """g_c and C_0: C_0 = E tanh²/E sech⁴ + 4σ_b², as (g_c/2)² E sech⁴ = 1."""
    if sigma == 0.0:
        return _CRITICAL, 0.0

    def moments(variance: float) -> tuple[float, float]:
        x, weights = gaussian_nodes(np.array(0.0), np.sqrt(variance))
        return float(expectation(np.tanh(x) ** 2, weights)), float(expectation(np.cosh(x) ** -4.0, weights))

    def left(log_variance: float) -> float:
        square, fourth = moments(np.exp(log_variance))
        return np.exp(log_variance) - square / fourth - 4.0 * sigma**2

    low, high = np.log(1e-3 * min(sigma, sigma ** (2.0 / 3.0))), np.log(40.0 * (1.0 + sigma**2))
    while left(high) < 0.0:
        high += 1.0
    find: Any = brentq
    variance = float(np.exp(find(left, low, high, xtol=1e-14)))
    return float(2.0 / np.sqrt(moments(variance)[1])), variance
