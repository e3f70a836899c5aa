"""All Lyapunov exponents of an LSTM (or GRU) network against PyTorch with the analytic Jacobian and a QR at each step.

Both in float64 on all threads, in turn; the floor is the operations of gatefield's own products and eliminations at the
rate at which NumPy multiplies matrices of that size here. Needs PyTorch, which gatefield does not: `pip install torch`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from timing import alternate, show

import gatefield as gf

GAINS = {"lstm": (3.0, 3.0, 3.0, 3.0), "gru": (10.0, 10.0, 3.0)}


def lstm_step(weights: list[torch.Tensor], state: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
    c, h = state
    f, i, o, y = (u @ h for u in weights)
    f, i, o, y = torch.sigmoid(f), torch.sigmoid(i), torch.sigmoid(o), torch.tanh(y)
    new = f * c + i * y
    out = torch.tanh(new)
    g = (c * f * (1 - f))[:, None] * weights[0] + (y * i * (1 - i))[:, None] * weights[1]
    g += (i * (1 - y**2))[:, None] * weights[3]
    m = o * (1 - out**2)
    lower = (o * (1 - o) * out)[:, None] * weights[2] + m[:, None] * g
    jacobian = torch.cat([torch.cat([torch.diag(f), g], 1), torch.cat([torch.diag(m * f), lower], 1)])
    return [new, o * out], jacobian


def gru_step(weights: list[torch.Tensor], state: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
    (h,) = state
    z, r = torch.sigmoid(weights[0] @ h), torch.sigmoid(weights[1] @ h)
    y = torch.tanh(weights[2] @ (r * h))
    inner = torch.diag(r) + (h * r * (1 - r))[:, None] * weights[1]
    jacobian = torch.diag(z) + ((h - y) * z * (1 - z))[:, None] * weights[0]
    jacobian += ((1 - z) * (1 - y**2))[:, None] * (weights[2] @ inner)
    return [z * h + (1 - z) * y], jacobian


def with_torch(step: Callable, network: gf.Network, steps: int) -> np.ndarray:
    weights = [torch.tensor(np.asarray(network.weights[name])) for name in network.ensemble.names]
    state = [torch.tensor(column) for column in network.run(200, record=1).last.T.copy()]
    q = torch.linalg.qr(torch.randn(len(state) * network.size, len(state) * network.size, dtype=torch.float64))[0]
    total = torch.zeros(len(q), dtype=torch.float64)
    with torch.no_grad():
        for _ in range(steps):
            state, jacobian = step(weights, state)
            q, r = torch.linalg.qr(jacobian @ q)
            total += torch.log(torch.abs(torch.diagonal(r)))
    return np.sort((total / steps).numpy())[::-1]


def floor(network: gf.Network, block: float, steps: int) -> float:
    """Seconds of the matrix products and eliminations alone."""
    n, d = network.size, len(network.ensemble.cell.state_names)
    formed = {"LSTM": 0, "GRU": 1}[type(network.ensemble.cell).__name__]
    a = np.random.default_rng(0).standard_normal((d * n, n))
    b = a[:n].copy()
    rate = 2.0 * d * n**3 / min(np.median(alternate({"product": lambda: a @ b}, 9)["product"]), 1e9)
    moved = d - (d - 1) / block  # in the first step of a block, as many rows as there are outputs
    operations = steps * (2.0 * n**3 * formed + 2.0 * d * n**3 * moved + 2.0 / 3.0 * (d * n) ** 3 / block)
    return operations / rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", choices=sorted(GAINS), default="lstm")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()

    cell = {"lstm": gf.LSTM(), "gru": gf.GRU()}[options.cell]
    ensemble = gf.Ensemble(cell, dict(zip(cell.preactivation_names, GAINS[options.cell], strict=True)))
    network = gf.Network(ensemble, size=options.size, seed=0)
    state = network.run(200, record=1).last
    step = {"lstm": lstm_step, "gru": gru_step}[options.cell]

    def ours() -> gf.networks.MeasuredExponents:
        return network.lyapunov_spectrum(options.steps, transient=0, state=state)

    network.lyapunov_spectrum(12, transient=0, state=state)
    with_torch(step, network, 3)
    found, theirs = ours(), with_torch(step, network, options.steps)
    print(f"{options.cell}, N = {options.size}, {options.steps} steps, all exponents")
    print(
        f"  largest {found.largest.value:.4f}, torch {theirs[0]:.4f}; mean {found.mean.value:.4f}, {theirs.mean():.4f}"
    )
    seconds = alternate({"gatefield": ours, "torch": lambda: with_torch(step, network, options.steps)}, options.rounds)
    for name, values in seconds.items():
        show(name, values)
    ratio = np.median(seconds["torch"]) / np.median(seconds["gatefield"])
    least = floor(network, found.block, options.steps)
    print(f"  torch / gatefield {ratio:.2f}; steps between eliminations {found.block:.2f}")
    print(f"  gatefield / floor {np.median(seconds['gatefield']) / least:.2f} (floor {least:.2f} s)")


if __name__ == "__main__":
    main()
