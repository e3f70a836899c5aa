"""The numbers of the figure on training: slow modes at the start, epochs to learn, accuracy [CKS fig. 4]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gatefield.cells.builtin import GRU
from gatefield.cells.ensemble import Ensemble
from gatefield.figures.panels import FigureData, Scale
from gatefield.running.background import available_cores
from gatefield.sweeps.run import sweep
from gatefield.training.forecasting import forecast, mackey_glass
from gatefield.training.trainability import train_row

RESET = 0.1  # a_r [CKS App. H]
LEVEL = 0.75  # training accuracy [CKS fig. 4]


@dataclass(frozen=True)
class Grid:
    """What is trained: a row of candidate gains for each update gain, so many times.

    Attributes:
        data: images, as in `sequential_images`.
        series: steps of Mackey–Glass, for networks of `size` neurons.
    """

    updates: tuple[float, ...] = (0.0, 2.0, 5.0, 10.0, 20.0)
    candidates: tuple[float, ...] = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
    replicates: int = 2
    data: str = "digits"
    hidden: int = 64
    epochs: int = 40
    learning_rate: float = 2e-3
    series: int = 4000
    size: int = 300


SMALL = Grid(updates=(0.0, 10.0), candidates=(1.0, 2.5), replicates=1, hidden=16, epochs=2, series=1000, size=60)


def cks4(scale: Scale, seed: int = 0, *, grid: Grid | None = None, workers: int | None = None) -> FigureData:
    """Training over (a_h, a_z) at a_r = 0.1, and what theory says of the same networks before it.

    The paper's task and grid at the size of scikit-learn's digits, 64 steps. a: share of eigenvalues near 1 at the
    start, and where λ_max > 0. b: epochs to 75 % training accuracy. c: training accuracy at the end. d, e, f: accuracy
    on images kept back against λ_max, spectral radius and share of slow modes. g: forecasts of Mackey–Glass by networks
    of which nothing but the read-out is trained, against their λ_max under the series.
    """
    grid = (SMALL if scale.points <= 5 else Grid()) if grid is None else grid
    base = Ensemble(GRU(), {"reset": RESET})
    found = sweep(
        train_row,
        {"gain_update": list(grid.updates), "replicate": range(grid.replicates)},
        ensemble=base,
        options={
            "values": list(grid.candidates), "data": grid.data, "hidden": grid.hidden, "epochs": grid.epochs,
            "learning_rate": grid.learning_rate, "level": LEVEL,
        },
        seed=seed,
        workers=available_cores() if workers is None else workers,
    )  # fmt: skip
    if (found.status != 1).any():
        raise ValueError(f"training failed: {found.message.values[found.status.values != 1][0]!s}")
    trained = found.rename(gain_update="update", row="candidate").mean("replicate", keep_attrs=True)
    counted, start = {"units": "1", "source": "training"}, {"source": "theory, at the start"}
    reached = found.rename(gain_update="update", row="candidate").epochs_to_level
    about = {"hidden": grid.hidden, "epochs": grid.epochs, "replicates": grid.replicates, "data": grid.data}
    last = {"accuracy": trained.accuracy.isel(epoch=-1), "test_accuracy": trained.test_accuracy.isel(epoch=-1)}
    plane = ("update", "candidate")

    def shown(values: Any, attrs: dict[str, Any]) -> tuple[tuple[str, str], np.ndarray, dict[str, Any]]:
        return plane, values.transpose(*plane).values, attrs

    coords = {"update": list(grid.updates), "candidate": list(grid.candidates)}
    share = shown(trained.slow_share, start | {"units": "1/neuron"})
    exponent = shown(trained.lyapunov_max, start | {"units": "1/step"})
    radius = shown(trained.spectral_radius, start | {"units": "1"})
    accuracy = shown(last["test_accuracy"], counted)
    # Where some networks never reach the level the mean would be of the others alone.
    epochs = shown(reached.mean("replicate", skipna=False), counted | {"units": "epochs"})
    panels = {
        "a": xr.Dataset({"slow_share": share, "lyapunov_max": exponent}, coords),
        "b": xr.Dataset({"epochs_to_level": epochs}, coords, {"level": LEVEL, **about}),
        "c": xr.Dataset({"accuracy": shown(last["accuracy"], counted)}, coords, about),
        "d": xr.Dataset({"test_accuracy": accuracy, "lyapunov_max": exponent}, coords, about),
        "e": xr.Dataset({"test_accuracy": accuracy, "spectral_radius": radius}, coords, about),
        "f": xr.Dataset({"test_accuracy": accuracy, "slow_share": share}, coords, about),
        "g": _forecasts(grid, seed),
    }
    return FigureData("cks4", panels, scale, seed)


def _forecasts(grid: Grid, seed: int) -> xr.Dataset:
    """Errors of forecasts of Mackey–Glass by GRUs of several candidate gains, against their λ_max."""
    series = mackey_glass(grid.series)
    gains = np.linspace(0.5, 5.0, 10 if grid.series > 2000 else 3)
    horizons = (1, 20, 84)
    runs = [
        [
            forecast(Ensemble(GRU(), {"update": 2.0, "reset": 1.0, "candidate": float(g)}), series=series,
                     size=grid.size, horizons=horizons, seed=seed + j)
            for j in range(grid.replicates)
        ]
        for g in gains
    ]  # fmt: skip
    errors = [[f.error for f in row] for row in runs]
    exponents = [[f.lyapunov_max for f in row] for row in runs]
    return xr.Dataset(
        {
            "error": (("gain", "replicate", "horizon"), errors, {"units": "deviations of the series"}),
            "exponent": (("gain", "replicate"), exponents, {"units": "1/step"}),
        },
        coords={"gain": gains, "horizon": list(horizons)},
        attrs={"size": grid.size},
    )
