"""The spectrum of any cell against formulas of the papers, and against theory.md §4 itself, coded here by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from tests.all_cells import EACH_CELL, EACH_ENSEMBLE, Case, scattered

import gatefield as gf
from gatefield.spectra.gru_letters import gru_boundary as boundary
from gatefield.spectra.gru_letters import gru_equations

GRU = gf.Ensemble(gf.GRU(), gain={"update": 3.0, "reset": 2.0, "candidate": 3.0})
BARE = gf.Ensemble(gf.GRU(), gain={"candidate": 3.0})
LSTM = gf.Ensemble(gf.LSTM(), gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 4.0})


def slope(x: np.ndarray) -> np.ndarray:
    return expit(x) * expit(-x)


def outermost(f: Callable[[float], float]) -> float:
    """The largest zero of f, positive before it and negative after."""
    radii = np.linspace(6.0, 1e-3, 600)
    inside = next(i for i, r in enumerate(radii) if f(r) > 0.0)
    return brentq(f, radii[inside], radii[inside - 1], xtol=1e-14, rtol=1e-14)


# ---- any cell ----


def gamma(ensemble: gf.Ensemble, snapshot: gf.Snapshot, z: complex) -> np.ndarray:
    """Γ(λ) = V_s (λ − F_s)^{-1} F_x + V_x, (n, K, K)."""
    d = snapshot.derivatives
    r = np.linalg.inv(z * np.eye(d.f_s.shape[1]) - d.f_s)
    return d.v_s @ r @ d.f_x + d.v_x


def probes(ensemble: gf.Ensemble, snapshot: gf.Snapshot, fractions: tuple[float, ...]) -> np.ndarray:
    """Points off the axis, at these fractions of the way from the middle of the poles to the edge of the support."""
    middle = float(np.median(np.linalg.eigvals(snapshot.derivatives.f_s).real))
    radii = np.linspace(4.0, 0.0, 200)
    points = []
    for angle, fraction in zip((0.7, 1.6, 2.5, 1.1), fractions, strict=False):
        exponents = gf.spectra.support_exponent(ensemble, snapshot, middle + radii * np.exp(1j * angle))
        points.append(middle + fraction * radii[np.argmax(exponents > 0.0)] * np.exp(1j * angle))
    return np.array(points)


@pytest.mark.parametrize("ensemble", EACH_ENSEMBLE)
def test_support_is_where_the_perron_eigenvalue_is_one(ensemble: gf.Ensemble) -> None:
    """T_kl = a_k² E|Γ_kl|², K×K, without grouping."""
    snapshot = scattered(ensemble)
    points = np.array([0.3 + 0.4j, -0.8 + 0.1j, 1.2 + 0.9j, 3.0 + 0.1j])
    expected = []
    for z in points:
        t = ensemble.gains[:, None] ** 2 * np.mean(np.abs(gamma(ensemble, snapshot, z)) ** 2, axis=0)
        expected.append(np.log(np.max(np.abs(np.linalg.eigvals(t)))))
    np.testing.assert_allclose(gf.spectra.support_exponent(ensemble, snapshot, points), expected, rtol=0, atol=1e-10)


def dagger(m: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(m, -1, -2))


def solved_by_iteration(ensemble: gf.Ensemble, snapshot: gf.Snapshot, z: complex) -> tuple[np.ndarray, np.ndarray]:
    """p, q (K,) by damped iteration of their equations [CKS 54–58]."""
    g, squared = gamma(ensemble, snapshot, z), ensemble.gains**2
    one = np.eye(len(squared))
    p, q = squared.copy(), squared.copy()
    for _ in range(20_000):
        pg, qg = dagger(g) @ (p[:, None] * g), g @ (q[:, None] * dagger(g))
        new_p = squared * np.mean(np.einsum("nkk->nk", pg @ np.linalg.inv(one + q[:, None] * pg)).real, axis=0)
        new_q = squared * np.mean(np.einsum("nkk->nk", qg @ np.linalg.inv(one + p[:, None] * qg)).real, axis=0)
        moved = np.max(np.abs(new_p - p) / (p + 1e-12)) + np.max(np.abs(new_q - q) / (q + 1e-12))
        p, q = np.sqrt(p * new_p), np.sqrt(q * new_q)
        if moved < 1e-13:
            break
    return p, q


def potential(ensemble: gf.Ensemble, snapshot: gf.Snapshot, z: complex, p: np.ndarray, q: np.ndarray) -> float:
    """Φ(λ) less its term in p·q alone."""
    g, f_s = gamma(ensemble, snapshot, z), snapshot.derivatives.f_s
    bare = np.mean(np.linalg.slogdet(z * np.eye(f_s.shape[1]) - f_s)[1])
    inner = np.eye(len(p)) + q[:, None] * (dagger(g) @ (p[:, None] * g))
    return bare + 0.5 * np.mean(np.linalg.slogdet(inner)[1])


@pytest.mark.parametrize("case", EACH_CELL)
def test_resolvent_is_the_gradient_of_the_potential(case: Case) -> None:
    """G = ∂_xΦ − i∂_yΦ at fixed p, q, these found by iterating the K×K equations."""
    ensemble = case.ensembles[0]
    snapshot = scattered(ensemble)
    points, step = probes(ensemble, snapshot, (0.3, 0.7)), 1e-5
    found = gf.spectra.resolvent(ensemble, snapshot, points)
    assert found.converged
    for z, g in zip(points, found.value, strict=True):
        p, q = solved_by_iteration(ensemble, snapshot, z)
        assert p @ q > 0.0
        x, y = (
            (potential(ensemble, snapshot, z + d, p, q) - potential(ensemble, snapshot, z - d, p, q)) / (2 * step)
            for d in (step, 1j * step)
        )
        assert abs(g - (x - 1j * y)) < 1e-7


@pytest.mark.parametrize("case", EACH_CELL)
def test_p_and_q_are_those_of_the_equations(case: Case) -> None:
    """[CKS 54–58] for any cell: K×K, without grouping, at the points of the test before."""
    ensemble = case.ensembles[0]
    snapshot = scattered(ensemble)
    points = probes(ensemble, snapshot, (0.3, 0.7))
    found = gf.spectra.resolvent(ensemble, snapshot, points)
    np.testing.assert_allclose(found.p.sum(axis=1), found.q.sum(axis=1), rtol=1e-12)
    for z, p, q in zip(points, found.p, found.q, strict=True):
        exact_p, exact_q = solved_by_iteration(ensemble, snapshot, z)
        scale = np.sqrt(exact_q.sum() / exact_p.sum())
        # Newton's last step leaves the square of a residual of 1e-5
        np.testing.assert_allclose(p, exact_p * scale, rtol=1e-6, atol=1e-9 * p.max())
        np.testing.assert_allclose(q, exact_q / scale, rtol=1e-6, atol=1e-9 * q.max())


def test_p_and_q_outside_and_mirrored() -> None:
    snapshot = scattered(LSTM)
    found = gf.spectral_density(LSTM, snapshot, [[0.2 + 0.1j, 0.2 - 0.1j, 9.0]])
    assert found.p.shape == found.q.shape == (1, 3, 4)
    np.testing.assert_array_equal(found.p[0, 0], found.p[0, 1])
    assert np.all(found.p[0, 2] == 0.0)
    assert np.all(found.p[0, 0] > 0.0)
    bare = gf.spectra.SpectralField("density", found.points, found.value, found.residual, LSTM, snapshot)
    with pytest.raises(ValueError, match="solution=None"):
        bare.p  # noqa: B018


@pytest.mark.parametrize("case", EACH_CELL)
def test_resolvent_outside_is_that_of_the_poles(case: Case) -> None:
    ensemble = case.ensembles[0]
    snapshot = scattered(ensemble)
    for z in (7.0 + 2.0j, -30.0 + 0.5j):
        assert gf.spectra.support_exponent(ensemble, snapshot, z) < 0.0
        poles = np.linalg.eigvals(snapshot.derivatives.f_s)
        expected = np.mean(np.sum(1.0 / (z - poles), axis=1))
        assert abs(gf.spectra.resolvent(ensemble, snapshot, z).value - expected) < 1e-12
    far = 1e4 * np.exp(0.3j)
    d = len(case.cell.state_names)
    assert gf.spectra.resolvent(ensemble, snapshot, far).value * far == pytest.approx(d, abs=1e-3)


@pytest.mark.parametrize("case", EACH_CELL)
def test_density_is_the_divergence_of_the_resolvent(case: Case) -> None:
    """μ = (1/π) ∂G/∂λ̄ = (1/2π)(∂_x + i∂_y) G [CKS 12], by central differences of fourth order."""
    ensemble = case.ensembles[0]
    snapshot = scattered(ensemble)
    points, step = probes(ensemble, snapshot, (0.2, 0.5, 0.8, 1.5)), 1e-3
    found = gf.spectral_density(ensemble, snapshot, points)
    assert found.converged
    shifts = step * np.array([1, -1, 2, -2, 1j, -1j, 2j, -2j])
    g = gf.spectra.resolvent(ensemble, snapshot, points[:, None] + shifts).value
    weights = np.array([8.0, -8.0, -1.0, 1.0]) / (12 * step)
    expected = (g[:, :4] @ weights + 1j * (g[:, 4:] @ weights)) / (2 * np.pi)
    np.testing.assert_allclose(expected.imag, 0.0, atol=1e-7)  # G is a gradient
    # the density uses the Hessian at the last evaluation, where a residual of up to 1e-5 is accepted
    np.testing.assert_allclose(found.value, expected.real, rtol=2e-4, atol=1e-7)
    assert np.all(found.value[:3] > 0.0)
    assert found.value[3] == 0.0


def test_equal_sources_may_be_shared_or_not() -> None:
    """Grouping is speed, not mathematics: a GRU that computes h for each gate apart has the same spectrum."""

    @dataclass(frozen=True, kw_only=True)
    class Apart(gf.GRU):
        def sources(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
            return {name: 1.0 * source for name, source in super().sources(state, x).items()}

    apart = gf.Ensemble(Apart(), gain=GRU.gain)
    assert len(apart.structure.groups) == 3
    snapshot = scattered(GRU)
    copy = gf.Snapshot(apart.cell, snapshot.state, snapshot.preactivations)
    points = np.append(probes(GRU, snapshot, (0.3, 0.7)), 3.0)
    for function, within in ((gf.spectra.resolvent, 1e-9), (gf.spectral_density, 1e-5)):
        shared, own = function(GRU, snapshot, points), function(apart, copy, points)
        assert own.converged
        np.testing.assert_allclose(own.value, shared.value, rtol=0, atol=within)
    np.testing.assert_allclose(
        gf.spectra.support_exponent(apart, copy, points),
        gf.spectra.support_exponent(GRU, snapshot, points),
        rtol=0,
        atol=1e-10,
    )


def test_a_source_split_in_two_is_one_of_the_joint_gain() -> None:
    """y and y' with one source that only enter as y + y' are one pre-activation of gain √(a² + a'²)."""

    @dataclass(frozen=True)
    class Split(gf.Cell):
        state_names = ("h",)
        preactivation_names = ("one", "other")

        def sources(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"one": state["h"], "other": state["h"]}

        def update(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"h": 0.3 * state["h"] + jnp.tanh(x["one"] + x["other"])}

    @dataclass(frozen=True)
    class Joint(gf.Cell):
        state_names = ("h",)
        preactivation_names = ("one",)

        def sources(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"one": state["h"]}

        def update(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"h": 0.3 * state["h"] + jnp.tanh(x["one"])}

    split, joint = gf.Ensemble(Split(), gain={"one": 1.2, "other": 1.6}), gf.Ensemble(Joint(), gain={"one": 2.0})
    a = scattered(split, 60)
    b = gf.Snapshot(joint.cell, a.state, a.preactivations.sum(axis=1, keepdims=True))
    points = np.array([0.3 + 0.2j, 0.9 + 0.1j, 5.0])
    np.testing.assert_allclose(
        gf.spectra.resolvent(split, a, points).value, gf.spectra.resolvent(joint, b, points).value, rtol=0, atol=1e-10
    )
    assert gf.spectral_radius(split, a).value == pytest.approx(gf.spectral_radius(joint, b).value, rel=1e-10)


# ---- GRU ----


@dataclass(frozen=True)
class GRUNeurons:
    """h, gates and their slopes, φ and its slope, by the paper's letters."""

    h: np.ndarray
    z: np.ndarray
    r: np.ndarray
    dz: np.ndarray
    dr: np.ndarray
    phi: np.ndarray
    dphi: np.ndarray


def gru_neurons(snapshot: gf.Snapshot) -> GRUNeurons:
    h, (z, r, y) = snapshot.state[:, 0], snapshot.preactivations.T
    return GRUNeurons(h, expit(z), expit(r), slope(z), slope(r), np.tanh(y), 1.0 / np.cosh(y) ** 2)


def gru_boundary(ensemble: gf.Ensemble, snapshot: gf.Snapshot, z: complex) -> float:
    """b(d + e) − (1 − a)(1 − c): zero on the curve, for any correlation of the gates [CKS 65–68], corrected."""
    n, gain = gru_neurons(snapshot), ensemble.gain
    distance = np.abs(z - n.z) ** 2
    by_candidate = ((1 - n.z) * gain["candidate"] * n.dphi) ** 2
    by_update = (gain["update"] * n.dz) ** 2 * (n.h - n.phi) ** 2
    a, b = np.mean(by_candidate * n.r**2 / distance), np.mean(by_candidate / distance)
    c = np.mean(by_update / distance)
    d, e = np.mean((gain["reset"] * n.dr * n.h) ** 2), np.mean(n.r**2 * by_update / distance)
    if a >= 1.0 or c >= 1.0:
        return 1.0
    return b * (d + e) - (1 - a) * (1 - c)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("angle", [0.0, 0.9, 2.0, np.pi])
def test_gru_curve_for_dependent_gates(angle: float, seed: int) -> None:
    snapshot = scattered(GRU, seed=seed)
    direction = np.exp(1j * angle)
    radius = outermost(lambda r: gru_boundary(GRU, snapshot, r * direction))
    # on the axis the package stays 1e-6 off the poles, which moves the curve by the square of that
    assert abs(gf.spectra.support_exponent(GRU, snapshot, radius * direction)) < 1e-10
    assert gf.spectra.spectral_edge(GRU, snapshot, angle=angle).value == pytest.approx(radius, abs=1e-9)


def gru_theorem_1(ensemble: gf.Ensemble, snapshot: gf.Snapshot, z: complex) -> float:
    """S(λ) of [CKS 15–16], for r independent of the rest."""
    n, gain = gru_neurons(snapshot), ensemble.gain
    distance = np.abs(z - n.z) ** 2
    mean = np.mean
    # E[(1 − z)² φ'² / |λ − z|²] where the paper writes a product of expectations, z and φ' being independent in it
    rho_and_first = mean((1 - n.z) ** 2 * n.dphi**2 / distance) * gain["candidate"] ** 2
    rho_and_first *= mean(n.r**2) + gain["reset"] ** 2 * mean(n.dr**2) * mean(n.h**2)
    return rho_and_first + gain["update"] ** 2 * mean(n.dz**2 * (n.h - n.phi) ** 2 / distance) - 1.0


def independent_gru(size: int = 6) -> gf.Snapshot:
    """All combinations of some values of r, of (z), of (y) and of (h): exactly independent."""
    rng = np.random.default_rng(5)
    values = [scale * rng.standard_normal(size) for scale in (0.6, 1.5, 1.5, 1.5)]
    h, z, r, y = (v.ravel() for v in np.meshgrid(*values, indexing="ij"))
    return gf.Snapshot(gf.GRU(), h[:, None], np.stack([z, r, y], axis=1))


@pytest.mark.parametrize("angle", [0.0, 1.2, np.pi])
def test_gru_theorem_1(angle: float) -> None:
    """[CKS Thm 1, 15–16, 67–68]: where r, z, h, y are independent, the K×K Perron condition is Theorem 1."""
    snapshot = independent_gru()
    direction = np.exp(1j * angle)
    radius = outermost(lambda r: gru_theorem_1(GRU, snapshot, r * direction))
    assert radius == pytest.approx(outermost(lambda r: gru_boundary(GRU, snapshot, r * direction)), abs=1e-10)
    assert abs(gf.spectra.support_exponent(GRU, snapshot, radius * direction)) < 1e-10


@pytest.mark.parametrize("gains", [(3.0, 2.0, 3.0), (3.0, 0.0, 3.0), (0.0, 2.0, 3.0)], ids=["both", "update", "reset"])
def test_gru_equations_of_the_paper(gains: tuple[float, float, float]) -> None:
    """[CKS 55, 57, 59–64] hold for p and q of the general theory, gates depending on each other; (59) is its G."""
    ensemble = gf.Ensemble(gf.GRU(), gain=dict(zip(GRU.names, gains, strict=True)))
    snapshot = scattered(GRU)
    points = probes(ensemble, snapshot, (0.2, 0.6, 0.95, 1.4))
    field = gf.spectra.resolvent(ensemble, snapshot, points)
    found = gru_equations(field)
    assert len(found.points) == 3
    assert np.max(found.residual) < 1e-5  # as exact as the equations are solved
    np.testing.assert_allclose(found.resolvent, field.value[:3], rtol=0, atol=1e-6)
    assert np.all(found.x < 0.0)
    assert np.all(found.y < 0.0)
    assert np.all(found.q > 0.0)
    if gains[1] == 0.0:
        np.testing.assert_allclose(found.q, field.p[:3, 0] / field.p[:3, 2], rtol=1e-12)


def test_gru_equations_near_the_edge() -> None:
    """X, Y → 0 and Q → (1 − a)/b, what (61) leaves on the curve."""
    snapshot, direction = scattered(GRU), np.exp(0.9j)
    edge = gf.spectra.spectral_edge(GRU, snapshot, angle=0.9).value
    found = gru_equations(gf.spectra.resolvent(GRU, snapshot, edge * direction * np.array([0.99, 0.999])))
    assert found.x[1] / found.x[0] == pytest.approx(0.1, rel=0.1)
    assert found.y[1] / found.y[0] == pytest.approx(0.1, rel=0.1)
    n = gru_neurons(snapshot)
    by_candidate = ((1 - n.z) * 3.0 * n.dphi) ** 2 / np.abs(edge * direction - n.z) ** 2
    limit = (1.0 - np.mean(by_candidate * n.r**2)) / np.mean(by_candidate)
    assert 2 * abs(found.q[1] - limit) < abs(found.q[0] - limit)
    assert found.q[1] == pytest.approx(limit, rel=0.01)


def test_boundary_functions_of_the_gru() -> None:
    """[CKS 65–68]: the general one is 0 on the curve; the paper's where all that it splits is independent."""
    points = np.array([0.4 + 0.9j, -0.7 + 0.2j, 2.5])
    snapshot = scattered(GRU)
    expected = [gru_boundary(GRU, snapshot, z) for z in points]
    finite = np.isfinite(boundary(GRU, snapshot, points))
    np.testing.assert_allclose(boundary(GRU, snapshot, points)[finite], np.array(expected)[finite], rtol=1e-10)
    for angle in (0.3, 1.2):
        edge = gf.spectra.spectral_edge(GRU, snapshot, angle=angle).value * np.exp(1j * angle)
        assert boundary(GRU, snapshot, edge) == pytest.approx(0.0, abs=1e-7)
        independent = independent_gru()
        edge = gf.spectra.spectral_edge(GRU, independent, angle=angle).value * np.exp(1j * angle)
        assert boundary(GRU, independent, edge, factorised=True) == pytest.approx(0.0, abs=1e-7)
    assert abs(boundary(GRU, snapshot, edge, factorised=True)) > 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: boundary(LSTM, scattered(LSTM), 1.0), "reset gate before the weights"),
        (lambda: boundary(GRU, gf.Snapshot.at_zero(LSTM), 1.0), "snapshot is of LSTM"),
        (lambda: gru_equations(gf.spectra.resolvent(BARE, scattered(BARE), 9.0)), "one of the gates a gain"),
    ],
)
def test_gru_equations_refuse(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_gru_without_reset_gate() -> None:
    """[CKS Prop. 13, 72–73], r fixed at σ(b_r)."""
    b_r = 0.7
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 3.0, "candidate": 4.0}, bias_mean={"reset": b_r})
    drawn = scattered(ensemble)
    x = drawn.preactivations.copy()
    x[:, 1] = b_r
    snapshot = gf.Snapshot(ensemble.cell, drawn.state, x)
    n = gru_neurons(snapshot)
    s = (expit(b_r) * 4.0 * (1 - n.z) * n.dphi) ** 2 + (3.0 * n.dz * (n.h - n.phi)) ** 2
    points = probes(ensemble, snapshot, (0.2, 0.6, 0.9, 1.4))
    found = gf.spectra.resolvent(ensemble, snapshot, points)
    for i, (z, g) in enumerate(zip(points, found.value, strict=True)):
        distance = np.abs(z - n.z) ** 2

        def implicit(f: float, distance: np.ndarray = distance) -> float:
            return np.mean(s / (distance + f * s)) - 1.0

        assert (implicit(0.0) > 0.0) == (i < 3)
        f = brentq(implicit, 0.0, 1.0, xtol=1e-15) if i < 3 else 0.0
        assert abs(g - np.mean(np.conj(z - n.z) / (distance + f * s))) < 1e-6


# ---- LSTM ----


def lstm_p_and_q(snapshot: gf.Snapshot) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f, p, q of [CKS 28]."""
    gain = LSTM.gain
    c, (f, i, o, y) = snapshot.state[:, 0], snapshot.preactivations.T
    new = expit(f) * c + expit(i) * np.tanh(y)
    q = (gain["output"] * slope(o) * np.tanh(new)) ** 2
    p = (expit(o) / np.cosh(new) ** 2) ** 2 * (
        (gain["forget"] * c * slope(f)) ** 2
        + (gain["input"] * slope(i) * np.tanh(y)) ** 2
        + (gain["cell"] * expit(i) / np.cosh(y) ** 2) ** 2
    )
    return expit(f), p, q


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("angle", [0.0, 1.2, np.pi])
def test_lstm_curve(angle: float, seed: int) -> None:
    """[CKS Cor. 9, 30–31]. The cross term of q and p, both with φ(c'), has mean zero over the independent weights."""
    snapshot = scattered(LSTM, seed=seed)
    f, p, q = lstm_p_and_q(snapshot)
    direction = np.exp(1j * angle)
    radius = outermost(lambda r: np.mean(q) / r**2 + np.mean(p / np.abs(r * direction - f) ** 2) - 1.0)
    assert abs(gf.spectra.support_exponent(LSTM, snapshot, radius * direction)) < 1e-10
    assert gf.spectra.spectral_edge(LSTM, snapshot, angle=angle).value == pytest.approx(radius, abs=1e-9)


def test_lstm_resolvent() -> None:
    """[CKS Thm 8, 27–29]."""
    snapshot = scattered(LSTM)
    f, p, q = lstm_p_and_q(snapshot)
    points = probes(LSTM, snapshot, (0.2, 0.6, 0.9, 1.4))
    found = gf.spectra.resolvent(LSTM, snapshot, points)
    for i, (z, g) in enumerate(zip(points, found.value, strict=True)):
        square, distance, bar = abs(z) ** 2, np.abs(z - f) ** 2, np.conj(z)
        numerator, whole = distance * q + square * p, square * distance

        def implicit(x: float, numerator: np.ndarray = numerator, whole: np.ndarray = whole) -> float:
            return np.mean(numerator / (whole + x * numerator)) - 1.0

        assert (implicit(0.0) > 0.0) == (i < 3)
        x = brentq(implicit, 0.0, 1.0, xtol=1e-15) if i < 3 else 0.0
        top = square * (bar - f) + bar * distance + x * ((bar - f) * q + bar * p)
        assert abs(g - np.mean(top / (whole + x * numerator))) < 1e-6
