"""`gatefield lyapunov`: exponents of infinite networks and of finite ones."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from gatefield.cli.options import (
    CellName,
    EnsembleArguments,
    EnsembleOptions,
    RunArguments,
    RunOptions,
    ShowArguments,
    ShowOptions,
    Whole,
    asked,
)
from gatefield.cli.terminal import answer_with, console, shown, table


def lyapunov(
    cell: CellName,
    /,
    *,
    ensemble: EnsembleArguments = EnsembleOptions(),
    run: RunArguments = RunOptions(),
    show: ShowArguments = ShowOptions(),
    size: Annotated[Whole | None, Parameter(help="Also simulate networks of this many neurons.")] = None,
    networks: Annotated[Whole, Parameter(help="Simulated networks, with --size.")] = 1,
    count: Annotated[Whole, Parameter(help="Exponents of each network, the largest first.")] = 50,
    full: Annotated[bool, Parameter(help="All exponents of each network.")] = False,
    theory: Annotated[
        bool, Parameter(help="All exponents of an infinite network; with --size, of networks too.")
    ] = False,
    window: Annotated[Whole, Parameter(help="Steps of a window, even, with --theory.")] = 32,
) -> None:
    """Lyapunov exponents: the largest of an infinite network, and those of networks with what follows from them."""
    from gatefield.reports.lyapunov import lyapunov_report

    built = asked(cell, ensemble, show)
    result = lyapunov_report(
        built,
        **run.as_arguments(),
        size=size,
        networks=networks,
        count=None if full or theory else count,
        pair=show.output is not None,
        window=window if theory else None,
    )
    answer_with(show, result, _print_lyapunov, "chaos.plot_lyapunov")


def _with_distribution(rows: list[tuple[str, ...]], distribution: Any) -> list[tuple[str, ...]]:
    """The rows of simulated exponents, with what theory says of an infinite network beside them."""
    known = {
        "Kaplan–Yorke dimension per neuron": distribution.kaplan_yorke_dimension,
        "entropy rate per neuron (nats per step)": distribution.entropy_rate,
        "share of positive exponents": distribution.fraction_positive,
        "mean exponent": distribution.mean,
    }
    found = {row[0]: row[2:] for row in rows}
    old = [(name, str(known[name]) if name in known else theory, *rest) for name, theory, *rest in rows]
    return old + [(name, str(value)) for name, value in known.items() if name not in found]


def _print_lyapunov(result: Any) -> None:
    from gatefield.numerics.estimates import Estimate

    theory = result.theory
    out = console()
    regime = "" if theory.field.regime == theory.verdict else f" ({theory.field.regime})"
    out.print(f"{result.ensemble.title()}: [bold]{theory.verdict}[/bold]{regime}")
    rows = [("largest exponent (per step)", str(Estimate(theory.value, theory.error)))]
    first = result.spectra[0] if result.spectra else None
    if first is not None:
        named = [
            ("Kaplan–Yorke dimension per neuron", "kaplan_yorke_dimension"),
            ("entropy rate per neuron (nats per step)", "entropy_rate"),
            ("participation ratio per neuron", "participation_ratio"),
        ]
        rows = [(*rows[0], shown(result.simulated("largest")))]
        rows += [(title, "", shown(result.simulated(name, per_neuron=True))) for title, name in named]
        rows.append(("share of positive exponents", "", shown(result.simulated("fraction_positive"))))
        if first.full:
            rows.append(("mean exponent", "", shown(result.simulated("mean"))))
    if result.distribution is not None:
        rows = _with_distribution(rows, result.distribution)
    out.print(table(("", "theory (N = ∞)", *(("simulation",) if result.spectra else ())), rows))
    if first is not None:
        plural = "network" if len(result.spectra) == 1 else "networks"
        out.print(
            f"Simulated: {len(result.spectra)} {plural} of {first.neurons} neurons, {first.count} of {first.dimension} "
            f"exponents over {first.steps} steps.",
            soft_wrap=True,
        )
