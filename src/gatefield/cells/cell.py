"""One neuron: state variables, pre-activations, what weights multiply, and how the state goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
