"""`gatefield phase-diagram`: the figure, the table, the JSON, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gatefield as gf
from gatefield.cli import app as cli
from gatefield.reports import diagrams
from gatefield.reports.diagrams import default_axes, diagram

# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

SMALL = ["--gain-x", "candidate=1.5,2.5,20", "--gain-y", "reset=0,12,20"]


def run(*arguments: str) -> int:
    """The command in this process; its exit code."""
    old, sys.argv = sys.argv, ["gatefield", "phase-diagram", *arguments]
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main()
    finally:
        sys.argv = old
    return stop.value.code if isinstance(stop.value.code, int) else 0


@pytest.fixture(autouse=True)
def leave(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", stop)


@pytest.fixture(autouse=True)
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds and marginal boundaries of few points."""
    monkeypatch.setattr(diagrams, "_LINE_POINTS", 12)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gru", *SMALL, "--chaos", "0", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(found["regions"].values()) == pytest.approx(1.0)
    assert set(found["regions"]) == {
        "zero stable, non-zero roots: 0", "zero stable, non-zero roots: 2", "zero unstable, non-zero roots: 1",
    }  # fmt: skip
    assert found["tricritical_point"] == pytest.approx({"candidate": 2.0, "reset": 2.8284271}, abs=1e-6)
    assert all(point["residual"] < 1e-8 for point in found["fold"] + found["marginal"])
    assert {point["reset"] > 2.8284 for point in found["fold"]} == {True}
    assert found["chaos_onset"] == []


def test_table_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "phase.svg"
    assert run("gru", *SMALL, "--chaos", "0", "--output", str(path)) == 0
    text = capsys.readouterr().out
    assert "Tricritical point: candidate 2, reset 2.828427" in text
    assert "Folds:" in text
    assert str(path) in text
    assert path.stat().st_size > 10_000


@pytest.mark.slow
def test_onset_of_chaos_lies_above_the_fold() -> None:
    result = diagram(
        gf.Ensemble(gf.GRU()), gain_x=("candidate", 1.5, 2.2, 10), gain_y=("reset", 0.0, 12.0, 10), chaos=1
    )
    assert result.chaos is not None
    assert result.chaos.gain_x == pytest.approx([1.865], abs=1e-3)
    fold = gf.phases.bifurcation_curve(
        gain_x=("candidate", 1.865, 1.865, 1), gain_y="reset", ensemble=gf.Ensemble(gf.GRU())
    )
    assert fold.gain_y[0] < 7.0 < 9.5 < result.chaos.low[0] < result.chaos.high[0] < 10.5


def test_a_plane_without_curves() -> None:
    result = diagram(
        gf.Ensemble(gf.GRU(reset_after=True)), gain_x=("candidate", 1.5, 2.5, 6), gain_y=("reset", 0.0, 12.0, 6)
    )
    assert result.fold is None
    assert set(result.plane.roots.values.ravel()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gru", "--gain-x", "candidate=1,2"], "must read NAME=LOW,HIGH,POINTS"),
        (["gru", "--gain-x", "cell=1,2,5"], "it has update, reset, candidate"),
        (["gru", "--chaos", "-1"], "chaos=-1 must be at least 0"),
        (["vanilla"], "give --gain-x and --gain-y"),
        (["gru", "--output", "phase.txt"], "suffix"),
    ],
    ids=["axis", "name", "chaos", "cell", "suffix"],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_default_planes_name_pre_activations() -> None:
    for cell in (gf.GRU(), gf.GRU(reset_after=True), gf.MGU(), gf.LSTM(), gf.LSTM(coupled=True)):
        assert {axis[0] for axis in default_axes(cell)} <= set(cell.preactivation_names)


def test_a_reader_that_leaves() -> None:
    """`gatefield … --json | head -c 0`: no traceback."""
    command = [sys.executable, "-m", "gatefield", "cache", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1
