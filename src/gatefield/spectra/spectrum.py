"""Spectrum of the one-step Jacobian of an infinite network, from any snapshot of neurons.

The eigenvalue density of D N eigenvalues is normalised by N: it integrates to D, the number of state variables, as in
[CKS 12, 27]. A finite network's own snapshot gives the prediction for networks with its neurons.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.estimates import Estimate
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import finite, positive
from gatefield.spectra import dyson
from gatefield.spectra.response import Response, response_of
from gatefield.spectra.self_energy import self_energies
from gatefield.spectra.support import parts_of, spread

_SOLVED = 1e-4  # residual at which the equations count as solved
_PANELS = 20  # of a half circle, six Gauss points each
_GRADING = 0.25  # by which panels shrink towards the real axis, where the poles lie
SLOW_RADIUS = 0.05  # of the disc about 1 in which modes count as slow, unless asked otherwise [CKS fig. 1f, fig. 3f]


@dataclass(frozen=True, eq=False, repr=False)
class SpectralField(Result):
    """A quantity on points of the complex plane, with the residual of the equations behind it.

    It has converged where the equations are solved at every point.

    Attributes:
        points, value, residual: of the same shape.
        quantity: "density" (eigenvalues per unit area and neuron, atoms left out) or "resolvent" (E tr(λ − J)^{-1}/N).
        solution: of the Dyson equation, at the distinct points among the images in the upper half plane.
    """

    quantity: str
    points: ComplexArray
    value: Any
    residual: np.ndarray
    ensemble: Ensemble
    snapshot: Snapshot
    solution: dyson.Solution | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.messages:
            object.__setattr__(self, "messages", _unsolved(self.residual))

    @property
    def p(self) -> np.ndarray:
        """p_k at each point, pre-activations along the last axis; 0 outside the support [CKS 54–58].

        The traces that make the self-energy: with Γ = V_s (λ − F_s)^{-1} F_x + V_x,

            p_k = a_k² E[(Γ†p̂Γ (1 + q̂ Γ†p̂Γ)^{-1})_kk],   q_k = a_k² E[(Γ q̂ Γ† (1 + p̂ Γ q̂ Γ†)^{-1})_kk].

        In the paper's letters p_k is −a_k² f_kk of F_11, and q_k/a_k² is f_kk of F_22. The equations give the product
        p q alone; here Σ p = Σ q. A pre-activation without gain, or to which nothing responds, has 0.

        Raises:
            ValueError: a field that was not solved here.
        """
        return self._self_energies[0]

    @property
    def q(self) -> np.ndarray:
        """q_k at each point, likewise [CKS 54–58]."""
        return self._self_energies[1]

    @cached_property
    def _self_energies(self) -> tuple[np.ndarray, np.ndarray]:
        if self.solution is None:
            raise ValueError("solution=None: p and q are those of fields that spectral_density or resolvent returns")
        _, unique, back = _upper_half(self.points)
        found = self_energies(self.ensemble, self.snapshot, unique, self.solution)
        shape = (*self.points.shape, len(self.ensemble.gains))
        return found[0][back].reshape(shape), found[1][back].reshape(shape)

    def description(self) -> Description:
        dims = tuple(f"axis_{i}" for i in range(self.points.ndim))
        units = "eigenvalues per unit area and neuron" if self.quantity == "density" else "1"
        value = self.value
        parts = {"": value} if np.isrealobj(value) else {"_real": value.real, "_imag": value.imag}
        source = "CKS 54–58, scaled so that Σ p = Σ q"
        solved = ("p", "q") if self.solution is not None else ()
        energies = {name: Quantity(getattr(self, name), (*dims, "preactivation"), source=source) for name in solved}
        return Description(
            quantities={self.quantity + suffix: Quantity(part, dims, units) for suffix, part in parts.items()}
            | {"residual": Quantity(self.residual, dims), **energies},
            coordinates={
                "real": Quantity(self.points.real, dims, json="real"),
                "imaginary": Quantity(self.points.imag, dims, json="imaginary"),
                **({"preactivation": Quantity(list(self.ensemble.names))} if solved else {}),
            },
            facts={"ensemble": self.ensemble, "quantity": self.quantity, "neurons": self.snapshot.neurons},
        )


def _unsolved(residual: np.ndarray) -> tuple[str, ...]:
    left = np.count_nonzero(~(residual <= _SOLVED))
    if not left:
        return ()
    return (
        f"the equations are not solved at {left} of {residual.size} points (largest residual {np.max(residual):.2g}); "
        "take a snapshot of more samples",
    )


def spectral_density(ensemble: Ensemble, snapshot: Snapshot, grid: Any) -> SpectralField:
    """Density of eigenvalues at each point of `grid`, an array of complex numbers of any shape.

    μ(λ) = (1/π) ∂G/∂λ̄ [CKS 12], with [CKS 17, 32, Prop. 13, 72–73] as special cases. It is symmetric about the
    real axis, and each pair of mirrored points is solved once.

    Raises:
        ValueError: points that are not finite, or a snapshot of another cell.
    """
    points, unique, back = _upper_half(grid)
    response = response_of(ensemble, snapshot)
    solution = dyson.solve(response, unique)
    value = dyson.density(response, unique, solution)[back].reshape(points.shape)
    residual = solution.residual[back].reshape(points.shape)
    return SpectralField("density", points, value, residual, ensemble, snapshot, solution)


def resolvent(ensemble: Ensemble, snapshot: Snapshot, points: Any) -> SpectralField:
    """G(λ) = E tr(λ − J)^{-1}/N at each point; D/λ far from the spectrum [CKS Thm 8, 27, 59].

    Raises:
        ValueError: points that are not finite, or a snapshot of another cell.
    """
    points, unique, back = _upper_half(points)
    response = response_of(ensemble, snapshot)
    solution = dyson.solve(response, unique)
    value = dyson.trace_resolvent(response, unique, solution)[back].reshape(points.shape)
    value = np.where(points.imag < 0.0, np.conj(value), value)
    residual = solution.residual[back].reshape(points.shape)
    return SpectralField("resolvent", points, value, residual, ensemble, snapshot, solution)


def support_exponent(ensemble: Ensemble, snapshot: Snapshot, points: Any) -> np.ndarray:
    """Log of the Perron eigenvalue of T(λ): positive inside the support, zero on the spectral curve.

    Its zero set is that of S(λ), [CKS 15] (65–68 before averages are factorised) for the GRU and [CKS 31] for the LSTM.
    """
    points, unique, back = _upper_half(points)
    return dyson.log_perron(response_of(ensemble, snapshot), unique)[back].reshape(points.shape)


def spectral_mass(ensemble: Ensemble, snapshot: Snapshot, *, center: complex = 0.0, radius: float) -> Estimate:
    """Number of eigenvalues per neuron within a disc, (1/2πi)∮G dλ [CKS 82]; all of them together are D.

    Its error is the spread between the snapshot's groups of neurons.

    Raises:
        ValueError: a radius not above 0, or values that are not finite.
    """
    middle = complex(finite("center", np.real(center)), finite("center", np.imag(center)))
    radius = positive("radius", radius)
    response = response_of(ensemble, snapshot)
    value = _disc_mass(response, middle, radius, _PANELS, 6)
    parts = [_disc_mass(part, middle, radius, _PANELS // 4, 4) for part in parts_of(response, snapshot)]
    return Estimate(value, spread(parts))


def _disc_mass(response: Response, center: complex, radius: float, panels: int, levels: int) -> float:
    """(1/2πi)∮G dλ by Gauss' rule on panels; on the upper half of the circle where the rest is its mirror image."""
    angles, weights = _circle(center.imag / radius, panels, levels)
    direction = np.exp(1j * angles)
    z = np.asarray(center + radius * direction, dtype=np.complex128)
    unique = dyson.off_poles(z)
    g = dyson.trace_resolvent(response, unique, dyson.solve(response, unique))
    g = np.where(z.imag < 0.0, np.conj(g), g)
    mass = float(np.sum(weights * np.real(g * radius * direction)) / np.sum(weights))
    return 0.0 if abs(mass) < 1e-12 else mass


def _circle(height: float, panels: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles and weights on a unit circle at some height; panels are graded where it meets the real axis."""
    if height == 0.0:
        arcs = [(0.0, np.pi)]
    elif abs(height) < 1.0:
        low = -np.arcsin(height)
        arcs = [(low, np.pi - low), (np.pi - low, 2.0 * np.pi + low)]
    else:
        arcs = [(0.0, 2.0 * np.pi)]
    node, weight = np.polynomial.legendre.leggauss(6)
    grading = _GRADING ** np.arange(levels, -1, -1)
    angles, weights = [], []
    for start, stop in arcs:
        count = max(2, int(np.ceil(panels * (stop - start) / np.pi)))
        end = np.concatenate([[0.0], grading]) / count
        edges = start + (stop - start) * np.concatenate([end, np.arange(2, count - 1) / count, 1.0 - end[::-1]])
        half = np.diff(edges)[:, None] / 2.0
        angles.append((edges[:-1, None] + half * (1.0 + node)).ravel())
        weights.append((half * weight).ravel())
    return np.concatenate(angles), np.concatenate(weights)


def _upper_half(points: Any) -> tuple[ComplexArray, ComplexArray, np.ndarray]:
    """The points as an array, the distinct ones among their images in the upper half plane, and how to get back."""
    points = np.asarray(points, dtype=complex)
    if points.size == 0 or not np.all(np.isfinite(points)):
        raise ValueError("grid must hold at least one point, all of them finite complex numbers")
    unique, back = np.unique(np.round(dyson.off_poles(points.ravel()), 12), return_inverse=True)
    return points, unique, back
