"""`gatefield train`: networks of an ensemble on a task, beside what theory says of them at the start."""

from __future__ import annotations

from pathlib import Path
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
from gatefield.cli.terminal import answer, console, print_json, table

FORECAST = "mackey-glass"


def train(
    task: Annotated[str, Parameter(help="sequential-mnist, adding, copy-memory, or mackey-glass.")],
    /,
    *,
    cell: CellName = "gru",
    ensemble: EnsembleArguments = EnsembleOptions(),
    data: Annotated[
        str,
        Parameter(
            help="Images: digits (8×8, 64 steps), mnist-5000 (784 steps), openml, or a path to MNIST's IDX files or "
            "to an .npz file."
        ),
    ] = "digits",
    length: Annotated[Whole | None, Parameter(help="Steps of adding (100); delay of copy-memory (50).")] = None,
    hidden: Annotated[Whole, Parameter(help="Neurons.")] = 256,
    networks: Annotated[Whole, Parameter(help="How many, trained in one step.")] = 1,
    epochs: Annotated[Whole, Parameter(help="Times through the training sequences.")] = 15,
    batch: Annotated[Whole, Parameter(help="Sequences per step.")] = 100,
    learning_rate: Annotated[float, Parameter(help="Of Adam.")] = 1e-3,
    input_std: Annotated[float | None, Parameter(help="Deviation of the input weights.")] = None,
    checkpoint: Annotated[
        Path | None, Parameter(help="An .npz file, written after each epoch. Goes on if there is one.")
    ] = None,
    estimate: Annotated[bool, Parameter(help="Only say what full MNIST would cost on this machine.")] = False,
    seed: Annotated[Whole, Parameter(help="Seed of everything drawn.")] = 0,
    show: ShowArguments = ShowOptions(),
) -> None:
    """Train networks on a task, or read a random one out (mackey-glass), beside theory at the start."""
    built = asked(cell, ensemble, show)
    if task == FORECAST:
        _forecast(built, hidden, networks, input_std, seed, show)
        return
    from gatefield.training.trainability import initial_state, named_task
    from gatefield.training.trainer import Settings, check_checkpoint
    from gatefield.training.trainer import train as train_networks

    settings = Settings(hidden=hidden, batch=batch, learning_rate=learning_rate, input_std=input_std, seed=seed)
    if estimate:
        _estimate(built, settings, networks, epochs, show)
        return
    if checkpoint is not None:
        check_checkpoint(checkpoint)
    made = named_task(task, data=data, length=length)
    trained = train_networks([built] * networks, made, epochs=epochs, settings=settings, checkpoint=checkpoint)
    start = initial_state(built, seed=seed)
    answer(
        show, json=lambda: trained.as_json() | {"start": start}, text=lambda: _print_training(trained, start),
        picture=("training.plot_training", trained),
    )  # fmt: skip


def _print_training(trained: Any, start: dict[str, float]) -> None:
    out = console()
    out.print(f"{trained.ensembles[0].title()}, N = {trained.settings.hidden}: {trained.task}")
    out.print(
        f"at the start, N = ∞: λ_max {start['lyapunov_max']:.4g}, spectral radius {start['spectral_radius']:.4g}, "
        f"slow modes {start['slow_share']:.3g} per neuron",
        soft_wrap=True,
    )
    epochs = trained.loss.shape[1]
    shown = sorted({*range(0, epochs, max(1, epochs // 10)), epochs - 1})
    means = [getattr(trained, n).mean(axis=0) for n in ("loss", "accuracy", "test_loss", "test_accuracy")]
    rows = [(str(i + 1), *(f"{m[i]:.4f}" for m in means)) for i in shown]
    out.print(table(("epoch", "loss", "accuracy", "test loss", "test accuracy"), rows))
    if len(trained.ensembles) > 1:
        last = ", ".join(f"{v:.3f}" for v in trained.test_accuracy[:, -1])
        out.print(f"mean of {len(trained.ensembles)} networks; test accuracies {last}", soft_wrap=True)
    if trained.lost.any():
        out.print(
            f"[yellow]{int(trained.lost.sum())} steps[/yellow] had a gradient that was not finite and were left out"
        )


def _estimate(ensemble: Any, settings: Any, networks: int, epochs: int, show: ShowOptions) -> None:
    from gatefield.training.trainer import throughput

    found = throughput(ensemble, settings=settings, together=networks, epochs=epochs)
    if show.json:
        print_json(vars(found) | {"training_hours": found.training, "grid_hours": found.grid})
        return
    out = console()
    each = f" each, {networks} networks together" if networks > 1 else ""
    out.print(f"one step of {settings.batch} sequences of 784, {settings.hidden} neurons: {found.seconds:.3g} s{each}")
    out.print(f"60 000 images, {epochs} epochs: {found.training:.3g} hours for one network")
    out.print(f"a grid of {found.networks} networks (7 × 7 gains, two each): {found.grid:.3g} hours")


def _forecast(ensemble: Any, size: int, networks: int, input_std: float | None, seed: int, show: ShowOptions) -> None:
    from gatefield.running.progress import track
    from gatefield.training.forecasting import forecast

    if show.output is not None:
        raise ValueError("--output has no picture for mackey-glass; leave it out, or sweep `forecast` over a gain")
    more: dict[str, Any] = {} if input_std is None else {"input_std": input_std}
    found = [forecast(ensemble, size=size, seed=seed + j, **more) for j in track(range(networks), "networks")]
    if show.json:
        print_json({"networks": [f.as_json() for f in found]})
        return
    out = console()
    out.print(f"{ensemble.title()}, N = {size}: Mackey–Glass, read out by ridge regression")
    rows = [
        (f"{h} steps ahead", *(f"{f.error[i]:.4g}" for f in found)) for i, h in enumerate(found[0].horizons.tolist())
    ]
    rows.append(("λ_max under the series", *(f"{f.lyapunov_max:.4g}" for f in found)))
    out.print(table(("error / deviation", *(f"seed {f.seed}" for f in found)), rows))
