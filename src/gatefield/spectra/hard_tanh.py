"""The resolvent of a hard-tanh GRU at a fixed point, and how its eigenvalues gather at 1 as a_z grows [CKS App. C].

With hard-tanh a candidate is linear (a share η of them) or saturated, and what is left of [CKS 72–73] is an average
over the update gate z = σ(ζ), ζ ~ N(b_z, a_z² C_h + v_z):

    G(λ) = η E[conj(λ − z)/(|λ − z|² + F R² (1 − z)²)] + (1 − η) E[1/(λ − z)],   R = σ(b_r) a_h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfcx, expit, ndtr

from gatefield.cells.ensemble import Ensemble
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.quadrature import gaussian_nodes
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import finite, positive
from gatefield.spectra.limits import BinaryGateSpectrum, update_gate_limit


def binary_gate_resolvent(limit: BinaryGateSpectrum, points: Any) -> ComplexArray:
    """G(λ) where gates stand at 0 or 1 [CKS 80, 139–140], D/λ at large λ.

    zeros/λ + ones/(λ − 1), and the disc's share: λ̄ disc/radius² within it, disc/λ beyond. For `update_gate_limit` that
    is [CKS 80], for `forget_gate_limit` [CKS 140]; (140) gives the inside only.

    Args:
        limit: from `update_gate_limit` or `forget_gate_limit`.
        points: complex λ other than 0 and 1, any shape.
    """
    z = np.asarray(points, dtype=complex)
    inside = np.abs(z) < limit.radius
    disc = np.where(inside, np.conj(z) / max(limit.radius, 1e-300) ** 2, 1.0 / z)
    return np.asarray(limit.zeros / z + limit.ones / (z - 1.0) + limit.disc * disc, np.complex128)


@dataclass(frozen=True, eq=False, repr=False)
class HardTanhGRU(Result):
    """A hard-tanh GRU without reset gate at a fixed point.

    Attributes:
        linear: η, the share of candidates in the linear part [CKS 77].
        reach: R = σ(b_r) a_h.
        mean, std: of ζ.
    """

    linear: float
    reach: float
    mean: float
    std: float

    def description(self) -> Description:
        return Description(
            quantities={
                "linear": Quantity(self.linear, source="CKS 77"),
                "reach": Quantity(self.reach, source="σ(b_r) a_h"),
                "mean": Quantity(self.mean),
                "std": Quantity(self.std),
                "implicit_at_one": Quantity(self.implicit_at_one, source="CKS 83"),
            }
        )

    def implicit(self, points: Any) -> np.ndarray:
        """F(λ) [CKS 76], 0 outside the support."""
        z = np.asarray(points, dtype=complex)
        return np.array([self._root(one) for one in z.ravel()]).reshape(z.shape)

    @property
    def implicit_at_one(self) -> float:
        """F(1) = η − 1/R² [CKS 83], exact: update gates drop out there; 0 where 1 lies outside the support."""
        return max(0.0, self.linear - 1.0 / self.reach**2)

    def implicit_near_one(self, c: float) -> float:
        """F at |λ − 1| = e^{−ã c}, b_z = 0, as ã = a_z √C_h grows: η (1 − ½ erfc(c/√2)) − 1/R², 0 where negative.

        Gates with 1 − z below |λ − 1| have left the average. [CKS 83] is this at c → ∞, and the paper's F(1 + ε) ≈ F(1)
        does not hold at finite c. It vanishes where [CKS 24] puts the edge of the support, Φ(c) = 1/ρ_0², ρ_0² = η R².
        """
        return max(0.0, self.linear * float(ndtr(finite("c", c))) - 1.0 / self.reach**2)

    def resolvent(self, points: Any) -> ComplexArray:
        """G(λ) by quadrature [CKS 75], 1/λ at large λ."""
        z = np.asarray(points, dtype=complex)
        found = [self._trace(one, f) for one, f in zip(z.ravel(), self.implicit(z).ravel(), strict=True)]
        return np.array(found, np.complex128).reshape(z.shape)

    def _gates(self, z: complex) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """1 − z and λ − z at nodes that resolve ln|λ − 1|, |λ − z|², and weights."""
        shift = np.log(max(abs(1.0 - z), 1e-300)) if abs(1.0 - z) < 0.1 else 0.0
        x, weights = gaussian_nodes(np.asarray(self.mean + shift), np.asarray(self.std))
        closed = expit(shift - x)
        left = z - 1.0 + closed
        return closed, left, np.maximum(np.abs(left) ** 2, 1e-300), weights

    def _root(self, z: complex) -> float:
        closed, _, distance, weights = self._gates(z)
        top = (self.reach * closed) ** 2

        def excess(f: float) -> float:
            return self.linear * float(np.sum(weights * top / (distance + f * top))) - 1.0

        find: Any = brentq
        return float(find(excess, 0.0, 1.0, xtol=1e-15, rtol=1e-14)) if excess(0.0) > 0.0 else 0.0

    def _trace(self, z: complex, f: float) -> complex:
        closed, left, distance, weights = self._gates(z)
        linear = np.conj(left) / (distance + f * (self.reach * closed) ** 2)
        return complex(np.sum(weights * (self.linear * linear + (1.0 - self.linear) / left)))


def hard_tanh_gru(ensemble: Ensemble, *, variance: float) -> HardTanhGRU:
    """The scalar equations of a hard-tanh GRU at a fixed point [CKS 75–77].

    Args:
        ensemble: GRUs with hard-tanh, a reset gate that neither weights nor biases vary, and an update gate that does.
        variance: C_h = E h² at the fixed point.

    Raises:
        ValueError: as `update_gate_limit`.
    """
    limit = update_gate_limit(ensemble, variance=variance)
    k = ensemble.names.index("update")
    std = float(np.sqrt(ensemble.gains[k] ** 2 * variance + ensemble.static_variance[k]))
    reach = float(expit(ensemble.means[ensemble.names.index("reset")])) * ensemble.gain["candidate"]
    linear = limit.disc / (limit.disc + limit.zeros)
    return HardTanhGRU(linear, reach, float(ensemble.means[k]), std)


@dataclass(frozen=True, eq=False, repr=False)
class AccumulationTerms(Result):
    """ε G(1 + ε) for ε = e^{−ã c + iθ}, ã = a_z √C_h large and b_z = 0, by regions of the update gate.

    ζ = −ã x; regions I: x < −c, II: −c < x < −c/2, III: −c/2 < x < 0, IV: x > 0. Each is given times ε, so that its
    average over θ is its share of the eigenvalues within |ε| of 1 [CKS 82]: of the first of both together ½ erfc(c/√2)
    [CKS 91], while the others vanish as ã grows.

    Attributes:
        linear: of G_a, the linear candidates', in regions I to IV [CKS 86–89].
        saturated: of G_b, the others', in region I and in the rest [CKS 90].
    """

    linear: tuple[complex, complex, complex, complex]
    saturated: tuple[complex, complex]

    def description(self) -> Description:
        saturated = dict(zip(("I", "II–IV"), self.saturated, strict=True))
        return Description(
            quantities={
                "linear": Quantity(
                    dict(zip(("I", "II", "III", "IV"), self.linear, strict=True)), ("region",), source="CKS 86–89"
                ),
                "saturated": Quantity(saturated, ("saturated_region",), source="CKS 90"),
                "total": Quantity(self.total, source="CKS 84–85"),
            }
        )

    @property
    def total(self) -> complex:
        """ε G(1 + ε)."""
        return sum(self.linear) + sum(self.saturated)


def accumulation_terms(neurons: HardTanhGRU, *, c: float, angle: float = 0.0) -> AccumulationTerms:
    """Contributions to ε G(1 + ε) of [CKS 84–85] at large a_z, leading order in 1/ã of each region.

    I: η/2 erfc(c/√2); II and III: ε η/(|1 + ε|² + F R²) ∫ Dx e^{−ãx}; IV: ε η/(2 (1 + F R²)); of G_b:
    (1 − η)/2 erfc(c/√2) and ε (1 − η)/(1 + ε) ∫_{−c}^∞ Dx (1 + e^{−ãx}). F is `implicit_near_one`. All are right up to
    the layers of width 1/ã between the regions, which are as large as II.

    Corrected: F is not F(1). (86) has a_z for ã. (87) keeps ε̄ e^{−2ãx} of the numerator, which within region II is
    e^{ã(x + c)} times smaller than e^{−ãx}. (90)'s integrand lacks the 1 +.

    Args:
        neurons: without bias on the update gate.
        c: −ln|ε|/ã, above 0.
        angle: θ.

    Raises:
        ValueError: c not above 0, or a biased update gate.
    """
    c, theta = positive("c", c), finite("angle", angle)
    if neurons.mean != 0.0:
        raise ValueError("bias_mean['update'] must be 0 for the regions; slow_mode_share takes any")
    a, eta = neurons.std, neurons.linear
    epsilon = complex(np.exp(-a * c + 1j * theta))
    phase = np.exp(1j * theta)
    f = neurons.implicit_near_one(c) * neurons.reach**2
    share, open_side = float(ndtr(-c)), abs(1.0 + epsilon) ** 2 + f
    second, third = (eta / open_side * phase * _tilted(a, c, *part) for part in ((c, c / 2.0), (c / 2.0, 0.0)))
    rest = (1.0 - eta) / (1.0 + epsilon) * (epsilon * ndtr(c) + phase * _tilted(a, c, c, -np.inf))
    return AccumulationTerms(
        (complex(eta * share), complex(second), complex(third), 0.5 * eta * epsilon / (1.0 + f)),
        (complex((1.0 - eta) * share), complex(rest)),
    )


def _tilted(a: float, c: float, low: float, high: float) -> float:
    """e^{−ac} ∫ Dx e^{−ax} over −low < x < −high, in which no factor overflows for low ≤ c and a > c."""

    def tail(u: float) -> float:  # e^{a²/2} ½ erfc((a − u)/√2) = ½ erfcx((a − u)/√2) e^{au − u²/2}
        return 0.5 * float(erfcx((a - u) / np.sqrt(2.0)) * np.exp(a * (u - c) - 0.5 * u * u))

    return tail(low) - (tail(high) if np.isfinite(high) else 0.0)
