"""Mean-field and random-matrix theory of gated recurrent networks, for any cell.

What a first look needs is flat, such as `gf.mean_field`; the rest stands under its subject, such as
`gf.phases.bifurcation_curve`. Names load on first use, so that `import gatefield` and `gatefield --help` stay light.
`gatefield.torch` and `gatefield.flax` are for real layers, each with an extra of its own.
"""

from importlib import import_module
from typing import Any

from gatefield.public import face
from gatefield.results.version import __version__ as __version__

_attribute, __dir__, __all__ = face(__name__, __file__)


def __getattr__(name: str) -> Any:
    return import_module(f"gatefield.{name}") if name in ("flax", "torch") else _attribute(name)
