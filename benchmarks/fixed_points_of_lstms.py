"""Static states of LSTMs: by convolutions, as `gatefield.fixed_points` has them, and on grids of all gates at once."""

from __future__ import annotations

import argparse
from unittest import mock

import numpy as np
from timing import alternate, show

import gatefield as gf


def main() -> None:
    """Both in turn, at equal gains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gain", type=float, default=4.0, help="of all gates; 12 takes minutes on grids")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    names = ("forget", "input", "output", "cell")
    ensemble = gf.Ensemble(gf.LSTM(), gain=dict.fromkeys(names, options.gain))

    def on_grids() -> list[float]:
        with mock.patch("gatefield.phases.roots.has_factors", return_value=False):
            return [point.q for point in gf.fixed_points(ensemble)]

    def convolved() -> list[float]:
        return [point.q for point in gf.fixed_points(ensemble)]

    seconds = alternate({"on grids": on_grids, "convolutions": convolved}, options.rounds)
    for name, values in seconds.items():
        show(name, values)
    slow, fast = (float(np.median(values)) for values in seconds.values())
    apart = float(np.max(np.abs(np.array(on_grids()) - np.array(convolved()))))
    print(f"  roots differ by {apart:.1e} at most; ratio {slow / fast:.0f}")


if __name__ == "__main__":
    main()
