"""Where public names live, as text: nothing is loaded to tell."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

NAMESPACES = (
    "cells", "networks", "meanfield", "spectra", "phases", "chaos", "edge", "reports", "layers", "training", "sweeps",
    "figures", "plots", "results", "numerics",
)  # fmt: skip

# Names that were parted from a twin when they moved to their subjects.
RENAMED = {
    "Hysteresis": "StaticHysteresis",
    "LyapunovSpectrum": "MeasuredExponents",
    "hysteresis": "static_hysteresis",
}


def homes(name: str) -> Iterator[str]:
    """The subjects that have a public name."""
    return (subject for subject in NAMESPACES if name in import_module(f"gatefield.{subject}").__all__)


def moved(name: str) -> str | None:
    """What a name that was flat once is called now, such as "gf.phases.bifurcation_curve"."""
    now = RENAMED.get(name, name)
    return next((f"gf.{subject}.{now}" for subject in homes(now)), None)
