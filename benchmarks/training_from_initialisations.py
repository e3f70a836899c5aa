"""The same LSTM trained from five initialisations on three tasks, five seeds each; curves as a figure.

- PyTorch's default: everything U(±1/√N).
- orthogonal: recurrent weights of each gate orthogonal, input weights Gaussian of variance 1/M, biases 0.
- chrono (Tallec and Ollivier 2018): as the default, but forget biases log U(1, T − 1) and input biases their negatives.
- gatefield: `initialize_layer(target="edge")` along inputs of the task; and the same with a forget bias of 1.

Tasks: rows of scikit-learn's 8 × 8 digits pixel by pixel (64 steps, test error); the adding problem over 50 steps (mean
squared error); Mackey–Glass, the value 10 steps on at every step (normalised mean squared error). Adam with one
rate for all, gradients clipped at norm 1. Nothing is tuned.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gatefield as gf
from gatefield.layers.initialisation import blank_layer, initialize_layer
from gatefield.networks.network import trajectory

CELL = gf.LSTM()
NAMES = CELL.preactivation_names
UNITS, BATCH, RATE = 64, 32, 3e-3


@dataclass(frozen=True)
class Task:
    """Batches (inputs, targets) of a generator's choice, a loss of outputs, a score on held-out data."""

    name: str
    width: int
    outputs: int
    steps: int
    every: bool  # outputs at every step count, not the last alone
    batch: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
    held_out: tuple[np.ndarray, np.ndarray]
    loss: Callable[[Any, Any], Any]
    score: Callable[[Any, Any], Any]
    label: str


def digits() -> Task:
    """Pixel by pixel, 64 steps."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x = (data.data[order, :, None] / 8.0 - 1.0).astype(np.float32)
    y = data.target[order]

    def batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        chosen = rng.integers(0, 1400, BATCH)
        return x[chosen], y[chosen]

    def loss(out: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(out, y).mean()

    def score(out: Any, y: Any) -> Any:
        return jnp.mean(jnp.argmax(out, axis=-1) != y)

    return Task("sequential digits", 1, 10, 64, False, batch, (x[1400:], y[1400:]), loss, score, "test error")


def squared(out: Any, y: Any) -> Any:
    """Mean squared error."""
    return jnp.mean((out - y) ** 2)


def adding(steps: int = 50) -> Task:
    """The sum of two marked numbers."""

    def batch(rng: np.random.Generator, count: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
        numbers, marks = rng.random((count, steps)), np.zeros((count, steps))
        for row in marks:
            row[rng.integers(0, steps // 2)] = row[rng.integers(steps // 2, steps)] = 1.0
        y = np.sum(numbers * marks, axis=1, keepdims=True)
        return np.stack([numbers, marks], axis=2).astype(np.float32), y.astype(np.float32)

    held_out = batch(np.random.default_rng(99), 256)
    return Task("adding problem", 2, 1, steps, False, batch, held_out, squared, squared, "mean squared error")


def mackey_glass(steps: int = 64, ahead: int = 10) -> Task:
    """dx/dt = 0.2 x(t − 17)/(1 + x(t − 17)^10) − 0.1 x, by steps of 0.1, every tenth taken."""
    x = np.full(80_000, 1.2)
    for t in range(170, len(x) - 1):
        delayed = x[t - 170]
        x[t + 1] = x[t] + 0.1 * (0.2 * delayed / (1.0 + delayed**10) - 0.1 * x[t])
    series = x[5000::10]
    series = ((series - series.mean()) / series.std()).astype(np.float32)
    train = len(series) - 1500

    def cut(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = starts[:, None] + np.arange(steps)
        return series[rows][..., None], series[rows + ahead][..., None]

    def batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return cut(rng.integers(0, train - steps - ahead, BATCH))

    held_out = cut(np.arange(train, len(series) - steps - ahead, 6))
    return Task("Mackey–Glass", 1, 1, steps, True, batch, held_out, squared, squared, "normalised mean squared error")


# ---- initialisations: weights (N, N), input weights (N, M), biases (N,) by pre-activation ----


def default(task: Task, rng: np.random.Generator) -> gf.Layer:
    """PyTorch's."""
    bound = 1.0 / np.sqrt(UNITS)
    shapes = (UNITS, UNITS), (UNITS, task.width), (UNITS,)
    parts = [{n: rng.uniform(-bound, bound, shape) for n in NAMES} for shape in shapes]
    second = {n: parts[2][n] + rng.uniform(-bound, bound, UNITS) for n in NAMES}
    return gf.Layer(CELL, parts[0], parts[1], second)


def orthogonal(task: Task, rng: np.random.Generator) -> gf.Layer:
    """Each gate's by itself."""
    weights = {n: np.linalg.qr(rng.standard_normal((UNITS, UNITS)))[0] for n in NAMES}
    wired = {n: rng.standard_normal((UNITS, task.width)) / np.sqrt(task.width) for n in NAMES}
    return gf.Layer(CELL, weights, wired)


def chrono(task: Task, rng: np.random.Generator) -> gf.Layer:
    """Forget biases of memories between 1 and T − 1 steps."""
    plain = default(task, rng)
    forget = np.log(rng.uniform(1.0, task.steps - 1.0, UNITS))
    return gf.Layer(CELL, plain.weights, plain.input_weights, {"forget": forget, "input": -forget})


def edge(task: Task, rng: np.random.Generator, forget: float = 0.0) -> gf.Layer:
    """gatefield's, along inputs of the task."""
    inputs, _ = task.batch(rng)
    made = initialize_layer(
        blank_layer(CELL, UNITS, task.width), target="edge", inputs=inputs, bias={"forget": forget},
        seed=int(rng.integers(1000)), theory=False,
    )  # fmt: skip
    return made.layer


INITIALISATIONS = {
    "PyTorch's default": default,
    "orthogonal": orthogonal,
    "chrono": chrono,
    "gatefield, edge": edge,
    "gatefield, edge, forget bias 1": partial(edge, forget=1.0),
}


# ---- training ----


def parameters(task: Task, layer: gf.Layer, rng: np.random.Generator) -> Any:
    """What is trained, in single precision."""
    readout = rng.uniform(-1.0, 1.0, (task.outputs, UNITS)) / np.sqrt(UNITS)
    tree = {
        "u": {k: layer.weights[n] for k, n in enumerate(NAMES)},
        "w": {k: layer.input_weights[n] for k, n in enumerate(NAMES)},
        "b": np.stack([layer.bias(n) for n in NAMES], axis=1),
        "readout": readout,
        "offset": np.zeros(task.outputs),
    }
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree)


def forward(task: Task, p: Any, inputs: Any) -> Any:
    """Outputs, at every step or the last."""

    def one(u: Any) -> Any:
        drive = {k: u @ w.T for k, w in p["w"].items()}
        start = jnp.zeros((UNITS, len(CELL.state_names)), jnp.float32)
        last, (before, _) = trajectory(CELL, task.steps, p["u"], p["b"], drive, start)
        h = jnp.concatenate([before[1:, :, -1], last[None, :, -1]]) if task.every else last[:, -1]
        return h @ p["readout"].T + p["offset"]

    return jax.vmap(one)(inputs)


def train(task: Task, makers: dict[str, Any], seeds: int, steps: int, looks: int) -> dict[str, np.ndarray]:
    """Scores (seeds, looks) of each initialisation; all seeds of one at once."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(RATE))

    def step(p: Any, state: Any, inputs: Any, targets: Any) -> Any:
        gradient = jax.grad(lambda p: task.loss(forward(task, p, inputs), targets))(p)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(p, updates), state

    many = jax.jit(jax.vmap(step))
    look = jax.jit(jax.vmap(lambda p: task.score(forward(task, p, task.held_out[0]), task.held_out[1])))
    found = {}
    for name, make in makers.items():
        begin, rngs = time.perf_counter(), [np.random.default_rng((7, seed)) for seed in range(seeds)]
        trees = [parameters(task, make(task, rng), rng) for rng in rngs]
        p = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
        state, scores = jax.vmap(optimizer.init)(p), [np.asarray(look(p))]
        for i in range(steps):
            batches = [task.batch(rng) for rng in rngs]
            p, state = many(p, state, *(jnp.stack(part) for part in zip(*batches, strict=True)))
            if (i + 1) % (steps // looks) == 0:
                scores.append(np.asarray(look(p)))
        found[name] = np.stack(scores, axis=1)
        last = found[name][:, -1]
        seconds = time.perf_counter() - begin
        print(
            f"{task.name:18} {name:32} {task.label} {last.mean():.4f} ± {last.std():.4f}  ({seconds:.0f} s)", flush=True
        )
    return found


def draw(results: dict[str, tuple[Task, dict[str, np.ndarray]]], steps: int, output: Path) -> None:
    """Median over seeds and their range, for each task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.7 * len(results) + 0.8, 4.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(results)))
    for axes, (task, found) in zip(panels, results.values(), strict=True):
        for i, (name, scores) in enumerate(found.items()):
            at = np.linspace(0, steps, scores.shape[1])
            axes.plot(at, np.median(scores, axis=0), color=f"C{i}", label=name)
            axes.fill_between(at, scores.min(axis=0), scores.max(axis=0), color=f"C{i}", alpha=0.15, linewidth=0)
        axes.set(title=task.name, xlabel="training steps", ylabel=task.label, yscale="log")
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(output, dpi=110)


def main() -> None:
    """Train, print, draw."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=240)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--tasks", nargs="+", default=["digits", "adding", "mackey-glass"])
    options.add_argument("--output", type=Path, default=Path("training.png"))
    chosen = options.parse_args()
    results = {}
    makers = {"digits": digits, "adding": adding, "mackey-glass": mackey_glass}
    for task in (makers[name]() for name in chosen.tasks):
        results[task.name] = task, train(task, INITIALISATIONS, chosen.seeds, chosen.steps, 15)
    draw(results, chosen.steps, chosen.output)
    np.savez(
        chosen.output.with_suffix(".npz"), **{f"{t}|{n}": s for t, (_, f) in results.items() for n, s in f.items()}
    )


if __name__ == "__main__":
    main()
