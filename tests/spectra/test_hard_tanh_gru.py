"""The hard-tanh GRU by quadrature against the general theory, and its terms near 1 against the whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

import gatefield as gf
from gatefield.phases.upper_branch import branch_slope, printed_branch_slope
from gatefield.spectra.hard_tanh import HardTanhGRU, accumulation_terms, binary_gate_resolvent, hard_tanh_gru
from gatefield.spectra.limits import BinaryGateSpectrum, forget_gate_limit, update_gate_limit

VARIANCE = 0.5


def gru(update: float, /, **bias: float) -> gf.Ensemble:
    return gf.Ensemble(gf.GRU(activation="hard_tanh"), gain={"update": update, "candidate": 5.0}, bias_mean=bias)


def test_resolvent_is_that_of_the_general_theory() -> None:
    """[CKS 75–77]: neurons with h = φ(y) on a grid of gates, and a share of candidates in the linear part."""
    ensemble = gru(4.0, update=0.6, reset=0.8)
    theory = hard_tanh_gru(ensemble, variance=VARIANCE)
    gates = 0.6 + 4.0 * np.sqrt(VARIANCE) * ndtri((np.arange(400) + 0.5) / 400)
    z, y = (a.ravel() for a in np.meshgrid(gates, np.where(np.arange(1000) < 1000 * theory.linear, 0.5, 2.0)[::5]))
    snapshot = gf.Snapshot(ensemble.cell, np.clip(y, -1, 1)[:, None], np.stack([z, np.full_like(z, 0.8), y], axis=1))
    points = np.array([0.3 + 0.4j, 0.9 + 0.1j, -0.6 + 0.3j, 3.0 + 0.2j])
    field = gf.spectra.resolvent(ensemble, snapshot, points)
    np.testing.assert_allclose(theory.resolvent(points), field.value, rtol=0, atol=5e-3)  # η to 1/200
    assert np.all((theory.implicit(points) > 0.0) == (gf.spectra.support_exponent(ensemble, snapshot, points) > 0.0))


def test_implicit_at_one() -> None:
    """[CKS 83], and where F vanishes near 1 the support ends as [CKS 24] says."""
    at_edge = HardTanhGRU(0.7, 2.0, 0.0, 1.0)
    assert at_edge.implicit_near_one(ndtri(1.0 / 2.8) - 1e-9) == 0.0
    assert 0.0 < at_edge.implicit_near_one(ndtri(1.0 / 2.8) + 1e-6) < 1e-5
    assert at_edge.implicit_near_one(30.0) == at_edge.implicit_at_one
    theory = hard_tanh_gru(gru(3.0), variance=VARIANCE)
    assert theory.implicit(1.0 + 1e-9j) == pytest.approx(theory.implicit_at_one, rel=1e-4)
    assert theory.implicit_at_one > 0.0
    assert HardTanhGRU(0.3, 1.0, 0.0, 5.0).implicit_at_one == 0.0


def test_binary_gates() -> None:
    """[CKS 80]: the resolvent tends to it as a_z grows, as 1/a_z."""
    points, errors = np.array([0.3 + 0.4j, -0.6 + 0.3j, 2.5 + 0.2j]), []
    for update in (100.0, 1000.0):
        limit = update_gate_limit(gru(update, update=0.1 * update), variance=VARIANCE)
        found = hard_tanh_gru(gru(update, update=0.1 * update), variance=VARIANCE).resolvent(points)
        errors.append(np.max(np.abs(found - binary_gate_resolvent(limit, points))))
    assert errors[1] < 0.01
    assert errors[1] / errors[0] == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("kind", ["update", "forget"])
def test_binary_resolvent_counts_the_eigenvalues(kind: str) -> None:
    """[CKS 80, 140]: (1/2πi) ∮ G dλ is the mass, D/λ far away, and G is continuous at the disc's edge."""
    lstm = gf.Ensemble(gf.LSTM(activation="hard_tanh"), gain={"forget": 9.0, "cell": 6.0})
    update, forget = update_gate_limit(gru(9.0), variance=VARIANCE), forget_gate_limit(lstm, variance=VARIANCE)
    limit: BinaryGateSpectrum = {"update": update, "forget": forget}[kind]
    circle = np.exp(2j * np.pi * (np.arange(512) + 0.5) / 512)
    for radius in (0.5 * limit.radius, 3.0):
        mass = np.mean(binary_gate_resolvent(limit, radius * circle) * radius * circle)
        assert mass.real == pytest.approx(limit.mass(radius), abs=1e-9)
    assert binary_gate_resolvent(limit, 1e6) * 1e6 == pytest.approx(1.0 + (kind == "forget"), abs=1e-5)
    inner, outer = binary_gate_resolvent(limit, limit.radius * (1 + np.array([-1e-9, 1e-9])) * 1j)
    assert inner == pytest.approx(outer, abs=1e-7)


@pytest.mark.parametrize("angle", [0.0, 2.0])
@pytest.mark.parametrize("c", [0.3, 1.0])
def test_terms_near_one(c: float, angle: float) -> None:
    """[CKS 84–90] region by region, by quadrature of the integrands as they stand: right to order 1/ã each."""
    left = []
    for a in (40.0, 160.0):
        theory = HardTanhGRU(0.7, 2.5, 0.0, a)
        terms = accumulation_terms(theory, c=c, angle=angle)
        exact_a, exact_b = _by_region(theory, c, angle)
        left.append([*(abs(t - e) for t, e in zip(terms.linear, exact_a, strict=True)),
                     *(abs(t - e) for t, e in zip(terms.saturated, exact_b, strict=True))])  # fmt: skip
        if a * c < 20.0:  # or 1 + ε is rounding
            epsilon = np.exp(-a * c + 1j * angle)
            assert abs(terms.total - epsilon * theory.resolvent(1.0 + epsilon)) < 1.0 / a
            assert theory.implicit(1.0 + epsilon) == pytest.approx(theory.implicit_near_one(c), abs=1.0 / a)
        assert (terms.linear[0] + terms.saturated[0]).real == pytest.approx(ndtr(-c), rel=1e-12)  # [CKS 91]
    # each region's own edge, where two terms are equal, is of width 1/ã; III and IV are exponentially small
    assert np.all(np.array(left[1]) < 0.3 * np.array(left[0]) + 1e-12)
    assert np.max(left[1]) < 0.6 / 160.0


def test_second_region_is_not_as_printed() -> None:
    """[CKS 87] has ε̄ e^{−2ãx} where e^{−ãx} is the larger: it gives less than half of what is there."""
    theory, c = HardTanhGRU(0.7, 2.5, 0.0, 40.0), 1.0
    exact = _by_region(theory, c, 0.0)[0][1]
    f = theory.implicit_near_one(c) * theory.reach**2
    x = np.linspace(-c, -c / 2, 200_001)
    weight = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    printed = 0.7 / (1.0 + f) * np.sum(weight * np.exp(-2 * 40.0 * (c + x)))
    ours = accumulation_terms(theory, c=c).linear[1]
    assert printed < 0.6 * ours.real
    assert abs(ours - exact) < 0.4 * abs(printed - exact)  # the layer about −c is of the same size


def _by_region(theory: HardTanhGRU, c: float, angle: float) -> tuple[list[complex], list[complex]]:
    """ε times the integrals [CKS 84–85] over the four regions, and over the first and the rest."""
    a, f = theory.std, theory.implicit_near_one(c) * theory.reach**2
    epsilon = np.exp(-a * c + 1j * angle)

    def integral(low: float, high: float) -> tuple[complex, complex]:
        edges = np.clip([low, high], -12.0, 12.0)
        x, weights = np.polynomial.legendre.leggauss(20)
        panels = np.linspace(*edges, 1 + int(np.ceil((edges[1] - edges[0]) * max(a, 20.0))))
        half = (panels[1:] - panels[:-1])[:, None] / 2
        x = (panels[:-1, None] + half) + half * x
        measure = half * weights * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
        # times (1 − z)² or 1 − z and back, as z = σ(−ãx): nothing overflows
        closed = 1.0 / (1.0 + np.exp(-np.abs(a * x))) * np.where(x < 0, np.exp(-np.abs(a * x)), 1.0)
        gap = epsilon + closed
        linear = np.conj(gap) / (np.abs(gap) ** 2 + f * closed**2)
        return complex(epsilon * theory.linear * np.sum(measure * linear)), complex(
            epsilon * (1 - theory.linear) * np.sum(measure / gap)
        )

    parts = [integral(*r) for r in ((-12.0, -c), (-c, -c / 2), (-c / 2, 0.0), (0.0, 12.0))]
    return [p[0] for p in parts], [parts[0][1], sum(p[1] for p in parts[1:])]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="must be 0 for the regions"):
        accumulation_terms(hard_tanh_gru(gru(5.0, update=1.0), variance=VARIANCE), c=0.5)
    with pytest.raises(ValueError, match="must be 'hard_tanh'"):
        hard_tanh_gru(gf.Ensemble(gf.GRU(), gain={"update": 1.0}), variance=VARIANCE)
    with pytest.raises(ValueError, match="above √8"):
        branch_slope(reset_gain=2.0)


def test_branch_slope() -> None:
    """[CKS 113]: f = 4 + 18δ/31 + O(δ²), and the difference of exact fixed points; the printed one has −6/31."""
    for delta in (0.1, 0.05):
        reset = np.sqrt(8.0 + delta)
        assert (branch_slope(reset_gain=reset) - 4.0) / delta == pytest.approx(18.0 / 31.0, abs=0.8 * delta)
        assert (printed_branch_slope(reset_gain=reset) - 4.0) / delta == pytest.approx(-6.0 / 31.0, abs=0.8 * delta)
    ends = []
    for gain in (1.999, 2.001):
        ensemble = gf.Ensemble(gf.GRU(), gain={"reset": 5.0, "candidate": gain})
        ends.append(gf.fixed_points(ensemble)[-1].second_moment["h"])
    assert branch_slope(reset_gain=5.0) == pytest.approx(17.0 * (ends[1] - ends[0]) / 0.002, rel=1e-3)
