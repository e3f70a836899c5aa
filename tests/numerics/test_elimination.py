"""Gaussian elimination of frames: in one call, panel by panel on several threads, and with pivots from some columns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gatefield.networks.frames import _log_volumes_by_qr, log_volumes
from gatefield.numerics import elimination
from gatefield.numerics.elimination import eliminated


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small frames are taken for large ones."""
    monkeypatch.setattr(elimination, "_MANY", 20)
    monkeypatch.setattr(elimination, "_PANEL", 16)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (5, 9), (32, 100), (150, 150)])
def test_elimination_keeps_volumes(count: int, size: int) -> None:
    """What the first rows span stays, and the logs say by how much the volumes they span have changed."""
    rows = np.random.default_rng(count).standard_normal((count, size)) * np.geomspace(1.0, 1e-5, size)
    with jax.enable_x64(True):
        after, logs, _ = eliminated(jnp.asarray(rows))
        remaining = log_volumes(after)
        np.testing.assert_allclose(log_volumes(after), _log_volumes_by_qr(after), rtol=0, atol=1e-9)
    exact = np.log(np.abs(np.diagonal(np.linalg.qr(rows.T)[1])))
    np.testing.assert_allclose(exact, np.asarray(logs) + remaining, rtol=0, atol=1e-8)
    for first in {1, (count + 1) // 2, count}:
        joined = np.concatenate([rows[:first], np.asarray(after)[:first]])
        singular = np.linalg.svd(joined / np.linalg.norm(joined, axis=1)[:, None], compute_uv=False)
        assert np.all(singular[first:] < 1e-8 * singular[0])


@pytest.mark.usefixtures("panels")
@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize(("count", "size"), [(20, 20), (48, 48), (50, 91), (131, 131)])
def test_panels_are_as_one_call(count: int, size: int, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elimination, "available_cores", lambda: cores)
    frame = np.random.default_rng(size).standard_normal((count, size)) * np.geomspace(1.0, 1e-5, size)
    given = frame.copy()
    with jax.enable_x64(True):
        rows, logs, quiet = eliminated(jnp.asarray(frame))
        exact, exact_logs = elimination._in_one_call(jnp.asarray(frame))
        np.testing.assert_allclose(rows, exact, rtol=0, atol=1e-10)
        np.testing.assert_allclose(logs, exact_logs, rtol=0, atol=1e-10)
        single, _, _ = eliminated(jnp.asarray(frame, jnp.float32))
    assert quiet == 0
    assert single.dtype == jnp.float32
    np.testing.assert_array_equal(frame, given)


@pytest.mark.usefixtures("panels")
@pytest.mark.parametrize(
    ("count", "first"), [(60, (25, 60)), (60, (0, 33)), (41, (10, 26)), (60, (0, 60)), (21, (3, 50))]
)
def test_pivots_from_some_columns_first(count: int, first: tuple[int, int]) -> None:
    """F = U L with triangular U, the last rows of L zero in those columns: not so where they give a pivot to each."""
    begin, end = first
    frame = np.random.default_rng(count).standard_normal((count, 60))
    with jax.enable_x64(True):
        rows, logs, quiet = (np.asarray(a) for a in eliminated(jnp.asarray(frame), first))
    assert quiet == max(0, count - (end - begin))
    assert not np.any(rows[count - quiet :, begin:end])
    upper, left, *_ = np.linalg.lstsq(rows.T, frame.T)
    assert np.all(left < 1e-18)
    assert np.max(np.abs(np.tril(upper, -1))) < 1e-10
    np.testing.assert_allclose(np.log(np.abs(np.diagonal(upper))), logs, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("panels")
def test_columns_without_good_pivots_are_not_first() -> None:
    """Two rows alike there; or all zero."""
    frame = np.random.default_rng(0).standard_normal((60, 60))
    frame[7, 20:50] = frame[3, 20:50] * (1.0 + 1e-9 * np.arange(30))
    silent = frame * (np.arange(60) >= 30)
    with jax.enable_x64(True):
        for given, first in ((frame, (20, 50)), (silent, (0, 30))):
            rows, logs, quiet = eliminated(jnp.asarray(given), first)
            exact, exact_logs, _ = eliminated(jnp.asarray(given))
            assert quiet == 0
            np.testing.assert_array_equal(rows, exact)
            np.testing.assert_array_equal(logs, exact_logs)


@pytest.mark.usefixtures("panels")
def test_lost_directions_and_values_that_are_not_finite() -> None:
    frame = np.random.default_rng(0).standard_normal((40, 40))
    frame[-1] = 0.0
    with jax.enable_x64(True):
        _, logs, _ = eliminated(jnp.asarray(frame))
        assert np.isneginf(logs[-1])
        assert np.all(np.isfinite(logs[:-1]))
        frame[3, 5] = np.nan
        assert np.any(np.isnan(eliminated(jnp.asarray(frame)).logs))
