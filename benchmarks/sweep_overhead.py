"""What a sweep costs beside its points: seconds per point of 10 000 that do nothing, and two workers against one.

Both sweeps write a store. Starting and ending the workers is told apart from the points, and from their compilation.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import show

import gatefield as gf
from gatefield.sweeps.local_workers import local_client


def nothing(x: float, y: float) -> float:
    return x + y


def network(gain: float, seed: int) -> dict[str, Any]:
    """Run a network of 400 neurons and take its eigenvalues: about half a second."""
    made = gf.Network(gf.Ensemble(gf.GRU(), {"update": 2.0, "candidate": gain}), size=400, seed=seed)
    path = made.run(100, seed=seed)
    return {"radius": np.abs(made.eigenvalues(path.snapshot())).max(), "variance": path.variance["h"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    side = round(options.points**0.5)
    empty = {"x": np.arange(float(side)), "y": np.arange(float(side))}
    full = {"gain": np.linspace(2.0, 3.0, options.networks // 2), "replicate": range(2)}
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:

        def timed(name: str, *arguments: Any, **more: Any) -> None:
            store = Path(folder) / f"{len(seconds)}-{sum(map(len, seconds.values()))}.zarr"
            begin = time.perf_counter()
            gf.sweep(*arguments, store=store, **more)
            seconds.setdefault(name, []).append(time.perf_counter() - begin)

        for _ in range(options.rounds):
            timed(f"{side * side} empty points, in this process", nothing, empty, workers=0)
            for workers in (1, 2):
                with local_client(workers) as client:
                    client.wait_for_workers(workers)
                    gf.sweep(network, {"gain": [2.0], "replicate": range(4 * workers)}, client=client)  # compiles
                    timed(f"{side * side} empty points, {workers} workers", nothing, empty, client=client)
                    timed(f"{options.networks} networks, {workers} workers", network, full, client=client)
    for name, values in seconds.items():
        show(name, np.array(values))
    for name, values in seconds.items():
        if "empty" in name:
            print(f"  {name}: {1e3 * np.median(values) / side**2:.2f} ms per point")
    one, two = (np.median(seconds[f"{options.networks} networks, {w} workers"]) for w in (1, 2))
    print(f"  two workers are {one / two:.2f} times as fast as one")


if __name__ == "__main__":
    main()
