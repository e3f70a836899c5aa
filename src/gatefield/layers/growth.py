"""How fast perturbations of a layer grow: its largest Lyapunov exponent along its own inputs, or left alone.

One perturbation for each sequence, all carried at once with the states, brought back to length 1 at every step. Left
alone, a layer that rests in the zero state has the log of its Jacobian's spectral radius there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

from gatefield.cells.cell import Cell
from gatefield.cells.snapshot import Snapshot
from gatefield.cells.tracing import next_state, source_values
from gatefield.layers.layer import Layer
from gatefield.networks import tangent
from gatefield.networks.network import eigenvalues
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import whole

SETTLING, MEASURED = 300, 300  # steps, where there are no inputs
SHORTEST = 8  # steps of inputs along which anything can be said
_STARTS = 4
_INITIAL = 0.6
_MARGINAL = 1e-3  # a zero state that is unstable by no more, as rounding may make it, counts as the edge itself
_SMALL = 200  # neurons up to which all eigenvalues are cheap


@dataclass(frozen=True, eq=False, repr=False)
class LayerExponent(Result):
    """The largest Lyapunov exponent of a layer, per step.

    Attributes:
        value: λ_max, of the sequences in which a perturbation lives on; −∞ where it vanishes in all of them.
        error: half-width of its 68 % interval, from the scatter between sequences, or between parts of one.
        route: "inputs", "autonomous", or "zero state", where it is log ρ(J).
        sequences: of each sequence, (sequences,).
        steps, transient: measured, and before them.
    """

    value: float
    error: float
    route: str
    sequences: np.ndarray
    steps: int
    transient: int

    @property
    def estimate(self) -> Estimate:
        """Value and error."""
        return Estimate(self.value, self.error)

    def description(self) -> Description:
        return Description(
            quantities={
                "lyapunov_max": Quantity(self.value, (), "1/step", json="value"),
                "lyapunov_max_error": Quantity(self.error, (), "1/step", json="error"),
                "sequences": Quantity(self.sequences, ("sequence",), "1/step"),
            },
            facts={"route": self.route, "steps": self.steps, "transient": self.transient},
        )


def layer_exponent(
    layer: Layer, inputs: Any = None, *, transient: int | None = None, steps: int | None = None, seed: int = 0
) -> LayerExponent:
    """λ_max of a layer along given inputs, from the zero state as frameworks start, or left alone.

    Left alone, it is taken at the zero state where that is fixed and stable or marginal, else along the activity
    into which random states settle.

    Args:
        layer: the layer.
        inputs: (steps, M) or (sequences, steps, M).
        transient: first steps that are not measured; by default a quarter of the inputs, 300 without.
        steps: measured steps where there are no inputs, 300 by default.
        seed: of the first perturbations, and of the states where there are no inputs.

    Raises:
        ValueError: inputs of the wrong width, or not longer than the transient.
    """
    if inputs is not None:
        u = layer.sequences(inputs)
        length = u.shape[1]
        skipped = length // 4 if transient is None else whole("transient", transient, 0)
        if length - skipped < 2:
            raise ValueError(f"transient={skipped} leaves fewer than 2 of {length} steps; give longer inputs")
        return _of_growth(_grow(layer, u, length, seed), skipped, "inputs")
    if zero_is_fixed(layer):
        radius = zero_state_radius(layer)
        if radius <= 1.0 + _MARGINAL:
            value = float(np.log(radius)) if radius > 0.0 else float("-inf")
            return LayerExponent(value, 0.0, "zero state", np.array([value]), 0, 0)
    skipped = SETTLING if transient is None else whole("transient", transient, 0)
    measured = MEASURED if steps is None else whole("steps", steps, 2)
    return settled_exponent(layer, transient=skipped, steps=measured, seed=seed)


def settled_exponent(
    layer: Layer, *, transient: int = SETTLING, steps: int = MEASURED, starts: int = _STARTS, seed: int = 0
) -> LayerExponent:
    """λ_max of a layer left alone, along the activity into which each of a few random states settles."""
    return _of_growth(_grow(layer, None, transient + steps, seed, starts), transient, "autonomous")


def _of_growth(logs: np.ndarray, transient: int, route: str) -> LayerExponent:
    """From log growths (steps, sequences)."""
    measured = logs[transient:]
    each = measured.mean(axis=0)
    living = each[np.isfinite(each)]
    parts = (
        living
        if len(living) > 1
        else np.array([part.mean() for part in np.array_split(measured[:, np.argmax(each)], 8)])
    )
    if not len(living):
        return LayerExponent(float("-inf"), float("nan"), route, each, len(measured), transient)
    error = float(from_batches(parts).error)
    lost = len(each) - len(living)
    said = (f"a change of the state vanishes altogether in {lost} of {len(each)} sequences; λ_max is of the others",)
    value = float(living.mean())
    return LayerExponent(value, error, route, each, len(measured), transient, messages=said if lost else ())


def _grow(layer: Layer, u: np.ndarray | None, steps: int, seed: int, starts: int = _STARTS) -> np.ndarray:
    count = starts if u is None else len(u)
    shape = (count, layer.size, len(layer.cell.state_names))
    rng = np.random.default_rng(whole("seed", seed, 0))
    start = np.zeros(shape) if u is not None else _INITIAL * rng.standard_normal(shape)
    direction = np.moveaxis(rng.standard_normal(shape), 1, 2)[:, None]
    with jax.enable_x64(True):
        drive = {} if u is None else {k: jnp.moveaxis(c, 1, 0) for k, c in layer.drive(u).items()}
        arrays = layer.indexed_weights, layer.bias_table, drive, jnp.asarray(start), jnp.asarray(direction)
        return np.asarray(_growth(layer.cell, steps, *arrays))


@partial(jax.jit, static_argnums=(0, 1))
def _growth(
    cell: Cell,
    steps: int,
    weights: dict[int, jax.Array],
    biases: jax.Array,
    drive: dict[int, jax.Array],
    s: jax.Array,
    frame: jax.Array,
) -> jax.Array:
    """Log growth of each sequence's perturbation (sequences, 1, D, N) at each step, (steps, sequences)."""

    def one(s: jax.Array, frame: jax.Array, now: dict[int, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return tangent.step(cell, weights, tangent.driven(biases, now), s, frame)

    def body(carry: tuple[jax.Array, jax.Array], now: dict[int, jax.Array]) -> Any:
        s, frame = jax.vmap(one)(*carry, now)
        length = jnp.sqrt(jnp.sum(frame**2, axis=(1, 2, 3)))
        return (s, frame / jnp.where(length > 0.0, length, 1.0)[:, None, None, None]), jnp.log(length)

    return jax.lax.scan(body, (s, frame), drive, length=steps)[1]


# ---- the zero state ----


def zero_is_fixed(layer: Layer) -> bool:
    """Whether all states at zero stay there without inputs."""
    with jax.enable_x64(True):
        s = jnp.zeros((layer.size, len(layer.cell.state_names)))
        images = [jax.vmap(partial(f, layer.cell))(s, layer.bias_table) for f in (next_state, source_values)]
        return all(bool(jnp.all(image == 0.0)) for image in images)


def zero_state_radius(layer: Layer) -> float:
    """Spectral radius of the layer's Jacobian at the zero state."""
    zero = Snapshot(layer.cell, np.zeros((layer.size, len(layer.cell.state_names))), np.asarray(layer.bias_table))
    return jacobian_radius(layer, zero)


def jacobian_radius(layer: Layer, snapshot: Snapshot) -> float:
    """Largest modulus of the eigenvalues of a layer's Jacobian, by Arnoldi iteration where it is large."""
    network = layer.network()
    d = len(layer.cell.state_names)
    dimension = d * layer.size
    if layer.size > _SMALL:

        def apply(vector: np.ndarray) -> np.ndarray:
            return network.apply_jacobian(snapshot, vector.reshape(1, d, layer.size)).ravel()

        operator = LinearOperator((dimension, dimension), matvec=apply, dtype=np.float64)  # pyright: ignore[reportCallIssue]
        start = np.random.default_rng(0).standard_normal(dimension)
        try:
            options: Any = {"k": 8, "ncv": 160, "v0": start, "tol": 1e-7, "maxiter": 60, "return_eigenvectors": False}
            found = eigs(operator, **options)
            return float(np.max(np.abs(found)))
        except ArpackNoConvergence:
            pass
    return float(np.max(np.abs(eigenvalues(network.jacobian(snapshot)))))
