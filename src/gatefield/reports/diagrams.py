"""A phase diagram with its curves: what `gatefield phase-diagram` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gatefield.cells.builtin import GRU, LSTM, MGU
from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.chaos.onset import ChaosLine, chaos_line
from gatefield.phases.boundaries import Boundary, bifurcation_curve, marginal_boundary, tricritical_point
from gatefield.phases.diagram import Axis, phase_diagram
from gatefield.phases.plane import plane_of
from gatefield.running.arguments import whole

if TYPE_CHECKING:
    import xarray as xr

_LINE_POINTS = 60


@dataclass(frozen=True, eq=False)
class Diagram:
    """Static states over a plane of two gains, and the curves in it where they can be traced.

    Attributes:
        plane: the dataset of `phase_diagram`.
        fold: where two static states merge.
        marginal: edge of the region of marginal stability under a binary update gate; GRUs only.
        tricritical: (gain_x, gain_y) where the fold ends on the critical line.
        chaos: onset of chaos.
    """

    ensemble: Ensemble
    plane: xr.Dataset
    fold: Boundary | None
    marginal: Boundary | None
    tricritical: tuple[float, float] | None
    chaos: ChaosLine | None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the plane that each region takes."""
        names = self.plane.region.attrs["flag_meanings"].split("; ")
        return {name: float(np.mean(self.plane.region.values == i)) for i, name in enumerate(names)}

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        x, y = (str(self.plane.attrs[k]) for k in ("gain_x", "gain_y"))
        curves = {
            boundary.kind: [
                {x: a, y: b, "second_moment": c, "shaping": s, "residual": r}
                for a, b, c, s, r in zip(
                    *(v.tolist() for v in (boundary.gain_x, boundary.gain_y, boundary.second_moment)),
                    *(v.tolist() for v in (boundary.shaping, boundary.residual)),
                    strict=True,
                )
            ]
            for boundary in (self.fold, self.marginal)
            if boundary is not None
        }
        return {
            "ensemble": self.ensemble.describe(),
            "plane": {
                name: [float(v.min()), float(v.max()), len(v)] for name in (x, y) for v in [self.plane[name].values]
            },
            "beta": float(self.plane.attrs["beta"]),
            "regions": self.shares,
            "marginal_share": float(self.plane.marginal.mean()),
            "residual": float(self.plane.residual.max()),
            "tricritical_point": None if self.tricritical is None else dict(zip((x, y), self.tricritical, strict=True)),
            "chaos_onset": []
            if self.chaos is None
            else [
                {x: a, y: {"value": (b + c) / 2, "error": (c - b) / 2}}
                for a, b, c in zip(self.chaos.gain_x.tolist(), self.chaos.low, self.chaos.high, strict=True)
            ],
            **curves,
        }


def default_axes(cell: Cell) -> tuple[Axis, Axis]:
    """The plane that is drawn where none is asked for.

    Raises:
        ValueError: a cell without one.
    """
    match cell:
        case GRU(reset_after=False):
            return ("candidate", 1.2, 3.5, 200), ("reset", 0.0, 30.0, 200)
        case GRU():
            return ("candidate", 1.2, 3.5, 100), ("reset", 0.0, 30.0, 100)
        case MGU():
            return ("candidate", 0.8, 3.5, 200), ("forget", 0.0, 30.0, 200)
        case LSTM():
            return ("cell", 1.2, 3.0, 60), ("forget", 0.0, 12.0, 60)
        case _:
            raise ValueError(f"{repr_cell(cell)} has no plane of two gains to draw; give --gain-x and --gain-y")


def diagram(
    ensemble: Ensemble, *, gain_x: Axis | None = None, gain_y: Axis | None = None, beta: float = 0.0, chaos: int = 5
) -> Diagram:
    """The phase diagram of an ensemble in the plane of two gains, with folds, marginal boundary and onset of chaos.

    Args:
        ensemble: all gains but the two, biases and constant currents.
        gain_x: name, lowest and highest gain, number of points; by default the plane of `default_axes`.
        gain_y: likewise.
        beta: b_z/a_z of a binary update gate [CKS 25].
        chaos: points at which the onset of chaos is found, for a GRU with a constant update gate; 0 for none.

    Raises:
        ValueError: as `phase_diagram`.
    """
    chaos = whole("chaos", chaos, 0)
    if gain_x is None or gain_y is None:
        standard = default_axes(ensemble.cell)
        gain_x, gain_y = gain_x or standard[0], gain_y or standard[1]
    plane = phase_diagram(gain_x=gain_x, gain_y=gain_y, ensemble=ensemble, beta=beta)
    (name_x, low, high, _), (name_y, bottom, top, _) = gain_x, gain_y
    if not plane_of(ensemble, name_x, name_y, max(high, top)).leads:
        return Diagram(ensemble, plane, None, None, None, None)
    fold = bifurcation_curve(gain_x=name_x, gain_y=(name_y, bottom, top, _LINE_POINTS), ensemble=ensemble)
    gated = isinstance(ensemble.cell, GRU)
    marginal = (
        marginal_boundary(gain_x=name_x, gain_y=(name_y, bottom, top, _LINE_POINTS), ensemble=ensemble, beta=beta)
        if gated
        else None
    )
    tricritical = _tricritical(ensemble, name_x, name_y)
    onset = None
    if chaos and gated and tricritical is not None and tricritical[0] > low:
        still = Ensemble(
            ensemble.cell, {**ensemble.gain, "update": 0.0}, ensemble.bias_mean,
            {**ensemble.bias_var, "update": 0.0}, ensemble.current,
        )  # fmt: skip
        inner = np.linspace(max(low, tricritical[0] - 0.27), tricritical[0], chaos + 2)[1:-1]
        axis = (name_x, float(inner[0]), float(inner[-1]), chaos)
        onset = chaos_line(gain_x=axis, gain_y=(name_y, bottom, top), ensemble=still)
    return Diagram(ensemble, plane, fold, marginal, tricritical, onset)


def _tricritical(ensemble: Ensemble, name_x: str, name_y: str) -> tuple[float, float] | None:
    try:
        return tricritical_point(gain_x=name_x, gain_y=name_y, ensemble=ensemble)
    except ValueError:  # zero is not fixed, or the transition has one nature throughout
        return None
