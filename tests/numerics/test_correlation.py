"""Times of decay and their errors."""

from __future__ import annotations

import numpy as np
import pytest

from gatefield.numerics.correlation import decay_time


def test_error_of_a_decay_time_is_its_own() -> None:
    """Amplitudes that differ by a half between batches move no time; rates that differ by a tenth do."""
    rng = np.random.default_rng(0)
    lags, times, off = np.arange(60), [], []
    for _ in range(400):
        amplitude, time = 1.0 + 0.5 * rng.uniform(-1, 1, 8), 8.0 * (1.0 + 0.1 * rng.standard_normal(8))
        batches = amplitude[:, None] * np.exp(-lags / time[:, None])
        found = decay_time(batches.mean(axis=0), batches)
        times.append(found.value)
        off.append(abs(found.value - 8.0) < found.error)
    assert np.mean(times) == pytest.approx(8.0, abs=0.05)
    assert np.mean(off) == pytest.approx(0.68, abs=0.07)


def test_time_without_batches() -> None:
    found = decay_time(np.exp(-np.arange(50) / 7.0))
    assert found.value == pytest.approx(7.0, abs=0.02)
    assert np.isnan(found.error)
    assert decay_time(np.ones(10)).value == np.inf
