"""The LSTM's cell as a scaled average of its memory and its input, the notes' way to write it [EOC 1]."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from gatefield.cells.builtin import LSTM
from gatefield.cells.ensemble import repr_cell
from gatefield.cells.snapshot import Snapshot
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class CellAverage(Result):
    """c_{t+1} = A ((1 − α) c_t + α c̃), of n neurons [EOC §2 gain, 1].

    Attributes:
        gain: A = f + i, between 0 and 2; ½ + ½ = 1 where both gates stand in the middle.
        share: α = i/A, of the candidate in the average.
        memory: c_t.
        candidate: c̃ = φ(y).
    """

    gain: np.ndarray
    share: np.ndarray
    memory: np.ndarray
    candidate: np.ndarray

    def description(self) -> Description:
        sources = {"gain": "EOC §2, A_t", "share": "EOC §2, α_t", "memory": "c_t", "candidate": "φ(y)", "next": "EOC 1"}
        return Description(
            quantities={name: Quantity(getattr(self, name), ("neuron",), source=s) for name, s in sources.items()}
        )

    @property
    def next(self) -> np.ndarray:
        """c_{t+1} [EOC 1]."""
        return self.gain * ((1.0 - self.share) * self.memory + self.share * self.candidate)


def cell_average(snapshot: Snapshot) -> CellAverage:
    """A_t and α_t of an LSTM's neurons [EOC §2 gain]. The coupled LSTM has A = 1 always.

    Raises:
        ValueError: a snapshot of another cell.
    """
    cell = snapshot.cell
    if not isinstance(cell, LSTM):
        raise ValueError(f"snapshot of {repr_cell(cell)} must be of an LSTM: only that has f + i")
    x = dict(zip(cell.preactivation_names, snapshot.preactivations.T, strict=True))
    forget = expit(x["forget"])
    write = expit(-x["forget"]) if cell.coupled else expit(x["input"])
    gain = forget + write
    with jax.enable_x64(True):
        candidate = np.asarray(cell.phi(jnp.asarray(x["cell"])))
    return CellAverage(gain, write / gain, snapshot.state[:, 0], candidate)
