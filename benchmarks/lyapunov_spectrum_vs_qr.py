"""All Lyapunov exponents at N = ∞ against those of networks by the QR method, for seven ensembles.

The distance of the two distributions, what follows from them, and the times. On two cores the networks take about 7
minutes in all at N = 1000 and 40 at N = 2000, where an LSTM has 4000 exponents.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

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


def distance(theory: gf.LyapunovDistribution, exponents: np.ndarray) -> float:
    """Kolmogorov–Smirnov distance of a network's exponents, ascending, from theory."""
    rank = (np.arange(len(exponents)) + 0.5) / len(exponents)
    return float(np.max(np.abs(theory.fraction_below(exponents).value - rank)))


def main() -> None:
    """Print, for each ensemble, distances, what follows from the spectra, and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2000])
    parser.add_argument("--steps", type=int, nargs="+", default=[600, 300], help="of each size's network")
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", choices=list(ENSEMBLES), nargs="+", default=list(ENSEMBLES))
    options = parser.parse_args()
    for name in options.only:
        ensemble = ENSEMBLES[name]
        start = time.perf_counter()
        theory = gf.lyapunov_spectrum(ensemble, window=options.window, samples=options.samples)
        print(f"{name}: theory {time.perf_counter() - start:.0f} s, {theory.message or 'converged'}")
        shown = {what: getattr(theory, what) for what in (*PER_NEURON, *SHARES)}
        print("  N = ∞: " + ", ".join(f"{what} {value}" for what, value in shown.items()))
        print(f"  E log|det J|/(D N) {theory.determinant}", flush=True)
        for size, steps in zip(options.sizes, options.steps, strict=True):
            start = time.perf_counter()
            seen = gf.Network(ensemble, size=size, seed=0, dtype="float32").lyapunov_spectrum(steps, count=None)
            seconds = time.perf_counter() - start
            found = {what: getattr(seen, what) for what in (*PER_NEURON, *SHARES)}
            for what in PER_NEURON:
                found[what] = gf.Estimate(found[what].value / size, found[what].error / size)
            print(f"  N = {size}, {seconds:.0f} s: distance {distance(theory, np.sort(seen.exponents.value)):.4f}")
            print("    " + ", ".join(f"{what} {value}" for what, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
