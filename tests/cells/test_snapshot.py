"""Snapshots: local derivatives against finite differences, what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.all_cells import EACH_CELL, Case, scattered

import gatefield as gf

GRU = gf.Ensemble(gf.GRU(), gain={"update": 3.0, "reset": 2.0, "candidate": 3.0})


# ---- snapshots ----


@pytest.mark.parametrize("case", EACH_CELL)
def test_derivatives_by_finite_differences(case: Case) -> None:
    snapshot, step = scattered(case.ensembles[0], 5, groups=1), 1e-6
    d = len(case.cell.state_names)
    both = np.concatenate([snapshot.state, snapshot.preactivations], axis=1)

    def values(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(True):
            state = dict(zip(case.cell.state_names, jnp.asarray(at[:, :d].T), strict=True))
            x = dict(zip(case.cell.preactivation_names, jnp.asarray(at[:, d:].T), strict=True))
            f, v = case.cell.update(state, x), case.cell.sources(state, x)
            zero = jnp.zeros(len(at))
            sources = [zero if v[n] is None else v[n] for n in case.cell.preactivation_names]
            return np.stack([f[n] for n in case.cell.state_names], 1), np.stack(sources, 1)

    found = snapshot.derivatives
    for column in range(both.shape[1]):
        shift = step * np.eye(both.shape[1])[column]
        (f_up, v_up), (f_down, v_down) = values(both + shift), values(both - shift)
        f, v = (found.f_s, found.v_s) if column < d else (found.f_x, found.v_x)
        index = column if column < d else column - d
        np.testing.assert_allclose(f[:, :, index], (f_up - f_down) / (2 * step), rtol=0, atol=1e-8)
        np.testing.assert_allclose(v[:, :, index], (v_up - v_down) / (2 * step), rtol=0, atol=1e-8)


WRONG_SNAPSHOTS = {
    "one column too many": (np.zeros((3, 2)), np.zeros((3, 3)), 1, r"state of shape \(3, 2\) must be \(neurons, 1\)"),
    "one column too few": (np.zeros((3, 1)), np.zeros((3, 2)), 1, r"preactivations of shape \(3, 2\)"),
    "different lengths": (np.zeros((3, 1)), np.zeros((4, 3)), 1, r"preactivations of shape \(4, 3\)"),
    "no neurons": (np.zeros((0, 1)), np.zeros((0, 3)), 1, "state of shape"),
    "nan": (np.full((3, 1), np.nan), np.zeros((3, 3)), 1, "state holds values that are not finite"),
    "inf": (np.zeros((3, 1)), np.full((3, 3), np.inf), 1, "preactivations holds values that are not finite"),
    "groups": (np.zeros((3, 1)), np.zeros((3, 3)), 2, "groups=2 must divide the 3 neurons"),
    "no groups": (np.zeros((3, 1)), np.zeros((3, 3)), 0, "groups=0 must be at least 1"),
}


@pytest.mark.parametrize(("state", "x", "groups", "message"), WRONG_SNAPSHOTS.values(), ids=WRONG_SNAPSHOTS)
def test_wrong_snapshots(state: np.ndarray, x: np.ndarray, groups: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.Snapshot(gf.GRU(), state, x, groups=groups)


def test_derivatives_that_are_not_finite() -> None:
    cell = gf.Vanilla(activation=jnp.sqrt)
    with pytest.raises(ValueError, match="Vanilla has derivatives that are not finite"):
        _ = gf.Snapshot(cell, np.zeros((2, 1)), np.zeros((2, 1))).derivatives


def test_thinned() -> None:
    snapshot = scattered(GRU, 100)
    part = snapshot.thinned(10)
    assert part.neurons == 10
    np.testing.assert_array_equal(part.state, snapshot.state[::10])
    assert snapshot.thinned(1000).neurons == 100


def test_at_zero() -> None:
    ensemble = gf.Ensemble(gf.GRU(), bias_mean={"update": 1.0}, bias_var={"reset": 0.25}, current={"candidate": 0.5})
    snapshot = gf.Snapshot.at_zero(ensemble, samples=4000, seed=1)
    assert not snapshot.state.any()
    update, reset, candidate = snapshot.preactivations.T
    assert np.all(update == 1.0)
    assert np.all(candidate == 0.5)
    assert reset.var() == pytest.approx(0.25, rel=0.15)
    assert gf.Snapshot.at_zero(gf.Ensemble(gf.GRU())).neurons == 1
