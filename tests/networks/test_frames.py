"""The QR method: perturbations applied, kept apart and measured, against matrices written out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.all_cells import EACH_CELL, Case

import gatefield as gf
from gatefield.cells.tracing import local_derivatives
from gatefield.networks import tangent
from gatefield.networks.exponents import entropy_rate, kaplan_yorke_dimension, participation_ratio
from gatefield.networks.frames import LONGEST, carry_frame

# ---- the tangent step ----


@pytest.mark.parametrize("formed", [False, True])
@pytest.mark.parametrize("case", EACH_CELL)
def test_step_carries_state_and_frame(case: Case, formed: bool) -> None:
    """State as in `run`, frame by the Jacobian that is formed apart."""
    network = gf.Network(case.ensembles[1], size=15, seed=2)
    path = network.run(3, seed=1)
    snapshot, d = path.snapshot(), len(case.cell.state_names)
    frame = np.random.default_rng(0).standard_normal((4, d, 15))
    with jax.enable_x64(True):
        weights = network._indexed_weights()
        arrays = jnp.asarray(snapshot.state), jnp.asarray(frame)
        s, carried = tangent.step(case.cell, weights, network.biases, *arrays, formed=formed)
    np.testing.assert_allclose(s, path.last, rtol=0, atol=1e-12)
    expected = frame.reshape(4, -1) @ network.jacobian(snapshot).T
    np.testing.assert_allclose(np.asarray(carried).reshape(4, -1), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("case", EACH_CELL)
def test_blocks_are_formed_where_that_is_cheaper(case: Case) -> None:
    weights: dict[int, Any] = dict.fromkeys(range(len(case.cell.preactivation_names)))
    assert not tangent.cheaper_formed(case.cell, weights, 1, 1000)
    if case.name in ("gru", "lstm", "gru-reset-after"):
        assert tangent.cheaper_formed(case.cell, weights, 1000, 1000)
    if case.name in ("vanilla", "leaky"):
        assert not tangent.cheaper_formed(case.cell, weights, 1000, 1000)


@pytest.mark.parametrize("formed", [False, True])
@pytest.mark.parametrize("case", EACH_CELL)
def test_perturbations_that_move_no_source(case: Case, formed: bool) -> None:
    """Told of them, a step is the same; where every state variable is seen there are none."""
    columns = tangent.seen_columns(case.cell, 15)
    assert (columns is not None) == (case.name.startswith("lstm"))
    if columns is None:
        return
    network = gf.Network(case.ensembles[1], size=15, seed=2)
    snapshot, d = network.run(3, seed=1).snapshot(), len(case.cell.state_names)
    frame = np.random.default_rng(0).standard_normal((7, d * 15))
    frame[4:, slice(*columns)] = 0.0
    expected = frame @ network.jacobian(snapshot).T
    with jax.enable_x64(True):
        weights = network._indexed_weights()
        arrays = jnp.asarray(snapshot.state), jnp.asarray(frame.reshape(7, d, 15))
        _, carried = tangent.step(case.cell, weights, network.biases, *arrays, formed=formed, quiet=3)
        _, whole = tangent.step(case.cell, weights, network.biases, *arrays, formed=formed)
        local = local_derivatives(case.cell, arrays[0], jnp.asarray(snapshot.preactivations))
        applied = tangent.apply_jacobian(case.cell, weights, local, arrays[1], formed=formed, quiet=3)
    for one in (carried, whole, applied):
        np.testing.assert_allclose(np.asarray(one).reshape(7, -1), expected, rtol=0, atol=1e-11)


# ---- frames kept apart ----


def known_exponents(exponents: np.ndarray, steps: int, dtype: str = "float64") -> Any:
    """Growth along a linear map with eigenvalues exp(exponents), its eigenvectors not at right angles."""
    rng = np.random.default_rng(1)
    n = len(exponents)
    basis = np.eye(n) + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n)
    matrix = (basis @ np.diag(np.exp(exponents)) @ np.linalg.inv(basis)).astype(dtype)
    longest: list[int] = []

    def advance(carry: Any, frame: jax.Array, begin: int, count: int) -> Any:
        longest.append(count)
        for _ in range(count):
            frame = frame @ matrix.T
        return carry, frame, np.zeros((count, 1))

    with jax.enable_x64(True):
        frame = jnp.asarray(rng.standard_normal((n, n)).astype(dtype))
        growth = carry_frame(advance, None, frame, steps=steps, transient=60, description="test")
    return growth, max(longest)


@pytest.mark.parametrize(("dtype", "within"), [("float64", 2e-5), ("float32", 2e-3)])
@pytest.mark.parametrize(("lowest", "many"), [(-0.3, True), (-9.0, False)])
def test_exponents_of_a_linear_map(dtype: str, within: float, lowest: float, many: bool) -> None:
    """However far apart they lie; the blocks are as long as that allows."""
    exponents = np.linspace(0.4, lowest, 120)
    growth, longest = known_exponents(exponents, 150, dtype)
    assert growth.ends[-1] == len(growth.record) == 150
    found = np.diff(growth.ends, prepend=0) @ growth.rates / 150
    np.testing.assert_allclose(found[[0, 60, -1]], exponents[[0, 60, -1]], rtol=0, atol=0.05)
    np.testing.assert_allclose(found.mean(), exponents.mean(), rtol=0, atol=within)  # the determinant
    assert (longest > 8) == many
    assert longest <= LONGEST


def test_singular_jacobians_have_exponents_of_minus_infinity() -> None:
    start = [1.0, 0.0, 1.0]
    exponents = gf.networks.lyapunov_of_map(lambda s: jnp.stack([0.5 * s[0], 2.0 * s[1], 0.0 * s[2]]), start, steps=50)
    np.testing.assert_allclose(exponents.exponents.value, [np.log(2.0), np.log(0.5), -np.inf], atol=1e-9)
    assert exponents.as_json()["exponents"]["value"][2] is None


# ---- maps ----


def test_logistic_map() -> None:
    found = gf.networks.lyapunov_of_map(lambda s: 4.0 * s * (1.0 - s), [0.3123], steps=20_000)
    assert abs(found.largest.value - np.log(2.0)) < 5.0 * found.largest.error
    assert found.largest.error < 1e-3
    assert found.kaplan_yorke_dimension.value == 1.0
    assert found.converged, found.message


def test_henon_map() -> None:
    """The exponents' sum is exactly ln 0.3; λ_1 = 0.419 and dimension 1.258 in the literature (Grassberger 1983)."""

    def henon(s: jax.Array) -> jax.Array:
        return jnp.stack([1.0 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]])

    found = gf.networks.lyapunov_of_map(henon, [0.1, 0.1], steps=20_000)
    assert abs(found.exponents.value.sum() - np.log(0.3)) < 1e-6
    assert abs(found.largest.value - 0.4192) < 4.0 * found.largest.error
    assert abs(found.kaplan_yorke_dimension.value - 1.2582) < 4.0 * found.kaplan_yorke_dimension.error
    leading = gf.networks.lyapunov_of_map(henon, [0.1, 0.1], steps=20_000, count=1)
    assert abs(leading.largest.value - found.largest.value) < 1e-6


def test_diverging_map_is_refused() -> None:
    with pytest.raises(ValueError, match="diverge"):
        gf.networks.lyapunov_of_map(lambda s: s**2, [3.0], steps=100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"state": [[1.0]]}, "state of shape"),
        ({"state": [np.nan]}, "finite"),
        ({"state": [0.5], "count": 2}, "count=2 is too many: there are 1"),
        ({"state": [0.5], "steps": 1}, "steps"),
        ({"state": [0.5], "step": lambda s: jnp.concatenate([s, s])}, "step turns"),
    ],
)
def test_map_bad_input(arguments: dict[str, Any], message: str) -> None:
    arguments = {"step": lambda s: 0.5 * s} | arguments
    with pytest.raises(ValueError, match=message):
        gf.networks.lyapunov_of_map(**arguments)


# ---- what follows from exponents ----


@pytest.mark.parametrize(
    ("exponents", "dimension", "expected"),
    [
        ([0.4, -1.6], 2, 1.25),
        ([-0.1, -0.2], 2, 0.0),
        ([0.3, 0.1, -0.2, -0.4], 4, 3.5),
        ([0.3, 0.1], 2, 2.0),
        ([0.3, 0.1], 5, np.nan),
        ([0.0, -1.0], 2, 1.0),
    ],
)
def test_kaplan_yorke_dimension(exponents: list[float], dimension: int, expected: float) -> None:
    np.testing.assert_allclose(kaplan_yorke_dimension(np.array(exponents), dimension), expected, atol=1e-12)


def test_entropy_rate() -> None:
    assert entropy_rate(np.array([0.3, 0.1, -0.2]), 9) == pytest.approx(0.4)
    assert np.isnan(entropy_rate(np.array([0.3, 0.1]), 9))
    assert entropy_rate(np.array([-0.1]), 9) == 0.0


def test_participation_ratio_of_known_covariance() -> None:
    """Independent of the length of the run, where the plain (tr C)²/tr C² of 300 samples would be 100."""
    rng = np.random.default_rng(0)
    spectrum = np.r_[np.full(100, 2.0), np.full(100, 1.0)]
    exact = spectrum.sum() ** 2 / np.sum(spectrum**2)  # 180
    found = participation_ratio(1.0 + np.sqrt(spectrum) * rng.standard_normal((300, 200)))
    assert abs(found.value - exact) < 4.0 * found.error
    assert found.error < 10.0
    assert np.isnan(participation_ratio(np.ones((300, 5))).value)
    assert np.isnan(participation_ratio(np.ones((3, 5))).value)
