"""Weights for a layer that bring it to a target: the edge, a spectral radius, a memory, a share of slow modes.

Recurrent weights of pre-activation k are Gaussian with standard deviation a_k/√N. A factor on the free gains starts
where the theory expects the target, and is then corrected on the very weights drawn, so that the target holds for this
layer and not only on average: a network of N neurons strays from its ensemble by about 1/√N.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from gatefield.cells.builtin import GRU
from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import repr_cell
from gatefield.cells.snapshot import Snapshot
from gatefield.cells.tracing import structure
from gatefield.layers.growth import (
    SETTLING,
    SHORTEST,
    jacobian_radius,
    layer_exponent,
    settled_exponent,
    zero_is_fixed,
    zero_state_radius,
)
from gatefield.layers.layer import Layer
from gatefield.layers.targets import Prediction, Target, as_target, mean_field_factor, zero_state_factor
from gatefield.layers.verdicts import holding_gate
from gatefield.networks.network import eigenvalues
from gatefield.numerics.crossings import Crossing, search
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result, Results
from gatefield.running.arguments import at_least, finite, known_names, mapping, whole
from gatefield.spectra.spectrum import SLOW_RADIUS, spectral_mass

KEPT = ("recurrent_weights", "input_weights", "biases")
_SEQUENCES = 8
_LOOKS = 3  # steps of the first sequence at which eigenvalues are taken
_STARTS = 16  # random states: another state may draw few of them
_SETTLING = 1000  # steps: at the edge, all decays slowly
_NEAR = 0.01  # |λ_max| of settled states that is the edge
_DRAWS = 4  # of weights, until one rests in the zero state only
_TOLERANCE = {"edge": 0.002, "timescale": 0.05, "spectral_radius": 0.002, "slow_modes": 0.005}


@dataclass(frozen=True, eq=False, repr=False)
class Initialisation(Result):
    """A layer brought to a target.

    Attributes:
        layer: with its new weights, in float64.
        target: what was aimed at.
        achieved: the same quantity measured on the layer: λ_max, spectral radius, timescale or share of slow modes.
        factor: on the free gains.
        prediction: the factor at which the theory of infinite networks expects the target; None for slow modes.
        weight_std, input_std: standard deviations of recurrent and input weights by pre-activation.
        bias: means of the biases.
    """

    layer: Layer
    target: Target
    achieved: Estimate
    factor: float
    prediction: Prediction | None

    @property
    def gain(self) -> dict[str, float]:
        """a_k of the new weights."""
        return {name: self.layer.gain[name] for name in self.layer.weights}

    @property
    def weight_std(self) -> dict[str, float]:
        """Of the recurrent weights."""
        return {name: float(np.std(w)) for name, w in self.layer.weights.items()}

    @property
    def input_std(self) -> dict[str, float]:
        """Of the input weights."""
        return {name: float(np.std(w)) for name, w in self.layer.input_weights.items()}

    @property
    def bias(self) -> dict[str, float]:
        """Means of the biases."""
        return {name: float(np.mean(self.layer.bias(name))) for name in self.layer.names}

    def __str__(self) -> str:
        gains = ", ".join(f"{name} {value:.4g}" for name, value in self.gain.items())
        biases = ", ".join(f"{name} {value:.4g}" for name, value in self.bias.items() if abs(value) > 5e-5)
        text = (
            f"{self.layer.name}: target {self.target}, achieved {self.target.quantity} {self.achieved}; gains {gains}; "
            f"biases {biases or '0'}. {self.compared}"
        )
        return f"{text} {self.message}".rstrip()

    @property
    def compared(self) -> str:
        """The gains beside those that the theory expects, in words; empty where it was not asked."""
        prediction = self.prediction
        if prediction is None:
            return ""
        if not np.isfinite(prediction.factor):
            return "The theory finds no such gain."
        change = 100.0 * (prediction.factor / self.factor - 1.0)
        said = "the same" if abs(change) < 0.05 else f"{abs(change):.1f} % {'higher' if change > 0 else 'lower'} gains"
        return f"For infinite networks the theory expects {said}."

    def description(self) -> Description:
        names, quantity = list(self.layer.names), self.target.quantity
        tables = {"gain": self.gain, "weight_std": self.weight_std, "input_std": self.input_std, "bias": self.bias}
        return Description(
            quantities={
                "achieved": Quantity(self.achieved, units=self.target.units, attrs={"quantity": quantity}),
                **{
                    name: Quantity([values.get(n, np.nan) for n in names], ("variable",), json="")
                    for name, values in tables.items()
                },
            },
            coordinates={"variable": Quantity(names)},
            facts={
                "ensemble": self.layer.ensemble(), "layer": self.layer.title(), "target": str(self.target),
                "quantity": quantity, "factor": self.factor, "message": self.message,
            },
            parts={**tables, "theory": self.prediction},
        )  # fmt: skip


def blank_layer(cell: Cell, size: int, width: int = 0) -> Layer:
    """A layer of a cell with N units and M inputs that has no weights yet, to be initialised."""
    known, n, m = structure(cell), whole("size", size, 2), whole("width", width, 0)
    sourced = [cell.preactivation_names[k] for group in known.groups for k in group.members]
    # a reset gate that multiplies the product of the recurrent weights leaves the inputs out of it
    inside = {"candidate"} if isinstance(cell, GRU) and cell.reset_after else set()
    driven = [name for name in cell.preactivation_names if name not in inside] if m else []
    weights, wired = ({name: np.zeros((n, size)) for name in names} for names, size in ((sourced, n), (driven, m)))
    return Layer(cell, weights, wired, name=repr_cell(cell))


def white_inputs(width: int, *, sequences: int = 8, steps: int = 200, seed: int = 0) -> np.ndarray:
    """Independent standard normal inputs, (sequences, steps, M)."""
    return np.random.default_rng((whole("seed", seed, 0), 1)).standard_normal((sequences, steps, whole("width", width)))


@dataclass(frozen=True, eq=False, repr=False)
class Initialisations(Results[Initialisation]):
    """Initialisations of several layers, by name."""

    def __str__(self) -> str:
        return "\n".join(str(one) for one in self.values())


def initialize_layer(
    layer: Layer,
    *,
    target: Any = "edge",
    inputs: Any = None,
    gain: Mapping[str, float] | None = None,
    bias: Mapping[str, float] | None = None,
    input_gain: float = 1.0,
    keep: Collection[str] = (),
    theory: bool = True,
    seed: int = 0,
) -> Initialisation:
    """New weights for a layer that bring it to a target, measured on the layer itself.

    Args:
        layer: its sizes, and what is kept of it.
        target: "edge" (λ_max = 0, along the inputs where there are some), {"spectral_radius": r}, {"timescale": steps}
            (λ_max = −1/steps) or {"slow_modes": share} (of eigenvalues with |λ − 1| < 0.05). At the edge without
            inputs, weights are drawn anew if random states do not come to rest.
        inputs: (steps, M) or (sequences, steps, M) that the layer will see: their currents count. None: left alone.
        gain: gains to hold, by pre-activation. The others are equal and free, and share one factor. For slow modes the
            mean bias of the gate that holds (forget, update) is free too, and the free gains keep it at the edge.
        bias: mean biases by pre-activation; others are 0.
        input_gain: input weights have variance input_gain²/M.
        keep: what stays as it is, of "recurrent_weights" (only scaled then), "input_weights" and "biases".
        theory: also what the theory expects, from where the search starts; without it the search starts at gain 1.
        seed: of everything drawn.

    Raises:
        ValueError: an argument out of its range, no free gain, or a target that this cell cannot have.
    """
    aim = as_target(target)
    held = {n: at_least(f"gain[{n!r}]", g, 0.0) for n, g in mapping("gain", gain).items()}
    kept = _checked_keep(keep)
    free = _free_gains(layer, held)
    u = None if inputs is None else layer.sequences(inputs)[:_SEQUENCES]
    if u is not None and u.shape[1] < SHORTEST:
        raise ValueError(
            f"inputs of {u.shape[1]} steps are too short to initialise layer {layer.name!r}; give {SHORTEST} or more"
        )
    seed = whole("seed", seed, 0)
    start = _drawn(layer, held, mapping("bias", bias), at_least("input_gain", input_gain, 0.0), kept, seed)
    if aim.kind == "slow_modes":
        return _by_bias(start, free, aim, u, {*kept, *mapping("bias", bias)}, seed)
    if not free:
        raise ValueError(f"gain: every recurrent gain of layer {layer.name!r} is held; leave one free")
    prediction = _predicted(start, free, aim, u, seed) if theory else None
    expected = np.nan if prediction is None else prediction.factor
    begin = float(np.log(expected)) if np.isfinite(expected) else 0.0
    found, made = _brought(start, free, aim, u, begin, seed)
    alone = ""
    if u is None and aim.kind == "edge" and zero_is_fixed(start):
        draws = () if "recurrent_weights" in kept else range(1, _DRAWS)
        begins = (_drawn(layer, held, mapping("bias", bias), input_gain, kept, (seed, i)) for i in draws)
        others = (_brought(one, free, aim, u, begin, seed) for one in begins)
        found, made, alone = _at_rest(chain([(found, made)], others), seed)
    measured = achieved(made, aim, u, seed=seed + 1)
    said = tuple(text for text in (_message(found, aim, layer.name), alone) if text)
    return Initialisation(made, aim, measured, float(np.exp(found.at)), prediction, messages=said)


def _brought(
    start: Layer, free: tuple[str, ...], aim: Target, u: np.ndarray | None, begin: float, seed: int
) -> tuple[Crossing, Layer]:
    """The layer with its free gains multiplied by what brings it to the target."""
    measure = _measure(aim, u, seed)
    tolerance = _TOLERANCE[aim.kind] * (abs(aim.exponent) if aim.kind == "timescale" else 1.0)
    if u is None and zero_is_fixed(start):
        tolerance *= 0.05  # no noise there
    found = search(lambda x: measure(start.scaled(float(np.exp(x)), free)), begin, tolerance=tolerance, step=0.05)
    return found, start.scaled(float(np.exp(found.at)), free)


def _at_rest(draws: Iterable[tuple[Crossing, Layer]], seed: int) -> tuple[Crossing, Layer, str]:
    """The first draw that is at its edge wherever it starts, or the first of all; and what is wrong.

    Gates break the symmetry of tanh: in some draws a state of finite size is there before the zero state loses its
    stability, and random states settle in it.
    """
    tried = []
    for found, made in draws:
        settled = settled_exponent(made, transient=_SETTLING, starts=_STARTS, seed=seed).sequences
        if np.max(np.abs(settled)) < _NEAR:
            return found, made, ""
        tried.append((found, made, settled))
    found, made, settled = tried[0]
    furthest = float(settled[np.argmax(np.abs(settled))])
    return found, made, f"Random states may settle beside the zero state, where λ_max is {furthest:.2g}."


def _checked_keep(keep: Collection[str]) -> set[str]:
    given = {keep} if isinstance(keep, str) else set(keep)
    for name in sorted(given):
        if name not in KEPT:
            raise ValueError(f"keep={name!r} is not known; use {', '.join(KEPT)}")
    return given


def _free_gains(layer: Layer, held: Mapping[str, float]) -> tuple[str, ...]:
    known_names("gain", held, layer.names, type(layer.cell).__name__)
    sourceless = {layer.names[k] for k in structure(layer.cell).sourceless}
    for name in held:
        if name in sourceless:
            raise ValueError(f"gain[{name!r}]: {name!r} has no recurrent weights; leave it out")
    return tuple(name for name in layer.weights if name not in held)


def _drawn(
    layer: Layer, held: Mapping[str, float], bias: Mapping[str, float], input_gain: float, kept: set[str], seed: Any
) -> Layer:
    """The layer with new weights at gains 1, or as held."""
    rng = np.random.default_rng(seed)
    known_names("bias", bias, layer.names, type(layer.cell).__name__)
    n, m = layer.size, layer.width
    weights = {}
    for name, old in layer.weights.items():
        new = old if "recurrent_weights" in kept else rng.standard_normal((n, n))
        if np.std(new) == 0.0:
            raise ValueError(
                f"layer {layer.name!r}: recurrent weights of {name!r} are all equal, so they cannot be kept"
            )
        to_gain = held.get(name, None if "recurrent_weights" in kept else 1.0)
        weights[name] = new if to_gain is None else new * (to_gain / (np.sqrt(n) * np.std(new)))
    wired = layer.input_weights
    if "input_weights" not in kept:
        draws = {name: rng.standard_normal((n, m)) for name in wired}
        wired = {name: draw * (input_gain / (np.sqrt(m) * np.std(draw))) for name, draw in draws.items()}
    biases = dict(layer.biases) if "biases" in kept else {}
    for name, value in bias.items():
        old = layer.bias(name) if "biases" in kept else np.zeros(n)
        biases[name] = old - np.mean(old) + finite(f"bias[{name!r}]", value)
    return Layer(layer.cell, weights, wired, biases, layer.name, layer.framework, layer.dtype)


def _predicted(start: Layer, free: tuple[str, ...], aim: Target, u: np.ndarray | None, seed: int) -> Prediction:
    if u is None and zero_is_fixed(start):
        gains = np.array([start.gain[name] for name in start.names])
        chosen = np.array([name in free for name in start.names])
        return zero_state_factor(start.cell, gains, chosen, np.asarray(start.bias_table), float(np.exp(aim.exponent)))
    return mean_field_factor(start.ensemble(u), free, aim, seed=seed)


# ---- measuring ----


def _measure(aim: Target, u: np.ndarray | None, seed: int) -> Callable[[Layer], float]:
    """The quantity less its target, of a layer."""

    def measure(layer: Layer) -> float:
        if u is None and zero_is_fixed(layer):
            radius = zero_state_radius(layer)
        elif aim.kind == "spectral_radius":
            radius = float(np.exp(np.mean(np.log([jacobian_radius(layer, s) for s in _looks(layer, u, seed)]))))
        else:
            return layer_exponent(layer, u, seed=seed).value - aim.exponent
        return float(np.log(radius)) - aim.exponent if radius > 0.0 else float("-inf")

    return measure


def achieved(layer: Layer, aim: Target, inputs: Any = None, *, seed: int = 0) -> Estimate:
    """A target's quantity, measured on a layer: λ_max, spectral radius, timescale or share of slow modes.

    Args:
        layer: the layer.
        aim: the target.
        inputs: as in `initialize_layer`.
        seed: of perturbations and, without inputs, of the start.
    """
    u = None if inputs is None else layer.sequences(inputs)[:_SEQUENCES]
    if aim.kind == "slow_modes":
        shares = [_counted(layer, s) for s in _looks(layer, u, seed)]
        return from_batches(shares) if len(shares) > 1 else Estimate(shares[0], float("nan"))
    if aim.kind == "spectral_radius":
        radii = [jacobian_radius(layer, s) for s in _looks(layer, u, seed)]
        return from_batches(radii) if len(radii) > 1 else Estimate(radii[0], float("nan"))
    found = layer_exponent(layer, u, transient=_SETTLING if u is None else None, seed=seed)
    if aim.kind == "edge":
        return found.estimate
    return Estimate(-1.0 / found.value, found.error / found.value**2) if found.value else Estimate(np.inf, np.nan)


def _looks(layer: Layer, u: np.ndarray | None, seed: int) -> list[Snapshot]:
    """Where Jacobians are taken: at the zero state, along the first sequence, or along activity of its own."""
    if u is None and zero_is_fixed(layer):
        return [layer.run(steps=1).snapshot()]
    if u is not None:
        path = layer.run(u[0])
    else:
        start = 0.6 * np.random.default_rng(seed).standard_normal((layer.size, len(layer.cell.state_names)))
        path = layer.run(steps=SETTLING, state=start)
    steps = np.unique(np.linspace(path.steps // 2, path.steps - 1, _LOOKS).astype(int))
    return [path.snapshot(int(t)) for t in steps]


def _counted(layer: Layer, snapshot: Snapshot) -> float:
    return float(np.mean(np.abs(eigenvalues(layer.network().jacobian(snapshot)) - 1.0) < SLOW_RADIUS))


def _by_bias(
    start: Layer, free: tuple[str, ...], aim: Target, u: np.ndarray | None, fixed: Collection[str], seed: int
) -> Initialisation:
    """A share of slow modes by the mean bias of the gate that holds, the free gains at the edge for each bias.

    The share is the theory's at the layer's own neurons, which is smooth; at the end eigenvalues are counted.
    """
    gate = holding_gate(start.cell)
    if gate is None:
        raise ValueError(f"layer {start.name!r} has no gate that holds, so no slow modes to design; use another target")
    if gate in fixed or "biases" in fixed:
        raise ValueError(
            f"the share of slow modes needs the bias of the {gate} gate free; leave it out of bias and keep"
        )
    edge = _measure(Target("edge"), u, seed)
    known: dict[float, tuple[Layer, float]] = {}

    def at_edge(value: float) -> tuple[Layer, float]:
        if value not in known:
            biases = {**start.biases, gate: np.full(start.size, value)}
            layer = Layer(
                start.cell, start.weights, start.input_weights, biases, start.name, start.framework, start.dtype
            )  # fmt: skip
            begin = min(known.items(), key=lambda item: abs(item[0] - value))[1][1] if known else 1.0
            factor = _edge_factor(layer, free, edge, begin) if free else 1.0
            known[value] = layer.scaled(factor, free), factor
        return known[value]

    def excess(value: float) -> float:
        layer, _ = at_edge(value)
        ensemble, looks = layer.ensemble(), _looks(layer, u, seed)
        mass = [float(spectral_mass(ensemble, s, center=1.0, radius=SLOW_RADIUS).value) for s in looks]
        return float(np.mean(mass)) / len(layer.cell.state_names) - aim.value

    found = search(excess, 1.0, tolerance=_TOLERANCE["slow_modes"], step=0.7, limit=16)
    message = _message(found, aim, start.name)
    made, factor = at_edge(found.at)
    return Initialisation(made, aim, achieved(made, aim, u), factor, None, messages=(message,) if message else ())


def _edge_factor(layer: Layer, free: tuple[str, ...], edge: Callable[[Layer], float], begin: float) -> float:
    found = search(
        lambda x: edge(layer.scaled(float(np.exp(x)), free)), float(np.log(begin)), tolerance=0.004, step=0.1
    )  # fmt: skip
    return float(np.exp(found.at))


def _message(found: Crossing, aim: Target, name: str) -> str:
    """What has not been reached; refused where it is out of reach."""
    known = [y for _, y in found.tried if np.isfinite(y)]
    if found.reached:
        return ""
    what, where = "factors", [float(np.exp(x)) for x, _ in found.tried]
    if aim.kind == "slow_modes":
        what, where = "biases of the holding gate", [x for x, _ in found.tried]
    if not known or max(known) < 0.0 or min(known) > 0.0:
        side = "above" if known and min(known) > 0.0 else "below"
        raise ValueError(
            f"layer {name!r}: target {aim} is out of reach, the {aim.quantity} stays {side} it at all of "
            f"{len(found.tried)} {what} tried, from {min(where):.3g} to {max(where):.3g}; "
            "hold fewer gains, give other biases, or another target"
        )
    return (
        f"Missed by {abs(found.value):.2g} at {what} from {min(where):.3g} to {max(where):.3g}: the quantity jumps "
        "there; give longer inputs or a larger layer."
    )
