"""How an LSTM's static states appear: the expansion against quadrature, folds against the roots on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gatefield as gf
from gatefield.phases.averages import moments
from gatefield.phases.lstm_plane import static_hysteresis, static_transition

GATES = ("forget", "input", "output")


def lstm(forget: float, write: float, read: float, cell: float = 0.0, **biases: dict[str, float]) -> gf.Ensemble:
    return gf.Ensemble(gf.LSTM(), gain={"forget": forget, "input": write, "output": read, "cell": cell}, **biases)


def excess(ensemble: gf.Ensemble, cell_gain: float, q: float) -> float:
    """log q'/q by quadrature."""
    gains = np.where(np.array(ensemble.names) == "cell", cell_gain, ensemble.gains)
    image = moments(ensemble.cell, 1, ensemble.means, gains * np.sqrt(q), tolerance=1e-13)[1]
    return float(np.log(image / q))


@pytest.mark.parametrize(
    ("gates", "bias"),
    [
        ((0, 0, 0), {}),
        ((3, 0, 0), {}),
        ((0, 5, 0), {}),
        ((0, 0, 5), {}),
        ((6, 2, 3), {}),
        ((2, 3, 4), {"forget": 1.0, "input": -0.5, "output": 0.7}),
        ((3, 1, 2), {"forget": -1.5, "input": 2.0, "output": -1.0}),
    ],
)
def test_the_expansion(gates: tuple[float, float, float], bias: dict[str, float]) -> None:
    ensemble = lstm(*gates, bias_mean=bias)
    transition = static_transition(ensemble)
    q = 1e-6 / max(1.0, transition.gain) ** 2
    # two values of q, so that the next order cancels
    slopes = [excess(ensemble, transition.gain, factor * q) / (factor * q) for factor in (1.0, 2.0)]
    assert 2.0 * slopes[0] - slopes[1] == pytest.approx(transition.coefficient, rel=1e-5, abs=1e-4)
    assert gf.spectra.zero_fixed_point(lstm(*gates, transition.gain, bias_mean=bias)).spectral_radius == pytest.approx(
        1.0
    )


def test_sixty_four() -> None:
    """Without biases: continuous iff a_o² + a_i² + 3a_f² < 64."""
    for gates in np.random.default_rng(0).uniform(0.0, 8.0, (30, 3)):
        forget, write, read = gates
        transition = static_transition(lstm(*gates))
        assert transition.gain == 2.0
        assert transition.coefficient == pytest.approx((3 * forget**2 + write**2 + read**2 - 64) / 4)
        assert transition.continuous == (3 * forget**2 + write**2 + read**2 < 64)


@pytest.mark.parametrize(
    ("gate", "below", "above"),
    [("forget", 4.5, 4.75), ("input", 7.9, 8.3), ("output", 7.9, 8.2)],  # 64 is at 4.6188, 8 and 8
)
def test_both_sides_of_sixty_four(gate: str, below: float, above: float) -> None:
    def at(gain: float, cell: float) -> gf.Ensemble:
        return lstm(*(gain if name == gate else 0.0 for name in GATES), cell)

    def roots(gain: float, cell: float) -> list[float]:
        return [p.second_moment["h"] for p in gf.fixed_points(at(gain, cell))]

    assert static_hysteresis(at(below, 0.0)) is None
    assert roots(below, 1.999) == [0.0]
    zero, small = roots(below, 2.00001)
    assert zero == 0.0
    assert small == pytest.approx(static_transition(at(below, 0.0)).second_moment(2.00001), rel=0.1)

    found = static_hysteresis(at(above, 0.0))
    assert found is not None
    assert found.fold < found.gain == 2.0
    assert found.residual < 1e-10
    step = 0.02 * (2.0 - found.fold)
    assert roots(above, found.fold - step) == [0.0]
    zero, low, high = roots(above, found.fold + step)
    assert zero < low < found.second_moment < high
    # square-root law at a fold: the mean of log q over the two roots is the fold's, to first order
    assert 0.5 * np.log(low * high) == pytest.approx(np.log(found.second_moment), abs=0.1)
    assert len(roots(above, 2.0 + step)) == 2


def test_hysteresis_with_biased_gates() -> None:
    ensemble = lstm(5.0, 0.0, 0.0, bias_mean={"input": 0.5, "output": 1.0})
    found = static_hysteresis(ensemble)
    assert found is not None
    assert found.gain == pytest.approx((1 + np.exp(-0.5)) * (1 + np.exp(-1.0)) / 2)
    assert excess(ensemble, found.fold, found.second_moment) == pytest.approx(0.0, abs=1e-10)
    for factor in (0.8, 1.25):  # a minimum of the cell gain: there, other q are images of smaller ones
        assert excess(ensemble, found.fold, factor * found.second_moment) < 0.0


@pytest.mark.slow
def test_folds_of_equal_gate_gains() -> None:
    """Roots on both sides of the fold, and the fold's gain by following both roots to where they meet."""
    found = static_hysteresis(lstm(6.0, 6.0, 6.0))
    assert found is not None
    assert found.fold == pytest.approx(1.525540458, abs=1e-8)
    gaps = []
    for step in (2e-3, 1e-3):
        _, low, high = (p.second_moment["h"] for p in gf.fixed_points(lstm(6.0, 6.0, 6.0, found.fold + step)))
        gaps.append(np.log(high / low) ** 2)
    assert 2.0 * gaps[1] - gaps[0] == pytest.approx(0.0, abs=0.02 * gaps[0])  # the squared gap vanishes at the fold
    assert len(gf.fixed_points(lstm(6.0, 6.0, 6.0, found.fold - 1e-3))) == 1


REFUSED: list[tuple[gf.Ensemble, str]] = [
    (gf.Ensemble(gf.GRU()), "cell=GRU must be an LSTM"),
    (gf.Ensemble(gf.LSTM(coupled=True)), "must be an LSTM"),
    (gf.Ensemble(gf.LSTM(activation="hard_tanh")), "must be an LSTM"),
    (lstm(1.0, 1.0, 1.0, bias_var={"forget": 0.1}), "bias_var must be 0"),
    (lstm(1.0, 1.0, 1.0, bias_mean={"cell": 0.1}), "bias_mean\\['cell'\\] must be 0"),
    (gf.Ensemble(gf.LSTM(), current={"forget": gf.WhiteCurrent(1.0)}), "must not vary in time"),
]


@pytest.mark.parametrize(("ensemble", "said"), REFUSED)
@pytest.mark.parametrize("function", [static_transition, static_hysteresis])
def test_refusals(function: Any, ensemble: gf.Ensemble, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        function(ensemble)
