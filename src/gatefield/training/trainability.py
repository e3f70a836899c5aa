"""What theory says of networks at the start beside how they train: rows of [CKS fig. 4], for sweeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from gatefield.cells.ensemble import Ensemble
from gatefield.chaos.largest import lyapunov_max
from gatefield.running.arguments import known_names, whole
from gatefield.spectra.spectrum import SLOW_RADIUS, spectral_mass
from gatefield.spectra.support import spectral_radius
from gatefield.training.tasks import Task, adding, copy_memory, sequential_images
from gatefield.training.trainer import Settings, train

TASKS = ("sequential-mnist", "adding", "copy-memory")


def named_task(name: str, *, data: str | Path = "digits", length: int | None = None, seed: int = 0) -> Task:
    """A task by name.

    Args:
        name: "sequential-mnist", "adding" or "copy-memory".
        data: images of the first, as in `sequential_images`.
        length: steps of "adding" (100), delay of "copy-memory" (50).
        seed: of sequences that are drawn, or of the split of images.

    Raises:
        ValueError: another name, or a length of images.
    """
    if name not in TASKS:
        raise ValueError(f"task {name!r} is not known; use one of {', '.join(TASKS)}")
    if name == "sequential-mnist":
        if length is not None:
            raise ValueError(f"length={length} is for the other tasks; images have as many steps as pixels")
        return sequential_images(data, seed=seed)
    made = {"adding": adding, "copy-memory": copy_memory}[name]
    return made(seed=seed) if length is None else made(length, seed=seed)


def initial_state(ensemble: Ensemble, *, steps: int = 200, samples: int = 4000, seed: int = 0) -> dict[str, float]:
    """λ_max, spectral radius and share of slow modes of an infinite network without inputs."""
    largest = lyapunov_max(ensemble, steps=steps, samples=samples, seed=seed)
    snapshot = largest.field.snapshot
    return {
        "lyapunov_max": float(largest.value),
        "spectral_radius": float(spectral_radius(ensemble, snapshot).value),
        "slow_share": float(spectral_mass(ensemble, snapshot, center=1.0, radius=SLOW_RADIUS).value),
    }


def train_row(
    ensemble: Ensemble,
    *,
    gain: str = "candidate",
    values: Sequence[float] = (1.0, 1.5, 2.0, 2.5, 3.0),
    task: str = "sequential-mnist",
    data: str = "digits",
    length: int | None = None,
    epochs: int = 15,
    level: float = 0.75,
    hidden: int = 256,
    batch: int = 100,
    learning_rate: float = 1e-3,
    clip: float = 1.0,
    input_std: float | None = None,
    checkpoints: str | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Train networks of several values of one gain in one step, beside what theory says of them at the start.

    A row of [CKS fig. 4], as a sweep takes it: `gatefield sweep examples/training.toml --store training.zarr`.

    Args:
        ensemble: with all other gains.
        gain: pre-activation whose gain differs within the row.
        values: its gains.
        task: as in `named_task`. The sequences do not depend on the seed.
        data: images, likewise.
        length: of the other tasks, likewise.
        epochs: of training.
        level: training accuracy that counts as learnt.
        hidden: as in `Settings`.
        batch: likewise.
        learning_rate: likewise.
        clip: likewise.
        input_std: likewise.
        checkpoints: folder for a checkpoint of this row.
        seed: of the networks.

    Returns:
        Over the values ("row"): accuracies and losses by epoch, epochs to the level, steps lost to gradients that were
        not finite; λ_max, spectral radius and share of slow modes at the start, at N = ∞ and without inputs.

    Raises:
        ValueError: an argument out of its range.
    """
    known_names("gain", [gain], ensemble.names, type(ensemble.cell).__name__)
    group = [replace(ensemble, gain={**ensemble.gain, gain: float(v)}) for v in values]
    settings = Settings(
        hidden=hidden, batch=batch, learning_rate=learning_rate, clip=clip, input_std=input_std,
        seed=whole("seed", seed, 0),
    )  # fmt: skip
    made = named_task(task, data=data, length=length)
    path = None if checkpoints is None else _row_checkpoint(Path(checkpoints), group, settings)
    trained = train(group, made, epochs=epochs, settings=settings, checkpoint=path)
    starts = [initial_state(e, seed=seed % 2**31) for e in group]
    start = {name: ("row", [s[name] for s in starts], {"source": "theory, at the start"}) for name in starts[0]}
    counted: dict[str, str] = {"source": "training"}
    return xr.Dataset(
        {
            "accuracy": (("row", "epoch"), trained.accuracy, counted | {"units": "1"}),
            "test_accuracy": (("row", "epoch"), trained.test_accuracy, counted | {"units": "1"}),
            "loss": (("row", "epoch"), trained.loss, counted | {"units": "1"}),
            "epochs_to_level": ("row", trained.epochs_to(level), counted | {"units": "epochs"}),
            "lost": ("row", trained.lost, counted | {"units": "steps"}),
            **start,
        },
        coords={"row": [float(v) for v in values], "epoch": np.arange(1, trained.accuracy.shape[1] + 1)},
    )


def _row_checkpoint(folder: Path, group: list[Ensemble], settings: Settings) -> Path:
    if not folder.is_dir():
        raise ValueError(f"checkpoints: there is no folder {str(folder)!r}; make it first")
    told = json.dumps([[e.describe() for e in group], settings.seed], sort_keys=True)
    return folder / f"row-{hashlib.sha256(told.encode()).hexdigest()[:16]}.npz"
