"""The zero fixed point: closed forms against the solver and against finite networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from tests.all_cells import TwoRooms

import gatefield as gf


def steep(x: Any) -> Any:
    """An activation of slope 1.5 at 0."""
    return jnp.tanh(1.5 * x)


# Ensembles with zero as a fixed point, and their discs (centre, radius) by hand.
Z, R, F, Z_I, Z_O = expit(0.4), expit(-0.7), expit(0.3), expit(0.8), expit(-0.2)
DISCS: dict[str, tuple[gf.Ensemble, float, float]] = {
    "vanilla": (gf.Ensemble(gf.Vanilla(), gain={"input": 0.8}), 0.0, 0.8),
    "vanilla, steep": (gf.Ensemble(gf.Vanilla(activation=steep), gain={"input": 0.8}), 0.0, 1.2),
    "leaky": (gf.Ensemble(gf.Leaky(step=0.3), gain={"input": 2.0}), 0.7, 0.6),
    "gru": (  # [CKS 17]
        gf.Ensemble(
            gf.GRU(),
            gain={"update": 5.0, "reset": 2.0, "candidate": 3.0},
            bias_mean={"update": 0.4, "reset": -0.7},
        ),
        Z,
        (1 - Z) * R * 3.0,
    ),
    "gru-reset-after": (
        gf.Ensemble(
            gf.GRU(reset_after=True),
            gain={"update": 5.0, "reset": 2.0, "candidate": 3.0},
            bias_mean={"update": 0.4, "reset": -0.7},
        ),
        Z,
        (1 - Z) * R * 3.0,
    ),
    "lstm": (  # [CKS 32]
        gf.Ensemble(
            gf.LSTM(activation=steep),
            gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 1.5},
            bias_mean={"forget": 0.3, "input": 0.8, "output": -0.2},
        ),
        F,
        Z_O * Z_I * 1.5 * 1.5**2,
    ),
    "lstm-coupled": (
        gf.Ensemble(
            gf.LSTM(coupled=True),
            gain={"forget": 2.0, "output": 3.0, "cell": 4.0},
            bias_mean={"forget": 0.3, "output": -0.2},
        ),
        F,
        Z_O * (1 - F) * 4.0,
    ),
    "mgu": (
        gf.Ensemble(gf.MGU(), gain={"forget": 2.0, "candidate": 4.0}, bias_mean={"forget": 0.3}),
        1 - F,
        F**2 * 4.0,
    ),
    "hard-tanh": (gf.Ensemble(gf.GRU(activation="hard_tanh"), gain={"candidate": 3.0}), 0.5, 0.75),
    "constant current": (
        gf.Ensemble(gf.GRU(), gain={"candidate": 3.0}, current={"update": 0.4, "reset": -0.7}),
        Z,
        (1 - Z) * R * 3.0,
    ),
}
EACH_DISC = pytest.mark.parametrize(("ensemble", "center", "radius"), DISCS.values(), ids=DISCS)


def is_lstm(ensemble: gf.Ensemble) -> bool:
    return isinstance(ensemble.cell, gf.LSTM)


@EACH_DISC
def test_closed_form(ensemble: gf.Ensemble, center: float, radius: float) -> None:
    """[CKS Prop. 2, Cor. 10]"""
    found = gf.spectra.zero_fixed_point(ensemble)
    assert found.center == pytest.approx(center, rel=1e-12)
    assert found.radius == pytest.approx(radius, rel=1e-12)
    assert found.spectral_radius == pytest.approx(center + radius)
    assert found.density == pytest.approx(1.0 / (np.pi * radius**2))
    assert found.zeros == is_lstm(ensemble)
    assert found.stable == (center + radius < 1.0)


@EACH_DISC
def test_solver_finds_the_disc(ensemble: gf.Ensemble, center: float, radius: float) -> None:
    """[CKS Prop. 2, 17, 32]"""
    snapshot = gf.Snapshot.at_zero(ensemble)
    assert snapshot.neurons == 1
    assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(center + radius, rel=1e-9)
    (loop,) = gf.spectral_curve(ensemble, snapshot).contours
    np.testing.assert_allclose(np.abs(loop - center), radius, rtol=1e-6)
    # uniform, exactly at the pole and elsewhere; zero outside
    at = center + radius * np.array([0.0, 0.4, -0.3 + 0.5j, 0.9j, 0.99, 1.01, -1.5j])
    density = gf.spectral_density(ensemble, snapshot, at).value * np.pi * radius**2
    np.testing.assert_allclose(density[1:5], 1.0, rtol=1e-5)
    assert density[0] == pytest.approx(1.0, rel=1e-3)
    np.testing.assert_array_equal(density[5:], 0.0)
    for part in (0.2, 0.7, 1.0, 1.3):
        mass = gf.spectral_mass(ensemble, snapshot, center=center, radius=part * radius)
        atom = float(is_lstm(ensemble) and center < part * radius)
        assert mass.value == pytest.approx(min(part, 1.0) ** 2 + atom, abs=1e-6)
        assert mass.error == 0.0


def test_lstm_has_an_atom_at_zero() -> None:
    """δ(λ) + 1/(πp) on a disc [CKS 32]: one eigenvalue in two is zero."""
    ensemble = gf.Ensemble(gf.LSTM(), gain={"cell": 1.2})
    snapshot = gf.Snapshot.at_zero(ensemble)
    found = gf.spectra.zero_fixed_point(ensemble)
    assert (found.center, found.radius, found.zeros) == (0.5, pytest.approx(0.3), 1)
    assert gf.spectral_mass(ensemble, snapshot, radius=0.1).value == pytest.approx(1.0, abs=1e-9)
    assert gf.spectral_mass(ensemble, snapshot, center=0.5, radius=0.15).value == pytest.approx(0.25, abs=1e-6)
    assert gf.spectral_mass(ensemble, snapshot, radius=0.9).value == pytest.approx(2.0, abs=1e-9)


SIZE = 400


@EACH_DISC
def test_networks_of_400(ensemble: gf.Ensemble, center: float, radius: float) -> None:
    """Eigenvalues of a network at rest: Ginibre's disc, whose edge N^{-1/2} blurs, and the atom."""
    d = len(ensemble.cell.state_names)
    network = gf.Network(ensemble, size=SIZE, seed=1)
    path = network.run(1, state=np.zeros((SIZE, d)))
    assert not path.last.any()
    found = np.abs(network.eigenvalues(path.snapshot()) - center) / radius
    disc = np.sort(found)[:SIZE] if center == 0.0 or not is_lstm(ensemble) else found[_not_zero(found, center, radius)]
    assert len(disc) == SIZE
    assert np.max(disc) == pytest.approx(1.0, abs=0.1)
    for part in (0.25, 0.5, 0.75, 0.9):
        # over 40 Gaussian matrices from numpy the share's deviation is .005, .009, .009, .012
        assert np.mean(disc < part) == pytest.approx(part**2, abs=0.05)


def _not_zero(distance: np.ndarray, center: float, radius: float) -> np.ndarray:
    return np.abs(distance - center / radius) > 1e-6


@pytest.mark.parametrize(
    ("make", "critical"),
    [
        (lambda a: gf.Ensemble(gf.Vanilla(), gain={"input": a}), 1.0),
        (lambda a: gf.Ensemble(gf.Leaky(step=0.1), gain={"input": a}), 1.0),
        (lambda a: gf.Ensemble(gf.GRU(), gain={"update": 1.0, "reset": 1.0, "candidate": a}), 2.0),  # [CKS 18]
        (lambda a: gf.Ensemble(gf.GRU(reset_after=True), gain={"candidate": a}), 2.0),
        (lambda a: gf.Ensemble(gf.LSTM(), gain={"forget": 1.0, "cell": a}), 2.0),  # [CKS Cor. 11], [EOC]: g_c = 2
        (lambda a: gf.Ensemble(gf.LSTM(coupled=True), gain={"cell": a}), 2.0),
        (lambda a: gf.Ensemble(gf.MGU(), gain={"candidate": a}), 2.0),
    ],
    ids=["vanilla", "leaky", "gru", "gru-reset-after", "lstm", "lstm-coupled", "mgu"],
)
def test_threshold(make: Callable[[float], gf.Ensemble], critical: float) -> None:
    """[CKS Cor. 3, 18]"""
    below, above = (
        gf.spectra.zero_fixed_point(make(0.999 * critical)),
        gf.spectra.zero_fixed_point(make(1.001 * critical)),
    )
    assert below.stable
    assert not above.stable
    assert gf.spectra.zero_fixed_point(make(critical)).spectral_radius == pytest.approx(1.0)


@pytest.mark.parametrize(("gain", "quiet"), [(1.7, True), (2.4, False)])
def test_what_the_threshold_means(gain: float, quiet: bool) -> None:
    """Small activity dies below and grows above."""
    ensemble = gf.Ensemble(gf.MGU(), gain={"candidate": gain})
    field = gf.mean_field(ensemble, steps=100, samples=1000, batches=2, initial=0.01)
    growth = field.history["h"].value[-1] / field.history["h"].value[0]
    assert gf.spectra.zero_fixed_point(ensemble).stable is quiet
    assert (growth < 1.0) == quiet


@given(
    update=st.floats(-4.0, 4.0), reset=st.floats(-4.0, 4.0), gain=st.floats(0.0, 50.0),
    others=st.floats(0.0, 100.0),
)  # fmt: skip
def test_gru_disc_for_any_bias(update: float, reset: float, gain: float, others: float) -> None:
    """[CKS 17–18]; the gates' gains do not matter, nor which side of the weights the reset gate stands on."""
    found = [
        gf.spectra.zero_fixed_point(
            gf.Ensemble(
                gf.GRU(reset_after=after),
                gain={"update": others, "reset": others, "candidate": gain},
                bias_mean={"update": update, "reset": reset},
            )
        )
        for after in (False, True)
    ]
    assert (found[0].center, found[0].radius, found[0].zeros) == (found[1].center, found[1].radius, found[1].zeros)
    assert found[0].center == pytest.approx(expit(update))
    assert found[0].radius == pytest.approx((1 - expit(update)) * expit(reset) * gain)
    assert found[0].stable == (expit(reset) * gain < 1.0) or abs(expit(reset) * gain - 1.0) < 1e-9


def test_without_gain_the_density_is_an_atom() -> None:
    found = gf.spectra.zero_fixed_point(gf.Ensemble(gf.GRU()))
    assert (found.center, found.radius) == (0.5, 0.0)
    assert found.density == np.inf


MOVED = {
    "bias": gf.Ensemble(gf.GRU(), gain={"candidate": 1.0}, bias_mean={"candidate": 0.1}),
    "bias variance": gf.Ensemble(gf.GRU(), gain={"candidate": 1.0}, bias_var={"candidate": 0.1}),
    "current": gf.Ensemble(gf.LSTM(), gain={"cell": 1.0}, current={"cell": 0.2}),
    "white current": gf.Ensemble(gf.GRU(), gain={"candidate": 1.0}, current={"update": gf.WhiteCurrent(0.1)}),
    "activation": gf.Ensemble(gf.Vanilla(activation=jnp.cos), gain={"input": 1.0}),
}


@pytest.mark.parametrize("ensemble", MOVED.values(), ids=MOVED)
def test_zero_is_no_fixed_point(ensemble: gf.Ensemble) -> None:
    with pytest.raises(ValueError, match="zero is not a fixed point of this"):
        gf.spectra.zero_fixed_point(ensemble)


def test_no_closed_form_for_gates_that_vary() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 2.0}, bias_var={"reset": 0.5})
    with pytest.raises(ValueError, match="biases have a variance; use spectral_radius"):
        gf.spectra.zero_fixed_point(ensemble)
    # the radius is (1 − σ(b_z)) a_h √E[σ(r)²], so that the threshold is a_h √E[σ(r)²] = 1 (errata 14)
    snapshot = gf.Snapshot.at_zero(ensemble, samples=20_000)
    expected = 0.5 + 0.5 * 2.0 * np.mean(expit(snapshot.preactivations[:, 1]) ** 2) ** 0.5
    assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(expected, rel=1e-9)


def test_no_closed_form_for_other_cells() -> None:
    ensemble = gf.Ensemble(TwoRooms(), gain={"mix": 1.0})
    with pytest.raises(ValueError, match="no closed form .* use spectral_radius"):
        gf.spectra.zero_fixed_point(ensemble)
    assert gf.spectral_radius(ensemble, gf.Snapshot.at_zero(ensemble)).value > 0.0


def test_currents_of_no_variance_leave_zero_alone() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 1.0}, current={"candidate": gf.ConstantCurrent()})
    assert gf.spectra.zero_fixed_point(ensemble).stable
