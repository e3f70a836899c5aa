"""`gatefield fixed-points` and `gatefield phase-diagram`: static states, one by one and over two gains."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from gatefield.cli.options import (
    CellName,
    EnsembleArguments,
    EnsembleOptions,
    ShowArguments,
    ShowOptions,
    Whole,
    asked,
)
from gatefield.cli.terminal import answer, console, table


def fixed_points(
    cell: CellName,
    /,
    *,
    ensemble: EnsembleArguments = EnsembleOptions(),
    show: ShowArguments = ShowOptions(),
) -> None:
    """Every static state of an infinite network, and whether it is stable."""
    from gatefield.phases.roots import excess_curve
    from gatefield.phases.roots import fixed_points as find

    built = asked(cell, ensemble, show)
    points = find(built)
    picture: tuple[Any, ...] = ()
    if show.output is not None:
        low = min([1e-6, *(point.q / 30.0 for point in points if point.q > 0.0)])
        picture = ("phases.plot_fixed_points", excess_curve(built, low=low), points)
    answer(
        show,
        json=lambda: {"ensemble": built.describe(), "fixed_points": [point.as_json() for point in points]},
        text=lambda: _print_fixed_points(built.title(), points),
        picture=picture,
    )


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
    from gatefield.reports.diagrams import diagram

    built = asked(cell, ensemble, show)
    result = diagram(built, gain_x=_axis("--gain-x", gain_x), gain_y=_axis("--gain-y", gain_y), beta=beta, chaos=chaos)
    answer(show, json=result.as_json, text=lambda: _print_diagram(result), picture=("phases.plot_diagram", result))


def _axis(option: str, text: str | None) -> tuple[str, float, float, int] | None:
    if text is None:
        return None
    name, _, numbers = text.partition("=")
    try:
        low, high, points = numbers.split(",")
        return name, float(low), float(high), int(points)
    except ValueError:
        raise ValueError(f"{option} {text!r} must read NAME=LOW,HIGH,POINTS, such as {option} reset=0,30,200") from None


def _print_fixed_points(title: str, points: list[Any]) -> None:
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


def _print_diagram(result: Any) -> None:
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
