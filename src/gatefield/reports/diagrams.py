"""A phase diagram with its curves: what `gatefield phase-diagram` shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gatefield.cells.builtin import GRU, LSTM, MGU
from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.chaos.onset import ChaosLine, chaos_line
from gatefield.numerics.estimates import Estimate
from gatefield.phases.boundaries import Boundary, bifurcation_curve, marginal_boundary, tricritical_point
from gatefield.phases.diagram import Axis, phase_diagram
from gatefield.phases.plane import plane_of
from gatefield.results.description import Description, Quantity, from_dataset
from gatefield.results.result import Result, messages_of
from gatefield.running.arguments import whole

if TYPE_CHECKING:
    import xarray as xr

_LINE_POINTS = 60


@dataclass(frozen=True, eq=False, repr=False)
class Diagram(Result):
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

    @property
    def names(self) -> tuple[str, str]:
        """Of the two gains."""
        return str(self.plane.attrs["gain_x"]), str(self.plane.attrs["gain_y"])

    def description(self) -> Description:
        curves = {b.kind: b for b in (self.fold, self.marginal) if b is not None}
        points = {"chaos_onset": self._onset(), **{kind: self._points(curve) for kind, curve in curves.items()}}
        ranges = {name: self.plane[name].values for name in self.names}
        tricritical = None if self.tricritical is None else dict(zip(self.names, self.tricritical, strict=True))
        described = from_dataset(self.plane)
        return Description(
            quantities={
                **{name: replace(q, json="") for name, q in described.quantities.items()},
                "region_share": Quantity(self.shares, ("region_name",), json="regions"),
                "marginal_share": Quantity(float(self.plane.marginal.mean())),
                "largest_residual": Quantity(float(self.plane.residual.max()), json="residual"),
                **{f"{name}_points": Quantity(found, arrays=False, json=name) for name, found in points.items()},
            },
            coordinates=described.coordinates,
            facts={
                "ensemble": self.ensemble, "gain_x": self.names[0], "gain_y": self.names[1],
                "plane": {name: [float(v.min()), float(v.max()), len(v)] for name, v in ranges.items()},
                "beta": float(self.plane.attrs["beta"]), "tricritical_point": tricritical,
            },
            parts=curves | ({} if self.chaos is None else {"chaos_onset": self.chaos}),
        )  # fmt: skip

    def _points(self, curve: Boundary) -> list[dict[str, float]]:
        """A curve's points, one by one."""
        columns = {name: getattr(curve, name).tolist() for name in ("second_moment", "shaping", "residual")}
        named = dict(zip(self.names, (curve.gain_x.tolist(), curve.gain_y.tolist()), strict=True)) | columns
        return [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]

    def _onset(self) -> list[dict[str, float | Estimate]]:
        """Points of the onset of chaos."""
        if self.chaos is None:
            return []
        (x, y), found = self.names, self.chaos
        brackets = zip(found.gain_x.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
        return [{x: a, y: Estimate((b + c) / 2, (c - b) / 2)} for a, b, c in brackets]


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
    said = messages_of({"fold": fold, "marginal boundary": marginal})
    return Diagram(ensemble, plane, fold, marginal, tricritical, onset, messages=said)


def _tricritical(ensemble: Ensemble, name_x: str, name_y: str) -> tuple[float, float] | None:
    try:
        return tricritical_point(gain_x=name_x, gain_y=name_y, ensemble=ensemble)
    except ValueError:  # zero is not fixed, or the transition has one nature throughout
        return None
