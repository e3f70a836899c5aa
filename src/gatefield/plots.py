"""Results drawn on matplotlib Axes. Nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from gatefield.algebra import ComplexArray
    from gatefield.chaos import LyapunovReport
    from gatefield.diagrams import Diagram
    from gatefield.ensemble import Ensemble
    from gatefield.estimates import Estimate
    from gatefield.exponents import LyapunovSpectrum
    from gatefield.lyapunov import LargestExponent
    from gatefield.meanfield import MeanField
    from gatefield.pairs import Replicas
    from gatefield.reports import Report, SpectrumReport
    from gatefield.roots import ExcessCurve, FixedPoint
    from gatefield.spectrum import SpectralCurve, SpectralField
    from gatefield.training import Training

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


def plot_fixed_points(curve: ExcessCurve, points: Sequence[FixedPoint]) -> Figure:
    """The excess log(q'/q) against q with the roots on it, stable ones filled; the zero state is at the left end."""
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0.0, color="0.7", linewidth=0.6)
    axes.semilogx(curve.q, curve.excess, color="#1f77b4", linewidth=1.6)
    labels: set[str] = set()
    for point in points:
        place, marker, kind = (point.q, 0.0), "o", "root"
        if point.q == 0.0:
            place, marker, kind = (curve.q[0], curve.excess[0]), "s", "zero state"
        label = f"{'stable' if point.stable else 'unstable'} {kind}"
        fill = "full" if point.stable else "none"
        style = {"marker": marker, "markersize": 7, "linestyle": "none", "color": CURVE["color"], "fillstyle": fill}
        axes.plot(*place, label=None if label in labels else label, **style)
        labels.add(label)
    shown = curve.excess[curve.q <= max(curve.q[0], 2.0 * max(point.q for point in points))]
    reach = max(0.02, 1.3 * float(np.max(np.abs(shown))))
    fed = ", ".join(curve.fed) or "nothing"
    axes.set(xlabel=f"q = E[v²], v the source of {fed}", ylabel="log(q′/q)")
    axes.set(ylim=(-reach, min(reach, max(0.02, 1.2 * float(curve.excess.max())))))
    axes.set_title(curve.ensemble.title(), fontsize=10, wrap=True)
    axes.legend(frameon=False)
    return figure


REGIONS = {
    "zero stable, non-zero roots: 0": "#f2f2f2",
    "zero stable, non-zero roots: 2": "#b8dcb0",
    "zero unstable, non-zero roots: 1": "#c6d8ee",
    "zero unstable, non-zero roots: 3": "#e9c9e4",
}


def plot_diagram(result: Diagram) -> Figure:
    """Regions of static states, with folds, marginal stability, the critical line and the onset of chaos."""
    figure = Figure(figsize=(8.4, 5.4), layout="constrained")
    axes = figure.subplots()
    plane = result.plane
    name_x, name_y = plane.attrs["gain_x"], plane.attrs["gain_y"]
    x, y = plane[name_x].values, plane[name_y].values
    names = list(result.shares)
    colours = [REGIONS.get(name, f"C{i}") for i, name in enumerate(names)]
    image = ListedColormap(colours)
    axes.pcolormesh(x, y, plane.region.values, cmap=image, vmin=-0.5, vmax=len(names) - 0.5, rasterized=True)
    handles: list[Any] = [Patch(facecolor=c, edgecolor="0.6", label=n) for c, n in zip(colours, names, strict=True)]
    if plane.marginal.values.any():
        axes.contourf(x, y, plane.marginal.values, levels=[0.5, 1.5], colors="none", hatches=["//"])
        handles.append(Patch(facecolor="none", edgecolor="black", hatch="//", label="marginal stability"))
    if result.marginal is not None:
        order = np.argsort(result.marginal.gain_y)
        axes.plot(result.marginal.gain_x[order], result.marginal.gain_y[order], color="black", linewidth=1.0)
    if result.fold is not None:
        ends = [] if result.tricritical is None else [result.tricritical]
        points = np.array(ends + sorted(zip(result.fold.gain_x, result.fold.gain_y, strict=True), key=lambda p: p[1]))
        handles += axes.plot(*points.reshape(-1, 2).T, color="#2a7f1f", linewidth=2.0, label="fold")
    stable = plane.zero_stable.values
    if stable.any() and not stable.all():
        axes.contour(x, y, stable.astype(float), levels=[0.5], colors="#1f4e8c", linewidths=1.6, linestyles="--")
        handles.append(Line2D([], [], color="#1f4e8c", linestyle="--", linewidth=1.6, label="zero loses stability"))
    if result.tricritical is not None:
        handles += axes.plot(*result.tricritical, "k*", markersize=11, linestyle="none", label="tricritical point")
    if result.chaos is not None and len(result.chaos.gain_x):
        middle = (result.chaos.low + result.chaos.high) / 2
        style = {"color": CURVE["color"], "marker": "o", "markersize": 4, "linewidth": 1.6}
        handles += axes.plot(result.chaos.gain_x, middle, label="onset of chaos (constant update gate)", **style)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel=f"gain {name_x}", ylabel=f"gain {name_y}")
    axes.set_title(f"Static states of {result.ensemble.title()}", fontsize=10, wrap=True)
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
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


def plot_exponents(axes: Axes, spectrum: LyapunovSpectrum, **style: Any) -> None:
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


def plot_lyapunov(result: LyapunovReport) -> Figure:
    """Exponents of networks with the largest of theory; its convergence in time; the distance of two replicas."""
    panels = (2 if result.spectra else 0) + (result.pair is not None)
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
        exponents.set_title("Lyapunov exponents")
        convergence.set(
            xlabel="measured steps", ylabel="largest exponent so far (per step)", title="Convergence in time"
        )
    if result.pair is not None:
        plot_replicas(axes[-1], result.pair, theory)
        axes[-1].set_title("Two replicas, N = ∞")
        axes[-1].legend(frameon=False, fontsize=9)
    figure.suptitle(f"{result.ensemble.title()} — {theory.verdict}")
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


def plot_training(result: Training) -> Figure:
    """Loss and accuracy against the epoch, in training and on sequences kept back."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = np.arange(1, result.loss.shape[1] + 1)
        for prefix, style in (("", {"color": "#1f4e8c"}), ("test_", {"color": "#d62728", "linestyle": "--"})):
            rows = getattr(result, prefix + name)
            label = "test" if prefix else "training"
            for i, row in enumerate(rows):
                axes.plot(epochs, row, label=label if i == 0 else None, marker="o", markersize=3, **style)
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend(frameon=False)
    figure.suptitle(result.task)
    return figure
