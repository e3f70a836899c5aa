"""Closed forms of the phase diagram: critical lines, small variances, the fold at large gains."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.running.arguments import at_least, finite, positive

_AT_CRITICALITY = 1e-9  # a_r² − 8 that counts as 0
_TRICRITICAL = 8.0  # a_r² where the branches at a_h = 2 change, b_r = 0


def critical_candidate_gain(*, reset_bias: float = 0.0, reset_bias_var: float = 0.0) -> float:
    """a_h at which the GRU's zero fixed point loses stability, 1/√E σ(r)² with r ~ N(b_r, v_r) [CKS 18, App. E].

    Without variance 1 + e^{−b_r}. Neither gate's gain matters, nor the update gate's bias.

    "Only the zero fixed point for a_h < √2" [CKS App. E] holds for b_r ≤ asinh 1 = 0.8814 alone: at (a_h, a_r, b_r) =
    (1.3, 5, 1.5) there is another.
    """
    mean = np.asarray(finite("reset_bias", reset_bias))
    std = np.asarray(np.sqrt(at_least("reset_bias_var", reset_bias_var, 0.0)))
    x, weights = gaussian_nodes(mean, std)
    return float(1.0 / np.sqrt(expectation(expit(x) ** 2, weights)))


def variance_series(*, candidate_gain: float, reset_gain: float, reset_bias: float = 0.0) -> np.ndarray:
    """Coefficients (p_0, p_1, p_2) of E φ²/C_h = p_0 + p_1 C_h + p_2 C_h² + O(C_h³) for the tanh GRU [CKS 109–112].

    At a fixed point the sum is 1. It needs a_h² C_y ≪ 1 and a_r² C_h ≪ 1, not a_r² C_y ≪ 1.
    """
    a = positive("candidate_gain", candidate_gain) ** 2
    gain = at_least("reset_gain", reset_gain, 0.0) ** 2
    r = float(expit(finite("reset_bias", reset_bias)))
    c1 = r * r
    # half and an eighth of the second and fourth derivative of σ²
    c2 = r * r * (1.0 - r) * (2.0 - 3.0 * r)
    c3 = r * r * (1.0 - r) * (8.0 - 57.0 * r + 108.0 * r**2 - 60.0 * r**3) / 4.0
    return np.array(
        [
            a * c1,
            a * gain * c2 - 2.0 * (a * c1) ** 2,
            a * gain**2 * c3 - 4.0 * a**2 * gain * c1 * c2 + 17.0 / 3.0 * (a * c1) ** 3,
        ]
    )


def small_variances(*, excess: float, reset_gain: float) -> tuple[float, ...]:
    """C_h of the tanh GRU's non-zero fixed points of small variance at a_h = 2 + ε, b = 0 [CKS 21–22].

    With δ = a_r² − 8:

        δ < 0, ε > 0:  −4ε/δ
        δ = 0, ε > 0:  √(3ε/31)
        δ > 0:         3δ/124 − 9δ²/3844 + (4/δ + 18/31) ε, and for ε < 0 also −4ε/δ

    leading in ε at constant a_r, the last line also in δ. Where δ > 0 and ε < 0 both exist only above the fold,
    δ > √(1984|ε|/3) (the paper's condition, a_r > √2 a_h, does not suffice); none is returned below. Close to the
    fold use `tricritical_variances`.

    The paper's second case fits no reading of √ε/4; its third keeps terms in δ beyond the order of its expansion:
    6δ/(3a_r⁴ + 24a_r² − 136) at a_r = 3, 5, 10 gives 0.019, 0.044, 0.017 where the roots are 0.022, 0.158, 0.243, and
    f(a_r) of (113) has 4 − 6δ/31 for 4 + 18δ/31.

    Args:
        excess: ε, a_h − 2.
        reset_gain: a_r.

    Returns:
        In increasing order.
    """
    eps, delta = _distances(excess, reset_gain)
    if delta <= 0.0:
        if eps <= 0.0:
            return ()
        return (float(np.sqrt(3.0 * eps / 31.0)),) if delta == 0.0 else (-4.0 * eps / delta,)
    if eps < 0.0 and delta**2 <= -1984.0 * eps / 3.0:
        return ()
    upper = 3.0 * delta / 124.0 - 9.0 * delta**2 / 3844.0 + (4.0 / delta + 18.0 / 31.0) * eps
    return (-4.0 * eps / delta, upper) if eps < 0.0 else (upper,)


def tricritical_variances(*, excess: float, reset_gain: float) -> tuple[float, ...]:
    """The same, leading in ε and δ = a_r² − 8 together, δ of order √|ε|: roots of ε + δ C/4 − 31 C²/3 = 0.

    (3/62) (δ/4 ± √(δ²/16 + 124 ε/3)) where positive. They meet at the fold, δ² = −1984 ε/3.

    Args:
        excess: ε, a_h − 2.
        reset_gain: a_r.

    Returns:
        In increasing order.
    """
    eps, delta = _distances(excess, reset_gain)
    discriminant = delta**2 / 16.0 + 124.0 * eps / 3.0
    if discriminant < 0.0:
        return ()
    roots = [3.0 / 62.0 * (delta / 4.0 + sign * np.sqrt(discriminant)) for sign in (-1.0, 1.0)]
    return tuple(float(root) for root in roots if root > 0.0)


def _distances(excess: float, reset_gain: float) -> tuple[float, float]:
    eps, delta = finite("excess", excess), at_least("reset_gain", reset_gain, 0.0) ** 2 - _TRICRITICAL
    return eps, 0.0 if abs(delta) < _AT_CRITICALITY else delta


def bifurcation_reset_gain(*, candidate_gain: float) -> float:
    """a_r above which the tanh GRU has two non-zero fixed points, as a_h → 2 from below: a_r*² = 8 + √(1984 ε/3).

    ε = 2 − a_h. A fold, not the pitchfork-like bifurcation of [CKS §4.4].

    Raises:
        ValueError: a_h outside (√2, 2).
    """
    gain = finite("candidate_gain", candidate_gain)
    if not np.sqrt(2.0) < gain < 2.0:
        raise ValueError(f"candidate_gain={candidate_gain!r} must lie between √2 and 2, where the fold is")
    return float(np.sqrt(_TRICRITICAL + np.sqrt(1984.0 * (2.0 - gain) / 3.0)))


def variance_at_infinite_reset_gain(*, candidate_gain: float) -> float:
    """C_h of the tanh GRU's non-zero fixed point where a_r = ∞ and a_h → √2 from above: (a_h − √2)/√2 [CKS §4.4].

    Reset gates are then 0 or 1, E σ(r)² = 1/2, and below √2 only the zero fixed point is left; 0 there.
    """
    return max(0.0, positive("candidate_gain", candidate_gain) / float(np.sqrt(2.0)) - 1.0)
