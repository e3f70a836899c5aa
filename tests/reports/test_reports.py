"""A report carries what did not converge."""

from __future__ import annotations

import pytest

import gatefield as gf
from gatefield.spectra import dyson


def test_unsolved_points_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 3.0, "reset": 2.0, "candidate": 3.0})
    monkeypatch.setattr(dyson, "_MAX_ITERATIONS", 1)
    report = gf.report(ensemble, steps=60, samples=400, size=100, networks=1, density=False)
    assert any("Dyson equation is not solved" in message for message in report.messages)
    assert report.as_json()["converged"] is False
    with pytest.warns(dyson.UnsolvedWarning, match="Dyson equation is not solved"):
        gf.spectral_mass(ensemble, report.field.snapshot, radius=0.5)


def test_a_report_that_still_settles_says_so() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"update": 10.0, "reset": 1.0, "candidate": 3.0})
    report = gf.report(ensemble, steps=60, samples=400, size=100, networks=2, density=False)
    assert not report.field.converged
    assert any(message.startswith("mean field: ") and "increase steps" in message for message in report.messages)
