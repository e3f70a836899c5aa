"""Many neurons at one time, and the local derivatives of their cell there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import jax
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.tracing import local_derivatives
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.sizes import usual_size
from gatefield.running.arguments import whole


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Local derivatives of n neurons: F_s (n, D, D), F_x (n, D, K), V_s (n, K, D), V_x (n, K, K), float64."""

    f_s: np.ndarray
    f_x: np.ndarray
    v_s: np.ndarray
    v_x: np.ndarray

    @cached_property
    def poles(self) -> ComplexArray:
        """Eigenvalues of each neuron's own F_s, those it would have without any weights: (n, D), complex."""
        if self.f_s.shape[1] == 1:
            return self.f_s[:, 0].astype(np.complex128)
        return np.linalg.eigvals(self.f_s).astype(np.complex128)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """n neurons' states before a step and their pre-activations in it.

    Args:
        cell: their cell.
        state: (n, D), one column per name in `cell.state_names`.
        preactivations: (n, K), one column per name in `cell.preactivation_names`.
        groups: the neurons form this many consecutive groups of equal size, independent of each other, from which
            errors are taken; 1 where they all belong to one network.

    Raises:
        ValueError: wrong shapes, values that are not finite, or groups that do not divide the neurons.
    """

    cell: Cell
    state: np.ndarray
    preactivations: np.ndarray
    groups: int = 1

    def __post_init__(self) -> None:
        n = len(self.state)
        for name, names in (("state", self.cell.state_names), ("preactivations", self.cell.preactivation_names)):
            array = np.asarray(getattr(self, name), dtype=np.float64)
            if array.shape != (n, len(names)) or n == 0:
                raise ValueError(
                    f"{name} of shape {array.shape} must be (neurons, {len(names)}), a column for each of {names}"
                )
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{name} holds values that are not finite")
            object.__setattr__(self, name, array)
        if n % whole("groups", self.groups):
            raise ValueError(f"groups={self.groups} must divide the {n} neurons")

    @property
    def neurons(self) -> int:
        """Number of neurons n."""
        return len(self.state)

    def thinned(self, count: int) -> Snapshot:
        """About `count` of the neurons, evenly spread over all, as one group."""
        kept = slice(None, None, max(1, self.neurons // whole("count", count)))
        return Snapshot(self.cell, self.state[kept], self.preactivations[kept])

    @cached_property
    def derivatives(self) -> Derivatives:
        """Local derivatives by automatic differentiation."""
        with jax.enable_x64(True):
            parts = _derivatives(self.cell, *(padded(part) for part in (self.state, self.preactivations)))
        arrays = [np.asarray(part)[: self.neurons] for part in parts]
        if not all(np.all(np.isfinite(a)) for a in arrays):
            raise ValueError(f"{type(self.cell).__name__} has derivatives that are not finite at some neuron")
        return Derivatives(*arrays)

    @classmethod
    def at_zero(cls, ensemble: Ensemble, *, samples: int = 8000, seed: int = 0) -> Snapshot:
        """Neurons in the zero state, their pre-activations given by bias and constant current alone.

        One neuron stands for all where these have no variance. Currents that vary in time are left out.
        """
        variance = ensemble.static_variance
        size = whole("samples", samples) if variance.any() else 1
        noise = np.random.default_rng(seed).standard_normal((size, len(variance)))
        return cls(
            ensemble.cell, np.zeros((size, len(ensemble.cell.state_names))), ensemble.means + np.sqrt(variance) * noise
        )


def padded(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Neurons along an axis up to a usual number by repeating the last one, so that compiled code is shared."""
    count = values.shape[axis]
    usual = 1 if count == 1 else usual_size(count)
    missing = [(0, usual - count if a == axis else 0) for a in range(values.ndim)]
    return np.pad(values, missing, mode="edge")


_derivatives = jax.jit(local_derivatives, static_argnums=0)


class OfCell(Protocol):
    """Neurons of one cell: a snapshot, a path."""

    @property
    def cell(self) -> Cell: ...


def check_cell(ensemble: Ensemble, neurons: OfCell) -> None:
    """Hold neurons to the ensemble's cell.

    Raises:
        ValueError: they are of another.
    """
    if neurons.cell != ensemble.cell:
        name = type(neurons).__name__.lower()
        raise ValueError(
            f"{name} is of {repr_cell(neurons.cell)}, the ensemble of {repr_cell(ensemble.cell)}; they must be of "
            "one cell"
        )
