"""How spectra change with a gate's gain, measured: growth of the radius and accumulation of slow modes, with errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import curve_fit
from scipy.special import erfc

from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.snapshot import Snapshot
from gatefield.meanfield.sampled import mean_field
from gatefield.numerics.estimates import Estimate, stacked
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import finite, known_names
from gatefield.running.progress import track
from gatefield.spectra.support import spectral_radius


@dataclass(frozen=True, eq=False, repr=False)
class GateScaling(Result):
    """Power law of the spectral radius in one gate's gain, (radius − offset) ∝ gain^exponent.

    Attributes:
        gate: whose gain was varied.
        gains: its values.
        radii: spectral radius at each.
        exponent: slope of log(radius − offset) over log gain. Its error is widened by √(χ²/degrees of freedom) where
            the radii depart from a power law by more than their own errors.
        local: slopes between one gain and the next, (gains − 1,): whether they have settled tells how far the range is
            from the limit.
    """

    ensemble: Ensemble
    gate: str
    offset: float
    gains: np.ndarray
    radii: Estimate
    exponent: Estimate
    local: Estimate

    def description(self) -> Description:
        return Description(
            quantities={
                "exponent": Quantity(self.exponent, source="CKS Prop. 5, 12"),
                "radius": Quantity(self.radii, ("gain",), source="spectral radius", json="radii"),
                "local": Quantity(self.local, ("interval",), source="slopes between one gain and the next"),
            },
            coordinates={"gain": Quantity(self.gains, json="gains")},
            facts={"ensemble": self.ensemble, "gate": self.gate, "offset": self.offset},
        )


def gate_scaling(
    ensemble: Ensemble,
    gate: str,
    gains: Sequence[float] | np.ndarray,
    *,
    offset: float = 0.0,
    snapshot: Callable[[Ensemble], Snapshot] | None = None,
) -> GateScaling:
    """Measure the exponent of the spectral radius in a gate's gain, all else constant [CKS Prop. 5, Prop. 12, 35].

    The propositions say Θ(√a_r) for the GRU with a_z = 0, by its state staying bounded, and O(√a_k) for each gate of
    the LSTM. They are about the limit: over gains of order 10 the constant part of the radius still counts and the
    exponent comes out below 1/2. `offset` takes out a part that is known, σ(b_z) for the GRU with a_z = 0.

    In a moving state the GRU's radius grows with a_z as well, which [CKS 19] denies. For the LSTM's forget gate growth
    is slow up to gains of order 50. At large gains ever fewer neurons, those whose gate is neither open nor closed,
    decide the radius: its error grows with the gain, and local exponents above 1/2 within their errors mean nothing.

    Args:
        ensemble: any cell; its own gain of the gate is replaced.
        gate: name of a pre-activation.
        gains: at least three, all different, above 0.
        offset: subtracted from the radii before the fit.
        snapshot: the state at which to take the Jacobian, for an ensemble with the gain put in. By default the steady
            state, `mean_field(ensemble).snapshot`; `lambda e: fixed_points(e)[-1].snapshot` for a static one.

    Raises:
        ValueError: an unknown gate, unfit gains, or an offset that is not below every radius.
    """
    known_names("gate", [gate], ensemble.names, type(ensemble.cell).__name__)
    if ensemble.names.index(gate) in ensemble.structure.sourceless:
        raise ValueError(f"gate={gate!r} of {repr_cell(ensemble.cell)} has no recurrent weights; name one that has")
    values, offset = _gains(gains), finite("offset", offset)
    found = []
    for gain in track(list(values), "gains"):
        changed = ensemble.with_gain(gate, float(gain))
        found.append(spectral_radius(changed, (snapshot or _steady_state)(changed)))
    radii = stacked(found)
    excess = radii.value - offset
    if np.any(excess <= 0.0):
        raise ValueError(f"offset={offset:g} must lie below every radius; the smallest is {radii.value.min():.4g}")
    x, y, error = np.log(values), np.log(excess), radii.error / excess
    local = Estimate(np.diff(y) / np.diff(x), np.hypot(error[1:], error[:-1]) / np.diff(x))
    return GateScaling(ensemble, gate, offset, values, radii, _slope(x, y, error), local)


def _steady_state(ensemble: Ensemble) -> Snapshot:
    return mean_field(ensemble).snapshot


def _gains(gains: Any) -> np.ndarray:
    values = np.asarray(gains, dtype=float).ravel()
    if len(values) < 3 or not np.all(np.isfinite(values)) or np.any(values <= 0.0) or len(set(values)) < len(values):
        raise ValueError(f"gains={values.tolist()} must be at least three different finite numbers above 0")
    return np.sort(values)


def _slope(x: np.ndarray, y: np.ndarray, error: np.ndarray) -> Estimate:
    """Of a line through points, weighted where all of them have errors."""
    known = bool(np.all(np.isfinite(error) & (error > 0.0)))
    weight = 1.0 / error**2 if known else np.ones_like(x)
    middle, level = np.average(x, weights=weight), np.average(y, weights=weight)
    spread = np.sum(weight * (x - middle) ** 2)
    slope = np.sum(weight * (x - middle) * (y - level)) / spread
    misfit = np.sum(weight * (y - level - slope * (x - middle)) ** 2) / (len(x) - 2)
    return Estimate(float(slope), float(np.sqrt(max(misfit, 1.0 if known else 0.0) / spread)))


@dataclass(frozen=True, eq=False, repr=False)
class AccumulationFit(Result):
    """Share of eigenvalues near 1 as c1 erfc(c2/gain) [CKS 93].

    Attributes:
        c1, c2: with errors from the fit's covariance.
        gains, shares: what was fitted.
        residual: root mean square of what the fit leaves.
    """

    c1: Estimate
    c2: Estimate
    gains: np.ndarray
    shares: np.ndarray
    residual: float

    def share(self, gain: Any) -> np.ndarray:
        """The fit at other gains."""
        return _accumulation(np.asarray(gain, dtype=float), self.c1.value, self.c2.value)

    def description(self) -> Description:
        return Description(
            quantities={
                "c1": Quantity(self.c1, source="CKS 93"),
                "c2": Quantity(self.c2, source="CKS 93"),
                "residual": Quantity(self.residual),
                "share": Quantity(self.shares, ("gain",), "1/neuron", json="shares"),
            },
            coordinates={"gain": Quantity(self.gains, json="gains")},
        )


def accumulation_fit(
    gains: Sequence[float] | np.ndarray, shares: Sequence[float] | np.ndarray, *, errors: Any = None
) -> AccumulationFit:
    """Fit c1 erfc(c2/a) to the shares of eigenvalues within a small circle about 1, at several gains a [CKS 93].

    The form is that of [CKS 92], where c1 = 1/2 and c2 = −ln r/√(2 C_h) at b_z = 0 (`slow_mode_share`). Fitted values
    need not equal these: C_h changes with the gain, and in a moving state h ≠ φ(y) takes eigenvalues away from 1.

    Args:
        gains: a_z of GRUs or a_f of LSTMs, at least three.
        shares: per neuron, such as `spectral_mass(ensemble, snapshot, center=1.0, radius=0.05)` or counts over N.
        errors: of the shares, above 0. Without them the scatter about the fit gives the errors of c1 and c2.

    Raises:
        ValueError: lengths that differ, negative shares, none above 0, or no fit.
    """
    values = np.asarray(gains, dtype=float).ravel()
    _gains(values)
    found = np.asarray(shares, dtype=float).ravel()
    if found.shape != values.shape or not np.all(np.isfinite(found) & (found >= 0.0)) or not np.any(found > 0.0):
        raise ValueError(f"shares={found.tolist()} must be one number from 0 on for each of {len(values)} gains")
    sigma = None if errors is None else np.broadcast_to(np.asarray(errors, dtype=float), values.shape)
    if sigma is not None and not np.all(sigma > 0.0):
        raise ValueError("errors must be above 0; leave them out to take errors from the scatter about the fit")
    half = values[np.argmin(np.abs(found - found.max() / 2.0))]
    start = (found.max(), 0.5 * half)
    try:
        best, covariance = curve_fit(_accumulation, values, found, start, sigma=sigma, absolute_sigma=sigma is not None)
    except RuntimeError as error:
        raise ValueError(f"shares={found.tolist()} are not of the form c1 erfc(c2/gain): {error}") from None
    deviation = np.sqrt(np.diag(covariance))
    residual = float(np.sqrt(np.mean((found - _accumulation(values, *best)) ** 2)))
    c1, c2 = (Estimate(float(v), float(e)) for v, e in zip(best, deviation, strict=True))
    return AccumulationFit(c1, c2, values, found, residual)


def _accumulation(gain: np.ndarray, c1: float, c2: float) -> np.ndarray:
    return c1 * erfc(c2 / gain)
