"""Results as labelled `xarray.Dataset`s, each with units, sources and what produced it in its attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from gatefield.results.version import __version__

if TYPE_CHECKING:
    from gatefield.cells.ensemble import Ensemble
    from gatefield.chaos.distribution import LyapunovDistribution
    from gatefield.chaos.largest import LargestExponent
    from gatefield.chaos.pairs import Replicas
    from gatefield.edge.sompolinsky import Reduced
    from gatefield.layers.diagnosis import Diagnosis
    from gatefield.layers.initialisation import Initialisation
    from gatefield.layers.slow_points import StatePoints
    from gatefield.networks.exponents import MeasuredExponents
    from gatefield.networks.simulation import Simulation
    from gatefield.numerics.estimates import Estimate
    from gatefield.phases.boundaries import Boundary
    from gatefield.reports.ensembles import Report
    from gatefield.reports.growth import TrajectoryGrowth
    from gatefield.reports.lyapunov import SizeScaling
    from gatefield.spectra.long_term import LongTermJacobian
    from gatefield.spectra.spectrum import SpectralCurve, SpectralField
    from gatefield.training.forecasting import Forecast
    from gatefield.training.trainer import Training


def provenance(ensemble: Ensemble, **more: Any) -> dict[str, Any]:
    """Attributes that say what produced a result."""
    return {"ensemble": json.dumps(ensemble.describe()), "gatefield_version": __version__, **more}


def _by_variable(values: Mapping[str, Estimate], dims: tuple[str, ...], units: str, source: str) -> dict[str, Any]:
    return _by(values, "variable", dims, units, source)


def _by(values: Mapping[str, Estimate], axis: str, dims: tuple[str, ...], units: str, source: str) -> dict[str, Any]:
    """Value and error arrays over an axis of names."""
    attrs = {"units": units, "source": source}
    value = np.stack([np.asarray(e.value) for e in values.values()])
    error = np.stack([np.asarray(e.error) for e in values.values()])
    return {"": ((axis, *dims), value, attrs), "_error": ((axis, *dims), error, {"units": units})}


def _averages(result: Simulation) -> dict[str, Any]:
    parts = {
        "mean": _by_variable(result.mean, (), "1", "E[u]"),
        "variance": _by_variable(result.variance, (), "1", "E[u²] − E[u]², CKS 39–44, 50–51"),
        "autocorrelation": _by_variable(result.autocorrelation, ("lag",), "1", "E[u(t) u(t + lag)], CKS 42, 51"),
    }
    return {name + suffix: entry for name, entries in parts.items() for suffix, entry in entries.items()}


def simulation_dataset(simulation: Simulation) -> xr.Dataset:
    """Averages by variable, autocorrelations by lag, eigenvalues by network (real and imaginary part)."""
    found = np.stack(simulation.eigenvalues)
    variables = _averages(simulation)
    variables["eigenvalue"] = (("network", "mode", "part"), np.stack([found.real, found.imag], axis=-1), {"units": "1"})
    return xr.Dataset(
        variables,
        coords={
            "variable": list(simulation.mean),
            "lag": ("lag", simulation.lags, {"units": "steps"}),
            "part": ["real", "imaginary"],
        },
        attrs=provenance(
            simulation.ensemble, size=simulation.size, steps=simulation.steps, seed=simulation.seed,
            regime=simulation.regime, message=simulation.message,
        ),
    )  # fmt: skip


def curve_dataset(curve: SpectralCurve) -> xr.Dataset:
    """Points of all contours in a row, with the number of the contour of each."""
    z = np.concatenate([np.zeros(0, np.complex128), *curve.contours])
    contour = np.repeat(np.arange(len(curve.contours)), [len(c) for c in curve.contours])
    return xr.Dataset(
        {
            "real": ("point", z.real, {"units": "1", "source": "CKS 15, 30"}),
            "imaginary": ("point", z.imag, {"units": "1", "source": "CKS 15, 30"}),
        },
        coords={"contour": ("point", contour)},
        attrs=provenance(curve.ensemble, neurons=curve.snapshot.neurons),
    )


def field_dataset(field: SpectralField) -> xr.Dataset:
    """The quantity at each point; a complex one as real and imaginary part."""
    dims = tuple(f"axis_{i}" for i in range(field.points.ndim))
    units = "eigenvalues per unit area and neuron" if field.quantity == "density" else "1"
    parts = {"": field.value} if np.isrealobj(field.value) else {"_real": field.value.real, "_imag": field.value.imag}
    variables = {field.quantity + suffix: (dims, values, {"units": units}) for suffix, values in parts.items()}
    variables["residual"] = (dims, field.residual, {"units": "1"})
    coords: dict[str, Any] = {"real": (dims, field.points.real), "imaginary": (dims, field.points.imag)}
    if field.solution is not None:
        coords["preactivation"] = list(field.ensemble.names)
        source = {"units": "1", "source": "CKS 54–58, scaled so that Σ p = Σ q"}
        variables |= {name: ((*dims, "preactivation"), getattr(field, name), source) for name in ("p", "q")}
    return xr.Dataset(
        variables,
        coords=coords,
        attrs=provenance(field.ensemble, neurons=field.snapshot.neurons, converged=int(field.converged)),
    )


def report_dataset(report: Report) -> xr.Dataset:
    """The report's numbers by route (theory, simulation)."""
    pairs = {f"variance_{name}": pair for name, pair in report.state_variances.items()} | {
        "autocorrelation_time": report.autocorrelation_time,
        "spectral_radius": report.spectral_radius,
        "fraction_of_slow_modes": report.fraction_of_slow_modes,
    }
    variables = {}
    for name, pair in pairs.items():
        units = {"units": "steps" if name == "autocorrelation_time" else "1"}
        variables[name] = ("route", [pair.theory.value, pair.simulation.value], units)
        variables[f"{name}_error"] = ("route", [pair.theory.error, pair.simulation.error], units)
    attrs = provenance(
        report.ensemble, regime=report.field.regime, slow_radius=report.slow_radius, seed=report.field.seed,
        messages="; ".join(report.messages),
    )  # fmt: skip
    return xr.Dataset(variables, coords={"route": ["theory", "simulation"]}, attrs=attrs)


def phase_dataset(
    ensemble: Ensemble,
    gain_x: tuple[str, np.ndarray],
    gain_y: tuple[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    beta: float,
) -> xr.Dataset:
    """Static states over a plane of two gains, with what each number of roots means."""
    (name_x, x), (name_y, y) = gain_x, gain_y
    plane, root = (name_y, name_x), (name_y, name_x, "root")
    sources = {"shaping": "ρ_0, CKS 16", "growth": "Perron eigenvalue of T(1)", "residual": "|q'/q − 1|"}
    variables: dict[str, Any] = {
        name: (root if value.ndim == 3 else plane, value, {"units": "1", "source": sources.get(name, "CKS 10")})
        for name, value in values.items()
    }
    region, names = _regions(values["roots"], values["zero_stable"], ensemble.zero_is_fixed)
    flags = {"flag_values": list(range(len(names))), "flag_meanings": "; ".join(names)}
    variables["region"] = (plane, region, flags)
    coords = {name_x: (name_x, x, {"units": "gain"}), name_y: (name_y, y, {"units": "gain"})}
    return xr.Dataset(variables, coords=coords, attrs=provenance(ensemble, gain_x=name_x, gain_y=name_y, beta=beta))


def _regions(roots: np.ndarray, zero_stable: np.ndarray, zero_is_fixed: bool) -> tuple[np.ndarray, list[str]]:
    """Region of each point as a number, and the names of those found: CKS §4.4."""
    state = np.where(zero_stable, "zero stable", "zero unstable") if zero_is_fixed else np.full(roots.shape, "biased")
    keys = np.char.add(np.char.add(state, ", non-zero roots: "), roots.astype(str))
    names, region = np.unique(keys, return_inverse=True)
    return region.reshape(roots.shape), names.tolist()


def long_term_dataset(result: LongTermJacobian | TrajectoryGrowth) -> xr.Dataset:
    """Growth by number of steps; along a run, that of the frozen Jacobians beside it."""
    source = {"units": "1", "source": "tr M†M / N, M a product of n Jacobians, CKS App. F"}
    names = [name for name in ("value", "error", "frozen", "frozen_error") if hasattr(result, name)]
    attrs = {name: getattr(result, name) for name in ("radius", "starts") if hasattr(result, name)}
    return xr.Dataset(
        {name: ("n", getattr(result, name), source) for name in names},
        coords={"n": ("n", result.n, {"units": "steps"})},
        attrs=provenance(result.ensemble, **attrs),
    )


def boundary_dataset(boundary: Boundary) -> xr.Dataset:
    """Points of a fold curve or boundary in the plane of two gains."""
    source = {"fold": "CKS §4.4, App. C", "marginal": "CKS 25"}[boundary.kind]
    columns = {
        boundary.name_x: boundary.gain_x,
        boundary.name_y: boundary.gain_y,
        "second_moment": boundary.second_moment,
        "shaping": boundary.shaping,
        "residual": boundary.residual,
    }
    return xr.Dataset(
        {name: ("point", values, {"units": "1", "source": source}) for name, values in columns.items()},
        attrs=provenance(boundary.ensemble, kind=boundary.kind),
    )


_PER_STEP = {"units": "1/step"}


def lyapunov_dataset(spectrum: MeasuredExponents) -> xr.Dataset:
    """Exponents by index, what follows from them, and their convergence by time."""
    sources = {
        "kaplan_yorke_dimension": {"units": "1", "source": "Kaplan and Yorke 1979"},
        "entropy_rate": {"units": "nats/step", "source": "sum of the positive exponents"},
        "participation_ratio": {"units": "1", "source": "(tr C)²/tr C²"},
        "mean": _PER_STEP,
        "fraction_positive": {"units": "1"},
    }
    variables: dict[str, Any] = {
        "exponent": ("index", spectrum.exponents.value, {**_PER_STEP, "source": "QR method, Benettin et al. 1980"}),
        "exponent_error": ("index", spectrum.exponents.error, _PER_STEP),
    }
    for name, attrs in sources.items():
        estimate = getattr(spectrum, name)
        variables |= {name: ((), estimate.value, attrs), f"{name}_error": ((), estimate.error, attrs)}
    for name, values in spectrum.convergence.items():
        units = {"units": sources.get(name, _PER_STEP)["units"]}
        variables[f"{name}_so_far"] = ("time", values, units)
    coords = {"index": np.arange(1, spectrum.count + 1), "time": ("time", spectrum.times, {"units": "steps"})}
    made = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in spectrum.produced_by.items()}
    attrs = made | {
        "dimension": spectrum.dimension, "neurons": spectrum.neurons, "steps": spectrum.steps,
        "transient": spectrum.transient, "message": spectrum.message, "gatefield_version": __version__,
    }  # fmt: skip
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def largest_exponent_dataset(result: LargestExponent) -> xr.Dataset:
    """λ_max, and the log growth of perturbations by step of the tangent pass."""
    source = {**_PER_STEP, "source": "tangent mean field"}
    variables = {
        "lyapunov_max": ((), result.value, {**_PER_STEP, "source": result.route}),
        "lyapunov_max_error": ((), result.error, _PER_STEP),
        "growth": ("time", result.growth.value, source),
        "growth_error": ("time", result.growth.error, _PER_STEP),
    }
    field = result.field
    times = field.steps - len(result.growth.value) + np.arange(1, len(result.growth.value) + 1)
    attrs = provenance(
        result.ensemble, verdict=result.verdict, regime=field.regime, steps=field.steps, samples=field.samples,
        seed=field.seed, message=result.message,
    )  # fmt: skip
    return xr.Dataset(variables, coords={"time": ("time", times, {"units": "steps"})}, attrs=attrs)


def lyapunov_distribution_dataset(result: LyapunovDistribution) -> xr.Dataset:
    """Fraction of exponents below s at N = ∞, and what follows from it."""
    source = {"units": "1", "source": "Dyson equation over a window of steps"}
    variables: dict[str, Any] = {
        "fraction_below": ("s", result.fraction.value, source),
        "fraction_below_error": ("s", result.fraction.error, {"units": "1"}),
        "window_effect": ("s", result.window_effect, {"units": "1"}),
    }
    units = {"kaplan_yorke_dimension": "1/neuron", "entropy_rate": "nats/step/neuron", "fraction_positive": "1"}
    for name in ("edge", "kaplan_yorke_dimension", "entropy_rate", "fraction_positive", "mean", "determinant"):
        estimate, unit = getattr(result, name), {"units": units.get(name, "1/step")}
        variables |= {name: ((), estimate.value, unit), f"{name}_error": ((), estimate.error, unit)}
    attrs = provenance(
        result.ensemble, regime=result.largest.field.regime, window=result.window, samples=result.samples,
        seed=result.seed, message=result.message,
    )  # fmt: skip
    return xr.Dataset(variables, coords={"s": ("s", result.s, _PER_STEP)}, attrs=attrs)


def replicas_dataset(pair: Replicas) -> xr.Dataset:
    """Squared distance of two replicas by state variable and time, its growth and saturation."""
    source = {"units": "1", "source": "E(u' − u)², two replicas under the same weights"}

    def stacked(values: Mapping[str, Estimate], what: str) -> np.ndarray:
        return np.stack([getattr(e, what) for e in values.values()])

    variables: dict[str, Any] = {
        "distance": (("state", "time"), stacked(pair.distance, "value"), source),
        "distance_error": (("state", "time"), stacked(pair.distance, "error"), {"units": "1"}),
        "saturation": ("state", stacked(pair.saturation, "value"), {"units": "1"}),
        "saturation_error": ("state", stacked(pair.saturation, "error"), {"units": "1"}),
        "variance": ("state", stacked(pair.variance, "value"), {"units": "1"}),
        "growth": ((), pair.growth.value, _PER_STEP),
        "growth_error": ((), pair.growth.error, _PER_STEP),
    }
    coords = {"state": list(pair.distance), "time": ("time", pair.times, {"units": "steps"})}
    attrs = provenance(
        pair.ensemble, initial_distance=pair.initial_distance, samples=pair.samples, seed=pair.seed,
        saturated=int(pair.saturated),
    )  # fmt: skip
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def size_scaling_dataset(scaling: SizeScaling) -> xr.Dataset:
    """Exponents by size, and their limits."""
    variables: dict[str, Any] = {}
    for name, estimate in scaling.values.items():
        units = {"units": "1/step" if name in ("largest", "mean") else "1/neuron"}
        variables |= {name: ("size", estimate.value, units), f"{name}_error": ("size", estimate.error, units)}
        limit = scaling.limits[name]
        variables |= {f"{name}_limit": ((), limit.value, units), f"{name}_limit_error": ((), limit.error, units)}
    attrs = provenance(scaling.ensemble, networks=scaling.networks)
    return xr.Dataset(variables, coords={"size": ("size", scaling.sizes, {"units": "neurons"})}, attrs=attrs)


def reduced_dataset(result: Reduced) -> xr.Dataset:
    """The reduced model of an LSTM: autocorrelations of flow and map by lag, everything else as scalars."""
    scalars = {
        "static_variance": ("1", "EOC 10"),
        "dynamic_variance": ("1", "zero energy in EOC 6, 9"),
        "plateau": ("1", "C_inf"),
        "half_time": ("steps", "EOC 6"),
        "decay_time": ("steps", "1/kappa"),
        "lyapunov_max": ("1/step", "-1/2 + sqrt(1/4 - E_0)"),
        "static_lyapunov_max": ("1/step", "EOC 7"),
        "notes_relaxation": ("1/step^2", "1/tau_inf^2, EOC 3.2"),
    }
    variables: dict[str, Any] = {
        name: ((), getattr(result, name), {"units": units, "source": source})
        for name, (units, source) in scalars.items()
    }
    variables["autocorrelation"] = (("lag",), result.autocorrelation, {"units": "1", "source": "EOC 6, 9"})
    variables["map_autocorrelation"] = (("map_lag",), result.map.autocorrelation, {"units": "1"})
    variables["map_lyapunov_max"] = ((), result.map.lyapunov_max, {"units": "1/step"})
    lags = {
        "lag": ("lag", result.lags, {"units": "steps"}),
        "map_lag": ("map_lag", result.map.lags, {"units": "steps"}),
    }
    attrs = {"gain": result.gain, "bias_std": result.bias_std, "gatefield_version": __version__}
    return xr.Dataset(variables, lags, attrs)


def training_dataset(result: Training) -> xr.Dataset:
    """Losses and accuracies by network and epoch."""
    histories = {
        name: (("network", "epoch"), getattr(result, name), {"units": "1", "source": "training"})
        for name in ("loss", "accuracy", "test_loss", "test_accuracy")
    }
    attrs = {
        "task": result.task, "ensembles": json.dumps([e.describe() for e in result.ensembles]),
        "settings": json.dumps(asdict(result.settings)), "seconds": result.seconds, "gatefield_version": __version__,
    }  # fmt: skip
    coords = {"epoch": np.arange(1, result.loss.shape[1] + 1), "network": np.arange(len(result.ensembles))}
    return xr.Dataset(histories | {"lost": ("network", result.lost, {"units": "steps"})}, coords, attrs)


def forecast_dataset(result: Forecast) -> xr.Dataset:
    """Errors of forecasts by horizon."""
    error = ("horizon", result.error, {"units": "deviations of the series", "source": "ridge regression"})
    exponent = ((), result.lyapunov_max, _PER_STEP)
    coords = {"horizon": ("horizon", result.horizons, {"units": "steps"})}
    attrs = provenance(result.ensemble, size=result.size, seed=result.seed)
    return xr.Dataset({"error": error, "lyapunov_max": exponent}, coords, attrs)


def diagnosis_dataset(diagnosis: Diagnosis) -> xr.Dataset:
    """Eigenvalues and what they come to by step, leading exponents by index, statistics by pre-activation."""
    spectra, statistics = diagnosis.spectra, diagnosis.statistics
    z = np.stack([s.eigenvalues for s in spectra])
    variables: dict[str, Any] = {
        "eigenvalue": (("step", "mode", "part"), np.stack([z.real, z.imag], axis=-1), {"units": "1"}),
        "lyapunov_max": ((), diagnosis.exponent.value, _PER_STEP),
        "lyapunov_max_error": ((), diagnosis.exponent.error, _PER_STEP),
    }
    for name in ("radius", "slow"):
        variables[name] = ("step", [getattr(s, name) for s in spectra], {"units": "1"})
        predicted = [getattr(s, f"predicted_{name}") for s in spectra]
        variables[f"predicted_{name}"] = (
            "step",
            [e.value for e in predicted],
            {"units": "1", "source": "CKS 15, 30, 82"},
        )
    if diagnosis.exponents is not None:
        found = diagnosis.exponents.exponents
        variables["exponent"] = ("index", found.value, _PER_STEP)
        variables["exponent_error"] = ("index", found.error, _PER_STEP)
    if diagnosis.theory is not None:
        variables["theory_lyapunov_max"] = ((), diagnosis.theory.value, _PER_STEP)
        variables["theory_lyapunov_max_error"] = ((), diagnosis.theory.error, _PER_STEP)
    for name in next(iter(statistics.values())).as_json():
        column = [getattr(s, name) for s in statistics.values()]
        variables[name if name not in variables else f"preactivation_{name}"] = (
            "variable", np.array([np.nan if v is None else v for v in column], float), {"units": "1"}
        )  # fmt: skip
    coords = {"step": [s.step for s in spectra], "part": ["real", "imaginary"], "variable": list(statistics)}
    attrs = provenance(diagnosis.ensemble, layer=diagnosis.layer.title(), verdict=diagnosis.verdict.text)
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def initialisation_dataset(made: Initialisation) -> xr.Dataset:
    """Gains, standard deviations and biases by pre-activation; what was achieved."""
    names = list(made.layer.names)
    variables: dict[str, Any] = {
        name: ("variable", [getattr(made, name).get(n, np.nan) for n in names], {"units": "1"})
        for name in ("gain", "weight_std", "input_std", "bias")
    }
    variables["achieved"] = ((), made.achieved.value, {"quantity": made.target.quantity})
    variables["achieved_error"] = ((), made.achieved.error)
    attrs = provenance(made.layer.ensemble(), target=str(made.target), factor=made.factor, message=made.message)
    return xr.Dataset(variables, coords={"variable": names}, attrs=attrs)


def state_points_dataset(found: StatePoints) -> xr.Dataset:
    """States, speeds and eigenvalues by point; raw points by start."""
    layer, points = found.layer, found.points
    shape = (0, layer.size, len(layer.cell.state_names))
    z = np.stack([p.eigenvalues for p in points]) if points else np.zeros((0, shape[1] * shape[2]))
    variables: dict[str, Any] = {
        "state": (("point", "neuron", "variable"), np.stack([p.state for p in points]) if points else np.zeros(shape)),
        "speed": ("point", [p.speed for p in points]),
        "fixed": ("point", [p.fixed for p in points]),
        "stable": ("point", [p.stable for p in points]),
        "eigenvalue": (("point", "mode", "part"), np.stack([np.real(z), np.imag(z)], axis=-1)),
        "raw": (("start", "neuron", "variable"), found.raw),
        "raw_speed": ("start", found.raw_speed),
    }
    coords = {"variable": list(layer.cell.state_names), "part": ["real", "imaginary"]}
    attrs = {"layer": layer.title(), "message": found.message, "gatefield_version": __version__}
    return xr.Dataset(variables, coords=coords, attrs=attrs)
