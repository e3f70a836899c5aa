"""Static solutions of the mean field against independent roots, closed forms and the sampled mean field."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tests.all_cells import SHORT_RUN

import gatefield as gf

# Candidate gain, reset gain, biases, C_h of every root and ρ_0 there, from an independent program (mpmath, Brent).
GRU_ROOTS: list[tuple[float, float, dict[str, Any], tuple[float, ...], tuple[float, ...]]] = [
    (1.3, 10, {}, (0.0,), (0.65,)),
    (1.7, 10, {}, (0.0,), (0.85,)),
    (1.7, 13, {}, (0.0,), (0.85,)),
    (1.7, 20, {}, (0.0, 0.011240741491221073, 0.12138204332821942), (0.85, 1.1630090083426936, 1.4362917238454997)),
    (1.5, 80, {}, (0.0, 0.011833663235822859, 0.028635334143554642), (0.75, 1.5037196946455962, 1.7053637166408022)),
    (1.5, 200, {}, (0.0, 0.0012621084446531074, 0.04932235659996812), (0.75, 1.4307506341437246, 2.6520992908232737)),
    (1.9, 6, {}, (0.0, 0.026928523106931813, 0.1123564347959081), (0.95, 1.0727462427578167, 1.1637627760941331)),
    (1.9, 10, {}, (0.0, 0.006281788277700144, 0.19123852343318756), (0.95, 1.0538957566765192, 1.321204651579265)),
    (2.0, 3, {}, (0.0, 0.022054614863039442), (1.0, 1.0218049451707096)),
    (2.0, 10, {}, (0.0, 0.24342921716439186), (1.0, 1.3669109325000621)),
    (2.1, 0, {}, (0.0, 0.04829976533832178), (1.05, 1.0014367569050238)),
    (2.1, 2, {}, (0.0, 0.08125737456259262), (1.05, 1.0365984701515205)),
    (2.5, 1, {}, (0.0, 0.23038590765363168), (1.25, 1.0539223846293968)),
    (3, 0, {}, (0.0, 0.3526017967141127), (1.5, 1.0673908492143773)),
    (3, 1, {}, (0.0, 0.37989085878748635), (1.5, 1.1185807926575915)),
    (3, 10, {}, (0.0, 0.5318034359294481), (1.5, 1.6819768456912856)),
    (5, 1, {}, (0.0, 0.6571497049598083), (2.5, 1.3698299353484953)),
    (10, 10, {}, (0.0, 0.8752634852022498), (5.0, 2.9999324729845482)),
    (1.8, 10, {"bias_mean": {"reset": -0.5}}, (0.0,), (0.6795732038366618,)),
    (1.3, 5, {"bias_mean": {"reset": 1.5}}, (0.0, 0.03438763676376018), (1.0628468190517368, 1.0185184615621588)),
    (1.3, 100, {"bias_mean": {"reset": 1.5}}, (0.0, 0.0003421216459002598), (1.0628468190517368, 1.0674739474752255)),
    (3, 10, {"bias_mean": {"reset": 1}}, (0.0, 0.5604045853973444), (2.193175735890015, 1.6753455218769957)),
    (1.5, 2, {"bias_mean": {"candidate": 0.3}}, (0.13851168037577893,), (0.7238179570689439,)),
    (3, 1, {"bias_mean": {"candidate": 0.5}}, (0.4538737038890869,), (1.0437092633965794,)),
    (3, 1, {"bias_var": {"candidate": 0.1}}, (0.41345176533147204,), (1.0851930694618361,)),
    (3, 1, {"bias_var": {"reset": 1.0}}, (0.0, 0.42068705095768544), (1.6249342518152583, 1.1286745573706605)),
    (
        1.7,
        15,
        {"bias_var": {"candidate": 0.0001}},
        (0.0003795712134425707, 0.023469007588777548, 0.09412770647037189),
        (0.8669175017042102, 1.1728278856290255, 1.3134567345970987),
    ),
    (1.7, 15, {"bias_var": {"reset": 4.0}}, (0.0, 0.10323279227596985), (1.0036821057050087, 1.3027358662096375)),
    (1.0, 1, {"bias_var": {"candidate": 0.5}}, (0.2980492438044057,), (0.39961093253699753,)),
    (3, 1, {"bias_var": {"candidate": 2.0}}, (0.6168683689684361,), (0.8692739387307533,)),
]


def gru(candidate: float, reset: float, **biases: dict[str, float]) -> gf.Ensemble:
    return gf.Ensemble(gf.GRU(), gain={"update": 1.0, "reset": reset, "candidate": candidate}, **biases)


@pytest.mark.parametrize(("candidate", "reset", "biases", "roots", "shaping"), GRU_ROOTS)
def test_gru_roots(
    candidate: float, reset: float, biases: dict[str, Any], roots: tuple[float, ...], shaping: tuple[float, ...]
) -> None:
    """[CKS 10]"""
    found = gf.fixed_points(gru(candidate, reset, **biases))
    assert [p.second_moment["h"] for p in found] == pytest.approx(roots, rel=1e-9, abs=1e-12)
    assert [p.shaping for p in found] == pytest.approx(shaping, rel=1e-9)
    assert all(p.residual < 1e-9 for p in found)


def test_the_update_gate_moves_no_root() -> None:
    gains = [{"update": u, "reset": 6.0, "candidate": 1.9} for u in (0.0, 7.0)]
    still, moving = ([p.second_moment["h"] for p in gf.fixed_points(gf.Ensemble(gf.GRU(), gain=g))] for g in gains)
    assert still == pytest.approx(moving, rel=1e-12)


def test_stability() -> None:
    """[CKS 16, Cor. 6]"""
    zero, low, high = gf.fixed_points(gru(1.8, 10.0))
    assert (zero.stable, low.stable, high.stable) == (True, False, False)
    assert zero.spectral_radius.value == pytest.approx(0.5 + 0.5 * 0.5 * 1.8)
    (root,) = gf.fixed_points(gru(3.0, 1.0, bias_mean={"candidate": 2.0}))
    assert root.shaping == pytest.approx(0.65238, abs=1e-5)  # a bias can stabilise a non-zero root
    assert root.stable


def test_folds_of_both_grus_are_between_these_gains() -> None:
    for reset_after, fold in ((False, 8.1569774997), (True, 10.995)):
        cell = gf.GRU(reset_after=reset_after)
        counts = [
            len(gf.fixed_points(gf.Ensemble(cell, gain={"candidate": 1.8, "reset": fold + d}))) for d in (-0.01, 0.01)
        ]
        assert counts == [1, 3]


def test_vanilla_and_leaky_share_the_static_variance() -> None:
    for gain, variance in ((2.0, 2.121474), (3.0, 6.305391)):  # C = g² E tanh²(√C z)
        _, vanilla = gf.fixed_points(gf.Ensemble(gf.Vanilla(), gain={"input": gain}))
        _, leaky = gf.fixed_points(gf.Ensemble(gf.Leaky(step=0.3), gain={"input": gain}))
        assert vanilla.variance["input"] == pytest.approx(variance, abs=5e-7)
        assert leaky.variance["x"] == pytest.approx(vanilla.variance["input"], rel=1e-10)
        assert not vanilla.stable


def test_a_scan_coded_here_counts_the_same_roots() -> None:
    """[CKS 10] by Gauss–Hermite on a dense grid of C."""
    z, w = np.polynomial.hermite_e.hermegauss(120)
    w = w / w.sum()
    c = np.exp(np.linspace(np.log(1e-8), 0.0, 4000))
    rng = np.random.default_rng(3)
    for candidate, reset in zip(rng.uniform(1.7, 2.3, 10), rng.uniform(0.0, 12.0, 10), strict=True):
        gate = 1.0 / (1.0 + np.exp(-reset * np.sqrt(c)[:, None] * z))
        variance = candidate**2 * c * (gate**2 @ w)
        excess = np.tanh(np.sqrt(variance)[:, None] * z) ** 2 @ w - c
        found = [p.second_moment["h"] for p in gf.fixed_points(gru(candidate, reset))]
        assert found == sorted(found)
        assert len(found) == 1 + np.count_nonzero(excess[:-1] * excess[1:] < 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("gain", [1.8, 2.2])
def test_lstm_activity_appears_where_zero_loses_stability(gain: float) -> None:
    found = gf.fixed_points(gf.Ensemble(gf.LSTM(), gain=dict.fromkeys(gf.LSTM().preactivation_names, gain)))
    assert len(found) == (1 if gain < 2 else 2)
    assert found[0].stable == (gain < 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble",
    [
        gf.Ensemble(gf.LSTM(), gain={"forget": 1, "input": 1, "output": 1, "cell": 1}, bias_var={"cell": 2.0}),
        gf.Ensemble(gf.GRU(), gain={"update": 1, "reset": 2, "candidate": 1}, bias_var={"candidate": 0.5}),
        gf.Ensemble(gf.GRU(reset_after=True), gain={"reset": 2, "candidate": 1}, bias_var={"current": 0.5}),
        gf.Ensemble(gf.MGU(), gain={"forget": 1, "candidate": 1}, bias_var={"candidate": 0.5}),
        gf.Ensemble(gf.LSTM(coupled=True), gain={"forget": 1, "cell": 1}, bias_mean={"cell": 0.5}),
    ],
    ids=["lstm", "gru", "gru-reset-after", "mgu", "lstm-coupled"],
)
def test_stable_roots_are_where_the_mean_field_settles(ensemble: gf.Ensemble) -> None:
    (root,) = gf.fixed_points(ensemble)
    assert root.stable
    field = gf.mean_field(ensemble, seed=1, **SHORT_RUN)
    assert field.regime == "fixed point"
    for name, moment in root.second_moment.items():
        sampled = field.variance[name].value + field.mean[name].value ** 2
        assert abs(sampled - moment) <= 4 * field.variance[name].error + 5e-3 * moment


def gains(forget: float, write: float, read: float, cell: float) -> dict[str, float]:
    return {"forget": forget, "input": write, "output": read, "cell": cell}


def test_an_lstm_root_by_other_nodes() -> None:
    """E h² = E σ(o)² E tanh²(σ(i) tanh(y) (1 + e^f)) by the trapezoidal rule in f, i and log y."""
    gain = 3.0
    _, root = gf.fixed_points(gf.Ensemble(gf.LSTM(), gain=gains(gain, gain, gain, gain)))
    std = gain * np.sqrt(root.q)
    z = np.linspace(-9.0, 9.0, 121)
    w = np.exp(-0.5 * z * z) / np.exp(-0.5 * z * z).sum()
    log_z, step = np.linspace(np.log(1e-7), np.log(9.0), 241, retstep=True)
    half = np.exp(log_z)
    half_w = half * np.exp(-0.5 * half**2) * np.sqrt(2.0 / np.pi) * step
    gate = 1.0 / (1.0 + np.exp(-std * z))
    write = gate[:, None] * (1.0 + np.exp(std * z))
    squares = [w @ np.tanh(write * np.tanh(std * y)) ** 2 @ w for y in half]
    assert (w @ gate**2) * (half_w @ squares) == pytest.approx(root.q, rel=1e-10)
    assert root.q == pytest.approx(root.second_moment["h"], rel=1e-10)
    assert root.residual < 1e-11


@pytest.mark.parametrize("merge", [1e-6, 1e-8])
def test_roots_that_are_about_to_merge(merge: float) -> None:
    """Two roots at a relative distance of √merge are still told apart; above the fold there is none."""
    fold = 8.15697749967  # of the reset gain at candidate gain 1.8, where dF/dC = 1
    _, low, high = gf.fixed_points(gru(1.8, fold * (1.0 + merge)))
    assert 0.1 * np.sqrt(merge) < np.log(high.q / low.q) < 20.0 * np.sqrt(merge)
    assert len(gf.fixed_points(gru(1.8, fold * (1.0 - merge)))) == 1


@pytest.mark.parametrize("reset", [1e3, 1e5])
def test_steep_reset_gates(reset: float) -> None:
    """a_r → ∞: r is a step, E r² = ½, so that the root is that of a vanilla network of gain a_h/√2."""
    *_, root = gf.fixed_points(gru(2.0, reset))
    _, step = gf.fixed_points(gf.Ensemble(gf.Vanilla(), gain={"input": np.sqrt(2.0)}))
    assert root.second_moment["h"] == pytest.approx(step.second_moment["h"], rel=10.0 / reset)


def test_tiny_activity_near_criticality() -> None:
    """C → 0: C_h = ε + O(ε²) of the vanilla network above gain 1, [EOC]'s static ε + 4ε²/3 in C_0 = a² C_h."""
    for epsilon in (1e-3, 1e-5, 1e-7):
        _, root = gf.fixed_points(gf.Ensemble(gf.Vanilla(), gain={"input": 1.0 + epsilon}))
        expected = epsilon + 4.0 / 3.0 * epsilon**2
        assert root.variance["input"] == pytest.approx(expected, rel=2.0 * epsilon**2 + 1e-6 * (1e-7 / epsilon))
    assert len(gf.fixed_points(gf.Ensemble(gf.Vanilla(), gain={"input": 1.0}))) == 1


def test_the_cell_state_of_an_lstm_is_log_normal_in_its_forget_gate() -> None:
    """E c² = E σ(i)² E tanh² y (1 + 2 e^{s²/2} + e^{2s²}), s the deviation of f; NaN where float64 cannot hold it."""
    _, root = gf.fixed_points(gf.Ensemble(gf.LSTM(), gain=gains(4, 0, 0, 3)))
    s2 = root.variance["forget"]
    z, w = np.polynomial.hermite_e.hermegauss(200)
    squash = np.tanh(np.sqrt(root.variance["cell"]) * z) ** 2 @ w / w.sum()
    expected = 0.25 * squash * (1.0 + 2.0 * np.exp(s2 / 2.0) + np.exp(2.0 * s2))
    assert root.second_moment["c"] == pytest.approx(expected, rel=1e-9)
    _, root = gf.fixed_points(gf.Ensemble(gf.LSTM(), gain=gains(12, 0, 0, 3)))
    assert root.second_moment["h"] == pytest.approx(root.q, rel=1e-10)
    assert np.isnan(root.second_moment["c"])
    assert not root.stable


def test_a_current_that_varies_is_refused() -> None:
    with pytest.raises(ValueError, match=r"current\['update'\] varies in time"):
        gf.fixed_points(gf.Ensemble(gf.GRU(), current={"update": gf.WhiteCurrent(1.0)}))


class TwoWorlds(gf.Cell):
    """Two states that feed each other: no single number fixes its static state."""

    state_names = ("a", "b")
    preactivation_names = ("x", "y")

    def sources(self, state: Any, x: Any) -> dict[str, Any]:
        return {"x": state["b"], "y": state["a"]}

    def update(self, state: Any, x: Any) -> dict[str, Any]:
        return {"a": jnp.tanh(x["x"] + x["y"]), "b": jnp.tanh(x["x"] - x["y"])}


def test_a_state_that_no_source_determines_is_refused() -> None:
    with pytest.raises(ValueError, match="no single source determines the static state of TwoWorlds"):
        gf.fixed_points(gf.Ensemble(TwoWorlds(), gain={"x": 2.0, "y": 2.0}))


def test_a_variable_that_does_not_vary_has_no_variance() -> None:
    """Rounding of E u² − (E u)² is not a negative variance."""
    for bias in (0.3, 1.7, -2.1, 11.0):
        (root,) = gf.fixed_points(gf.Ensemble(gf.GRU(), bias_mean={"candidate": bias, "update": 0.7, "reset": -1.3}))
        assert set(root.variance.values()) == {0.0}
