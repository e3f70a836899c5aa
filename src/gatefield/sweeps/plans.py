"""Sweeps written down: what a TOML file asks for."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gatefield.cells.builtin import named_cell
from gatefield.cells.ensemble import Ensemble
from gatefield.running.arguments import finite, positive, whole
from gatefield.sweeps.grids import COUNTED, Grid, as_grid, refuse_many
from gatefield.sweeps.points import STATISTICS, Job
from gatefield.sweeps.quantities import quantity

_KEYS = (
    "quantity", "function", "cell", "activation", "step", *STATISTICS, "grid", "points", "options", "seed", "batch",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plan:
    """A sweep ready to run.

    Attributes:
        text: the file's tables, as plain values.
        folder: where a function's file is looked for.
    """

    job: Job
    grid: Grid
    seed: int
    text: dict[str, Any]
    folder: Path


def read_plan(path: Path) -> Plan:
    """The sweep that a TOML file asks for.

    Raises:
        ValueError: no such file, or one that says something that cannot be.
    """
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from None
    try:
        return plan_from(text, path.parent.resolve())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def plan_from(text: dict[str, Any], folder: Path) -> Plan:
    """The sweep that a file's tables ask for.

    Raises:
        ValueError: a key that is not known, or a value that cannot be.
    """
    unknown = sorted(set(text) - set(_KEYS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not known; the keys are {', '.join(_KEYS)}")
    if ("quantity" in text) == ("function" in text):
        raise ValueError("give either quantity = 'a name of gatefield' or function = 'file.py:name'")
    if ("grid" in text) == ("points" in text):
        raise ValueError("give either a table [grid] of axes or tables [[points]]")
    for key in ("quantity", "function", "cell", "activation"):
        if not isinstance(text.get(key, ""), str):
            raise ValueError(f"{key} = {text[key]!r} must be text")
    if not isinstance(text.get("points", []), list):
        raise ValueError(f"points = {text['points']!r} must be tables [[points]]")
    function = quantity(text["quantity"]) if "quantity" in text else _load(str(text["function"]), folder)
    if "quantity" in text and "cell" not in text:
        raise ValueError("a quantity needs a cell, such as cell = 'gru'")
    ensemble = _ensemble(text) if "cell" in text else None
    batch = text.get("batch")
    job = Job(function, ensemble, dict(_table(text, "options")), batch if batch is None else whole("batch", batch))
    grid = as_grid(
        [_flat(point) for point in text["points"]]
        if "points" in text
        else {name: _axis(name, values) for name, values in _flat(_table(text, "grid")).items()}
    )
    return Plan(job, grid, whole("seed", text.get("seed", 0), 0), text, folder)


def _table(text: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = text.get(key, {})
    if not isinstance(table, Mapping):
        raise ValueError(f"{key} = {table!r} must be a table")
    return table


def _ensemble(text: Mapping[str, Any]) -> Ensemble:
    more: dict[str, Any] = {"activation": str(text.get("activation", "tanh")).replace("-", "_")}
    if "step" in text:
        more["step"] = text["step"]
    return Ensemble(named_cell(str(text["cell"]), **more), **{key: dict(_table(text, key)) for key in STATISTICS})


def _flat(table: Any) -> dict[str, Any]:
    """Axes by name: those of the ensemble may be written gain.update, which TOML reads as a table in a table."""
    if not isinstance(table, Mapping):
        raise ValueError(f"points: {table!r} must be a table")
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if key in STATISTICS and isinstance(value, Mapping):
            flat |= {f"{key}_{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def _axis(name: str, values: Any) -> Any:
    """An axis' values: as listed, evenly spaced {from, to, points, scale}, or so many repetitions."""
    if name == COUNTED and isinstance(values, int):
        refuse_many(f"grid: {name}", values)
        return range(whole(COUNTED, values))
    if not isinstance(values, Mapping):
        return values
    if set(values) - {"scale"} != {"from", "to", "points"}:
        raise ValueError(f"grid: {name} = {dict(values)} must read {{ from = 1.5, to = 3.5, points = 9 }}")
    points = whole(f"grid: {name}.points", values["points"])
    refuse_many(f"grid: {name}", points)
    scale = values.get("scale", "linear")
    if scale == "log":
        low, high = (positive(f"grid: {name}.{end}", values[end]) for end in ("from", "to"))
        return np.geomspace(low, high, points)
    if scale != "linear":
        raise ValueError(f"grid: {name}.scale = {scale!r} must be 'linear' or 'log'")
    return np.linspace(finite(f"grid: {name}.from", values["from"]), finite(f"grid: {name}.to", values["to"]), points)


def _load(name: str, folder: Path) -> Callable[..., Any]:
    """A user's function from "file.py:name", relative to the folder, or from "module:name"."""
    place, _, attribute = name.rpartition(":")
    if not place:
        raise ValueError(f"function {name!r} must read 'file.py:name' or 'module:name'")
    try:
        module = _load_file(folder / place) if place.endswith(".py") else importlib.import_module(place)
    except ImportError as error:
        raise ValueError(f"function {name!r}: {error}") from None
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ValueError(f"function {name!r}: {place} has no function {attribute!r}")
    return function


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"function: there is no file {str(path)!r}")
    name = f"gatefield_sweep_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"function: {str(path)!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"function: {str(path)!r} cannot be loaded: {type(error).__name__}: {error}") from error
    return module
