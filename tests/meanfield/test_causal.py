"""The causal pass: noise and bases of past directions, and what they come to."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.all_cells import EACH_CELL, Case, settled

from gatefield.meanfield.causal import extend_basis, orthogonal

# ---- the heart of the pass ----


@pytest.mark.parametrize(("rows", "size"), [(5, 40), (19, 40), (20, 40), (21, 40), (39, 40)])
def test_noise_is_orthonormal(rows: int, size: int) -> None:
    """Both ways of making it: by Cholesky where size ≥ 2 rows, by QR otherwise."""
    with jax.enable_x64(True):
        noise = np.asarray(orthogonal(jax.random.normal(jax.random.key(1), (rows, size))))
    assert noise.shape == (rows, size)
    np.testing.assert_allclose(noise @ noise.T / size, np.eye(rows), atol=1e-12)
    np.testing.assert_allclose(noise.sum(axis=1), 0.0, atol=1e-11)


@pytest.mark.parametrize(("rows", "size"), [(3, 8), (6, 8)])
def test_noise_has_no_preferred_direction(rows: int, size: int) -> None:
    """Each entry is even in law and of variance 1 in both ways; E entry² = 1, of which many draws tell."""
    draws = 2000
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), draws)
        noise = np.asarray(jax.vmap(lambda key: orthogonal(jax.random.normal(key, (rows, size))))(keys))
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=5 / draws**0.5)
    np.testing.assert_allclose((noise**2).mean(axis=0), 1.0, atol=5 * 2**0.5 / draws**0.5)


def test_basis_stays_orthonormal_for_a_slow_history() -> None:
    """A history of which each vector is nearly the last: one Gram–Schmidt pass would lose half the digits."""
    rows, size = 60, 200
    rng = np.random.default_rng(0)
    v = rng.standard_normal(size)
    with jax.enable_x64(True):
        basis, history, coordinates = jnp.zeros((rows, size)), [], []
        for t in range(rows):
            v = v + 1e-6 * rng.standard_normal(size)
            history.append(v)
            c, basis = extend_basis(basis, jnp.asarray(v), jnp.asarray(t))
            coordinates.append(np.asarray(c))
    basis, coordinates, history = np.asarray(basis), np.array(coordinates), np.array(history)
    np.testing.assert_allclose(basis @ basis.T / size, np.eye(rows), atol=1e-12)
    np.testing.assert_allclose(coordinates @ basis, history, atol=1e-12)
    # what is drawn with these coordinates has the history's covariance
    np.testing.assert_allclose(coordinates @ coordinates.T, history @ history.T / size, atol=1e-12)


def test_basis_takes_no_direction_from_rounding() -> None:
    size = 50
    v = np.random.default_rng(0).standard_normal(size)
    with jax.enable_x64(True):
        basis = jnp.zeros((4, size))
        for t, vector in enumerate((v, 2.0 * v, 0.0 * v, v)):
            c, basis = extend_basis(basis, jnp.asarray(vector), jnp.asarray(t))
    np.testing.assert_allclose(np.asarray(c)[1:], 0.0, atol=1e-15)
    assert not np.asarray(basis)[1:].any()


@pytest.mark.parametrize("case", EACH_CELL)
def test_pre_activations_have_the_covariance_of_their_sources(case: Case) -> None:
    """a_k² E v_k(t)² at the last step, in each batch to rounding: the noise is orthonormal. (In float32 arithmetic.)"""
    # [CKS 9, 36–41, 50–51]
    ensemble = case.ensembles[0]
    field = settled(ensemble)
    s, x = field.snapshot.state, field.snapshot.preactivations
    state = dict(zip(case.cell.state_names, s.T, strict=True))
    sources: dict[str, Any] = case.cell.sources(state, dict(zip(ensemble.names, x.T, strict=True)))
    for k, name in enumerate(ensemble.names):
        for part, source in zip(np.split(x[:, k], field.batches), _split(sources[name], field.batches), strict=True):
            expected = ensemble.gain[name] ** 2 * np.mean(source**2)
            assert part.mean() == pytest.approx(ensemble.means[k], abs=1e-6 * (1 + expected))
            assert part.var() == pytest.approx(expected, rel=1e-5, abs=1e-12)


def _split(source: Any, parts: int) -> list[np.ndarray]:
    return [np.zeros(1)] * parts if source is None else np.split(np.asarray(source, dtype=float), parts)
