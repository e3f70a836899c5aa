"""What a diagnosis comes to, in plain words: vanishing, edge or exploding, the memory, what to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatefield.cells.builtin import GRU, LSTM
from gatefield.cells.cell import Cell
from gatefield.chaos.largest import LargestExponent
from gatefield.layers.growth import LayerExponent
from gatefield.layers.layer import Layer
from gatefield.numerics.algebra import ComplexArray
from gatefield.numerics.crossings import Crossing
from gatefield.numerics.estimates import Estimate
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result

_SATURATED = 0.5
_MANY = 50  # steps from which on the edge can be told


@dataclass(frozen=True, eq=False, repr=False)
class Verdict(Result):
    """A diagnosis in words.

    Attributes:
        kind: "vanishing", "edge" or "exploding": whether a small change of the state, and a gradient on its way back,
            shrinks, stays or grows over a sequence. "undecided" where the steps do not tell.
        horizon: steps in which it changes by a factor e, 1/|λ_max|.
        factor: on the recurrent weights, which would bring the layer to the edge; None where none was found.
        text: one paragraph.
    """

    kind: str
    horizon: float
    factor: float | None
    text: str

    def __str__(self) -> str:
        return self.text

    def description(self) -> Description:
        return Description(
            quantities={
                "memory_horizon": Quantity(self.horizon, (), "steps", "1/|λ_max|"),
                "edge_factor": Quantity(self.factor),
            },
            facts={"kind": self.kind, "text": self.text},
        )


def verdict_of(
    layer: Layer,
    exponent: LayerExponent,
    *,
    length: int,
    edge: Crossing | None,
    radius: float,
    theory: LargestExponent | None,
    outliers: ComplexArray,
    gates: tuple[str, ...],
    statistics: Mapping[str, Any],
) -> Verdict:
    """The verdict on a layer.

    Args:
        layer: the layer.
        exponent: its λ_max.
        length: steps of its sequences: |λ_max| below 1/length counts as the edge, if its error lets it.
        edge: factor that brings λ_max to 0.
        radius: of its Jacobian.
        theory: of random networks with its statistics.
        outliers: eigenvalues outside their support.
        gates: pre-activations that are gates.
        statistics: by pre-activation.
    """
    value = exponent.value
    kind = _kind(exponent, length)
    horizon = 1.0 / abs(value) if value else np.inf
    factor = None if edge is None else float(np.exp(edge.at))
    parts = [_lead(kind, exponent, horizon, length, radius)]
    parts += [_remedy(layer, kind, factor)] if kind not in ("edge", "undecided") else []
    parts += _saturation(gates, statistics)
    parts += [] if theory is None else [_beside(theory, exponent)]
    parts += [_outside(outliers)] if len(outliers) else []
    parts += list(exponent.messages)
    return Verdict(kind, float(horizon), factor, f"Layer {layer.name}: " + " ".join(parts))


def _kind(exponent: LayerExponent, length: int) -> str:
    """What λ_max comes to over `length` steps, which tell it to 1/length at best."""
    size, doubt = abs(exponent.value), 2.0 * float(np.nan_to_num(exponent.error))
    if size < 1.0 / length and (size + doubt < 1.0 / length or length >= _MANY):
        return "edge"
    if size < 1.0 / length + doubt:
        return "edge" if length >= _MANY else "undecided"
    return "vanishing" if exponent.value < 0.0 else "exploding"


def _lead(kind: str, exponent: LayerExponent, horizon: float, length: int, radius: float) -> str:
    shown = f"λ_max = {exponent.estimate} per step"
    if exponent.value == float("-inf"):
        return "vanishing. A change of the state is gone after one step."
    where = " in the zero state, to which it comes without inputs" if exponent.route == "zero state" else ""
    change = 100.0 * abs(np.expm1(exponent.value))
    radius_text = f"the largest eigenvalue of a step's Jacobian has modulus {radius:.3g}"
    limits = f"{length} steps tell λ_max to about 1/{length} = {1.0 / length:.2g} per step; give more to tell it finer"
    if kind == "undecided":
        return f"undecided{where} ({shown}): {limits}; {radius_text}."
    if kind == "edge":
        few = f" {limits[0].upper()}{limits[1:]}." if length < _MANY else ""
        return (
            f"at the edge{where} ({shown}). Changes of the state neither die nor grow over {length} steps; "
            f"{radius_text}.{few}"
        )
    if kind == "vanishing":
        over = exponent.value * length / np.log(10.0)
        left = f"of a change {length} steps back {'no digit' if over < -16 else f'1e{over:.0f}'} is left"
        return (
            f"vanishing{where} ({shown}). A small change of the state, and a gradient on its way back, shrinks by "
            f"{change:.2g} % per step: the memory horizon is {horizon:.3g} steps, and {left}; {radius_text}."
        )
    return (
        f"exploding ({shown}). A small change of the state, and a gradient on its way back, grows by {change:.2g} % "
        f"per step, e-fold in {horizon:.3g} steps: beyond these the state cannot be told from its inputs; "
        f"{radius_text}."
    )


def holding_gate(cell: Cell) -> str | None:
    """The gate that keeps the state where it is open; None where there is none."""
    return {LSTM: "forget", GRU: "update"}.get(type(cell))


def _remedy(layer: Layer, kind: str, factor: float | None) -> str:
    way = "raise" if kind == "vanishing" else "lower"
    holding = holding_gate(layer.cell)
    bias = f", or {way} the bias of the {holding} gate" if holding and kind == "vanishing" else ""
    if factor is None:
        return f"No common factor on its recurrent weights brings it to the edge{bias.replace(', or', ';')}."
    return f"To bring it to the edge, multiply its recurrent weights by {factor:.3g} (initialize does so){bias}."


def _saturation(gates: tuple[str, ...], statistics: Mapping[str, Any]) -> list[str]:
    stuck = []
    for name in gates:
        for share, state in ((statistics[name].closed, "closed"), (statistics[name].opened, "open")):
            if share is not None and share > _SATURATED:
                stuck.append(f"{100 * share:.0f} % of the {name} gates are {state}")
    return [f"{'; '.join(stuck)}: these learn little."] if stuck else []


def _beside(theory: LargestExponent, exponent: LayerExponent) -> str:
    if exponent.value == theory.value == float("-inf"):
        return "In a random network of the same statistics changes vanish as well."
    if not np.isfinite([exponent.value, theory.value]).all():
        return f"A random network of the same statistics has λ_max = {theory.value:.3g}."
    expected = Estimate(theory.value, theory.error)
    gap = exponent.value - theory.value
    errors = np.nan_to_num([theory.error, exponent.error])
    text = f"A random network of the same statistics has λ_max = {expected}"
    if abs(gap) < max(0.02, 4.0 * float(np.hypot(*errors))):
        return f"{text}, like it."
    text += f", {abs(gap):.2g} {'lower' if gap > 0 else 'higher'}: the difference is what its weights "
    text += "have beyond their variances, and at small N its size."
    return text


def _outside(outliers: ComplexArray) -> str:
    listed = ", ".join(_complex(z) for z in outliers[:4])
    more = f" and {len(outliers) - 4} more" if len(outliers) > 4 else ""
    plural = "eigenvalue lies" if len(outliers) == 1 else "eigenvalues lie"
    return f"{len(outliers)} {plural} outside the support of a random network's spectrum, at {listed}{more}."


def _complex(z: complex) -> str:
    return f"{z.real:.3g}" if abs(z.imag) < 1e-9 else f"{z.real:.3g} ± {abs(z.imag):.3g}i"
