"""`gatefield.spectral_density` on a 64 × 64 grid against `numpy.linalg.eigvals` on one matrix of N = 2000.

The grid covers the whole spectrum and is symmetric about the real axis, as figures are. Compiled code is warm.
"""

from __future__ import annotations

import argparse

import numpy as np
from threadpoolctl import threadpool_limits
from timing import alternate, show

import gatefield as gf

ENSEMBLES = {
    "GRU, gains 10, 10, 3": gf.Ensemble(gf.GRU(), gain={"update": 10.0, "reset": 10.0, "candidate": 3.0}),
    "LSTM, gains 2, 1, 3, 3": gf.Ensemble(gf.LSTM(), gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 3.0}),
}


def whole_spectrum(ensemble: gf.Ensemble, snapshot: gf.Snapshot, points: int) -> np.ndarray:
    z = np.concatenate(gf.spectral_curve(ensemble, snapshot).contours)
    x = np.linspace(z.real.min(), z.real.max(), points)
    y = np.linspace(-z.imag.max(), z.imag.max(), points)
    return x[None, :] + 1j * y[:, None]


def one_thread(matrix: np.ndarray) -> np.ndarray:
    with threadpool_limits(1, user_api="blas"):
        return np.linalg.eigvals(matrix)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=8000)
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    for title, ensemble in ENSEMBLES.items():
        field = gf.mean_field(ensemble, steps=300, samples=options.samples, seed=0)
        grid = whole_spectrum(ensemble, field.snapshot, options.points)
        states = len(ensemble.cell.state_names)
        network = gf.Network(ensemble, size=options.size // states, seed=0)
        matrix = network.jacobian(network.run(100, record=1).snapshot())
        density = gf.spectral_density(ensemble, field.snapshot, grid)
        cell = (grid[0, 1] - grid[0, 0]).real * (grid[1, 0] - grid[0, 0]).imag
        seconds = alternate(
            {
                "gatefield.spectral_density": lambda e=ensemble, s=field.snapshot, g=grid: gf.spectral_density(e, s, g),
                "numpy.linalg.eigvals, one thread": lambda m=matrix: one_thread(m),
                "numpy.linalg.eigvals, default threads": lambda m=matrix: np.linalg.eigvals(m),
            },
            options.rounds,
        )
        inside = np.count_nonzero(density.value)
        print(
            f"{title}: {grid.size} points, {inside} inside; {field.samples} neurons; converged {density.converged}, "
            f"sum of density × cell area {density.value.sum() * cell:.3f}; matrix {matrix.shape[0]}"
        )
        for name, values in seconds.items():
            show(name, values)
        ours, one, default = (np.median(s) for s in seconds.values())
        print(f"  ratio to one thread {ours / one:.2f}, to default threads {ours / default:.2f}")


if __name__ == "__main__":
    main()
