"""Where public names live, as text: nothing is loaded to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import lazy_loader

NAMESPACES = (
    "cells", "networks", "meanfield", "spectra", "phases", "chaos", "edge", "reports", "layers", "training", "sweeps",
    "figures", "plots", "results", "numerics",
)  # fmt: skip

# Names that were parted from a twin when they moved to their subjects.
RENAMED = {
    "Hysteresis": "StaticHysteresis",
    "HysteresisLoop": "NetworkHysteresis",
    "LyapunovSpectrum": "MeasuredExponents",
    "hysteresis": "static_hysteresis",
    "hysteresis_loop": "network_hysteresis",
}


def homes(name: str) -> Iterator[str]:
    """The subjects that have a public name."""
    return (subject for subject in NAMESPACES if name in import_module(f"gatefield.{subject}").__all__)


def moved(name: str) -> str | None:
    """What a name that was flat once is called now, such as "gf.phases.bifurcation_curve"."""
    now = RENAMED.get(name, name)
    return next((f"gf.{subject}.{now}" for subject in homes(now)), None)


def face(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names its `__init__.pyi` lists, loaded on first use."""
    load, names, public = lazy_loader.attach_stub(package, file)

    def attribute(name: str) -> Any:
        if name in public:
            return load(name)
        now = None if name.startswith("_") else moved(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}" + (f"; it is {now}" if now else ""))

    return attribute, names, public
