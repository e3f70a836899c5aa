"""Static states and phase diagrams as figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gatefield.phases.roots import ExcessCurve, FixedPoint
    from gatefield.reports.diagrams import Diagram

from gatefield.plots.spectra import CURVE


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
