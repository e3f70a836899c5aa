"""A cell with the statistics of its weights, biases and input currents: what defines a random network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.currents import ConstantCurrent, as_current
from gatefield.cells.tracing import Structure, next_state, source_values, structure
from gatefield.running.arguments import at_least, finite, known_names, mapping


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Random networks of one cell: (U_k)_ij ~ N(0, gain_k²/N), (b_k)_i ~ N(bias_mean_k, bias_var_k).

    Args:
        cell: the cell.
        gain: a_k by pre-activation name; names left out are 0.
        bias_mean: by name.
        bias_var: by name.
        current: input currents by name: a number (constant, the same for all neurons), `ConstantCurrent`,
            `WhiteCurrent` or `CorrelatedCurrent`.

    Raises:
        ValueError: an unknown name, a value that is not finite, a negative gain or variance, or a gain for a
            pre-activation that has no recurrent weights.
    """

    cell: Cell
    gain: Mapping[str, float] = field(default_factory=dict)
    bias_mean: Mapping[str, float] = field(default_factory=dict)
    bias_var: Mapping[str, float] = field(default_factory=dict)
    current: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.cell, Cell):
            raise ValueError(f"cell={self.cell!r} must be a gatefield.Cell, such as gatefield.GRU()")
        if type(self.cell).__hash__ is None:
            raise ValueError(f"{type(self.cell).__name__} is not hashable; make it a frozen dataclass")
        structure(self.cell)  # checks the cell
        self._clean("gain", lambda name, v: at_least(f"gain[{name!r}]", v, 0.0), 0.0)
        self._clean("bias_mean", lambda name, v: finite(f"bias_mean[{name!r}]", v), 0.0)
        self._clean("bias_var", lambda name, v: at_least(f"bias_var[{name!r}]", v, 0.0), 0.0)
        self._clean("current", as_current, ConstantCurrent())
        for k in self.structure.sourceless:
            name = self.names[k]
            if self.gain[name] != 0.0:
                raise ValueError(
                    f"gain[{name!r}]={self.gain[name]:g}, but {name!r} has no recurrent weights; leave it out"
                )

    def _clean(self, what: str, check: Any, default: Any) -> None:
        given = mapping(what, getattr(self, what))
        known_names(what, given, self.names, type(self.cell).__name__)
        values = {name: check(name, given[name]) if name in given else default for name in self.names}
        object.__setattr__(self, what, values)

    @property
    def names(self) -> tuple[str, ...]:
        """The pre-activations' names."""
        return self.cell.preactivation_names

    @property
    def structure(self) -> Structure:
        """How the cell's pre-activations hang together."""
        return structure(self.cell)

    @property
    def gains(self) -> np.ndarray:
        """a_k, (K,)."""
        return np.array([self.gain[n] for n in self.names])

    @property
    def means(self) -> np.ndarray:
        """Mean of each pre-activation, bias and current together, (K,)."""
        return np.array([self.bias_mean[n] + self.current[n].mean for n in self.names])

    @property
    def static_variance(self) -> np.ndarray:
        """Variance between neurons of what is constant in time, bias and current together, (K,)."""
        return np.array([self.bias_var[n] + self.current[n].static_variance for n in self.names])

    @property
    def driven(self) -> bool:
        """Whether an input current varies in time."""
        return any(self.current[n].varies for n in self.names)

    @property
    def zero_is_fixed(self) -> bool:
        """Whether all states at zero stay there, whatever the weights and biases drawn."""
        cell, x = self.cell, self.means
        spread = self.static_variance > 0.0
        with jax.enable_x64(True):
            zero = jnp.zeros(len(cell.state_names))
            probes = [jnp.asarray(x + shift * spread) for shift in (0.0, 0.7, -1.3)]
            images = [f(cell, zero, p) for f in (next_state, source_values) for p in probes]
            return not self.driven and all(bool(jnp.all(image == 0.0)) for image in images)

    def with_gain(self, name: str, gain: float) -> Ensemble:
        """The same with another gain of one pre-activation."""
        return replace(self, gain={**self.gain, name: gain})

    def title(self) -> str:
        """The ensemble in one line: what differs from 0."""
        parts = []
        for label in ("gain", "bias_mean", "bias_var"):
            values = ", ".join(f"{name} {value:g}" for name, value in getattr(self, label).items() if value)
            parts += [f"{label.replace('_', ' ')} {values}"] if values else []
        parts += [f"current {name}" for name, current in self.current.items() if current != ConstantCurrent()]
        return f"{repr_cell(self.cell)}, {'; '.join(parts) or 'no gains'}"

    def describe(self) -> dict[str, Any]:
        """The ensemble as plain text and numbers, for a result's record of what produced it."""
        return {
            "cell": repr_cell(self.cell),
            "gain": dict(self.gain),
            "bias_mean": dict(self.bias_mean),
            "bias_var": dict(self.bias_var),
            "current": {n: repr(c) for n, c in self.current.items() if c != ConstantCurrent()},
        }


def repr_cell(cell: Cell) -> str:
    """The cell and those of its parameters that are not the default, functions by their names."""
    values = (
        {f.name: getattr(cell, f.name) for f in fields(cell) if getattr(cell, f.name) != f.default}
        if (is_dataclass(cell))
        else {}
    )
    parts = [f"{name}={getattr(value, '__name__', repr(value))}" for name, value in values.items()]
    return f"{type(cell).__name__}({', '.join(parts)})" if parts else type(cell).__name__
