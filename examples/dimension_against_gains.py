"""Dimension of a GRU's attractor and its entropy rate at N = ∞, against the gain of each gate, beside networks.

A sweep over the cores of this machine, kept in a folder: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gatefield as gf

BASE = {"update": 2.0, "reset": 2.0, "candidate": 4.0}
GAINS = {
    "update": (0.0, 1.0, 2.0, 4.0, 8.0, 16.0),
    "reset": (0.0, 1.0, 2.0, 4.0, 8.0, 16.0),
    "candidate": (3.0, 4.0, 6.0, 9.0, 14.0, 20.0),
}
SHOWN = {
    "kaplan_yorke_dimension": ("#1f4e8c", r"dimension $D_{KY}/N$"),
    "entropy_rate": ("#c1272d", r"entropy rate $h/N$"),
}


def dimension(
    ensemble: gf.Ensemble, window: int, samples: int, size: int, network_steps: int, seed: int
) -> dict[str, Any]:
    """By theory, and of one network."""
    found = gf.lyapunov_spectrum(ensemble, window=window, samples=samples, points=14, seed=seed)
    network = gf.Network(ensemble, size=size, seed=seed).lyapunov_spectrum(network_steps, count=None)
    out: dict[str, Any] = {name: getattr(found, name) for name in SHOWN}
    out |= {f"network_{name}": getattr(network, name).value / size for name in SHOWN}
    return out | {"trusted": found.converged, "said": found.message}


def curves(results: xr.Dataset) -> Figure:
    """Both quantities against each gain; hollow where a result is not converged."""
    figure = Figure(figsize=(10.5, 5.4), layout="constrained")
    axes = figure.subplots(2, 3, sharey="row", sharex="col")
    for column, (varied, gains) in enumerate(GAINS.items()):
        others = [results[f"gain_{name}"] == value for name, value in BASE.items() if name != varied]
        line = results.isel(point=np.nonzero((others[0] & others[1]).values)[0]).sortby(f"gain_{varied}")
        x = line[f"gain_{varied}"].values
        for row, (name, (colour, label)) in enumerate(SHOWN.items()):
            ax, y = axes[row, column], line[name].values
            ax.errorbar(x, y, line[f"{name}_error"].values, color=colour, linewidth=1.4, capsize=2, zorder=2)
            trusted = line.trusted.values.astype(bool)
            ax.plot(x[trusted], y[trusted], "o", color=colour, markersize=4.5, zorder=3)
            ax.plot(x[~trusted], y[~trusted], "o", color=colour, markerfacecolor="white", markersize=4.5, zorder=3)
            ax.plot(x, line[f"network_{name}"].values, "x", color="black", markersize=6, zorder=4)
            ax.axvline(BASE[varied], color="0.75", linewidth=0.8, linestyle=":", zorder=0)
            ax.set_xlim(min(gains) - 0.5, max(gains) + 0.5)
            if column == 0:
                ax.set_ylabel(label)
        axes[1, column].set_xlabel(f"gain of the {varied}" + (" gate" if varied != "candidate" else ""))
    for ax in axes[:, 0]:
        ax.set_ylim(bottom=0.0)
    size = int(results.attrs["size"])
    keys = [
        Line2D([], [], color="0.3", marker="o", markersize=4.5, label="N = ∞"),
        Line2D([], [], color="0.3", marker="o", markersize=4.5, markerfacecolor="white", label="N = ∞, not converged"),
        Line2D([], [], color="black", marker="x", linestyle="", label=f"one network, N = {size}"),
    ]
    axes[0, 1].legend(handles=keys, fontsize=8, frameon=False)
    others = ", ".join(f"{name} {gain:g}" for name, gain in BASE.items())
    figure.suptitle(f"GRU with gains {others} where not varied (dotted)", fontsize=11)
    return figure


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--network-steps", type=int, default=300)
    parser.add_argument("--store", type=Path, help="folder that keeps the results")
    parser.add_argument("--output", type=Path, default=Path("dimension-against-gains.png"))
    options = parser.parse_args()
    points = {tuple({**BASE, name: gain}.values()) for name, gains in GAINS.items() for gain in gains}
    grid = [{f"gain_{name}": gain for name, gain in zip(BASE, point, strict=True)} for point in sorted(points)]
    arguments = {name: getattr(options, name) for name in ("window", "samples", "size", "network_steps")}
    ensemble = gf.Ensemble(gf.GRU(), gain=BASE)
    found = gf.sweep(dimension, grid, ensemble=ensemble, options=arguments, store=options.store)
    curves(found.assign_attrs(size=options.size)).savefig(options.output, dpi=140)


if __name__ == "__main__":
    main()
