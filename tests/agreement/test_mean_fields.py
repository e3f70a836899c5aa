"""Two routes to each headline number: the mean field with its spectrum, and networks with their eigenvalues.

Tolerances come from sizes, in one place. What a network of N shows differs from theory by

- the theory's own sampling error, which it states: four of them are allowed;
- its realisation: quantities scatter from network to network as N^{-1/2}. SPREAD has the factors, the largest over the
  ensembles here of the standard deviation between 3 to 5 networks of N = 1000: variances by 1.2 of their value in
  chaos and by 4.3 at rest (there one draw of slow modes stays for good); the share of eigenvalues in a disc by 1.0; the
  largest modulus by 1.4 of its value. Three deviations are allowed, divided by √networks;
- a bias of order 1/N, BIAS/N. The radius has the largest: single eigenvalues stray beyond the curve, furthest along the
  real axis, where few neurons with nearly closed gates make its edge.

Against its own neurons, a network's eigenvalues have no such freedom: their share within a radius stays within
OWN N^{-1/2} of what the theory says of the same neurons (.002 to .005 is its deviation at N = 1000).
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.all_cells import EACH_ENSEMBLE, half_of, settled

import gatefield as gf

SIZE = 500
SPREAD = {"variance, chaotic": 1.3, "variance, fixed point": 4.5, "share": 1.0, "radius": 1.5}
BIAS = {"variance": 10.0, "share": 5.0, "radius": 40.0}
OWN = 0.65

FRACTIONS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.05])
# Centres and radii of the discs, in spectral radii: along the axis and off it, beside the concentric ones of FRACTIONS.
DISCS = ((0.2, 0.3), (0.2, 0.7), (0.5, 0.3), (0.3 + 0.4j, 0.3))


def allowed(quantity: str, networks: int, *, error: float, scale: float = 1.0) -> float:
    """How far a mean over networks may lie from theory."""
    kind = quantity.split(",")[0]
    scatter = 3.0 * SPREAD[quantity] / np.sqrt(SIZE * networks)
    return 4.0 * error + scale * (scatter + BIAS[kind] / SIZE)


def share_within(ensemble: gf.Ensemble, snapshot: gf.Snapshot, radii: np.ndarray) -> np.ndarray:
    """Share of eigenvalues within each radius by theory: `spectral_mass` of concentric discs, all in one call.

    (1/2πi)∮G dλ by the tanh-sinh rule over half circles: G peaks where a circle passes a pole on the real axis.
    """
    t, step = np.linspace(-3.0, 3.0, 48, retstep=True)
    angles = np.pi * (1.0 + np.tanh(0.5 * np.pi * np.sinh(t))) / 2.0
    weights = 0.25 * np.pi * step * np.cosh(t) / np.cosh(0.5 * np.pi * np.sinh(t)) ** 2
    z = radii[:, None] * np.exp(1j * angles)
    mass = np.real(gf.spectra.resolvent(ensemble, snapshot, z).value * z) @ weights
    return mass / len(ensemble.cell.state_names)


def counted_within(eigenvalues: np.ndarray, radii: np.ndarray, center: complex = 0.0) -> np.ndarray:
    return np.mean(np.abs(eigenvalues - center)[:, None] < radii, axis=0)


def as_many(snapshot: gf.Snapshot, count: int) -> gf.Snapshot:
    """The same neurons again and again, to as many as others for which code has been compiled."""
    times = count // snapshot.neurons
    assert times * snapshot.neurons == count
    return gf.Snapshot(snapshot.cell, np.tile(snapshot.state, (times, 1)), np.tile(snapshot.preactivations, (times, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", EACH_ENSEMBLE)
def test_theory_against_networks(ensemble: gf.Ensemble) -> None:
    """[CKS 9, 43, 48–51]"""
    names = ensemble.cell.state_names
    networks = 2 if len(names) == 1 else 1
    field = settled(ensemble)
    neurons = half_of(field.snapshot)
    seen = gf.simulate(ensemble, size=SIZE, networks=networks, steps=200, seed=1)
    assert seen.regime == field.regime

    for name in names:
        value, error = field.variance[name].value, field.variance[name].error
        tolerance = allowed(f"variance, {field.regime}", networks, error=error, scale=value)
        assert abs(seen.variance[name].value - value) < tolerance, f"variance of {name}"

    radius = gf.spectral_radius(ensemble, neurons)
    tolerance = allowed("radius", networks, error=radius.error, scale=radius.value)
    assert abs(seen.spectral_radius.value - radius.value) < tolerance, "spectral radius"

    for center, r in ((c * radius.value, r * radius.value) for c, r in DISCS):
        mass = gf.spectral_mass(ensemble, neurons, center=center, radius=r)
        counts = seen.mass(center=center, radius=r).value
        tolerance = allowed("share", networks, error=mass.error, scale=len(names))
        assert abs(counts - mass.value) < tolerance, f"mass in a disc at {center:.2f} of radius {r:.2f}"

    radii = radius.value * FRACTIONS
    theory = share_within(ensemble, neurons, radii)
    counts = np.mean([counted_within(e, radii) for e in seen.eigenvalues], axis=0)
    error = mass.error / len(names)
    assert np.max(np.abs(theory - counts)) < allowed("share", networks, error=error), "Kolmogorov–Smirnov distance"

    own = share_within(ensemble, as_many(seen.snapshots[0], neurons.neurons), radii)
    counts = counted_within(seen.eigenvalues[0], radii)
    assert np.max(np.abs(own - counts)) < OWN / np.sqrt(SIZE), "Kolmogorov–Smirnov distance to its own neurons"


@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_share_is_the_mass(fraction: float) -> None:
    ensemble = next(iter(EACH_ENSEMBLE)).values[0]
    snapshot = half_of(settled(ensemble).snapshot)
    radius = fraction * gf.spectral_radius(ensemble, snapshot).value
    mass = gf.spectral_mass(ensemble, snapshot, radius=radius).value
    assert share_within(ensemble, snapshot, np.array([radius]))[0] == pytest.approx(mass, abs=1e-5)
