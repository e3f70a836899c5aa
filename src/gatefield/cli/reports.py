"""`gatefield report`, `mean-field` and `spectrum`: what a large random network does."""

from __future__ import annotations

from importlib import import_module
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
from gatefield.running.background import Background


def report(
    cell: CellName,
    /,
    *,
    ensemble: EnsembleArguments = EnsembleOptions(),
    run: RunArguments = RunOptions(),
    show: ShowArguments = ShowOptions(),
    size: Annotated[Whole, Parameter(help="Neurons of each simulated network.")] = 1000,
    networks: Annotated[Whole, Parameter(help="Simulated networks.")] = 3,
    slow_radius: Annotated[float, Parameter(help="Modes with |λ − 1| below it count as slow.")] = 0.05,
) -> None:
    """What a large random network does: theory beside simulation, and a figure."""
    from gatefield.reports.ensembles import report as make_report

    built = asked(cell, ensemble, show)
    if show.output is not None:
        Background(import_module, "gatefield.plots.spectra")  # matplotlib is loaded while both sides compute
    result = make_report(
        built,
        **run.as_arguments(),
        size=size,
        networks=networks,
        slow_radius=slow_radius,
        density=show.output is not None,
    )
    answer_with(show, result, _print_report, "spectra.plot_report")


def mean_field(
    cell: CellName,
    /,
    *,
    ensemble: EnsembleArguments = EnsembleOptions(),
    run: RunArguments = RunOptions(),
    show: ShowArguments = ShowOptions(),
) -> None:
    """The state of an infinite network: regime, variances, autocorrelation."""
    from gatefield.meanfield.sampled import mean_field as solve

    built = asked(cell, ensemble, show)
    field = solve(built, **run.as_arguments())
    answer_with(show, field, _print_field, "spectra.plot_mean_field")


def spectrum(
    cell: CellName,
    /,
    *,
    ensemble: EnsembleArguments = EnsembleOptions(),
    run: RunArguments = RunOptions(),
    show: ShowArguments = ShowOptions(),
    size: Annotated[Whole | None, Parameter(help="Also simulate a network of this many neurons.")] = None,
    networks: Annotated[Whole, Parameter(help="Simulated networks, with --size.")] = 1,
    disc: Annotated[
        list[str] | None,
        Parameter(help="X,Y,R: count modes within R of X + iY; repeat for more.", allow_leading_hyphen=True),
    ] = None,
) -> None:
    """Eigenvalues of the one-step Jacobian: spectral radius, and the modes within discs, per neuron."""
    from gatefield.reports.ensembles import spectrum_report

    built = asked(cell, ensemble, show)
    discs = [_disc(text) for text in disc or []]
    result = spectrum_report(
        built,
        discs=discs,
        **run.as_arguments(),
        size=size,
        networks=networks,
        density=show.output is not None,
    )
    answer_with(show, result, _print_spectrum, "spectra.plot_spectrum")


def _disc(text: str) -> tuple[float, float, float]:
    parts = text.split(",")
    try:
        x, y, radius = (float(part) for part in parts)
    except ValueError:
        raise ValueError(f"--disc {text!r} must read X,Y,R, such as --disc 0,0,0.3") from None
    return x, y, radius


def _print_field(field: Any) -> None:
    rows = [
        (name, _mean(field, name), str(field.variance[name]), shown(field.autocorrelation_time(name)))
        for name in field.mean
    ]
    out = console()
    out.print(f"{field.ensemble.title()}; N = ∞: [bold]{field.regime}[/bold]")
    out.print(table(("", "mean", "variance", "autocorrelation time"), rows))


def _print_spectrum(result: Any) -> None:
    rows = [("spectral radius", result.spectral_radius)]
    rows += [
        (f"modes in |λ − ({x:g}{y:+g}i)| < {r:g}", pair)
        for (x, y, r), pair in zip(result.discs, result.masses, strict=True)
    ]
    _print_pairs(result.ensemble.title(), result.field.regime, rows, result.simulation is not None)


def _mean(field: Any, name: str) -> str:
    """A mean, 0 where it is rounding beside the fluctuations."""
    mean = field.mean[name]
    return "0" if abs(mean.value) < 1e-12 * float(field.variance[name].value) ** 0.5 else str(mean)


def _print_pairs(title: str, regime: str, rows: list[tuple[str, Any]], simulated: bool, other: str = "") -> None:
    out = console()
    out.print(f"{title}: [bold]{regime}[/bold]{other}")
    header = ("", "theory (N = ∞)", *(("simulation",) if simulated else ()))
    cells = [(name, shown(p.theory), *((shown(p.simulation),) if simulated else ())) for name, p in rows]
    out.print(table(header, cells))


def _print_report(result: Any) -> None:
    rows = [(f"variance of {name}", pair) for name, pair in result.state_variances.items()]
    rows += [
        ("autocorrelation time (steps)", result.autocorrelation_time),
        ("spectral radius", result.spectral_radius),
        ("fraction of slow modes", result.fraction_of_slow_modes),
    ]
    simulation = result.simulation
    other = "" if simulation.regime == result.field.regime else f" (simulated: {simulation.regime})"
    _print_pairs(result.ensemble.title(), result.field.regime, rows, True, other)
    plural = "network" if simulation.networks == 1 else "networks"
    console().print(
        f"Simulated: {simulation.networks} {plural} of {simulation.size} neurons, {simulation.steps} steps. "
        f"Slow: |λ − 1| < {result.slow_radius:g}.",
        soft_wrap=True,
    )
