"""Dynamical mean-field theory of an ensemble at N = ∞, by one causal pass (`causal`) [CKS 9, 36–41, 43, 48–51]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble
from gatefield.cells.regime import classify, return_distances
from gatefield.cells.snapshot import Snapshot
from gatefield.cells.tracing import next_state, response_values, source_values, structure
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
from gatefield.numerics.correlation import decay_time, lag_averages
from gatefield.numerics.draws import split_key
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, known_names, whole
from gatefield.running.progress import track


@dataclass(frozen=True, eq=False, repr=False)
class MeanField(Result):
    """The state of an infinite network, as sampled neurons tell it.

    Averages run over neurons and over the steps of `window`; mappings are keyed by state variable and by
    pre-activation; errors are standard errors between independent batches.

    Attributes:
        mean: E[u].
        variance: E[u²] − E[u]².
        autocorrelation: C_u(lag) = E[u(t) u(t + lag)] (not centred, [CKS 42]), at `lags`.
        history: E[u(t)²] of the state variables at each step, an array of `steps`.
        motion: E[(u(t) − u(t−1))²] likewise.
        snapshot: all sampled neurons at the last step.
        regime: "quiescent" (activity dies to the zero fixed point), "fixed point", "periodic" (neurons repeat what they
            do), "chaotic" (time-dependent on its own), or "driven" (time-dependent under a varying current).
        drift: relative change of E[u²] between the two halves of the window, summed over the state variables.
        response_mean: E of what pre-activations act by (`Cell.responses`): κ = E σ(ζ) of a gate, E φ(y) of a candidate
            [CKS 44].
        response_autocorrelation: their correlations E[σ(ζ(t)) σ(ζ(t + lag))] and E[φ(y(t)) φ(y(t + lag))], not centred,
            at `lags`: the C_r, C_z and C_φ of [CKS 42, 44].
        period: steps after which neurons repeat what they do, or nearly; or else after which E[s²] does, as `messages`
            then say. 1 where neither takes turns.
        correlations: centred autocorrelations of each batch, (batches, lags).
    """

    ensemble: Ensemble
    steps: int
    samples: int
    batches: int
    seed: int
    window: tuple[int, int]
    mean: Mapping[str, Estimate]
    variance: Mapping[str, Estimate]
    autocorrelation: Mapping[str, Estimate]
    lags: np.ndarray
    history: Mapping[str, Estimate]
    motion: Mapping[str, Estimate]
    snapshot: Snapshot
    regime: str
    drift: Estimate
    response_mean: Mapping[str, Estimate] = field(default_factory=dict)
    response_autocorrelation: Mapping[str, Estimate] = field(default_factory=dict)
    period: int = 1
    correlations: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def autocorrelation_time(self, name: str) -> Estimate:
        """Lag at which the centred autocorrelation of `name` has fallen to 1/e of its value at lag 0, in steps.

        Infinite where it does not fall that far within `lags`, or comes back for ever; NaN where activity has died.
        """
        if self.regime == "quiescent":
            return Estimate(float("nan"), float("nan"))
        known_names("name", [name], tuple(self.autocorrelation), "the mean field")
        if self.regime == "periodic":
            return Estimate(float("inf"), float("nan"))
        return decay_time(self.autocorrelation[name].value - self.mean[name].value ** 2, self.correlations.get(name))

    def description(self) -> Description:
        time = {name: self.autocorrelation_time(name) for name in self.mean}
        return Description(
            quantities={
                "mean": Quantity(self.mean, ("variable",), source="E[u]"),
                "variance": Quantity(self.variance, ("variable",), source="E[u²] − E[u]², CKS 39–44, 50–51"),
                "autocorrelation_time": Quantity(time, ("variable",), "steps"),
                "autocorrelation": Quantity(
                    self.autocorrelation, ("variable", "lag"), source="E[u(t) u(t + lag)], CKS 42, 51"
                ),
                "response_mean": Quantity(
                    self.response_mean or None, ("response",), source="E r, r = σ(x) or φ(x), CKS 44"
                ),
                "response_autocorrelation": Quantity(
                    self.response_autocorrelation or None, ("response", "lag"), source="E[r(t) r(t + lag)], CKS 42, 44"
                ),
                "history": Quantity(self.history, ("state", "time"), json=""),
                "motion": Quantity(self.motion, ("state", "time"), json=""),
                "drift": Quantity(self.drift),
            },
            coordinates={
                "lag": Quantity(self.lags, units="steps", json="lags"),
                "time": Quantity(np.arange(1, self.steps + 1), units="steps"),
            },
            facts={
                "ensemble": self.ensemble, "regime": self.regime, "message": self.message, "steps": self.steps,
                "samples": self.samples, "batches": self.batches, "seed": self.seed, "period": self.period,
            },
        )  # fmt: skip


def mean_field(
    ensemble: Ensemble,
    *,
    steps: int = 300,
    samples: int = 8000,
    seed: int = 0,
    batches: int | None = None,
    initial: float = 0.6,
) -> MeanField:
    """Sample the mean field of `ensemble` from a random start and average over the second half of the run.

    The processes of [CKS 9, 36–43, 48–51], for any cell.

    Args:
        ensemble: the random networks.
        steps: length of the run, at least 8.
        samples: sampled neurons in all.
        seed: any whole number from 0 on; the same one gives the same numbers on the same machine.
        batches: how many independent batches share the samples; each carries its own finite-size effect, of order
            batches/samples. By default as many as leave each 2000 neurons and twice as many neurons as steps, from
            4 to 16.
        initial: standard deviation of every state variable at the start. Where silence and activity coexist, it
            decides between them.

    Raises:
        ValueError: an argument out of its range.
    """
    runs = list(run_batches(ensemble, steps=steps, samples=samples, seed=seed, batches=batches, initial=initial))
    return summarise(ensemble, runs, steps=steps, seed=seed)


def run_batches(
    ensemble: Ensemble,
    *,
    steps: int,
    samples: int,
    seed: int,
    batches: int | None = None,
    initial: float = 0.6,
    keep_from: int | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Runs of independent batches of neurons, one by one: what `summarise` needs of each.

    With `keep_from`, also their trajectories from that step on: "path_state" (steps, n, D), the states before each
    step, and "path_x" (steps, n, K).
    """
    steps, samples, batches = check_run(steps, samples, batches)
    seed, initial = whole("seed", seed, 0), at_least("initial", initial, 0.0)
    size = -(-samples // batches)
    with jax.enable_x64(True):
        keys = split_key(jax.random.key(seed), batches)
    for key in track(keys, "mean field"):
        with jax.enable_x64(True):
            drive_key, key = split_key(key, 2)
            drive = sample_drive(ensemble, drive_key, steps, size)
            start = sample_start(ensemble, key, steps, size)
            run = _run_batch(ensemble.cell, steps, keep_from, ensemble.gains, ensemble.means, initial, drive, *start)
            run = {name: np.asarray(value) for name, value in run.items()}
        yield run


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run_batch(
    cell: Cell,
    steps: int,
    keep_from: int | None,
    gains: jax.Array,
    means: jax.Array,
    initial: jax.Array,
    drive: dict[int, jax.Array],
    normal: jax.Array,
    raw: list[jax.Array],
) -> dict[str, jax.Array]:
    """One batch of neurons over `steps` from the states initial · normal; statistics over their second half."""
    first = initial * normal
    step = partial(_step, cell, gains, means, drive)
    _, (states, xs) = causal_scan(step, first, noise_of(cell, raw), len(first), jnp.arange(steps))
    before = jnp.concatenate([first[None], states])
    out = _statistics(cell, states, xs, before, steps // 2) | {"last_state": before[-2], "last_x": xs[-1]}
    if keep_from is not None:
        out |= {"path_state": before[keep_from:-1], "path_x": xs[keep_from:]}
    return out


def _step(
    cell: Cell,
    gains: jax.Array,
    means: jax.Array,
    drive: dict[int, jax.Array],
    noise: list[jax.Array],
    carry: tuple[jax.Array, Bases],
    t: jax.Array,
) -> tuple[tuple[jax.Array, Bases], tuple[jax.Array, jax.Array]]:
    s, bases = carry
    x = preactivations(means, drive, s.shape[0], t)
    grown = []
    for group, q, xi in zip(structure(cell).groups, bases, noise, strict=True):
        v = jax.vmap(partial(source_values, cell))(s, x)[:, group.members[0]]
        coordinates, q = extend_basis(q, v, t)
        x = add_recurrent(x, group, gains, coordinates @ xi)
        grown.append(q)
    s = jax.vmap(partial(next_state, cell))(s, x)
    return (s, tuple(grown)), (s, x)


def _statistics(cell: Cell, states: jax.Array, xs: jax.Array, before: jax.Array, start: int) -> dict[str, jax.Array]:
    """Averages over neurons (and time where stationary) of one batch, variables along the last axis."""
    motion = jnp.mean((before[1:] - before[:-1]) ** 2, axis=1)
    window = jnp.concatenate([states, xs], axis=2)[start:]
    responses = response_values(cell, xs[start:])
    return {
        "history": jnp.mean(states**2, axis=1),
        "motion": motion,
        "returns": jnp.array(return_distances(before, start)),
        "mean": (mean := jnp.mean(window, axis=(0, 1))),
        "variance": jnp.mean((window - mean) ** 2, axis=(0, 1)),  # of differences: it is never negative
        "autocorrelation": jnp.stack([lag_averages(window[:, :, u]) for u in range(window.shape[2])]),
        "response_mean": jnp.array([jnp.mean(r) for r in responses.values()]),
        "response_autocorrelation": jnp.array([lag_averages(r) for r in responses.values()]),
    }


def summarise(ensemble: Ensemble, batch_runs: list[dict[str, np.ndarray]], *, steps: int, seed: int) -> MeanField:
    """The mean field that runs of independent batches tell."""
    runs = {name: np.stack([run[name] for run in batch_runs]) for name in batch_runs[0]}
    cell, start = ensemble.cell, steps // 2
    names = (*cell.state_names, *cell.preactivation_names)
    batches, size = runs["last_state"].shape[:2]
    correlation = {n: from_batches(runs["autocorrelation"][:, i]) for i, n in enumerate(names)}
    responses = list(cell.responses(dict.fromkeys(cell.preactivation_names, 0.0)))
    energy = runs["history"].sum(axis=2)
    motion = runs["motion"].sum(axis=2).mean(axis=0)
    regime, message, period = classify(ensemble, energy, motion, runs["returns"].mean(axis=0), start)
    drift = _drift(energy, start)
    if regime in ("chaotic", "driven"):
        message = message or _unsteady(drift, {n: correlation[n].value for n in cell.state_names})
    return MeanField(
        ensemble=ensemble,
        steps=steps,
        samples=batches * size,
        batches=batches,
        seed=seed,
        window=(start, steps),
        mean={n: from_batches(runs["mean"][:, i]) for i, n in enumerate(names)},
        variance={n: from_batches(runs["variance"][:, i]) for i, n in enumerate(names)},
        autocorrelation=correlation,
        lags=np.arange(runs["autocorrelation"].shape[2]),
        history={n: from_batches(runs["history"][:, :, i]) for i, n in enumerate(cell.state_names)},
        motion={n: from_batches(runs["motion"][:, :, i]) for i, n in enumerate(cell.state_names)},
        snapshot=Snapshot(cell, np.concatenate(runs["last_state"]), np.concatenate(runs["last_x"]), groups=batches),
        regime=regime,
        messages=(message,) if message else (),
        drift=drift,
        response_mean={n: from_batches(runs["response_mean"][:, i]) for i, n in enumerate(responses)},
        response_autocorrelation={
            n: from_batches(runs["response_autocorrelation"][:, i]) for i, n in enumerate(responses)
        },
        period=period,
        correlations={n: runs["autocorrelation"][:, i] - runs["mean"][:, i, None] ** 2 for i, n in enumerate(names)},
    )


def _drift(energy: np.ndarray, start: int) -> Estimate:
    """Relative change of E[s²] between the halves of the window, from energies (batches, steps)."""
    middle = (start + energy.shape[1]) // 2
    first, second = energy[:, start:middle].mean(axis=1), energy[:, middle:].mean(axis=1)
    scale = max(float(np.mean(first + second)) / 2, 1e-300)
    return from_batches((second - first) / scale)


def _unsteady(drift: Estimate, correlations: Mapping[str, np.ndarray]) -> str:
    if abs(drift.value) > max(0.01, 3.0 * drift.error):
        return f"E[s²] still drifts ({100 * drift.value:+.1f} % within the window); increase steps"
    for name, c in correlations.items():
        fall = c[0] - c[-1]
        if fall > 0.01 * c[0] and c[len(c) // 2] - c[-1] > 0.25 * fall:
            return (
                f"the autocorrelation of {name} is still falling at lag {len(c) - 1}, the longest that the window "
                "holds; increase steps"
            )
    return ""
