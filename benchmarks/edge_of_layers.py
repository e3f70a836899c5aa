"""Whether `initialize_layer(target="edge")` brings real sizes to the edge: |λ_max| per step, measured by another route.

GRU (reset after) and LSTM, 512 and 1024 units, with and without inputs, five seeds. λ_max along the inputs is that of
`lyapunov_along` over the batch; without inputs it is the one farthest from 0 of runs from three random states.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import gatefield as gf
from gatefield.cells.builtin import named_cell
from gatefield.layers.initialisation import blank_layer, initialize_layer, white_inputs


def measured(layer: gf.Layer, inputs: np.ndarray | None, seed: int) -> float:
    """λ_max per step."""
    if inputs is None:
        network = layer.network()
        runs = [network.lyapunov_spectrum(300, count=1, transient=600, seed=3 * seed + i) for i in range(3)]
        return max((float(run.largest.value) for run in runs), key=abs)
    paths = layer.run_batch(inputs)
    each = [
        gf.networks.lyapunov_along(path, layer.weights, count=1, transient=path.steps // 4, seed=seed) for path in paths
    ]
    return float(np.mean([one.largest.value for one in each]))


def main() -> None:
    """Print one line for each kind of layer."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    options.add_argument("--cells", nargs="+", default=["gru-reset-after", "lstm"])
    options.add_argument("--seeds", type=int, default=5)
    chosen = options.parse_args()
    for size in chosen.sizes:
        for cell in map(named_cell, chosen.cells):
            for fed in (False, True):
                begin, found, gains = time.perf_counter(), [], []
                for seed in range(chosen.seeds):
                    inputs = white_inputs(128, sequences=4, steps=200, seed=seed) if fed else None
                    layer = blank_layer(cell, size, 128 if fed else 0)
                    made = initialize_layer(layer, target="edge", inputs=inputs, seed=seed, theory=False)
                    found.append(measured(made.layer, inputs, seed + 100))
                    gains.append(made.factor)
                seconds = (time.perf_counter() - begin) / chosen.seeds
                shown = " ".join(f"{value:+.4f}" for value in found)
                name = f"{type(cell).__name__} {size}, {'128 inputs' if fed else 'no inputs'}"
                print(f"{name:24} gain {np.mean(gains):.3f}  λ_max {shown}  ({seconds:.1f} s each)", flush=True)


if __name__ == "__main__":
    main()
