"""`gatefield.phase_diagram` of the GRU on 200 × 200 points against a loop of `scipy.optimize.brentq` over them.

The loop is what one writes: at each point scan F(C)/C − 1 in log C, refine each change of sign by brentq, and take
ρ_0 by quadrature. It is run on a random part of the points, and its time multiplied. Both give the same roots.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.optimize import brentq
from timing import alternate, show

import gatefield as gf

SCAN = np.linspace(np.log(1e-9), np.log(0.9999), 112)
NODES = np.linspace(-9.0, 9.0, 1201)
WEIGHTS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()


def gate(std: float) -> tuple[float, float]:
    """E σ² and E σ'²."""
    slope = 0.25 / np.cosh(std * NODES / 2) ** 2
    return float(0.5 - WEIGHTS @ slope), float(WEIGHTS @ slope**2)


def excess(log_c: float, candidate: float, reset: float) -> float:
    c = np.exp(log_c)
    std = candidate * np.sqrt(c * gate(reset * np.sqrt(c))[0])
    return float(np.log(WEIGHTS @ np.tanh(std * NODES) ** 2 / c))


def point(candidate: float, reset: float) -> list[tuple[float, float]]:
    """Non-zero roots C_h and ρ_0."""
    values = np.array([excess(v, candidate, reset) for v in SCAN])
    found = []
    for i in np.nonzero(np.diff(np.sign(values)))[0]:
        c = np.exp(brentq(excess, SCAN[i], SCAN[i + 1], args=(candidate, reset), xtol=1e-13))
        square, slope = gate(reset * np.sqrt(c))
        std = candidate * np.sqrt(c * square)
        response = WEIGHTS @ (1.0 / np.cosh(std * NODES) ** 4)
        found.append((float(c), float(candidate * np.sqrt(response * (square + reset**2 * slope * c)))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--loop", type=int, default=400, help="points of the loop that are timed")
    options = parser.parse_args()
    ensemble = gf.Ensemble(gf.GRU())
    axes = ("candidate", 1.2, 3.5, options.points), ("reset", 0.0, 30.0, options.points)

    start = time.perf_counter()
    diagram = gf.phase_diagram(gain_x=axes[0], gain_y=axes[1], ensemble=ensemble)
    print(f"first call, compilation included: {time.perf_counter() - start:.2f} s")
    rng = np.random.default_rng(0)
    chosen = [(int(i), int(j)) for i, j in rng.integers(0, options.points, (options.loop, 2))]
    x, y = diagram.candidate.values, diagram.reset.values

    def loop() -> list[list[tuple[float, float]]]:
        return [point(x[i], y[j]) for i, j in chosen]

    seconds = alternate(
        {
            "gatefield.phase_diagram": lambda: gf.phase_diagram(gain_x=axes[0], gain_y=axes[1], ensemble=ensemble),
            f"brentq, {options.loop} points": loop,
        },
        3,
    )
    for name, values in seconds.items():
        show(name, values)
    worst = 0.0
    for (i, j), roots in zip(chosen, loop(), strict=True):
        got = diagram.second_moment_h.values[j, i, 1:]
        got = got[~np.isnan(got)]
        same = [c for c, _ in roots]
        if len(got) != len(same):
            print(f"  other number of roots at {x[i]:.4f}, {y[j]:.3f}: {got}, {same}")
        elif same:
            worst = max(worst, float(np.max(np.abs(got / same - 1.0))))
    ours, theirs = (float(np.median(values)) for values in seconds.values())
    whole = theirs * options.points**2 / options.loop
    print(f"  roots differ by {worst:.1e} at most; loop over all points {whole:.0f} s; ratio {whole / ours:.0f}")


if __name__ == "__main__":
    main()
