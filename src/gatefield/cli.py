"""The command line: parse, call one function, show. Everything heavy is imported where it is used."""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Parameter

from gatefield import __version__, compile_cache
from gatefield.background import Background
from gatefield.cache_command import cache
from gatefield.command_options import (
    CellName,
    EnsembleArguments,
    EnsembleOptions,
    RunArguments,
    RunOptions,
    ShowArguments,
    ShowOptions,
    Whole,
    built_ensemble,
    pairs,
)
from gatefield.figure_commands import figure
from gatefield.layer_commands import diagnose, init
from gatefield.saving import check_output, save_figure
from gatefield.sweep_commands import status, sweep
from gatefield.terminal import console, print_json, shown, table
from gatefield.train_command import train

app = App(
    name="gatefield",
    version=__version__,
    help="Mean-field and random-matrix theory of gated recurrent networks: what a large random GRU, LSTM or other "
    "gated cell does, by theory and by simulation.",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)
app.command(figure)
app.command(sweep)
app.command(train)
app.command(status)
app.command(diagnose)
app.command(init)
app.command(cache)
_COMPILE_NOTHING = (cache, status)


@app.command
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
    from gatefield.reports import report as make_report

    built = built_ensemble(cell, ensemble)
    check_output(show.output)
    if show.output is not None:
        Background(import_module, "gatefield.plots")  # matplotlib is loaded while both sides compute
    result = make_report(
        built,
        steps=run.steps,
        samples=run.samples,
        seed=run.seed,
        size=size,
        networks=networks,
        slow_radius=slow_radius,
        density=show.output is not None,
    )
    if show.output is not None:
        from gatefield.plots import plot_report

        save_figure(plot_report(result), show.output)
    if show.json:
        print_json(result.as_json())
    else:
        _print_report(result, show.output)


@app.command
def mean_field(
    cell: CellName,
    /,
    *,
    ensemble: EnsembleArguments = EnsembleOptions(),
    run: RunArguments = RunOptions(),
    show: ShowArguments = ShowOptions(),
) -> None:
    """The state of an infinite network: regime, variances, autocorrelation."""
    from gatefield.meanfield import mean_field as solve

    built = built_ensemble(cell, ensemble)
    check_output(show.output)
    field = solve(built, steps=run.steps, samples=run.samples, seed=run.seed)
    if show.output is not None:
        from gatefield.plots import plot_mean_field

        save_figure(plot_mean_field(field), show.output)
    if show.json:
        print_json(field.as_json())
        return
    rows = [
        (name, _mean(field, name), str(field.variance[name]), shown(field.autocorrelation_time(name)))
        for name in field.mean
    ]
    out = console()
    out.print(f"{built.title()}; N = ∞: [bold]{field.regime}[/bold]")
    out.print(table(("", "mean", "variance", "autocorrelation time"), rows))
    _print_messages([field.message] if field.message else [], show.output)


@app.command
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
    from gatefield.reports import spectrum_report

    built = built_ensemble(cell, ensemble)
    check_output(show.output)
    discs = [_disc(text) for text in disc or []]
    result = spectrum_report(
        built,
        discs=discs,
        steps=run.steps,
        samples=run.samples,
        seed=run.seed,
        size=size,
        networks=networks,
        density=show.output is not None,
    )
    if show.output is not None:
        from gatefield.plots import plot_spectrum

        save_figure(plot_spectrum(result), show.output)
    if show.json:
        print_json(result.as_json())
        return
    rows = [("spectral radius", result.spectral_radius)]
    rows += [
        (f"modes in |λ − ({x:g}{y:+g}i)| < {r:g}", pair) for (x, y, r), pair in zip(discs, result.masses, strict=True)
    ]
    _print_pairs(built.title(), result.field.regime, rows, size is not None)
    _print_messages(result.messages, show.output)


@app.command
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
    from gatefield.chaos import lyapunov_report

    built = built_ensemble(cell, ensemble)
    check_output(show.output)
    result = lyapunov_report(
        built,
        steps=run.steps,
        samples=run.samples,
        seed=run.seed,
        size=size,
        networks=networks,
        count=None if full or theory else count,
        pair=show.output is not None,
        window=window if theory else None,
    )
    if show.output is not None:
        from gatefield.plots import plot_lyapunov

        save_figure(plot_lyapunov(result), show.output)
    if show.json:
        print_json(result.as_json())
    else:
        _print_lyapunov(result, show.output)


@app.command
def fixed_points(
    cell: CellName,
    /,
    *,
    ensemble: EnsembleArguments = EnsembleOptions(),
    show: ShowArguments = ShowOptions(),
) -> None:
    """Every static state of an infinite network, and whether it is stable."""
    from gatefield.roots import excess_curve
    from gatefield.roots import fixed_points as find

    built = built_ensemble(cell, ensemble)
    check_output(show.output)
    points = find(built)
    if show.output is not None:
        from gatefield.plots import plot_fixed_points

        low = min([1e-6, *(point.q / 30.0 for point in points if point.q > 0.0)])
        save_figure(plot_fixed_points(excess_curve(built, low=low), points), show.output)
    if show.json:
        print_json({"ensemble": built.describe(), "fixed_points": [point.as_json() for point in points]})
    else:
        _print_fixed_points(built.title(), points, show.output)


@app.command
def phase_diagram(
    cell: CellName,
    /,
    *,
    ensemble: EnsembleArguments = EnsembleOptions(),
    show: ShowArguments = ShowOptions(),
    gain_x: Annotated[str | None, Parameter(help="NAME=LOW,HIGH,POINTS: the horizontal axis.")] = None,
    gain_y: Annotated[str | None, Parameter(help="NAME=LOW,HIGH,POINTS: the vertical axis.")] = None,
    beta: Annotated[
        float, Parameter(help="Mean bias over gain of a binary update gate.", allow_leading_hyphen=True)
    ] = 0.0,
    chaos: Annotated[Whole, Parameter(help="Points at which the onset of chaos is found, for a GRU; 0: none.")] = 5,
) -> None:
    """Static states over a plane of two gains: regions, folds, marginal stability, onset of chaos."""
    from gatefield.diagrams import diagram

    built = built_ensemble(cell, ensemble)
    check_output(show.output)
    result = diagram(built, gain_x=_axis("--gain-x", gain_x), gain_y=_axis("--gain-y", gain_y), beta=beta, chaos=chaos)
    if show.output is not None:
        from gatefield.plots import plot_diagram

        save_figure(plot_diagram(result), show.output)
    if show.json:
        print_json(result.as_json())
    else:
        _print_diagram(result, show.output)


FIGURES = ("variance", "bias", "potential", "autocorrelation", "comparison", "hysteresis")


@app.command
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
    from gatefield import edge as theory

    gates = pairs("--gate", gate) if gate is not None else None
    _check_figure(figure, show.output)
    model = theory.reduced(gain, bias_std)
    law = theory.onset_law(gain, gain if gates is None else gates)
    found = None
    if compare or size is not None:
        options: dict[str, Any] = {"steps": run.steps, "samples": run.samples, "seed": run.seed}
        found = theory.compare(gain, gates, size=size, networks=networks, **options)
    if show.output is not None and figure is None and found is not None:
        from gatefield.edge_plots import plot_compared

        save_figure(plot_compared(found), show.output)
    elif show.output is not None:
        save_figure(_edge_figure(figure or "variance", gain, bias_std, gates, size, networks), show.output)
    if show.json:
        out = {"reduced": model.as_json(), "onset_law": law.as_json(), "version": __version__}
        print_json(out | ({} if found is None else {"comparison": found.as_json()}))
    else:
        _print_edge(model, law, found, show.output)


def _check_figure(kind: str | None, output: Path | None) -> None:
    if kind is not None and kind not in FIGURES:
        raise ValueError(f"--figure {kind!r} is not known; use one of {', '.join(FIGURES)}")
    if kind is not None and output is None:
        raise ValueError(f"--figure {kind} needs --output FILE to write to")
    check_output(output)


def _edge_figure(
    kind: str, gain: float, bias_std: float, gates: dict[str, float] | None, size: int | None, networks: int
) -> Any:
    from gatefield import edge as theory
    from gatefield import edge_plots

    match kind:
        case "variance":
            return edge_plots.plot_variance(theory.variance_curves())
        case "bias":
            return edge_plots.plot_bias(theory.bias_curves())
        case "potential":
            return edge_plots.plot_potential(theory.potential_curves(gain, bias_std))
        case "autocorrelation":
            return edge_plots.plot_autocorrelations(theory.autocorrelation_curves())
        case "hysteresis":
            loop = theory.hysteresis_loop(6.0 if gates is None else gates, size=size or 1000, networks=networks)
            return edge_plots.plot_hysteresis(loop)
        case _:
            modes = tuple(theory.MODES)
            return edge_plots.plot_comparison(theory.comparison_curves(modes=modes, size=size, networks=networks))


# ---- parsing ----


def _disc(text: str) -> tuple[float, float, float]:
    parts = text.split(",")
    try:
        x, y, radius = (float(part) for part in parts)
    except ValueError:
        raise ValueError(f"--disc {text!r} must read X,Y,R, such as --disc 0,0,0.3") from None
    return x, y, radius


def _axis(option: str, text: str | None) -> tuple[str, float, float, int] | None:
    if text is None:
        return None
    name, _, numbers = text.partition("=")
    try:
        low, high, points = numbers.split(",")
        return name, float(low), float(high), int(points)
    except ValueError:
        raise ValueError(f"{option} {text!r} must read NAME=LOW,HIGH,POINTS, such as {option} reset=0,30,200") from None


# ---- showing ----


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


def _print_report(result: Any, output: Path | None) -> None:
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
    _print_messages(result.messages, output)


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


def _print_lyapunov(result: Any, output: Path | None) -> None:
    from gatefield.estimates import Estimate

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
    _print_messages(result.messages, output)


def _print_edge(model: Any, law: Any, found: Any, output: Path | None) -> None:
    out = console()
    from gatefield.sompolinsky import critical_gain

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
    message = "" if found is None else found.mean_field.message
    _print_messages([message] if message else [], output)


def _print_fixed_points(title: str, points: list[Any], output: Path | None) -> None:
    """One column for each root."""
    rows: list[tuple[str, ...]] = []
    for name in points[0].ensemble.cell.state_names:
        rows.append((f"second moment of {name}", *(f"{p.second_moment[name]:.8g}" for p in points)))
        rows.append((f"variance of {name}", *(f"{p.variance[name]:.8g}" for p in points)))
    rows.append(("spectral radius", *(str(p.spectral_radius) for p in points)))
    rows.append(("shaping", *(f"{p.shaping:.6g}" for p in points)))
    rows.append(("growth", *(f"{p.growth:.6g}" for p in points)))
    rows.append(("stable", *("yes" if p.stable else "no" for p in points)))
    rows.append(("residual", *(f"{p.residual:.1g}" for p in points)))
    out = console()
    plural = "fixed point" if len(points) == 1 else "fixed points"
    out.print(f"{title}; N = ∞: [bold]{len(points)} {plural}[/bold]")
    out.print(table(("", *(f"root {i + 1}" for i in range(len(points)))), rows))
    _print_messages([], output)


def _print_diagram(result: Any, output: Path | None) -> None:
    out = console()
    x, y = result.plane.attrs["gain_x"], result.plane.attrs["gain_y"]
    out.print(f"{result.ensemble.title()}; static states over gains {x} and {y}, N = ∞")
    out.print(table(("region", "share"), [(name, f"{share:.3f}") for name, share in result.shares.items()]))
    if result.tricritical is not None:
        out.print(f"Tricritical point: {x} {result.tricritical[0]:.7g}, {y} {result.tricritical[1]:.7g}")
    if result.fold is not None and len(result.fold.gain_x):
        chosen = slice(None, None, max(1, len(result.fold.gain_x) // 8))
        columns = (result.fold.gain_x, result.fold.gain_y, result.fold.second_moment, result.fold.shaping)
        rows = [tuple(f"{v:.8g}" for v in row) for row in zip(*(c[chosen] for c in columns), strict=True)]
        out.print("Folds:")
        out.print(table((x, y, "second moment", "shaping"), rows))
    if result.chaos is not None and len(result.chaos.gain_x):
        out.print("Onset of chaos, constant update gate:")
        onset = result.chaos
        rows = [
            (f"{a:.4g}", f"{(b + c) / 2:.4g} ± {(c - b) / 2:.2g}")
            for a, b, c in zip(onset.gain_x, onset.low, onset.high, strict=True)
        ]
        out.print(table((x, y), rows))
    _print_messages([], output)


def _print_messages(messages: list[str], output: Path | None) -> None:
    out = console()
    for message in messages:
        out.print(f"[yellow]not converged[/yellow]: {message}", soft_wrap=True)
    if output is not None:
        out.print(f"Figure: {output}", soft_wrap=True)


# ---- running ----


def main() -> NoReturn:
    """Entry point: exit 0, 2 for what the user got wrong, 130 when interrupted."""
    try:
        command, given, _ = app.parse_args(exit_on_error=False, print_error=False)
        if _is_ours(command) and command not in _COMPILE_NOTHING:
            compile_cache.keep_bytecode()
            compile_cache.turn_on()
        command(*given.args, **given.kwargs)
    except CycloptsError as error:
        _fail(_explain(error))
    except ValueError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:  # of an extra
        _fail(str(error))
    except MemoryError:
        _fail("out of memory; use a smaller --size, --steps or --samples")
    except BrokenPipeError:  # the reader has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _exit(1)
    except OSError as error:
        print(f"gatefield: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        _exit(1)
    except KeyboardInterrupt as stop:
        print(f"gatefield: {stop if stop.args else 'interrupted; nothing was written'}", file=sys.stderr)  # noqa: T201
        _exit(130)
    _exit(0)


def _is_ours(command: Any) -> bool:
    """Whether this is a command, rather than what shows help or the version."""
    return getattr(command, "__module__", "").partition(".")[0] == "gatefield"


def _fail(message: str) -> NoReturn:
    print(f"gatefield: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    _exit(2)


def _exit(code: int) -> NoReturn:
    """Leave at once if a thread is still at work in compiled code, which nothing can interrupt."""
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _explain(error: CycloptsError) -> str:
    """Cyclopts' message on one line, with what is known where something is not."""
    from cyclopts import MissingArgumentError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

    match error:
        case UnknownCommandError():
            given = (error.unused_tokens or ["?"])[0]
            return f"command {given!r} is not known; use one of {', '.join(_commands())}"
        case UnknownOptionError():
            arguments = error.argument_collection or []
            options = sorted({name for argument in arguments for name in argument.names if name.startswith("--")})
            return f"{str(error).rstrip('.')}; the options are {', '.join(options)}"
        case UnusedCliTokensError():
            return f"{' '.join(error.unused_tokens or [])!r} is one argument too many; values follow an option's name"
        case MissingArgumentError():
            return f"{str(error).rstrip('.')}; see gatefield --help"
        case _:
            return str(error).rstrip(".")


def _commands() -> list[str]:
    return [name for name in app if not name.startswith("-")]
