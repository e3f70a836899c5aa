"""Panels that several figures share: spectra with their interior, radii against gains, eigenvalues near 1.

Each is theory (N = ∞) and simulation (one or a few networks) of the same ensembles, as labelled arrays. Networks run
on a second thread while the theory is solved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.meanfield.sampled import mean_field
from gatefield.networks.network import Network, eigenvalues
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.reports.ensembles import figure_grid
from gatefield.reports.scaling import accumulation_fit
from gatefield.results.description import Description, Quantity, from_dataset
from gatefield.results.result import Result
from gatefield.running.background import Background
from gatefield.spectra.curve import spectral_curve
from gatefield.spectra.spectrum import SLOW_RADIUS, spectral_density, spectral_mass
from gatefield.spectra.support import spectral_radius


@dataclass(frozen=True)
class Scale:
    """How large and how long: `size` neurons and `steps` per network, `samples` of the mean field.

    `networks` are run where single ones scatter; `points` of each curve come from simulation; `grid` points across a
    density.
    """

    size: int = 1000
    steps: int = 500
    samples: int = 4000
    networks: int = 2
    points: int = 7
    grid: int = 72


PAPER = Scale()
QUICK = Scale(size=200, steps=100, samples=800, networks=1, points=4, grid=40)


@dataclass(frozen=True, eq=False, repr=False)
class FigureData(Result):
    """The numbers of a figure.

    Attributes:
        name: such as "cks1".
        panels: by letter.
    """

    name: str
    panels: Mapping[str, xr.Dataset]
    scale: Scale
    seed: int

    def __post_init__(self) -> None:
        unsolved = [letter for letter, panel in self.panels.items() if not panel.attrs.get("density_converged", True)]
        said = tuple(f"panel {letter}: the density has not converged; take more samples" for letter in unsolved)
        object.__setattr__(self, "messages", said)

    def description(self) -> Description:
        """All panels in one; names begin with the panel's letter."""
        panels = {letter: from_dataset(panel) for letter, panel in self.panels.items()}
        facts: dict[str, Any] = {"figure": self.name, "seed": self.seed, **vars(self.scale)}
        for letter, panel in panels.items():
            facts |= {f"{letter}_{key}": value for key, value in panel.facts.items() if key != "gatefield_version"}

        def lettered(letter: str, group: Mapping[str, Quantity]) -> dict[str, Quantity]:
            return {
                f"{letter}_{name}": replace(q, dims=tuple(f"{letter}_{d}" for d in q.dims)) for name, q in group.items()
            }

        quantities, coordinates = {}, {}
        for letter, panel in panels.items():
            quantities |= lettered(letter, panel.quantities)
            coordinates |= lettered(letter, panel.coordinates)
        return Description(quantities, coordinates, facts)


# ---- networks, on the second thread ----


@dataclass(frozen=True, eq=False)
class Sample:
    """One network at the end of its run."""

    snapshot: Snapshot
    eigenvalues: ComplexArray


Simulated = dict[str, list[Sample]]


def simulate_all(ensembles: Mapping[str, tuple[Ensemble, int]], scale: Scale, seed: int) -> Background[Simulated]:
    """So many networks of each ensemble, one after the other, beside what the caller does."""

    def run() -> Simulated:
        with threadpool_limits(1):  # the other core is for the theory
            return {
                key: [_sample(ensemble, scale, seed + j) for j in range(count)]
                for key, (ensemble, count) in ensembles.items()
            }

    return Background(run)


def _sample(ensemble: Ensemble, scale: Scale, seed: int) -> Sample:
    network = Network(ensemble, size=scale.size, seed=seed)
    snapshot = network.run(scale.steps, seed=seed, record=1).snapshot()
    return Sample(snapshot, eigenvalues(network.jacobian(snapshot)))


def steady_state(ensemble: Ensemble, scale: Scale, seed: int) -> Snapshot:
    """Neurons of an infinite network after as many steps as the networks run."""
    return mean_field(ensemble, steps=scale.steps, samples=scale.samples, seed=seed).snapshot


# ---- panels ----


def spectrum_panel(ensemble: Ensemble, snapshot: Snapshot, scale: Scale) -> xr.Dataset:
    """Theory of a spectrum: curve, interior density and the number of eigenvalues within |λ| < r."""
    curve = spectral_curve(ensemble, snapshot)
    z = np.concatenate([np.zeros(0, np.complex128), *curve.contours])
    field = spectral_density(ensemble, snapshot, figure_grid(curve, scale.grid))
    radii = np.linspace(0.1, 1.05, 14) * max(np.max(np.abs(z), initial=0.0), 0.1)
    masses = [spectral_mass(ensemble, snapshot, radius=float(r)) for r in radii]
    radius = spectral_radius(ensemble, snapshot)
    per_area = {"units": "eigenvalues per unit area and neuron", "source": "theory", "atoms": "left out"}
    return xr.Dataset(
        {
            "curve_real": ("point", z.real, {"units": "1", "source": "CKS 15, 30"}),
            "curve_imaginary": ("point", z.imag, {"units": "1", "source": "CKS 15, 30"}),
            "contour": ("point", np.repeat(np.arange(len(curve.contours)), [len(c) for c in curve.contours])),
            "density": (("y", "x"), field.value, per_area),
            **columns("mass", "radius", masses, "theory", "1/neuron"),
        },
        coords={"x": field.points.real[0], "y": field.points.imag[:, 0], "radius": radii},
        attrs={
            "ensemble": json.dumps(ensemble.describe()), "spectral_radius": radius.value,
            "spectral_radius_error": radius.error, "density_converged": int(field.converged),
        },
    )  # fmt: skip


def with_eigenvalues(panel: xr.Dataset, sample: Sample) -> xr.Dataset:
    """The panel with a network's eigenvalues, and how many of them lie within |λ| < r."""
    found = sample.eigenvalues
    counts = [np.count_nonzero(np.abs(found) < r) / sample.snapshot.neurons for r in panel.radius.values]
    source = {"source": "simulation"}
    return panel.assign(
        eigenvalue_real=("mode", found.real, {"units": "1"} | source),
        eigenvalue_imaginary=("mode", found.imag, {"units": "1"} | source),
        mass_counted=("radius", counts, {"units": "1/neuron"} | source),
    ).assign_attrs(spectral_radius_counted=float(np.abs(found).max()))


def near_one(samples: Sequence[Sample], radius: float) -> Estimate:
    """Eigenvalues with |λ − 1| < radius per neuron, counted in networks."""
    counts = [np.count_nonzero(np.abs(s.eigenvalues - 1.0) < radius) / s.snapshot.neurons for s in samples]
    return from_batches(counts)


def accumulation_panel(
    ensembles: Mapping[float, Ensemble],
    snapshots: Mapping[float, Snapshot],
    *,
    shown: Sequence[float],
    limit: Callable[[Ensemble, Snapshot], float],
) -> xr.Dataset:
    """Eigenvalues near 1 in theory: against a gate's gain, with fit [CKS 93] and limit [CKS 92]; against r.

    Args:
        ensembles: by gain.
        snapshots: neurons of the mean field of each.
        shown: gains whose P(|λ − 1| < r) is shown against r.
        limit: the share that a binary gate would have.
    """
    gains = np.array(list(ensembles))
    shares = [spectral_mass(e, snapshots[g], center=1.0, radius=SLOW_RADIUS) for g, e in ensembles.items()]
    fit, fine = accumulation_fit(gains, [t.value for t in shares]), np.linspace(gains[0], gains[-1], 100)
    radii = np.geomspace(0.01, 1.0, 9)
    cdf = [[spectral_mass(ensembles[g], snapshots[g], center=1.0, radius=float(r)).value for r in radii] for g in shown]
    limits = [limit(e, snapshots[g]) for g, e in ensembles.items()]
    units = {"units": "1/neuron"}
    return xr.Dataset(
        {
            **columns("share", "gain", shares, "theory", "1/neuron"),
            "share_fitted": ("fine", fit.share(fine), units | {"source": "CKS 93"}),
            "share_limit": ("gain", limits, units | {"source": "CKS 92"}),
            "cdf": (("shown", "r"), cdf, units | {"source": "theory"}),
        },
        coords={"gain": gains, "fine": fine, "shown": list(shown), "r": radii},
        attrs={"near": SLOW_RADIUS, "c1": fit.c1.value, "c2": fit.c2.value, "fit_residual": fit.residual},
    )


def with_counts(panel: xr.Dataset, samples: Mapping[float, Sequence[Sample]]) -> xr.Dataset:
    """The panel with the eigenvalues near 1 of networks, by gain."""
    counted = [near_one(samples[g], SLOW_RADIUS) for g in panel.gain.values.tolist()]
    radii, shown = panel.r.values.tolist(), panel.shown.values.tolist()
    cdf = [[near_one(samples[g], r).value for r in radii] for g in shown]
    found = columns("share_counted", "gain", counted, "simulation", "1/neuron")
    found["cdf_counted"] = (("shown", "r"), cdf, {"units": "1/neuron", "source": "simulation"})
    return panel.assign(found).assign_attrs(networks=max(len(group) for group in samples.values()))


def radii_of(dim: str, groups: Sequence[Sequence[Sample]]) -> tuple[tuple[str, str], Any, dict[str, str]]:
    """Spectral radius of each network, along a dimension and by network."""
    radii = [[float(np.max(np.abs(s.eigenvalues))) for s in samples] for samples in groups]
    return (dim, "network"), radii, {"units": "1", "source": "simulation"}


def columns(name: str, dim: str, values: Sequence[Estimate], source: str, units: str = "1") -> dict[str, Any]:
    """Estimates along a dimension, with their errors."""
    attrs = {"units": units, "source": source}
    return {
        name: (dim, [float(v.value) for v in values], attrs),
        f"{name}_error": (dim, [float(v.error) for v in values], attrs),
    }
