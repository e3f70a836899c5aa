"""Fixed and slow points of a layer: states that it maps onto themselves, or nearly, at constant inputs.

Speeds q = ½ |F(s) − s|² are brought down from many starts at once (Sussillo and Barak 2013), by Adam with gradients
through the cell; what comes out is deduplicated and polished by Newton's method. A state has all the cell's variables,
an LSTM's c and h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.layers.layer import Layer
from gatefield.networks.network import Network, Path, eigenvalues, trajectory
from gatefield.numerics.algebra import ComplexArray
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import positive, whole
from gatefield.running.memory import require
from gatefield.running.progress import track

_SETTLED = 1e-9  # largest |F(s) − s| of a fixed point, per state variable
_NEWTON = 30
_MARGIN = 1e-6  # an eigenvalue counts as outside the unit circle beyond this


@dataclass(frozen=True, eq=False, repr=False)
class StatePoint(Result):
    """A fixed or slow point.

    Attributes:
        state: (N, D).
        inputs: at which it is one, (M,).
        speed: q = ½ |F(s) − s|².
        fixed: whether it is a fixed point, to rounding; else it is only slow.
        eigenvalues: of the Jacobian there, largest modulus first.
        starts: which starts came to it.
    """

    state: np.ndarray
    inputs: np.ndarray
    speed: float
    fixed: bool
    eigenvalues: ComplexArray
    starts: np.ndarray

    @property
    def stable(self) -> bool:
        """Whether small perturbations die: all eigenvalues within the unit circle."""
        return bool(np.abs(self.eigenvalues[0]) < 1.0)

    @property
    def unstable_modes(self) -> int:
        """Number of eigenvalues outside the unit circle."""
        return int(np.count_nonzero(np.abs(self.eigenvalues) > 1.0 + _MARGIN))

    def description(self) -> Description:
        return Description(
            quantities={
                "speed": Quantity(self.speed, source="½ |F(s) − s|²"),
                "fixed": Quantity(self.fixed),
                "stable": Quantity(self.stable),
                "unstable_modes": Quantity(self.unstable_modes),
                "state": Quantity(self.state, ("neuron", "variable")),
                "inputs": Quantity(self.inputs, ("input",)),
                "eigenvalue": Quantity(self.eigenvalues, ("mode",), json=""),
                "starts": Quantity(self.starts, ("start",)),
            },
            parts={"eigenvalues": self.eigenvalues[:10]},
        )


@dataclass(frozen=True, eq=False, repr=False)
class StatePoints(Result, Sequence[StatePoint]):
    """Fixed and slow points of a layer, fixed ones first, then by speed.

    Attributes:
        points: without repetitions.
        raw: where each start was brought before they were deduplicated and polished, (starts, N, D).
        raw_speed: q there, (starts,).
    """

    layer: Layer
    points: tuple[StatePoint, ...]
    raw: np.ndarray
    raw_speed: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: Any) -> Any:
        return self.points[index]

    @property
    def fixed(self) -> tuple[StatePoint, ...]:
        """The fixed points."""
        return tuple(p for p in self.points if p.fixed)

    @property
    def stable(self) -> tuple[StatePoint, ...]:
        """The stable fixed points."""
        return tuple(p for p in self.fixed if p.stable)

    def __str__(self) -> str:
        slow = len(self.points) - len(self.fixed)
        text = (
            f"{self.layer.name}: {len(self.fixed)} fixed points, {len(self.stable)} of them stable; {slow} slow points"
        )
        return f"{text}. {self.message}" if self.message else text

    def description(self) -> Description:
        def each(name: str, *shape: int, dtype: type = float) -> np.ndarray:
            return np.array([getattr(p, name) for p in self.points], dtype).reshape(len(self.points), *shape)

        _, size, variables = self.raw.shape
        points = {
            "state": Quantity(each("state", size, variables), ("point", "neuron", "variable")),
            "speed": Quantity(each("speed"), ("point",), source="½ |F(s) − s|²"),
            "fixed": Quantity(each("fixed", dtype=bool), ("point",)),
            "stable": Quantity(each("stable", dtype=bool), ("point",)),
            "eigenvalue": Quantity(each("eigenvalues", size * variables, dtype=complex), ("point", "mode")),
        }
        return Description(
            quantities={
                **{name: replace(quantity, json="") for name, quantity in points.items()},
                "raw": Quantity(self.raw, ("start", "neuron", "variable"), json=""),
                "raw_speed": Quantity(self.raw_speed, ("start",)),
            },
            coordinates={"variable": Quantity(list(self.layer.cell.state_names))},
            facts={"layer": self.layer.title(), "message": self.message},
            parts={"points": self.points},
        )


def find_fixed_points(
    layer: Layer | Network,
    starts: Any,
    *,
    inputs: Any = None,
    steps: int = 2000,
    rate: float = 0.03,
    distance: float = 1e-3,
    slow: float = 1e-3,
) -> StatePoints:
    """Fixed and slow points of a layer at constant inputs, from many starts at once.

    Args:
        layer: with any cell; or a network.
        starts: states (starts, N, D), with the variables in the order of `cell.state_names`; or a `Path` or several,
            whose states they are. Take states that the layer visits, so that the points are those that matter.
        inputs: constant, (M,), or for each start, (starts, M); 0 by default.
        steps: of the minimisation.
        rate: its first step size, falling to 0.
        distance: points nearer than this, per √(N D), are one.
        slow: what is no fixed point is kept as slow below this speed q, and left out above it.

    Raises:
        ValueError: starts or inputs of the wrong shape or not finite, or states that do not fit into memory.
    """
    if isinstance(layer, Network):
        layer = Layer.of(layer)
    s, u = _checked_starts(layer, starts), None
    u = _checked_inputs(layer, inputs, len(s))
    steps, rate = whole("steps", steps, 1), positive("rate", rate)
    distance, slow = positive("distance", distance), positive("slow", slow)
    d = len(layer.cell.state_names)
    require(2 * (d * layer.size) ** 2 * 8, what="its Jacobian", size=layer.size)
    raw = _descend(layer, s, u, steps, rate)
    raw_speed = _speeds(layer, raw, u)
    clusters = track(_clusters(raw, u, raw_speed, distance), "points")
    points = [_point(layer, raw[members[0]], u[members[0]], members) for members in clusters]
    merged = _merge(points, distance)
    kept = [p for p in merged if p.fixed or p.speed < slow]
    lost = sum(len(p.starts) for p in merged) - sum(len(p.starts) for p in kept)
    still = sum(len(p.starts) for p in kept if not p.fixed)
    missed = [f"{lost} of {len(s)} starts came to no slow point"] if lost else []
    missed += [f"{still} of {len(s)} came to slow points that are not fixed"] if still else []
    kept.sort(key=lambda p: (not p.fixed, p.speed if not p.fixed else -len(p.starts)))
    said = ("; ".join([*missed, "increase steps, or start nearer"]),) if missed else ()
    return StatePoints(layer, tuple(kept), raw, raw_speed, messages=said)


def _checked_starts(layer: Layer, starts: Any) -> np.ndarray:
    paths = [starts] if isinstance(starts, Path) else starts
    if isinstance(paths, (list, tuple)) and paths and all(isinstance(p, Path) for p in paths):
        s = np.concatenate([np.asarray(p.states, np.float64) for p in paths])
    else:
        s = np.asarray(starts, np.float64)
    shape = (layer.size, len(layer.cell.state_names))
    if s.ndim != 3 or s.shape[1:] != shape or not len(s):
        raise ValueError(
            f"starts of shape {s.shape} must be (starts, neurons, state variables) = (…, {shape[0]}, {shape[1]}), with "
            f"the variables {', '.join(layer.cell.state_names)}"
        )
    if not np.all(np.isfinite(s)):
        raise ValueError("starts hold values that are not finite; leave those states out")
    return s


def _checked_inputs(layer: Layer, inputs: Any, count: int) -> np.ndarray:
    if inputs is None:
        return np.zeros((count, layer.width))
    u = layer.checked_inputs(inputs)
    if u.shape not in ((layer.width,), (count, layer.width)):
        raise ValueError(
            f"inputs of shape {u.shape} must be constant: ({layer.width},), or ({count}, {layer.width}), one row "
            "per start"
        )
    return np.broadcast_to(u, (count, layer.width))


# ---- down to low speeds ----


def _pushed(layer: Layer, u: np.ndarray) -> jax.Array:
    """Biases and currents at constant inputs (starts, M): (starts, N, K)."""
    x = np.array(np.broadcast_to(np.asarray(layer.bias_table), (len(u), layer.size, len(layer.names))))
    for name, current in layer.currents(u).items() if layer.width else ():
        x[:, :, layer.names.index(name)] += current
    return jnp.asarray(x)


def _descend(layer: Layer, s: np.ndarray, u: np.ndarray, steps: int, rate: float) -> np.ndarray:
    with jax.enable_x64(True):
        arrays = layer.indexed_weights, _pushed(layer, u), jnp.asarray(s)
        return np.asarray(_adam(layer.cell, steps, *arrays, rate))


def _difference(cell: Cell, weights: Any, pushed: jax.Array, s: jax.Array) -> jax.Array:
    """F(s) − s of one start."""
    return trajectory(cell, 1, weights, pushed, {}, s)[0] - s


@partial(jax.jit, static_argnums=(0, 1))
def _adam(cell: Cell, steps: int, weights: Any, pushed: jax.Array, s: jax.Array, rate: float) -> jax.Array:
    """Adam (Kingma and Ba 2015) on each start by itself, its rate falling to 0 as a half cosine."""

    def speed(s: jax.Array) -> jax.Array:
        moved = jax.vmap(partial(_difference, cell, weights))(pushed, s)
        return 0.5 * jnp.sum(moved**2)  # starts do not mix, so that its gradient is that of each

    def body(i: jax.Array, carry: Any) -> Any:
        s, first, second = carry
        gradient = jax.grad(speed)(s)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        t = i + 1.0
        step = (first / (1.0 - 0.9**t)) / (jnp.sqrt(second / (1.0 - 0.999**t)) + 1e-12)
        return s - 0.5 * rate * (1.0 + jnp.cos(jnp.pi * i / steps)) * step, first, second

    return jax.lax.fori_loop(0, steps, body, (s, jnp.zeros_like(s), jnp.zeros_like(s)))[0]


def _step(layer: Layer, s: np.ndarray, u: np.ndarray) -> list[Path]:
    """One step from each state (starts, N, D)."""
    return layer.run_batch(u[:, None] if layer.width else None, steps=1, states=s)


def _speeds(layer: Layer, s: np.ndarray, u: np.ndarray) -> np.ndarray:
    moved = np.stack([p.last for p in _step(layer, s, u)]) - s
    return 0.5 * np.sum(moved**2, axis=(1, 2))


# ---- one of each ----


def _clusters(s: np.ndarray, u: np.ndarray, speed: np.ndarray, distance: float) -> list[np.ndarray]:
    """Starts that came to the same place at the same inputs, the slowest of each first."""
    scale = np.sqrt(s[0].size)
    left, clusters = list(np.argsort(speed)), []
    while left:
        first = left[0]
        near = [
            i for i in left if np.linalg.norm(s[i] - s[first]) < distance * scale and np.array_equal(u[i], u[first])
        ]  # fmt: skip
        clusters.append(np.array(near))
        taken = set(near)
        left = [i for i in left if i not in taken]
    return clusters


def _point(layer: Layer, s: np.ndarray, u: np.ndarray, members: np.ndarray) -> StatePoint:
    """Polished by Newton's method with step halving, if that leads to a fixed point; with its eigenvalues."""
    network = layer.network()
    state, path = s, _step(layer, s[None], u[None])[0]
    for _ in range(_NEWTON):
        moved = path.last - state
        if np.max(np.abs(moved)) < 1e-2 * _SETTLED:
            break
        jacobian = network.jacobian(path.snapshot())
        try:
            step = np.linalg.solve(np.eye(len(jacobian)) - jacobian, moved.T.ravel())
        except np.linalg.LinAlgError:  # a line of fixed points, or a fold
            break
        step = step.reshape(moved.T.shape).T
        for halving in 0.5 ** np.arange(6):
            new = state + halving * step
            after = _step(layer, new[None], u[None])[0]
            if np.linalg.norm(after.last - new) < (1.0 - 0.1 * halving) * np.linalg.norm(moved):
                state, path = new, after
                break
        else:
            break
    if np.max(np.abs(path.last - state)) > _SETTLED:  # no root there: the slow point stays as it was
        state, path = s, _step(layer, s[None], u[None])[0]
    moved = path.last - state
    found = eigenvalues(network.jacobian(path.snapshot()))
    return StatePoint(
        state=state,
        inputs=u,
        speed=float(0.5 * np.sum(moved**2)),
        fixed=bool(np.max(np.abs(moved)) <= _SETTLED),
        eigenvalues=found[np.argsort(-np.abs(found))],
        starts=np.sort(members),
    )


def _merge(points: list[StatePoint], distance: float) -> list[StatePoint]:
    """Points that polishing has led to the same place as one."""
    merged: list[StatePoint] = []
    for point in points:
        for i, other in enumerate(merged):
            near = np.linalg.norm(point.state - other.state) < distance * np.sqrt(point.state.size)
            if near and point.fixed == other.fixed and np.array_equal(point.inputs, other.inputs):
                both = np.sort(np.concatenate([other.starts, point.starts]))
                best = min(point, other, key=lambda p: p.speed)
                merged[i] = StatePoint(best.state, best.inputs, best.speed, best.fixed, best.eigenvalues, both)
                break
        else:
            merged.append(point)
    return merged
