"""Where the support of the spectrum ends: from the neurons' own eigenvalues outwards.

Near an eigenvalue f of one neuron's F_s, a pole of Γ, T(λ) → ∞: every neuron lies in the support, in the bulk or on an
island of its own, and where nothing couples to it f is an eigenvalue of J itself, an atom. Away from the poles log of
T's Perron eigenvalue is subharmonic (it is the logarithm of sums of squared moduli of analytic functions), hence

- each component of the support holds at least one pole: those which a grid steps over are found at the poles,
- beyond the outermost pole its largest value on a circle falls with the circle's radius: the support ends at the one
  zero of that function, or at the pole.

Gates with Gaussian arguments have poles up to modulus 1 that are exponentially rare. A radius therefore belongs to a
size N: beyond it less than one eigenvalue of a network of N neurons is expected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import polygamma

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.running.arguments import finite, positive
from gatefield.spectra import dyson
from gatefield.spectra.response import Response, response_of

_RAYS = 49
_POLE_RAYS = 64  # rays through the outermost poles
_CIRCLE = 128  # points of the circle at the radius that are held to be outside
_ATTEMPTS = 4
_SCAN = 64
_WINDOW = 16  # angles at a time while the outermost point is looked for between rays
_NEURON_GROUPS = 16  # groups for errors where a snapshot has none of its own
_NEAREST = 1e-7  # distance from a pole, relative to its modulus, at which it and the support's edge are one
_OWN = 0.1  # what one neuron adds to the support exponent where the edge is that of its island
_EXTREMES = 16  # outermost poles from which their spacing is taken


@dataclass(frozen=True, eq=False)
class SpectralRadius(Estimate):
    """Largest modulus in the spectrum, with its standard error.

    Attributes:
        size: neurons N of the networks for which it holds; infinite where all neurons are alike.
        beyond: eigenvalues of such a network that are expected beyond it, below 1.
    """

    size: float
    beyond: float


@dataclass(frozen=True, eq=False)
class Support:
    """What of a snapshot makes the support at some size.

    Attributes:
        response: of all neurons, those left out with weight 0.
        poles: eigenvalues of the F_s of each, in the closed upper half plane, (n, D).
        kept: which neurons are not left out, (n,).
        size: number of neurons N of the networks meant.
        left_out: poles further out than all others, fewer than one in N.
    """

    response: Response
    poles: ComplexArray
    kept: np.ndarray
    size: float
    left_out: int

    @property
    def present(self) -> ComplexArray:
        """Poles of the neurons that are not left out."""
        return self.poles[self.kept].ravel()

    @property
    def moduli(self) -> np.ndarray:
        """Their moduli, largest first."""
        return np.sort(np.abs(self.present))[::-1]


def support_of(ensemble: Ensemble, snapshot: Snapshot, size: float | None = None) -> Support:
    """The support for networks of `size` neurons; by default as many as the snapshot has.

    Raises:
        ValueError: a size above the number of neurons, where these differ, or a snapshot of another cell.
    """
    response = response_of(ensemble, snapshot)
    raw = snapshot.derivatives.poles
    poles = raw.real + 1j * np.abs(raw.imag)
    moduli = np.abs(poles)
    alike = bool(np.all(poles == poles[0]))
    largest = np.inf if alike else snapshot.neurons
    size = largest if size is None else positive("size", size)
    if size > largest:
        raise ValueError(
            f"size={size:g}: {snapshot.neurons} neurons do not tell where less than one in {size:g} lies; give a "
            "snapshot of at least as many"
        )
    count = 0 if alike else int(np.ceil(snapshot.neurons / size)) - 1
    beyond = moduli > np.sort(moduli.ravel())[-count - 1] * (1.0 + 1e-12)
    kept = ~beyond.any(axis=1)
    used = response if kept.all() else response.only(kept)
    return Support(used, poles, kept, size, int(np.count_nonzero(beyond)))


def spectral_radius(ensemble: Ensemble, snapshot: Snapshot, *, size: float | None = None) -> SpectralRadius:
    """Largest modulus in the spectrum: the outermost point of the spectral curve, islands and atoms included.

    Its error is the spread between the snapshot's groups of neurons; where a few slow neurons make it, that of the
    outermost of so many.

    Args:
        ensemble: gives the gains.
        snapshot: the neurons.
        size: neurons N of a network, beyond whose radius less than one eigenvalue is expected; by default as many as
            the snapshot has. Where gates differ between neurons the radius grows with N.

    Raises:
        ValueError: a size above the number of neurons, or a snapshot of another cell.
    """
    support = support_of(ensemble, snapshot, size)
    radius, angle = outermost(support)
    # Outside the support G = E p'/p: the modes beyond a circle that lies there are the poles beyond it.
    outside = np.mean(np.sum(np.abs(support.poles) > radius * (1.0 + _NEAREST), axis=1))
    beyond = float(support.size * outside) if outside else 0.0
    return SpectralRadius(radius, _radius_error(support, snapshot, radius, angle), support.size, beyond)


def spectral_edge(ensemble: Ensemble, snapshot: Snapshot, *, angle: float = 0.0) -> Estimate:
    """Distance from 0 of the outermost point of the spectrum in direction `angle`, in radians; 0 if none."""
    angle = abs(np.angle(np.exp(1j * finite("angle", angle))))
    support = support_of(ensemble, snapshot)
    turned = support.present * np.exp(-1j * angle)
    near = np.abs(turned.imag) <= 1e-9 * np.maximum(np.abs(turned), 1e-300)
    atoms = float(np.max(turned.real, where=near, initial=0.0))
    if support.response.size == 0:
        return Estimate(atoms, 0.0)
    radius = max(_on_ray(support, angle, turned), atoms)
    return Estimate(radius, _radius_error(support, snapshot, radius, angle))


def _height(response: Response, radius: Any, angles: Any) -> np.ndarray:
    """The support exponent at points given by modulus and angle, none of which is a pole."""
    z = np.atleast_1d(np.asarray(radius * np.exp(1j * np.asarray(angles)), np.complex128))
    return dyson.log_perron(response, z.real + 1j * np.abs(z.imag))


def outermost(support: Support) -> tuple[float, float]:
    """Modulus and angle of the outermost point of the spectrum."""
    response, flat = support.response, support.present
    reach = float(np.max(np.abs(flat)))
    farthest = float(np.angle(flat[np.argmax(np.abs(flat))]))
    if response.size == 0:
        return reach, farthest
    through = np.angle(flat[np.argsort(-np.abs(flat))[:_POLE_RAYS]])
    angles = np.unique(np.round(np.concatenate([np.linspace(0.0, np.pi, _RAYS), through]), 12))
    circle = (np.arange(_CIRCLE) + 0.5) * np.pi / _CIRCLE
    radius, angle = reach, farthest
    for _ in range(_ATTEMPTS):
        further = _last_inside(response, angles, reach)
        if further is not None and further > radius:
            radius, angle = _between_rays(response, angles, further, reach)
        # the whole circle must be outside: where it is not, more of the support lies between the rays
        angles = circle[_height(response, radius * (1.0 + _NEAREST) + _NEAREST, circle) > 0.0]
        if not len(angles):
            break
    return radius, angle


def _between_rays(response: Response, angles: np.ndarray, radius: float, reach: float) -> tuple[float, float]:
    """The outermost point near the ray where it was found."""
    best, window = float(angles[np.argmax(_height(response, radius, angles))]), np.pi / (_RAYS - 1)
    for _ in range(3):
        around = np.append(np.clip(best + window * np.linspace(-1.0, 1.0, _WINDOW - 1), 0.0, np.pi), best)
        further = _last_inside(response, around, reach)
        if further is None or further < radius:
            break
        radius, best = further, float(around[np.argmax(_height(response, further, around))])
        window /= 6.0
    return radius, best


def _last_inside(response: Response, angles: np.ndarray, reach: float) -> float | None:
    """Radius beyond all poles at which the support ends on these rays; None where it ends before the outermost pole."""

    def highest(log_distance: float) -> float:
        return float(np.max(_height(response, reach + np.exp(log_distance), angles)))

    start = np.log(_NEAREST * max(reach, 1e-3))
    if not highest(start) > 0.0:
        return None
    far = np.log(reach + 1.0)
    while highest(far) > 0.0:
        far += 1.0
    return reach + float(np.exp(_zero(highest, start, far)))


def _zero(function: Callable[[float], float], low: float, high: float) -> float:
    """Zero of the support exponent along a path from inside to outside."""
    bounded = lambda t: float(np.clip(function(t), -1e3, 1e3))  # noqa: E731  −∞ far outside
    return float(brentq(bounded, low, high, xtol=1e-14, rtol=1e-12))  # pyright: ignore[reportArgumentType]


def _on_ray(support: Support, angle: float, turned: ComplexArray) -> float:
    """Outermost zero of the support exponent on one ray, 0 where there is none."""
    response = support.response
    far = 2.0 * float(np.max(np.abs(turned))) + 1.0
    while _height(response, far, angle)[0] > 0.0:
        far *= 2.0
    beside = turned[(turned.real > 0.0) & (np.abs(turned.imag) < far / _SCAN)]
    nearest = np.argsort(np.abs(beside.imag) - beside.real)[:_POLE_RAYS]
    radii = np.unique(np.concatenate([np.linspace(0.0, far, _SCAN + 1), np.abs(beside[nearest])]))
    radii = radii + _NEAREST * float(np.max(np.abs(turned)))
    inside = np.nonzero(_height(response, radii, angle) > 0.0)[0]
    if len(inside) == 0:
        return 0.0
    last = int(inside[-1])
    return _zero(lambda r: _height(response, r, angle)[0], float(radii[last]), float(radii[last + 1]))


# ---- errors ----


def _radius_error(support: Support, snapshot: Snapshot, radius: float, angle: float) -> float:
    """Of the outermost point: from groups of neurons, or from the spacing of the outermost poles."""
    moduli = support.moduli
    if len(support.poles) < 2 or radius <= 0.0:
        return 0.0
    if support.response.size and radius > moduli[0] and not _of_few(support, radius, angle):
        return _crossing_error(support.response, snapshot, radius, angle)
    count = min(_EXTREMES, len(moduli) - 1)
    ranks = support.left_out + np.arange(1, count + 1)
    spacing = float(np.mean(ranks * (moduli[:count] - moduli[1 : count + 1])))  # e-folding of the tail (Rényi)
    return spacing * float(np.sqrt(polygamma(1, support.left_out + 1)))


def _of_few(support: Support, radius: float, angle: float) -> bool:
    """Whether a point of the curve belongs to one neuron's island."""
    others = np.ones(len(support.poles), bool)
    others[np.argmax(np.where(support.kept, np.max(np.abs(support.poles), axis=1), 0.0))] = False
    with_all, rest = (_height(r, radius, angle)[0] for r in (support.response, support.response.only(others)))
    return bool(with_all - rest > max(_OWN, 4.0 / len(support.poles)))


def _crossing_error(response: Response, snapshot: Snapshot, radius: float, angle: float) -> float:
    step = 1e-4 * radius
    low, high = _height(response, radius + step * np.array([-1.0, 1.0]), [angle, angle])
    exponents = [_height(part, radius, angle)[0] for part in parts_of(response, snapshot)]
    return spread(exponents) * 2 * step / abs(high - low)


def parts_of(response: Response, snapshot: Snapshot) -> list[Response]:
    """The response of each group of neurons by itself."""
    n = snapshot.neurons
    groups = snapshot.groups if snapshot.groups > 1 else min(_NEURON_GROUPS, n)
    size = n // groups
    return [response.part(slice(i * size, (i + 1) * size)) for i in range(groups)]


def spread(parts: list[float]) -> float:
    """Standard error of the mean of independent parts; 0 for a single exact one."""
    return from_batches(parts).error if len(parts) > 1 else 0.0
