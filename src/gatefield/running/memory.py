"""Refuse work that does not fit into memory before it starts; let go of what fills it."""

from __future__ import annotations

import gc
import math
from pathlib import Path

import jax
import psutil

# Each compiled function holds several memory maps; where a process has 65530 of them (Linux), compilers crash.
_MAPS = Path("/proc/self/maps")
_MANY_MAPS = 40_000


def require(needed: float, *, what: str, size: int, power: float = 2.0, name: str = "size") -> None:
    """Refuse `what` if it needs more bytes than are free.

    Args:
        needed: bytes.
        what: what needs them, for the message.
        size: the argument that causes it.
        power: how the need grows with it.
        name: of the argument.

    Raises:
        ValueError: too little memory is free; the message gives the size that would fit.
    """
    free = 0.9 * psutil.virtual_memory().available
    if needed > free:
        fits = math.floor(size * (free / needed) ** (1.0 / power))
        raise ValueError(
            f"{name}={size}: {needed / 2**30:.3g} GiB for {what}, but {free / 2**30:.3g} GiB are free; "
            f"{name}={fits} would fit"
        )


def spare_memory_maps() -> None:
    """Let compiled functions go before there are too many memory maps for one process."""
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MANY_MAPS:
        jax.clear_caches()
        gc.collect()
