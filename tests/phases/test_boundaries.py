"""Folds, marginal boundaries, pinching and the onset of chaos against numbers of independent programs."""

from __future__ import annotations

import numpy as np
import pytest
from tests.all_cells import RUN

import gatefield as gf
from gatefield.meanfield.deterministic import deterministic_mean_field
from gatefield.phases.boundaries import spectral_intercept

GRU = gf.Ensemble(gf.GRU(), gain={"update": 1.0})

# a_h: a_r*, C_h*, ρ_0 of the fold, from an independent program (mpmath, fold polished by dF/dC = 1).
FOLDS = {
    1.45: (266.2141125433057, 0.00837120353978477, 2.0845076639518436),
    1.5: (74.43308086003152, 0.019639884651637834, 1.5788160154133217),
    1.6: (24.477104192271018, 0.03955414646034803, 1.3223648239559165),
    1.7: (13.029611988196754, 0.054598114373991716, 1.2234170882878663),
    1.8: (8.156977499961673, 0.06299245300261345, 1.1606587113268614),
    1.9: (5.381013879804345, 0.06054847582531979, 1.105117479217115),
    1.95: (4.298065950001303, 0.050602008362720746, 1.072263041764519),
    1.999: (2.978717439898211, 0.009451609771079946, 1.009884685712469),
}
# a_r: a_h, C_h where ρ_0 = √2, likewise; above a_r = 39.01 on the lower branch.
MARGINAL = {
    0: (6.546351174578844, 0.7279128881986111),
    1: (5.382497844718814, 0.6846068564365624),
    4: (3.222188623008872, 0.5284282818244057),
    12: (1.9650789414252035, 0.23950851222004862),
    25: (1.6164270405106038, 0.07107272210770657),
    30: (1.5811159031763256, 0.0500102801731368),
    50: (1.5303774965307027, 0.018215303273942964),
    100: (1.5094574202586362, 0.004561874334234447),
    500: (1.5028505617241927, 0.00018249707545348693),
}
# a_h, a_r, β, C_h: c, likewise.
EXPONENTS = {
    (2.1, 0, 0, 0.04829976533832178): 2.7625791435902176,
    (2.5, 1, 0, 0.23038590765363168): 1.2832094996803214,
    (3, 0, 0, 0.3526017967141127): 1.1636351419888054,
    (3, 1, 0.3, 0.37989085878748635): 1.3255656218436378,
    (3, 1, -0.3, 0.37989085878748635): 0.3520972882904367,
    (3, 1, -1.0, 0.37989085878748635): -0.7836157675216313,
    (3, 2, 0, 0.4279706682800117): 0.46509649591224783,
    (1.9, 6, 0, 0.026928523106931813): 1.121546880789864,
    (1.9, 6, 0, 0.1123564347959081): 0.6383127908216487,
    (3, 10, 0, 0.5318034359294481): -0.37595268889799577,
    (3, 10, 0.5, 0.5318034359294481): 0.30968460928045755,
}


@pytest.mark.parametrize("candidate", FOLDS)
def test_folds(candidate: float) -> None:
    """[CKS §4.4]"""
    curve = gf.phases.bifurcation_curve(gain_x=("candidate", candidate, candidate, 1), gain_y="reset", ensemble=GRU)
    found = (curve.gain_y, curve.second_moment, curve.shaping)
    assert [float(value.item()) for value in found] == pytest.approx(FOLDS[candidate], rel=1e-9)
    assert curve.residual.max() < 1e-10


def test_folds_of_the_gru_that_resets_after() -> None:
    """Independent program: 10.995 and 6.834, to the digits given."""
    ensemble = gf.Ensemble(gf.GRU(reset_after=True))
    curve = gf.phases.bifurcation_curve(gain_x=("candidate", 1.8, 1.9, 2), gain_y="reset", ensemble=ensemble)
    assert curve.gain_y == pytest.approx([10.995, 6.834], abs=5e-4)
    assert curve.residual.max() < 1e-6
    for x, y in zip(curve.gain_x, curve.gain_y, strict=True):
        counts = [
            len(gf.fixed_points(gf.Ensemble(ensemble.cell, gain={"candidate": x, "reset": y + d})))
            for d in (-1e-3, 1e-3)
        ]
        assert counts == [1, 3]


def test_the_fold_is_one_curve_from_either_axis() -> None:
    along_x = gf.phases.bifurcation_curve(gain_x=("candidate", 1.6, 1.9, 3), gain_y="reset", ensemble=GRU)
    for x, y in zip(along_x.gain_x, along_x.gain_y, strict=True):
        along_y = gf.phases.bifurcation_curve(gain_x="candidate", gain_y=("reset", y, y, 1), ensemble=GRU)
        assert along_y.gain_x == pytest.approx([x], rel=1e-10)


def test_no_fold_below_root_two_nor_above_two() -> None:
    for candidate in (1.41, 2.05):
        curve = gf.phases.bifurcation_curve(gain_x=("candidate", candidate, candidate, 1), gain_y="reset", ensemble=GRU)
        assert len(curve.gain_y) == 0


def test_a_reset_bias_adds_a_fold() -> None:
    """For ln 2 < b_r < 1 three non-zero roots coexist above 1 + e^{-b_r}: two folds bound them."""
    ensemble = gf.Ensemble(gf.GRU(), bias_mean={"reset": 0.9})
    curve = gf.phases.bifurcation_curve(gain_x="candidate", gain_y=("reset", 6.0, 6.0, 1), ensemble=ensemble)
    for x in curve.gain_x:
        counts = [
            int(gf.phase_diagram(gain_x=("candidate", a, a, 1), gain_y=("reset", 6, 6, 1), ensemble=ensemble).roots)
            for a in (x - 1e-5, x + 1e-5)
        ]
        assert abs(counts[1] - counts[0]) == 2


def test_tricritical_point() -> None:
    """[CKS §4.4]"""
    x, y = gf.phases.tricritical_point(gain_x="candidate", gain_y="reset", ensemble=GRU)
    assert (x, y) == pytest.approx((2.0, 2.0 * np.sqrt(2.0)), abs=1e-7)
    with pytest.raises(ValueError, match="zero is not a fixed point"):
        gf.phases.tricritical_point(
            gain_x="candidate", gain_y="reset", ensemble=gf.Ensemble(gf.GRU(), bias_mean={"candidate": 0.1})
        )


@pytest.mark.parametrize("reset", MARGINAL)
def test_marginal_boundary(reset: float) -> None:
    """[CKS 25]"""
    curve = gf.phases.marginal_boundary(gain_x="candidate", gain_y=("reset", reset, reset, 1), ensemble=GRU)
    assert (curve.gain_x.item(), curve.second_moment.item()) == pytest.approx(MARGINAL[reset], rel=1e-9)
    assert curve.shaping.item() == pytest.approx(np.sqrt(2.0), rel=1e-10)


def test_marginal_boundary_meets_the_fold() -> None:
    candidate = 1.5485662145876338  # independent program: at a_r = 39.0145, C_h = 0.0298255
    curve = gf.phases.bifurcation_curve(gain_x=("candidate", candidate, candidate, 1), gain_y="reset", ensemble=GRU)
    assert (curve.gain_y.item(), curve.second_moment.item()) == pytest.approx(
        (39.014476596945585, 0.029825501443559152), rel=1e-9
    )
    assert curve.shaping.item() == pytest.approx(np.sqrt(2.0), rel=1e-9)


def test_marginal_boundary_with_a_bias() -> None:
    """ρ_0² α = 1 with α = ½ erfc(β/√(2 C_h)) at every point found. [CKS 25]"""
    curve = gf.phases.marginal_boundary(gain_x="candidate", gain_y=("reset", 0.0, 6.0, 4), ensemble=GRU, beta=0.3)
    assert len(curve.gain_x) >= 4
    for x, y, c in zip(curve.gain_x, curve.gain_y, curve.second_moment, strict=True):
        points = gf.fixed_points(gf.Ensemble(gf.GRU(), gain={"candidate": x, "reset": y}))
        root = min(points, key=lambda p, c=c: abs(p.second_moment["h"] - c))
        assert gf.phases.pinching_exponent(root, beta=0.3).c == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("case", EXPONENTS)
def test_pinching_exponent(case: tuple[float, float, float, float]) -> None:
    """[CKS 24]"""
    candidate, reset, beta, moment = case
    points = gf.fixed_points(gf.Ensemble(gf.GRU(), gain={"candidate": candidate, "reset": reset}))
    root = min(points, key=lambda p: abs(p.second_moment["h"] - moment))
    assert gf.phases.pinching_exponent(root, beta=beta).c == pytest.approx(EXPONENTS[case], rel=1e-9)


def test_the_leading_edge_pinches_with_the_right_prefactor() -> None:
    """[CKS 23] with e^{-1} in front: log(λ − 1) + 1 + c √C_h a_z → 0 as a_z grows. [CKS Thm 7, 95, 97, fig. 2 right]"""
    distances = []
    for gain in (100.0, 400.0, 1600.0):
        ensemble = gf.Ensemble(gf.GRU(), gain={"update": gain, "reset": 2.0, "candidate": 3.0})
        point = gf.fixed_points(ensemble)[-1]
        exponent = gf.phases.pinching_exponent(point)
        distances.append(spectral_intercept(point) - np.log(exponent.radius_excess(gain)))
    assert np.abs(distances) == pytest.approx([8.1e-3, 2.0e-3, 5.1e-4], rel=0.05)


def test_a_bias_variance_moves_the_pinch() -> None:
    """Beside where the spectrum ends, as √(a_z² C_h + v_z) grows; without v_z the exponent was 1.65 times too small."""
    distances = []
    for gain, spread in ((10.0, 60.0), (40.0, 960.0), (160.0, 15360.0)):
        ensemble = gf.Ensemble(
            gf.GRU(), gain={"update": gain, "reset": 2.0, "candidate": 3.0}, bias_var={"update": spread}
        )
        point = gf.fixed_points(ensemble)[-1]
        exponent = gf.phases.pinching_exponent(point)
        distances.append(abs(spectral_intercept(point) - np.log(exponent.radius_excess(gain))))
    assert distances[0] < 0.2
    assert distances[1] < 0.3 * distances[0]
    assert distances[2] < 0.3 * distances[1]


def test_a_bias_without_a_gain_has_no_beta() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"reset": 2.0, "candidate": 3.0}, bias_mean={"update": 1.0})
    point = gf.fixed_points(ensemble)[-1]
    with pytest.raises(ValueError, match="give beta"):
        gf.phases.pinching_exponent(point)
    assert gf.phases.pinching_exponent(point, beta=0.1).beta == 0.1


def test_the_leading_edge_is_that_of_the_general_spectrum() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 2.0, "reset": 2.0, "candidate": 3.0})
    point = gf.fixed_points(ensemble)[-1]
    edge = gf.spectra.spectral_edge(ensemble, point.snapshot, angle=0.0)
    assert 1.0 + np.exp(spectral_intercept(point)) == pytest.approx(edge.value, abs=max(3 * edge.error, 2e-3))


def test_below_one_there_is_no_pinching() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 2.0, "reset": 1.0, "candidate": 1.5})
    (zero,) = gf.fixed_points(ensemble)
    assert spectral_intercept(zero) == -np.inf
    with pytest.raises(ValueError, match="non-zero fixed point with ρ_0 > 1"):
        gf.phases.pinching_exponent(zero)


# ---- constant update gate: the mean field without sampling ----


@pytest.mark.parametrize(
    ("candidate", "reset", "moment"), [(3, 0, 0.33228137), (3, 1, 0.33874321), (3, 10, 0.35201699)]
)
def test_deterministic_mean_field(candidate: float, reset: float, moment: float) -> None:
    """E[h²] of the chaotic state at a_z = 0, from an independent stationary solution."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": candidate, "reset": reset})
    field = deterministic_mean_field(ensemble, steps=700)  # at a_r = 0 the start is forgotten by a fifth in 100 steps
    assert field.second_moment[-1] == pytest.approx(moment, abs=5e-8)


def test_deterministic_mean_field_with_biases_is_the_sampled_one() -> None:
    ensemble = gf.Ensemble(
        gf.GRU(), gain={"candidate": 4.0, "reset": 3.0},
        bias_mean={"update": -0.5, "reset": 0.4, "candidate": 0.3}, bias_var={"reset": 0.5, "candidate": 0.2},
    )  # fmt: skip
    exact = deterministic_mean_field(ensemble, steps=200)
    sampled = gf.mean_field(ensemble, seed=3, **RUN)
    moment = sampled.autocorrelation["h"]
    assert abs(moment.value[0] - exact.second_moment[-1]) < 4 * moment.error[0]
    assert np.all(np.abs(moment.value[:20] - exact.autocorrelation[:20]) < 5 * moment.error[:20])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("candidate", "low", "high"),
    [(1.9, 8.2, 8.3), (1.8, 16.0, 16.4), (1.7, 48.0, 50.0)],
)
def test_chaos_begins_above_the_folds(candidate: float, low: float, high: float) -> None:
    """Brackets from an exact dynamical mean field and simulations at N = 3000; the folds are at 5.38, 8.16, 13.03.

    An onset outside of a bracket is refused.
    """
    still = gf.Ensemble(gf.GRU(), gain={"candidate": candidate})
    onset = gf.chaos.chaos_onset(still, gain="reset", low=low, high=high, tolerance=0.1, steps=700)
    assert onset.method == "deterministic"
    assert (onset.low, onset.high) == (low, high)


@pytest.mark.slow
def test_onset_by_the_sampled_mean_field() -> None:
    """Vanilla tanh: chaos from gain 1 on."""
    onset = gf.chaos.chaos_onset(
        gf.Ensemble(gf.Vanilla()), gain="input", low=0.7, high=1.6, tolerance=0.06, steps=200, samples=4000
    )
    assert onset.method == "sampled"
    assert onset.low - 0.06 < 1.0 < onset.high + 0.06


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="is chaotic; choose low below"):
        gf.chaos.chaos_onset(gf.Ensemble(gf.GRU(), gain={"candidate": 3.0}), gain="reset", low=1.0, high=2.0, steps=100)
    with pytest.raises(ValueError, match="give one of gain_x, gain_y"):
        gf.phases.bifurcation_curve(gain_x="candidate", gain_y="reset", ensemble=GRU)
    with pytest.raises(ValueError, match="not traced"):
        gf.phases.marginal_boundary(gain_x="cell", gain_y=("forget", 1, 2, 3), ensemble=gf.Ensemble(gf.LSTM()))
    with pytest.raises(ValueError, match="update gate of gain and bias variance 0"):
        deterministic_mean_field(GRU)
