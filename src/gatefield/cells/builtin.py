"""The cells that come with gatefield, and their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from gatefield.cells.cell import ActivatedCell, Cell, Values


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
