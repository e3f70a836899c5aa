"""How an LSTM without biases on its gates begins to move: its mean field to second order in E h².

Gates σ(x) = ½ + x/4 + …, cell gain a_y = 2 (1 + ε), q(τ) = E h h', q_0 = q(0), x_k and y Gaussian of covariance a_k² q.
With E k k' = ¼ + a_k² q/16 for each gate k, E tanh y tanh y' = Y (1 − 2Y_0), and c = (½ + D − δf)^{-1} i tanh y, D the
step in time less 1 and δf = f − ½, in which (½ + D)(½ + D') = ¼ − ½ ∂² for slow changes,

    0 = 2ε q − (16 − a_f²/2) q_0 q + 2 q̈ + B q² + σ²/4,   B = (a_f² + a_i² + a_o²)/4,

σ² the variance of a bias on the cell input (derived in the documentation, "The edge of chaos"). Without it q̈ = A q −
(B/2) q², A = 8 q_0 − ε − a_f² q_0/4; the path of zero energy from q_0 to 0 has A = B q_0/3, so

    q(τ) = q_0 / cosh²(√A τ/2),   q_0 = ε/(8 − a_f²/4 − B/3),   λ = 5A/8,

the last from 2λ ψ = ψ̈ + (B q − A) ψ, whose well 12/cosh² has the levels 9, 4 and 1: 9 is the ground state, 4 the zero
mode q̇. With frozen gates, B = 0, the next order counts, and the LSTM is the reduced map, c = tanh^{-1}(2h) its h:
q = (ε/8)/cosh(ετ/√6), λ = ε²/4. Corrections are of relative order ε.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq

from gatefield.cells.builtin import LSTM
from gatefield.cells.ensemble import Ensemble
from gatefield.edge.sompolinsky import critical_gain
from gatefield.phases.roots import FixedPoint, fixed_points
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, known_names

GATES = ("forget", "input", "output")
COMPARED = 3.0  # largest cell gain at which laws near the edge were compared with networks
CRITICAL = 2.0  # cell gain at which the zero state loses stability [CKS Cor. 11; EOC §2.3 g_c]


def lstm(gain: float, gates: Mapping[str, float] | float, **statistics: Any) -> Ensemble:
    """The LSTM of a cell gain and gate gains, one number for all gates or by name; "equal" gains are gates=gain."""
    return Ensemble(LSTM(), gate_gains(gates) | {"cell": at_least("gain", gain, 0.0)}, **statistics)


def gate_gains(gates: Mapping[str, float] | float) -> dict[str, float]:
    """Gains of forget, input and output gate; those not named are 0."""
    if not isinstance(gates, Mapping):
        return dict.fromkeys(GATES, at_least("gates", gates, 0.0))
    known_names("gates", gates, GATES, "an LSTM's gates")
    return {name: at_least(f"gates[{name!r}]", gates.get(name, 0.0), 0.0) for name in GATES}


@dataclass(frozen=True, eq=False, repr=False)
class OnsetLaw(Result):
    """Leading order in ε = gain/2 − 1 of an LSTM's chaotic state.

    Attributes:
        gain: cell gain.
        gates: gains of the gates.
        stiffness: 8 − a_f²/4 − B/3, the ratio ε/E h²: above 0 chaos sets in continuously at gain 2, below 0 it jumps.
        quadratic: B = (a_f² + a_i² + a_o²)/4, the force that live gates add.
        second_moment: E h² = ε/stiffness; NaN where ε and stiffness have different signs. Below gain 2 and with
            negative stiffness this is the unstable branch, which separates the chaotic state from the zero state.
        lyapunov_max: λ per step: 5 B E h²/24, proportional to ε; ε²/4 where gates are frozen. NaN likewise.
        half_time: lag at which E h h' has fallen to a half, in steps.
    """

    gain: float
    gates: Mapping[str, float]
    stiffness: float
    quadratic: float
    second_moment: float
    lyapunov_max: float
    half_time: float

    @property
    def continuous(self) -> bool:
        """Whether activity grows from 0 at gain 2, rather than jumping."""
        return self.stiffness > 0.0

    def autocorrelation(self, lags: Any) -> np.ndarray:
        """E h(t) h(t + lag), at lags of any shape, in steps."""
        lags = np.asarray(lags, dtype=float)
        if self.quadratic > 0.0:
            return self.second_moment / np.cosh(_scale(self.quadratic, self.second_moment) * lags) ** 2
        return self.second_moment / np.cosh((self.gain / CRITICAL - 1.0) * lags / np.sqrt(6.0))

    def description(self) -> Description:
        return Description(
            quantities={
                "stiffness": Quantity(self.stiffness, source="8 − a_f²/4 − B/3"),
                "quadratic": Quantity(self.quadratic, source="B = (a_f² + a_i² + a_o²)/4"),
                "second_moment": Quantity(self.second_moment, source="E h² = ε/stiffness"),
                "lyapunov_max": Quantity(self.lyapunov_max, units="1/step", source="5 B E h²/24"),
                "half_time": Quantity(self.half_time, units="steps"),
                "continuous": Quantity(self.continuous),
                "gates": Quantity(self.gates, ("gate",)),
            },
            facts={"gain": self.gain},
        )


def _scale(quadratic: float, second_moment: float) -> float:
    """√A/2."""
    return 0.5 * np.sqrt(quadratic * second_moment / 3.0)


def far_from_edge(gains: Iterable[float]) -> tuple[str, ...]:
    """What to say where a law of small ε = gain/2 − 1 is used beyond the gains at which networks were compared."""
    largest = max(gains)
    if largest <= COMPARED:
        return ()
    return (f"cell gain {largest:g}: the law of ε = gain/2 − 1 ≪ 1 was compared with networks up to {COMPARED:g} only",)


def onset_law(gain: float, gates: Mapping[str, float] | float) -> OnsetLaw:
    """An LSTM's chaotic state just above cell gain 2, to leading order.

    Args:
        gain: cell gain.
        gates: gain of all gates, or gains by name; those not named are 0.

    Raises:
        ValueError: negative gains or unknown gates.
    """
    gain, a = at_least("gain", gain, 0.0), gate_gains(gates)
    epsilon = gain / CRITICAL - 1.0
    quadratic = sum(v**2 for v in a.values()) / 4.0
    stiffness = 8.0 - a["forget"] ** 2 / 4.0 - quadratic / 3.0
    moment = epsilon / stiffness if stiffness != 0.0 else float("nan")
    if not moment > 0.0:
        moment = 0.0 if epsilon == 0.0 else float("nan")
    if quadratic > 0.0:
        exponent = 5.0 * quadratic * moment / 24.0
        half = np.arccosh(np.sqrt(2.0)) / _scale(quadratic, moment) if moment > 0.0 else float("nan")
    else:
        exponent = epsilon**2 / 4.0 if moment >= 0.0 else float("nan")
        half = np.arccosh(2.0) * np.sqrt(6.0) / epsilon if moment > 0.0 else float("nan")
    return OnsetLaw(
        gain, a, stiffness, quadratic, float(moment), float(exponent), float(half), messages=far_from_edge([gain])
    )


@dataclass(frozen=True, eq=False, repr=False)
class Tricritical(Result):
    """Gate gains at which the onset of chaos at cell gain 2 turns from continuous to a jump.

    Attributes:
        gates: the gains, on 4a_f² + a_i² + a_o² = 96.
        static: where the *static* roots turn along the same ray, 3a_f² + a_i² + a_o² = 64 (`static_transition`).
    """

    gates: Mapping[str, float]
    static: Mapping[str, float]

    def description(self) -> Description:
        return Description({
            "gates": Quantity(self.gates, ("gate",), source="4a_f² + a_i² + a_o² = 96"),
            "static": Quantity(self.static, ("gate",), source="3a_f² + a_i² + a_o² = 64"),
        })  # fmt: skip


def tricritical_gates(*, forget: float = 0.0, input: float = 0.0, output: float = 0.0) -> Tricritical:  # noqa: A002
    """The tricritical point along a ray of gate gains.

    It is where the stiffness ε/E h² of `onset_law` vanishes at E h² → 0, and exact: corrections are of higher order in
    E h². Equal gates: 4.

    Args:
        forget: component of the ray.
        input: likewise.
        output: likewise.

    Raises:
        ValueError: negative components, or all 0.
    """
    ray = gate_gains({"forget": forget, "input": input, "output": output})
    if not any(ray.values()):
        raise ValueError("forget, input and output are all 0: with frozen gates the onset is always continuous")
    f, i, o = (ray[name] ** 2 for name in GATES)
    dynamic, static = np.sqrt(96.0 / (4.0 * f + i + o)), np.sqrt(64.0 / (3.0 * f + i + o))
    return Tricritical(
        {name: float(dynamic * value) for name, value in ray.items()},
        {name: float(static * value) for name, value in ray.items()},
    )


# ---- biases ----


@dataclass(frozen=True, eq=False, repr=False)
class BiasedCriticalGain(Result):
    """The cell gain at which the biased static state of an LSTM loses stability.

    Attributes:
        gain: cell gain, to 1e-6 of the equation's own quadrature.
        bias_std: σ of the bias.
        on: the pre-activations that have it.
        equal: whether the gates' gains were varied together with the cell's.
        gates: gate gains at the critical point.
        second_moment: E h² there.
        law: leading order at small σ of a bias on the cell input alone: 2 + (16 − a_f²/2 − 2B) σ/(2√B) with live gates
            (a_k = 2 if equal), 2 + 4 (3/16)^{1/3} σ^{2/3} with frozen ones; NaN for other biases.
        notes: what the notes' reduced model says, with σ/4 for its bias: `critical_gain(σ/4)`; NaN for other biases.
    """

    gain: float
    bias_std: float
    on: tuple[str, ...]
    equal: bool
    gates: Mapping[str, float]
    second_moment: float
    law: float
    notes: float

    def description(self) -> Description:
        return Description(
            quantities={
                "gain": Quantity(self.gain, source="T(1) = 1, CKS 31 at λ = 1"),
                "second_moment": Quantity(self.second_moment, source="E h²"),
                "law": Quantity(self.law, source="leading order in σ"),
                "notes": Quantity(self.notes, source="EOC 7 with 10 at σ/4"),
                "gates": Quantity(self.gates, ("gate",)),
            },
            facts={"bias_std": self.bias_std, "on": self.on, "equal": self.equal},
        )


def bias_critical_gain(
    bias_std: float, *, gates: Mapping[str, float] | float | None = None, on: tuple[str, ...] | str = "cell"
) -> BiasedCriticalGain:
    """The cell gain of an LSTM with random biases above which resting is unstable, and chaos begins.

    The static mean field with its biases, and T(1) = 1 [CKS 31] at λ = 1, by quadrature. The dynamic theory's λ_max,
    `critical_gain(..., target="lyapunov_max")` of the package, crosses zero at the same gain.

    Args:
        bias_std: standard deviation of the biases.
        gates: gains of the gates; equal to the cell's by default.
        on: the pre-activations that have the bias, each with its own.

    Raises:
        ValueError: a negative bias_std, unknown names, or no transition between cell gains 0.05 and 40.
    """
    sigma, names = at_least("bias_std", bias_std, 0.0), (on,) if isinstance(on, str) else tuple(on)
    known_names("on", names, LSTM().preactivation_names, "an LSTM")

    @cache
    def static(gain: float) -> FixedPoint:
        """The static state that strong activity leads to."""
        biased = lstm(gain, gain if gates is None else gates, bias_var=dict.fromkeys(names, sigma**2))
        return fixed_points(biased)[-1]

    def growth(gain: float) -> float:
        """log T(1) there."""
        return float(np.log(static(gain).growth)) if sigma > 0.0 else np.log(gain / CRITICAL)

    low, high = _bracket(growth)
    find: Any = brentq
    gain = float(find(growth, low, high, xtol=1e-9))
    law, notes = float("nan"), float("nan")
    if names == ("cell",):
        notes = critical_gain(sigma / 4.0)
        law = _bias_law(sigma, gate_gains(CRITICAL if gates is None else gates))
    return BiasedCriticalGain(
        gain, sigma, names, gates is None, gate_gains(gain if gates is None else gates),
        static(gain).second_moment["h"] if sigma > 0.0 else 0.0, law, notes,
    )  # fmt: skip


def _bracket(growth: Any) -> tuple[float, float]:
    """Cell gains around the transition, from 2 outwards."""
    low = high = CRITICAL
    step = 1.05
    while growth(high) <= 0.0:
        low, high, step = high, high * step, step**1.5
        if high > 40.0:
            raise ValueError("no transition at cell gains up to 40; take smaller biases")
    while low == high or growth(low) > 0.0:
        high, low, step = low, low / step, step**1.5
        if low < 0.05:
            raise ValueError("no transition at cell gains down to 0.05; take smaller biases")
    return low, high


def _bias_law(sigma: float, gates: Mapping[str, float]) -> float:
    """From −B q² + σ²/4 = 0 and ε = (8 − a_f²/4 − B) q; frozen: the reduced map of c, whose bias is σ/2."""
    quadratic = sum(v**2 for v in gates.values()) / 4.0
    if quadratic == 0.0:
        return CRITICAL + 4.0 * np.cbrt(3.0 / 16.0) * sigma ** (2.0 / 3.0)
    return float(CRITICAL + (16.0 - gates["forget"] ** 2 / 2.0 - 2.0 * quadratic) * sigma / (2.0 * np.sqrt(quadratic)))
