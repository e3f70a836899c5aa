"""Two replicas at N = ∞: copies of the state under the same weights and inputs, a small distance apart.

Both histories feed one causal pass (`causal`): the basis of past directions takes v(t) of the first copy and then the
difference of the second from it, so that x and x + δx have the joint Gaussian law of one weight matrix acting on
both, and tiny distances keep all their digits. Where the state is chaotic the distance grows as e^{λ_max t} until the
copies are as far apart as strangers under these weights; where it is not, it dies, under an input too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble
from gatefield.cells.tracing import next_state, source_values, structure
from gatefield.meanfield.causal import (
    Bases,
    add_recurrent,
    causal_scan,
    check_run,
    extend_basis,
    noise_of,
    preactivations,
    sample_drive,
    sample_start,
)
from gatefield.numerics.draws import normal
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, known_names, positive, whole
from gatefield.running.progress import track

# Growth is fitted while the distance is below this part of its last value, past the first part of the run.
_LINEAR = 0.03
_ALIGNING = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class Replicas(Result):
    """Distance of two copies of an infinite network's state, by steps since they were set apart.

    Attributes:
        times: steps since then, from 0 on.
        distance: E(u' − u)² of each state variable, by name, (times,).
        variance: of each state variable over neurons and these steps.
        growth: rate per step at which the distance √E(u' − u)² grows or dies while it is small; NaN where it is not
            small for long enough.
        saturation: E(u' − u)²/2 Var u at the end by state variable: 1 where the copies are uncorrelated.
        saturated: whether the distance has stopped growing, or has died.
    """

    ensemble: Ensemble
    times: np.ndarray
    distance: Mapping[str, Estimate]
    variance: Mapping[str, Estimate]
    growth: Estimate
    saturation: Mapping[str, Estimate]
    saturated: bool
    initial_distance: float
    samples: int
    seed: int

    def overlap(self, name: str) -> np.ndarray:
        """Correlation of the two copies, 1 − E(u' − u)²/2 Var u, (times,)."""
        known_names("name", [name], tuple(self.distance), "the pair of replicas")
        return 1.0 - self.distance[name].value / (2.0 * self.variance[name].value)

    def description(self) -> Description:
        source = "E(u' − u)², two replicas under the same weights"
        return Description(
            quantities={
                "growth": Quantity(self.growth, units="1/step"),
                "saturation": Quantity(self.saturation, ("state",)),
                "variance": Quantity(self.variance, ("state",)),
                "distance": Quantity(self.distance, ("state", "time"), source=source),
            },
            coordinates={"time": Quantity(self.times, units="steps", json="times")},
            facts={
                "ensemble": self.ensemble, "initial_distance": self.initial_distance, "samples": self.samples,
                "seed": self.seed, "saturated": self.saturated,
            },
        )  # fmt: skip


def replicas(
    ensemble: Ensemble,
    *,
    distance: float = 1e-4,
    steps: int = 200,
    settle: int = 150,
    samples: int = 8000,
    seed: int = 0,
    batches: int | None = None,
    initial: float = 0.6,
) -> Replicas:
    """Set two copies of an infinite network's state apart and follow their distance.

    Args:
        ensemble: the random networks; input currents are the same for both copies.
        distance: how far apart, in standard deviations of each state variable.
        steps: for how long.
        settle: steps before that.
        samples: sampled neurons in all.
        seed: of everything drawn.
        batches: independent batches that share the samples.
        initial: standard deviation of every state variable at the start.

    Raises:
        ValueError: an argument out of its range.
    """
    distance, settle = positive("distance", distance), whole("settle", settle, 0)
    steps, samples, batches = check_run(steps, samples, batches)
    seed, initial, cell = whole("seed", seed, 0), at_least("initial", initial, 0.0), ensemble.cell
    size, total = -(-samples // batches), settle + steps
    squares, variances = [], []
    for i in track(range(batches), "replicas"):
        with jax.enable_x64(True):
            keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), i), 3)
            drive = sample_drive(ensemble, keys[0], total, size)
            start, raw = sample_start(ensemble, keys[1], settle + 2 * steps, size)
            apart = distance * jnp.asarray(normal(keys[2], start.shape))
            arrays = jnp.asarray(ensemble.gains), jnp.asarray(ensemble.means)
            out = _follow(cell, settle, steps, *arrays, drive, initial * start, apart, raw)
            squares.append(np.asarray(out[0][settle:]))
            variances.append(np.asarray(out[1][settle:]).mean(axis=0))
    return _summarise(ensemble, np.array(squares), np.array(variances), distance, samples, seed)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _follow(
    cell: Cell,
    settle: int,
    steps: int,
    gains: jax.Array,
    means: jax.Array,
    drive: dict[int, jax.Array],
    start: jax.Array,
    apart: jax.Array,
    raw: list[jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """E(u' − u)² and Var u before each step, (settle + steps, D): the copies part at step `settle`."""
    step = partial(_step, cell, settle, gains, means, drive, apart)

    def rows_after(count: int) -> int:
        return count if count <= settle else 2 * count - settle

    inputs = jnp.arange(settle + steps)
    return causal_scan(step, (start, start), noise_of(cell, raw), len(start), inputs, rows_after=rows_after)[1]


def _step(
    cell: Cell,
    settle: int,
    gains: jax.Array,
    means: jax.Array,
    drive: dict[int, jax.Array],
    apart: jax.Array,
    noise: list[jax.Array],
    carry: tuple[tuple[jax.Array, jax.Array], Bases],
    t: jax.Array,
) -> tuple[tuple[tuple[jax.Array, jax.Array], Bases], tuple[jax.Array, jax.Array]]:
    (first, second), bases = carry
    second = second + jnp.where(t == settle, apart * jnp.std(first, axis=0), 0.0)
    seen = jnp.mean((second - first) ** 2, axis=0), jnp.var(first, axis=0)
    x = preactivations(means, drive, first.shape[0], t)
    dx = jnp.zeros_like(x)
    row = jnp.where(t < settle, t, 2 * t - settle)
    grown = []
    for group, q, xi in zip(structure(cell).groups, bases, noise, strict=True):
        sources = jax.vmap(partial(source_values, cell))
        v, other = (sources(s, at)[:, group.members[0]] for s, at in ((first, x), (second, x + dx)))
        coordinates, q = extend_basis(q, v, row)
        moved, parted = extend_basis(q, other - v, row + 1)
        q = jnp.where(t < settle, q, parted)  # before they part there is no difference to keep
        x = add_recurrent(x, group, gains, coordinates @ xi)
        dx = add_recurrent(dx, group, gains, jnp.where(t < settle, 0.0, moved) @ xi)
        grown.append(q)
    update = jax.vmap(partial(next_state, cell))
    return ((update(first, x), update(second, x + dx)), tuple(grown)), seen


def _summarise(
    ensemble: Ensemble, squares: np.ndarray, variances: np.ndarray, distance: float, samples: int, seed: int
) -> Replicas:
    """From E(u' − u)² (batches, times, D) and Var u (batches, D)."""
    names = ensemble.cell.state_names
    tail = squares[:, -(squares.shape[1] // 8) :].mean(axis=1)
    share = tail / np.maximum(2.0 * variances, 1e-300)
    total = squares.sum(axis=2)
    saturated = _saturated(total.mean(axis=0))
    return Replicas(
        ensemble=ensemble,
        times=np.arange(squares.shape[1]),
        distance={n: from_batches(squares[:, :, i]) for i, n in enumerate(names)},
        variance={n: from_batches(variances[:, i]) for i, n in enumerate(names)},
        growth=_growth(total),
        saturation={n: from_batches(share[:, i]) for i, n in enumerate(names)},
        saturated=saturated,
        initial_distance=distance,
        samples=samples,
        seed=seed,
        messages=() if saturated else ("the distance still changes at the end; increase steps for its saturation",),
    )


def _growth(total: np.ndarray) -> Estimate:
    """Slope of ½ log of the distances (batches, times) between where they have aligned and where they are not small."""
    steps = total.shape[1]
    mean = total.mean(axis=0)
    begin = max(2, int(_ALIGNING * steps))
    with np.errstate(divide="ignore"):
        beyond = np.nonzero(mean > _LINEAR * max(mean[-steps // 8 :].mean(), mean[0]))[0]
        growing = mean[-1] > mean[0]
        end = int(beyond[beyond > 0][0]) if growing and len(beyond[beyond > 0]) else steps
        begin = min(begin, end // 3)
        floor = np.nonzero(mean < 1e-25)[0]  # squares of rounding
        end = min(end, int(floor[0]) if len(floor) else steps)
        if end - begin < 4:
            return Estimate(float("nan"), float("nan"))
        t = np.arange(begin, end)
        return from_batches([np.polyfit(t, 0.5 * np.log(one[begin:end]), 1)[0] for one in total])


def _saturated(mean: np.ndarray) -> bool:
    eighth = len(mean) // 8
    last, before = mean[-eighth:].mean(), mean[-2 * eighth : -eighth].mean()
    return bool(abs(last - before) < 0.05 * last or last < 1e-20)
