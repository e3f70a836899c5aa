"""Lyapunov spectra of finite networks: identities, closed forms, published numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.all_cells import EACH_CELL, Case

import gatefield as gf
from gatefield.networks import frames
from gatefield.numerics import elimination
from gatefield.numerics.elimination import eliminated

VANILLA_3 = gf.Ensemble(gf.Vanilla(), gain={"input": 3.0})
LSTM_3 = gf.Ensemble(gf.LSTM(), gain=dict.fromkeys(gf.LSTM().preactivation_names, 3.0))
GRU = gf.Ensemble(gf.GRU(), gain={"update": 10.0, "reset": 10.0, "candidate": 3.0})


def plain_qr(matrices: list[np.ndarray], transient: int, count: int) -> np.ndarray:
    """Exponents by QR at every step."""
    frame = np.random.default_rng(9).standard_normal((len(matrices[0]), count))
    total = np.zeros(count)
    for t, matrix in enumerate(matrices):
        frame, r = np.linalg.qr(matrix @ frame)
        total += np.log(np.abs(np.diagonal(r))) * (t >= transient)
    return total / (len(matrices) - transient)


@pytest.mark.parametrize("case", EACH_CELL)
def test_along_a_run(case: Case) -> None:
    """Against QR of the formed Jacobians at every step, and the sum rule: the mean exponent is E log|det J|/(D·N)."""
    network = gf.Network(case.ensembles[0], size=20, seed=4)
    path = network.run(260, seed=3)
    snapshots = [path.snapshot(t) for t in range(path.steps)]
    matrices = [network.jacobian(snapshot) for snapshot in snapshots]
    plain = plain_qr(matrices, 160, 3)
    every, leading = (
        gf.networks.lyapunov_along(path, network.weights, count=count, transient=160) for count in (None, 3)
    )
    for found in (every, leading):
        np.testing.assert_allclose(found.exponents.value[:3], np.sort(plain)[::-1], rtol=0, atol=5e-3)
    exact = np.mean([np.linalg.slogdet(m)[1] for m in matrices[160:]]) / len(matrices[0])
    assert every.mean.value == pytest.approx(exact, abs=2e-5)  # the last of 20 or 40 may be off by 1e-4
    again = gf.networks.lyapunov_along(snapshots, network.weights, transient=160)
    np.testing.assert_array_equal(again.exponents.value, every.exponents.value)


@pytest.mark.parametrize("case", EACH_CELL)
def test_network_runs_as_its_path_does(case: Case) -> None:
    """State and perturbations carried together, against perturbations along the recorded run; driven too."""
    ensemble = case.ensembles[0]
    driven = gf.Ensemble(ensemble.cell, ensemble.gain, current={ensemble.names[-1]: gf.WhiteCurrent(0.3)})
    for one in (ensemble, driven):
        network = gf.Network(one, size=40, seed=4)
        start = network.run(100, seed=3).last
        found = network.lyapunov_spectrum(300, count=2, transient=100, state=start, seed=7)
        path = network.run(400, state=start, seed=7)
        along = gf.networks.lyapunov_along(path, network.weights, count=2, transient=100)
        if one.driven:  # another drive: only alike
            assert found.largest.value == pytest.approx(along.largest.value, abs=0.12)
        else:
            assert found.largest.value == pytest.approx(along.largest.value, abs=0.01)


@pytest.mark.parametrize("gain", [LSTM_3, GRU])
def test_large_frames_are_as_small_ones(gain: gf.Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eliminated panel by panel, an LSTM's with pivots from its outputs first: the same growths, batch by batch.

    All of them, the slowest too, where blocks are short enough to leave e^(36 − 20) between it and rounding.
    """
    monkeypatch.setitem(frames._SPREAD, "float64", 20.0)
    monkeypatch.setitem(frames._AIM, "float64", 19.0)
    network = gf.Network(gain, size=60, seed=4)
    path = network.run(150, seed=3)
    plain = gf.networks.lyapunov_along(path, network.weights, transient=54)
    plain_run = network.lyapunov_spectrum(48, transient=12, state=path.last)
    monkeypatch.setattr(elimination, "_MANY", 30)
    monkeypatch.setattr(elimination, "_PANEL", 16)
    quiet: list[int] = []

    def spied(*arguments: Any) -> Any:
        found = eliminated(*arguments)
        quiet.append(found.quiet)
        return found

    monkeypatch.setattr(frames, "eliminated", spied)
    found = gf.networks.lyapunov_along(path, network.weights, transient=54)
    assert max(quiet) == plain.dimension - network.size  # 0 where every state variable is seen
    np.testing.assert_allclose(found.batches, plain.batches, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.batches[:, :-10], plain.batches[:, :-10], rtol=0, atol=1e-8)
    exact = np.mean([np.linalg.slogdet(network.jacobian(path.snapshot(t)))[1] for t in range(54, 150)])
    assert found.mean.value * plain.dimension == pytest.approx(exact, abs=1e-5)
    assert found.kaplan_yorke_dimension.value == pytest.approx(plain.kaplan_yorke_dimension.value, abs=1e-8)
    run = network.lyapunov_spectrum(48, transient=12, state=path.last)
    np.testing.assert_allclose(run.batches, plain_run.batches, rtol=0, atol=1e-5)


def test_zero_state_has_the_logs_of_eigenvalues() -> None:
    """At g < 1 activity dies, J = g U: exponents log|eigenvalue|, a share e^{2s}/g² of them below s."""
    g, size = 0.8, 200
    network = gf.Network(gf.Ensemble(gf.Vanilla(), gain={"input": g}), size=size, seed=0)
    found = network.lyapunov_spectrum(600, transient=400)
    exact = np.sort(np.log(np.abs(network.eigenvalues(network.run(400).snapshot()))))[::-1]
    assert np.mean(np.abs(found.exponents.value - exact)) < 5e-3
    s = np.log(g) - np.array([0.05, 0.2, 0.5, 1.0])
    distance = np.max(np.abs(found.fraction_below(s) - np.exp(2.0 * s) / g**2))
    assert distance < 1.0 / np.sqrt(size)
    assert found.largest.value < 0.0
    assert found.kaplan_yorke_dimension.value == 0.0
    assert found.entropy_rate.value == 0.0
    assert np.isnan(found.participation_ratio.value)


def test_leading_part_is_that_of_all() -> None:
    network = gf.Network(GRU, size=60, seed=1)
    state = network.run(200).last
    full = network.lyapunov_spectrum(300, transient=100, state=state)
    part = network.lyapunov_spectrum(300, transient=100, state=state, count=5)
    np.testing.assert_allclose(part.exponents.value, full.exponents.value[:5], rtol=0, atol=5e-3)
    assert full.full
    assert not part.full
    assert part.block > full.block  # fewer directions lie closer together
    assert np.isnan(part.kaplan_yorke_dimension.value)
    assert "count=5" in part.message


def test_single_precision_is_stable() -> None:
    """The same network in float32: other roundings, other trajectory, the same exponents within errors."""
    pair = [gf.Network(GRU, size=100, seed=1, dtype=t).lyapunov_spectrum(400) for t in ("float64", "float32")]
    for what in ("largest", "entropy_rate", "kaplan_yorke_dimension", "mean"):
        a, b = (getattr(s, what) for s in pair)
        assert abs(a.value - b.value) < 5.0 * np.hypot(a.error, b.error), what
    assert pair[1].exponents.value[-1] == pytest.approx(pair[0].exponents.value[-1], abs=0.3)


def test_same_seed_same_bits() -> None:
    spectra = [gf.Network(GRU, size=60, seed=1).lyapunov_spectrum(50, seed=2).exponents.value for _ in range(2)]
    np.testing.assert_array_equal(*spectra)


# values.json "finite_N4096": vanilla map g = 3, N = 4096, seed 0, data of D. G. Clark's repository rnn-lyapunov (2026).
CLARK = {"largest": 0.3096, "kaplan_yorke_dimension": 0.2872, "entropy_rate": 0.02511, "mean": -2.2739,
         "fraction_positive": 0.1526}  # fmt: skip
# What a network of N = 1024 differs by: two networks of that size in time and between each other (benchmarks/README.md
# has N = 4096), and 1/N.
WITHIN = {"largest": 0.010, "kaplan_yorke_dimension": 0.006, "entropy_rate": 0.0010, "mean": 0.015,
          "fraction_positive": 0.004}  # fmt: skip


@pytest.mark.slow
def test_vanilla_map_at_1024() -> None:
    """A third of the exponents tell all but their mean, for which the sum rule of `test_along_a_run` stands."""
    network = gf.Network(VANILLA_3, size=1024, seed=0)
    found = network.lyapunov_spectrum(160, transient=120, count=340)
    x = network.run(280).preactivations[120:]
    log_determinant = np.linalg.slogdet(network.weights["input"])[1] / 1024 - 2.0 * np.mean(np.log(np.cosh(x)))
    seen = {
        "largest": found.largest.value,
        "kaplan_yorke_dimension": found.kaplan_yorke_dimension.value / 1024,
        "entropy_rate": found.entropy_rate.value / 1024,
        "mean": log_determinant,
        "fraction_positive": np.count_nonzero(found.exponents.value > 0.0) / 1024,
    }
    for name, exact in CLARK.items():
        assert abs(seen[name] - exact) < WITHIN[name], (name, seen[name], exact)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 1}, "steps"),
        ({"count": 0}, "count"),
        ({"count": 31}, "count=31 is too many: there are 30"),
        ({"transient": -1}, "transient"),
        ({"state": np.zeros((3, 1))}, "state of shape"),
        ({"seed": -1}, "seed"),
    ],
)
def test_network_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gf.Network(GRU, size=30, seed=0).lyapunov_spectrum(**arguments)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"forget": np.eye(30)}, "has no 'forget'"),
        ({"update": np.eye(3)}, "must be \\(30, 30\\)"),
        ({"update": np.full((30, 30), np.nan)}, "not finite"),
    ],
)
def test_along_bad_weights(weights: dict[str, Any], message: str) -> None:
    path = gf.Network(GRU, size=30, seed=0).run(5)
    with pytest.raises(ValueError, match=message):
        gf.networks.lyapunov_along(path, weights)


def test_along_bad_paths() -> None:
    path = gf.Network(GRU, size=30, seed=0).run(5)
    with pytest.raises(ValueError, match="transient=4"):
        gf.networks.lyapunov_along(path, {}, transient=4)
    with pytest.raises(ValueError, match="at least two snapshots"):
        gf.networks.lyapunov_along([], {})


def test_partial_spectra_do_not_tell_shares() -> None:
    found = gf.Network(GRU, size=60, seed=0).lyapunov_spectrum(20, count=5, transient=5)
    with pytest.raises(ValueError, match="count=5 of 60"):
        found.fraction_below(0.0)


def test_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = gf.Network(GRU, size=30, seed=0)
    monkeypatch.setattr("psutil.virtual_memory", type("M", (), {"available": 1000}))
    with pytest.raises(ValueError, match="perturbations"):
        network.lyapunov_spectrum(10)
