"""Largest Lyapunov exponent at N = ∞, for any cell; exponents along given trajectories and of any map.

Mean field: a perturbation δs of a neuron obeys the linearised cell, and the perturbation of its pre-activation x_k is a
Gaussian process, independent of x, with covariance a_k² E[δv_k(t) δv_k(t')] (after Sompolinsky, Crisanti and Sommers
1988). It is sampled like the state itself, by a causal pass along the neurons' trajectories, with a basis and noise
of its own. That pass is linear, so δs may be brought back to length 1 at every step: the basis of past directions has
no scale. The rate at which E|δs|² grows is twice the largest exponent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.cells.tracing import next_state, source_values, structure
from gatefield.meanfield.causal import Bases, add_recurrent, causal_scan, extend_basis, noise_of, sample_start
from gatefield.meanfield.sampled import MeanField, run_batches, summarise
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import whole
from gatefield.spectra.support import spectral_radius

# Standard errors from zero at which a sign is believed.
_CLEAR = 3.0
_REPEATED = 0.98  # C(period)/C(0)


@dataclass(frozen=True, eq=False, repr=False)
class LargestExponent(Result):
    """The largest Lyapunov exponent of an infinite network, per step.

    Attributes:
        value: λ_max; −∞ where perturbations vanish at once.
        error: half-width of its 68 % interval, from independent batches.
        verdict: "chaotic" (λ_max > 0), "stable" (< 0) or "undecided" (within three errors of 0).
        route: "tangent mean field", or "spectral radius" at rest, where λ_max = log ρ(J).
        growth: log of the growth of a perturbation's length at each step of the tangent pass, mean over batches.
        field: the state along which it was taken, regime included.
        messages: what of state and growth is not stationary, and what to change.
    """

    value: float
    error: float
    verdict: str
    route: str
    growth: Estimate
    field: MeanField

    @property
    def ensemble(self) -> Ensemble:
        """What it is of."""
        return self.field.ensemble

    def __str__(self) -> str:
        return f"{Estimate(self.value, self.error)} per step: {self.verdict}"

    def description(self) -> Description:
        field, count = self.field, len(self.growth.value)
        return Description(
            quantities={
                "lyapunov_max": Quantity(Estimate(self.value, self.error), units="1/step", source=self.route),
                "growth": Quantity(self.growth, ("time",), "1/step", "tangent mean field", json=""),
            },
            coordinates={"time": Quantity(field.steps - count + np.arange(1, count + 1), units="steps")},
            facts={
                "ensemble": self.ensemble, "verdict": self.verdict, "regime": field.regime, "route": self.route,
                "message": self.message, "steps": field.steps, "samples": field.samples, "batches": field.batches,
                "seed": field.seed,
            },
        )  # fmt: skip


def lyapunov_max(
    ensemble: Ensemble,
    *,
    steps: int = 400,
    samples: int = 8000,
    seed: int = 0,
    batches: int | None = None,
    initial: float = 0.6,
) -> LargestExponent:
    """The largest Lyapunov exponent of an infinite network of any cell, autonomous or driven.

    State and perturbation run together; growth is averaged over the second half of the run. Where activity comes to
    rest, λ_max is the log of the spectral radius there. At rest with gates that vary between neurons and may stay
    nearly open,
    the radius tends to 1 as more neurons are sampled: only whether it is below 1 is informative then.

    Args:
        ensemble: the random networks.
        steps: length of the run, at least 16.
        samples: sampled neurons in all.
        seed: of everything drawn.
        batches: independent batches that share the samples, as in `mean_field`.
        initial: standard deviation of every state variable at the start.

    Raises:
        ValueError: an argument out of its range.
    """
    steps = whole("steps", steps, 16)
    options = {"samples": samples, "seed": seed, "batches": batches, "initial": initial}
    runs = [run.without_path() for run in runs_with_growth(ensemble, steps=steps, **options)]
    return largest_exponent(ensemble, runs, steps=steps, seed=seed)


@dataclass(frozen=True, eq=False)
class TangentRun:
    """One batch of the mean field, with a perturbation along it.

    Attributes:
        run: what `meanfield.summarise` needs.
        growth: log growth of the perturbation at each step from a quarter of the run on.
        before, xs: states before each of these steps, (steps, n, D), and pre-activations, (steps, n, K).
    """

    run: dict[str, np.ndarray]
    growth: np.ndarray
    before: np.ndarray
    xs: np.ndarray

    def without_path(self) -> TangentRun:
        """The same without trajectories, which take memory."""
        return replace(self, before=self.before[:0], xs=self.xs[:0])


def runs_with_growth(ensemble: Ensemble, *, steps: int, seed: int, **options: Any) -> Iterator[TangentRun]:
    """Batches of the mean field with perturbations along them; options as in `meanfield.run_batches`."""
    for i, run in enumerate(run_batches(ensemble, steps=steps, keep_from=steps // 4, seed=seed, **options)):
        before, xs = run.pop("path_state"), run.pop("path_x")
        yield TangentRun(run, _tangent_pass(ensemble, before, xs, seed=(seed, i)), before, xs)


def largest_exponent(ensemble: Ensemble, runs: Sequence[TangentRun], *, steps: int, seed: int) -> LargestExponent:
    """The largest exponent that batches tell."""
    field = summarise(ensemble, [one.run for one in runs], steps=steps, seed=seed)
    growth = np.array([one.growth for one in runs])
    window = growth[:, steps // 2 - steps // 4 :]
    window = window[:, window.shape[1] % (2 * field.period) :]
    if field.regime in ("quiescent", "fixed point"):
        value, route = _at_rest(field), "spectral radius"
    else:
        value, route = _rate(window, field.period, repeating=_repeats(field)), "tangent mean field"
    with np.errstate(invalid="ignore"):  # −∞ where perturbations vanish
        by_step = from_batches(growth)
    message = field.message or (_drifting(window) if route == "tangent mean field" else "")
    return LargestExponent(
        value=float(value.value),
        error=float(value.error),
        verdict=_verdict(value),
        route=route,
        growth=by_step,
        field=field,
        messages=(message,) if message else (),
    )


def _at_rest(field: MeanField) -> Estimate:
    ensemble = field.ensemble
    at_zero = field.regime == "quiescent" and ensemble.zero_is_fixed
    radius = spectral_radius(ensemble, Snapshot.at_zero(ensemble) if at_zero else field.snapshot)
    if radius.value <= 0.0:
        return Estimate(float("-inf"), 0.0)
    return Estimate(float(np.log(radius.value)), float(radius.error / radius.value))


def _repeats(field: MeanField) -> bool:
    """Whether neurons do the same again after a period, all or nearly."""
    correlations = [field.autocorrelation[name].value for name in field.ensemble.cell.state_names]
    kept = [c[field.period] > _REPEATED * c[0] for c in correlations if field.period < len(c)]
    return field.regime == "periodic" or (field.period > 1 and all(kept))


def _rate(window: np.ndarray, period: int = 1, *, repeating: bool = False) -> Estimate:
    """½ d/dt log E|δs|² from the log growth of sampled lengths L, (batches, steps).

    The pass is linear, so the square of a sampled length is right on average, its logarithm is not: it is low by half
        its variance, which grows in time. Hence d/dt (E L + Var L), the latter Σ Cov(g_t, g_t') over lags (Bartlett's
        weights). The same sum says how far the mean may be off, and better than the scatter of a few batches does
        alone.

    Where neurons repeat what they do after a period, the growth of each batch is that of its own neurons for ever: its
    logarithms are right as they are, and differences between batches no noise in time.

    Args:
        window: whole periods.
        period: of the state or its averages.
        repeating: whether neurons repeat what they do.
    """
    plain = from_batches(window.mean(axis=1))
    if repeating:
        return plain
    batches, steps = window.shape
    phases = window.reshape(batches, -1, period).mean(axis=(0, 1))
    about = window - np.tile(phases, steps // period)
    longest = min(int(np.ceil(np.sqrt(steps))), steps - 1)
    covariance = np.array([np.mean(about[:, : steps - lag] * about[:, lag:]) for lag in range(longest + 1)])
    weights = np.where(np.arange(longest + 1) == 0, 1.0, 2.0) * (1.0 - np.arange(longest + 1) / (longest + 1))
    variance_rate = max(float(weights @ covariance), 0.0)
    uncertain = variance_rate * np.sqrt(4.0 * longest / (3.0 * batches * steps))  # of a Bartlett estimate
    error = max(float(plain.error), np.sqrt(variance_rate / (batches * steps)))
    return Estimate(plain.value + variance_rate, float(np.hypot(error, uncertain)))


def _verdict(value: Estimate) -> str:
    if abs(value.value) <= _CLEAR * value.error:
        return "undecided"
    return "chaotic" if value.value > 0.0 else "stable"


def _drifting(window: np.ndarray) -> str:
    """Whether growth changes between the halves of the window, (batches, steps)."""
    half = window.shape[1] // 2
    change = from_batches(window[:, half:].mean(axis=1) - window[:, :half].mean(axis=1))
    if abs(change.value) > max(4.0 * change.error, 2e-3):
        return f"the growth of perturbations still drifts ({change.value:+.2g} within the window); increase steps"
    return ""


def _tangent_pass(ensemble: Ensemble, before: np.ndarray, xs: np.ndarray, *, seed: tuple[int, int]) -> np.ndarray:
    """Log growth of a perturbation at each step of trajectories (steps, n, D) and (steps, n, K)."""
    with jax.enable_x64(True):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed[0]), 2_000_000), seed[1])
        start, raw = sample_start(ensemble, key, *before.shape[:2])
        arrays = jnp.asarray(ensemble.gains), jnp.asarray(before), jnp.asarray(xs)
        return np.asarray(_tangent_growth(ensemble.cell, *arrays, start, raw))


@partial(jax.jit, static_argnums=0)
def _tangent_growth(
    cell: Cell, gains: jax.Array, before: jax.Array, xs: jax.Array, start: jax.Array, raw: list[jax.Array]
) -> jax.Array:
    steps, size, _ = before.shape
    step = partial(_tangent_step, cell, gains)
    first = start / jnp.sqrt(jnp.mean(jnp.sum(start**2, axis=1)))
    return causal_scan(step, first, noise_of(cell, raw), size, (jnp.arange(steps), before, xs))[1]


def _tangent_step(
    cell: Cell,
    gains: jax.Array,
    noise: list[jax.Array],
    carry: tuple[jax.Array, Bases],
    now: tuple[jax.Array, jax.Array, jax.Array],
) -> tuple[tuple[jax.Array, Bases], jax.Array]:
    ds, bases = carry
    t, s, x = now
    dx = jnp.zeros_like(x)
    grown = []
    for group, q, xi in zip(structure(cell).groups, bases, noise, strict=True):
        _, dv = jax.jvp(jax.vmap(partial(source_values, cell)), (s, x), (ds, dx))
        coordinates, q = extend_basis(q, dv[:, group.members[0]], t)
        dx = add_recurrent(dx, group, gains, coordinates @ xi)
        grown.append(q)
    _, ds = jax.jvp(jax.vmap(partial(next_state, cell)), (s, x), (ds, dx))
    length = jnp.sqrt(jnp.mean(jnp.sum(ds**2, axis=1)))
    return (ds / jnp.where(length > 0.0, length, 1.0), tuple(grown)), jnp.log(length)
