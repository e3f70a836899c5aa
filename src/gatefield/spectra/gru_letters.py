"""The GRU's resolvent and spectral curve in the paper's own letters, from what the general theory solves [CKS 59–68].

Of one neuron, with z, r the gates, z', r' their slopes and D = |λ − z|²,

    A = ((1 − z) a_h φ'(y))²,   Z = (a_z z')² (h − φ(y))²,   R = (a_r r' h)².

[CKS 55] and [CKS 57] agree with [CKS 59–64] where a_k² is absorbed into F_11: with p and q of `SpectralField`,

    Q = (p_z + p_r)/p_h,   X = −p_h q_h/a_h²,   Y = −p_h q_z/a_z² = −p_h q_r/a_r².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatefield.cells.builtin import GRU
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.snapshot import Snapshot
from gatefield.numerics.algebra import ComplexArray
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.spectra.spectrum import SpectralField


@dataclass(frozen=True, eq=False, repr=False)
class GRUEquations(Result):
    """[CKS 59–64] at points inside the support of a GRU's spectrum.

    Attributes:
        points: λ, those of the field that lie inside.
        q, x, y: Q, X and Y. X and Y are negative, and vanish at the edge of the support, where Q stays finite.
        resolvent: G(λ) by [CKS 59], normalised to 1/λ at large λ.
        residual: largest imbalance of [CKS 61–64] relative to the left side.
    """

    points: ComplexArray
    q: np.ndarray
    x: np.ndarray
    y: np.ndarray
    resolvent: ComplexArray
    residual: np.ndarray

    def description(self) -> Description:
        letters = {name: Quantity(getattr(self, name), ("point",), source="CKS 61–64") for name in ("q", "x", "y")}
        return Description(
            quantities={
                **letters,
                "resolvent": Quantity(self.resolvent, ("point",), source="CKS 59"),
                "residual": Quantity(self.residual, ("point",)),
                "points": Quantity(self.points, ("point",)),
            }
        )


@dataclass(frozen=True, eq=False)
class _Neurons:
    """A, Z, R, r² and z of neurons."""

    by_candidate: np.ndarray
    by_update: np.ndarray
    by_reset: np.ndarray
    reset_square: np.ndarray
    update: np.ndarray


def _neurons(ensemble: Ensemble, snapshot: Snapshot) -> _Neurons:
    if not isinstance(ensemble.cell, GRU) or ensemble.cell.reset_after:
        raise ValueError(
            f"ensemble of {repr_cell(ensemble.cell)}: the equations are those of gatefield.GRU() with the reset gate "
            "before the weights; spectral_density(...) has p and q of any cell"
        )
    if snapshot.cell != ensemble.cell:
        raise ValueError(f"snapshot is of {repr_cell(snapshot.cell)}, the ensemble of {repr_cell(ensemble.cell)}")
    local, (a_z, a_r, a_h) = snapshot.derivatives, ensemble.gains
    return _Neurons(
        by_candidate=(a_h * local.f_x[:, 0, 2]) ** 2,
        by_update=(a_z * local.f_x[:, 0, 0]) ** 2,
        by_reset=(a_r * local.v_x[:, 2, 1]) ** 2,
        reset_square=local.v_s[:, 2, 0] ** 2,
        update=local.f_s[:, 0, 0],
    )


def gru_equations(field: SpectralField) -> GRUEquations:
    """Q, X and Y of the paper, and G by them, at the points of a density or resolvent [CKS 59–64].

    The paper calls these equations intractable with both gates active; the general theory has solved them. They hold
    for neurons whose gates depend on each other as well.

    Args:
        field: of a GRU of which at least one gate has a gain.

    Raises:
        ValueError: another cell, or a GRU without gate gains, for which Y has no meaning.
    """
    n = _neurons(field.ensemble, field.snapshot)
    gates, a_h = field.ensemble.gains[:2], field.ensemble.gains[2]
    if not (gates.any() and a_h > 0.0):
        raise ValueError("gain: give the candidate and one of the gates a gain; without, [CKS 72–73] is all there is")
    active = np.any(field.p > 0.0, axis=-1)
    p, q = field.p[active], field.q[active]
    gate = int(np.argmax(gates))
    values = (p[:, 0] + p[:, 1]) / p[:, 2], -p[:, 2] * q[:, 2] / a_h**2, -p[:, 2] * q[:, gate] / gates[gate] ** 2
    points = field.points[active]
    found = [_balance(n, *each) for each in zip(points, *values, strict=True)]
    return GRUEquations(points, *values, np.array([g for g, _ in found]), np.array([e for _, e in found]))


def _balance(n: _Neurons, z: complex, q: float, x: float, y: float) -> tuple[complex, float]:
    """G [CKS 59] and the imbalance of [CKS 61–64] at one point."""
    distance = np.abs(z - n.update) ** 2
    a, b, c, r = n.by_candidate, n.by_update, n.by_reset, n.reset_square
    d = _denominator(n, distance, q, x, y)

    def mean(values: np.ndarray) -> float:
        return float(np.mean(values / d))

    equations = (
        (1.0, mean(a * r) + q * mean(a * (1.0 - y * c))),
        (
            x,
            x * mean(a * r) - q * x * y * mean(a * c) + y * mean(r * b) + y * mean(c * distance)
            - q * y * y * mean(c * b),
        ),
        (y, x * mean(a) - x * y * mean(a * c) + y * mean(b) - y * y * mean(c * b)),
        (q, q * (mean(b) - 2.0 * y * mean(c * b) - x * mean(a * c)) + mean(distance * c) + mean(r * b)),
    )  # fmt: skip
    g = complex(np.mean(np.conj(z - n.update) * (1.0 - y * c) / d))
    return g, max(abs(right / left - 1.0) for left, right in equations)


def _denominator(n: _Neurons, distance: np.ndarray, q: float, x: float, y: float) -> np.ndarray:
    """D [CKS 60], over neurons."""
    a, b, c, r = n.by_candidate, n.by_update, n.by_reset, n.reset_square
    return (
        distance * (1.0 - y * c) - a * (q * x + x * r) + x * y * q * a * c - q * y * b - y * (r - q * y * c) * b
    )  # fmt: skip


def gru_boundary(ensemble: Ensemble, snapshot: Snapshot, points: Any, *, factorised: bool = False) -> np.ndarray:
    """A function that is 0 on the GRU's spectral curve and negative outside, for gates that depend on each other.

    With a = E[A r²/D], b = E[A/D], c = E[Z/D], d = E R and e = E[r² Z/D] it is b (d + e) − (1 − a)(1 − c).
    [CKS 65–66] read 1 = b d + a + c, which takes r as independent of the rest already. In the mean field it is,
    a = E r² b and e = E r² c, and this becomes S(λ) = E[r² + R] E[A/D] + E[Z/D] − 1 [CKS 67–68], where the paper also
    splits E[A/D] into E[(a_h φ')²] E[(1 − z)²/D].

    Where a or c is 1 or more the point is inside whatever the rest, and the function is infinite.

    Args:
        ensemble: GRUs whose reset gate stands before the weights.
        snapshot: their neurons.
        points: complex λ, any shape.
        factorised: give S(λ) of [CKS 67–68], every average split as in the paper.

    Raises:
        ValueError: another cell, or a snapshot of another one.
    """
    n, points = _neurons(ensemble, snapshot), np.asarray(points, dtype=complex)
    one = _factorised if factorised else _boundary
    return np.array([one(n, np.abs(z - n.update) ** 2) for z in points.ravel()]).reshape(points.shape)


def _boundary(n: _Neurons, distance: np.ndarray) -> float:
    a, b = np.mean(n.by_candidate * n.reset_square / distance), np.mean(n.by_candidate / distance)
    c, e = np.mean(n.by_update / distance), np.mean(n.reset_square * n.by_update / distance)
    if a >= 1.0 or c >= 1.0:
        return float("inf")
    return float(b * (np.mean(n.by_reset) + e) - (1.0 - a) * (1.0 - c))


def _factorised(n: _Neurons, distance: np.ndarray) -> float:
    closed = (1.0 - n.update) ** 2
    slope = np.mean(n.by_candidate / closed)  # E (a_h φ')²
    shaping = np.mean(n.reset_square + n.by_reset) * slope
    return float(shaping * np.mean(closed / distance) + np.mean(n.by_update / distance) - 1.0)
