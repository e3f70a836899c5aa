"""Dimension of a GRU's attractor and its entropy rate at N = ∞, against the gain of each gate."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gatefield as gf

BASE = {"update": 2.0, "reset": 2.0, "candidate": 4.0}
GAINS = {
    "update": (0.0, 1.0, 2.0, 4.0, 8.0, 16.0),
    "reset": (0.0, 1.0, 2.0, 4.0, 8.0, 16.0),
    "candidate": (3.0, 4.0, 6.0, 9.0, 14.0, 20.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--output", type=Path, default=Path("dimension-against-gains.png"))
    options = parser.parse_args()
    figure = Figure(figsize=(10.5, 5.4), layout="constrained")
    axes = figure.subplots(2, 3, sharey="row", sharex="col")
    for column, (name, gains) in enumerate(GAINS.items()):
        found, trusted = [], []
        for gain in gains:
            ensemble = gf.Ensemble(gf.GRU(), gain={**BASE, name: gain})
            result = gf.lyapunov_spectrum(ensemble, window=options.window, samples=options.samples, points=14)
            found.append((result.kaplan_yorke_dimension, result.entropy_rate))
            trusted.append(result.converged)
            print(name, gain, *found[-1], result.message, flush=True)
        for row, colour in enumerate(("#1f4e8c", "#c1272d")):
            values = [pair[row] for pair in found]
            axes[row, column].errorbar(
                gains, [v.value for v in values], [v.error for v in values], color=colour, marker="o", markersize=4,
                linewidth=1.4, capsize=2,
            )  # fmt: skip
            doubtful = [(g, v.value) for g, v, good in zip(gains, values, trusted, strict=True) if not good]
            axes[row, column].plot(
                *np.transpose(doubtful or [(np.nan, np.nan)]), "o", color="white", markersize=2.2, zorder=9
            )
            axes[row, column].axvline(BASE[name], color="0.75", linewidth=0.8, linestyle=":")
        axes[1, column].set_xlabel(f"gain of the {name}" + (" gate" if name != "candidate" else ""))
    for row in axes[:, 0]:
        row.set_ylim(bottom=0.0)
    axes[0, 0].set_ylabel(r"dimension $D_{KY}/N$")
    axes[1, 0].set_ylabel(r"entropy rate $h/N$ (nats per step)")
    others = ", ".join(f"{name} {gain:g}" for name, gain in BASE.items())
    figure.suptitle(f"GRU at N = ∞, gains {others} where not varied (hollow: not converged)")
    figure.savefig(options.output, dpi=140)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
