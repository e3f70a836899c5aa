"""`gatefield.eigenvalues` against the LAPACK calls of NumPy, SciPy and JAX, on the Jacobian of one GRU network.

Ratios are to the fastest of all, medians over rounds in which every variant runs once.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits
from timing import alternate, show

import gatefield as gf


def jax_eigenvalues(matrix: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(jnp.linalg.eigvals(jnp.asarray(matrix)))


def limited(function, threads: int | None):
    def call():
        with threadpool_limits(threads, user_api="blas"):
            return function()

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 10.0, "reset": 10.0, "candidate": 3.0})
    network = gf.Network(ensemble, size=options.size, seed=0)
    matrix = network.jacobian(network.run(100, record=1).snapshot())
    plain = {
        "numpy.linalg.eigvals": lambda: np.linalg.eigvals(matrix),
        "scipy.linalg.eigvals": lambda: scipy.linalg.eigvals(matrix.copy(), overwrite_a=True, check_finite=False),
        "scipy.linalg.eigvals, Fortran order": lambda: scipy.linalg.eigvals(
            np.asfortranarray(matrix), overwrite_a=True, check_finite=False
        ),
        "jax.numpy.linalg.eigvals": lambda: jax_eigenvalues(matrix),
    }
    variants = {"gf.networks.eigenvalues": lambda: gf.networks.eigenvalues(matrix)}
    variants |= {f"{name}, one thread": limited(f, 1) for name, f in plain.items()}
    variants |= {f"{name}, default threads": f for name, f in plain.items()}

    expected = np.sort_complex(np.linalg.eigvals(matrix))
    for name, function in variants.items():
        assert np.allclose(np.sort(np.abs(function())), np.sort(np.abs(expected)), atol=1e-6), name
    seconds = alternate(variants, options.rounds)
    fastest = min(np.median(s) for s in seconds.values())
    print(f"Eigenvalues of one {options.size} × {options.size} GRU Jacobian")
    for name, values in seconds.items():
        show(f"{name:50s} ratio {np.median(values) / fastest:5.2f}", values)


if __name__ == "__main__":
    main()
