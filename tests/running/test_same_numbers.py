"""Same seed, same numbers: in another process to the bit, with other numbers of threads to rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gatefield.running.background import thread_limits

PROGRAM = """
import json, sys
import numpy as np
import gatefield as gf
from gatefield.running import compile_cache

compile_cache.turn_on()
gru = gf.Ensemble(gf.GRU(), {"update": 2.0, "reset": 1.0, "candidate": 3.0})
field = gf.mean_field(gru, steps=40, samples=200, seed=3)
path = gf.Network(gru, size=40, seed=5).run(30, seed=6)
density = gf.spectral_density(gru, field.snapshot, np.array([0.2 + 0.1j, 0.7]))
found = {
    "mean_field": [field.variance["h"].value, field.variance["h"].error, field.mean["update"].value],
    "run": np.asarray(path.last).ravel().tolist(),
    "spectral_density": np.asarray(density.value).ravel().tolist(),
    "lyapunov_max": gf.lyapunov_max(gru, steps=40, samples=200, seed=3).value,
}
print(json.dumps(found))
"""

SWEEP = """
import json, sys
import gatefield as gf
from gatefield.running import compile_cache

compile_cache.turn_on()
found = gf.sweep(
    gf.mean_field, {"gain_candidate": [0.5, 2.0, 3.0]}, ensemble=gf.Ensemble(gf.GRU(), {"reset": 1.0}),
    options={"steps": 30, "samples": 100}, workers=int(sys.argv[1]), seed=2,
)
variance, seeds = found.variance.sel(variable="h").values, found.point_seed.values
print(json.dumps({"variance": variance.tolist(), "seeds": seeds.tolist()}))
"""


def numbers(program: str, *arguments: str, threads: int = 2) -> Any:
    """What a program of its own prints, with so many threads."""
    limits = thread_limits(threads)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=os.environ | limits, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def once() -> Any:
    return numbers(PROGRAM)


def test_another_process(once: Any) -> None:
    assert numbers(PROGRAM) == once


def test_other_threads(once: Any) -> None:
    """Sums are divided otherwise, so the last digits may differ; 30 chaotic steps do not carry them far."""
    alone = numbers(PROGRAM, threads=1)
    for name, values in once.items():
        np.testing.assert_allclose(alone[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_sweep_whoever_computes_it() -> None:
    """To the bit where threads are as many: workers compute on one each."""
    alone = numbers(SWEEP, "0", threads=1)
    for workers in ("1", "2"):
        assert numbers(SWEEP, workers, threads=1) == alone
