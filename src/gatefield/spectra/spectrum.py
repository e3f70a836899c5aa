"""Spectrum of the one-step Jacobian of an infinite network, from any snapshot of neurons.

The eigenvalue density of D N eigenvalues is normalised by N: it integrates to D, the number of state variables, as in
[CKS 12, 27]. A finite network's own snapshot gives the prediction for networks with its neurons.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import contourpy
import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import finite, positive, whole
from gatefield.spectra import dyson
from gatefield.spectra.response import Response, response_of
from gatefield.spectra.self_energy import self_energies

_SOLVED = 1e-4  # residual at which the equations count as solved
_NEURON_GROUPS = 16  # groups for errors where a snapshot has none of its own
_RAYS = 49
_RADII = 64
_CIRCLE = 256
_FEWEST_NEURONS = 4  # a component of the support that fewer sampled neurons make is sampling noise
SLOW_RADIUS = 0.05  # of the disc about 1 in which modes count as slow, unless asked otherwise [CKS fig. 1f, fig. 3f]


@dataclass(frozen=True, eq=False, repr=False)
class SpectralCurve(Result):
    """Boundary of the support of the spectrum.

    Attributes:
        contours: closed curves in the complex plane, first point repeated last; the support lies to their left, so
            outer boundaries run counter-clockwise and holes clockwise. Largest first.
    """

    contours: tuple[ComplexArray, ...]
    ensemble: Ensemble
    snapshot: Snapshot

    def description(self) -> Description:
        z = np.concatenate([np.zeros(0, np.complex128), *self.contours])
        contour = np.repeat(np.arange(len(self.contours)), [len(c) for c in self.contours])
        return Description(
            quantities={
                "real": Quantity(z.real, ("point",), source="CKS 15, 30"),
                "imaginary": Quantity(z.imag, ("point",), source="CKS 15, 30"),
            },
            coordinates={"contour": Quantity(contour, ("point",), json="contour")},
            facts={"ensemble": self.ensemble, "neurons": self.snapshot.neurons},
        )


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
    value = _disc_mass(response, middle, radius, _CIRCLE)
    parts = [_disc_mass(part, middle, radius, _CIRCLE // 4) for part in _parts(response, snapshot)]
    return Estimate(value, _spread(parts))


def _disc_mass(response: Response, center: complex, radius: float, count: int) -> float:
    """Midpoint rule on the circle, on its upper half where the rest is its mirror image."""
    points = count // 2 if center.imag == 0.0 else count
    direction = np.exp(2j * np.pi * (np.arange(points) + 0.5) / count)
    z = np.asarray(center + radius * direction, dtype=np.complex128)
    unique = dyson.off_poles(z)
    g = dyson.trace_resolvent(response, unique, dyson.solve(response, unique))
    g = np.where(z.imag < 0.0, np.conj(g), g)
    mass = float(np.mean(np.real(g * radius * direction)))
    return 0.0 if abs(mass) < 1e-12 else mass


def spectral_radius(ensemble: Ensemble, snapshot: Snapshot) -> Estimate:
    """Largest modulus in the spectrum: the outermost point of the spectral curve.

    Its error is the spread between the snapshot's groups of neurons.
    """
    return _outermost(ensemble, snapshot, 0.0, np.pi)


def spectral_edge(ensemble: Ensemble, snapshot: Snapshot, *, angle: float = 0.0) -> Estimate:
    """Distance from 0 of the outermost point of the spectral curve in direction `angle`, in radians; 0 if none."""
    angle = finite("angle", angle)
    return _outermost(ensemble, snapshot, angle, angle)


def _outermost(ensemble: Ensemble, snapshot: Snapshot, low: float, high: float) -> Estimate:
    response = response_of(ensemble, snapshot)
    atoms = float(np.max(np.abs(np.linalg.eigvals(snapshot.derivatives.f_s))))
    if response.size == 0:
        return Estimate(atoms if high > low else 0.0, 0.0)
    angles = np.linspace(low, high, _RAYS if high > low else 1)
    while True:
        radii = _crossings(response, angles, atoms)
        best = int(np.argmax(radii))
        if len(angles) == 1 or angles[1] - angles[0] < 1e-3:
            break
        width = angles[1] - angles[0]
        angles = np.linspace(max(low, angles[best] - width), min(high, angles[best] + width), 9)
    radius = float(radii[best])
    return Estimate(radius, _crossing_error(response, snapshot, radius, angles[best]) if radius > 0.0 else 0.0)


def _crossings(response: Response, angles: np.ndarray, atoms: float) -> np.ndarray:
    """Outermost zero of the support exponent along each ray, 0 where there is none."""
    direction = np.exp(1j * angles)[:, None]

    def inside(radii: np.ndarray, of: Response) -> np.ndarray:
        points = dyson.off_poles((direction * radii).ravel())
        return (dyson.log_perron(of, points) > 0.0).reshape(radii.shape)

    far = 2.0 * atoms + 1.0  # outside all poles of Γ the exponent has no maximum: what is outside there stays outside
    while inside(np.full((len(angles), 1), far), response).any():
        far *= 2.0
    radii = np.broadcast_to(np.linspace(far, 0.0, _RADII + 1), (len(angles), _RADII + 1))
    hit = inside(radii, response)
    first = np.argmax(hit, axis=1)
    low = np.take_along_axis(radii, first[:, None], axis=1)
    high = np.take_along_axis(radii, np.maximum(first - 1, 0)[:, None], axis=1)
    for _ in range(40):
        middle = (low + high) / 2
        within = inside(middle, response)
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return np.where(hit.any(axis=1), low[:, 0], 0.0)


def _crossing_error(response: Response, snapshot: Snapshot, radius: float, angle: float) -> float:
    step = 1e-4 * radius
    points = dyson.off_poles(np.exp(1j * angle) * (radius + step * np.array([-1.0, 1.0])))
    low, high = dyson.log_perron(response, points)
    at = dyson.off_poles(np.array([radius * np.exp(1j * angle)]))
    exponents = [dyson.log_perron(part, at)[0] for part in _parts(response, snapshot)]
    return _spread(exponents) * 2 * step / abs(high - low)


def _parts(response: Response, snapshot: Snapshot) -> list[Response]:
    """The response of each group of neurons by itself."""
    n = snapshot.neurons
    groups = snapshot.groups if snapshot.groups > 1 else min(_NEURON_GROUPS, n)
    size = n // groups
    return [response.part(slice(i * size, (i + 1) * size)) for i in range(groups)]


def _spread(parts: list[float]) -> float:
    """Standard error of the mean of independent parts; 0 for a single exact one."""
    return from_batches(parts).error if len(parts) > 1 else 0.0


def _upper_half(points: Any) -> tuple[ComplexArray, ComplexArray, np.ndarray]:
    """The points as an array, the distinct ones among their images in the upper half plane, and how to get back."""
    points = np.asarray(points, dtype=complex)
    if points.size == 0 or not np.all(np.isfinite(points)):
        raise ValueError("grid must hold at least one point, all of them finite complex numbers")
    unique, back = np.unique(np.round(dyson.off_poles(points.ravel()), 12), return_inverse=True)
    return points, unique, back


# ---- the curve ----


def spectral_curve(ensemble: Ensemble, snapshot: Snapshot, *, resolution: int = 240) -> SpectralCurve:
    """Boundary of the support of the spectrum, as closed contours [CKS Thm 1, 15, Cor. 9, 30].

    Args:
        ensemble: gives the gains.
        snapshot: the neurons.
        resolution: grid points across the support from which contours start; their points are then moved onto the
            curve. Raise it to resolve a narrow pinch.

    Raises:
        ValueError: a resolution below 16, or a snapshot of another cell.
    """
    resolution = whole("resolution", resolution, 16)
    response = response_of(ensemble, snapshot)
    poles = np.linalg.eigvals(snapshot.derivatives.f_s).ravel().astype(np.complex128)
    if response.size == 0:
        return SpectralCurve((), ensemble, snapshot)
    thin = response.thinned(1000)
    outermost = 1.1 * np.max(_crossings(thin, np.linspace(0.0, np.pi, _RAYS), float(np.max(np.abs(poles)))))
    x, y = _support_box(thin, poles, outermost, resolution)
    exponent = _exponent_near_boundary(response, x[:, None] + 1j * y[None, :])
    while max(exponent[0].max(), exponent[-1].max(), exponent[:, -1].max()) > 0.0:
        # some of the neurons showed less of the support than all of them: the box cuts it
        margin = 0.2 * (x[-1] - x[0])
        x = np.linspace(x[0] - margin, x[-1] + margin, len(x))
        y = y * (y[-1] + margin) / y[-1]
        exponent = _exponent_near_boundary(response, x[:, None] + 1j * y[None, :])
    full, heights = np.concatenate([-y[::-1], y]), np.concatenate([exponent[:, ::-1], exponent], axis=1)
    lines = contourpy.contour_generator(full, x, heights).lines(0.0)
    loops = []
    for line in lines:
        loop = np.asarray(line)[:, 1] + 1j * np.asarray(line)[:, 0]
        if len(loop) > 3 and loop[0] == loop[-1]:
            loop = _polish(response, loop, x[1] - x[0])
            loops.append(loop[::-1] if _is_island(response, loop) != (_area(loop) > 0.0) else loop)
    enough = _FEWEST_NEURONS if snapshot.neurons >= 100 * _FEWEST_NEURONS else 1
    kept = [loop for loop in loops if _area(loop) < 0.0 or np.count_nonzero(_encloses(loop, poles)) >= enough]
    return SpectralCurve(tuple(sorted(kept, key=lambda loop: -abs(_area(loop)))), ensemble, snapshot)


def _support_box(
    thin: Response, poles: ComplexArray, outermost: float, resolution: int
) -> tuple[np.ndarray, np.ndarray]:
    """Grid lines that hold the upper half of the support and a margin, none of them on the real axis."""
    left, right, top = -outermost, outermost, outermost
    for _ in range(12):
        x, y = np.linspace(left, right, 65), (np.arange(33) + 0.5) / 33 * top
        hit = dyson.log_perron(thin, (x[:, None] + 1j * y).ravel()).reshape(65, 33) > 0.0
        if hit.any():
            columns, rows = x[hit.any(axis=1)], y[hit.any(axis=0)]
            margin_x, margin_y = 2 * (x[1] - x[0]), 2 * (y[1] - y[0])
            box = columns[0] - margin_x, columns[-1] + margin_x, rows[-1] + margin_y
        else:  # the support is smaller than the grid's cells, and it surrounds poles
            middle, half = float(np.median(poles.real)), (right - left) / 8
            box = middle - half, middle + half, half
        shrunk = (box[1] - box[0]) < 0.8 * (right - left) or box[2] < 0.8 * top
        left, right, top = box
        if not shrunk:
            break
    count = resolution // 2
    return np.linspace(left, right, resolution), (np.arange(count) + 0.5) / count * top


def _exponent_near_boundary(response: Response, z: ComplexArray) -> np.ndarray:
    """Support exponent on a grid: all neurons near the curve, some of them elsewhere, where only its sign counts."""
    exponent = dyson.log_perron(response.thinned(1000), z.ravel())
    near = np.nonzero(np.abs(exponent) < 0.5)[0]
    if len(near):
        exponent[near] = dyson.log_perron(response, z.ravel()[near])
    return exponent.reshape(z.shape)


def _polish(response: Response, loop: ComplexArray, cell: float) -> ComplexArray:
    """Move points onto the zero of the support exponent by two Newton steps along its gradient."""
    z, step = loop[:-1], 1e-3 * cell
    for _ in range(2):
        upper = dyson.off_poles(z)
        probes = np.concatenate([upper, upper + step, upper + 1j * step])
        value, east, north = np.split(dyson.log_perron(response, probes), 3)
        gradient = ((east - value) + 1j * (north - value)) / step
        move = -value * gradient / np.maximum(np.abs(gradient) ** 2, 1e-300)
        move *= np.minimum(1.0, cell / np.maximum(np.abs(move), 1e-300))
        moved = upper + move
        z = moved.real + 1j * np.where(z.imag < 0.0, -1.0, 1.0) * np.maximum(moved.imag, 0.0)
    return np.append(z, z[0])


def _area(loop: ComplexArray) -> float:
    """Signed area, positive for counter-clockwise loops."""
    return float(0.5 * np.sum(np.imag(np.conj(loop[:-1]) * loop[1:])))


def _is_island(response: Response, loop: ComplexArray) -> bool:
    """Whether the support lies inside the loop rather than outside."""
    points = loop[:-1]
    side = points + 0.05j * (np.roll(points, -1) - np.roll(points, 1))  # just left of each, further than chords stray
    left_inside = np.mean(dyson.log_perron(response, dyson.off_poles(side)) > 0.0) > 0.5
    return left_inside == (_area(loop) > 0.0)


def _encloses(loop: ComplexArray, points: ComplexArray) -> np.ndarray:
    """Which points a closed loop winds around."""
    inside = np.zeros(len(points), bool)
    for a, b in pairwise(loop):
        crosses = (a.imag > points.imag) != (b.imag > points.imag)
        if crosses.any():
            x = a.real + (points.imag - a.imag) / (b.imag - a.imag) * (b.real - a.real)
            inside ^= crosses & (points.real < x)
    return inside
