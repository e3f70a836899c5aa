"""All Lyapunov exponents at N = ∞ against those of networks by the QR method, for seven ensembles.

The distance of the two distributions, what follows from them, and the times. On two cores the networks take about 7
minutes in all at N = 1000 and 40 at N = 2000, where an LSTM has 4000 exponents.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gatefield as gf


def gru(*gains: float, reset_after: bool = False) -> gf.Ensemble:
    names = ("update", "reset", "candidate")
    return gf.Ensemble(gf.GRU(reset_after=reset_after), gain=dict(zip(names, gains, strict=True)))


def lstm(*gains: float, forget: float = 0.0) -> gf.Ensemble:
    names = ("forget", "input", "output", "cell")
    return gf.Ensemble(gf.LSTM(), gain=dict(zip(names, gains, strict=True)), bias_mean={"forget": forget})


ENSEMBLES = {
    "GRU (10, 10, 3)": gru(10.0, 10.0, 3.0),
    "GRU (1, 10, 3)": gru(1.0, 10.0, 3.0),
    "GRU (1, 1, 3)": gru(1.0, 1.0, 3.0),
    "GRU, reset after (2, 3, 7)": gru(2.0, 3.0, 7.0, reset_after=True),
    "LSTM (3, 3, 3, 3)": lstm(3.0, 3.0, 3.0, 3.0),
    "LSTM (4, 2, 5, 4), forget bias 1": lstm(4.0, 2.0, 5.0, 4.0, forget=1.0),
    "MGU (2, 8)": gf.Ensemble(gf.MGU(), gain={"forget": 2.0, "candidate": 8.0}),
}
PER_NEURON, SHARES = ("kaplan_yorke_dimension", "entropy_rate"), ("fraction_positive", "mean")


def distance(theory: gf.chaos.LyapunovDistribution, exponents: np.ndarray) -> float:
    """Kolmogorov–Smirnov distance of a network's exponents, ascending, from theory."""
    rank = (np.arange(len(exponents)) + 0.5) / len(exponents)
    return float(np.max(np.abs(theory.fraction_below(exponents).value - rank)))


@dataclass(frozen=True)
class Compared:
    """Fractions of exponents below s at N = ∞, and the exponents of networks by their size."""

    s: np.ndarray
    fraction: gf.Estimate
    networks: dict[int, np.ndarray]


def figure(found: dict[str, Compared]) -> Figure:
    """Each ensemble's curve through its networks' exponents; last, what the largest networks differ by."""
    columns = 4
    rows = -(-(len(found) + 1) // columns)
    made = Figure(figsize=(3.4 * columns, 2.9 * rows), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    last = axes[len(found)]
    for k, (ax, (name, one)) in enumerate(zip(axes, found.items(), strict=False)):
        value, error = one.fraction.value, one.fraction.error
        for (size, exponents), (shade, width) in zip(one.networks.items(), (("0.6", 5), ("black", 2.5)), strict=False):
            rank = (np.arange(len(exponents)) + 0.5) / len(exponents)
            some = np.unique(np.linspace(0, len(rank) - 1, 60).astype(int))
            ax.plot(exponents[some], rank[some], ".", color=shade, markersize=width, label=f"network, N = {size}")
        ax.plot(one.s, value, color="#c1272d", linewidth=1.2, label="N = ∞", zorder=1)
        ax.fill_between(one.s, value - error, value + error, color="#c1272d", alpha=0.25, linewidth=0)
        ax.axvline(0.0, color="0.8", linewidth=0.8, zorder=0)
        ax.set(title=name, xlim=(np.interp(0.02, value, one.s), one.s[-1] + 0.1), ylim=(0.0, 1.02))
        ax.title.set_fontsize(10)
        if one.networks:
            exponents = list(one.networks.values())[-1]
            theory = np.interp(exponents, one.s, value, right=1.0)
            rank = (np.arange(len(exponents)) + 0.5) / len(exponents)
            last.plot(rank, rank - theory, linewidth=0.9, color=f"C{k}", label=name)
    axes[0].legend(frameon=False, fontsize=8)
    last.axhspan(-0.01, 0.01, color="0.93", zorder=0)
    last.set(xlabel="fraction", title="largest network less N = ∞", ylim=(-0.02, 0.03))
    last.title.set_fontsize(10)
    last.legend(frameon=False, fontsize=5.5, ncols=2, loc="upper center", columnspacing=0.6, handlelength=1.2)
    for ax in axes[len(found) + 1 :]:
        ax.set_axis_off()
    for ax in axes[: len(found)]:
        ax.set_xlabel("exponent s (per step)")
    for ax in axes[::columns]:
        ax.set_ylabel("fraction below s")
    return made


def main() -> None:
    """Print, for each ensemble, distances, what follows from the spectra, and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2000])
    parser.add_argument("--steps", type=int, nargs="+", default=[600, 300], help="of each size's network")
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", choices=list(ENSEMBLES), nargs="+", default=list(ENSEMBLES))
    parser.add_argument("--output", type=Path, help="also draw the curves")
    options = parser.parse_args()
    drawn: dict[str, Compared] = {}
    for name in options.only:
        ensemble = ENSEMBLES[name]
        start = time.perf_counter()
        theory = gf.lyapunov_spectrum(ensemble, window=options.window, samples=options.samples)
        print(f"{name}: theory {time.perf_counter() - start:.0f} s, {theory.message or 'converged'}")
        shown = {what: getattr(theory, what) for what in (*PER_NEURON, *SHARES)}
        print("  N = ∞: " + ", ".join(f"{what} {value}" for what, value in shown.items()))
        print(f"  E log|det J|/(D N) {theory.determinant}", flush=True)
        s = np.linspace(theory.s[0], theory.edge.value + 0.05, 400)
        drawn[name] = Compared(s, theory.fraction_below(s), {})
        for size, steps in zip(options.sizes, options.steps, strict=True):
            start = time.perf_counter()
            seen = gf.Network(ensemble, size=size, seed=0, dtype="float32").lyapunov_spectrum(steps, count=None)
            seconds = time.perf_counter() - start
            drawn[name].networks[size] = exponents = np.sort(seen.exponents.value)
            found = {what: getattr(seen, what) for what in (*PER_NEURON, *SHARES)}
            for what in PER_NEURON:
                found[what] = gf.Estimate(found[what].value / size, found[what].error / size)
            print(f"  N = {size}, {seconds:.0f} s: distance {distance(theory, exponents):.4f}")
            print("    " + ", ".join(f"{what} {value}" for what, value in found.items()), flush=True)
    if options.output is not None:
        figure(drawn).savefig(options.output, dpi=140)


if __name__ == "__main__":
    main()
