"""Chaos of an ensemble: exponents of infinite and finite networks side by side, and how they agree as N grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.chaos.distribution import LyapunovDistribution, lyapunov_spectrum
from gatefield.chaos.largest import LargestExponent, lyapunov_max
from gatefield.chaos.pairs import Replicas, replicas
from gatefield.networks.exponents import MeasuredExponents
from gatefield.networks.network import Network
from gatefield.numerics.estimates import Estimate, from_batches, stacked
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result, messages_of
from gatefield.running.arguments import whole
from gatefield.running.progress import track

_SIMULATED = {
    "largest": "1/step", "mean": "1/step", "kaplan_yorke_dimension": "1", "entropy_rate": "nats/step",
    "participation_ratio": "1", "fraction_positive": "1",
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class LyapunovReport(Result):
    """Lyapunov exponents of an ensemble by theory and, where asked for, of networks.

    Attributes:
        theory: λ_max at N = ∞.
        spectra: one per simulated network.
        distribution: all exponents at N = ∞; None where not asked for.
        pair: distance of two replicas at N = ∞, for the figure; None where not asked for.
    """

    theory: LargestExponent
    spectra: tuple[MeasuredExponents, ...]
    pair: Replicas | None
    distribution: LyapunovDistribution | None = None

    @property
    def ensemble(self) -> Ensemble:
        """What it is of."""
        return self.theory.ensemble

    def simulated(self, name: str, *, per_neuron: bool = False) -> Estimate:
        """A quantity of `MeasuredExponents`, mean over the networks; of one alone, with its error in time."""
        scale = self.spectra[0].neurons if per_neuron else 1
        found = [getattr(s, name) for s in self.spectra]
        mean = found[0] if len(found) == 1 else from_batches([e.value for e in found])
        return Estimate(mean.value / scale, mean.error / scale)

    def description(self) -> Description:
        optional = {"distribution": self.distribution, "replicas": self.pair}
        return Description(
            quantities={
                f"simulation_{name}": Quantity(
                    stacked([getattr(s, name) for s in self.spectra]), ("network",), unit, "simulation", json=""
                )
                for name, unit in _SIMULATED.items()
                if self.spectra
            },
            facts={"ensemble": self.ensemble, "verdict": self.theory.verdict, "regime": self.theory.field.regime},
            parts={"theory": self.theory, "simulation": self.spectra}
            | {name: part for name, part in optional.items() if part is not None},
        )


def lyapunov_report(
    ensemble: Ensemble,
    *,
    steps: int = 400,
    samples: int = 8000,
    seed: int = 0,
    size: int | None = None,
    networks: int = 1,
    count: int | None = 50,
    pair: bool = False,
    window: int | None = None,
) -> LyapunovReport:
    """Lyapunov exponents by theory and by simulation.

    Args:
        ensemble: the random networks.
        steps: of the mean field, and measured steps of each network after its transient.
        samples: sampled neurons of the mean field; a quarter of them also over whole windows.
        seed: of everything drawn; network j has the seed seed + j.
        size: neurons of each network; none is simulated without it.
        networks: how many.
        count: how many exponents of each network, as many as there are at the most; None: all.
        pair: whether to follow two replicas too.
        window: of `lyapunov_spectrum`, for all exponents at N = ∞; None: only the largest.

    Raises:
        ValueError: an argument out of its range, or a network that does not fit into memory.
    """
    networks = whole("networks", networks)
    spectra = []
    if size is not None:
        largest = whole("size", size) * len(ensemble.cell.state_names)
        count = None if count is None else min(whole("count", count), largest)
        for j in track(range(networks), "networks"):
            network = Network(ensemble, size=size, seed=seed + j)
            spectra.append(network.lyapunov_spectrum(steps, count=count, seed=seed + j))
    if window is None:
        distribution = None
        theory = lyapunov_max(ensemble, steps=steps, samples=samples, seed=seed)
    else:
        windows = max(16, whole("samples", samples) // 4)
        distribution = lyapunov_spectrum(
            ensemble, window=window, samples=windows, steps=max(64, whole("steps", steps)), seed=seed
        )
        theory = distribution.largest
    follow = None
    if pair:
        rate = min(abs(theory.value), 1.0) if np.isfinite(theory.value) else 1.0
        long_enough = int(np.clip(14.0 / max(rate, 1e-3), 60, 600))
        follow = replicas(ensemble, steps=long_enough, settle=steps // 2, samples=samples, seed=seed)
    networks_by_name = {f"network {j}": s for j, s in enumerate(spectra)}
    said = messages_of({"mean field": theory, **networks_by_name, "spectrum at N = ∞": distribution})
    return LyapunovReport(theory, tuple(spectra), follow, distribution, messages=said)


@dataclass(frozen=True, eq=False, repr=False)
class SizeScaling(Result):
    """Exponents of networks of several sizes, extrapolated linearly in 1/N.

    Attributes:
        sizes: N.
        networks: how many of each size.
        values: by name, at each size: "largest", "kaplan_yorke_dimension" and "entropy_rate" (both per neuron),
            "mean"; errors are between networks. NaN where more exponents are needed.
        limits: at N → ∞, by name.
        slopes: value − limit = slope/N, by name.
    """

    ensemble: Ensemble
    sizes: np.ndarray
    networks: int
    values: dict[str, Estimate]
    limits: dict[str, Estimate]
    slopes: dict[str, Estimate]

    def description(self) -> Description:
        quantities = {}
        for name in self.values:
            units = "1/step" if name in ("largest", "mean") else "1/neuron"
            quantities |= {
                name: Quantity(self.values[name], ("size",), units, json=f"values.{name}"),
                f"{name}_limit": Quantity(self.limits[name], (), units, json=f"limits.{name}"),
                f"{name}_slope": Quantity(self.slopes[name], (), f"neurons·{units}", json=f"slopes.{name}"),
            }
        return Description(
            quantities,
            coordinates={"size": Quantity(self.sizes, units="neurons", json="sizes")},
            facts={"ensemble": self.ensemble, "networks": self.networks},
        )


_PER_NEURON = ("kaplan_yorke_dimension", "entropy_rate")


def lyapunov_sizes(
    ensemble: Ensemble,
    *,
    sizes: Sequence[int] = (500, 1000, 2000),
    networks: int = 4,
    steps: int = 600,
    count: int | None = 1,
    transient: int | None = None,
    seed: int = 0,
    dtype: str = "float32",
) -> SizeScaling:
    """Lyapunov exponents against N, and their limit.

    Args:
        ensemble: the random networks.
        sizes: at least two different N.
        networks: of each size, at least 2.
        steps: measured steps of each.
        count: how many exponents; None: all.
        transient: as in `Network.lyapunov_spectrum`.
        seed: of the first network of each size.
        dtype: of the networks.

    Raises:
        ValueError: an argument out of its range, or a network that does not fit into memory.
    """
    sizes, networks = [whole("sizes", n) for n in sizes], whole("networks", networks, 2)
    if len(set(sizes)) < 2:
        raise ValueError(f"sizes={sizes} must hold at least two different sizes")
    names = ("largest", *_PER_NEURON, "mean")
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    for n in sizes:
        drawn = []
        for j in track(range(networks), f"networks of {n}"):
            network = Network(ensemble, size=n, seed=seed + j, dtype=dtype)
            drawn.append(network.lyapunov_spectrum(steps, count=count, transient=transient, seed=seed + j))
        for name in names:
            scale = n if name in _PER_NEURON else 1
            found[name].append([getattr(s, name).value / scale for s in drawn])
    values = {name: from_batches(np.array(rows).T) for name, rows in found.items()}
    fits = {name: _extrapolate(np.array(sizes), e) for name, e in values.items()}
    limits, slopes = ({name: fit[i] for name, fit in fits.items()} for i in (0, 1))
    return SizeScaling(ensemble, np.array(sizes), networks, values, limits, slopes)


def _extrapolate(sizes: np.ndarray, at: Estimate) -> tuple[Estimate, Estimate]:
    """Limit and slope of value = limit + slope/N by weighted least squares."""
    if not np.all(np.isfinite(at.value)):
        unknown = Estimate(float("nan"), float("nan"))
        return unknown, unknown
    weight = 1.0 / np.maximum(at.error, 1e-12)
    design = np.stack([np.ones(len(sizes)), 1.0 / sizes], axis=1) * weight[:, None]
    covariance = np.linalg.inv(design.T @ design)
    best = covariance @ design.T @ (at.value * weight)
    limit, slope = (Estimate(float(v), float(e)) for v, e in zip(best, np.sqrt(np.diag(covariance)), strict=True))
    return limit, slope
