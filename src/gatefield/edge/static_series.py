"""Series in C_0 of what the notes' critical line is made of [EOC §3.3], with exact values beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatefield.numerics.quadrature import expectation, gaussian_nodes

# coefficients of 1, C_0, C_0², C_0³
TANH_SQUARE = (0.0, 1.0, -2.0, 17.0 / 3.0)  # E tanh²(√C_0 z) [EOC §3.3 moments]
SECH_FOURTH = (1.0, -2.0, 7.0, -94.0 / 3.0)  # E sech⁴(√C_0 z) [EOC §3.3 moments]
GAIN_SQUARE = (1.0, 2.0, -3.0, 34.0 / 3.0)  # g_c²/4 = 1/E sech⁴ [EOC §3.3 series]; the notes have 50/3
GAIN = (2.0, 2.0, -4.0, 46.0 / 3.0)  # g_c [EOC §3.3 law]


def static_moments(variance: Any) -> tuple[np.ndarray, np.ndarray]:
    """E tanh²(√C z) and E sech⁴(√C z), exact [EOC §3.2 slope, §3.3 moments].

    The second is the slope of Δ(C, C_0) by C at C = C_0; the notes put a prime on it that is one too many. Their series
    are C − 2C² + 17C³/3 and 1 − 2C + 7C² − 94C³/3, by E z^{2k} = (2k − 1)!!, where the notes have E z^k.

    Args:
        variance: C, any shape, from 0 on.

    Raises:
        ValueError: a negative variance.
    """
    x, weights = gaussian_nodes(np.asarray(0.0), np.sqrt(_from_zero(variance)))
    slope = np.cosh(np.minimum(np.abs(x), 300.0)) ** -4.0
    return expectation(np.tanh(x) ** 2, weights), expectation(slope, weights)


def critical_gain_series(variance: Any) -> np.ndarray:
    """g_c = 2 + 2C − 4C² + (46/3)C³ + O(C⁴) at the static variance C [EOC §3.3 g_c, §3.3 series, §3.3 law].

    2/√E sech⁴, whose square over 4 is 1 + 2C − 3C² + (34/3)C³. The notes print 50/3 for 34/3, and 2√(1 + C − 2C²),
    wrong in the first order already: at C = 0.05 it gives 2.0445 where 2.0915 is right.

    Args:
        variance: C ≪ 1, any shape, from 0 on.

    Raises:
        ValueError: a negative variance.
    """
    return np.polynomial.polynomial.polyval(_from_zero(variance), GAIN)


def _from_zero(variance: Any) -> np.ndarray:
    c = np.asarray(variance, dtype=float)
    if not np.all(c >= 0.0):
        raise ValueError(f"variance={variance!r} must be at least 0")
    return c
