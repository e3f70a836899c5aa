"""Layers with given weights: what a framework's recurrent layer is to the theory, whichever framework it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.currents import ConstantCurrent, CorrelatedCurrent
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.tracing import structure
from gatefield.networks.network import Network, Path, trajectory
from gatefield.running.arguments import at_least, known_names, mapping, whole
from gatefield.running.memory import require
from gatefield.running.reading import check_numbers

_LARGEST = 1e100  # of a weight or bias: the squares of larger ones overflow


@dataclass(frozen=True, eq=False)
class Layer:
    """One recurrent layer, x_k = U_k v_k + W_k u + b_k for its inputs u (M,), with the weights that it has.

    Read one from PyTorch, Flax or a file (`gatefield.torch`, `gatefield.flax`, `read_layers`), or give the arrays of
    any cell.

    Args:
        cell: the cell.
        weights: U_k by pre-activation, (N, N), one row per neuron; those left out are 0.
        input_weights: W_k, (N, M); those left out are 0.
        biases: b_k, (N,), all biases of a pre-activation together; those left out are 0.
        name: what messages call the layer.
        framework: where it was read, for instance "torch GRU"; empty where it was given as arrays.
        dtype: of the weights where they were read. Everything is computed in float64.

    Raises:
        ValueError: an unknown pre-activation, arrays whose sizes do not agree, or values that are not finite.
    """

    cell: Cell
    weights: Mapping[str, Any]
    input_weights: Mapping[str, Any] = field(default_factory=dict)
    biases: Mapping[str, Any] = field(default_factory=dict)
    name: str = "layer"
    framework: str = ""
    dtype: str = "float64"

    @classmethod
    def of(cls, network: Network, input_weights: Mapping[str, Any] | None = None) -> Layer:
        """A network as a layer, with input weights W_k (N, M) if it is to have inputs; its currents are left out."""
        ensemble = network.ensemble
        sourced = [ensemble.names[k] for group in ensemble.structure.groups for k in group.members]
        weights = dict(network.weights) or {sourced[0]: np.zeros((network.size, network.size))}
        biases = {name: np.asarray(network.biases[:, k]) for k, name in enumerate(ensemble.names)}
        return cls(ensemble.cell, weights, input_weights or {}, biases, "network")

    def __post_init__(self) -> None:
        sourceless = {self.names[k] for k in structure(self.cell).sourceless}
        for what in ("weights", "input_weights", "biases"):
            given = mapping(what, getattr(self, what))
            known_names(f"layer {self.name!r}: {what}", given, self.names, type(self.cell).__name__)
            arrays = {name: np.asarray(given[name], np.float64) for name in self.names if name in given}
            object.__setattr__(self, what, arrays)
            for name, array in arrays.items():
                self._check(f"{what}[{name!r}]", array, 1 if what == "biases" else 2)
        if not self.weights:
            raise ValueError(f"layer {self.name!r} has no recurrent weights; give those of one pre-activation at least")
        for name, array in self.weights.items():
            if array.shape != (self.size, self.size):
                raise ValueError(
                    f"layer {self.name!r}: weights[{name!r}] of shape {array.shape} must be square, (N, N)"
                )
            if name in sourceless:
                raise ValueError(f"layer {self.name!r}: {name!r} has no recurrent weights; leave it out of weights")
        for what, shape in (("input_weights", (self.size, self.width)), ("biases", (self.size,))):
            for name, array in getattr(self, what).items():
                if array.shape != shape:
                    raise ValueError(f"layer {self.name!r}: {what}[{name!r}] of shape {array.shape} must be {shape}")

    def __repr__(self) -> str:
        return f"<Layer {self.title()}>"

    def _check(self, what: str, array: np.ndarray, ndim: int) -> None:
        if array.ndim != ndim:
            raise ValueError(f"layer {self.name!r}: {what} of shape {array.shape} must have {ndim} dimensions")
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise ValueError(
                f"layer {self.name!r}: {bad} of {array.size} values of {what} are not finite; its training has "
                "diverged: go back to an earlier checkpoint"
            )
        if array.size and np.max(np.abs(array)) > _LARGEST:
            raise ValueError(
                f"layer {self.name!r}: {what} has values as large as {np.max(np.abs(array)):.2g}, beyond {_LARGEST:g}; "
                "its training has diverged: go back to an earlier checkpoint"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The pre-activations' names."""
        return self.cell.preactivation_names

    @property
    def size(self) -> int:
        """Number of neurons N."""
        return len(next(iter(self.weights.values())))

    @property
    def width(self) -> int:
        """Number of inputs M; 0 for a layer without."""
        return next(iter(self.input_weights.values())).shape[1] if self.input_weights else 0

    def title(self) -> str:
        """The layer in one line."""
        kind = self.framework or repr_cell(self.cell)
        return f"{self.name}: {kind}, {self.width} inputs, {self.size} units, {self.dtype}"

    def bias(self, name: str) -> np.ndarray:
        """b_k of one pre-activation, (N,)."""
        return self.biases.get(name, np.zeros(self.size))

    @cached_property
    def indexed_weights(self) -> dict[int, jax.Array]:
        """U_k by index of the pre-activation, float64."""
        with jax.enable_x64(True):
            return {self.names.index(name): jnp.asarray(w) for name, w in self.weights.items()}

    # ---- statistics ----

    @property
    def gain(self) -> dict[str, float]:
        """Effective gains a_k: √N times the standard deviation of each pre-activation's recurrent weights."""
        return {
            n: float(np.sqrt(self.size) * np.std(self.weights[n])) if n in self.weights else 0.0 for n in self.names
        }

    def currents(self, inputs: Any) -> dict[str, np.ndarray]:
        """W_k u of inputs (…, M) by pre-activation, (…, N); biases are not in it.

        Raises:
            ValueError: inputs of the wrong width, or with values that are not finite.
        """
        u = self.checked_inputs(inputs)
        return {name: u @ w.T for name, w in self.input_weights.items()}

    def checked_inputs(self, inputs: Any) -> np.ndarray:
        """Inputs as float64, refused where their last axis is not this layer's."""
        u = np.asarray(inputs)
        check_numbers(f"inputs of layer {self.name!r}:", u)
        u = u.astype(np.float64)
        if u.ndim < 1 or u.shape[-1] != self.width:
            raise ValueError(
                f"layer {self.name!r} takes {self.width} inputs, but the last axis of inputs of shape {u.shape} "
                "is not that; give (steps, inputs) or (sequences, steps, inputs)"
            )
        if not np.all(np.isfinite(u)):
            raise ValueError(
                f"inputs of layer {self.name!r} hold values that are not finite; leave those sequences out"
            )
        return u

    def sequences(self, inputs: Any) -> np.ndarray:
        """Inputs as (sequences, steps, M)."""
        u = self.checked_inputs(inputs)
        if u.ndim not in (2, 3) or u.shape[-2] < 1 or not len(u):
            raise ValueError(
                f"inputs of layer {self.name!r} of shape {u.shape} must be (steps, inputs) or (sequences, steps, "
                "inputs)"
            )
        return u[None] if u.ndim == 2 else u

    def ensemble(self, inputs: Any = None) -> Ensemble:
        """Random networks with this layer's statistics.

        Gains and biases are those of the weights. The current of given inputs is Gaussian with the autocovariance that
        random weights of this layer's variance make of them: σ_w² Σ_m ⟨u_m(t) u_m(t + lag)⟩.

        Args:
            inputs: (steps, M) or (sequences, steps, M); without them there is no current.
        """
        statistics: dict[str, Any] = {
            "gain": self.gain,
            "bias_mean": {n: float(np.mean(b)) for n, b in self.biases.items()},
            "bias_var": {n: float(np.var(b)) for n, b in self.biases.items()},
        }
        if inputs is not None and self.width:
            moments = InputMoments.of(self.sequences(inputs))
            scale = {name: float(np.mean(w**2)) for name, w in self.input_weights.items()}
            statistics["current"] = {name: moments.current(s) for name, s in scale.items()}
        return Ensemble(self.cell, **statistics)

    # ---- running it ----

    def run(self, inputs: Any = None, *, steps: int | None = None, state: Any = None) -> Path:
        """Run the layer on one sequence, in float64.

        Args:
            inputs: (steps, M); zero inputs where left out.
            steps: how many, where there are no inputs.
            state: to start from, (N, D); zero by default, as frameworks do.

        Raises:
            ValueError: inputs or a state of the wrong shape, or neither inputs nor steps.
        """
        if inputs is not None:
            inputs = self.checked_inputs(inputs)
            if inputs.ndim != 2:
                raise ValueError(f"inputs of shape {inputs.shape} must be one sequence, (steps, {self.width})")
            inputs = inputs[None]
        states = None if state is None else np.asarray(state)[None]
        return self.run_batch(inputs, steps=steps, states=states)[0]

    def run_batch(self, inputs: Any = None, *, steps: int | None = None, states: Any = None) -> list[Path]:
        """Run the layer on several sequences, in float64.

        Args:
            inputs: (sequences, steps, M); zero inputs where left out.
            steps: how many, where there are no inputs.
            states: to start from, (sequences, N, D); zero by default.
        """
        u = None if inputs is None else self.sequences(inputs)
        length = whole("steps", steps) if u is None else u.shape[1]
        count = len(u) if u is not None else 1 if states is None else len(states)
        d, k = len(self.cell.state_names), len(self.names)
        require(
            count * length * self.size * (d + 2 * k) * 8,
            what=f"{count} runs of {length} steps",
            size=self.size,
            power=1.0,
        )
        shape = (count, self.size, d)
        start = np.zeros(shape) if states is None else np.asarray(states, np.float64)
        if start.shape != shape:
            raise ValueError(f"state of shape {start.shape[1:]} must be (neurons, state variables) = {shape[1:]}")
        with jax.enable_x64(True):
            drive = {} if u is None else self.drive(u)
            arrays = self.indexed_weights, self.bias_table, drive, jnp.asarray(start)
            last, (before, xs) = _runs(self.cell, length, *arrays)
            last, before, xs = (np.asarray(a) for a in (last, before, xs))
        return [Path(self.cell, before[i], xs[i], last[i]) for i in range(count)]

    def drive(self, u: np.ndarray) -> dict[int, jax.Array]:
        """Currents (sequences, steps, N) by index of the pre-activation."""
        return {self.names.index(name): jnp.asarray(c) for name, c in self.currents(u).items()}

    @cached_property
    def bias_table(self) -> jax.Array:
        """Biases (N, K), float64."""
        with jax.enable_x64(True):
            return jnp.asarray(np.stack([self.bias(name) for name in self.names], axis=1))

    def network(self) -> Network:
        """This layer without inputs as a `Network`: its Jacobians, eigenvalues and exponents."""
        return Network.of(self.ensemble(), self.weights, np.asarray(self.bias_table))

    def scaled(self, factor: float, names: tuple[str, ...] | None = None) -> Layer:
        """The same with the recurrent weights of some pre-activations, all by default, times a factor."""
        factor = at_least("factor", factor, 0.0)
        chosen = self.weights if names is None else names
        weights = {name: w * factor if name in chosen else w for name, w in self.weights.items()}
        return Layer(self.cell, weights, self.input_weights, self.biases, self.name, self.framework, self.dtype)

    def outputs(self, inputs: Any) -> np.ndarray:
        """What the layer above sees, the last state variable after each step: (sequences, steps, N)."""
        return np.stack([path.states[:, :, -1] for path in self.run_batch(inputs)])


def inputs_by_layer(layers: Mapping[str, Layer], inputs: Any) -> dict[str, Any]:
    """Inputs of each layer by name; of stacked ones, rnn.l1 above rnn.l0, those above are fed by the one below.

    Raises:
        ValueError: an array where it is not clear whose inputs it is, or names that are no layer's.
    """
    if inputs is None:
        return dict.fromkeys(layers)
    names = list(layers)
    below = {name: _below(name) for name in names}
    if isinstance(inputs, Mapping):
        known_names("inputs", inputs, tuple(names), "the model")
        fed = dict(inputs)
    else:
        lowest = [name for name in names if below[name] not in layers]
        if len(lowest) > 1:
            raise ValueError(
                f"there are several recurrent layers, {', '.join(map(repr, lowest))}; give inputs by name, "
                f"inputs={{{lowest[0]!r}: array, …}}"
            )
        fed = {lowest[0]: inputs}
    for name, layer in layers.items():
        if name not in fed and below[name] in fed:
            fed[name] = layers[below[name]].outputs(layers[below[name]].sequences(fed[below[name]]))
        elif name in fed:
            layer.sequences(fed[name])
    return {name: fed.get(name) for name in names}


def _below(name: str) -> str:
    """The name of the layer below a stacked one; its own where it is not."""
    match = re.fullmatch(r"((?:.*\.)?l)(\d+)", name)
    return f"{match[1]}{int(match[2]) - 1}" if match else ""


@partial(jax.jit, static_argnums=(0, 1))
def _runs(cell: Cell, steps: int, weights: Any, biases: jax.Array, drive: Any, s: jax.Array) -> Any:
    return jax.vmap(lambda drive, s: trajectory(cell, steps, weights, biases, drive, s))(drive, s)


@dataclass(frozen=True, eq=False, repr=False)
class InputMoments:
    """Σ_m ⟨u_m(t) u_m(t + lag)⟩ of inputs, a function of the lag.

    Attributes:
        static: of each input's mean over a sequence.
        varying: of what is left, by lag; divided by the number of steps at every lag, so that it is the autocovariance
            of some process.
    """

    static: float
    varying: np.ndarray

    @classmethod
    def of(cls, inputs: np.ndarray) -> InputMoments:
        """Of inputs (sequences, steps, M)."""
        sequences, steps, _ = inputs.shape
        means = inputs.mean(axis=1, keepdims=True)
        # by FFT along time, padded so that it does not wrap around
        power = np.sum(np.abs(np.fft.rfft(inputs - means, 2 * steps, axis=1)) ** 2, axis=(0, 2))
        varying = np.fft.irfft(power, 2 * steps)[:steps] / (sequences * steps)
        return cls(float(np.sum(means**2)) / sequences, varying)

    @property
    def total(self) -> float:
        """At lag 0."""
        return self.static + float(self.varying[0])

    def __call__(self, lags: Any) -> np.ndarray:
        lags = np.asarray(lags)
        within = lags < len(self.varying)
        return self.static + np.where(within, self.varying[np.where(within, lags, 0)], 0.0)

    def __repr__(self) -> str:
        return f"measured on inputs, {self.total:.4g} at lag 0, {self.static:.4g} constant"

    def current(self, weight_variance: float) -> Any:
        """The Gaussian current that random input weights make of such inputs."""
        scaled = InputMoments(weight_variance * self.static, weight_variance * self.varying)
        if self.varying[0] <= 1e-12 * self.total:
            return ConstantCurrent(variance=scaled.static)
        return CorrelatedCurrent(scaled)
