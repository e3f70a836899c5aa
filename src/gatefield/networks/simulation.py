"""Several networks of one ensemble, run and measured: what the theory is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.regime import classify, return_distances
from gatefield.cells.snapshot import Snapshot
from gatefield.networks.network import Network, Path, eigenvalues
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.correlation import decay_time
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import known_names, whole
from gatefield.running.background import Background
from gatefield.running.memory import require
from gatefield.running.progress import track


@dataclass(frozen=True, eq=False, repr=False)
class Simulation(Result):
    """Measurements on independent networks; errors are standard errors between them.

    Averages run over neurons and the second half of the run; mappings are keyed by state variable and pre-activation.

    Attributes:
        mean, variance, autocorrelation, lags: as in `MeanField`.
        eigenvalues: of the one-step Jacobian at the last step, one array of D·N per network.
        snapshots: at the last step, one per network.
        regime, period: as in `MeanField`, from all networks together; `messages` says if it is still settling.
    """

    ensemble: Ensemble
    size: int
    networks: int
    steps: int
    seed: int
    mean: Mapping[str, Estimate]
    variance: Mapping[str, Estimate]
    autocorrelation: Mapping[str, Estimate]
    lags: np.ndarray
    eigenvalues: tuple[ComplexArray, ...]
    snapshots: tuple[Snapshot, ...]
    correlations: Mapping[str, np.ndarray]
    regime: str
    period: int = 1

    @property
    def spectral_radius(self) -> Estimate:
        """Largest modulus of an eigenvalue."""
        return from_batches([np.max(np.abs(e)) for e in self.eigenvalues])

    def mass(self, *, center: complex = 0.0, radius: float) -> Estimate:
        """Number of eigenvalues within a disc, per neuron."""
        return from_batches([np.count_nonzero(np.abs(e - center) < radius) / self.size for e in self.eigenvalues])

    def autocorrelation_time(self, name: str) -> Estimate:
        """Lag at which `name`'s centred autocorrelation has fallen to 1/e; infinite beyond `lags`, or if periodic."""
        known_names("name", [name], tuple(self.autocorrelation), "the simulation")
        if self.regime == "quiescent":
            return Estimate(float("nan"), float("nan"))
        if self.regime == "periodic":
            return Estimate(float("inf"), float("nan"))
        times = [decay_time(c - self.mean[name].value ** 2).value for c in self.correlations[name]]
        return from_batches(times) if np.all(np.isfinite(times)) else Estimate(float("inf"), float("nan"))

    def description(self) -> Description:
        return Description(
            quantities={
                "spectral_radius": Quantity(self.spectral_radius),
                "mean": Quantity(self.mean, ("variable",), source="E[u]"),
                "variance": Quantity(self.variance, ("variable",), source="E[u²] − E[u]², CKS 39–44, 50–51"),
                "autocorrelation": Quantity(
                    self.autocorrelation, ("variable", "lag"), source="E[u(t) u(t + lag)], CKS 42, 51"
                ),
                "eigenvalue": Quantity(np.stack(self.eigenvalues), ("network", "mode"), json="eigenvalues"),
            },
            coordinates={"lag": Quantity(self.lags, units="steps", json="lags")},
            facts={
                "ensemble": self.ensemble, "size": self.size, "networks": self.networks, "steps": self.steps,
                "seed": self.seed, "regime": self.regime, "message": self.message, "period": self.period,
            },
        )  # fmt: skip


def simulate(
    ensemble: Ensemble, *, size: int = 1000, networks: int = 3, steps: int = 300, seed: int = 0, initial: float = 0.6
) -> Simulation:
    """Draw networks, run each from a random start, and take the eigenvalues of its Jacobian at the end.

    Args:
        ensemble: the random networks.
        size: neurons N per network.
        networks: how many.
        steps: length of each run, at least 8; averages are over its second half.
        seed: of everything drawn; network j has the seeds of `Network(ensemble, size=size, seed=seed + j)`.
        initial: standard deviation of every state variable at the start.

    Raises:
        ValueError: an argument out of its range, or a network that does not fit into memory.
    """
    size, networks, steps = whole("size", size), whole("networks", networks), whole("steps", steps, 8)
    check_memory(ensemble, size)
    paths: list[Path] = []
    spectra: list[Background[ComplexArray]] = []
    for j in track(range(networks), "networks"):
        network = Network(ensemble, size=size, seed=seed + j)
        paths.append(network.run(steps, seed=seed + j, initial=initial))
        if spectra:  # LAPACK takes one core while the next network runs on the other
            spectra[-1].result()
        spectra.append(Background(eigenvalues, network.jacobian(paths[-1].snapshot())))
    return _collect(ensemble, paths, tuple(future.result() for future in spectra), seed)


def check_memory(ensemble: Ensemble, size: int) -> None:
    """Refuse networks that do not fit into memory with their Jacobian."""
    d, k = len(ensemble.cell.state_names), len(ensemble.names)
    require((k + 2) * d * size**2 * 8 + k * size**2 * 8, what="a network and its Jacobian", size=size)


def returns_of(path: Path) -> np.ndarray:
    """How far the states of a run are from those some steps before, in its middle and at its end."""
    every = np.concatenate([path.before[:1], path.states], dtype=np.float64)
    return np.array(return_distances(every, path.steps // 2))


def _collect(ensemble: Ensemble, paths: list[Path], found: tuple[ComplexArray, ...], seed: int) -> Simulation:
    names = (*ensemble.cell.state_names, *ensemble.names)
    steps = paths[0].steps
    energies = np.array([np.mean(p.states**2, axis=1).sum(axis=1) for p in paths])
    motion = np.mean([np.mean((p.states - p.before) ** 2, axis=1).sum(axis=1) for p in paths], axis=0)
    returns = np.mean([returns_of(p) for p in paths], axis=0)
    regime, message, period = classify(ensemble, energies, motion, returns, steps // 2)
    correlations = {n: np.stack([p.autocorrelation[n] for p in paths]) for n in names}
    return Simulation(
        ensemble=ensemble,
        size=len(paths[0].last),
        networks=len(paths),
        steps=steps,
        seed=seed,
        mean={n: from_batches([p.mean[n] for p in paths]) for n in names},
        variance={n: from_batches([p.variance[n] for p in paths]) for n in names},
        autocorrelation={n: from_batches(c) for n, c in correlations.items()},
        lags=np.arange(correlations[names[0]].shape[1]),
        eigenvalues=found,
        snapshots=tuple(p.snapshot() for p in paths),
        correlations=correlations,
        regime=regime,
        period=period,
        messages=(message,) if message else (),
    )
