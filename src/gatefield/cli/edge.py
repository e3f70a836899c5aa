"""`gatefield edge`: the edge of chaos of LSTMs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gatefield.cli.options import RunArguments, RunOptions, ShowArguments, ShowOptions, Whole, pairs
from gatefield.cli.terminal import answer, console, shown, table
from gatefield.results.version import __version__
from gatefield.running.saving import check_output

FIGURES = ("variance", "bias", "potential", "autocorrelation", "comparison", "hysteresis")


def edge(
    *,
    gain: Annotated[float, Parameter(help="Gain g of the notes, the LSTM's cell gain; 2 is critical.")] = 3.0,
    bias_std: Annotated[float, Parameter(help="Standard deviation of the reduced model's bias.")] = 0.0,
    gate: Annotated[
        list[str] | None, Parameter(help="NAME=X: gain of a gate; others then 0. All equal to --gain if left out.")
    ] = None,
    compare: Annotated[bool, Parameter(help="Also the LSTM's own mean field.")] = False,
    size: Annotated[Whole | None, Parameter(help="Also LSTM networks of this many neurons, with --compare.")] = None,
    networks: Annotated[Whole, Parameter(help="How many of them.")] = 3,
    run: RunArguments = RunOptions(),
    show: ShowArguments = ShowOptions(),
    figure: Annotated[
        str | None,
        Parameter(
            help=f"What --output shows: {', '.join(FIGURES)}. By default variance, with --compare autocorrelations."
        ),
    ] = None,
) -> None:
    """The edge of chaos of LSTMs: the reduced model, exactly; with --compare, the LSTM itself beside it."""
    from gatefield.edge.comparison import compare as beside
    from gatefield.edge.onset import onset_law
    from gatefield.edge.sompolinsky import reduced

    gates = pairs("--gate", gate) if gate is not None else None
    _check_figure(figure, show.output)
    model = reduced(gain, bias_std)
    law = onset_law(gain, gain if gates is None else gates)
    found = None
    if compare or size is not None:
        found = beside(gain, gates, size=size, networks=networks, **run.as_arguments())
    picture: tuple[Any, ...] = ()
    if show.output is not None and figure is None and found is not None:
        picture = ("edge.plot_compared", found)
    elif show.output is not None:
        picture = _picture(figure or "variance", gain, bias_std, gates, size, networks)
    parts = {"reduced": model, "onset_law": law, **({} if found is None else {"comparison": found})}
    answer(
        show,
        json=lambda: {name: part.as_json() for name, part in parts.items()} | {"version": __version__},
        text=lambda: _print_edge(model, law, found),
        picture=picture,
        messages=() if found is None else found.mean_field.messages,
    )


def _check_figure(kind: str | None, output: Path | None) -> None:
    if kind is not None and kind not in FIGURES:
        raise ValueError(f"--figure {kind!r} is not known; use one of {', '.join(FIGURES)}")
    if kind is not None and output is None:
        raise ValueError(f"--figure {kind} needs --output FILE to write to")
    check_output(output)


def _picture(
    kind: str, gain: float, bias_std: float, gates: dict[str, float] | None, size: int | None, networks: int
) -> tuple[Any, ...]:
    """Where a figure is drawn, and of what."""
    from gatefield.edge import curves
    from gatefield.edge.coexistence import network_hysteresis

    match kind:
        case "variance":
            return "edge.plot_variance", curves.variance_curves()
        case "bias":
            return "edge.plot_bias", curves.bias_curves()
        case "potential":
            return "edge.plot_potential", curves.potential_curves(gain, bias_std)
        case "autocorrelation":
            return "edge.plot_autocorrelations", curves.autocorrelation_curves()
        case "hysteresis":
            loop = network_hysteresis(6.0 if gates is None else gates, size=size or 1000, networks=networks)
            return "edge.plot_hysteresis", loop
        case _:
            modes = tuple(curves.MODES)
            return "edge.plot_comparison", curves.comparison_curves(modes=modes, size=size, networks=networks)


def _print_edge(model: Any, law: Any, found: Any) -> None:
    out = console()
    from gatefield.edge.sompolinsky import critical_gain

    state = "chaotic" if model.chaotic else "at rest"
    bias = f", bias {model.bias_std:g}" if model.bias_std else ""
    out.print(
        f"Reduced model of the LSTM at gain {model.gain:g}{bias}: [bold]{state}[/bold] "
        f"(critical gain {critical_gain(model.bias_std):.7g})",
        soft_wrap=True,
    )
    rows = [
        ("static variance (neurons that rest)", f"{model.static_variance:.7g}", ""),
        ("dynamic variance", f"{model.dynamic_variance:.7g}", f"{model.map.variance:.7g}"),
        ("plateau of the correlation", f"{model.plateau:.7g}", f"{model.map.plateau:.7g}"),
        ("half-time (steps)", f"{model.half_time:.6g}", f"{model.map.half_time:.6g}"),
        ("decay time (steps)", f"{model.decay_time:.6g}", ""),
        ("largest exponent (per step)", f"{model.lyapunov_max:.7g}", f"{model.map.lyapunov_max:.7g}"),
        ("growth at the static solution", f"{model.static_lyapunov_max:.7g}", ""),
        ("the notes' 1/τ_∞² (negative: imaginary)", f"{model.notes_relaxation:.6g}", ""),
    ]
    out.print(table(("", "flow", "map"), rows))
    gates = ", ".join(f"{name} {value:g}" for name, value in law.gates.items())
    out.print(f"LSTM near its edge, leading order, gates {gates}:", soft_wrap=True)
    named = [("E h²", law.second_moment), ("half-time (steps)", law.half_time), ("λ_max per step", law.lyapunov_max)]
    out.print(table(("", "onset law"), [(name, f"{value:.6g}") for name, value in named]))
    if found is not None:
        columns = ("second_moment", "half_time", "lyapunov_max")
        rows = [(row["model"], *(shown(row[name]) for name in columns)) for row in found.rows]
        out.print(table(("", "E h²", "half-time (steps)", "λ_max per step"), rows))
