"""Options that several commands share, and the ensemble that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from gatefield.running.saving import check_output

if TYPE_CHECKING:
    from gatefield.cells.cell import Cell
    from gatefield.cells.ensemble import Ensemble


def _whole(_: Any, tokens: Any) -> int:
    """An option's text as a whole number; 10.5 is refused, not cut."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number") from None


Whole = Annotated[int, Parameter(converter=_whole)]


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions:
    """What the network is made of."""

    gain: Annotated[
        list[str] | None, Parameter(help="NAME=X: gain of a pre-activation; repeat for others. Left out: 0.")
    ] = None
    bias_mean: Annotated[list[str] | None, Parameter(help="NAME=X: mean of its bias.")] = None
    bias_var: Annotated[list[str] | None, Parameter(help="NAME=X: variance of its bias.")] = None
    current: Annotated[list[str] | None, Parameter(help="NAME=X: constant input current.")] = None
    current_var: Annotated[list[str] | None, Parameter(help="NAME=X: variance of a white input current.")] = None
    activation: Annotated[str, Parameter(help="tanh or hard-tanh.")] = "tanh"
    step: Annotated[float | None, Parameter(help="Step of the leaky cell.")] = None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How long and how many."""

    steps: Annotated[Whole, Parameter(help="Steps of the run; averages are over its second half.")] = 300
    samples: Annotated[Whole, Parameter(help="Sampled neurons of the mean field.")] = 8000
    seed: Annotated[Whole, Parameter(help="Seed of everything drawn.")] = 0

    def as_arguments(self) -> dict[str, int]:
        """By name, as functions take them."""
        return {"steps": self.steps, "samples": self.samples, "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Where the result goes."""

    json: Annotated[bool, Parameter(help="Print one JSON object instead of text.")] = False
    output: Annotated[Path | None, Parameter(help="Write a figure: .png, .svg or .pdf.")] = None


CellName = Annotated[
    str,
    Parameter(help="vanilla, leaky, gru, gru-reset-after, lstm, lstm-coupled or mgu."),
]
EnsembleArguments = Annotated[EnsembleOptions, Parameter(name="*")]
RunArguments = Annotated[RunOptions, Parameter(name="*")]
ShowArguments = Annotated[ShowOptions, Parameter(name="*")]


def asked(name: str, options: EnsembleOptions, show: ShowOptions) -> Ensemble:
    """The ensemble that a command asks for, once it is sure that its figure can be written.

    Raises:
        ValueError: an option that does not read as it should, or a figure that cannot be.
    """
    built = built_ensemble(name, options)
    check_output(show.output)
    return built


def built_ensemble(name: str, options: EnsembleOptions) -> Ensemble:
    """The ensemble that a command asks for.

    Raises:
        ValueError: an option that does not read as it should.
    """
    from gatefield.cells.currents import ConstantCurrent, WhiteCurrent
    from gatefield.cells.ensemble import Ensemble

    constant, white = pairs("--current", options.current), pairs("--current-var", options.current_var)
    both = sorted(set(constant) & set(white))
    if both:
        raise ValueError(f"--current and --current-var both name {both[0]!r}; give one of them")
    currents = {k: ConstantCurrent(mean=v) for k, v in constant.items()} | {
        k: WhiteCurrent(v) for k, v in white.items()
    }
    return Ensemble(
        _cell(name, options),
        gain=pairs("--gain", options.gain),
        bias_mean=pairs("--bias-mean", options.bias_mean),
        bias_var=pairs("--bias-var", options.bias_var),
        current=currents,
    )


def _cell(name: str, options: EnsembleOptions) -> Cell:
    from gatefield.cells.builtin import named_cell

    more: dict[str, Any] = {"activation": options.activation.replace("-", "_")}
    if options.step is not None:
        if name != "leaky":
            raise ValueError(f"--step is for the leaky cell, not for {name}")
        more["step"] = options.step
    return named_cell(name, **more)


def pairs(option: str, texts: list[str] | None) -> dict[str, float]:
    """Numbers by name, from texts that read NAME=X."""
    found: dict[str, float] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"{option} {text!r} must read NAME=X, such as {option} update=10")
        if name in found:
            raise ValueError(f"{option} names {name!r} twice")
        try:
            found[name] = float(value)
        except ValueError:
            raise ValueError(f"{option} {text!r}: {value!r} is not a number") from None
    return found
