"""The figures of the papers: their numbers agree with what is known, theory with simulation, and they can be drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from tests.commands import Command

import gatefield as gf
from gatefield.figures import edge as edge_figures
from gatefield.figures import figures
from gatefield.figures import gru as gru_figures
from gatefield.figures import lstm as lstm_figures
from gatefield.figures import training as training_figures
from gatefield.figures.figures import FIGURES, draw, figure_data, save_data
from gatefield.figures.gru import boundary_height, gru
from gatefield.figures.panels import PAPER, QUICK, FigureData, Scale

# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
ours = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
TINY = Scale(size=100, steps=60, samples=400, networks=2, points=3, grid=16)
EDGE = replace(TINY, size=400, steps=200)


def cks4() -> FigureData:
    grid = replace(training_figures.SMALL, updates=(10.0,), hidden=8)
    return training_figures.cks4(TINY, grid=grid, workers=0)


MADE: dict[str, Callable[[], FigureData]] = {
    "cks1": lambda: gru_figures.cks1(TINY),
    "cks2": lambda: gru_figures.cks2(TINY),
    "cks3": lambda: lstm_figures.cks3(TINY),
    "cks4": cks4,
    "eoc1": lambda: edge_figures.eoc1(EDGE),
    "eoc2": lambda: edge_figures.eoc2(EDGE),
}


@pytest.fixture(scope="module")
def data(request: pytest.FixtureRequest) -> FigureData:
    """The numbers of a figure; by its name, so that the tests of each come together, and one process makes them."""
    return MADE[request.param]()


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("data", names, indirect=True)


def test_the_papers_sizes() -> None:
    assert (PAPER.size, PAPER.steps) == (1000, 500)
    assert [gru_figures.SPECTRA[k] for k in "abcd"] == [(1, 10), (10, 10), (1, 1), (10, 1)]  # [CKS fig. 1]
    assert (gru_figures.CANDIDATE, gru_figures.RESET, lstm_figures.CELL) == (3, 2, 3)
    assert QUICK.size < PAPER.size


@pytest.mark.slow
@of("cks1", "cks3")
def test_spectra(data: FigureData) -> None:
    """[CKS fig. 1a, fig. 1b, fig. 1c, fig. 1d, fig. 3a, fig. 3b, fig. 3c, fig. 3d]"""
    states = {"cks1": 1, "cks3": 2}[data.name]
    for letter in "abcd":
        panel = data.panels[letter]
        assert panel.sizes["mode"] == states * TINY.size
        reach = np.hypot(panel.curve_real, panel.curve_imaginary).max()
        assert float(reach) == pytest.approx(panel.spectral_radius, rel=2e-2)
        assert float(panel.mass[-1]) == pytest.approx(states, abs=2e-3)  # all eigenvalues are within 1.05 of the radius
        assert panel.mass_counted[-1] >= 0.95 * states
        # A network of N neurons departs from theory by a few eigenvalues and by its own variance, of order 1/√N.
        assert np.abs(panel.mass - panel.mass_counted).max() < 0.2 * states
        area = (panel.x[1] - panel.x[0]) * (panel.y[1] - panel.y[0])
        assert panel.density.fillna(0.0).sum() * area < 1.3 * states
        assert (panel.density >= 0.0).all()
        assert panel.density_converged


@pytest.mark.slow
@of("cks1")
def test_growth_of_the_gru(data: FigureData) -> None:
    """[CKS fig. 1e]"""
    panel = data.panels["e"]
    assert (np.diff(panel.radius) > 0.0).all()
    assert float(panel.law[-1]) == pytest.approx(
        float(panel.radius[-1]), rel=0.02
    )  # the law of large a_r is reached at 100
    ensemble = gru(0.0, float(panel.fine[8]))
    field = gf.mean_field(ensemble, steps=TINY.steps, samples=TINY.samples)
    sampled = gf.spectral_radius(ensemble, field.snapshot)
    assert abs(panel.radius[8] - sampled.value) < 5.0 * sampled.error + 0.02  # another route
    assert (np.diff(panel.inset_rest) < 0.0).all()  # at rest the edge is pulled to 1, and in the moving state less
    assert (panel.inset[1:] > panel.inset_rest[1:]).all()
    assert panel.radius_counted.shape == (TINY.points, TINY.networks)


@pytest.mark.slow
@of("cks3")
def test_growth_of_the_lstm(data: FigureData) -> None:
    """[CKS fig. 3e]: input and output gate raise the radius from end to end; the law is √a."""
    panel = data.panels["e"]
    for gate in ("input", "output"):
        assert float(panel[gate][-1]) > float(panel[gate][0])
    law = panel.law.dropna("gain")
    np.testing.assert_allclose(law / np.sqrt(law.gain), float(law[-1] / np.sqrt(law.gain[-1])), rtol=1e-12)


@pytest.mark.slow
@of("cks1", "cks3")
def test_slow_modes(data: FigureData) -> None:
    """[CKS fig. 1f, fig. 3f]"""
    panel = data.panels["f"]
    assert panel.share[-1] > panel.share[0]
    assert np.abs(panel.share_fitted - np.interp(panel.fine, panel.gain, panel.share)).max() < 0.12
    assert float(panel.share_fitted[-1]) == pytest.approx(panel.c1 * _erfc(panel.c2 / float(panel.gain[-1])))
    assert (np.diff(panel.cdf, axis=1) > -1e-3).all()
    assert np.abs(panel.cdf - panel.cdf_counted).max() < 0.35
    assert panel.share_counted[-1] > panel.share_counted[0]


def _erfc(x: float) -> float:
    from scipy.special import erfc

    return float(erfc(x))


@pytest.mark.slow
@of("cks2")
def test_phases(data: FigureData) -> None:
    """[CKS fig. 2 left]"""
    panel = data.panels["a"]
    assert panel.tricritical_candidate == pytest.approx(2.0, abs=1e-6)
    assert panel.tricritical_reset == pytest.approx(np.sqrt(8.0), abs=1e-5)
    names = panel.region.attrs["flag_meanings"].split("; ")
    at = lambda a_h, a_r: names[int(panel.region.sel(candidate=a_h, reset=a_r, method="nearest"))]  # noqa: E731
    assert at(1.5, 2.0) == "zero stable, non-zero roots: 0"
    assert at(1.9, 20.0) == "zero stable, non-zero roots: 2"
    assert at(2.5, 5.0) == "zero unstable, non-zero roots: 1"
    fold = np.interp(panel.chaos_candidate, panel.fold_candidate[::-1], panel.fold_reset[::-1])
    assert (panel.chaos_low > fold).all()  # chaos begins above the fold, against the paper
    kinds = panel.regime.attrs["flag_meanings"].split("; ")
    assert kinds[int(panel.regime.sel(network_candidate=1.25, network_reset=1.0))] == "quiescent"
    assert kinds[int(panel.regime.sel(network_candidate=3.1, network_reset=20.0))] == "chaotic"


@pytest.mark.slow
@of("cks2")
def test_pinching(data: FigureData) -> None:
    """[CKS fig. 2 right]"""
    panel = data.panels["b"]
    assert (np.diff(panel.height_rest) < 0.0).all()
    assert float(panel.edge_rest[-1]) == pytest.approx(float(panel.edge_limit[-1]), rel=0.15)  # [CKS 23–24] at a_z = 20
    assert (panel.height[1:] > panel.height_rest[1:]).all()
    near = data.panels["c"]
    for i in range(3):
        x, y = near.curve_real[i].values, near.curve_imaginary[i].values
        assert np.nanmax(np.hypot(x, y)) == pytest.approx(np.nanmax(np.hypot(x, -y)))
        assert np.nanmax(x) > 1.0


def test_height_of_a_disc() -> None:
    """At the zero state the spectrum is a disc: [CKS 17]."""
    ensemble = gru(0.0, 1.0, 4.0)  # centre 1/2, radius 1
    height = boundary_height(ensemble, gf.Snapshot.at_zero(ensemble))
    assert height == pytest.approx(np.sqrt(1.0 - 0.25), rel=1e-6)
    assert boundary_height(gru(0.0, 1.0, 1.0), gf.Snapshot.at_zero(gru(0.0, 1.0, 1.0))) == 0.0


@pytest.mark.slow
@of("cks4")
def test_training(data: FigureData) -> None:
    """[CKS fig. 4]"""
    assert data.panels["c"].accuracy.shape == (1, 2)
    start = data.panels["a"]
    ensemble = gru(10.0, training_figures.RESET, 2.5)
    network = gf.Network(ensemble, size=1000, seed=0)
    near = np.abs(network.eigenvalues(network.run(200).snapshot()) - 1.0) < 0.05
    assert float(start.slow_share[0, 1]) == pytest.approx(near.mean(), rel=0.1)
    assert start.lyapunov_max[0, 0] < 0.0 < start.lyapunov_max[0, 1]
    radius = data.panels["e"].spectral_radius
    assert radius[0, 0] < 1.0 < radius[0, 1]
    assert np.isnan(data.panels["b"].epochs_to_level).all()  # in two epochs none learns
    assert (data.panels["g"].error > 0.0).all()


@pytest.mark.slow
@of("eoc1")
def test_edge_without_bias(data: FigureData) -> None:
    """[EOC fig. 1]"""
    panel = data.panels["b"]
    # values.json, flow: C_0 at g = 4 is 1.924805414; the map lies a little below; at g = 2.5 ε = 1/4
    assert float(np.interp(4.0, panel.gain, panel.dynamic)) == pytest.approx(1.924805414, rel=1e-8)
    assert (panel["map"][1:] < np.interp(panel.network_gain[1:], panel.gain, panel.dynamic)).all()
    # C_0 of networks scatters by about 1/√N times the number of neurons that move together
    strong = panel.network_gain.values >= 3.0
    assert np.abs(panel.counted.mean("network") / panel["map"] - 1.0)[strong].max() < 0.15
    own = data.panels["c"]
    early = own.lag.values <= 10
    assert np.abs(own.counted - own["map"])[early].max() < 0.06
    flow = np.interp(own.lag, own.time, own.flow)
    assert np.abs(own.counted - flow)[early].max() > 0.08  # the flow is slower, and networks of the map tell


@pytest.mark.slow
def test_runs_shorter_than_the_lags_shown() -> None:
    panel = edge_figures.eoc1(replace(TINY, steps=40)).panels["c"]
    assert 10 < panel.sizes["lag"] < 60
    assert float(panel.counted[0]) == float(panel["map"][0]) == 1.0


@pytest.mark.slow
@of("eoc2")
def test_edge_with_bias(data: FigureData) -> None:
    """[EOC fig. 2]"""
    line = data.panels["b"]
    assert (line.exponent.sel(ratio=0.6) < 0.0).all()
    assert (line.exponent.sel(ratio=2.5, network_bias=[0.1, 1.0]) > 0.0).all()
    panel = data.panels["c"]
    rest = panel.gain.values < panel.critical_gain
    np.testing.assert_allclose(panel.plateau[rest], panel.dynamic[rest], rtol=1e-9)
    np.testing.assert_allclose(panel.static[rest], panel.dynamic[rest], rtol=1e-9)
    assert (panel.plateau[~rest] < panel.dynamic[~rest]).all()
    theory = np.interp(panel.network_gain, panel.gain, panel.dynamic)
    assert np.abs(panel.counted.mean("network") / theory - 1.0).max() < 0.15
    assert float(panel.counted_plateau[0].mean() / panel.counted[0].mean()) == pytest.approx(1.0, abs=1e-3)
    fixed = data.panels["a"]
    x, weights = np.polynomial.hermite_e.hermegauss(120)
    for g, c in zip(fixed.shown_gain.values, fixed.fixed_point.values, strict=True):  # [EOC 10], by another quadrature
        moment = weights @ np.tanh(np.sqrt(c) * x) ** 2 / weights.sum()
        assert c == pytest.approx(g**2 / 4.0 * moment + 4.0 * edge_figures.BIAS_STD**2, rel=1e-6)


@pytest.mark.slow
@of(*FIGURES)
def test_drawn_and_saved(data: FigureData, tmp_path: Path) -> None:
    figure = draw(data)
    figure.savefig(tmp_path / "figure.png", dpi=40)
    assert plt.imread(tmp_path / "figure.png").std() > 0.05
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            assert axes.get_xlabel()
            assert axes.get_xlim()[0] < axes.get_xlim()[1]
    made = data.to_dataset()
    for suffix in (".nc", ".zarr"):
        save_data(data, tmp_path / f"numbers{suffix}")
        with xr.open_dataset(tmp_path / f"numbers{suffix}", engine={".nc": "scipy", ".zarr": "zarr"}[suffix]) as found:
            assert found.attrs["figure"] == data.name
            for key, values in made.data_vars.items():
                np.testing.assert_array_equal(found[key].values.astype(float), values.values.astype(float))
    save_data(data, tmp_path / "numbers.zarr")  # again, over the last one
    assert not list(tmp_path.glob(".*"))


@ours
def test_command(gatefield: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = xr.Dataset({"y": ("x", [1.0, 2.0])}, {"x": [0.0, 1.0]}, {"ensemble": json.dumps({})})
    asked: list[tuple[str, bool, int]] = []

    def made(name: str, *, quick: bool, seed: int) -> FigureData:
        asked.append((name, quick, seed))
        return FigureData(name, {"a": panel}, QUICK, seed)

    monkeypatch.setattr(figures, "figure_data", made)
    monkeypatch.setattr(figures, "draw", lambda _: plt.Figure())
    done = gatefield("figure", "cks1", "--quick", "--seed", "3")
    assert done.code == 0, done.err
    assert done.out == "cks1: cks1.png, numbers in cks1.nc\n"
    assert asked == [("cks1", True, 3)]
    assert (tmp_path / "cks1.png").exists()
    with xr.open_dataset(tmp_path / "cks1.nc", engine="scipy") as found:
        assert found.a_y.values.tolist() == [1.0, 2.0]
        assert found.attrs["seed"] == 3
    (tmp_path / "all").mkdir()
    done = gatefield("figure", "all", "--output", "all")
    assert done.code == 0, done.err
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == sorted(
        f"{n}{s}" for n in FIGURES for s in (".nc", ".png")
    )
    assert gatefield("figure", "cks2", "--output", "p.pdf", "--data", "d.zarr").code == 0
    assert (tmp_path / "p.pdf").exists()
    assert xr.open_zarr(tmp_path / "d.zarr").a_x.values.tolist() == [0.0, 1.0]


@ours
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cks9",), "figure 'cks9' is not known; use one of cks1, cks2, cks3, cks4, eoc1, eoc2, or all"),
        (("cks1", "--output", "x.txt"), "suffix"),
        (("cks1", "--data", "x.txt"), "the suffix must be one of .nc, .zarr"),
        (("cks1", "--data", "nowhere/x.nc"), "there is no folder 'nowhere'"),
        (("cks1", "--data", "full.zarr"), "is a folder with other things in it"),
        (("all", "--output", "x.png"), "must be a folder"),
    ],
)
def test_refusals(gatefield: Command, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "full.zarr").mkdir()
    done = partial(gatefield, "figure")(*arguments)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_unknown_figure() -> None:
    with pytest.raises(ValueError, match="'eoc9' is not known"):
        figure_data("eoc9")
