"""Exponents of infinite networks against those of finite ones: the largest, by two theories, and all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.all_cells import EACH_CELL, Case
from tests.references import vanilla_exponent

import gatefield as gf
from gatefield.meanfield.deterministic import deterministic_mean_field

RUN = {"steps": 200, "samples": 4000}
SIZE = 500
REALISATION = 0.006 * np.sqrt(1000 / SIZE)  # 0.006 was allowed at N = 1000, and goes as 1/√N


@pytest.mark.slow
@pytest.mark.parametrize("case", EACH_CELL)
def test_the_largest_of_every_cell(case: Case) -> None:
    """Tolerance: the errors, a finite network's own 12/N (docs/chaos.md has the slopes), and its realisation."""
    ensemble = case.ensembles[0]
    theory = gf.lyapunov_max(ensemble, **RUN)
    network = gf.Network(ensemble, size=SIZE, seed=1, dtype="float32")
    seen = network.lyapunov_spectrum(300, count=1, seed=1).largest
    allowed = 4.0 * np.hypot(theory.error, seen.error) + 12.0 / SIZE + REALISATION
    assert abs(theory.value - seen.value) < allowed, (theory.value, seen.value)
    assert theory.verdict == ("chaotic" if seen.value > 0.0 else "stable")


@pytest.mark.slow
def test_correlated_input_against_a_network() -> None:
    current = gf.CorrelatedCurrent(lambda lag: 0.4 * np.exp(-lag / 5.0))
    ensemble = gf.Ensemble(
        gf.GRU(), gain={"update": 2.0, "reset": 2.0, "candidate": 4.0}, current={"candidate": current}
    )
    theory = gf.lyapunov_max(ensemble, **RUN)
    seen = gf.Network(ensemble, size=SIZE, seed=0, dtype="float32").lyapunov_spectrum(300, count=1).largest
    assert abs(theory.value - seen.value) < 4.0 * np.hypot(theory.error, seen.error) + 12.0 / SIZE
    quiet = gf.lyapunov_max(gf.Ensemble(gf.GRU(), gain=ensemble.gain), **RUN)
    assert theory.value < quiet.value - 3.0 * np.hypot(theory.error, quiet.error)


@pytest.mark.slow
def test_networks_approach_the_limit() -> None:
    vanilla = gf.Ensemble(gf.Vanilla(), gain={"input": 3.0})
    found = gf.reports.lyapunov_sizes(vanilla, sizes=(100, 200, 400, 800), networks=6, steps=300)
    limit = found.limits["largest"]
    assert abs(limit.value - vanilla_exponent(3.0)) < 3.0 * limit.error
    assert limit.error < 0.004
    assert found.slopes["largest"].value < 0.0
    assert found.to_dataset()["largest"].sizes["size"] == 4
    assert np.isnan(found.limits["entropy_rate"].value)  # one exponent does not tell it


@pytest.mark.slow
@pytest.mark.parametrize(("reset", "more"), [(10.0, {}), (3.0, {"bias_mean": {"update": -1.0, "candidate": 0.3}})])
def test_the_mean_field_without_sampling(reset: float, more: dict[str, Any]) -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 3.0, "reset": reset}, **more)
    exact = deterministic_mean_field(ensemble, steps=150, tangent=True).lyapunov_max
    values = [
        gf.Network(ensemble, size=1000, seed=seed).lyapunov_spectrum(400, count=1, seed=seed).largest.value
        for seed in range(2)
    ]
    assert exact.error < 1e-5
    assert np.mean(values) == pytest.approx(
        exact.value, abs=0.01
    )  # of it 0.004 is the network's size: −4.4/N at reset gain 10
    if reset == 10.0:
        assert exact.value == pytest.approx(0.1883865, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble",
    [
        gf.Ensemble(gf.GRU(), gain={"update": 10.0, "reset": 10.0, "candidate": 3.0}),
        gf.Ensemble(gf.GRU(reset_after=True), gain={"update": 2.0, "reset": 3.0, "candidate": 7.0}),
        gf.Ensemble(gf.MGU(), gain={"forget": 2.0, "candidate": 8.0}),
    ],
    ids=["gru", "gru-reset-after", "mgu"],
)
def test_all_exponents(ensemble: gf.Ensemble) -> None:
    """Exponents of one network, within the errors and what a network differs by (ranks: 8/N)."""
    theory = gf.lyapunov_spectrum(ensemble, window=8, samples=120, points=6, steps=200)
    network = gf.Network(ensemble, size=400, seed=0)
    spectrum = network.lyapunov_spectrum(300, count=None)  # 100 steps scatter by more than the network differs
    s = np.sort(spectrum.exponents.value)
    below = theory.fraction_below(s)
    distance = np.abs(below.value - (np.arange(len(s)) + 0.5) / len(s))
    assert np.max(distance - 3.0 * below.error) < 8.0 / 400
