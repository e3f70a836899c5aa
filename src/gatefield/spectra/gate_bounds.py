"""What one gate at large gain does to the spectrum: bounds, and the laws that make the radius grow as √a.

Where a gate's x has a standard deviation s → ∞, E[σ'(x)² g] → E g/(6 s √(2π)), the right average over gates in (0, 1)
with weight 6 σ (1 − σ): a² E σ'² grows as a. What multiplies it is taken of neurons (`Snapshot`) or bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from gatefield.cells.builtin import GRU, LSTM
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.snapshot import Snapshot
from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, positive
from gatefield.spectra.limits import forget_gate_limit


@dataclass(frozen=True)
class _Gaussian:
    """Averages over a pre-activation x ~ N(mean, std²)."""

    mean: float
    std: float

    def average(self, function: Any) -> float:
        x, weights = gaussian_nodes(np.asarray(self.mean), np.asarray(self.std))
        return float(expectation(function(x), weights))

    @property
    def gate_square(self) -> float:
        """E σ²."""
        return self.average(lambda x: expit(x) ** 2)

    @property
    def slope_square(self) -> float:
        """E σ'²."""
        return self.average(lambda x: (expit(x) * expit(-x)) ** 2)


def _preactivation(ensemble: Ensemble, name: str, second: float) -> _Gaussian:
    k = ensemble.names.index(name)
    return _Gaussian(
        float(ensemble.means[k]), float(np.sqrt(ensemble.gains[k] ** 2 * second + ensemble.static_variance[k]))
    )


# ---- the GRU's reset gate ----


def shaping_bounds(ensemble: Ensemble, *, variance: float) -> tuple[float, float]:
    """Bounds of the spectral shaping parameter's square, ρ_t², at any reset gain and b_r = 0 [CKS 106].

    a_h² E φ'² (¼ + a_r² E r'² C_h) ≤ ρ_t² ≤ a_h² E φ'² (½ + a_r² E r'² C_h), as ¼ ≤ E r² ≤ ½ for a gate without bias.
    E φ'² is that of tanh, at y's own variance. `shaping` has ρ_t itself.

    Args:
        ensemble: GRUs with tanh whose reset gate stands before the weights.
        variance: C_h = E h².

    Returns:
        The lower and the upper bound.

    Raises:
        ValueError: another cell, or a bias on the reset gate.
    """
    cell = ensemble.cell
    if not isinstance(cell, GRU) or cell.reset_after or cell != GRU():
        raise ValueError(f"ensemble of {repr_cell(cell)}: the bounds are for gatefield.GRU()")
    variance, reset = at_least("variance", variance, 0.0), _preactivation(ensemble, "reset", variance)
    if reset.mean != 0.0:
        raise ValueError("bias_mean['reset'] and current['reset'] must be 0: with them ¼ ≤ E r² ≤ ½ need not hold")
    y = _preactivation(ensemble, "candidate", reset.gate_square * variance)
    slope = ensemble.gain["candidate"] ** 2 * y.average(lambda x: np.cosh(np.minimum(np.abs(x), 300.0)) ** -4.0)
    moved = ensemble.gain["reset"] ** 2 * reset.slope_square * variance
    return slope * (0.25 + moved), slope * (0.5 + moved)


# ---- the LSTM's input gate ----


def input_gate_bound(ensemble: Ensemble, *, variance: float) -> float:
    """Upper bound of E p_t of an LSTM whose input gate alone has weights, in the mean field [CKS 144].

    σ(b_o)² (a_i² E i'² E φ(y)² + a_h² E i² E φ'(y)²). The paper keeps φ'(c_t)² and splits E[i'² φ'(c)² φ(y)²] into
    E i'² E[φ'(c)² φ(y)²] by what it calls Cauchy–Schwarz. It is not, and bounds nothing, for c_t depends on i_t: with
    b_i > 0 the left side can be 1.6 times the right. With φ'(c)² ≤ 1 the rest splits, i_t and y_t being independent.

    It grows as a_i/(6 √(2π C_h)) [CKS 145], so the radius grows at most as √a_i: see `input_gate_radius_bound`.

    Args:
        ensemble: LSTMs with tanh, without gain or bias variance on forget and output gate.
        variance: C_h = E h².

    Raises:
        ValueError: another cell, or another gate that varies.
    """
    _check_lstm(ensemble, "forget", "output")
    variance = at_least("variance", variance, 0.0)
    i, y = (_preactivation(ensemble, name, variance) for name in ("input", "cell"))
    a_i, a_h = ensemble.gain["input"], ensemble.gain["cell"]
    square = y.average(lambda x: np.tanh(x) ** 2)
    slope = y.average(lambda x: np.cosh(np.minimum(np.abs(x), 300.0)) ** -4.0)
    return _fixed(ensemble, "output") ** 2 * (a_i**2 * i.slope_square * square + a_h**2 * i.gate_square * slope)


def input_gate_radius_bound(ensemble: Ensemble, *, variance: float) -> float:
    """Upper bound of the spectral radius of the same, σ(b_f) + √(bound of E p) [CKS 143, 146]; O(√a_i).

    Raises:
        ValueError: as `input_gate_bound`.
    """
    return _fixed(ensemble, "forget") + float(np.sqrt(input_gate_bound(ensemble, variance=variance)))


# ---- the LSTM's output gate ----


@dataclass(frozen=True, eq=False, repr=False)
class OutputGate(Result):
    """E q_t and E p_t of an LSTM whose output gate alone has weights.

    Attributes:
        q: E q_t = a_o² E o'² E φ(c)², for c_t is independent of o_t [CKS 149].
        law: what that tends to as a_o → ∞, a_o E φ(c)²/(6 √(2π C_h)) [CKS 150–151]: the radius grows as its root.
        bound: upper bound of E p_t, E o² σ(b_i)² a_h² [CKS 148], which does not grow: E o² ≤ ½ without bias.
    """

    q: float
    law: float
    bound: float

    def description(self) -> Description:
        return Description(
            quantities={
                "q": Quantity(self.q, source="CKS 149"),
                "law": Quantity(self.law, source="CKS 150–151"),
                "bound": Quantity(self.bound, source="CKS 148"),
            }
        )


def output_gate(ensemble: Ensemble, *, variance: float, cell_square: float) -> OutputGate:
    """How E q_t grows with the output gate's gain while E p_t does not.

    Args:
        ensemble: LSTMs without gain or bias variance on forget and input gate.
        variance: C_h = E h².
        cell_square: E φ(c_t)², φ the activation.

    Raises:
        ValueError: another cell, another gate that varies, or no gain on the output gate.
    """
    _check_lstm(ensemble, "forget", "input")
    variance, square = positive("variance", variance), at_least("cell_square", cell_square, 0.0)
    gain = positive("gain['output']", ensemble.gain["output"])
    o = _preactivation(ensemble, "output", variance)
    leading = 1.0 / (6.0 * o.std * np.sqrt(2.0 * np.pi)) * float(np.exp(-0.5 * (o.mean / o.std) ** 2))
    written = _fixed(ensemble, "input") * ensemble.gain["cell"]
    return OutputGate(gain**2 * o.slope_square * square, gain**2 * leading * square, o.gate_square * written**2)


# ---- the LSTM's forget gate ----


def forget_kernel(points: Any) -> np.ndarray:
    """κ(λ) = 6 ∫₀¹ f (1 − f)/|λ − f|² df: the average of 1/|λ − f|² over forget gates, weighted by f'².

    With w = λ̄ it is 6 Im[w − ½ + w (1 − w) ln(w/(w − 1))]/Im λ; 1/|λ − ½|² far away.

    Args:
        points: complex λ off the interval [0, 1], any shape.

    Raises:
        ValueError: points within 1e-6 of the interval.
    """
    points = np.asarray(points, dtype=complex)
    if np.any((np.abs(points.imag) < 1e-6) & (points.real > -1e-6) & (points.real < 1.0 + 1e-6)):
        raise ValueError("points must keep 1e-6 away from the interval [0, 1] of the forget gate")
    w = points.real - 1j * np.maximum(np.abs(points.imag), 1e-6)  # symmetric, and smooth across the axis
    integral = w - 0.5 + w * (1.0 - w) * np.log(w / (w - 1.0))
    return -6.0 * integral.imag / w.imag


def forget_gate_growth(ensemble: Ensemble, snapshot: Snapshot, *, variance: float) -> float:
    """Weight m of the forget gate's term m κ(λ) of the spectral curve at large a_f [CKS 141], κ of `forget_kernel`.

    m = a_f σ(b_o)² E[φ'(c_t)² c_{t−1}²]/(6 √(2π C_h)), the average weighted by f'². (141) lacks the σ(b_o)², and it
    takes f'² for a δ function at f = ½, 1/|λ − ½|² for κ: f'² picks gates out whose x is of order 1, and they are
    spread over (0, 1) by f (1 − f), which matters unless |λ| is large. At λ = 1.2 κ is 3.05, 1/|λ − ½|² 2.04.

    The paper takes the average to stay bounded. In a moving state it need not: see `forget_gate_limit`.

    Args:
        ensemble: LSTMs whose input and output gates neither weights nor biases vary.
        snapshot: their neurons, c_{t−1} independent of f_t among those whose gate is between 0 and 1.
        variance: C_h = E h².

    Raises:
        ValueError: another cell, another gate that varies, a biased forget gate, or one without gain.
    """
    _check_lstm(ensemble, "input", "output")
    if snapshot.cell != ensemble.cell:
        raise ValueError(f"snapshot is of {repr_cell(snapshot.cell)}, the ensemble of {repr_cell(ensemble.cell)}")
    gain = positive("gain['forget']", ensemble.gain["forget"])
    f = _preactivation(ensemble, "forget", positive("variance", variance))
    if f.mean != 0.0 or ensemble.static_variance[ensemble.names.index("forget")] > 0.0:
        raise ValueError("bias_mean['forget'], bias_var['forget'] and current['forget'] must be 0 for this limit")
    carried = np.mean(snapshot.derivatives.f_x[:, 1, 0] ** 2)  # ∂h/∂x_f = o φ'(c_t) f' c_{t−1}
    weight = np.mean((expit(snapshot.preactivations[:, 0]) * expit(-snapshot.preactivations[:, 0])) ** 2)
    return float(gain**2 * carried / weight / (6.0 * f.std * np.sqrt(2.0 * np.pi)))


def forget_gate_curve(ensemble: Ensemble, snapshot: Snapshot, points: Any, *, variance: float) -> np.ndarray:
    """S(λ) of a hard-tanh LSTM at large a_f, positive within the support [CKS 142], corrected.

    m κ(λ) + R²/|λ|² − 1 with m of `forget_gate_growth`, κ of `forget_kernel` and R the radius of `forget_gate_limit`,
    R² = o² i² a_h² η/2. (142) sets φ' to 1 besides.

    Args:
        ensemble: hard-tanh LSTMs whose input and output gates neither weights nor biases vary.
        snapshot: their neurons.
        points: complex λ, any shape.
        variance: C_h = E h².

    Raises:
        ValueError: as `forget_gate_growth`, `forget_kernel` and `forget_gate_limit`.
    """
    growth = forget_gate_growth(ensemble, snapshot, variance=variance)
    radius = forget_gate_limit(ensemble, variance=variance).radius
    return growth * forget_kernel(points) + radius**2 / np.abs(np.asarray(points, dtype=complex)) ** 2 - 1.0


def _fixed(ensemble: Ensemble, gate: str) -> float:
    return float(expit(ensemble.means[ensemble.names.index(gate)]))


def _check_lstm(ensemble: Ensemble, *fixed: str) -> None:
    if not isinstance(ensemble.cell, LSTM) or ensemble.cell.coupled:
        raise ValueError(f"ensemble of {repr_cell(ensemble.cell)}: this is for gatefield.LSTM()")
    for gate in fixed:
        if ensemble.gain[gate] > 0.0 or ensemble.static_variance[ensemble.names.index(gate)] > 0.0:
            raise ValueError(
                f"gain[{gate!r}]={ensemble.gain[gate]:g} and the variance of its bias must be 0: this is for a "
                f"constant {gate} gate"
            )
