"""Finite networks: drawn from an ensemble, run, linearised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.snapshot import Snapshot
from gatefield.cells.tracing import next_state, source_values, structure
from gatefield.networks import tangent
from gatefield.networks.exponents import MeasuredExponents, spectrum_of
from gatefield.networks.frames import LONGEST, Advance, carry_frame, checked_count
from gatefield.networks.tangent import cheaper_formed, seen_columns
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.correlation import lag_averages
from gatefield.numerics.draws import normal, split_key
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, whole
from gatefield.running.memory import require
from gatefield.running.progress import track

_CHUNK = 100  # steps between two looks at progress and at the keyboard


@dataclass(frozen=True, eq=False, repr=False)
class Path(Result):
    """A run of a network: what each recorded step started from, and its pre-activations.

    Attributes:
        before: states at the start of each recorded step, (steps, N, D).
        preactivations: (steps, N, K).
        last: state after the last step, (N, D).
    """

    cell: Cell
    before: np.ndarray
    preactivations: np.ndarray
    last: np.ndarray

    @property
    def steps(self) -> int:
        """Number of recorded steps."""
        return len(self.before)

    @property
    def states(self) -> np.ndarray:
        """State after each recorded step, (steps, N, D)."""
        return np.concatenate([self.before[1:], self.last[None]])

    def snapshot(self, time: int = -1) -> Snapshot:
        """The neurons at a recorded step, the last one by default: state before it and pre-activations in it."""
        if not -self.steps <= time < self.steps:
            raise ValueError(f"time={time} must lie in [{-self.steps}, {self.steps})")
        return Snapshot(self.cell, self.before[time], self.preactivations[time])

    @cached_property
    def _window(self) -> dict[str, np.ndarray]:
        """State variables and pre-activations by name over the second half of the record, (steps, N) each."""
        start = self.steps // 2
        both = np.concatenate([self.states[start:], self.preactivations[start:]], axis=2, dtype=np.float64)
        return dict(zip((*self.cell.state_names, *self.cell.preactivation_names), np.moveaxis(both, 2, 0), strict=True))

    @cached_property
    def variance(self) -> Mapping[str, float]:
        """Variance of each state variable and pre-activation over neurons and the second half of the record."""
        return {name: float(np.var(u)) for name, u in self._window.items()}

    @cached_property
    def autocorrelation(self) -> Mapping[str, np.ndarray]:
        """C_u(lag) = average of u(t) u(t + lag) over neurons and the second half of the record, by name."""
        with jax.enable_x64(True):
            return {name: np.asarray(_lag_averages(u)) for name, u in self._window.items()}

    @cached_property
    def mean(self) -> Mapping[str, float]:
        """Mean of each state variable and pre-activation over neurons and the second half of the record."""
        return {name: float(np.mean(u)) for name, u in self._window.items()}

    def description(self) -> Description:
        time, neuron = "time", "neuron"
        return Description(
            quantities={
                "mean": Quantity(self.mean, ("variable",), source="E[u]"),
                "variance": Quantity(self.variance, ("variable",), source="E[u²] − E[u]²"),
                "before": Quantity(self.before, (time, neuron, "state"), json=""),
                "preactivations": Quantity(self.preactivations, (time, neuron, "preactivation"), json=""),
                "last": Quantity(self.last, (neuron, "state"), json=""),
            },
            coordinates={
                "state": Quantity(list(self.cell.state_names)),
                "preactivation": Quantity(list(self.cell.preactivation_names)),
            },
            facts={"cell": repr_cell(self.cell), "steps": self.steps, "neurons": self.before.shape[1]},
        )


class Network:
    """A random network drawn from an ensemble.

    Args:
        ensemble: cell, gains, biases and currents.
        size: number of neurons N.
        seed: of weights and biases.
        dtype: "float64", or "float32" for runs at half the memory and twice the speed; Jacobians are float64.

    Raises:
        ValueError: an argument out of its range, or weights that do not fit into memory.

    Attributes:
        weights: U_k by pre-activation, (N, N), those with a gain above 0 only.
        biases: (N, K), constant input currents included.
    """

    def __init__(self, ensemble: Ensemble, *, size: int, seed: int = 0, dtype: str = "float64") -> None:
        self.ensemble, self.size, self.seed = ensemble, whole("size", size), whole("seed", seed, 0)
        if dtype not in ("float64", "float32"):
            raise ValueError(f"dtype={dtype!r} must be 'float64' or 'float32'")
        self.dtype = np.dtype(dtype)
        used = [name for name in ensemble.names if ensemble.gain[name] > 0.0]
        require((len(used) + 1) * size**2 * self.dtype.itemsize, what="its weights", size=size)
        key = jax.random.key(self.seed)
        with jax.enable_x64(True):
            self.weights = {name: self._draw(key, name, (size, size)) for name in used}
            noise = normal(key, (size, len(ensemble.names)), fold=1_000_000)
            biases = ensemble.means + np.sqrt(ensemble.static_variance) * noise
            self.biases = jax.device_put(biases.astype(self.dtype))

    @classmethod
    def of(cls, ensemble: Ensemble, weights: Mapping[str, Any], biases: Any) -> Network:
        """A network with given weights U_k (N, N), by pre-activation, and biases (N, K), in float64.

        The ensemble gives the cell, and the currents of its runs.
        """
        network = cls.__new__(cls)
        network.ensemble, network.size, network.seed = ensemble, len(biases), 0
        network.dtype = np.dtype("float64")
        with jax.enable_x64(True):
            network.weights = {name: jnp.asarray(w, jnp.float64) for name, w in weights.items()}
            network.biases = jnp.asarray(biases, jnp.float64)
        return network

    def _draw(self, key: jax.Array, name: str, shape: tuple[int, int]) -> jax.Array:
        scale = self.ensemble.gain[name] / np.sqrt(self.size)
        return jnp.asarray(normal(key, shape, scale=scale, dtype=self.dtype.name, fold=self.ensemble.names.index(name)))

    def run(
        self,
        steps: int,
        *,
        initial: float = 0.6,
        state: np.ndarray | None = None,
        seed: int = 0,
        record: int | None = None,
    ) -> Path:
        """Run the network from a random start, or on from `state`.

        Args:
            steps: number of steps.
            initial: standard deviation of every state variable at the start.
            state: start from this state instead, (N, D).
            seed: of the start and of currents that vary in time.
            record: how many of the last steps to keep; all by default.

        Raises:
            ValueError: an argument out of its range, or a record that does not fit into memory.
        """
        steps, cell = whole("steps", steps), self.ensemble.cell
        record = steps if record is None else min(steps, whole("record", record))
        width = len(cell.state_names) + len(cell.preactivation_names)
        require(
            record * self.size * width * self.dtype.itemsize,
            what=f"a record of {record} steps",
            size=self.size,
            power=1.0,
        )
        start_key, drive_key = split_key(jax.random.key(whole("seed", seed, 0)), 2)
        with jax.enable_x64(True):
            s = self._start(start_key, at_least("initial", initial, 0.0), state)
            drive = self._sample_drive(drive_key, steps)
            chunks = -(-steps // _CHUNK)
            length = -(-steps // chunks)
            parts: list[tuple[np.ndarray, np.ndarray]] = []
            for begin in track(range(0, steps, length), f"network of {self.size}"):
                count = min(length, steps - begin)
                now = {k: d[begin : begin + count] for k, d in drive.items()}
                s, out = trajectory(cell, count, self._indexed_weights(), self.biases, now, s)
                skip = max(0, steps - record - begin)
                if skip < count:
                    parts.append((np.asarray(out[0][skip:]), np.asarray(out[1][skip:])))
        before, xs = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Path(cell, before, xs, np.asarray(s))

    def _start(self, key: jax.Array, initial: float, state: np.ndarray | None) -> jax.Array:
        shape = (self.size, len(self.ensemble.cell.state_names))
        if state is None:
            # The product apart from the draw: compiled together they round otherwise, which chaos then makes plain.
            return jax.device_put((initial * normal(key, shape)).astype(self.dtype))
        if np.shape(state) != shape:
            raise ValueError(f"state of shape {np.shape(state)} must be (neurons, state variables) = {shape}")
        return jnp.asarray(state, self.dtype)

    def _sample_drive(self, key: jax.Array, steps: int) -> dict[int, jax.Array]:
        currents = [self.ensemble.current[name] for name in self.ensemble.names]
        return {
            k: c.sample(jax.random.fold_in(key, k), steps, self.size).astype(self.dtype)
            for k, c in enumerate(currents)
            if c.varies
        }

    def _indexed_weights(self) -> dict[int, jax.Array]:
        return {self.ensemble.names.index(name): w for name, w in self.weights.items()}

    def lyapunov_spectrum(
        self,
        steps: int = 1000,
        *,
        count: int | None = None,
        transient: int | None = None,
        initial: float = 0.6,
        state: np.ndarray | None = None,
        seed: int = 0,
    ) -> MeasuredExponents:
        """Lyapunov exponents of this network by the QR method, all D·N or the leading ones.

        Perturbations have the precision of the network; the growth of their volumes is taken in float64.

        Args:
            steps: measured steps.
            count: how many exponents, the largest first; all by default.
            transient: steps before the measurement, half of them for the state alone, half for the perturbations too;
                by default as many as a third of `steps`, and 200 at least.
            initial: standard deviation of every state variable at the start.
            state: start from this state instead, (N, D), and leave out the state's half of the transient.
            seed: of the start, of currents that vary in time and of the first perturbations.

        Raises:
            ValueError: an argument out of its range, or perturbations that do not fit into memory.
        """
        steps, cell, d = whole("steps", steps, 2), self.ensemble.cell, len(self.ensemble.cell.state_names)
        dimension = d * self.size
        count = checked_count(count, dimension)
        transient = max(200, steps // 3) if transient is None else whole("transient", transient, 0)
        formed = cheaper_formed(cell, self._indexed_weights(), count, self.size)
        needed = 6 * count * dimension + (4 * d * self.size**2 if formed else 0) + steps * self.size
        require(needed * self.dtype.itemsize, what=f"{count} perturbations", size=self.size)
        if state is None:
            settling = transient - transient // 2
            transient //= 2
            state = self.run(settling, initial=initial, seed=seed, record=1).last if settling else None
        key, drive_key, frame_key = split_key(jax.random.key(whole("seed", seed, 0)), 3)
        with jax.enable_x64(True):
            s = self._start(key, at_least("initial", initial, 0.0), state)
            frame = jnp.asarray(normal(frame_key, (count, dimension)).astype(self.dtype))
            growth = carry_frame(
                self._advance(formed, self._sample_drive(drive_key, transient + steps)), s, frame,
                steps=steps, transient=transient, description=f"{count} exponents of {self.size} neurons",
                seen=seen_columns(cell, self.size),
            )  # fmt: skip
        made = {"ensemble": self.ensemble, "size": self.size, "network_seed": self.seed, "seed": seed}
        return spectrum_of(
            growth, transient=transient, dimension=dimension, neurons=self.size, dtype=self.dtype.name, **made
        )

    def _advance(self, formed: bool, drive: dict[int, jax.Array]) -> Advance:
        weights = self._indexed_weights()

        def advance(s: jax.Array, frame: jax.Array, begin: int, steps: int, quiet: int = 0) -> Any:
            how = self.ensemble.cell, formed, quiet
            s, frame, record = _carry(*how, weights, self.biases, drive, s, frame, begin, steps)
            return s, frame, np.asarray(record)[:steps]

        return advance

    def jacobian(self, snapshot: Snapshot) -> np.ndarray:
        """One-step Jacobian ∂s(t+1)/∂s(t) at a snapshot of this network [CKS 11, 26].

        Returns:
            (D·N, D·N), all neurons' first state variable first, then their second.
        """
        self._check(snapshot)
        n, d, k = self.size, len(self.ensemble.cell.state_names), len(self.ensemble.names)
        require((k + 2) * d * n * n * 8, what="its Jacobian", size=n)
        local = snapshot.derivatives
        diagonal = np.arange(n)
        jacobian = np.zeros((d, n, d, n))
        for row in range(d):
            for column in range(d):
                jacobian[row, diagonal, column, diagonal] = local.f_s[:, row, column]
        responses: dict[int, np.ndarray] = {}  # ∂x_k/∂s, (n, d, n)
        for k, weights in sorted(self._indexed_weights().items()):
            u = np.asarray(weights, dtype=np.float64)
            response = u[:, None, :] * local.v_s[:, k, :].T
            for j, earlier in responses.items():
                if local.v_x[:, k, j].any():
                    response += ((u * local.v_x[:, k, j]) @ earlier.reshape(n, d * n)).reshape(n, d, n)
            responses[k] = response
            for row in range(d):
                if local.f_x[:, row, k].any():
                    jacobian[row] += local.f_x[:, row, k][:, None, None] * response
        return jacobian.reshape(d * n, d * n)

    def apply_jacobian(self, snapshot: Snapshot, frame: np.ndarray) -> np.ndarray:
        """J δs for perturbations δs (P, D, N) at a snapshot of this network, without forming J."""
        self._check(snapshot)
        local = snapshot.derivatives
        with jax.enable_x64(True):
            weights = {k: w.astype(jnp.float64) for k, w in self._indexed_weights().items()}
            arrays = tuple(jnp.asarray(a) for a in (local.f_s, local.f_x, local.v_s, local.v_x))
            return np.asarray(_apply_jacobian(self.ensemble.cell, weights, arrays, jnp.asarray(frame)))

    def extended_matrix(self, snapshot: Snapshot) -> np.ndarray:
        """The linear map of (s, x) whose generalised eigenvalues are those of the Jacobian [CKS 13, 123].

        Returns:
            M = A + B U C, ((D+K)·N, (D+K)·N): M v = diag(λ 1_{D·N}, 1_{K·N}) v.
        """
        self._check(snapshot)
        n, d, k = self.size, len(self.ensemble.cell.state_names), len(self.ensemble.names)
        require((d + k) ** 2 * n * n * 8, what="its extended matrix", size=n)
        local = snapshot.derivatives
        matrix = np.zeros((d + k, n, d + k, n))
        diagonal = np.arange(n)
        upper = np.concatenate([local.f_s, local.f_x], axis=2)
        lower = np.concatenate([local.v_s, local.v_x], axis=2)
        for column in range(d + k):
            for row in range(d):
                matrix[row, diagonal, column, diagonal] = upper[:, row, column]
            for row, weights in self._indexed_weights().items():
                matrix[d + row, :, column, :] = np.asarray(weights) * lower[:, row, column]
        return matrix.reshape((d + k) * n, (d + k) * n)

    def eigenvalues(self, snapshot: Snapshot) -> ComplexArray:
        """All D·N eigenvalues of the one-step Jacobian at a snapshot of this network."""
        return eigenvalues(self.jacobian(snapshot))

    def _check(self, snapshot: Snapshot) -> None:
        if snapshot.neurons != self.size or snapshot.cell != self.ensemble.cell:
            raise ValueError(
                f"snapshot of {snapshot.neurons} neurons of {type(snapshot.cell).__name__} is not of this network of "
                f"{self.size} neurons of {type(self.ensemble.cell).__name__}; take it from this network's own run"
            )


def eigenvalues(matrix: np.ndarray) -> ComplexArray:
    """Eigenvalues of a real square matrix, on as many threads as the BLAS is set to."""
    return np.linalg.eigvals(matrix).astype(np.complex128)


@partial(jax.jit, static_argnums=(0, 1))
def trajectory(
    cell: Cell, steps: int, weights: dict[int, jax.Array], biases: jax.Array, drive: dict[int, jax.Array], s: jax.Array
) -> tuple[jax.Array, Any]:
    """State after some steps, and the states before each and the pre-activations in it.

    Args:
        cell: the cell.
        steps: how many.
        weights: U_k (N, N) by index of the pre-activation.
        biases: (N, K).
        drive: currents (steps, N) by index of the pre-activation.
        s: state at the start, (N, D).
    """

    def step(s: jax.Array, now: dict[int, jax.Array]) -> tuple[jax.Array, Any]:
        x = tangent.driven(biases, now)
        for group in structure(cell).groups:
            v = jax.vmap(partial(source_values, cell))(s, x)[:, group.members[0]]
            for k in group.members:
                if k in weights:
                    x = x.at[:, k].add(weights[k] @ v)
        return jax.vmap(partial(next_state, cell))(s, x), (s, x)

    return jax.lax.scan(step, s, drive, length=steps)


_lag_averages = jax.jit(lag_averages)
_apply_jacobian = jax.jit(tangent.apply_jacobian, static_argnums=0)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _carry(
    cell: Cell,
    formed: bool,
    quiet: int,
    weights: dict[int, jax.Array],
    biases: jax.Array,
    drive: dict[int, jax.Array],
    s: jax.Array,
    frame: jax.Array,
    begin: int,
    steps: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """State and frame (P, D·N) some steps later, and the last state variable after each, (LONGEST, N).

    In the first step as many of the last perturbations move no source as `quiet` says.
    """
    shaped = frame.reshape(frame.shape[0], -1, s.shape[0])

    def body(i: Any, carry: tuple[jax.Array, ...], quiet: int = 0) -> tuple[jax.Array, ...]:
        s, frame, record = carry
        inputs = tangent.driven(biases, {k: values[begin + i] for k, values in drive.items()})
        s, frame = tangent.step(cell, weights, inputs, s, frame, formed=formed, quiet=quiet)
        return s, frame, record.at[i].set(s[:, -1])

    carry = s, shaped, jnp.zeros((LONGEST, s.shape[0]), s.dtype)
    if quiet:
        carry = body(0, carry, quiet)
    s, shaped, record = jax.lax.fori_loop(1 if quiet else 0, steps, body, carry)
    return s, shaped.reshape(frame.shape), record
