"""Train networks of an ensemble on a task, several in one step: does what the theory says at the start matter later?

Recurrent weights begin as those of `Network`; input weights, read-out and optimiser are the same for all. Networks of
one call differ in gains and seeds, and see the same sequences in the same order.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gatefield.cells.cell import Cell
from gatefield.cells.currents import ConstantCurrent
from gatefield.cells.ensemble import Ensemble
from gatefield.cells.tracing import structure
from gatefield.networks.network import Network
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.results.version import __version__
from gatefield.running.arguments import positive, whole
from gatefield.running.memory import require
from gatefield.running.progress import progress
from gatefield.running.reading import read_npz
from gatefield.running.saving import check_writable
from gatefield.training.tasks import Task

Weights = dict[str, Any]  # "recurrent", "input", "bias" by pre-activation; "read", "read_bias"

_FIXED = ("bias",)  # what does not train unless asked for
_TESTED = 250  # test sequences at a time


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How networks are trained.

    Attributes:
        hidden: neurons N.
        batch: sequences per step.
        learning_rate: of Adam.
        clip: largest norm of a network's gradient; chaotic networks have no use for longer ones.
        input_std: deviation of input weights; None: √(2/(channels + N)), as Glorot and Bengio have it.
        biases: whether recurrent biases train. They begin as the ensemble says.
        seed: of weights and of the order of sequences; network j has the seed seed + j.
    """

    hidden: int = 256
    batch: int = 100
    learning_rate: float = 1e-3
    clip: float = 1.0
    input_std: float | None = None
    biases: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("hidden", "batch"):
            whole(name, getattr(self, name))
        for name in ("learning_rate", "clip"):
            positive(name, getattr(self, name))
        if self.input_std is not None:
            positive("input_std", self.input_std)
        whole("seed", self.seed, 0)


@dataclass(frozen=True, eq=False, repr=False)
class Training(Result):
    """Networks trained side by side.

    Attributes:
        ensembles: what each network was drawn from.
        task: its name.
        loss, accuracy: over each epoch's training sequences as they come, (networks, epochs). Accuracy is the share of
            correct classes; of values, 1 − error/variance.
        test_loss, test_accuracy: after each epoch, on sequences kept back, (networks, epochs).
        lost: steps of each network whose gradient was not finite; its weights stayed as they were.
        weights: of all networks, first axis; "recurrent", "input" and "bias" by pre-activation, "read", "read_bias".
        seconds: that training took here, all interruptions left out.
    """

    ensembles: tuple[Ensemble, ...]
    task: str
    settings: Settings
    loss: np.ndarray
    accuracy: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray
    lost: np.ndarray
    weights: Weights
    seconds: float = 0.0

    def epochs_to(self, accuracy: float) -> np.ndarray:
        """The first epoch, from 1, whose training accuracy is as high; NaN where none is [CKS fig. 4]."""
        reached = self.accuracy >= accuracy
        return np.where(reached.any(axis=1), np.argmax(reached, axis=1) + 1.0, np.nan)

    def description(self) -> Description:
        networks, epochs = self.loss.shape
        histories = ("loss", "accuracy", "test_loss", "test_accuracy")
        return Description(
            quantities={
                **{name: Quantity(getattr(self, name), ("network", "epoch"), source="training") for name in histories},
                "lost": Quantity(self.lost, ("network",), "steps"),
            },
            coordinates={"epoch": Quantity(np.arange(1, epochs + 1)), "network": Quantity(np.arange(networks))},
            facts={
                "task": self.task, "ensembles": list(self.ensembles), "settings": asdict(self.settings),
                "epochs": epochs, "seconds": self.seconds,
            },
        )  # fmt: skip


def train(
    ensembles: Ensemble | Sequence[Ensemble],
    task: Task,
    *,
    epochs: int = 15,
    settings: Settings = Settings(),
    checkpoint: str | os.PathLike[str] | None = None,
) -> Training:
    """Train one network of each ensemble on a task, all in one compiled step.

    Args:
        ensembles: of one cell. Their currents must be zero: inputs come from the task.
        task: what to learn.
        epochs: times through the training sequences. The rest that fills no batch is left out of each.
        settings: see `Settings`.
        checkpoint: an .npz file, written after each epoch; the same call goes on where it is, also with more epochs.

    Raises:
        ValueError: ensembles of several cells or with currents, networks that do not fit into memory, a task with
            fewer sequences than a batch, or a checkpoint of something else.
    """
    group = (ensembles,) if isinstance(ensembles, Ensemble) else tuple(ensembles)
    _check(group, task, settings)
    path = None if checkpoint is None else Path(checkpoint)
    state = _State.begin(group, task, settings)
    if path is not None:
        check_checkpoint(path)
        state = state.restored(path)
    per_epoch = len(task.inputs) // settings.batch
    with progress((whole("epochs", epochs) - state.epochs) * per_epoch, task.name) as moved:
        while state.epochs < epochs:
            try:
                state = _epoch(state, task, moved)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(_kept(path, state.epochs)) from None
            if path is not None:
                state.save(path)
    histories: dict[str, Any] = {name: np.stack(rows, axis=1)[:, :epochs] for name, rows in state.history.items()}
    lost = np.asarray(state.optimiser.total_notfinite)
    weights = jax.tree.map(np.asarray, state.weights)
    return Training(group, task.name, settings, **histories, lost=lost, weights=weights, seconds=state.seconds)


def _kept(path: Path | None, epochs: int) -> str:
    if path is None:
        return "interrupted; a checkpoint would have kept what was done"
    return f"interrupted; {epochs} epochs are in {path}; the same command goes on" if epochs else "interrupted"


def _check(group: tuple[Ensemble, ...], task: Task, settings: Settings) -> None:
    if not group or any(e.cell != group[0].cell for e in group):
        raise ValueError("ensembles must be one or more, all of one cell")
    if any(current != ConstantCurrent() for e in group for current in e.current.values()):
        raise ValueError("ensembles have input currents; leave them out, inputs come from the task")
    if len(task.inputs) < settings.batch:
        raise ValueError(f"batch={settings.batch} is more than the {len(task.inputs)} sequences of {task.name}")
    cell = group[0].cell
    kept = 2 * (len(cell.state_names) + 2 * len(cell.preactivation_names))
    require(
        4.0 * len(group) * settings.batch * task.steps * settings.hidden * kept,
        what=f"what {len(group)} networks' gradients need", size=settings.batch, power=1.0, name="batch",
    )  # fmt: skip


# ---- networks on sequences ----


def initial_weights(ensemble: Ensemble, task: Task, settings: Settings, seed: int) -> Weights:
    """A network's weights before training, float32."""
    network = Network(ensemble, size=settings.hidden, seed=seed, dtype="float32")
    sourced = [ensemble.names[k] for group in structure(ensemble.cell).groups for k in group.members]
    std = np.sqrt(2.0 / (task.channels + settings.hidden)) if settings.input_std is None else settings.input_std
    rng = np.random.default_rng([seed, 1])
    zero = np.zeros((settings.hidden, settings.hidden), np.float32)
    biases = np.asarray(network.biases)
    return {
        "recurrent": {name: np.asarray(network.weights.get(name, zero)) for name in sourced},
        "input": {n: _normal(rng, (settings.hidden, task.channels), std) for n in ensemble.names},
        "bias": {name: biases[:, k] for k, name in enumerate(ensemble.names)},
        "read": _normal(rng, (task.outputs, settings.hidden), settings.hidden**-0.5),
        "read_bias": np.zeros(task.outputs, np.float32),
    }


def _normal(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    return (std * rng.standard_normal(shape)).astype(np.float32)


def run_cell(cell: Cell, weights: Weights, inputs: jax.Array, *, kept: int) -> tuple[jax.Array, jax.Array]:
    """States (kept, batch, N, D) after the last steps and pre-activations (kept, batch, N, K) in them.

    Args:
        cell: what each neuron does.
        weights: "recurrent", "input" and "bias" by pre-activation.
        inputs: (steps, batch, channels).
        kept: how many of the last steps are returned.
    """
    names, groups = cell.preactivation_names, structure(cell).groups
    size = weights["bias"][names[0]].shape[0]
    recurrent = [jnp.concatenate([weights["recurrent"][names[k]] for k in g.members]).T for g in groups]
    feed = jnp.concatenate([weights["input"][n] for n in names]).T
    bias = jnp.concatenate([weights["bias"][n] for n in names])
    sources, update = (jax.vmap(jax.vmap(f)) for f in (cell.sources, cell.update))

    def step(s: dict[str, jax.Array], u: jax.Array, keep: bool) -> tuple[dict[str, jax.Array], Any]:
        x = dict(zip(names, jnp.split(u @ feed + bias, len(names), axis=1), strict=True))
        for group, matrix in zip(groups, recurrent, strict=True):
            found = sources(s, x)[names[group.members[0]]] @ matrix
            parts = jnp.split(found, len(group.members), axis=1)
            x |= {names[k]: x[names[k]] + part for k, part in zip(group.members, parts, strict=True)}
        after = dict(update(s, x))
        stacked = (jnp.stack([after[n] for n in cell.state_names], -1), jnp.stack([x[n] for n in names], -1))
        return after, stacked if keep else None

    rest = {n: jnp.zeros((inputs.shape[1], size), inputs.dtype) for n in cell.state_names}
    split = len(inputs) - kept
    s, _ = jax.lax.scan(partial(step, keep=False), rest, inputs[:split])
    return jax.lax.scan(partial(step, keep=True), s, inputs[split:])[1]


class Score(NamedTuple):
    """Mean loss and accuracy of some sequences."""

    loss: jax.Array
    accuracy: jax.Array


def _score(cell: Cell, weights: Weights, inputs: jax.Array, targets: jax.Array, chance: float) -> Score:
    """Of sequences (batch, steps, channels), with targets as in `Task`."""
    states, _ = run_cell(cell, weights, jnp.swapaxes(inputs, 0, 1), kept=targets.shape[1])
    answers = jnp.swapaxes(states[..., -1], 0, 1) @ weights["read"].T + weights["read_bias"]
    if targets.ndim == 2:
        logs = jax.nn.log_softmax(answers)
        loss = -jnp.mean(jnp.take_along_axis(logs, targets[..., None], axis=-1))
        return Score(loss, jnp.mean(jnp.argmax(answers, axis=-1) == targets))
    loss = jnp.mean((answers - targets) ** 2)
    return Score(loss, 1.0 - loss / chance)


# ---- steps ----


def _optimiser(settings: Settings) -> Any:
    try:
        import optax
    except ImportError:
        raise ValueError("training needs optax: pip install 'gatefield[train]'") from None
    rule = optax.chain(optax.clip_by_global_norm(settings.clip), optax.adam(settings.learning_rate))
    return optax.apply_if_finite(rule, max_consecutive_errors=2**30)


@lru_cache(maxsize=16)
def _steps(cell: Cell, settings: Settings, chance: float) -> tuple[Any, Any]:
    """A training step and a test, compiled for a group of networks."""
    optimiser = _optimiser(settings)
    fixed = () if settings.biases else _FIXED

    def one(weights: Weights, state: Any, inputs: jax.Array, targets: jax.Array) -> tuple[Weights, Any, Score]:
        moving, still = _parted(weights, fixed)

        def loss(moving: Weights) -> tuple[jax.Array, Score]:
            score = _score(cell, moving | still, inputs, targets, chance)
            return score.loss, score

        gradient, score = jax.grad(loss, has_aux=True)(moving)
        change, state = optimiser.update(gradient, state)
        return jax.tree.map(jnp.add, moving, change) | still, state, score

    def test(weights: Weights, inputs: jax.Array, targets: jax.Array) -> Score:
        return _score(cell, weights, inputs, targets, chance)

    step = jax.jit(jax.vmap(one, in_axes=(0, 0, None, None)), donate_argnums=(0, 1))
    return step, jax.jit(jax.vmap(test, in_axes=(0, None, None)))


def _parted(weights: Weights, fixed: tuple[str, ...]) -> tuple[Weights, Weights]:
    return {k: w for k, w in weights.items() if k not in fixed}, {k: weights[k] for k in fixed}


_HISTORIES = ("loss", "accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True, eq=False)
class _State:
    """All that training needs to go on."""

    cell: Cell
    settings: Settings
    identity: str
    weights: Weights
    optimiser: Any
    history: dict[str, list[np.ndarray]]
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        return len(self.history["loss"])

    @classmethod
    def begin(cls, group: tuple[Ensemble, ...], task: Task, settings: Settings) -> _State:
        drawn = [initial_weights(e, task, settings, settings.seed + j) for j, e in enumerate(group)]
        weights = jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)
        moving, _ = _parted(weights, () if settings.biases else _FIXED)
        optimiser = jax.vmap(_optimiser(settings).init)(moving)
        return cls(
            group[0].cell, settings, _identity(group, task, settings), weights, optimiser, {n: [] for n in _HISTORIES}
        )

    def save(self, path: Path) -> None:
        """Write all of it, whole or not at all."""
        arrays: dict[str, Any] = {name: np.array(rows) for name, rows in self.history.items()}
        leaves = jax.tree.leaves((self.weights, self.optimiser))
        arrays |= {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        arrays |= {"identity": np.array(self.identity), "seconds": np.array(self.seconds)}
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".npz")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def restored(self, path: Path) -> _State:
        """What a checkpoint holds, if there is one."""
        if not path.exists():
            return self
        kept = read_npz("checkpoint", path)
        if str(kept.get("identity")) != self.identity:
            raise ValueError(
                f"checkpoint {str(path)!r} is of another training (ensembles, task, settings or version); choose "
                "another path, or remove it"
            )
        tree = jax.tree.structure((self.weights, self.optimiser))
        leaves = [jnp.asarray(kept[f"leaf{i}"]) for i in range(tree.num_leaves)]
        weights, optimiser = jax.tree.unflatten(tree, leaves)
        history = {name: list(kept[name]) for name in _HISTORIES}
        seconds = float(kept["seconds"])
        return _State(self.cell, self.settings, self.identity, weights, optimiser, history, seconds)


def check_checkpoint(path: Path) -> None:
    """Refuse a path that could not be written before anything runs.

    Raises:
        ValueError: with the remedy.
    """
    if path.suffix != ".npz":
        raise ValueError(f"checkpoint {str(path)!r}: the suffix must be .npz")
    check_writable("checkpoint", path)


def _identity(group: tuple[Ensemble, ...], task: Task, settings: Settings) -> str:
    digest = hashlib.sha256()
    for array in (task.inputs, task.targets, task.test_inputs, task.test_targets):
        digest.update(np.ascontiguousarray(array).tobytes())
    parts = {
        "ensembles": [e.describe() for e in group], "task": task.name, "data": digest.hexdigest(),
        "settings": asdict(settings), "version": __version__,
    }  # fmt: skip
    return json.dumps(parts, sort_keys=True)


def _epoch(state: _State, task: Task, moved: Any) -> _State:
    """Once through the sequences, in an order that depends on seed and epoch alone."""
    begin = time.perf_counter()
    settings = state.settings
    step, test = _steps(state.cell, settings, task.chance)
    order = np.random.default_rng([settings.seed, 2, state.epochs]).permutation(len(task.inputs))
    weights, optimiser = jax.tree.map(jnp.copy, (state.weights, state.optimiser))  # for the step takes them over
    scores: list[Score] = []
    for i in range(len(order) // settings.batch):
        chosen = order[i * settings.batch : (i + 1) * settings.batch]
        weights, optimiser, score = step(weights, optimiser, task.inputs[chosen], task.targets[chosen])
        scores.append(score)
        jax.block_until_ready(score)  # so that the bar tells the truth and Ctrl-C is heard
        moved(1)
    parts = [slice(i, i + _TESTED) for i in range(0, len(task.test_inputs), _TESTED)]
    tested = [test(weights, task.test_inputs[part], task.test_targets[part]) for part in parts]
    counts = [len(task.test_inputs[part]) for part in parts]
    new = {
        "loss": np.mean([s.loss for s in scores], axis=0),
        "accuracy": np.mean([s.accuracy for s in scores], axis=0),
        "test_loss": np.average([s.loss for s in tested], axis=0, weights=counts),
        "test_accuracy": np.average([s.accuracy for s in tested], axis=0, weights=counts),
    }
    history = {name: [*rows, new[name]] for name, rows in state.history.items()}
    seconds = state.seconds + time.perf_counter() - begin
    return _State(state.cell, settings, state.identity, weights, optimiser, history, seconds)


# ---- what it costs ----


@dataclass(frozen=True, eq=False, repr=False)
class Throughput(Result):
    """What training costs here.

    Attributes:
        seconds: per step of one batch, for each of the networks that are trained together.
        steps: per epoch.
        epochs: of a training.
        networks: of a whole grid.
    """

    seconds: float
    steps: int
    epochs: int
    networks: int

    @property
    def training(self) -> float:
        """Hours for one network."""
        return self.seconds * self.steps * self.epochs / 3600.0

    @property
    def grid(self) -> float:
        """Hours for the grid."""
        return self.training * self.networks

    def description(self) -> Description:
        return Description(
            quantities={
                "seconds": Quantity(self.seconds, units="s"),
                "training": Quantity(self.training, units="h", source="one network"),
                "grid": Quantity(self.grid, units="h", source="all networks"),
            },
            facts={"steps": self.steps, "epochs": self.epochs, "networks": self.networks},
        )


def throughput(
    ensemble: Ensemble, *, settings: Settings = Settings(), together: int = 1, steps: int = 784, examples: int = 60_000,
    epochs: int = 15, networks: int = 98, repeats: int = 3,
) -> Throughput:  # fmt: skip
    """Time training steps on made-up sequences, by default as long as full MNIST's, and extrapolate.

    Args:
        ensemble: of the networks.
        settings: see `Settings`.
        together: networks trained in one step.
        steps: length of the sequences.
        examples: how many an epoch has.
        epochs: of a training.
        networks: of a grid; by default 7 × 7 gains, two networks each [CKS fig. 4].
        repeats: steps that are timed; the fastest counts.
    """
    rng = np.random.default_rng(0)
    inputs = rng.uniform(size=(settings.batch, whole("steps", steps), 1)).astype(np.float32)
    labels = rng.integers(0, 10, (settings.batch, 1)).astype(np.int32)
    task = Task("made up", inputs, labels, inputs[:1], labels[:1], 10, float(np.log(10.0)))
    group = (ensemble,) * whole("together", together)
    _check(group, task, settings)
    state = _State.begin(group, task, settings)
    step, _ = _steps(ensemble.cell, settings, task.chance)
    weights, optimiser, times = state.weights, state.optimiser, []
    for _ in range(whole("repeats", repeats) + 1):  # the first compiles
        begin = time.perf_counter()
        weights, optimiser, score = step(weights, optimiser, inputs, labels)
        jax.block_until_ready(score)
        times.append(time.perf_counter() - begin)
    return Throughput(min(times[1:]) / together, whole("examples", examples) // settings.batch, epochs, networks)
