"""What an initialisation aims at, and the factor on the gains at which the theory expects it.

Where the zero state is fixed and there are no inputs, the spectrum's edge is where the Perron eigenvalue of T(λ) is 1
[CKS 15, 30]; the factor is found by Newton's method, with the derivative of its logarithm by automatic
differentiation. Otherwise the mean field with the layer's gains, biases and input currents is solved at some factors,
with the same noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble
from gatefield.cells.tracing import local_derivatives
from gatefield.chaos.largest import lyapunov_max
from gatefield.meanfield.sampled import mean_field
from gatefield.numerics.crossings import search
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import finite, positive
from gatefield.spectra.support import spectral_radius

KINDS = ("edge", "spectral_radius", "timescale", "slow_modes")
_NEWTON = 30
_PERRON = 200  # power iterations of a K×K matrix
_SAMPLES, _STEPS = 2000, 100
_NOWHERE = "the theory finds no such gain; hold fewer gains, or give another target"


@dataclass(frozen=True)
class Target:
    """What an initialisation aims at.

    Attributes:
        kind: "edge" (λ_max = 0), "spectral_radius" of the Jacobian, "timescale" (λ_max = −1/value steps) or
            "slow_modes" (share of eigenvalues with |λ − 1| < 0.05).
        value: the number aimed at; 0 for the edge.
    """

    kind: str
    value: float = 0.0

    @property
    def exponent(self) -> float:
        """λ_max, or the log of the spectral radius, that is aimed at."""
        if self.kind == "timescale":
            return -1.0 / self.value
        return float(np.log(self.value)) if self.kind == "spectral_radius" else 0.0

    @property
    def quantity(self) -> str:
        """What is measured."""
        names = {"spectral_radius": "spectral radius", "slow_modes": "share of slow modes", "timescale": "timescale"}
        return names.get(self.kind, "λ_max per step")

    @property
    def units(self) -> str:
        """Of what is measured."""
        return {"edge": "1/step", "timescale": "steps"}.get(self.kind, "1")

    def __str__(self) -> str:
        return self.kind if self.kind == "edge" else f"{self.kind} {self.value:g}"


def as_target(given: Any) -> Target:
    """A target from what a user gave: "edge", or one of the others with its number, {"timescale": 100}.

    Raises:
        ValueError: anything else, or a number out of its range.
    """
    if isinstance(given, Target):
        return given
    if given == "edge":
        return Target("edge")
    if not isinstance(given, Mapping) or len(given) != 1 or next(iter(given)) not in KINDS[1:]:
        raise ValueError(
            f"target={given!r} is not known; use 'edge', {{'spectral_radius': 0.95}}, {{'timescale': 100}} (steps) or "
            "{'slow_modes': 0.2} (share)"
        )
    ((kind, number),) = given.items()
    value = positive(f"target {kind}", number)
    if kind == "slow_modes" and finite(kind, number) >= 1.0:
        raise ValueError(f"target slow_modes={number!r} is a share and must lie between 0 and 1")
    return Target(kind, value)


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Result):
    """What the theory expects.

    Attributes:
        factor: on the free gains; NaN where the theory finds none.
        route: how it was found.
        slope: derivative of the log of the Perron eigenvalue, or of λ_max, by the log of the factor.
    """

    factor: float
    route: str
    slope: float

    def description(self) -> Description:
        return Description(
            {"factor": Quantity(self.factor), "slope": Quantity(self.slope)}, facts={"route": self.route}
        )


def zero_state_factor(
    cell: Cell, gains: np.ndarray, free: np.ndarray, biases: np.ndarray, modulus: float
) -> Prediction:
    """The factor on the free gains at which the spectrum at the zero state ends at λ = modulus on the real axis.

    Args:
        cell: the cell.
        gains: (K,).
        free: which of them the factor multiplies, (K,) of truth values.
        biases: of the neurons, (n, K), over which T(λ) is averaged.
        modulus: where the spectrum is to end.
    """
    route = "spectrum at the zero state, by Newton's method with automatic differentiation"
    with jax.enable_x64(True):
        arrays = jnp.asarray(gains), jnp.asarray(free), jnp.asarray(biases), jnp.asarray(float(modulus))
        u, value, slope = 0.0, np.nan, np.nan
        for _ in range(_NEWTON):
            value, slope = (float(a) for a in _log_perron(cell, u, *arrays))
            if not np.isfinite(value) or not slope > 0.0:
                return Prediction(float("nan"), route, float("nan"), messages=(_NOWHERE,))
            u -= float(np.clip(value / slope, -2.0, 2.0))
            if abs(value) < 1e-12:
                break
    return Prediction(float(np.exp(u)), route, slope)


@partial(jax.jit, static_argnums=0)
def _log_perron(cell: Cell, u: float, *arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.value_and_grad(partial(log_perron_at_zero, cell))(jnp.asarray(u, jnp.float64), *arrays)


def log_perron_at_zero(
    cell: Cell, log_factor: jax.Array, gains: jax.Array, free: jax.Array, biases: jax.Array, point: jax.Array
) -> jax.Array:
    """Log of the Perron eigenvalue of T(λ) at the zero state, λ real: a differentiable function of the gains."""
    states = len(cell.state_names)
    f_s, f_x, v_s, v_x = local_derivatives(cell, jnp.zeros((len(biases), states)), biases)
    resolvent = _inverse(point * jnp.eye(states) - f_s)
    gamma = v_s @ resolvent @ f_x + v_x
    scaled = gains * jnp.where(free, jnp.exp(log_factor), 1.0)
    matrix = scaled[:, None] ** 2 * jnp.mean(gamma**2, axis=0)

    def step(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        image = matrix @ carry[0]
        size = jnp.sum(image)
        return image / size, jnp.log(size)

    start = jnp.ones(len(gains)) / len(gains)
    return jax.lax.fori_loop(0, _PERRON, step, (start, jnp.zeros(())))[1]


def _inverse(matrices: jax.Array) -> jax.Array:
    """Inverses of small matrices (n, D, D) by their characteristic polynomial (Faddeev–LeVerrier)."""
    size = matrices.shape[-1]
    eye = jnp.eye(size)
    term, coefficient = jnp.broadcast_to(eye, matrices.shape), jnp.ones(())
    previous = term
    for power in range(1, size + 1):
        previous = term
        product = matrices @ term
        coefficient = -jnp.trace(product, axis1=1, axis2=2) / power
        term = product + coefficient[:, None, None] * eye
    return -previous / coefficient[:, None, None]


def mean_field_factor(ensemble: Ensemble, free: tuple[str, ...], target: Target, *, seed: int = 0) -> Prediction:
    """The factor on the free gains at which the mean field reaches the target."""
    route = "mean field with these biases and input currents"

    def excess(log_factor: float) -> float:
        factor = float(np.exp(log_factor))
        gain = {name: g * factor if name in free else g for name, g in ensemble.gain.items()}
        here = replace(ensemble, gain=gain)
        if target.kind == "spectral_radius":
            field = mean_field(here, steps=_STEPS, samples=_SAMPLES, seed=seed)
            radius = spectral_radius(here, field.snapshot).value
            return float(np.log(radius)) - target.exponent if radius > 0.0 else float("-inf")
        return lyapunov_max(here, steps=_STEPS, samples=_SAMPLES, seed=seed).value - target.exponent

    found = search(excess, 0.0, tolerance=0.002, limit=18)
    near = sorted(found.tried, key=lambda point: abs(point[0] - found.at))[:3]
    x, y = np.array([point for point in near if np.isfinite(point[1])]).reshape(-1, 2).T
    slope = float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else float("nan")
    if not found.reached:
        factors = np.exp([x for x, _ in found.tried])
        sought = f"sought at factors from {factors.min():.3g} to {factors.max():.3g}: {_NOWHERE}"
        return Prediction(float("nan"), route, slope, messages=(sought,))
    return Prediction(float(np.exp(found.at)), route, slope)
