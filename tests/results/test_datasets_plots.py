"""Results as labelled arrays and as figures."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle

import gatefield as gf
from gatefield import plots
from gatefield.reports.ensembles import SpectrumReport, spectrum_report

# An LSTM, for its two state variables; a white current, for the descriptions.
ENSEMBLE = gf.Ensemble(
    gf.LSTM(), gain={"forget": 1.0, "cell": 5.0}, bias_mean={"output": 1.0}, current={"input": gf.WhiteCurrent(0.1)}
)
GRU = gf.Ensemble(gf.GRU(), gain={"update": 2.0, "candidate": 4.0})


@pytest.fixture(scope="module")
def field() -> gf.meanfield.MeanField:
    return gf.mean_field(ENSEMBLE, steps=16, samples=64, batches=2)


@pytest.fixture(scope="module")
def simulation() -> gf.networks.Simulation:
    return gf.simulate(ENSEMBLE, size=20, networks=3, steps=16)


@pytest.fixture(scope="module")
def report() -> gf.reports.Report:
    return gf.report(GRU, steps=16, samples=400, size=30, networks=2)


@pytest.fixture(scope="module")
def spectrum() -> SpectrumReport:
    return spectrum_report(GRU, discs=[(0.0, 0.0, 0.3), (0.5, 0.2, 0.1)], steps=16, samples=400, size=30)


@pytest.fixture(scope="module")
def lyapunov() -> gf.reports.LyapunovReport:
    return gf.reports.lyapunov_report(GRU, steps=40, samples=400, size=30, networks=2, count=None, pair=True)


Make = Callable[[pytest.FixtureRequest], Any]
RESULTS: dict[str, Make] = {
    "mean field": lambda r: r.getfixturevalue("field"),
    "simulation": lambda r: r.getfixturevalue("simulation"),
    "report": lambda r: r.getfixturevalue("report"),
    "curve": lambda r: r.getfixturevalue("report").curve,
    "density": lambda r: r.getfixturevalue("report").density,
    "resolvent": lambda r: gf.spectra.resolvent(
        GRU, r.getfixturevalue("report").field.snapshot, [[0.1, 0.2j], [3.0, 0.5]]
    ),
    "exponents": lambda r: r.getfixturevalue("lyapunov").spectra[0],
    "largest exponent": lambda r: r.getfixturevalue("lyapunov").theory,
    "replicas": lambda r: r.getfixturevalue("lyapunov").pair,
    "sizes": lambda r: gf.reports.lyapunov_sizes(GRU, sizes=(10, 20), networks=2, steps=20, transient=4),
    "no curve": lambda r: gf.spectral_curve(gf.Ensemble(gf.GRU()), r.getfixturevalue("report").field.snapshot),
}
EACH_RESULT = pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS)


@EACH_RESULT
def test_says_what_produced_it(request: pytest.FixtureRequest, make: Make) -> None:
    data = make(request).to_dataset()
    told = json.loads(data.attrs["ensemble"])
    assert told["cell"] in ("LSTM", "GRU")
    assert set(told) == {"cell", "gain", "bias_mean", "bias_var", "current"}
    assert data.attrs["gatefield_version"] == gf.__version__
    for name, variable in data.data_vars.items():
        assert "units" in variable.attrs, name


@EACH_RESULT
def test_survives_a_file(request: pytest.FixtureRequest, make: Make) -> None:
    """NetCDF 3, which scipy writes: plain numbers and text only."""
    data = make(request).to_dataset()
    stored = data.to_netcdf(engine="scipy")
    found = xr.load_dataset(io.BytesIO(bytes(stored)), engine="scipy")
    assert set(found.variables) == set(data.variables)
    for name in data.variables:
        if data[name].dtype.kind in "fiu":
            np.testing.assert_array_equal(found[name], data[name])
        else:
            assert [_text(v) for v in found[name].values.ravel()] == [str(v) for v in data[name].values.ravel()]
    assert {k: _plain(v) for k, v in found.attrs.items()} == {k: _plain(v) for k, v in data.attrs.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def test_mean_field_dataset(field: gf.meanfield.MeanField) -> None:
    data = field.to_dataset()
    assert list(data["variable"].values) == ["c", "h", "forget", "input", "output", "cell"]
    assert list(data["state"].values) == ["c", "h"]
    assert data["variance"].sel(variable="h") == field.variance["h"].value
    assert data["variance_error"].sel(variable="cell") == field.variance["cell"].error
    np.testing.assert_array_equal(data["autocorrelation"].sel(variable="c"), field.autocorrelation["c"].value)
    np.testing.assert_array_equal(data["history"].sel(state="h"), field.history["h"].value)
    assert data.sizes["time"] == 16
    assert data["lag"].attrs["units"] == data["time"].attrs["units"] == "steps"
    assert data.attrs["regime"] == "driven"
    assert data.attrs["converged"] in (0, 1)
    assert (data.attrs["steps"], data.attrs["samples"], data.attrs["batches"], data.attrs["seed"]) == (16, 64, 2, 0)
    assert "WhiteCurrent" in data.attrs["ensemble"]


def test_simulation_dataset(simulation: gf.networks.Simulation) -> None:
    data = simulation.to_dataset()
    assert data["eigenvalue"].shape == (3, 40, 2)
    first = data["eigenvalue"].isel(network=0)
    np.testing.assert_array_equal(first.sel(part="real"), simulation.eigenvalues[0].real)
    np.testing.assert_array_equal(first.sel(part="imaginary"), simulation.eigenvalues[0].imag)
    assert data["mean"].sel(variable="h") == simulation.mean["h"].value


def test_curve_and_field_datasets(report: gf.reports.Report) -> None:
    curve = report.curve.to_dataset()
    assert curve.sizes["point"] == sum(len(c) for c in report.curve.contours)
    assert set(curve["contour"].values) == set(range(len(report.curve.contours)))
    np.testing.assert_array_equal(curve["real"] + 1j * curve["imaginary"], np.concatenate(report.curve.contours))
    assert report.density is not None
    density = report.density.to_dataset()
    np.testing.assert_array_equal(density["density"], report.density.value)
    np.testing.assert_array_equal(density["real"], report.density.points.real)
    resolvent = gf.spectra.resolvent(GRU, report.field.snapshot, [0.1, 0.2j]).to_dataset()
    assert resolvent.p.sizes == resolvent.q.sizes == {"axis_0": 2, "preactivation": 3}
    assert {"resolvent_real", "resolvent_imag", "residual"} <= set(resolvent)


def test_report_dataset(report: gf.reports.Report) -> None:
    data = report.to_dataset()
    assert list(data["route"].values) == ["theory", "simulation"]
    assert data["spectral_radius"].sel(route="theory") == report.spectral_radius.theory.value
    assert data["variance_h_error"].sel(route="simulation") == report.state_variances["h"].simulation.error
    assert data["autocorrelation_time"].attrs["units"] == "steps"


# ---- figures ----


def labels(axes: Any) -> list[str]:
    return [line.get_label() for line in axes.get_lines()]


def drawn(figure: Figure) -> Figure:
    """Drawing it finds what laying out does not."""
    figure.savefig(io.BytesIO(), format="svg")
    return figure


def test_mean_field_figure(field: gf.meanfield.MeanField) -> None:
    figure = drawn(plots.plot_mean_field(field))
    left, right = figure.axes
    assert {"E[c²]", "E[h²]"} <= set(labels(left))
    np.testing.assert_array_equal(left.get_lines()[0].get_ydata(), field.history["c"].value)
    np.testing.assert_array_equal(right.get_lines()[1].get_ydata(), field.autocorrelation["h"].value)
    assert len(right.collections) == 2  # error bands
    assert "driven" in figure.get_suptitle()
    assert "LSTM" in figure.get_suptitle()


def test_spectrum_figure(spectrum: SpectrumReport) -> None:
    figure = drawn(plots.plot_spectrum(spectrum))
    left, right = figure.axes[:2]
    dots = next(line for line in left.get_lines() if "eigenvalues" in line.get_label())
    assert spectrum.simulation is not None
    np.testing.assert_array_equal(dots.get_xdata(), spectrum.simulation.eigenvalues[0].real)
    assert "spectral curve (theory)" in labels(left)
    assert sum(isinstance(p, Circle) for p in left.patches) == 2
    assert [p.center for p in left.patches] == [(0.0, 0.0), (0.5, 0.2)]
    assert len(right.collections) == 1
    assert len(figure.axes) == 3  # a colour bar
    assert left.get_xlim() == right.get_xlim()


def test_spectrum_figure_without_a_network() -> None:
    result = spectrum_report(GRU, discs=[], steps=16, samples=400, density=False)
    figure = drawn(plots.plot_spectrum(result))
    assert len(figure.axes) == 2
    assert not any("eigenvalues" in label for label in labels(figure.axes[0]))


def test_report_figure(report: gf.reports.Report) -> None:
    figure = drawn(plots.plot_report(report))
    left, middle, right = figure.axes[:3]
    assert any("eigenvalues, N = 30" in label for label in labels(left))
    assert len(middle.collections) == 1
    np.testing.assert_array_equal(right.get_lines()[0].get_ydata(), report.field.autocorrelation["h"].value)
    assert "lag" in right.get_xlabel()


def test_report_figure_of_silence() -> None:
    """Nothing fluctuates, the density is an atom's: all is drawn that there is."""
    quiet = gf.report(gf.Ensemble(gf.GRU(), gain={"candidate": 0.05}), steps=16, samples=400, size=30, networks=2)
    assert quiet.field.regime == "quiescent"
    figure = drawn(plots.plot_report(quiet))
    assert "quiescent" in figure.get_suptitle()
    assert "Decay of h" in [axes.get_title() for axes in figure.axes]
    still = gf.report(gf.Ensemble(gf.GRU()), steps=16, samples=400, size=30, networks=2)
    assert still.curve.contours == ()
    drawn(plots.plot_report(still))


def test_density_is_drawn_on_a_logarithmic_scale() -> None:
    points = np.linspace(0, 1, 5)[None, :] + 1j * np.linspace(0, 1, 4)[:, None]
    value = np.zeros((4, 5))
    value[1:3, 1:4] = [[1.0, 2.0, 4.0], [1.0, 8.0, 100.0]]
    snapshot = gf.Snapshot.at_zero(GRU)
    field = gf.spectra.SpectralField("density", points, value, np.zeros((4, 5)), GRU, snapshot)
    axes = Figure().subplots()
    image = plots.plot_density(axes, field)
    assert isinstance(image.norm, LogNorm)
    assert image.get_array().mask.sum() == 14  # outside the support nothing is drawn
    empty = gf.spectra.SpectralField("density", points, 0.0 * value, np.zeros((4, 5)), GRU, snapshot)
    assert plots.plot_density(axes, empty) is None


def test_styles_may_be_changed(report: gf.reports.Report) -> None:
    axes = Figure().subplots()
    plots.plot_curve(axes, report.curve, color="blue", label="mine")
    plots.plot_eigenvalues(axes, report.simulation.eigenvalues[0], color="green")
    first, last = axes.get_lines()[0], axes.get_lines()[-1]
    assert (first.get_color(), first.get_label(), last.get_color()) == ("blue", "mine", "green")


def test_lyapunov_datasets(lyapunov: gf.reports.LyapunovReport) -> None:
    spectrum = lyapunov.spectra[0]
    data = spectrum.to_dataset()
    np.testing.assert_array_equal(data["exponent"], spectrum.exponents.value)
    assert data["kaplan_yorke_dimension"] == spectrum.kaplan_yorke_dimension.value
    assert data["largest_so_far"].values[-1] == pytest.approx(spectrum.largest.value)
    assert data["entropy_rate"].attrs["units"] == "nats/step"
    assert data.attrs["size"] == 30
    largest = lyapunov.theory.to_dataset()
    assert largest["time"].values[-1] == 40
    assert largest["growth"].sizes["time"] == 30  # the tangent pass takes the last three quarters
    assert lyapunov.pair is not None
    np.testing.assert_array_equal(
        lyapunov.pair.to_dataset()["distance"].sel(state="h"), lyapunov.pair.distance["h"].value
    )


def test_lyapunov_figure(lyapunov: gf.reports.LyapunovReport) -> None:
    """Points are the spectra, the line is the theory's exponent, and the pair grows from its first distance."""
    figure = plots.plot_lyapunov(lyapunov)
    exponents, convergence, pair = figure.axes
    drawn = [line for line in exponents.lines if line.get_marker() == "o" and len(line.get_xdata()) == 30]
    np.testing.assert_array_equal(drawn[0].get_ydata(), lyapunov.spectra[0].exponents.value)
    assert any(np.all(np.asarray(line.get_ydata()) == lyapunov.theory.value) for line in exponents.lines)
    assert [line for line in convergence.lines if len(line.get_xdata()) == len(lyapunov.spectra[0].times)]
    assert pair.get_yscale() == "log"
    assert lyapunov.pair is not None
    first = lyapunov.pair.distance["h"].value[0] / (2.0 * lyapunov.pair.variance["h"].value)
    assert np.asarray(pair.lines[0].get_ydata())[0] == pytest.approx(first)
