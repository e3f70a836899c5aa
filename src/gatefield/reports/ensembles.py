"""What a large random network of an ensemble does: theory and simulation side by side."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.meanfield.causal import check_run
from gatefield.meanfield.sampled import MeanField, mean_field
from gatefield.networks.simulation import Simulation, check_memory, simulate
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.estimates import Estimate, stacked
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result, messages_of
from gatefield.running.arguments import finite, positive, whole
from gatefield.running.background import Background, shared_cores
from gatefield.spectra.curve import SpectralCurve, spectral_curve
from gatefield.spectra.dyson import UnsolvedWarning
from gatefield.spectra.spectrum import SLOW_RADIUS, SpectralField, spectral_density, spectral_mass
from gatefield.spectra.support import spectral_radius

_DRAWN = 4000  # neurons behind a picture of the density


@dataclass(frozen=True, eq=False, repr=False)
class Pair(Result):
    """One quantity by theory (N = ∞) and by simulation."""

    theory: Estimate
    simulation: Estimate

    @property
    def by_route(self) -> dict[str, Estimate]:
        """Both, by "theory" and "simulation"."""
        return {"theory": self.theory, "simulation": self.simulation}

    def description(self) -> Description:
        return Description({"value": Quantity(self.by_route, ("route",), json="")}, parts=self.by_route)


@dataclass(frozen=True, eq=False, repr=False)
class Report(Result):
    """Theory and simulation of one ensemble.

    Attributes:
        field, simulation: where the numbers come from.
        state_variances: by state variable.
        autocorrelation_time: of the last state variable, the one that other neurons see, in steps.
        spectral_radius: of the one-step Jacobian.
        fraction_of_slow_modes: share of its eigenvalues with |λ − 1| < `slow_radius`.
        curve, density: of the theory's spectrum.
    """

    ensemble: Ensemble
    field: MeanField
    simulation: Simulation
    state_variances: dict[str, Pair]
    autocorrelation_time: Pair
    spectral_radius: Pair
    fraction_of_slow_modes: Pair
    slow_radius: float
    curve: SpectralCurve
    density: SpectralField | None

    def description(self) -> Description:
        quantities = {
            f"variance_{name}": Quantity(pair.by_route, ("route",), json=f"state_variances.{name}")
            for name, pair in self.state_variances.items()
        } | {
            "autocorrelation_time": Quantity(self.autocorrelation_time.by_route, ("route",), "steps"),
            "spectral_radius": Quantity(self.spectral_radius.by_route, ("route",)),
            "fraction_of_slow_modes": Quantity(self.fraction_of_slow_modes.by_route, ("route",)),
        }
        facts = _facts(self.ensemble, self.field) | {
            "regime_in_simulation": self.simulation.regime, "slow_radius": self.slow_radius,
            "size": self.simulation.size, "networks": self.simulation.networks,
        }  # fmt: skip
        return Description(quantities, facts=facts)


def _facts(ensemble: Ensemble, field: MeanField) -> dict[str, Any]:
    return {
        "ensemble": ensemble, "regime": field.regime, "steps": field.steps, "samples": field.samples,
        "seed": field.seed,
    }  # fmt: skip


def report(
    ensemble: Ensemble,
    *,
    steps: int = 300,
    samples: int = 8000,
    size: int = 1000,
    networks: int = 3,
    seed: int = 0,
    slow_radius: float = SLOW_RADIUS,
    density: bool = True,
) -> Report:
    """Run the mean field and some networks and put their numbers side by side.

    Args:
        ensemble: the random networks.
        steps: length of both runs; averages are over the second half.
        samples: sampled neurons of the mean field.
        size: neurons per simulated network.
        networks: number of simulated networks.
        seed: of everything drawn.
        slow_radius: modes with |λ − 1| below it count as slow.
        density: whether to compute the density of eigenvalues on a grid, for the figure.

    Raises:
        ValueError: an argument out of its range, or a network that does not fit into memory.
    """
    slow_radius = positive("slow_radius", slow_radius)
    cell = ensemble.cell
    _check(ensemble, size, networks, steps, samples, seed)
    states, seen = len(cell.state_names), cell.state_names[-1]
    with shared_cores(), _noting_warnings() as noted:
        simulating = Background(simulate, ensemble, size=size, networks=networks, steps=steps, seed=seed)
        field = mean_field(ensemble, steps=steps, samples=samples, seed=seed)
        theory_slow = spectral_mass(ensemble, field.snapshot, center=1.0, radius=slow_radius)
        theory_radius = spectral_radius(ensemble, field.snapshot, size=min(size, field.snapshot.neurons))
        curve, drawn = _picture(ensemble, field, density, min(size, field.snapshot.neurons))
        simulation = simulating.result()
    simulated_slow = simulation.mass(center=1.0, radius=slow_radius)
    return Report(
        ensemble=ensemble,
        field=field,
        simulation=simulation,
        state_variances={n: Pair(field.variance[n], simulation.variance[n]) for n in cell.state_names},
        autocorrelation_time=Pair(field.autocorrelation_time(seen), simulation.autocorrelation_time(seen)),
        spectral_radius=Pair(theory_radius, simulation.spectral_radius),
        fraction_of_slow_modes=Pair(_per(states, theory_slow), _per(states, simulated_slow)),
        slow_radius=slow_radius,
        curve=curve,
        density=drawn,
        messages=_messages(field, simulation, noted),
    )


@contextmanager
def _noting_warnings() -> Iterator[list[str]]:
    """Collects what the solver warns of, for the result to carry."""
    noted: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnsolvedWarning)
        yield noted
    for warning in caught:
        if issubclass(warning.category, UnsolvedWarning):
            noted.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _messages(field: MeanField, simulation: Simulation | None, noted: Sequence[str]) -> tuple[str, ...]:
    said = messages_of({"mean field": field, "simulation": simulation})
    return (*said, *(f"spectrum: {what}" for what in noted))


def _check(ensemble: Ensemble, size: int, networks: int, steps: int, samples: int, seed: int) -> None:
    """Refuse bad arguments before anything runs, on either thread."""
    check_memory(ensemble, whole("size", size))
    whole("networks", networks)
    whole("seed", seed, 0)
    check_run(steps, samples)


def _per(count: int, estimate: Estimate) -> Estimate:
    return Estimate(estimate.value / count, estimate.error / count)


def _picture(
    ensemble: Ensemble, field: MeanField, density: bool, size: int | None
) -> tuple[SpectralCurve, SpectralField | None]:
    """The spectral curve of networks of a size, and the density on a grid around it where asked."""
    curve = spectral_curve(ensemble, field.snapshot, size=size)
    drawn = field.snapshot.thinned(_DRAWN)  # what is drawn needs no third digit
    return curve, spectral_density(ensemble, drawn, figure_grid(curve)) if density else None


def figure_grid(curve: SpectralCurve, points: int = 80) -> ComplexArray:
    """A grid of complex numbers around a spectral curve, symmetric about the real axis: (points, points)."""
    if not curve.contours:
        return np.zeros((1, 1), dtype=complex)
    z = np.concatenate(curve.contours)
    left, right, top = z.real.min(), z.real.max(), z.imag.max()
    margin = 0.05 * max(right - left, top)
    x, y = np.linspace(left - margin, right + margin, points), np.linspace(-top - margin, top + margin, points)
    return x[None, :] + 1j * y[:, None]


@dataclass(frozen=True, eq=False, repr=False)
class SpectrumReport(Result):
    """Spectral radius and masses in discs, by theory and, where asked, by simulation.

    Attributes:
        discs: (x, y, radius) of each.
        masses: modes within each disc, per neuron.
    """

    ensemble: Ensemble
    field: MeanField
    simulation: Simulation | None
    spectral_radius: Pair
    discs: list[tuple[float, float, float]]
    masses: list[Pair]
    curve: SpectralCurve
    density: SpectralField | None

    def description(self) -> Description:
        routes = ("theory", "simulation") if self.simulation else ("theory",)

        def known(pair: Pair) -> Mapping[str, Estimate]:
            return {route: pair.by_route[route] for route in routes}

        masses = [known(pair) for pair in self.masses]
        by_route = {route: stacked(mass[route] for mass in masses) for route in routes}
        x, y, radius = np.reshape(self.discs, (-1, 3)).T
        return Description(
            quantities={
                "spectral_radius": Quantity(known(self.spectral_radius), ("route",)),
                "mass": Quantity(by_route, ("route", "disc"), "1/neuron", "modes within each disc", json=""),
                "contours": Quantity(len(self.curve.contours)),
            },
            coordinates={name: Quantity(v, ("disc",)) for name, v in (("x", x), ("y", y), ("radius", radius))},
            facts=_facts(self.ensemble, self.field),
            parts={
                "discs": [
                    {"center": [x, y], "radius": r, "mass": mass}
                    for (x, y, r), mass in zip(self.discs, masses, strict=True)
                ],
            },
        )


def spectrum_report(
    ensemble: Ensemble,
    *,
    discs: list[tuple[float, float, float]],
    steps: int = 300,
    samples: int = 8000,
    seed: int = 0,
    size: int | None = None,
    networks: int = 1,
    density: bool = True,
) -> SpectrumReport:
    """Spectral radius, curve and masses of the steady state of an ensemble.

    Args:
        ensemble: the random networks.
        discs: (x, y, radius) of each disc in which to count modes.
        steps: length of both runs; averages are over the second half.
        samples: sampled neurons of the mean field.
        seed: of everything drawn.
        size: neurons per simulated network; no simulation without it.
        networks: number of simulated networks.
        density: whether to compute the density on a grid, for the figure.

    Raises:
        ValueError: an argument out of its range, or a network that does not fit into memory.
    """
    for x, y, r in discs:
        finite("disc center", x)
        finite("disc center", y)
        positive("disc radius", r)
    _check(ensemble, 1 if size is None else size, networks, steps, samples, seed)
    simulating = None
    if size is not None:
        simulating = Background(simulate, ensemble, size=size, networks=networks, steps=steps, seed=seed)
    with shared_cores(1 if simulating is None else 2), _noting_warnings() as noted:
        field = mean_field(ensemble, steps=steps, samples=samples, seed=seed)
        meant = None if size is None else min(size, field.snapshot.neurons)
        theory_radius = spectral_radius(ensemble, field.snapshot, size=meant)
        theory_masses = [spectral_mass(ensemble, field.snapshot, center=complex(x, y), radius=r) for x, y, r in discs]
        curve, drawn = _picture(ensemble, field, density, meant)
        simulation = simulating.result() if simulating else None
    unknown = Estimate(float("nan"), float("nan"))
    masses = [simulation.mass(center=complex(x, y), radius=r) if simulation else unknown for x, y, r in discs]
    return SpectrumReport(
        ensemble=ensemble,
        field=field,
        simulation=simulation,
        spectral_radius=Pair(theory_radius, simulation.spectral_radius if simulation else unknown),
        discs=discs,
        masses=[Pair(*both) for both in zip(theory_masses, masses, strict=True)],
        curve=curve,
        density=drawn,
        messages=_messages(field, simulation, noted),
    )
