"""Mean-field and random-matrix theory of gated recurrent networks, for any cell."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatefield import edge as edge
    from gatefield.boundaries import Boundary as Boundary
    from gatefield.boundaries import ChaosOnset as ChaosOnset
    from gatefield.boundaries import PinchingExponent as PinchingExponent
    from gatefield.boundaries import bifurcation_curve as bifurcation_curve
    from gatefield.boundaries import chaos_onset as chaos_onset
    from gatefield.boundaries import marginal_boundary as marginal_boundary
    from gatefield.boundaries import pinching_exponent as pinching_exponent
    from gatefield.boundaries import spectral_intercept as spectral_intercept
    from gatefield.boundaries import tricritical_point as tricritical_point
    from gatefield.cells import GRU as GRU
    from gatefield.cells import LSTM as LSTM
    from gatefield.cells import MGU as MGU
    from gatefield.cells import Cell as Cell
    from gatefield.cells import Leaky as Leaky
    from gatefield.cells import Vanilla as Vanilla
    from gatefield.cells import hard_tanh as hard_tanh
    from gatefield.cells import relu as relu
    from gatefield.chaos import LyapunovReport as LyapunovReport
    from gatefield.chaos import SizeScaling as SizeScaling
    from gatefield.chaos import lyapunov_report as lyapunov_report
    from gatefield.chaos import lyapunov_sizes as lyapunov_sizes
    from gatefield.checkpoints import read_layers as read_layers
    from gatefield.closures import Closure as Closure
    from gatefield.closures import closure as closure
    from gatefield.continuous import ContinuousLimit as ContinuousLimit
    from gatefield.continuous import continuous_limit as continuous_limit
    from gatefield.critical import CriticalGain as CriticalGain
    from gatefield.critical import critical_gain as critical_gain
    from gatefield.currents import ConstantCurrent as ConstantCurrent
    from gatefield.currents import CorrelatedCurrent as CorrelatedCurrent
    from gatefield.currents import WhiteCurrent as WhiteCurrent
    from gatefield.deterministic import DeterministicMeanField as DeterministicMeanField
    from gatefield.deterministic import deterministic_mean_field as deterministic_mean_field
    from gatefield.diagnosis import Diagnosis as Diagnosis
    from gatefield.diagnosis import diagnose_layer as diagnose_layer
    from gatefield.ensemble import Ensemble as Ensemble
    from gatefield.estimates import Estimate as Estimate
    from gatefield.exponents import LyapunovSpectrum as LyapunovSpectrum
    from gatefield.forecasting import Forecast as Forecast
    from gatefield.forecasting import forecast as forecast
    from gatefield.forecasting import mackey_glass as mackey_glass
    from gatefield.initialisation import Initialisation as Initialisation
    from gatefield.initialisation import initialize_layer as initialize_layer
    from gatefield.layer_growth import LayerExponent as LayerExponent
    from gatefield.layer_growth import layer_exponent as layer_exponent
    from gatefield.layers import Layer as Layer
    from gatefield.long_term import LongTermJacobian as LongTermJacobian
    from gatefield.long_term import TrajectoryGrowth as TrajectoryGrowth
    from gatefield.long_term import long_term_jacobian as long_term_jacobian
    from gatefield.long_term import trajectory_growth as trajectory_growth
    from gatefield.lstm_plane import Hysteresis as Hysteresis
    from gatefield.lstm_plane import StaticTransition as StaticTransition
    from gatefield.lstm_plane import hysteresis as hysteresis
    from gatefield.lstm_plane import static_transition as static_transition
    from gatefield.lyapunov import LargestExponent as LargestExponent
    from gatefield.lyapunov import lyapunov_along as lyapunov_along
    from gatefield.lyapunov import lyapunov_max as lyapunov_max
    from gatefield.lyapunov import lyapunov_of_map as lyapunov_of_map
    from gatefield.lyapunov_distribution import LyapunovDistribution as LyapunovDistribution
    from gatefield.lyapunov_distribution import lyapunov_spectrum as lyapunov_spectrum
    from gatefield.meanfield import MeanField as MeanField
    from gatefield.meanfield import mean_field as mean_field
    from gatefield.network import Network as Network
    from gatefield.network import Path as Path
    from gatefield.network import eigenvalues as eigenvalues
    from gatefield.pairs import Replicas as Replicas
    from gatefield.pairs import replicas as replicas
    from gatefield.phases import phase_diagram as phase_diagram
    from gatefield.reports import Report as Report
    from gatefield.reports import report as report
    from gatefield.roots import FixedPoint as FixedPoint
    from gatefield.roots import fixed_points as fixed_points
    from gatefield.scaling import AccumulationFit as AccumulationFit
    from gatefield.scaling import GateScaling as GateScaling
    from gatefield.scaling import accumulation_fit as accumulation_fit
    from gatefield.scaling import gate_scaling as gate_scaling
    from gatefield.simulation import Simulation as Simulation
    from gatefield.simulation import simulate as simulate
    from gatefield.slow_points import StatePoint as StatePoint
    from gatefield.slow_points import StatePoints as StatePoints
    from gatefield.slow_points import find_fixed_points as find_fixed_points
    from gatefield.snapshot import Snapshot as Snapshot
    from gatefield.spectrum import SpectralCurve as SpectralCurve
    from gatefield.spectrum import SpectralField as SpectralField
    from gatefield.spectrum import resolvent as resolvent
    from gatefield.spectrum import spectral_curve as spectral_curve
    from gatefield.spectrum import spectral_density as spectral_density
    from gatefield.spectrum import spectral_edge as spectral_edge
    from gatefield.spectrum import spectral_mass as spectral_mass
    from gatefield.spectrum import spectral_radius as spectral_radius
    from gatefield.spectrum import support_exponent as support_exponent
    from gatefield.sweeps import sweep as sweep
    from gatefield.tasks import Task as Task
    from gatefield.tasks import adding as adding
    from gatefield.tasks import copy_memory as copy_memory
    from gatefield.tasks import sequential_images as sequential_images
    from gatefield.trainability import initial_state as initial_state
    from gatefield.trainability import train_row as train_row
    from gatefield.training import Settings as Settings
    from gatefield.training import Throughput as Throughput
    from gatefield.training import Training as Training
    from gatefield.training import throughput as throughput
    from gatefield.training import train as train
    from gatefield.zero_state import ZeroFixedPoint as ZeroFixedPoint
    from gatefield.zero_state import zero_fixed_point as zero_fixed_point

# Where each public name lives. Loaded on first use, so that `import gatefield` and `gatefield --help` stay light.
_HOMES = {
    "boundaries": (
        "Boundary", "ChaosOnset", "PinchingExponent", "bifurcation_curve", "chaos_onset", "marginal_boundary",
        "pinching_exponent", "spectral_intercept", "tricritical_point",
    ),
    "cells": ("GRU", "LSTM", "MGU", "Cell", "Leaky", "Vanilla", "hard_tanh", "relu"),
    "currents": ("ConstantCurrent", "CorrelatedCurrent", "WhiteCurrent"),
    "deterministic": ("DeterministicMeanField", "deterministic_mean_field"),
    "ensemble": ("Ensemble",),
    "estimates": ("Estimate",),
    "meanfield": ("MeanField", "mean_field"),
    "network": ("Network", "Path", "eigenvalues"),
    "phases": ("phase_diagram",),
    "reports": ("Report", "report"),
    "roots": ("FixedPoint", "fixed_points"),
    "simulation": ("Simulation", "simulate"),
    "slow_points": ("StatePoint", "StatePoints", "find_fixed_points"),
    "snapshot": ("Snapshot",),
    "spectrum": (
        "SpectralCurve", "SpectralField", "resolvent", "spectral_curve", "spectral_density", "spectral_edge",
        "spectral_mass", "spectral_radius", "support_exponent",
    ),
    "zero_state": ("ZeroFixedPoint", "zero_fixed_point"),
    "checkpoints": ("read_layers",),
    "diagnosis": ("Diagnosis", "diagnose_layer"),
    "initialisation": ("Initialisation", "initialize_layer"),
    "layer_growth": ("LayerExponent", "layer_exponent"),
    "layers": ("Layer",),
    "closures": ("Closure", "closure"),
    "long_term": ("LongTermJacobian", "TrajectoryGrowth", "long_term_jacobian", "trajectory_growth"),
    "lstm_plane": ("Hysteresis", "StaticTransition", "hysteresis", "static_transition"),
    "scaling": ("AccumulationFit", "GateScaling", "accumulation_fit", "gate_scaling"),
    "chaos": ("LyapunovReport", "SizeScaling", "lyapunov_report", "lyapunov_sizes",),
    "continuous": ("ContinuousLimit", "continuous_limit",),
    "critical": ("CriticalGain", "critical_gain",),
    "exponents": ("LyapunovSpectrum",),
    "forecasting": ("Forecast", "forecast", "mackey_glass"),
    "lyapunov": ("LargestExponent", "lyapunov_along", "lyapunov_max", "lyapunov_of_map",),
    "lyapunov_distribution": ("LyapunovDistribution", "lyapunov_spectrum",),
    "pairs": ("Replicas", "replicas",),
    "sweeps": ("sweep",),
    "tasks": ("Task", "adding", "copy_memory", "sequential_images"),
    "trainability": ("initial_state", "train_row"),
    "training": ("Settings", "Throughput", "Training", "throughput", "train"),
}  # fmt: skip
_MODULES = {name: module for module, names in _HOMES.items() for name in names}
_NAMESPACES = ("edge",)  # modules that are public as such
_FRAMEWORKS = ("flax", "torch")  # likewise, each with an extra of its own

__all__ = ["__version__", *_NAMESPACES, *sorted(_MODULES)]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES or name in _FRAMEWORKS:
        return import_module(f"gatefield.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'gatefield' has no attribute {name!r}")
    value = getattr(import_module(f"gatefield.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
