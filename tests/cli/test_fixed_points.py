"""`gatefield fixed-points`: what it prints and draws, and how it refuses."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.commands import Command

import gatefield as gf
from gatefield.phases.roots import excess_curve
from gatefield.plots.phases import plot_fixed_points

# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

THREE = ("gru", "--gain", "candidate=1.8", "--gain", "reset=10")
C_H = (0.0, 0.0222017697, 0.1238635352)  # errata's program, Brent on [CKS 10]


@pytest.fixture
def fixed_points(gatefield: Command) -> Command:
    return partial(gatefield, "fixed-points")


def test_json(fixed_points: Command) -> None:
    result = fixed_points(*THREE, "--json").json
    assert set(result) == {"ensemble", "fixed_points"}
    assert result["ensemble"]["gain"] == {"update": 0.0, "reset": 10.0, "candidate": 1.8}
    points = result["fixed_points"]
    assert [p["second_moment"]["h"]["value"] for p in points] == pytest.approx(C_H, abs=1e-9)
    assert [p["stable"] for p in points] == [True, False, False]
    for p in points:
        assert set(p) >= {
            "mean", "variance", "second_moment", "spectral_radius", "shaping", "growth", "stable", "residual",
        }  # fmt: skip
        assert p["converged"]
        assert set(p["mean"]) == set(p["variance"]) == {"h", "update", "reset", "candidate"}
        numbers = [p["spectral_radius"], p["shaping"], p["growth"], *p["mean"].values(), *p["variance"].values()]
        assert all(set(n) == {"value", "error"} for n in numbers)
        assert 0.0 <= p["residual"] < 1e-9
    assert points[0]["spectral_radius"]["value"] == pytest.approx(0.95)
    assert points[0]["shaping"]["value"] == pytest.approx(0.9)


def test_text(fixed_points: Command) -> None:
    done = fixed_points(*THREE)
    assert done.code == 0, done.err
    assert "3 fixed points" in done.out
    rows = {m[1]: m[2].split() for m in re.finditer(r"^ ?(\S.*?)  +(\S.*)$", done.out, re.MULTILINE)}
    assert [float(v) for v in rows["second moment of h"]] == pytest.approx(C_H, abs=1e-8)
    assert rows["stable"] == ["yes", "no", "no"]
    assert {"variance of h", "spectral radius", "shaping", "growth", "residual"} <= set(rows)


def test_one_root_with_a_bias(fixed_points: Command) -> None:
    done = fixed_points("vanilla", "--gain", "input=0.5", "--bias-mean", "input=0.4")
    assert done.code == 0, done.err
    assert "1 fixed point" in done.out
    assert "fixed points" not in done.out


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures(fixed_points: Command, tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"roots.{suffix}"
    done = fixed_points("vanilla", "--gain", "input=2", "--output", str(path))
    assert done.code == 0, done.err
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]
    assert f"Figure: {path}" in done.out


def drawn(ensemble: gf.Ensemble, low: float = 1e-6) -> tuple[Figure, dict[str, np.ndarray]]:
    figure = plot_fixed_points(excess_curve(ensemble, low=low), gf.fixed_points(ensemble))
    (axes,) = figure.axes
    return figure, {str(line.get_label()): np.column_stack(line.get_data()) for line in axes.lines}


def test_the_figure_shows_the_roots_where_the_curve_is_zero() -> None:
    figure, lines = drawn(gf.Ensemble(gf.GRU(), gain={"candidate": 1.8, "reset": 10.0}))
    (axes,) = figure.axes
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["stable zero state", "unstable root"]
    curve = axes.lines[1].get_data()
    for line in axes.lines[3:]:  # the two roots
        q, height = line.get_data()
        assert height[0] == 0.0
        assert np.interp(np.log(q[0]), np.log(curve[0]), curve[1]) == pytest.approx(0.0, abs=2e-3)
    assert lines["stable zero state"][0, 1] == pytest.approx(2.0 * np.log(0.9), abs=1e-4)  # log q'/q → log ρ_0²
    assert axes.lines[2].get_fillstyle() == "full"
    assert axes.lines[3].get_fillstyle() == "none"


def test_a_figure_of_nothing_but_zero() -> None:
    figure, lines = drawn(gf.Ensemble(gf.Vanilla(), gain={"input": 0.5}))
    assert figure.axes[0].get_legend_handles_labels()[1] == ["stable zero state"]
    low, high = figure.axes[0].get_ylim()
    assert low < lines["stable zero state"][0, 1] < 0.0 < high


REFUSED = {
    "cell": (("gur",), ("gur", "vanilla", "mgu")),
    "gate": (("gru", "--gain", "forget=1"), ("gain", "forget", "update, reset, candidate")),
    "nan": (("gru", "--gain", "reset=nan"), ("gain['reset']", "nan", "finite")),
    "current in time": (("gru", "--current-var", "update=1"), ("current['update']", "varies in time", "leave it out")),
    "option of another command": (("gru", "--steps", "10"), ("--steps", "--gain", "--json")),
    "suffix": (("gru", "--output", "roots.bmp"), ("--output", "roots.bmp", ".png, .svg, .pdf")),
    "no folder": (("gru", "--output", "there/roots.png"), ("--output", "no folder 'there'", "make it")),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_refusals(fixed_points: Command, tmp_path: Path, arguments: tuple[str, ...], said: tuple[str, ...]) -> None:
    done = fixed_points(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("gatefield: ")
    assert done.err.count("\n") == 1
    for words in said:
        assert words in done.err
    assert not list(tmp_path.iterdir())
