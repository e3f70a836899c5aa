"""Diagnosis of a layer: what it does along its own inputs, beside a random network of the same statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gatefield.cells.builtin import GRU, LSTM, MGU
from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.chaos.largest import LargestExponent, lyapunov_max
from gatefield.layers.growth import MEASURED, SETTLING, SHORTEST, LayerExponent, layer_exponent, zero_is_fixed
from gatefield.layers.layer import Layer, inputs_by_layer
from gatefield.layers.verdicts import Verdict, verdict_of
from gatefield.networks.along import lyapunov_along
from gatefield.networks.exponents import MeasuredExponents
from gatefield.networks.network import Network, Path, eigenvalues
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.crossings import Crossing, search
from gatefield.numerics.estimates import Estimate, from_batches, stacked
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result, Results, messages_of
from gatefield.running.arguments import positive, whole
from gatefield.running.background import Background
from gatefield.spectra.curve import SpectralCurve, spectral_curve
from gatefield.spectra.spectrum import SLOW_RADIUS, spectral_mass, support_exponent
from gatefield.spectra.support import spectral_radius

CLOSED, OPEN = 0.1, 0.9  # a gate below the one or above the other counts as saturated
_MARGIN = 2.5  # an outlier lies outside the support of gains this many times 1/√N larger
_SEQUENCES = 4  # that are enough to find the edge
_INNER = 0.05  # share of the spectral radius within which eigenvalues are no outliers: atoms near 0
_SPIKE = 0.1  # a singular value so far above the edge of a random matrix counts as learned


@dataclass(frozen=True, eq=False, repr=False)
class PreactivationStatistics(Result):
    """One pre-activation of a layer.

    Attributes:
        gain: √N times the standard deviation of its recurrent weights.
        input_gain: √M times that of its input weights.
        bias_mean, bias_std: between neurons.
        current_std: of the inputs' current, over neurons, steps and sequences; 0 without inputs.
        spikes: singular values of its recurrent weights beyond those of a random matrix of this gain (2a): directions
            that training has added.
        gate: mean of the gate along the run; None where it is not one.
        closed, opened: share of gate values below 0.1 and above 0.9.
    """

    gain: float
    input_gain: float
    bias_mean: float
    bias_std: float
    current_std: float
    spikes: int
    gate: float | None
    closed: float | None
    opened: float | None

    def description(self) -> Description:
        return Description({name: Quantity(value) for name, value in self.numbers.items()})

    @property
    def numbers(self) -> dict[str, float | None]:
        """All of them, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "messages"}


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(Result):
    """Eigenvalues of a layer's Jacobian at one step, beside the theory for a random network of these neurons.

    Attributes:
        step: of the run; −1 at the zero state.
        radius, slow: of the layer: largest modulus; share of eigenvalues with |λ − 1| below `slow_radius`.
        predicted_radius, predicted_slow: of random weights with the same gains, at the layer's own neurons.
        outliers: eigenvalues outside the predicted support by more than a finite random network strays, largest first;
            of a conjugate pair the upper one.
        curve: boundary of the predicted support.
    """

    step: int
    eigenvalues: ComplexArray
    radius: float
    slow: float
    predicted_radius: Estimate
    predicted_slow: Estimate
    outliers: ComplexArray
    curve: SpectralCurve

    @property
    def time_constants(self) -> np.ndarray:
        """Steps in which each eigenmode falls by a factor e, −1/log|λ|, the slowest first; infinite at |λ| ≥ 1."""
        modulus = np.sort(np.abs(self.eigenvalues))[::-1]
        with np.errstate(divide="ignore"):
            return np.where(modulus < 1.0, -1.0 / np.log(np.minimum(modulus, 1.0)), np.inf)

    def description(self) -> Description:
        return Description(
            quantities={
                "radius": Quantity(self.radius),
                "slow": Quantity(self.slow),
                "predicted_radius": Quantity(self.predicted_radius, source="CKS 15, 30"),
                "predicted_slow": Quantity(self.predicted_slow, source="CKS 82"),
                "eigenvalue": Quantity(self.eigenvalues, ("mode",), json=""),
                "outliers": Quantity(self.outliers, ("outlier",)),
                "time_constants": Quantity(self.time_constants[:10], ("slowest",), "steps", "−1/log|λ|"),
            },
            facts={"step": self.step},
        )


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Result):
    """What a layer does along its inputs, or left alone.

    Attributes:
        layer: the layer.
        statistics: by pre-activation.
        exponent: its largest Lyapunov exponent, over all sequences.
        exponents: the leading ones along the first sequence; None at the zero state, where eigenvalues say it.
        spectra: of the Jacobian at some steps of the first sequence.
        path: the first sequence.
        theory: λ_max of infinite random networks with the layer's statistics, and their state; None if not asked for.
        theory_radius: their spectral radius.
        edge: factor on the recurrent weights that brings λ_max to 0, and how near it came; None if none was found.
        verdict: vanishing, edge or exploding; `str(verdict)` says it in words.
        slow_radius: modes with |λ − 1| below it count as slow.
    """

    layer: Layer
    statistics: Mapping[str, PreactivationStatistics]
    exponent: LayerExponent
    exponents: MeasuredExponents | None
    spectra: tuple[Spectrum, ...]
    path: Path
    ensemble: Ensemble
    theory: LargestExponent | None
    theory_radius: Estimate | None
    edge: Crossing | None
    verdict: Verdict
    slow_radius: float

    @property
    def radius(self) -> Estimate:
        """Largest modulus of an eigenvalue, mean over the steps looked at."""
        return from_batches([s.radius for s in self.spectra])

    @property
    def slow(self) -> Estimate:
        """Share of slow modes, likewise."""
        return from_batches([s.slow for s in self.spectra])

    @property
    def outliers(self) -> ComplexArray:
        """Eigenvalues outside the predicted support at the last step looked at."""
        return self.spectra[-1].outliers

    def __str__(self) -> str:
        return str(self.verdict)

    def description(self) -> Description:
        return Description(
            quantities={name: replace(q, json="") for name, q in self._quantities().items()},
            coordinates={
                "step": Quantity([s.step for s in self.spectra]),
                "variable": Quantity(list(self.statistics)),
            },
            facts={
                "layer": self.layer.title(), "name": self.layer.name, "ensemble": self.ensemble,
                "slow_radius": self.slow_radius, "verdict": self.verdict.text,
            },
            parts={
                "lyapunov_max": self.exponent,
                "statistics": self.statistics,
                "exponents": None if self.exponents is None else self.exponents.exponents,
                "spectra": self.spectra,
                "theory": self._theory(),
                "verdict": self.verdict,
            },
            nested=("lyapunov_max", "verdict"),
        )  # fmt: skip

    def _quantities(self) -> dict[str, Quantity]:
        """Exponents, eigenvalues and what they come to by step, statistics by pre-activation."""
        found: dict[str, Quantity] = {"lyapunov_max": Quantity(self.exponent.estimate, (), "1/step")}
        if self.theory is not None:
            expected = Estimate(self.theory.value, self.theory.error)
            found["theory_lyapunov_max"] = Quantity(expected, (), "1/step")
        if self.exponents is not None:
            found["exponent"] = Quantity(self.exponents.exponents, ("index",), "1/step")
        found["eigenvalue"] = Quantity(np.stack([s.eigenvalues for s in self.spectra]), ("step", "mode"))
        for name in ("radius", "slow"):
            predicted = stacked(getattr(s, f"predicted_{name}") for s in self.spectra)
            found[name] = Quantity([getattr(s, name) for s in self.spectra], ("step",))
            found[f"predicted_{name}"] = Quantity(predicted, ("step",), source="CKS 15, 30, 82")
        rows = [s.numbers for s in self.statistics.values()]
        columns = {name: np.array([row[name] for row in rows], float) for name in rows[0]}
        return found | {name: Quantity(column, ("variable",)) for name, column in columns.items()}

    def _theory(self) -> dict[str, Any] | None:
        """What is told of the random networks."""
        if self.theory is None:
            return None
        return {
            "lyapunov_max": Estimate(self.theory.value, self.theory.error),
            "spectral_radius": self.theory_radius,
            "regime": self.theory.field.regime,
            "variance": self.theory.field.variance,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Diagnoses(Results[Diagnosis]):
    """Diagnoses of several layers, by name."""

    def __str__(self) -> str:
        return "\n\n".join(str(one) for one in self.values())


def diagnose_layers(layers: Mapping[str, Layer], *, inputs: Any = None, **options: Any) -> Diagnoses:
    """`diagnose_layer` of each layer, stacked ones each with the outputs of the one below.

    Args:
        layers: by name, as read.
        inputs: of the only layer, or of the first of a stack, (steps, M) or (sequences, steps, M); or such arrays by
            the names of layers.
        options: of `diagnose_layer`.

    Raises:
        ValueError: as `diagnose_layer` does, or inputs of which it is not clear whose they are.
    """
    fed = inputs_by_layer(layers, inputs)
    return Diagnoses({name: diagnose_layer(layer, inputs=fed[name], **options) for name, layer in layers.items()})


def diagnose_layer(
    layer: Layer,
    *,
    inputs: Any = None,
    exponents: int = 10,
    spectra: int = 2,
    theory: bool = True,
    samples: int = 2000,
    slow_radius: float = SLOW_RADIUS,
    seed: int = 0,
) -> Diagnosis:
    """What a layer does along its own inputs, or left alone, beside the theory for the same statistics.

    Args:
        layer: the layer.
        inputs: (steps, M) or (sequences, steps, M); the layer starts each in the zero state. Eigenvalues and leading
            exponents are those along the first sequence, λ_max is over all.
        exponents: how many leading exponents.
        spectra: steps of the second half of the sequence at which to take all eigenvalues.
        theory: also the mean field of infinite random networks with these gains, biases and input currents.
        samples: of that mean field.
        slow_radius: modes with |λ − 1| below it count as slow.
        seed: of everything drawn.

    Raises:
        ValueError: an argument out of its range, inputs of the wrong width, or fewer than 8 steps of them.
    """
    count, spectra = whole("exponents", exponents), whole("spectra", spectra)
    slow_radius = positive("slow_radius", slow_radius)
    u = None if inputs is None else layer.sequences(inputs)
    if u is not None and u.shape[1] < SHORTEST:
        raise ValueError(
            f"inputs of {u.shape[1]} steps are too short to diagnose layer {layer.name!r}; give {SHORTEST} or more"
        )
    ensemble = layer.ensemble(u)
    beside = Background(_theory, ensemble, 100, samples, seed) if theory else None
    exponent = layer_exponent(layer, u, seed=seed)
    path, at_zero = _path(layer, u, exponent, seed)
    network = layer.network()
    steps = [-1] if at_zero else np.linspace(path.steps // 2, path.steps - 1, spectra).astype(int).tolist()
    found = tuple(_spectrum(network, ensemble, path.snapshot(t), t, slow_radius) for t in dict.fromkeys(steps))
    along = None
    if not at_zero:
        count = min(count, len(layer.cell.state_names) * layer.size)
        along = lyapunov_along(path, layer.weights, count=count, transient=path.steps // 4, seed=seed)
    statistics = {name: _statistics(layer, path, u, name) for name in layer.names}
    length = 100 if u is None else u.shape[1]
    edge = edge_factor(layer, None if u is None else u[:_SEQUENCES], exponent, tolerance=0.2 / length, seed=seed)
    expected = (None, None) if beside is None else beside.result()
    verdict = verdict_of(
        layer, exponent, length=length, edge=edge, radius=float(np.mean([s.radius for s in found])),
        theory=expected[0], outliers=found[-1].outliers, gates=_gate_names(layer.cell), statistics=statistics,
    )  # fmt: skip
    return Diagnosis(
        layer, statistics, exponent, along, found, path, ensemble, *expected, edge, verdict, slow_radius,
        messages=messages_of({"theory": expected[0]}),
    )  # fmt: skip


def edge_factor(
    layer: Layer, inputs: Any, exponent: LayerExponent, *, tolerance: float, seed: int = 0
) -> Crossing | None:
    """The factor on all recurrent weights at which λ_max is 0, measured on the layer; None if none is near."""

    def excess(log_factor: float) -> float:
        if log_factor == 0.0:
            return exponent.value
        return layer_exponent(layer.scaled(float(np.exp(log_factor))), inputs, seed=seed).value

    found = search(excess, 0.0, tolerance=tolerance, limit=14)
    return found if abs(found.value) < max(5.0 * tolerance, 0.01) else None


def _path(layer: Layer, u: np.ndarray | None, exponent: LayerExponent, seed: int) -> tuple[Path, bool]:
    """The run to look at, and whether it rests in the zero state."""
    if u is not None:
        return layer.run(u[0]), False
    shape = (layer.size, len(layer.cell.state_names))
    if exponent.route == "zero state":
        return layer.run(steps=8), zero_is_fixed(layer)
    start = 0.6 * np.random.default_rng(seed).standard_normal(shape)
    settled = layer.run(steps=SETTLING, state=start).last
    return layer.run(steps=min(MEASURED, 200), state=settled), False


def _theory(ensemble: Ensemble, steps: int, samples: int, seed: int) -> tuple[LargestExponent, Estimate]:
    found = lyapunov_max(ensemble, steps=steps, samples=samples, seed=seed)
    at_zero = found.field.regime == "quiescent" and ensemble.zero_is_fixed
    snapshot = Snapshot.at_zero(ensemble, samples=samples) if at_zero else found.field.snapshot
    return found, spectral_radius(ensemble, snapshot)


def _spectrum(network: Network, ensemble: Ensemble, snapshot: Snapshot, step: int, slow_radius: float) -> Spectrum:
    found = eigenvalues(network.jacobian(snapshot))
    states = len(snapshot.cell.state_names)
    curve = spectral_curve(ensemble, snapshot, resolution=120)
    slow = spectral_mass(ensemble, snapshot, center=1.0, radius=slow_radius)
    return Spectrum(
        step=step,
        eigenvalues=found,
        radius=float(np.max(np.abs(found))),
        slow=float(np.mean(np.abs(found - 1.0) < slow_radius)),
        predicted_radius=spectral_radius(ensemble, snapshot),
        predicted_slow=Estimate(slow.value / states, slow.error / states),
        outliers=_outliers(ensemble, snapshot, found, curve),
        curve=curve,
    )


def _outliers(ensemble: Ensemble, snapshot: Snapshot, found: ComplexArray, curve: SpectralCurve) -> ComplexArray:
    """Eigenvalues outside the support of gains a little larger: log T grows with the square of a common factor."""
    upper = found[(found.imag >= 0.0) & (np.abs(found) > _INNER * np.max(np.abs(found)))]
    if not len(upper):
        return upper
    margin = 2.0 * np.log1p(_MARGIN / np.sqrt(snapshot.neurons))
    outside = upper[support_exponent(ensemble, snapshot, upper) < -margin]
    # next to a neuron's own pole, where the exponent is steep, modes stray although gains count for little
    edge = np.concatenate([np.zeros(0, np.complex128), *curve.contours])
    nearest = np.array([np.min(np.abs(edge - z), initial=np.inf) for z in outside])
    outside = outside[nearest > np.max(np.abs(found)) / np.sqrt(snapshot.neurons)]
    return outside[np.argsort(-np.abs(outside))]


def _statistics(layer: Layer, path: Path, u: np.ndarray | None, name: str) -> PreactivationStatistics:
    weights = layer.weights.get(name)
    wired = layer.input_weights.get(name)
    gate = closed = opened = None
    if name in _gate_names(layer.cell):
        values = 1.0 / (1.0 + np.exp(-path.preactivations[path.steps // 4 :, :, layer.names.index(name)]))
        gate, closed, opened = (float(np.mean(v)) for v in (values, values < CLOSED, values > OPEN))
    current = 0.0 if u is None or wired is None else float(np.std(u @ wired.T))
    return PreactivationStatistics(
        gain=layer.gain[name],
        input_gain=0.0 if wired is None else float(np.sqrt(layer.width) * np.std(wired)),
        bias_mean=float(np.mean(layer.bias(name))),
        bias_std=float(np.std(layer.bias(name))),
        current_std=current,
        spikes=0 if weights is None else _spikes(weights),
        gate=gate,
        closed=closed,
        opened=opened,
    )


def _spikes(weights: np.ndarray) -> int:
    """Singular values beyond the edge 2 √N σ of a random matrix, σ from the bulk: the median of them is 0.8 √N σ."""
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(weights @ weights.T), 0.0))
    bulk = min(float(np.sqrt(len(weights)) * np.std(weights)), float(np.median(values)) / _MEDIAN)
    return int(np.count_nonzero(values > 2.0 * (1.0 + _SPIKE) * bulk))


# Median of the quarter-circle law √(4 − s²)/π on (0, 2), of singular values in units of √N σ.
_MEDIAN = 0.8079


def _gate_names(cell: Cell) -> tuple[str, ...]:
    """Pre-activations that go through the logistic function."""
    match cell:
        case GRU():
            return ("update", "reset")
        case LSTM():
            return tuple(name for name in cell.preactivation_names if name != "cell")
        case MGU():
            return ("forget",)
        case _:
            return ()
