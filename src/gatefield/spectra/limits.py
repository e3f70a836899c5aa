"""Limits of gated networks as closed forms: binary gates, slow modes, bounds of the support, large and small gains.

Each takes an ensemble and, where the network is active, the variance C_h = E h² of its neurons, which the mean field
(`mean_field(...).variance["h"]`) or a fixed point (`FixedPoint.second_moment["h"]`) gives. What the limits leave out
`spectral_radius`, `spectral_mass` and `fixed_points` compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq
from scipy.special import erfc, expit, ndtr

from gatefield.cells.builtin import GRU, LSTM
from gatefield.cells.cell import ActivatedCell, hard_tanh
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.kinks import activation_kinks
from gatefield.cells.snapshot import Snapshot
from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, positive

_BLOCK = 2_000_000  # entries of an array (points, neurons)


@dataclass(frozen=True, eq=False, repr=False)
class BinaryGateSpectrum(Result):
    """Spectrum where gates stand at 0 or 1: atoms at 0 and at 1, and a uniform disc about 0.

    Attributes:
        zeros, ones, disc: eigenvalues per neuron in each; their sum is D.
        radius: of the disc.
    """

    zeros: float
    ones: float
    disc: float
    radius: float
    ensemble: Ensemble

    @property
    def spectral_radius(self) -> float:
        """Largest modulus in the spectrum."""
        return max(self.radius, float(self.ones > 0.0))

    @property
    def density(self) -> float:
        """Eigenvalues per neuron and unit area within the disc; NaN where there is none."""
        return self.disc / (np.pi * self.radius**2) if self.radius > 0.0 else float("nan")

    def mass(self, radius: float) -> float:
        """Eigenvalues per neuron with |λ| < `radius`, to compare with `spectral_mass`."""
        radius = positive("radius", radius)
        share = min(1.0, (radius / self.radius) ** 2) if self.radius > 0.0 else 1.0
        return self.zeros + self.ones * (radius > 1.0) + self.disc * share

    def description(self) -> Description:
        share = "eigenvalues per neuron"
        return Description(
            quantities={
                "spectral_radius": Quantity(self.spectral_radius),
                "radius": Quantity(self.radius, source="CKS 19, 33"),
                "zeros": Quantity(self.zeros, units=share, source="CKS 79–80, 136–140"),
                "ones": Quantity(self.ones, units=share, source="CKS 79–80, 136–140"),
                "disc": Quantity(self.disc, units=share, source="CKS 79–80, 136–140"),
                "density": Quantity(self.density, units="eigenvalues per unit area and neuron"),
            },
            facts={"ensemble": self.ensemble},
        )


def update_gate_limit(ensemble: Ensemble, *, variance: float) -> BinaryGateSpectrum:
    """Spectrum of a hard-tanh GRU at a fixed point as a_z → ∞ at constant b_z/a_z [CKS 19, 79–80].

    (1 − α) δ(λ − 1) + α (1 − η) δ(λ) + 1/(π a_h² σ(b_r)²) on |λ| ≤ √(αη) a_h σ(b_r), with α the share of update gates
    at 0 and η that of candidates in the linear part of hard-tanh. The a_z of the ensemble enters by b_z/a_z only.

    The paper states it for any steady state. It holds at fixed points only: where the state moves, h ≠ φ(y), and what
    a_z σ'(z) (h − φ(y)) adds to the radius grows with a_z instead of vanishing.

    Args:
        ensemble: GRUs with hard-tanh and a reset gate that neither weights nor biases vary.
        variance: C_h = E h² at the fixed point.

    Raises:
        ValueError: another cell or activation, a reset gate that varies, or an update gate that does not.
    """
    cell = ensemble.cell
    if not isinstance(cell, GRU) or cell.reset_after:
        raise ValueError(f"ensemble of {repr_cell(cell)}: the limit is for GRU(activation='hard_tanh'); {_REMEDY}")
    _check_hard_tanh(ensemble)
    _check_fixed_gates(ensemble, "reset")
    variance = positive("variance", variance)
    reset = float(expit(_mean(ensemble, "reset")))
    closed = _closed_share(ensemble, "update", variance)
    linear = _linear_share(ensemble, "candidate", reset**2 * variance)
    return _binary(ensemble, closed, linear, ensemble.gain["candidate"] * reset, atoms=0.0)


def forget_gate_limit(ensemble: Ensemble, *, variance: float) -> BinaryGateSpectrum:
    """Spectrum of a hard-tanh LSTM whose forget gates stand at 0 or 1 [CKS 33, 135–140].

    Zeros 1 + α(1 − η), ones 1 − α, and a disc of radius √(αη) σ(b_o) σ(b_i) a_h, with α the share of forget gates at 0
    (1/2 without bias, the paper's case) and η that of cell inputs in the linear part of hard-tanh.

    It assumes that every neuron with an open forget gate has saturated, φ'(c) = 0, and that gates between 0 and 1 do
    not matter. In a running network both fail: at a_h = 6 and a_f = 20, 100, 400, networks of 800 to 1500 neurons have
    a radius of about 1.4, 2.1, 3.0, growing with a_f and scattered by 0.04, 0.35, 0.7 from time to time, against 0.62
    here, and 8 to 20 % of the neurons with open gates are not saturated. The masses are better: within 0.05 of zero
    1.20, 1.29, 1.31 against 1.33, and of one 0.32, 0.43, 0.44 against 0.5. For numbers take `spectral_radius` and
    `spectral_mass` at a snapshot.

    Args:
        ensemble: LSTMs with hard-tanh whose input and output gates neither weights nor biases vary.
        variance: C_h = E h².

    Raises:
        ValueError: another cell or activation, an input or output gate that varies, or a forget gate that does not.
    """
    cell = ensemble.cell
    if not isinstance(cell, LSTM) or cell.coupled:
        raise ValueError(f"ensemble of {repr_cell(cell)}: the limit is for LSTM(activation='hard_tanh'); {_REMEDY}")
    _check_hard_tanh(ensemble)
    _check_fixed_gates(ensemble, "input", "output")
    variance = positive("variance", variance)
    gates = float(expit(_mean(ensemble, "input")) * expit(_mean(ensemble, "output")))
    closed = _closed_share(ensemble, "forget", variance)
    linear = _linear_share(ensemble, "cell", variance)
    return _binary(ensemble, closed, linear, ensemble.gain["cell"] * gates, atoms=1.0)


_REMEDY = "spectral_radius and spectral_mass answer for any cell at a snapshot"


def _binary(ensemble: Ensemble, closed: float, linear: float, gain: float, *, atoms: float) -> BinaryGateSpectrum:
    return BinaryGateSpectrum(
        zeros=atoms + closed * (1.0 - linear),
        ones=1.0 - closed,
        disc=closed * linear,
        radius=float(np.sqrt(closed * linear)) * gain,
        ensemble=ensemble,
    )


def _mean(ensemble: Ensemble, name: str) -> float:
    return float(ensemble.means[ensemble.names.index(name)])


def _std(ensemble: Ensemble, name: str, source: float) -> float:
    """Of a pre-activation, from the second moment of its source."""
    k = ensemble.names.index(name)
    return float(np.sqrt(ensemble.gains[k] ** 2 * source + ensemble.static_variance[k]))


def _closed_share(ensemble: Ensemble, gate: str, variance: float) -> float:
    """Probability that a gate's pre-activation is negative [CKS 79], where the exponent's sign is flipped."""
    std = _std(ensemble, gate, variance)
    if std == 0.0:
        raise ValueError(f"gain[{gate!r}]=0 leaves the {gate} gate no values to be binary between; give it a gain")
    return float(ndtr(-_mean(ensemble, gate) / std))


def _linear_share(ensemble: Ensemble, name: str, source: float) -> float:
    """Probability that |y| < 1 [CKS 77]."""
    return _in_linear_part(_mean(ensemble, name), _std(ensemble, name, source))


def _in_linear_part(mean: float, std: float) -> float:
    if std == 0.0:
        return float(abs(mean) < 1.0)
    return float(ndtr((1.0 - mean) / std) - ndtr((-1.0 - mean) / std))


def _check_hard_tanh(ensemble: Ensemble) -> None:
    if not isinstance(ensemble.cell, ActivatedCell) or ensemble.cell.activation is not hard_tanh:
        raise ValueError(
            f"activation of {repr_cell(ensemble.cell)} must be 'hard_tanh', for which there is a limit; {_REMEDY}"
        )


def _check_fixed_gates(ensemble: Ensemble, *gates: str) -> None:
    for gate in gates:
        if _std(ensemble, gate, 1.0) > 0.0:
            raise ValueError(
                f"gain[{gate!r}]={ensemble.gain[gate]:g} and bias_var[{gate!r}]={ensemble.bias_var[gate]:g} must be 0: "
                f"the limit is for a constant {gate} gate; {_REMEDY}"
            )


def slow_mode_share(ensemble: Ensemble, *, radius: Any, variance: float) -> np.ndarray:
    """Eigenvalues per neuron with |λ − 1| < `radius` at large a_z [CKS 92]: ½ erfc((−ln r − b_z)/(a_z √(2 C_h))).

    The update gate's for a GRU, the forget gate's for an LSTM (by the same argument). [CKS 91–93] as printed are for
    b_z = 0. A bias variance v_z makes a_z² C_h + v_z of a_z² C_h. Derived near a fixed point for small radii; the
    leading correction is of order 1/(a_z √C_h). `accumulation_fit` has the form with two free parameters [CKS 93].

    Args:
        ensemble: GRUs or LSTMs.
        radius: r, numbers between 0 and 1.
        variance: C_h = E h².

    Raises:
        ValueError: another cell, a radius outside (0, 1), or a gate without gain.
    """
    if not isinstance(ensemble.cell, GRU | LSTM):
        raise ValueError(f"ensemble of {repr_cell(ensemble.cell)}: the share is for GRU and LSTM; {_REMEDY}")
    radii = np.asarray(radius, dtype=float)
    if not np.all((radii > 0.0) & (radii < 1.0)):
        raise ValueError(f"radius={radius!r} must lie between 0 and 1")
    gate = "update" if isinstance(ensemble.cell, GRU) else "forget"
    std = _std(ensemble, gate, positive("variance", variance))
    if std == 0.0:
        raise ValueError(f"gain[{gate!r}]=0 spreads no gates out to 1; give it a gain")
    return 0.5 * erfc((-np.log(radii) - _mean(ensemble, gate)) / (np.sqrt(2.0) * std))


def shaping(ensemble: Ensemble, *, variance: float) -> float:
    """Spectral shaping parameter ρ_t of the GRU, whose square is a_h² E φ'² (E r² + a_r² E r'² C_h) [CKS 16, 103–105].

    y has the variance a_h² C_h E r² (with biases: their means and variances on top); (104) as printed lacks the a_h.
    For a constant update gate C_h may be that of a moving state; a fixed point is stable iff ρ < 1 [CKS Cor. 6].

    Args:
        ensemble: GRUs whose reset gate stands before the weights.
        variance: C_h = E h².

    Raises:
        ValueError: another cell, or a negative variance.
    """
    _check_gru(ensemble)
    variance = at_least("variance", variance, 0.0)
    x, weights = gaussian_nodes(np.asarray(_mean(ensemble, "reset")), np.asarray(_std(ensemble, "reset", variance)))
    reset = expit(x)
    reset_square = float(expectation(reset**2, weights))
    slope_square = float(expectation((reset * expit(-x)) ** 2, weights))
    mean, std = _mean(ensemble, "candidate"), _std(ensemble, "candidate", reset_square * variance)
    phi_square = _mean_square_slope(ensemble.cell, mean, std)
    total = reset_square + ensemble.gain["reset"] ** 2 * slope_square * variance
    return ensemble.gain["candidate"] * float(np.sqrt(phi_square * total))


def constant_update_radius(ensemble: Ensemble, *, variance: float) -> float:
    """Spectral radius of a GRU with a constant update gate, σ(b_z) + (1 − σ(b_z)) ρ_t [CKS Cor. 4, 20, 101].

    The spectral curve is then a circle [CKS 102]. The limit of μ_n^{1/2n} too, with μ_n of `long_term_jacobian`.

    Args:
        ensemble: GRUs with no gain and no bias variance on the update gate.
        variance: C_h = E h², of a fixed point or of a moving state.

    Raises:
        ValueError: another cell, or an update gate that varies.
    """
    _check_gru(ensemble)
    _check_fixed_gates(ensemble, "update")
    gate = float(expit(_mean(ensemble, "update")))
    return gate + (1.0 - gate) * shaping(ensemble, variance=variance)


def gate_slope_square(std: Any) -> np.ndarray:
    """E σ'(x)² of a logistic gate for x ~ N(0, std²), std → ∞ [CKS 107, 145, 150].

    (1 − (π² − 6)/(6 std²)) / (6 std √(2π)); relative error O(std⁻⁴). The paper's next term, O(a_r⁻²), is mistaken.
    """
    std = np.asarray(std, dtype=float)
    if not np.all(std > 0.0):
        raise ValueError(f"std={std!r} must be above 0")
    return (1.0 - (np.pi**2 - 6.0) / (6.0 * std**2)) / (6.0 * std * np.sqrt(2.0 * np.pi))


def shaping_at_large_reset_gain(ensemble: Ensemble, *, variance: float) -> float:
    """ρ_t as a_r → ∞ at constant C_h and b_r = 0: a_h √(E φ'² (1/2 + a_r √C_h/(6√(2π)))), so ρ_t ∝ √a_r [CKS 108].

    E φ'² is taken at y's variance a_h² C_h/2. (108) as printed bounds ρ_t where its square is meant and has 1/4 for
    the 1/2 above; with 1/2 and 1 for E φ'² it is an upper bound at every a_r. The lower bound holds asymptotically.

    Args:
        ensemble: GRUs without bias on the reset gate.
        variance: C_h = E h².

    Raises:
        ValueError: another cell, a biased reset gate, or one without gain.
    """
    _check_gru(ensemble)
    variance, gain = positive("variance", variance), positive("gain['reset']", ensemble.gain["reset"])
    if _mean(ensemble, "reset") != 0.0 or ensemble.static_variance[ensemble.names.index("reset")] != 0.0:
        raise ValueError("bias_mean['reset'] and bias_var['reset'] must be 0 in this limit; shaping() takes any")
    std = _std(ensemble, "candidate", variance / 2.0)
    phi_square = _mean_square_slope(ensemble.cell, _mean(ensemble, "candidate"), std)
    total = 0.5 + gain * np.sqrt(variance) / (6.0 * np.sqrt(2.0 * np.pi))
    return ensemble.gain["candidate"] * float(np.sqrt(phi_square * total))


def _check_gru(ensemble: Ensemble) -> None:
    if not isinstance(ensemble.cell, GRU) or ensemble.cell.reset_after:
        raise ValueError(
            f"ensemble of {repr_cell(ensemble.cell)}: this is for gatefield.GRU() with the reset gate before the "
            f"weights; {_REMEDY}"
        )


def _mean_square_slope(cell: Any, mean: float, std: float) -> float:
    """E φ'(y)² for Gaussian y."""
    if cell.activation is hard_tanh:
        return _in_linear_part(mean, std)
    y, weights = gaussian_nodes(np.asarray(mean), np.asarray(std), breaks=activation_kinks(cell.activation))
    return float(expectation(_slope(cell, y) ** 2, weights))


def _slope(cell: ActivatedCell, y: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(jax.vmap(jax.grad(cell.phi))(jnp.asarray(y)))


def bounding_functions(ensemble: Ensemble, snapshot: Snapshot, points: Any) -> tuple[np.ndarray, np.ndarray]:
    """S_{ρ,0} and S_{ρ,ν} of [CKS 69–71] for the GRU; each is positive in a set of its own, 0 on the set's boundary.

    S_{ρ,ν}(λ) = ρ² E (1 − z)²/|λ − z|² + a_z² ν² E z'²/|λ − z|² − 1, ν² = E(h − φ(y))²; (69) lacks the a_z². The set
    of the first, Σ(ρ, 0), lies within the support of the spectrum. That of the second, Σ(ρ, ν), need not hold it,
    whatever (71) says: the product of averages bounds the average of a product only where (h − φ(y))² and
    z'²/|λ − z|² are not positively correlated. At (a_z, a_r, a_h) = (2, 0, 3) the support reaches to 1.0328, the
    "bound" to 1.0314.

    Args:
        ensemble: GRUs whose reset gate stands before the weights.
        snapshot: their neurons. ρ is a product of averages over them, as for independent pre-activations.
        points: complex λ, any shape.

    Returns:
        The two functions at the points.
    """
    z, shaping_square, mismatch_square = _bounding_averages(ensemble, snapshot)
    points = np.asarray(points, dtype=complex)
    flat = points.ravel()
    first, second = np.empty(flat.size), np.empty(flat.size)
    step = max(1, _BLOCK // len(z))
    for start in range(0, flat.size, step):
        part = slice(start, start + step)
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1.0 / np.abs(flat[part, None] - z) ** 2
            first[part] = np.mean((1.0 - z) ** 2 * inverse, axis=1)
            second[part] = np.mean((z * (1.0 - z)) ** 2 * inverse, axis=1)
    inner = shaping_square * first - 1.0
    outer = inner + mismatch_square * second
    return inner.reshape(points.shape), outer.reshape(points.shape)


def bounding_edges(ensemble: Ensemble, snapshot: Snapshot) -> tuple[float, float]:
    """Where the two sets of `bounding_functions` end on the positive real axis, to compare with `spectral_edge`.

    The first is a lower bound of the edge of the support, the second, in general, no bound.
    """
    z, shaping_square, mismatch_square = _bounding_averages(ensemble, snapshot)
    top = float(np.max(z))
    edges = []
    for mismatch in (0.0, mismatch_square):
        weight = shaping_square * (1.0 - z) ** 2 + mismatch * (z * (1.0 - z)) ** 2

        def excess(distance: float, weight: np.ndarray = weight) -> float:
            return float(np.mean(weight / (top - z + distance) ** 2)) - 1.0

        far = float(np.sqrt(np.mean(weight))) + 1e-12  # there the excess is negative
        near = far * 1e-12
        inside = excess(near) > 0.0
        edges.append(top + (float(brentq(excess, near, far, rtol=1e-13)) if inside else 0.0))  # pyright: ignore
    return edges[0], edges[1]


def _bounding_averages(ensemble: Ensemble, snapshot: Snapshot) -> tuple[np.ndarray, float, float]:
    """Update gates, ρ² [CKS 16] and a_z² ν²."""
    _check_gru(ensemble)
    if snapshot.cell != ensemble.cell:
        raise ValueError(f"snapshot is of {repr_cell(snapshot.cell)}, the ensemble of {repr_cell(ensemble.cell)}")
    h = snapshot.state[:, 0]
    z, reset, y = snapshot.preactivations.T
    phi_square = np.mean(_slope(snapshot.cell, y) ** 2)  # pyright: ignore[reportArgumentType]
    with jax.enable_x64(True):
        candidate = np.asarray(snapshot.cell.phi(jnp.asarray(y)))  # pyright: ignore[reportAttributeAccessIssue]
    gates = np.mean(expit(reset) ** 2) + ensemble.gain["reset"] ** 2 * np.mean(
        (expit(reset) * expit(-reset)) ** 2
    ) * np.mean(h**2)
    mismatch = ensemble.gain["update"] ** 2 * np.mean((h - candidate) ** 2)
    return expit(z), float(ensemble.gain["candidate"] ** 2 * phi_square * gates), float(mismatch)
