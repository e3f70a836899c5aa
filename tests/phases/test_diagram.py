"""The plane of two gains: every point against roots found one by one, regions against a dense scan coded here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.references import gauss

import gatefield as gf

GRU = gf.Ensemble(gf.GRU(), gain={"update": 1.0})


def at_point(ensemble: gf.Ensemble, candidate: float, reset: float) -> Any:
    return gf.phase_diagram(
        gain_x=("candidate", candidate, candidate, 1), gain_y=("reset", reset, reset, 1), ensemble=ensemble
    ).isel(candidate=0, reset=0)


def scanned_regions(candidate: np.ndarray, reset: np.ndarray) -> np.ndarray:
    """Non-zero roots of [CKS 10] for each pair of gains, by sign changes over 6000 values of C.

    E tanh² and E σ² by the trapezoidal rule over g, with a spacing that resolves a step of width 1/(a_r √C).
    """
    c = np.exp(np.linspace(np.log(1e-9), np.log(0.9999), 6000))
    g = np.linspace(-9.0, 9.0, 4001)
    weight = np.exp(-(g**2) / 2)
    weight /= weight.sum()
    # ∂E/∂u of E tanh²(u g), tabulated; E σ²(s g) = 1/2 − E σ'(s g)
    u = np.exp(np.linspace(np.log(1e-6), np.log(40.0), 3000))
    square = np.array([weight @ np.tanh(v * g) ** 2 for v in u])
    s = np.exp(np.linspace(np.log(1e-6), np.log(40.0), 3000))
    gate = np.array([0.5 - weight @ (0.25 / np.cosh(v * g / 2) ** 2) for v in s])
    counts = []
    for a, b in zip(candidate, reset, strict=True):
        opened = np.interp(np.log(np.maximum(b * np.sqrt(c), 1e-6)), np.log(s), gate)
        image = np.exp(np.interp(np.log(a * np.sqrt(c * opened)), np.log(u), np.log(square)))
        counts.append(np.count_nonzero(np.diff(np.sign(image / c - 1.0)) != 0))
    return np.array(counts)


def test_regions_agree_with_a_dense_scan_at_400_points() -> None:
    """[CKS fig. 2 left]"""
    plane = gf.phase_diagram(gain_x=("candidate", 1.21, 3.49, 20), gain_y=("reset", 0.1, 29.9, 20), ensemble=GRU)
    assert set(plane.roots.values.ravel()) == {0, 1, 2}
    reset, candidate = (a.ravel() for a in np.meshgrid(plane.reset, plane.candidate, indexing="ij"))
    found = plane.roots.transpose("reset", "candidate").values.ravel()
    np.testing.assert_array_equal(found, scanned_regions(candidate, reset))


@pytest.mark.parametrize(
    ("ensemble", "x", "y", "tolerance"),
    [
        (GRU, ("candidate", 1.3, 3.0, 3), ("reset", 0.0, 25.0, 3), 1e-8),
        (gf.Ensemble(gf.GRU(), bias_mean={"candidate": 0.2, "reset": 0.5}, bias_var={"reset": 1.0}),
         ("candidate", 1.3, 3.0, 3), ("reset", 0.0, 25.0, 3), 1e-8),
        (gf.Ensemble(gf.GRU(), bias_var={"candidate": 0.0001}),
         ("candidate", 1.7, 3.0, 3), ("reset", 0.0, 15.0, 2), 1e-8),
        (gf.Ensemble(gf.GRU(reset_after=True)), ("candidate", 1.3, 3.0, 2), ("reset", 0.0, 20.0, 2), 1e-6),
        (gf.Ensemble(gf.MGU()), ("candidate", 1.3, 3.0, 3), ("forget", 0.0, 20.0, 3), 1e-8),
    ],
    ids=["gru", "gru-biased", "gru-three-roots", "gru-reset-after", "mgu"],
)  # fmt: skip
def test_points_are_those_of_fixed_points(ensemble: gf.Ensemble, x: Any, y: Any, tolerance: float) -> None:
    diagram = gf.phase_diagram(gain_x=x, gain_y=y, ensemble=ensemble)
    seen = set()
    for i, a in enumerate(diagram[x[0]].values):
        for j, b in enumerate(diagram[y[0]].values):
            here = gf.Ensemble(
                ensemble.cell, {**ensemble.gain, x[0]: a, y[0]: b}, ensemble.bias_mean, ensemble.bias_var
            )
            expected = gf.fixed_points(here)
            point = diagram.isel({x[0]: i, y[0]: j})
            seen.add(len(expected))
            for name, values in {
                "second_moment_h": [p.second_moment["h"] for p in expected],
                "shaping": [p.shaping for p in expected],
                "growth": [p.growth for p in expected],
            }.items():
                got = point[name].values
                assert got[~np.isnan(got)] == pytest.approx(values, rel=tolerance, abs=1e-12), (a, b, name)
            assert bool(point.zero_stable) == (ensemble.zero_is_fixed and expected[0].growth < 1.0)
    assert len(seen) > 1 or not ensemble.zero_is_fixed


@pytest.mark.slow
@pytest.mark.parametrize("gate", ["forget", "output"])
def test_lstm_plane(gate: str) -> None:
    """The plane of cell gain and one gate's, other gains 3: roots as found one by one."""
    ensemble = gf.Ensemble(gf.LSTM(), gain={"forget": 3.0, "input": 3.0, "output": 3.0})
    diagram = gf.phase_diagram(gain_x=("cell", 1.7, 2.9, 4), gain_y=(gate, 0.0, 8.0, 3), ensemble=ensemble)
    assert set(diagram.roots.values.ravel()) == {0, 1} | ({2} if gate == "forget" else set())
    for i, j in ((0, 2), (2, 1)):
        here = gf.Ensemble(
            ensemble.cell, {**ensemble.gain, "cell": float(diagram["cell"][i]), gate: float(diagram[gate][j])}
        )
        expected = [p for p in gf.fixed_points(here) if p.second_moment["h"] > 0.0]
        got = diagram.isel({"cell": i, gate: j}).second_moment_h.values[1:]
        assert got[~np.isnan(got)] == pytest.approx([p.second_moment["h"] for p in expected], rel=1e-5)


def test_regions_are_named() -> None:
    diagram = gf.phase_diagram(gain_x=("candidate", 1.2, 3.5, 30), gain_y=("reset", 0, 30, 30), ensemble=GRU)
    assert diagram.region.attrs["flag_meanings"].split("; ") == [
        "zero stable, non-zero roots: 0", "zero stable, non-zero roots: 2", "zero unstable, non-zero roots: 1",
    ]  # fmt: skip
    assert list(diagram.region.attrs["flag_values"]) == [0, 1, 2]
    critical = diagram.candidate.values[None, :] < 2.0
    np.testing.assert_array_equal(diagram.zero_stable.values, np.broadcast_to(critical, (30, 30)))
    # [CKS 25] at β = 0: ρ_0 < √2
    marginal = ((diagram.shaping > 1.0) & (diagram.shaping < np.sqrt(2.0))).isel(root=slice(1, None)).any("root")
    np.testing.assert_array_equal(diagram.marginal.values, marginal.values)
    assert float(diagram.residual.max()) < 1e-9


def test_roots_that_merge_are_both_found() -> None:
    """Just above the fold at a_h = 1.8, a_r* = 8.1569774997, the two roots lie between grid points of the scan."""
    assert int(at_point(GRU, 1.8, 8.156977499961673 - 1e-5).roots) == 0
    gaps = []
    for distance in (1e-5, 1e-3):
        low, high = at_point(GRU, 1.8, 8.156977499961673 + distance).second_moment_h.values[1:]
        assert low < 0.06299245300261345 < high
        gaps.append(high - low)
    assert gaps[1] / gaps[0] == pytest.approx(10.0, rel=0.01)  # ∝ √distance


def test_roots_near_a_critical_gain() -> None:
    """a_h = 2 + ε, a_r = 1: C_h = ε (1 − a_r²/8)^{-1} / 4 + …, down to 1e-7."""
    for epsilon in (1e-3, 1e-5, 1e-7):
        point = at_point(GRU, 2.0 + epsilon, 0.0)
        moment = point.second_moment_h.values[1]
        std = (2.0 + epsilon) * np.sqrt(moment) / 2.0
        assert gauss(lambda y: np.tanh(y) ** 2, std**2) == pytest.approx(moment, rel=1e-8)


@pytest.mark.parametrize(
    ("gain_x", "message"),
    [
        (("candidate", 1, 2), "must be .pre-activation, lowest gain, highest gain, number of points."),
        (("candidate", 2, 1, 5), "gain_x=.* must rise"),
        (("candidate", -1, 1, 5), r"gain_x\[1\]=-1.* must be at least 0"),
        (("reset", 1, 2, 5), "both 'reset'"),
        (("cell", 1, 2, 5), "'cell'.*update, reset, candidate"),
    ],
    ids=["short", "falling", "negative", "same", "unknown"],
)
def test_wrong_arguments(gain_x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.phase_diagram(gain_x=gain_x, gain_y=("reset", 0, 5, 5), ensemble=GRU)


def test_a_cell_whose_state_grows_is_refused() -> None:
    ensemble = gf.Ensemble(gf.GRU(activation=_relu))
    with pytest.raises(ValueError, match="not bounded"):
        gf.phase_diagram(gain_x=("candidate", 3, 5, 3), gain_y=("reset", 0, 5, 3), ensemble=ensemble)


def _relu(x: Any) -> Any:
    return x * (x > 0)
