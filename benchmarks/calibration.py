"""Stated errors against the scatter of seeds: how often "value ± error" holds the mean over all seeds.

Errors are half-widths of 68 % intervals by Student's distribution with batches − 1 degrees of freedom; the 95 %
interval is that of the same distribution. `python benchmarks/calibration.py --seeds 200` prints a table of cells and
quantities.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import stdtrit

import gatefield as gf
from gatefield.numerics.estimates import _ONE_SIGMA

ENSEMBLES = {
    "vanilla": gf.Ensemble(gf.Vanilla(), gain={"input": 3.0}),
    "GRU": gf.Ensemble(gf.GRU(), gain={"update": 3.0, "reset": 3.0, "candidate": 5.0}),
    "LSTM": gf.Ensemble(
        gf.LSTM(), gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 8.0}, bias_mean={"forget": -1.0}
    ),
    "MGU": gf.Ensemble(gf.MGU(), gain={"forget": 2.0, "candidate": 6.0}, bias_mean={"forget": 1.0}),
}


def measured(ensemble: gf.Ensemble, seed: int, steps: int, samples: int, batches: int) -> dict[str, gf.Estimate]:
    name = ensemble.cell.state_names[-1]
    found = gf.lyapunov_max(ensemble, steps=steps, samples=samples, batches=batches, seed=seed)
    field = found.field
    return {
        "variance": field.variance[name],
        "lambda_max": gf.Estimate(found.value, found.error),
        "radius": gf.spectral_radius(ensemble, field.snapshot),
        "autocorrelation time": field.autocorrelation_time(name),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--cells", nargs="*", default=list(ENSEMBLES))
    options = parser.parse_args()
    freedom = options.batches - 1
    wider = stdtrit(freedom, 0.975) / stdtrit(freedom, _ONE_SIGMA)
    print(f"{options.seeds} seeds, {options.batches} batches; within the 68 % and the 95 % interval")
    for cell in options.cells:
        runs = [
            measured(ENSEMBLES[cell], seed, options.steps, options.samples, options.batches)
            for seed in range(options.seeds)
        ]
        for quantity in runs[0]:
            value = np.array([run[quantity].value for run in runs])
            error = np.array([run[quantity].error for run in runs])
            off = np.abs(value - value.mean())
            rms = np.sqrt(np.mean(error**2)) / value.std(ddof=1)
            print(
                f"{cell:8s} {quantity:21s} {value.mean():9.5f}  68 %: {100 * np.mean(off < error):5.1f}  "
                f"95 %: {100 * np.mean(off < wider * error):5.1f}  error over scatter {rms:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
