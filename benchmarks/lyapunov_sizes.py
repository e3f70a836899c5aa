"""λ_max of infinite networks against networks of N = 1000, 2000 and 4000 extrapolated in 1/N, four cells, two ensembles
each. Not a matter of speed: the record of an agreement that is too long for the tests (about 20 minutes)."""

from __future__ import annotations

import argparse

import numpy as np

import gatefield as gf

CELLS = {
    "GRU": (
        gf.GRU(),
        ({"update": 10.0, "reset": 10.0, "candidate": 3.0}, {"update": 1.0, "reset": 1.0, "candidate": 3.0}),
    ),
    "GRU, reset after": (
        gf.GRU(reset_after=True),
        ({"update": 2.0, "reset": 3.0, "candidate": 7.0}, {"update": 1.0, "reset": 1.0, "candidate": 4.0}),
    ),
    "LSTM": (
        gf.LSTM(),
        (
            {"forget": 3.0, "input": 3.0, "output": 3.0, "cell": 3.0},
            {"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 8.0},
        ),
    ),
    "MGU": (gf.MGU(), ({"forget": 2.0, "candidate": 8.0}, {"forget": 3.0, "candidate": 6.0})),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2000, 4000])
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--samples", type=int, default=24_000)
    options = parser.parse_args()
    for name, (cell, gains) in CELLS.items():
        for gain in gains:
            ensemble = gf.Ensemble(cell, gain)
            theory = gf.lyapunov_max(ensemble, samples=options.samples)
            seen = gf.reports.lyapunov_sizes(
                ensemble, sizes=options.sizes, networks=options.networks, steps=options.steps, transient=400
            )
            largest, limit, slope = seen.values["largest"], seen.limits["largest"], seen.slopes["largest"]
            each = ", ".join(str(gf.Estimate(*pair)) for pair in zip(largest.value, largest.error, strict=True))
            distance = (theory.value - limit.value) / np.hypot(theory.error, limit.error)
            print(
                f"{name} {tuple(gain.values())}: theory {gf.Estimate(theory.value, theory.error)}; "
                f"N = {options.sizes}: {each}; limit {limit}, "
                f"slope {slope.value:.1f} ± {slope.error:.1f}; {distance:+.1f} errors apart",
                flush=True,
            )


if __name__ == "__main__":
    main()
