"""Mean-field and random-matrix theory of gated recurrent networks, for any cell.

What a first look needs is flat, such as `gf.mean_field`; the rest stands under its subject, such as
`gf.phases.bifurcation_curve`. Names load on first use, so that `import gatefield` and `gatefield --help` stay light.
`gatefield.torch` and `gatefield.flax` are for real layers, each with an extra of its own.
"""

from importlib import import_module
from typing import Any

import lazy_loader

from gatefield.results.version import __version__ as __version__

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _load(name)
    if name in ("flax", "torch"):
        return import_module(f"gatefield.{name}")
    message = f"module 'gatefield' has no attribute {name!r}"
    if not name.startswith("_"):
        from gatefield.public import moved

        now = moved(name)
        message += f"; it is {now}" if now else ""
    raise AttributeError(message)
