"""Gated cells: two scalar functions of one neuron, `sources` and `update`, from which everything else follows.

One step of a network of N neurons with state s and pre-activations x_1..x_K is

    x_k = U_k v_k + b_k + I_k,   v_k = V_k(s, x_1..x_{k-1}),   s' = F(s, x_1..x_K),

with V (`sources`) and F (`update`) applied neuron by neuron. A cell holds no weights and no gains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Activation = Callable[[Any], Any]
Values = Mapping[str, Any]


def tanh(x: Any) -> Any:
    """Hyperbolic tangent, the activation of both source papers."""
    return jnp.tanh(x)


def hard_tanh(x: Any) -> Any:
    """Piecewise-linear tanh: x clipped to ±1 [CKS 74]."""
    return jnp.clip(x, -1.0, 1.0)


def relu(x: Any) -> Any:
    """x where it is positive, else 0. Its slope at 0, where it has a kink, counts as 0."""
    return jax.nn.relu(x)


ACTIVATIONS: dict[str, Activation] = {"tanh": tanh, "hard_tanh": hard_tanh}


def resolve_activation(activation: str | Activation) -> Activation:
    """The scalar function named `activation`, or `activation` itself where it is a function."""
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ValueError(f"activation={activation!r} is not known; use one of {known}, or pass a function of a scalar")
    return ACTIVATIONS[activation]


class Cell:
    """One neuron of a gated network. Subclass it to define your own cell.

    Attributes:
        state_names: names of the D state variables.
        preactivation_names: names of the K pre-activations, in the order in which they are computed: the source of
            one may use the values of those before it.

    A subclass sets both (as class attributes or properties) and writes `sources` and `update` for a single neuron
    with `jax.numpy`; neither may mix neurons. Make it a frozen dataclass if it has parameters, so that equal cells
    share compiled code.
    """

    state_names: tuple[str, ...]
    preactivation_names: tuple[str, ...]

    def sources(self, state: Values, x: Values) -> Mapping[str, Any]:
        """What each pre-activation's recurrent weights multiply, V_k(s, x_1..x_{k-1}).

        Args:
            state: value of each state variable, by name.
            x: value of each pre-activation, by name; those not computed yet hold zero.

        Returns:
            A value for each pre-activation, or None for one without recurrent weights. Return the very same object
            for pre-activations that share their source: the theory is then solved once for all of them.
        """
        raise NotImplementedError

    def update(self, state: Values, x: Values) -> Mapping[str, Any]:
        """The next value of each state variable, F(s, x_1..x_K), by name."""
        raise NotImplementedError

    def responses(self, x: Values) -> Mapping[str, Any]:
        """What pre-activations act by, for averages of them: σ(x) of a gate, φ of a candidate. None unless defined."""
        return {}


@dataclass(frozen=True, kw_only=True)
class ActivatedCell(Cell):
    """A cell with one activation function φ: "tanh", "hard_tanh", or any function of a scalar."""

    activation: str | Activation = tanh

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", resolve_activation(self.activation))

    def phi(self, x: Any) -> Any:
        """The activation function."""
        return self.activation(x)  # pyright: ignore[reportCallIssue]


@dataclass(frozen=True, kw_only=True)
class Vanilla(ActivatedCell):
    """h' = φ(y) [CKS 1]."""

    state_names = ("h",)
    preactivation_names = ("input",)

    def sources(self, state: Values, x: Values) -> Mapping[str, Any]:
        return {"input": state["h"]}

    def update(self, state: Values, x: Values) -> Mapping[str, Any]:
        return {"h": self.phi(x["input"])}

    def responses(self, x: Values) -> Mapping[str, Any]:
        return {"input": self.phi(x["input"])}


@dataclass(frozen=True, kw_only=True)
class Leaky(ActivatedCell):
    """x' = (1 − δ) x + δ y with source φ(x): the flow of Sompolinsky, Crisanti and Sommers as δ = `step` → 0."""

    step: float = 0.5
    state_names = ("x",)
    preactivation_names = ("input",)

    def __post_init__(self) -> None:
        if not 0.0 < self.step <= 1.0:
            raise ValueError(f"step={self.step!r} of the leaky cell must lie in (0, 1]")
        super().__post_init__()

    def sources(self, state: Values, x: Values) -> Mapping[str, Any]:
        return {"input": self.phi(state["x"])}

    def update(self, state: Values, x: Values) -> Mapping[str, Any]:
        return {"x": (1.0 - self.step) * state["x"] + self.step * x["input"]}


@dataclass(frozen=True, kw_only=True)
class GRU(ActivatedCell):
    """h' = σ(z) h + (1 − σ(z)) φ(y) [CKS 2–5].

    The reset gate multiplies the state before the candidate's weights, as in the paper. With `reset_after=True` it
    multiplies their product, h' = σ(z) h + (1 − σ(z)) φ(n + σ(r) y), as in PyTorch, cuDNN, Flax and Keras; "current"
    is n, fed by bias and input only.
    """

    reset_after: bool = False
    state_names = ("h",)

    @property
    def preactivation_names(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return ("update", "reset", "candidate") + (("current",) if self.reset_after else ())

    def sources(self, state: Values, x: Values) -> Mapping[str, Any]:
        h = state["h"]
        if self.reset_after:
            return {"update": h, "reset": h, "candidate": h, "current": None}
        return {"update": h, "reset": h, "candidate": jax.nn.sigmoid(x["reset"]) * h}

    def update(self, state: Values, x: Values) -> Mapping[str, Any]:
        z, y = jax.nn.sigmoid(x["update"]), x["candidate"]
        if self.reset_after:
            y = x["current"] + jax.nn.sigmoid(x["reset"]) * y
        return {"h": z * state["h"] + (1.0 - z) * self.phi(y)}

    def responses(self, x: Values) -> Mapping[str, Any]:
        y = x["candidate"]
        if self.reset_after:
            y = x["current"] + jax.nn.sigmoid(x["reset"]) * y
        return _gates(x, "update", "reset") | {"candidate": self.phi(y)}


@dataclass(frozen=True, kw_only=True)
class LSTM(ActivatedCell):
    """c' = σ(f) c + σ(i) φ(y), h' = σ(o) φ(c') [CKS 6–8; EOC §2 LSTM].

    With `coupled=True` the input gate is tied to the forget gate, σ(i) → 1 − σ(f), and "input" disappears.
    """

    coupled: bool = False
    state_names = ("c", "h")

    @property
    def preactivation_names(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return ("forget", "output", "cell") if self.coupled else ("forget", "input", "output", "cell")

    def sources(self, state: Values, x: Values) -> Mapping[str, Any]:
        return dict.fromkeys(self.preactivation_names, state["h"])

    def update(self, state: Values, x: Values) -> Mapping[str, Any]:
        forget = jax.nn.sigmoid(x["forget"])
        write = 1.0 - forget if self.coupled else jax.nn.sigmoid(x["input"])
        c = forget * state["c"] + write * self.phi(x["cell"])
        return {"c": c, "h": jax.nn.sigmoid(x["output"]) * self.phi(c)}

    def responses(self, x: Values) -> Mapping[str, Any]:
        return _gates(x, *self.preactivation_names[:-1]) | {"cell": self.phi(x["cell"])}


@dataclass(frozen=True, kw_only=True)
class MGU(ActivatedCell):
    """Minimal gated unit, h' = (1 − σ(f)) h + σ(f) φ(y), the candidate's source σ(f) h (Zhou et al. 2016)."""

    state_names = ("h",)
    preactivation_names = ("forget", "candidate")

    def sources(self, state: Values, x: Values) -> Mapping[str, Any]:
        return {"forget": state["h"], "candidate": jax.nn.sigmoid(x["forget"]) * state["h"]}

    def update(self, state: Values, x: Values) -> Mapping[str, Any]:
        gate = jax.nn.sigmoid(x["forget"])
        candidate = self.phi(x["candidate"])
        return {"h": (1.0 - gate) * state["h"] + gate * candidate}

    def responses(self, x: Values) -> Mapping[str, Any]:
        return _gates(x, "forget") | {"candidate": self.phi(x["candidate"])}


def _gates(x: Values, *names: str) -> dict[str, Any]:
    return {name: jax.nn.sigmoid(x[name]) for name in names}


# ---- a cell as functions of arrays: s (..., D) and x (..., K), neurons along the leading axes ----


def next_state(cell: Cell, s: jax.Array, x: jax.Array) -> jax.Array:
    """F for one neuron: s (D,), x (K,) → (D,)."""
    out = cell.update(_named(cell.state_names, s), _named(cell.preactivation_names, x))
    return jnp.stack([jnp.asarray(out[name], s.dtype) for name in cell.state_names])


def source_values(cell: Cell, s: jax.Array, x: jax.Array) -> jax.Array:
    """V for one neuron: s (D,), x (K,) → (K,), zero where there is no source."""
    out = cell.sources(_named(cell.state_names, s), _named(cell.preactivation_names, x))
    values = [out[name] for name in cell.preactivation_names]
    return jnp.stack([jnp.zeros((), s.dtype) if v is None else jnp.asarray(v, s.dtype) for v in values])


def response_values(cell: Cell, x: jax.Array) -> dict[str, jax.Array]:
    """What pre-activations act by, by name: x (..., K) → (...)."""
    return {
        name: jnp.asarray(v)
        for name, v in cell.responses(_named(cell.preactivation_names, jnp.moveaxis(x, -1, 0))).items()
    }


def local_derivatives(cell: Cell, s: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    """F_s (n, D, D), F_x (n, D, K), V_s (n, K, D), V_x (n, K, K) of n neurons, by automatic differentiation."""
    f = jax.jacfwd(partial(next_state, cell), argnums=(0, 1))
    v = jax.jacfwd(partial(source_values, cell), argnums=(0, 1))
    (f_s, f_x), (v_s, v_x) = jax.vmap(f)(s, x), jax.vmap(v)(s, x)
    return f_s, f_x, v_s, v_x


def _named(names: tuple[str, ...], values: Any) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


@dataclass(frozen=True)
class Group:
    """Pre-activations that share one source: their indices, and the round in which that source is known."""

    members: tuple[int, ...]
    level: int


class Uses(NamedTuple):
    """Indices of the state variables and pre-activations that a value depends on; its other derivatives are zero."""

    states: tuple[int, ...]
    preactivations: tuple[int, ...]


@dataclass(frozen=True)
class Structure:
    """How a cell's pre-activations hang together, read off its trace.

    Attributes:
        groups: pre-activations by shared source, ordered by level; those of level 0 depend on the state alone.
        sourceless: indices of pre-activations without recurrent weights.
        source_uses: for each pre-activation, the state variables that its source depends on, and the pre-activations.
        update_uses: for each state variable, the state variables that its update depends on, and the pre-activations.
    """

    groups: tuple[Group, ...]
    sourceless: tuple[int, ...]
    source_uses: tuple[Uses, ...]
    update_uses: tuple[Uses, ...]


@lru_cache(maxsize=256)
def structure(cell: Cell) -> Structure:
    """Trace the cell's two functions, check them, and find which sources are shared and in which order they follow.

    Raises:
        ValueError: names missing or repeated, a wrong set of keys or shapes returned, or a source that uses a
            pre-activation which is computed at the same time or later.
    """
    _check_names(cell)
    names = cell.preactivation_names
    zeros = {name: jnp.zeros(()) for name in names}
    state = {name: jnp.zeros(()) for name in cell.state_names}
    _check_outputs(cell, "update", jax.eval_shape(cell.update, state, zeros), cell.state_names)
    sourced: list[int] = []

    def active_sources(state: Values, x: Values) -> list[Any]:
        out = cell.sources(state, x)
        _check_outputs(cell, "sources", out, names)
        sourced[:] = [k for k, name in enumerate(names) if out[name] is not None]
        return [out[names[k]] for k in sourced]

    outvars, source_uses = _traced_uses(cell, active_sources, state, zeros)
    _, update_uses = _traced_uses(cell, lambda s, x: [cell.update(s, x)[n] for n in cell.state_names], state, zeros)
    every = dict(zip(sourced, source_uses, strict=True))
    return Structure(
        _grouped(cell, every, outvars),
        tuple(k for k in range(len(names)) if k not in every),
        tuple(every.get(k, Uses((), ())) for k in range(len(names))),
        tuple(update_uses),
    )


def _traced_uses(cell: Cell, function: Any, state: Values, x: Values) -> tuple[list[Any], list[Uses]]:
    """The output variables of a function of state and pre-activations, and what each of them depends on."""
    jaxpr = jax.make_jaxpr(function)(state, x).jaxpr
    # dictionaries flatten in sorted order of their keys
    inputs = [(0, cell.state_names.index(name)) for name in sorted(state)]
    inputs += [(1, cell.preactivation_names.index(name)) for name in sorted(x)]
    uses = _dependencies(jaxpr, {var: {which} for var, which in zip(jaxpr.invars, inputs, strict=True)})
    found = [set() if hasattr(var, "val") else uses.get(var, set()) for var in jaxpr.outvars]
    by_kind = [[tuple(sorted(i for kind, i in f if kind == wanted)) for wanted in (0, 1)] for f in found]
    return jaxpr.outvars, [Uses(*pair) for pair in by_kind]


def _check_names(cell: Cell) -> None:
    for attribute in ("state_names", "preactivation_names"):
        names = getattr(cell, attribute, None)
        if not names or isinstance(names, str) or not all(isinstance(n, str) for n in names):
            raise ValueError(f"{type(cell).__name__}.{attribute} must be a non-empty tuple of names, got {names!r}")
    names = (*cell.state_names, *cell.preactivation_names)
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise ValueError(f"{type(cell).__name__} uses the name {repeated[0]!r} twice; every name must be its own")


def _check_outputs(cell: Cell, function: str, out: Any, names: tuple[str, ...]) -> None:
    where = f"{type(cell).__name__}.{function}"
    if not isinstance(out, Mapping) or set(out) != set(names):
        got = sorted(out) if isinstance(out, Mapping) else type(out).__name__
        raise ValueError(f"{where} must return a value for each of {list(names)}, got {got}")
    for name, value in out.items():
        if value is not None and jnp.shape(value) != ():
            raise ValueError(f"{where} is for one neuron: {name!r} must be a scalar, got shape {jnp.shape(value)}")


def _dependencies(jaxpr: Any, uses: dict[Any, set[tuple[int, int]]]) -> dict[Any, set[tuple[int, int]]]:
    """Which inputs each variable of a trace depends on; calls count as using all their arguments."""
    for equation in jaxpr.eqns:
        inputs = [uses.get(v, set()) for v in equation.invars if not hasattr(v, "val")]
        for out in equation.outvars:
            uses[out] = set().union(*inputs)
    return uses


def _grouped(cell: Cell, uses: dict[int, Uses], outvars: list[Any]) -> tuple[Group, ...]:
    names = cell.preactivation_names
    level: dict[int, int] = dict.fromkeys(range(len(names)), 0)
    members: dict[Any, list[int]] = {}
    for position, ((k, used), var) in enumerate(zip(uses.items(), outvars, strict=True)):
        late = [j for j in used.preactivations if j >= k]
        if late:
            raise ValueError(
                f"{type(cell).__name__}: the source of {names[k]!r} uses {names[late[0]]!r}, which is not computed "
                f"before it; reorder preactivation_names"
            )
        level[k] = 1 + max((level[j] for j in used.preactivations), default=-1)
        members.setdefault(position if hasattr(var, "val") else var, []).append(k)
    groups = [Group(tuple(ks), max(level[k] for k in ks)) for ks in members.values()]
    return tuple(sorted(groups, key=lambda g: g.level))


def named_cell(name: str, **parameters: Any) -> Cell:
    """A built-in cell by its name on the command line.

    Raises:
        ValueError: an unknown name.
    """
    makers: dict[str, Callable[..., Cell]] = {
        "vanilla": Vanilla,
        "leaky": Leaky,
        "gru": GRU,
        "gru-reset-after": partial(GRU, reset_after=True),
        "lstm": LSTM,
        "lstm-coupled": partial(LSTM, coupled=True),
        "mgu": MGU,
    }
    if name not in makers:
        raise ValueError(f"cell {name!r} is not known; use one of {', '.join(makers)}")
    if "step" in parameters and name != "leaky":
        raise ValueError(f"step is for the leaky cell, not for {name}")
    return makers[name](**parameters)
