"""All Lyapunov exponents at N = ∞ against those of one network by the QR method, for seven ensembles: the distance of
the two distributions, what follows from them, and the times. The networks take about 7 minutes in all at N = 1000."""

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", choices=list(ENSEMBLES), nargs="+", default=list(ENSEMBLES))
    options = parser.parse_args()
    for name in options.only:
        ensemble = ENSEMBLES[name]
        start = time.perf_counter()
        theory = gf.lyapunov_spectrum(ensemble, window=options.window, samples=options.samples)
        middle = time.perf_counter()
        network = gf.Network(ensemble, size=options.size, seed=0, dtype="float32")
        seen = network.lyapunov_spectrum(options.steps, count=None)
        end = time.perf_counter()
        exponents = np.sort(seen.exponents.value)
        rank = (np.arange(len(exponents)) + 0.5) / len(exponents)
        distance = float(np.max(np.abs(theory.fraction_below(exponents).value - rank)))
        print(f"{name}: distance {distance:.4f}; {middle - start:.0f} s, network {end - middle:.0f} s")
        for what in ("kaplan_yorke_dimension", "entropy_rate", "fraction_positive", "mean"):
            one, other = getattr(theory, what), getattr(seen, what)
            scale = options.size if what in ("kaplan_yorke_dimension", "entropy_rate") else 1
            print(f"  {what}: {one}, network {gf.Estimate(other.value / scale, other.error / scale)}")
        print(f"  E log|det J|/(D N) {theory.determinant}; {theory.message or 'converged'}", flush=True)


if __name__ == "__main__":
    main()
