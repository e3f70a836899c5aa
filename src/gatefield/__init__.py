"""Mean-field and random-matrix theory of gated recurrent networks, for any cell."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatefield.cells import GRU as GRU
    from gatefield.cells import LSTM as LSTM
    from gatefield.cells import MGU as MGU
    from gatefield.cells import Cell as Cell
    from gatefield.cells import Leaky as Leaky
    from gatefield.cells import Vanilla as Vanilla
    from gatefield.cells import hard_tanh as hard_tanh
    from gatefield.currents import ConstantCurrent as ConstantCurrent
    from gatefield.currents import CorrelatedCurrent as CorrelatedCurrent
    from gatefield.currents import WhiteCurrent as WhiteCurrent
    from gatefield.ensemble import Ensemble as Ensemble
    from gatefield.estimates import Estimate as Estimate
    from gatefield.meanfield import MeanField as MeanField
    from gatefield.meanfield import mean_field as mean_field
    from gatefield.network import Network as Network
    from gatefield.network import Path as Path
    from gatefield.network import eigenvalues as eigenvalues
    from gatefield.reports import Report as Report
    from gatefield.reports import report as report
    from gatefield.simulation import Simulation as Simulation
    from gatefield.simulation import simulate as simulate
    from gatefield.snapshot import Snapshot as Snapshot
    from gatefield.spectrum import SpectralCurve as SpectralCurve
    from gatefield.spectrum import SpectralField as SpectralField
    from gatefield.spectrum import resolvent as resolvent
    from gatefield.spectrum import spectral_curve as spectral_curve
    from gatefield.spectrum import spectral_density as spectral_density
    from gatefield.spectrum import spectral_edge as spectral_edge
    from gatefield.spectrum import spectral_mass as spectral_mass
    from gatefield.spectrum import spectral_radius as spectral_radius
    from gatefield.spectrum import support_exponent as support_exponent
    from gatefield.zero_state import ZeroFixedPoint as ZeroFixedPoint
    from gatefield.zero_state import zero_fixed_point as zero_fixed_point

# Where each public name lives. Loaded on first use, so that `import gatefield` and `gatefield --help` stay light.
_HOMES = {
    "cells": ("GRU", "LSTM", "MGU", "Cell", "Leaky", "Vanilla", "hard_tanh"),
    "currents": ("ConstantCurrent", "CorrelatedCurrent", "WhiteCurrent"),
    "ensemble": ("Ensemble",),
    "estimates": ("Estimate",),
    "meanfield": ("MeanField", "mean_field"),
    "network": ("Network", "Path", "eigenvalues"),
    "reports": ("Report", "report"),
    "simulation": ("Simulation", "simulate"),
    "snapshot": ("Snapshot",),
    "spectrum": (
        "SpectralCurve", "SpectralField", "resolvent", "spectral_curve", "spectral_density", "spectral_edge",
        "spectral_mass", "spectral_radius", "support_exponent",
    ),
    "zero_state": ("ZeroFixedPoint", "zero_fixed_point"),
}  # fmt: skip
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_MODULES)]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gatefield' has no attribute {name!r}")
    value = getattr(import_module(f"gatefield.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
