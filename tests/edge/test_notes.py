"""What the notes on the edge of chaos derive on the way: averages of the cell, the cavity argument, series in C_0."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.all_cells import scattered

import gatefield as gf
from gatefield import edge
from gatefield.cells.tracing import next_state
from gatefield.edge import static_series
from gatefield.edge.cavity import cavity_terms
from gatefield.edge.memory_cell import cell_average
from gatefield.edge.static_series import critical_gain_series, static_moments


@pytest.mark.parametrize(
    "cell", [gf.LSTM(), gf.LSTM(coupled=True), gf.LSTM(activation="hard_tanh")], ids=["LSTM", "coupled", "hard"]
)
def test_cell_is_a_scaled_average(cell: gf.LSTM) -> None:
    """[EOC §2 gain, 1]"""
    snapshot = scattered(gf.Ensemble(cell))
    average = cell_average(snapshot)
    with jax.enable_x64(True):
        s, x = jnp.asarray(snapshot.state), jnp.asarray(snapshot.preactivations)
        expected = jax.vmap(lambda a, b: next_state(cell, a, b))(s, x)[:, 0]
    np.testing.assert_allclose(average.next, expected, rtol=1e-12)
    assert np.all((average.share > 0.0) & (average.share < 1.0))
    if cell.coupled:
        np.testing.assert_allclose(average.gain, 1.0, rtol=1e-12)
    rest = cell_average(gf.Snapshot.at_zero(gf.Ensemble(cell)))
    assert (rest.gain, rest.share) == pytest.approx((1.0, 0.5))
    with pytest.raises(ValueError, match="snapshot of GRU"):
        cell_average(gf.Snapshot.at_zero(gf.Ensemble(gf.GRU())))


def test_memory_of_the_cavity_vanishes() -> None:
    """[EOC §3.1 cavity, §3.1 memory term, §3.1 bulk term]: mean 0 and variance ∝ 1/N; the rest's ∝ 1/N²."""
    found = cavity_terms(3.0, sizes=(100, 400), networks=16)
    assert np.all(np.abs(found.bulk.value - found.expected.value) < 4.0 * np.hypot(found.bulk.error, 0.01))
    assert np.all(np.abs(found.mean.value) < 4.0 * found.mean.error)
    for part, power in ((found.memory, 1), (found.rest, 2)):
        scaled, error = (getattr(part, what) * found.sizes**power for what in ("value", "error"))
        assert abs(scaled[0] - scaled[1]) < 4.0 * np.hypot(*error) + 0.1 * power * scaled[1]  # and the next order
    assert found.memory.value[1] < 0.03 * found.bulk.value[1]
    assert found.as_json()["sizes"] == [100, 400]
    with pytest.raises(ValueError, match="sizes=1"):
        cavity_terms(3.0, sizes=(1,))


def test_series_in_the_variance() -> None:
    """[EOC §3.3 moments, §3.3 series, §3.3 law] in exact fractions; 34/3 where the notes have 50/3."""

    def product(a: list[Fraction], b: list[Fraction]) -> list[Fraction]:
        return [sum((a[i] * b[k - i] for i in range(k + 1)), Fraction(0)) for k in range(len(a))]

    tanh = [Fraction(0)] * 8  # from tanh' = 1 − tanh²
    for k in range(1, 8):
        tanh[k] = (Fraction(k == 1) - product(tanh, tanh)[k - 1]) / k
    sech_square = [Fraction(k == 0) - v for k, v in enumerate(product(tanh, tanh))]
    odd = [prod(range(1, 2 * k, 2)) for k in range(4)]  # E z^{2k} = (2k − 1)!!
    square, fourth = (
        [series[2 * k] * odd[k] for k in range(4)]
        for series in (product(tanh, tanh), product(sech_square, sech_square))
    )
    assert pytest.approx([float(v) for v in square], rel=1e-15) == static_series.TANH_SQUARE
    assert pytest.approx([float(v) for v in fourth], rel=1e-15) == static_series.SECH_FOURTH
    inverse = [Fraction(34, 3) if k == 3 else Fraction(int(v)) for k, v in enumerate(static_series.GAIN_SQUARE)]
    assert product(inverse, fourth) == [1, 0, 0, 0]
    gain = [Fraction(46, 3) if k == 3 else Fraction(int(v)) for k, v in enumerate(static_series.GAIN)]
    assert product(gain, gain) == [4 * v for v in inverse]
    assert static_series.GAIN[3] == pytest.approx(46 / 3)
    assert static_series.GAIN_SQUARE[3] == pytest.approx(34 / 3)


def test_series_against_exact_values() -> None:
    """[EOC §3.2 slope, §3.3 moments, §3.3 g_c]"""
    variance = np.array([0.01, 0.02])
    for exact, series in zip(
        static_moments(variance), (static_series.TANH_SQUARE, static_series.SECH_FOURTH), strict=True
    ):
        left = exact - np.polynomial.polynomial.polyval(variance, series)
        assert left[1] / left[0] == pytest.approx(16.0, rel=0.15)
    assert static_moments(0.7)[1] == pytest.approx(0.529517, abs=1e-6)
    sigma = np.array([1e-3, 2e-3])
    line = edge.critical_line(sigma)
    assert critical_gain_series(line.variance) == pytest.approx(line.gain, abs=80.0 * line.variance.max() ** 4)
    assert 2.0 / np.sqrt(static_moments(0.05)[1]) == pytest.approx(2.0915, abs=1e-4)
    assert 2.0 * np.sqrt(1.0 + 0.05 - 2 * 0.05**2) == pytest.approx(2.0445, abs=1e-4)  # as printed
    with pytest.raises(ValueError, match="at least 0"):
        static_moments(-1.0)


def test_slope_of_delta() -> None:
    """[EOC §3.2 slope]: Δ(C, C_0) by a square grid, differentiated by C at C = C_0; E sech⁴ without the prime."""
    z = np.linspace(-9.0, 9.0, 361)
    weights = np.exp(-0.5 * z**2) / np.sum(np.exp(-0.5 * z**2))

    def delta(c: float, c0: float) -> float:
        first = np.sqrt(c0) * z[:, None]
        second = c / np.sqrt(c0) * z[:, None] + np.sqrt(max(c0 - c * c / c0, 0.0)) * z
        return float(weights @ (np.tanh(first) * np.tanh(second)) @ weights)

    c0, step = 0.7, 1e-3
    slope = (3 * delta(c0, c0) - 4 * delta(c0 - step, c0) + delta(c0 - 2 * step, c0)) / (2 * step)
    assert slope == pytest.approx(static_moments(c0)[1], abs=5e-6)
