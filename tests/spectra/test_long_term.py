"""Moments μ_n of the long-term Jacobian against closed forms, simulations and products of real Jacobians."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pytest
from scipy.special import hyp2f1
from tests.all_cells import CASES, EACH_CELL, Case, scattered

import gatefield as gf
from gatefield.reports.growth import trajectory_growth
from gatefield.spectra.long_term import binary_update_gate, binary_update_gate_limit, constant_update_gate

GATE, RESET = 1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(-0.5))

# values.json "long_term_jacobian_moments": μ_1 to μ_8, exact, then simulated with its standard error.
CONSTANT = {  # by (σ(b_z), ρ)
    (0.5, 1.3): (
        [0.6725000000000001, 0.6635062500000001, 0.730339203125, 0.8447103562890627, 1.0051361615575198,
         1.2183029487375199, 1.4959370045562421, 1.8545624554540618],
        [0.6716810508680757, 0.661592426640667, 0.7269033924553738, 0.8397348211723613, 0.9989040116373495,
         1.2116391171774357, 1.4902027127962272, 1.8514215065359068],
        [0.00036686735858632307, 0.0013425837740162136, 0.0036223904384415236, 0.007039499037735736,
         0.011937689794912268, 0.018997460411283723, 0.0291913457017925, 0.04384461623756332],
    ),
    (0.7310585786300049, 0.9): (
        [0.5930335307726188, 0.41431189733522233, 0.3199760775770851, 0.2617105804977283, 0.22140072004541336,
         0.19132775878317185, 0.16774598315397896, 0.1486139653530554],
        [0.5929846008983591, 0.4143492504138559, 0.32016344540566144, 0.26209563347713294, 0.2220067523455008,
         0.1921572943952882, 0.16878909646688997, 0.14985508539078546],
        [0.00010352002257131871, 0.00014681402868115323, 0.0001838740780721755, 0.00022657228776331526,
         0.0002783725071920798, 0.00033488839841297577, 0.0003902611286292573, 0.0004407002906264448],
    ),
}  # fmt: skip
BINARY = {  # by (α, ρ²)
    (0.5, 1.2544): (
        [1.1272, 1.20697984, 1.2570177556480002, 1.288401536342426, 1.3080854435939697, 1.320431190222138,
         1.328174442507325, 1.3330310103405942],
        [1.1251033858296096, 1.2023586403261237, 1.2523793181560974, 1.2859034541569212, 1.3092321827081141,
         1.3250015940442064, 1.3367436008725193, 1.3457174062445179],
        [0.004906091661481333, 0.007086890633307446, 0.0094335687927424, 0.011047138679565409, 0.012550953200214454,
         0.013919281044422978, 0.015219970235385296, 0.016631320408605134],
    ),
    (0.5, 2.89): (
        [1.945, 3.310525, 5.283708624999999, 8.134958963124998, 12.255015701715621, 18.20849768897907,
         26.81127916057475, 39.242298387030516],
        [1.9260256969560556, 3.259366546974845, 5.173425737282082, 7.933295693132822, 11.911432597936667,
         17.692538397460787, 26.03561499768008, 38.14899236037894],
        [0.00939296306612859, 0.02964066470940562, 0.0760151615277742, 0.1668456795918709, 0.32537310238926875,
         0.5937610216957753, 1.0315952545675018, 1.7383427522441883],
    ),
    (0.8, 1.0): (
        [1.0] * 8,
        [0.9952222064545856, 0.9935558757031578, 0.9938863299351186, 0.995405302030401, 0.9993892500234736,
         1.0034273761974495, 1.0076734051507774, 1.0122733885220057],
        [0.00272293225123721, 0.00803337447315311, 0.012270765552403822, 0.0159067977225605, 0.01843770354079221,
         0.02041242029829821, 0.021797857399125636, 0.02316723609594041],
    ),
}  # fmt: skip


# ---- closed forms ----


@pytest.mark.parametrize(("gate", "shaping"), CONSTANT)
def test_constant_update_gate_table(gate: float, shaping: float) -> None:
    """[CKS 120]"""
    exact, simulated, error = CONSTANT[gate, shaping]
    value = constant_update_gate(gate, shaping, range(1, 9))
    assert value == pytest.approx(exact, rel=1e-12)
    assert np.all(np.abs(value - simulated) < 4 * np.array(error))


@pytest.mark.parametrize(("alpha", "square"), BINARY)
def test_binary_update_gate_table(alpha: float, square: float) -> None:
    """The printed [CKS 116] gives 0.8136 at α = 0.5, ρ² = 1.2544, n = 1: out by 60 standard errors."""
    exact, simulated, error = BINARY[alpha, square]
    value = binary_update_gate(alpha, square**0.5, range(1, 9))
    assert value == pytest.approx(exact, rel=1e-12)
    assert np.all(np.abs(value - simulated) < 4 * np.array(error))


@pytest.mark.parametrize("n", [0, 1, 7, 60])
def test_constant_update_gate_representations(n: int) -> None:
    """[CKS 120] without σ(b_r), and [CKS 121] with the function that it is."""
    z, rho = 0.3, 1.4
    terms = [comb(n, k) ** 2 * z ** (2 * (n - k)) * ((1 - z) * rho) ** (2 * k) for k in range(n + 1)]
    value = constant_update_gate(z, rho, n)
    assert value == pytest.approx([sum(terms)], rel=1e-12)
    assert value == pytest.approx([z ** (2 * n) * hyp2f1(-n, -n, 1, ((1 - z) * rho / z) ** 2)], rel=1e-10)


def test_constant_update_gate_at_its_ends() -> None:
    assert constant_update_gate(0.0, 1.3, range(5)) == pytest.approx(1.3 ** (2 * np.arange(5)))  # independent matrices
    assert constant_update_gate(1.0, 1.3, range(5)) == pytest.approx(np.ones(5))


@pytest.mark.parametrize(("alpha", "square"), [(0.5, 1.2544), (0.8, 0.9), (0.0, 5.0), (1.0, 0.5), (1.0, 1.0)])
def test_binary_update_gate_settles(alpha: float, square: float) -> None:
    limit = binary_update_gate_limit(alpha, square**0.5)  # [CKS 118]
    assert binary_update_gate(alpha, square**0.5, 300)[0] == pytest.approx(limit, rel=1e-9, abs=1e-30)


def test_binary_update_gate_grows_without_bound() -> None:
    for alpha, square in ((0.5, 2.89), (0.8, 1.25), (1.0, 1.1)):
        assert binary_update_gate_limit(alpha, square**0.5) == np.inf
    assert binary_update_gate(0.8, 1.25**0.5, range(9)) == pytest.approx(1.0 + 0.2 * np.arange(9))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: constant_update_gate(1.2, 1.0, 3), "gate=1.2"),
        (lambda: constant_update_gate(0.5, -1.0, 3), "shaping=-1.0"),
        (lambda: binary_update_gate(-0.1, 1.0, 3), "open_share=-0.1"),
        (lambda: binary_update_gate(0.1, 1.0, -3), "n=-3"),
        (lambda: binary_update_gate_limit(np.nan, 1.0), "open_share"),
    ],
)
def test_bad_arguments_of_closed_forms_are_refused(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


# ---- the general theory ----


def constant_gate() -> gf.Ensemble:
    return gf.Ensemble(gf.GRU(), gain={"candidate": 0.9 / RESET}, bias_mean={"update": 1.0, "reset": 0.5})


@pytest.mark.parametrize(("largest", "accuracy"), [(8, 1e-10), (40, 1e-10), (300, 1e-8)])
def test_constant_update_gate_by_the_general_theory(largest: int, accuracy: float) -> None:
    """[CKS 120, 122]"""
    ensemble = constant_gate()
    result = gf.long_term_jacobian(ensemble, gf.Snapshot.at_zero(ensemble), range(largest + 1))
    assert result.value == pytest.approx(constant_update_gate(GATE, 0.9, range(largest + 1)), rel=accuracy)
    assert result.radius == pytest.approx(GATE + (1 - GATE) * 0.9, rel=1e-6)
    assert not result.error.any()


def test_binary_update_gate_by_the_general_theory() -> None:
    """Neurons whose update gates are pinned at ±40, half of them closed. [CKS 114–116]"""
    n, slope = 1000, 1.12
    x = np.zeros((n, 3))
    x[:, 0] = np.where(np.arange(n) % 2, 40.0, -40.0)
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 2 * slope})
    result = gf.long_term_jacobian(ensemble, gf.Snapshot(ensemble.cell, np.zeros((n, 1)), x), range(13))
    assert result.value == pytest.approx(binary_update_gate(0.5, slope, range(13)), rel=1e-9)


def test_no_gains() -> None:
    """Each neuron by itself: μ_n = E |F_s^n|²."""
    ensemble = gf.Ensemble(gf.GRU())
    x = np.random.default_rng(0).standard_normal((50, 3))
    result = gf.long_term_jacobian(ensemble, gf.Snapshot(ensemble.cell, np.zeros((50, 1)), x), range(11))
    gates = 1 / (1 + np.exp(-x[:, 0]))
    assert result.value == pytest.approx([np.mean(gates ** (2 * n)) for n in range(11)], rel=1e-9)


def test_growth_beyond_all_numbers() -> None:
    ensemble = gf.Ensemble(gf.Vanilla(), gain={"input": 30.0})
    result = gf.long_term_jacobian(ensemble, gf.Snapshot.at_zero(ensemble), [1, 10, 300])
    assert result.value == pytest.approx([9e2, 9e2**10, np.inf])


@pytest.mark.slow
def test_errors_are_the_spread_between_samples() -> None:
    ensemble = CASES[2].ensembles[0]
    results = [gf.long_term_jacobian(ensemble, scattered(ensemble, 300, seed, 1), [1, 5]) for seed in range(12)]
    spread = np.std([r.value for r in results], axis=0, ddof=1)
    assert np.all(np.abs(np.log(np.mean([r.error for r in results], axis=0) / spread)) < np.log(1.6))


def test_transient_amplification() -> None:
    """An LSTM whose zero state is stable: the first step writes c and h at once, (1 + σ(o)²)(σ(f)² + (a σ(i))²) > D."""
    ensemble = gf.Ensemble(gf.LSTM(), gain={"cell": 3.0}, bias_mean={"forget": -3.0})
    result = gf.long_term_jacobian(ensemble, gf.Snapshot.at_zero(ensemble), range(60))
    assert result.radius < 0.8
    assert result.amplified_at == 1
    assert result.amplification == pytest.approx(1.25 * (1 / (1 + np.exp(3.0)) ** 2 + 1.5**2), rel=1e-9)
    assert result.value[-1] ** (1 / 118) == pytest.approx(result.radius, rel=0.05)  # [CKS 101]


@pytest.mark.parametrize(
    ("n", "match"), [([-1], "n=-1"), ([301], "n=301"), ([], "at least one"), ([1.5], "n=1.5"), ("3", "n='3'")]
)
def test_bad_powers_are_refused(n: Any, match: str) -> None:
    ensemble = constant_gate()
    with pytest.raises(ValueError, match=match):
        gf.long_term_jacobian(ensemble, gf.Snapshot.at_zero(ensemble), n)


def test_another_cell_is_refused() -> None:
    other = gf.Ensemble(gf.GRU(reset_after=True), gain={"candidate": 1.0})
    with pytest.raises(ValueError, match=r"snapshot is of GRU\(reset_after=True\), the ensemble of GRU"):
        gf.long_term_jacobian(constant_gate(), gf.Snapshot.at_zero(other), 3)


# ---- along a run ----


@pytest.mark.parametrize("case", EACH_CELL)
def test_jacobian_is_applied_without_forming_it(case: Case) -> None:
    ensemble = case.ensembles[0]
    n, d = 12, len(ensemble.cell.state_names)
    network, snapshot = gf.Network(ensemble, size=n, seed=1), scattered(ensemble, n, groups=1)
    frame = np.random.default_rng(2).standard_normal((5, d, n))
    expected = frame.reshape(5, d * n) @ network.jacobian(snapshot).T
    found = network.apply_jacobian(snapshot, frame).reshape(5, d * n)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", [gf.GRU(), gf.LSTM()], ids=["gru", "lstm"])
def test_growth_is_that_of_products(cell: gf.Cell) -> None:
    """Against tr M†M / N of the product itself, at the same starts of a small network."""
    ensemble = gf.Ensemble(cell, gain=dict.fromkeys(cell.preactivation_names, 4.0))
    network = gf.Network(ensemble, size=40, seed=1)
    path = network.run(60, record=24)
    result = trajectory_growth(network, path, [4, 0, 1], starts=3, probes=3000, seed=1)
    exact = []
    for start in result.starts:
        product = np.eye(40 * len(cell.state_names))
        squares = [np.sum(product**2)]
        for step in range(4):
            product = network.jacobian(path.snapshot(int(start) + step)) @ product
            squares.append(np.sum(product**2))
        exact.append(np.array(squares)[[4, 0, 1]] / 40)
    assert list(result.starts) == [0, 10, 20]
    assert result.value == pytest.approx(np.mean(exact, axis=0), rel=4 * np.sqrt(2 / 9000))
    frozen = [gf.long_term_jacobian(ensemble, path.snapshot(int(t)), [4, 0, 1]).value for t in result.starts]
    assert result.frozen == pytest.approx(np.mean(frozen, axis=0))


def test_at_rest_growth_is_that_of_powers() -> None:
    network = gf.Network(constant_gate(), size=500, seed=0)
    result = trajectory_growth(network, network.run(400, record=30), range(9), starts=2, probes=40)
    assert result.frozen == pytest.approx(constant_update_gate(GATE, 0.9, range(9)), rel=1e-9)
    assert result.value == pytest.approx(result.frozen, rel=0.03)  # one network: 1/N effects
    assert result.amplification == result.value.max()
    assert result.amplified_at == 0


def test_a_map_without_memory() -> None:
    """Vanilla tanh, g = 3: both grow by g² E φ'² = exp(2 · 0.31025) a step, 0.31025 = ln(g √E sech⁴)."""
    network = gf.Network(gf.Ensemble(gf.Vanilla(), gain={"input": 3.0}), size=800, seed=0)
    result = trajectory_growth(network, network.run(200, record=150), [1, 3])
    expected = np.exp(2 * 0.31025 * np.array([1, 3]))
    assert np.all(np.abs(np.log(result.value / expected)) < 4 * result.error / result.value + 0.01)
    assert np.all(np.abs(np.log(result.frozen / expected)) < 4 * result.frozen_error / result.frozen + 0.01)


@pytest.mark.slow
def test_moving_gates_lessen_growth() -> None:
    """What a frozen gate amplifies at every step, a moving one amplifies now and then."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 10.0, "reset": 10.0, "candidate": 3.0})
    network = gf.Network(ensemble, size=300, seed=0)
    result = trajectory_growth(network, network.run(250, record=80), [0, 1, 20], starts=5)
    assert result.value[:2] == pytest.approx(result.frozen[:2], rel=0.1)  # one step is one step
    assert result.value[2] + 3 * result.error[2] < result.frozen[2] - result.frozen_error[2]


def test_paths_that_do_not_fit_are_refused() -> None:
    network = gf.Network(constant_gate(), size=10)
    path = network.run(20)
    with pytest.raises(ValueError, match="record at least 23 steps"):
        trajectory_growth(network, path, 15)
    with pytest.raises(ValueError, match="starts=1"):
        trajectory_growth(network, path, 5, starts=1)
    with pytest.raises(ValueError, match="10 neurons, the network of 11"):
        trajectory_growth(gf.Network(constant_gate(), size=11), path, 5)
    with pytest.raises(ValueError, match="path is of GRU, the ensemble of LSTM"):
        trajectory_growth(gf.Network(gf.Ensemble(gf.LSTM()), size=10), path, 5)


# ---- results ----


def test_datasets() -> None:
    ensemble = constant_gate()
    result = gf.long_term_jacobian(ensemble, gf.Snapshot.at_zero(ensemble), [2, 5])
    data = result.to_dataset()
    assert dict(data.sizes) == {"n": 2}
    np.testing.assert_array_equal(data["value"], result.value)
    assert data.attrs["radius"] == result.radius
    network = gf.Network(ensemble, size=20)
    growth = trajectory_growth(network, network.run(30), [0, 3], starts=2)
    data = growth.to_dataset()
    assert {"value", "error", "frozen", "frozen_error"} <= set(data.data_vars)
    np.testing.assert_array_equal(data["frozen"].sel(n=3), growth.frozen[1])
    np.testing.assert_array_equal(data.attrs["starts"], growth.starts)
