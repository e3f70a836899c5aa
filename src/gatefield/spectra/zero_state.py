"""The zero fixed point: where all states are zero. Closed forms for the built-in cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gatefield.cells.builtin import GRU, LSTM, MGU, Leaky, Vanilla
from gatefield.cells.cell import ActivatedCell
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class ZeroFixedPoint(Result):
    """Spectrum of the Jacobian at the zero fixed point: a uniform disc, and for the LSTM as many zeros.

    Attributes:
        center, radius: of the disc.
        zeros: eigenvalues at 0 per neuron (1 for the LSTM, else 0).
    """

    center: float
    radius: float
    zeros: int
    ensemble: Ensemble

    @property
    def spectral_radius(self) -> float:
        """Largest modulus of the spectrum."""
        return self.center + self.radius

    @property
    def stable(self) -> bool:
        """Whether small activity dies: spectral radius below 1 [CKS Cor. 3, 18, Cor. 11]."""
        return self.spectral_radius < 1.0

    @property
    def density(self) -> float:
        """Density of eigenvalues within the disc, 1/(π radius²); infinite where the radius is 0."""
        return float("inf") if self.radius == 0.0 else 1.0 / (np.pi * self.radius**2)

    def description(self) -> Description:
        source = "CKS 17–18, 32, Cor. 11"
        return Description(
            quantities={
                "spectral_radius": Quantity(self.spectral_radius, source=source),
                "stable": Quantity(self.stable, source="CKS Cor. 3, 11"),
                "center": Quantity(self.center, source=source),
                "radius": Quantity(self.radius, source=source),
                "density": Quantity(self.density, units="eigenvalues per unit area and neuron"),
                "zeros": Quantity(self.zeros, units="eigenvalues per neuron"),
            },
            facts={"ensemble": self.ensemble},
        )


def zero_fixed_point(ensemble: Ensemble) -> ZeroFixedPoint:
    """Closed form of the spectrum at the zero fixed point of a built-in cell [CKS Prop. 2, 17, Cor. 10, 32].

    Gates stand at σ(b), b their mean bias and current. Vanilla: centre 0, radius a φ'(0); leaky: 1 − δ, δ a φ'(0);
    GRU, either reset: σ(b_z), (1 − σ(b_z)) σ(b_r) a φ'(0); LSTM: σ(b_f), σ(b_o) σ(b_i) a φ'(0)², coupled with
    1 − σ(b_f) for σ(b_i); MGU: 1 − σ(b_f), σ(b_f)² a φ'(0).

    Raises:
        ValueError: zero is not a fixed point, biases or currents have a variance, or the cell is not built in;
            `spectral_radius(ensemble, Snapshot.at_zero(ensemble))` answers for any cell.
    """
    remedy = "use spectral_radius(ensemble, Snapshot.at_zero(ensemble))"
    if not ensemble.zero_is_fixed:
        raise ValueError(
            f"zero is not a fixed point of this {repr_cell(ensemble.cell)} ensemble: a bias or current moves it"
        )
    if np.any(ensemble.static_variance > 0.0):
        raise ValueError(f"no closed form at the zero fixed point where biases have a variance; {remedy}")
    disc = _disc(ensemble)
    if disc is None:
        raise ValueError(f"no closed form at the zero fixed point of {repr_cell(ensemble.cell)}; {remedy}")
    center, radius = disc
    return ZeroFixedPoint(float(center), float(radius), int(isinstance(ensemble.cell, LSTM)), ensemble)


def _disc(ensemble: Ensemble) -> tuple[float, float] | None:
    """Centre and radius."""
    cell, gain = ensemble.cell, ensemble.gain
    if not isinstance(cell, ActivatedCell):
        return None
    gate = {name: 1.0 / (1.0 + np.exp(-mean)) for name, mean in zip(ensemble.names, ensemble.means, strict=True)}
    slope = _slope(cell.phi)
    match cell:
        case Vanilla():
            return 0.0, gain["input"] * slope
        case Leaky():
            return 1.0 - cell.step, cell.step * gain["input"] * slope
        case GRU():
            return gate["update"], (1.0 - gate["update"]) * gate["reset"] * gain["candidate"] * slope
        case LSTM():
            write = 1.0 - gate["forget"] if cell.coupled else gate["input"]
            return gate["forget"], gate["output"] * write * gain["cell"] * slope**2
        case MGU():
            return 1.0 - gate["forget"], gate["forget"] ** 2 * gain["candidate"] * slope
        case _:
            return None


def _slope(phi: Any) -> float:
    with jax.enable_x64(True):
        return float(abs(jax.grad(phi)(0.0)))
