"""Curves, masses and densities: what they must satisfy, and the published numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from tests.all_cells import CASES, EACH_CELL, RUN, Case, TwoRooms, scattered
from tests.references import GRU_AT_3, gauss, gru_at_3, gru_fields, together

import gatefield as gf

GRU = gf.Ensemble(gf.GRU(), gain={"update": 3.0, "reset": 2.0, "candidate": 3.0})


@dataclass(frozen=True)
class Spinner(gf.Cell):
    """Two state variables that turn by an angle of each neuron's own: bare eigenvalues .8 exp(±i angle)."""

    state_names = ("u", "v")
    preactivation_names = ("angle", "push")

    def sources(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"angle": None, "push": state["u"]}

    def update(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
        u, v, c, s = state["u"], state["v"], jnp.cos(x["angle"]), jnp.sin(x["angle"])
        return {"u": 0.8 * (c * u - s * v) + x["push"], "v": 0.8 * (s * u + c * v)}


def spinners(gain: float, angles: np.ndarray) -> tuple[gf.Ensemble, gf.Snapshot]:
    ensemble = gf.Ensemble(Spinner(), gain={"push": gain})
    x = np.stack([angles, np.zeros_like(angles)], axis=1)
    return ensemble, gf.Snapshot(ensemble.cell, np.zeros((len(angles), 2)), x)


def area(loop: np.ndarray) -> float:
    return float(0.5 * np.sum(np.imag(np.conj(loop[:-1]) * loop[1:])))


def winding(loop: np.ndarray, z: complex) -> int:
    return round(float(np.sum(np.angle((loop[1:] - z) / (loop[:-1] - z)))) / (2 * np.pi))


# ---- the curve ----


@pytest.mark.parametrize("case", EACH_CELL)
def test_curve_bounds_the_support(case: Case) -> None:
    """[CKS Thm 1, 15, Cor. 9, 30]"""
    ensemble = case.ensembles[0]
    snapshot = scattered(ensemble)
    curve = gf.spectral_curve(ensemble, snapshot)
    assert len(curve.contours) >= 1
    every = np.concatenate(curve.contours)
    off_axis = np.abs(every.imag) > 1e-3
    assert np.max(np.abs(gf.spectra.support_exponent(ensemble, snapshot, every[off_axis]))) < 1e-3
    for loop in curve.contours:
        assert loop[0] == loop[-1]
        mirrored = np.min(np.abs(np.conj(loop)[:, None] - every[None, :]), axis=1)
        assert np.max(mirrored) < 0.05  # symmetric about the real axis, up to the spacing of points
    # a point is in the support where contours wind around it once, holes taken off
    rng = np.random.default_rng(0)
    points = 1.3 * np.max(np.abs(every)) * (rng.uniform(-1, 1, 60) + 1j * rng.uniform(-1, 1, 60))
    exponents = gf.spectra.support_exponent(ensemble, snapshot, points)
    for z, exponent in zip(points, exponents, strict=True):
        if abs(exponent) > 0.05:
            assert sum(winding(loop, z) for loop in curve.contours) == (exponent > 0.0)


@pytest.mark.parametrize("case", EACH_CELL)
def test_radius_and_edges_lie_on_the_curve(case: Case) -> None:
    ensemble = case.ensembles[0]
    snapshot = scattered(ensemble)
    farthest = max(np.max(np.abs(loop)) for loop in gf.spectral_curve(ensemble, snapshot).contours)
    radius = gf.spectral_radius(ensemble, snapshot)
    assert radius.value == pytest.approx(farthest, rel=1e-3)
    edges = [gf.spectra.spectral_edge(ensemble, snapshot, angle=angle).value for angle in np.linspace(0, np.pi, 7)]
    assert max(edges) <= radius.value * (1 + 1e-9)
    assert max(edges) > 0.9 * radius.value
    assert radius.error > 0.0


def test_edge_at_an_angle_and_its_mirror() -> None:
    snapshot = scattered(GRU)
    up, down = (gf.spectra.spectral_edge(GRU, snapshot, angle=a).value for a in (0.8, -0.8))
    assert up == pytest.approx(down, rel=1e-12)
    with pytest.raises(ValueError, match="angle=nan must be finite"):
        gf.spectra.spectral_edge(GRU, snapshot, angle=float("nan"))


def test_components_and_holes() -> None:
    """Gates at two values: two islands. Bare eigenvalues all around a ring: an annulus."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 0.6})
    x = np.zeros((40, 3))
    x[:20, 0], x[20:, 0] = -2.0, 2.0
    snapshot = gf.Snapshot(ensemble.cell, np.zeros((40, 1)), x)
    islands = gf.spectral_curve(ensemble, snapshot).contours
    assert len(islands) == 2
    assert all(area(loop) > 0.0 for loop in islands)
    assert [winding(loop, z) for loop, z in zip(islands, (0.119, 0.881), strict=True)] == [1, 1]
    assert [winding(loop, z) for loop, z in zip(islands, (0.881, 0.119), strict=True)] == [0, 0]
    assert area(islands[0]) >= area(islands[1])

    ensemble, snapshot = spinners(0.3, np.linspace(0, np.pi, 200))
    outer, hole = gf.spectral_curve(ensemble, snapshot).contours
    assert area(outer) > 0.0 > area(hole)
    assert (winding(outer, 0.0), winding(hole, 0.0)) == (1, -1)
    # angles all around: E|1/(λ − .8 e^{iθ})|² = 1/| |λ|² − .64 |, and half of it for u alone, so |λ|² = .64 ± .045
    np.testing.assert_allclose(np.abs(outer), (0.64 + 0.045) ** 0.5, atol=0.02)
    np.testing.assert_allclose(np.abs(hole), (0.64 - 0.045) ** 0.5, atol=0.02)
    assert gf.spectral_mass(ensemble, snapshot, radius=0.6).value == pytest.approx(0.0, abs=1e-6)
    assert gf.spectral_mass(ensemble, snapshot, radius=1.0).value == pytest.approx(2.0, abs=1e-9)


def test_curve_is_a_circle_for_vanilla() -> None:
    ensemble = gf.Ensemble(gf.Vanilla(), gain={"input": 3.0})
    snapshot = scattered(ensemble)
    (loop,) = gf.spectral_curve(ensemble, snapshot).contours
    radius = 3.0 * np.mean(1.0 / np.cosh(snapshot.preactivations) ** 4) ** 0.5
    np.testing.assert_allclose(np.abs(loop), radius, rtol=1e-6)
    assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(radius, rel=1e-9)


def test_resolution_out_of_range() -> None:
    for resolution, message in ((15, "must be at least 16"), (20.0, "must be a whole number")):
        with pytest.raises(ValueError, match=f"resolution={resolution} {message}"):
            gf.spectral_curve(GRU, scattered(GRU), resolution=resolution)  # pyright: ignore[reportArgumentType]


# ---- mass and density ----


@pytest.mark.parametrize("case", EACH_CELL)
def test_mass_grows_with_the_disc_to_the_number_of_state_variables(case: Case) -> None:
    """[CKS 82]"""
    ensemble = case.ensembles[0]
    snapshot = scattered(ensemble)
    radius = gf.spectral_radius(ensemble, snapshot).value
    fractions = (0.1, 0.3, 0.6, 0.9, 1.0, 1.02, 5.0)
    masses = [gf.spectral_mass(ensemble, snapshot, radius=f * radius).value for f in fractions]
    assert masses[0] >= -1e-6
    assert np.all(np.diff(masses) > -1e-6)
    states = len(case.cell.state_names)
    assert masses[-1] == pytest.approx(states, abs=1e-9)
    assert masses[-2] == pytest.approx(states, abs=1e-6)
    assert masses[3] < states - 1e-3


@pytest.mark.parametrize("case", EACH_CELL)
def test_density_integrates_to_the_mass(case: Case) -> None:
    """A disc inside the support, off the axis: Gauss–Legendre in r², equal angles. [CKS 12, 82]"""
    ensemble = case.ensembles[0]
    snapshot = scattered(ensemble)
    height = gf.spectra.spectral_edge(ensemble, snapshot, angle=np.pi / 2).value
    center, r = 0.5j * height, 0.25 * height
    nodes, weights = np.polynomial.legendre.leggauss(8)
    angles = 2 * np.pi * np.arange(16) / 16
    points = center + r * np.sqrt(0.5 * (nodes[:, None] + 1.0)) * np.exp(1j * angles)
    assert np.all(gf.spectra.support_exponent(ensemble, snapshot, points) > 0.0)
    density = gf.spectral_density(ensemble, snapshot, points).value
    integral = np.pi * r**2 * 0.5 * weights @ density.mean(axis=1)
    mass = gf.spectral_mass(ensemble, snapshot, center=center, radius=r)
    assert integral == pytest.approx(mass.value, rel=1e-3)
    assert mass.error > 0.0


@pytest.mark.parametrize("distance", [0.0, 1e-7, 1e-5, 2e-5])
def test_density_beside_a_neurons_own_eigenvalue(distance: float) -> None:
    """Two sources, few neurons, and a point of the real axis by a pole: rounding there was as large as −371."""
    ensemble = next(c for c in CASES if c.name == "two-rooms").ensembles[0]
    snapshot = scattered(ensemble)
    poles = np.linalg.eigvals(snapshot.derivatives.f_s).real.ravel()
    pole = poles[np.argmin(np.abs(poles - 0.677))]
    at, above = gf.spectral_density(ensemble, snapshot, np.array([pole - distance, pole + 1e-3j])).value
    assert at == pytest.approx(above, rel=1e-3)


@pytest.mark.parametrize("case", EACH_CELL)
def test_density_is_positive_and_symmetric(case: Case) -> None:
    ensemble = case.ensembles[0]
    snapshot = scattered(ensemble)
    radius = 1.1 * gf.spectral_radius(ensemble, snapshot).value
    x = radius * np.linspace(-1, 1, 9)
    grid = x[None, :] + 1j * x[:, None]
    field = gf.spectral_density(ensemble, snapshot, grid)
    assert field.value.shape == field.residual.shape == grid.shape
    assert np.all(field.value >= 0.0)
    assert np.any(field.value > 0.0)
    np.testing.assert_array_equal(field.value, field.value[::-1])
    inside = gf.spectra.support_exponent(ensemble, snapshot, grid) > 0.0
    np.testing.assert_array_equal(field.value > 0.0, inside)
    g = gf.spectra.resolvent(ensemble, snapshot, grid).value
    off_axis = np.abs(grid.imag) > 1e-9
    np.testing.assert_allclose(g[off_axis], np.conj(g[::-1])[off_axis], rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(x=st.floats(-0.9, 0.9), y=st.floats(-0.9, 0.9), radius=st.floats(0.05, 0.5))
def test_masses_of_mirrored_discs(x: float, y: float, radius: float) -> None:
    snapshot = scattered(GRU)
    up, down = (gf.spectral_mass(GRU, snapshot, center=complex(x, s * y), radius=radius).value for s in (1, -1))
    # points of the circle that come within 1e-6 of a neuron's real pole turn rounding, 1e-17, into 1e-8
    assert up == pytest.approx(down, abs=1e-7)
    whole = gf.spectral_mass(GRU, snapshot, center=complex(x, y), radius=radius + 0.1).value
    assert -1e-3 < up < whole + 1e-3 < 1.002


def test_errors_are_honest() -> None:
    """Independent snapshots of one population scatter about the exact numbers as their errors say.

    Vanilla, y Gaussian: radius² = E m and mass 1 − X with E[m / (r² + X m)] = 1, m = a² sech⁴ y, by quadrature.
    """
    ensemble, deviation, r = gf.Ensemble(gf.Vanilla(), gain={"input": 2.0}), 1.1, 0.5

    def m(y: np.ndarray) -> np.ndarray:
        return 4.0 / np.cosh(y) ** 4

    radius = gauss(m, deviation**2) ** 0.5
    mass = 1.0 - brentq(lambda x: gauss(lambda y: m(y) / (r**2 + x * m(y)), deviation**2) - 1.0, 0.0, 1.0)
    found = []
    for seed in range(30):
        y = deviation * np.random.default_rng(seed).standard_normal((800, 1))
        snapshot = gf.Snapshot(ensemble.cell, y, y, groups=8)
        found.append((gf.spectral_radius(ensemble, snapshot), gf.spectral_mass(ensemble, snapshot, radius=r)))
    for estimates, exact in zip(zip(*found, strict=True), (radius, mass), strict=True):
        off = np.array([abs(e.value - exact) / e.error for e in estimates])
        # |t₇| < 1 with probability .649, of 30 that is ± .087; < 3 with .980
        assert 0.42 <= np.mean(off < 1.0) <= 0.88
        assert np.mean(off < 3.0) >= 0.9


@pytest.mark.parametrize("grid", [[], [float("nan")], [0.1, complex(0.0, float("inf"))]], ids=str)
def test_grids_with_bad_points(grid: Any) -> None:
    for function in (gf.spectral_density, gf.spectra.resolvent, gf.spectra.support_exponent):
        with pytest.raises(ValueError, match="at least one point, all of them finite complex numbers"):
            function(GRU, scattered(GRU), grid)


def test_grids_of_any_shape() -> None:
    snapshot = scattered(GRU)
    whole = gf.spectral_density(GRU, snapshot, np.array([[0.2, 0.3j], [0.1 + 0.1j, 0.2]]))
    one = gf.spectral_density(GRU, snapshot, 0.3j)
    assert one.value.shape == one.residual.shape == ()
    assert one.value == pytest.approx(whole.value[0, 1], rel=1e-9)
    assert whole.value[0, 0] == whole.value[1, 1]
    assert whole.quantity == "density"
    assert gf.spectra.resolvent(GRU, snapshot, [0.3]).quantity == "resolvent"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius": 0.0}, "radius=0.0 must be above 0"),
        ({"radius": -1.0}, "radius=-1.0 must be above 0"),
        ({"radius": float("nan")}, "radius=nan must be finite"),
        ({"radius": 0.3, "center": complex(float("inf"), 0.0)}, "center=.*inf.* must be finite"),
        ({"radius": 0.3, "center": complex(0.0, float("nan"))}, "center=.*nan.* must be finite"),
    ],
    ids=str,
)
def test_discs_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.spectral_mass(GRU, scattered(GRU), **arguments)


def test_equations_that_are_not_solved_say_so() -> None:
    field = gf.spectral_density(GRU, scattered(GRU), [0.2, 0.3])
    assert field.converged
    assert np.all(field.residual <= 1e-4)
    broken = gf.spectra.SpectralField("density", field.points, field.value, np.array([0.0, 1.0]), GRU, scattered(GRU))
    assert not broken.converged


# ---- a finite network's own neurons, and the numbers of the issue ----

DISCS = (0.1, 0.3, 0.6, 0.9)


@cache
def lstm_at_3() -> gf.Ensemble:
    return gf.Ensemble(gf.LSTM(), gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 3.0})


# Mass within |λ| < .1, .3, .6, .9 of the GRU at (10, 10, 3). theory.md §4 has those of one mean-field snapshot, whose
# own sampling errors are .003 to .006. Two routes give the averages below, all errors in the last digit: 20 networks of
# N = 4000 with exactly Gaussian weights (their own neurons' theory), and this package's orthogonal pass.
THEORY_MD = (0.0674, 0.1720, 0.3161, 0.4935)
TWO_ROUTES = (
    ((0.0637, 0.0008), (0.1672, 0.0014), (0.3120, 0.0016), (0.4876, 0.0015)),
    ((0.0646, 0.0007), (0.1681, 0.0010), (0.3125, 0.0013), (0.4875, 0.0015)),
)


@pytest.mark.slow
@pytest.mark.parametrize("i", range(4), ids=[f"within {r}" for r in DISCS])
def test_gru_masses(i: int) -> None:
    ensemble = gru_at_3(10.0, 10.0)
    parts = [gf.spectral_mass(ensemble, f.snapshot, radius=DISCS[i]) for f in gru_fields(10.0, 10.0)]
    value, error = together(parts)
    for route in TWO_ROUTES:
        expected, its_error = route[i]
        assert abs(value - expected) < 4.0 * np.hypot(error, its_error)
    # high by one to two of their snapshot's errors; the issue asks for ±.004
    assert abs(value - THEORY_MD[i]) < 0.004 + 2.0 * error


@pytest.mark.slow
@pytest.mark.parametrize(("update", "reset"), GRU_AT_3)
def test_gru_edges(update: float, reset: float) -> None:
    """The issue: 1.547, 1.367, 1.066 ± .01, averaged over snapshots. values.json's are of one snapshot each."""
    ensemble, (right, left) = gru_at_3(update, reset), GRU_AT_3[update, reset]["edges"]
    fields = gru_fields(update, reset)
    value, error = together([gf.spectra.spectral_edge(ensemble, f.snapshot) for f in fields])
    assert error < 0.01
    # the reference is one snapshot, whose error is √n times ours
    widened = max(0.01, 2.0 * error * np.sqrt(1 + len(fields)))
    assert abs(value - right) < widened
    value, error = together([gf.spectra.spectral_edge(ensemble, f.snapshot, angle=np.pi) for f in fields])
    assert abs(-value - left) < max(0.01, 2.0 * error * np.sqrt(1 + len(fields)))
    whole, _ = together([gf.spectral_radius(ensemble, f.snapshot) for f in fields])
    assert whole == pytest.approx(right, abs=0.02)


# Mass of the LSTM within a radius: the issue's, and by two routes, six networks of N = 4000 (their own neurons' theory)
# and twelve seeds of this package's orthogonal pass, with standard errors.
LSTM_MASSES = (
    (0.1, 0.382, ((0.3796, 0.0014), (0.3815, 0.0010))),
    (0.3, 0.892, ((0.8852, 0.0010), (0.8848, 0.0008))),
)


@pytest.mark.slow
def test_lstm_masses() -> None:
    """The issue: .382 and .892 within .1 and .3 (±.006); 2 in all.

    .892 is one snapshot's, and high (theory.md has .877 counted in one network beside it): LSTM_MASSES has what two
    routes give, whose difference from .892 is more than the .006 asked for.
    """
    ensemble = lstm_at_3()
    fields = [gf.mean_field(ensemble, seed=seed, **RUN) for seed in range(3)]
    for radius, issue, routes in LSTM_MASSES:
        value, error = together([gf.spectral_mass(ensemble, f.snapshot, radius=radius) for f in fields])
        assert error < 0.003
        for expected, its_error in routes:
            assert abs(value - expected) < 4.0 * np.hypot(error, its_error)
        assert abs(value - issue) < 0.006 + 2.0 * error
    assert gf.spectral_mass(ensemble, fields[0].snapshot, radius=2.0).value == pytest.approx(2.0, abs=1e-9)


# ---- a user's own cell gets everything ----


def test_own_cell_from_mean_field_to_eigenvalues() -> None:
    ensemble = gf.Ensemble(TwoRooms(leak=0.5), gain={"door": 1.0, "guard": 2.0, "mix": 3.0})
    size = 300
    network = gf.Network(ensemble, size=size, seed=2)
    snapshot = network.run(60, record=1).snapshot()
    snapshot = gf.Snapshot(snapshot.cell, snapshot.state, snapshot.preactivations, groups=2)
    eigenvalues = network.eigenvalues(snapshot)
    for radius in (0.2, 0.5, 0.8):
        share = np.count_nonzero(np.abs(eigenvalues) < radius) / size
        assert gf.spectral_mass(ensemble, snapshot, radius=radius).value == pytest.approx(share, abs=0.03)
    radius = gf.spectral_radius(ensemble, snapshot).value
    assert np.max(np.abs(eigenvalues)) == pytest.approx(radius, rel=0.12)
    assert len(gf.spectral_curve(ensemble, snapshot).contours) >= 1


def test_curve_where_some_neurons_show_little_of_the_support() -> None:
    """Every fourth neuron has a smaller slope, and these are the ones that the first look at the support takes."""
    ensemble = gf.Ensemble(gf.Vanilla(), {"input": 1.5})
    x = np.where(np.arange(4000) % 4 == 0, 0.47, 0.0)[:, None]
    snapshot = gf.Snapshot(ensemble.cell, np.zeros((4000, 1)), x)
    (contour,) = gf.spectral_curve(ensemble, snapshot).contours
    expected = 1.5 * np.sqrt(np.mean(np.cosh(x) ** -4))
    np.testing.assert_allclose(np.abs(contour), expected, rtol=1e-3)
