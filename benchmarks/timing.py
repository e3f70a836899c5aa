"""Functions timed in turn, so that all of them see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def alternate(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each call, `rounds` times in turn, after one call that is not counted."""
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def show(name: str, seconds: np.ndarray) -> None:
    """Median and range on one line."""
    print(f"  {name:42s} {np.median(seconds):8.3f} s   ({seconds.min():.3f} to {seconds.max():.3f})", flush=True)
