"""The figures of the papers, by name: numbers from theory and simulation, drawn, and kept together."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gatefield.figures.panels import PAPER, QUICK, FigureData
from gatefield.running.arguments import whole
from gatefield.running.saving import check_writable

# Where the numbers of each are made: module and function. What draws them is `drawings.draw_<name>`.
FIGURES = {
    "cks1": "gru",
    "cks2": "gru",
    "cks3": "lstm",
    "cks4": "training",
    "eoc1": "edge",
    "eoc2": "edge",
}
DATA_SUFFIXES = (".nc", ".zarr")


def figure_data(name: str, *, quick: bool = False, seed: int = 0) -> FigureData:
    """The numbers of a figure.

    Args:
        name: one of `FIGURES`.
        quick: small networks and few points, in seconds; otherwise the paper's sizes, in less than two minutes
            ("cks4", which trains networks, takes ten).
        seed: of everything drawn.

    Raises:
        ValueError: an unknown name.
    """
    _check_name(name)
    make: Callable[..., FigureData] = getattr(import_module(f"gatefield.figures.{FIGURES[name]}"), name)
    return make(QUICK if quick else PAPER, whole("seed", seed, 0))


def _check_name(name: str) -> None:
    if name not in FIGURES:
        raise ValueError(f"figure {name!r} is not known; use one of {', '.join(FIGURES)}, or all")


def check_data(name: str, path: Path) -> None:
    """Refuse a figure that is not known, or a path for its numbers that could not be written, before anything runs.

    Raises:
        ValueError: with the remedy.
    """
    _check_name(name)
    if path.suffix not in DATA_SUFFIXES:
        raise ValueError(f"--data {str(path)!r}: the suffix must be one of {', '.join(DATA_SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"--data {str(path)!r}: there is no folder {str(path.parent)!r}; make it first")
    if path.is_dir() and not (path / "zarr.json").exists():
        raise ValueError(f"--data {str(path)!r} is a folder with other things in it; choose another path")
    check_writable("--data", path.with_name(f"{path.stem}.nc") if path.is_dir() else path)
    if path.suffix == ".zarr" and find_spec("zarr") is None:
        raise ValueError(f"--data {str(path)!r} needs zarr: pip install 'gatefield[sweep]', or write .nc")


def draw(data: FigureData) -> Any:
    """The figure of these numbers, a `matplotlib.figure.Figure`."""
    from gatefield.figures import drawings

    return getattr(drawings, f"draw_{data.name}")(data)


def save_data(data: FigureData, path: Path) -> None:
    """Write the numbers of all panels as NetCDF or Zarr, whole or not at all.

    Raises:
        ValueError: see `check_data`.
        OSError: they could not be written.
    """
    check_data(data.name, path)
    dataset = data.to_dataset()
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem}-"))
    try:
        part = folder / path.name
        if path.suffix == ".nc":
            dataset.to_netcdf(part, engine="scipy")
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that not all programs read consolidated metadata
                dataset.to_zarr(part, consolidated=True)
            if path.is_dir():
                shutil.rmtree(path)
        part.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
