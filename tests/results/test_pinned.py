"""Datasets and JSON keep their form: `pinned.json` says what each has held, and that is held still, additions aside.

What was pinned: of a dataset its variables and coordinates, each with dimensions and units, and its attributes by name;
of JSON its keys, those of a list being its first entry's. Values are other tests' matter. A result that is not in the
file yet fails with the text to put there.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import Command

import gatefield as gf
from gatefield.public import NAMESPACES, homes
from gatefield.results.result import Result
from gatefield.sweeps.records import as_record


def find(name: str) -> Any:
    """What a public name stands for, flat or of a subject."""
    subject = next(homes(name), None)
    return getattr(import_module(f"gatefield.{subject}") if subject else gf, name)


def call(name: str, /, *given: Any, **named: Any) -> Any:
    return find(name)(*given, **named)


PINNED = json.loads((Path(__file__).parent / "pinned.json").read_text(encoding="utf-8"))
RUN = {"steps": 16, "samples": 64}
POINTS, NUMBER, SERIES = np.array([2.0, 3.0]), gf.Estimate(1.0, 0.1), gf.Estimate(np.ones(2), np.ones(2))
INPUTS = np.random.default_rng(5).normal(size=(2, 20, 3))
Made = Mapping[str, Any]  # results by name


# ---- what is pinned of a result ----


def form(result: Any) -> dict[str, Any]:
    """Of a result: its dataset's and its JSON's form."""
    found = {}
    if hasattr(result, "data_vars") or hasattr(result, "to_dataset"):
        found["dataset"] = dataset_form(result if hasattr(result, "data_vars") else result.to_dataset())
    if hasattr(result, "as_json"):
        found["json"] = keys(json.loads(json.dumps(result.as_json())))
    return found


def dataset_form(data: Any) -> dict[str, Any]:
    def variables(group: Any) -> dict[str, Any]:
        return {
            str(name): {"dims": ", ".join(map(str, v.dims)), "units": str(v.attrs.get("units", ""))}
            for name, v in group.items()
        }

    attributes = {str(name): "" for name in data.attrs}
    return {"variables": variables(data.data_vars), "coordinates": variables(data.coords), "attributes": attributes}


def keys(value: Any) -> Any:
    """The keys of JSON, "[]" standing for a list's entries."""
    if isinstance(value, dict):
        return {name: keys(entry) for name, entry in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        inner = keys(value[0])
        return {"[]": inner} if inner else ""
    return ""


def changes(pinned: Any, found: Any, where: str) -> list[str]:
    """What is pinned and no longer so, a line for each."""
    if not isinstance(pinned, dict):
        return [] if pinned == found or pinned == "" else [f"{where}: {pinned!r} is now {found!r}"]
    if not isinstance(found, dict):
        return [f"{where}: has no entries any more"]
    lines = [f"{where}/{name}: missing" for name in pinned if name not in found]
    for name in pinned.keys() & found.keys():
        lines += changes(pinned[name], found[name], f"{where}/{name}")
    return lines


def check(made: Mapping[str, dict[str, Any]]) -> None:
    unknown = {name: found for name, found in made.items() if name not in PINNED}
    assert not unknown, f"not pinned yet; add to pinned.json: {json.dumps(unknown, ensure_ascii=False)}"
    lines = [line for name, found in made.items() for line in changes(PINNED[name], found, name)]
    assert not lines, "\n".join(sorted(lines))


# ---- results: run where that is quick, put together from made-up numbers where it is not ----


@cache
def gru() -> Any:
    return gf.Ensemble(gf.GRU(), gain={"update": 2.0, "candidate": 4.0})


def layer(cell: Any, names: tuple[str, ...]) -> Any:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(12, 12)) / np.sqrt(12) for name in names}
    return call("Layer", cell, weights, {name: rng.normal(size=(12, 3)) for name in names})


def reports() -> Made:
    options = RUN | {"samples": 400, "density": False}
    made = call("report", gru(), **options, size=12, networks=2)
    snapshot = made.field.snapshot
    network = call("spectrum_report", gru(), discs=[(0.0, 0.0, 0.3)], **options, size=12)
    return {
        "Report": made, "MeanField": made.field, "Simulation": made.simulation, "SpectralCurve": made.curve,
        "SpectrumReport": network, "SpectrumReport without network": replace(network, simulation=None),
        "SpectralField density": call("spectral_density", gru(), snapshot, [0.1, 0.2j]),
        "SpectralField resolvent": call("resolvent", gru(), snapshot, [0.1, 0.2j]),
        "LongTermJacobian": call("long_term_jacobian", gru(), snapshot, [1, 2]),
    }  # fmt: skip


def exponents() -> Made:
    distribution = call("lyapunov_spectrum", gru(), window=8, samples=64, points=6, steps=64)
    spectrum = call("Network", gru(), size=8, seed=0).lyapunov_spectrum(16, count=2)
    moments = {"h": SERIES}
    pair = call("Replicas", gru(), POINTS, moments, {"h": NUMBER}, NUMBER, {"h": NUMBER}, True, 1e-4, 64, 0)
    values = dict.fromkeys(("largest", "kaplan_yorke_dimension", "entropy_rate", "mean"), SERIES)
    limits = dict.fromkeys(values, NUMBER)
    return {
        "LyapunovDistribution": distribution, "LargestExponent": distribution.largest, "MeasuredExponents": spectrum,
        "Replicas": pair, "LyapunovReport": call(
            "LyapunovReport", distribution.largest, (spectrum,), pair, distribution
        ),
        "SizeScaling": call("SizeScaling", gru(), POINTS, 2, values, limits, limits),
        "TrajectoryGrowth": call("TrajectoryGrowth", *[POINTS] * 6, gru()),
        "CriticalGain": call("critical_gain", gru(), name="candidate", target="zero_fixed_point"),
    }  # fmt: skip


def static_states() -> Made:
    axes: dict[str, Any] = {"gain_x": ("candidate", 1.2, 3.0, 3), "gain_y": ("reset", 0.0, 20.0, 3)}
    plane = call("phase_diagram", **axes, ensemble=gru())
    fold = call("bifurcation_curve", gain_x="candidate", gain_y=axes["gain_y"], ensemble=gru())
    chaos = call("ChaosLine", "candidate", "reset", POINTS, POINTS, POINTS, gru())
    resting = gf.Ensemble(gf.GRU(), gain={"candidate": 1.9, "reset": 10.0})
    return {
        "phase_diagram": plane,
        "Boundary": fold,
        "Diagram": call("Diagram", gru(), plane, fold, replace(fold, kind="marginal"), (2.0, 2.0), chaos),
        "FixedPoint": call("fixed_points", resting)[-1],
        "Closure": call("closure", gf.Ensemble(gf.GRU(), gain={"candidate": 0.5}), lags=3),
    }


def edge() -> Made:
    gates = {"forget": 1.0}
    lstm = call("lstm", 3.0, 3.0)
    return {
        "Reduced": call("reduced", 3.0, 0.2),
        "OnsetLaw": call("onset_law", 2.2, gates),
        "CriticalLine": call("critical_line", [0.1, 0.5]),
        "BiasedCriticalGain": call("bias_critical_gain", 0.0),
        "variance_curves": call("variance_curves", [1.5, 3.0]),
        "potential_curves": call("potential_curves"),
        "autocorrelation_curves": call("autocorrelation_curves", (2.2,)),
        "GateStatistics": call(
            "GateStatistics",
            lstm,
            POINTS,
            2,
            0,
            POINTS,
            ("forget",),
            *[gf.Estimate(np.ones(shape), np.ones(shape)) for shape in ((2, 2, 1),) * 3],
            gf.Estimate(np.ones((2, 2)), np.ones((2, 2))),
            *[gf.Estimate(np.ones(shape), np.ones(shape)) for shape in ((2, 2, 1),) * 2],
            POINTS,
            gf.Estimate(np.ones((2, 2)), np.ones((2, 2))),
            np.ones((2, 2)),
        ),
        "NetworkHysteresis": call("NetworkHysteresis", lstm, 8, POINTS, POINTS[None], POINTS[None]),
        "TricriticalFit": call("TricriticalFit", gates, NUMBER, 4.0, NUMBER, POINTS, POINTS, SERIES, 1.0),
    }


def edge_runs() -> Made:
    return {
        "comparison_curves": call("comparison_curves", (3.0,), **RUN),
        "Comparison": call("compare", 3.0, size=8, networks=2, **RUN),
    }


def diagnoses() -> Made:
    lstm = layer(gf.LSTM(), ("forget", "input", "output", "cell"))
    made = call("diagnose_layer", lstm, inputs=INPUTS, exponents=2, spectra=1, samples=64)
    alone = replace(made, theory=None, theory_radius=None, exponents=None)
    return {
        "Diagnosis": made, "Diagnosis without theory": alone, "Diagnoses": find("Diagnoses")({"a": made}),
        "PreactivationStatistics": made.statistics["forget"], "Spectrum": made.spectra[0],
        "Verdict": made.verdict, "LayerExponent": made.exponent,
    }  # fmt: skip


def layers() -> Made:
    lstm = layer(gf.LSTM(), ("forget", "input", "output", "cell"))
    prediction = call("Prediction", 2.0, "zero state", 1.0)
    made = call("Initialisation", lstm, call("Target", "edge", 0.0), NUMBER, 2.0, prediction)
    bistable = call("Layer", gf.Vanilla(), {"input": np.full((4, 4), 0.5)}, {"input": np.ones((4, 1))})
    points = call("find_fixed_points", bistable, np.full((2, 4, 1), 0.8), steps=50)
    return {
        "Initialisation": made, "Initialisations": find("Initialisations")({"a": made}), "Prediction": prediction,
        "StatePoints": points, "StatePoint": points[0],
    }  # fmt: skip


def training() -> Made:
    histories = [np.ones((1, 2))] * 4
    return {
        "Training": call("Training", (gru(),), "adding", gf.training.Settings(), *histories, np.zeros(1), {}),
        "Forecast": call("Forecast", gru(), np.array([1, 6]), POINTS, -0.1, 8, 0),
    }


QUICK = (static_states, edge, layers, training)
SLOW = (reports, exponents, edge_runs, diagnoses)
EACH = [*QUICK, *(pytest.param(make, marks=pytest.mark.slow) for make in SLOW)]


@pytest.mark.parametrize("make", EACH)
def test_results_keep_their_form(make: Callable[[], Made]) -> None:
    made = make()
    check({name: form(result) for name, result in made.items()})
    for name, result in made.items():
        if isinstance(result, Result):
            check_forms(name, result)


def check_forms(name: str, result: Result) -> None:
    """All forms of a result agree: they follow from one description."""
    data, plain = result.to_dataset(), result.as_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert result.converged == bool(data.attrs["converged"]) == (not result.messages)
    assert data.attrs["gatefield_version"] == gf.__version__
    if not isinstance(result, Mapping):  # whose JSON is that of each within
        said = {"converged": result.converged, "messages": list(result.messages), "version": gf.__version__}
        assert said.items() <= plain.items()
    assert all("units" in variable.attrs for variable in data.data_vars.values())
    assert all(isinstance(value, (str, int, float, np.ndarray)) for value in data.attrs.values())
    stored = as_record(result).arrays
    for variable in data.data_vars:
        np.testing.assert_array_equal(stored[str(variable)].values, data[variable].values, err_msg=name)
    kind = type(result).__name__
    assert repr(result).startswith(f"<{kind}")
    assert "\n" not in repr(result)
    assert len(repr(result)) < 400
    table = result._repr_html_()
    assert f"<caption>{kind}</caption>" in table
    for quantity in result.described().quantities:
        assert quantity.replace("_", " ") in table


# What one hands to gatefield, and what is in a result, is none itself.
NO_RESULTS = {
    "Cell", "ActivatedCell", "GRU", "LSTM", "Leaky", "MGU", "Vanilla", "Current", "ConstantCurrent", "WhiteCurrent",
    "CorrelatedCurrent", "Ensemble", "Snapshot", "Derivatives", "Network", "Layer", "InputMoments", "Target", "Images",
    "Settings", "Task", "Scale", "Array", "Description", "Labelled", "Quantity", "Crossing", "Estimate",
    "SpectralRadius",
}  # fmt: skip


def test_what_is_public_is_a_result() -> None:
    public = {name: getattr(import_module(f"gatefield.{s}"), name) for s in NAMESPACES for name in homes_of(s)}
    classes = {name for name, found in public.items() if inspect.isclass(found) and not issubclass(found, Exception)}
    assert {name for name in classes if not issubclass(public[name], Result)} == NO_RESULTS


def homes_of(subject: str) -> list[str]:
    return dir(import_module(f"gatefield.{subject}"))


def test_a_sweep_keeps_its_form() -> None:
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 1.9})
    found = call("sweep", find("fixed_points"), {"gain_reset": [1.0, 10.0]}, ensemble=ensemble, workers=0)
    check({"sweep": form(found)})


# ---- what commands print ----

PLAN = 'quantity = "fixed_points"\ncell = "gru"\ngain.candidate = 1.9\ngrid.gain.reset = [1.0, 10.0]\n'
COMMANDS = {
    "fixed-points": ("fixed-points", "gru", "--gain", "candidate=1.9"),
    "edge": ("edge", "--gain", "3"),
    "sweep": ("sweep", "plan.toml", "--store", "r.zarr", "--workers", "0"),
    "status": ("status", "r.zarr"),
}


# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_commands_keep_the_form_of_their_json(gatefield: Command) -> None:
    Path("plan.toml").write_text(PLAN)
    printed = {name: gatefield(*arguments, "--json").json for name, arguments in COMMANDS.items()}
    check({f"gatefield {name}": keys(found) for name, found in printed.items()})


# ---- the test itself ----


def test_what_changed_is_named() -> None:
    before = {"a": {"dims": "x", "units": "1"}, "b": {"[]": {"c": ""}}}
    assert changes(before, {**before, "more": ""}, "r") == []
    after = {"a": {"dims": "x", "units": "step"}, "b": {"[]": {}}}
    assert sorted(changes(before, after, "r")) == ["r/a/units: '1' is now 'step'", "r/b/[]/c: missing"]
