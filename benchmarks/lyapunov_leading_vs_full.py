"""The leading 20 exponents of a network of N = 2000 against all of them, per step, in turn."""

from __future__ import annotations

import argparse

import numpy as np
from timing import alternate, show

import gatefield as gf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--full-steps", type=int, default=24)
    parser.add_argument("--leading-steps", type=int, default=600)
    options = parser.parse_args()

    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 10.0, "reset": 10.0, "candidate": 3.0})
    network = gf.Network(ensemble, size=options.size, seed=0)
    state = network.run(200, record=1).last

    def measure(steps: int, count: int | None) -> gf.networks.MeasuredExponents:
        return network.lyapunov_spectrum(steps, transient=0, state=state, count=count)

    runs = {
        f"all {options.size}, {options.full_steps} steps": lambda: measure(options.full_steps, None),
        f"leading {options.count}, {options.leading_steps} steps": lambda: measure(
            options.leading_steps, options.count
        ),
    }
    seconds = alternate(runs, 2)
    for name, values in seconds.items():
        show(name, values)
    full, leading = (np.median(v) for v in seconds.values())
    ratio = (full / options.full_steps) / (leading / options.leading_steps)
    print(f"  per step: all {1e3 * full / options.full_steps:.1f} ms, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
