"""Lyapunov exponents and replicas as figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gatefield.chaos.distribution import LyapunovDistribution
    from gatefield.chaos.largest import LargestExponent
    from gatefield.chaos.pairs import Replicas
    from gatefield.networks.exponents import MeasuredExponents
    from gatefield.reports.lyapunov import LyapunovReport

from gatefield.plots.spectra import CURVE

_INFINITE = "#1f77b4"  # all exponents at N = ∞, beside the line of the largest


def plot_exponents(axes: Axes, spectrum: MeasuredExponents, **style: Any) -> None:
    """Lyapunov exponents against their rank per degree of freedom, with error bars where they are few."""
    rank = (np.arange(spectrum.count) + 0.5) / spectrum.dimension
    style = {"color": "black", "markersize": 2.5, "linestyle": "none", "marker": "o", "linewidth": 0.8} | style
    if spectrum.count <= 100:
        axes.errorbar(rank, spectrum.exponents.value, spectrum.exponents.error, **style)
    else:
        axes.plot(rank, spectrum.exponents.value, **style)
    axes.axhline(0.0, color="0.7", linewidth=0.6)
    axes.set(xlabel="rank of the exponent / (D·N)", ylabel="exponent (per step)")


def plot_replicas(axes: Axes, pair: Replicas, theory: LargestExponent | None = None) -> None:
    """Squared distance of two replicas in time, with the slope that the largest exponent gives it."""
    for i, (name, distance) in enumerate(pair.distance.items()):
        share = distance.value / np.maximum(2.0 * pair.variance[name].value, 1e-300)
        shown = share > 0.0
        style = {"color": "black", "linestyle": ("-", "--", ":")[i % 3]}
        axes.semilogy(pair.times[shown], share[shown], label=f"E({name}′ − {name})² / 2 Var {name}", **style)
    if theory is not None and np.isfinite(theory.value):
        first = next(iter(pair.distance))
        start = pair.distance[first].value / (2.0 * pair.variance[first].value)
        at = min(len(start) - 1, max(2, len(start) // 10))
        line = start[at] * np.exp(2.0 * theory.value * (pair.times - pair.times[at]))
        shown = (line < 1.0) & (line > 1e-28) & (pair.times >= pair.times[at])
        axes.semilogy(pair.times[shown], line[shown], label=r"$\exp(2 \lambda_{\max} t)$, tangent mean field", **CURVE)
    axes.axhline(1.0, color="0.7", linewidth=0.6)
    axes.set(xlabel="time since they parted (steps)", ylabel="squared distance (1: uncorrelated)")


def plot_distribution(axes: Axes, result: LyapunovDistribution, **style: Any) -> None:
    """Exponents of an infinite network against their rank per degree of freedom, with a band for the error."""
    known = 1.0 - float(np.min(result.fraction.value))
    x = np.linspace(0.0, known, 400)
    exponents = result.exponents(1.0 - x)
    axes.plot(x, exponents.value, color=_INFINITE, **style)
    low, high = exponents.value - exponents.error, exponents.value + exponents.error
    axes.fill_between(x, low, high, color=_INFINITE, alpha=0.2, linewidth=0)
    axes.set(xlabel="rank of the exponent / (D·N)", ylabel="exponent (per step)")


def plot_lyapunov(result: LyapunovReport) -> Figure:
    """Exponents of networks with the largest of theory; its convergence in time; the distance of two replicas."""
    panels = 2 * bool(result.spectra) + (result.pair is not None)
    panels += not result.spectra and result.distribution is not None
    figure = Figure(figsize=(5.0 * max(panels, 1), 4.4), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, max(panels, 1))))
    theory = result.theory
    if result.spectra:
        exponents, convergence = axes[:2]
        for j, spectrum in enumerate(result.spectra):
            label = f"network{'s' if len(result.spectra) > 1 else ''}, N = {spectrum.neurons}" if j == 0 else None
            plot_exponents(exponents, spectrum, label=label)
            convergence.plot(spectrum.times, spectrum.convergence["largest"], "k.-", linewidth=0.8, label=label)
        for one in (exponents, convergence):
            one.axhline(theory.value, label=r"$\lambda_{\max}$, N = ∞", **CURVE)
            one.axhspan(theory.value - theory.error, theory.value + theory.error, color=CURVE["color"], alpha=0.2, lw=0)
            one.legend(frameon=False)
        if result.distribution is not None:
            plot_distribution(exponents, result.distribution, label="all exponents, N = ∞")
            exponents.legend(frameon=False)
        exponents.set_title("Lyapunov exponents")
        convergence.set(
            xlabel="measured steps", ylabel="largest exponent so far (per step)", title="Convergence in time"
        )
    elif result.distribution is not None:
        plot_distribution(axes[0], result.distribution)
        axes[0].set_title("Lyapunov exponents, N = ∞")
    if result.pair is not None:
        plot_replicas(axes[-1], result.pair, theory)
        axes[-1].set_title("Two replicas, N = ∞")
        axes[-1].legend(frameon=False, fontsize=9)
    figure.suptitle(f"{result.ensemble.title()} — {theory.verdict}")
    return figure
