"""`gatefield figure`: the figures of the papers, each with its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gatefield.cli.options import Whole
from gatefield.cli.terminal import print_json


def figure(
    name: Annotated[str, Parameter(help="cks1, cks2, cks3, cks4, eoc1, eoc2, or all.")],
    /,
    *,
    quick: Annotated[bool, Parameter(help="Small networks and few points, to see how it looks.")] = False,
    output: Annotated[
        Path | None, Parameter(help="The picture: .png, .svg or .pdf; for all, a folder. By default NAME.png here.")
    ] = None,
    data: Annotated[
        Path | None, Parameter(help="The numbers: .nc or .zarr; for all, a folder. By default beside the picture.")
    ] = None,
    seed: Annotated[Whole, Parameter(help="Seed of everything drawn.")] = 0,
    json: Annotated[bool, Parameter(help="Print one JSON object instead of text.")] = False,
) -> None:
    """A figure of the papers, theory and simulation in each panel, and its numbers beside it."""
    from gatefield.figures.figures import FIGURES, check_data, draw, figure_data, save_data
    from gatefield.running.saving import check_output, save_figure

    names = tuple(FIGURES) if name == "all" else (name,)
    if name != "all":
        check_output(output)
        pictures = {name: output or Path(f"{name}.png")}
        numbers = {name: data or pictures[name].with_suffix(".nc")}
    else:
        folder = _folder("--output", output or Path())
        pictures = {n: folder / f"{n}.png" for n in names}
        numbers = {n: _folder("--data", data or folder) / f"{n}.nc" for n in names}
    for n in names:
        check_output(pictures[n])
        check_data(n, numbers[n])
    for n in names:
        made = figure_data(n, quick=quick, seed=seed)
        save_figure(draw(made), pictures[n], dpi=110)  # these are large
        save_data(made, numbers[n])
        if not json:
            print(f"{n}: {pictures[n]}, numbers in {numbers[n]}", flush=True)  # noqa: T201
    if json:
        print_json({n: {"picture": str(pictures[n]), "data": str(numbers[n])} for n in names})


def _folder(option: str, path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"{option} {str(path)!r} must be a folder that exists, for all figures")
    return path
