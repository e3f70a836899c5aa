"""Results drawn on matplotlib Axes. Nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gatefield.cells.ensemble import Ensemble
    from gatefield.meanfield.sampled import MeanField
    from gatefield.numerics.algebra import ComplexArray
    from gatefield.numerics.estimates import Estimate
    from gatefield.reports.ensembles import Report, SpectrumReport
    from gatefield.spectra.curve import SpectralCurve
    from gatefield.spectra.spectrum import SpectralField


CURVE = {"color": "#d62728", "linewidth": 1.6}
DOTS = {"color": "black", "markersize": 1.6, "linestyle": "none", "marker": "o", "markeredgewidth": 0}


def plot_curve(axes: Axes, curve: SpectralCurve, **style: Any) -> None:
    """The spectral curve, all its contours."""
    label = style.pop("label", "spectral curve (theory)")
    for i, contour in enumerate(curve.contours):
        axes.plot(contour.real, contour.imag, label=label if i == 0 else None, **(CURVE | style))


def plot_eigenvalues(axes: Axes, eigenvalues: ComplexArray, **style: Any) -> None:
    """Eigenvalues as dots."""
    axes.plot(eigenvalues.real, eigenvalues.imag, **(DOTS | style))


def plot_density(axes: Axes, density: SpectralField) -> Any:
    """Density of eigenvalues on a rectangular grid, on a logarithmic scale."""
    values = np.where(density.value > 0.0, density.value, np.nan)
    found = values[np.isfinite(values)]
    if found.size == 0:
        return None
    top = np.quantile(found, 0.999)
    norm = LogNorm(vmin=np.clip(found.min(), 1e-3 * top, top / 4), vmax=top)
    x, y = density.points.real[0], density.points.imag[:, 0]
    return axes.pcolormesh(x, y, values, norm=norm, cmap="viridis", shading="nearest", rasterized=True)


def plot_autocorrelation(axes: Axes, lags: np.ndarray, theory: Estimate, simulation: Estimate | None = None) -> None:
    """Autocorrelation against lag, theory as a line with its error band, simulation as points with error bars."""
    axes.plot(lags, theory.value, color=CURVE["color"], label="mean field")
    axes.fill_between(
        lags, theory.value - theory.error, theory.value + theory.error, color=CURVE["color"], alpha=0.25, linewidth=0
    )
    if simulation is not None:
        kept = np.unique(np.round(np.linspace(0, len(lags) - 1, 26)).astype(int))
        axes.errorbar(
            kept,
            simulation.value[kept],
            simulation.error[kept],
            fmt="ko",
            markersize=3,
            linewidth=0.8,
            label="networks",
        )
    axes.set_xlabel("lag (steps)")
    axes.axhline(0.0, color="0.7", linewidth=0.6)


def plot_decay(axes: Axes, field: MeanField, name: str) -> None:
    """Second moment of a state variable in time, on a logarithmic scale."""
    moment = field.history[name].value
    shown = moment > 0.0
    axes.semilogy(np.arange(1, field.steps + 1)[shown], moment[shown], color=CURVE["color"], label="mean field")
    axes.set(title=f"Decay of {name}", xlabel="time (steps)", ylabel=f"E[{name}²]")


def plot_mean_field(field: MeanField) -> Figure:
    """Second moments of the state variables in time, and their autocorrelations."""
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    time = np.arange(1, field.steps + 1)
    for i, (name, moment) in enumerate(field.history.items()):
        style = {"color": f"C{i}", "linestyle": ("-", "--", ":")[i % 3]}
        left.plot(time, moment.value, label=f"E[{name}²]", **style)
        correlation = field.autocorrelation[name]
        right.plot(field.lags, correlation.value, label=f"$C_{{{name}}}$", **style)
        low, high = correlation.value - correlation.error, correlation.value + correlation.error
        right.fill_between(field.lags, low, high, color=f"C{i}", alpha=0.25, linewidth=0)
    left.axvspan(*field.window, color="0.88", zorder=0, label="averaged over")
    left.set(xlabel="time (steps)", ylabel="second moment", title="History", ylim=(0, None))
    right.set(xlabel="lag (steps)", ylabel="E[u(t) u(t + lag)]", title="Autocorrelation")
    right.axhline(0.0, color="0.7", linewidth=0.6)
    for axes in (left, right):
        axes.legend(frameon=False)
    figure.suptitle(_title(field.ensemble, field.regime))
    return figure


def plot_spectrum(result: SpectrumReport) -> Figure:
    """Eigenvalues of a network, where there is one, with the spectral curve and discs; the density."""
    figure = Figure(figsize=(10.5, 4.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.18])
    _draw_spectrum(figure, left, right, result)
    for x, y, r in result.discs:
        left.add_patch(Circle((x, y), r, fill=False, linestyle="--", edgecolor="#1f77b4", linewidth=1.4))
    figure.suptitle(_title(result.ensemble, result.field.regime))
    return figure


def plot_report(report: Report) -> Figure:
    """Eigenvalues of a network with the spectral curve; the density; the autocorrelation."""
    figure = Figure(figsize=(14.5, 4.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1.18, 0.85])
    _draw_spectrum(figure, left, middle, report)
    seen = report.ensemble.cell.state_names[-1]
    if report.field.regime == "quiescent":
        plot_decay(right, report.field, seen)
    else:
        plot_autocorrelation(
            right, report.field.lags, report.field.autocorrelation[seen], report.simulation.autocorrelation[seen]
        )
        right.set_title(f"Autocorrelation of {seen}")
        right.set_ylabel(f"E[{seen}(t) {seen}(t + lag)]")
        right.set_ylim(bottom=min(0.0, right.get_ylim()[0]))
    right.legend(frameon=False)
    figure.suptitle(_title(report.ensemble, report.field.regime))
    return figure


def _draw_spectrum(figure: Figure, left: Axes, right: Axes, result: Report | SpectrumReport) -> None:
    if result.simulation is not None:
        plot_eigenvalues(left, result.simulation.eigenvalues[0], label=f"eigenvalues, N = {result.simulation.size}")
    plot_curve(left, result.curve)
    left.set_title("One network" if result.simulation else "Support at N = ∞")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    image = None if result.density is None else plot_density(right, result.density)
    if image is not None:
        figure.colorbar(image, ax=right, label="eigenvalues per unit area and neuron", shrink=0.85)
    plot_curve(right, result.curve)
    right.set_title("Density at N = ∞")
    xs = [limit for axes in (left, right) for limit in axes.get_xlim()]
    ys = [limit for axes in (left, right) for limit in axes.get_ylim()]
    for axes in (left, right):
        axes.axvline(1.0, color="0.6", linewidth=0.6, linestyle=":")
        axes.set(aspect="equal", xlabel="Re λ", ylabel="Im λ", xlim=(min(xs), max(xs)), ylim=(min(ys), max(ys)))


def _title(ensemble: Ensemble, regime: str) -> str:
    return f"{ensemble.title()} — {regime}"
