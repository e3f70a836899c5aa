"""Training: networks on sequences, several in one step, checkpoints; tasks and images; forecasts."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from tests.all_cells import CASES, Case
from tests.commands import Command

import gatefield as gf
from gatefield.training import forecasting
from gatefield.training import trainer as training
from gatefield.training.images import load_images
from gatefield.training.trainability import named_task

ours = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
GRU = gf.Ensemble(gf.GRU(), {"update": 2.0, "reset": 0.1, "candidate": 2.0})
SMALL = gf.training.Settings(hidden=12, batch=20, learning_rate=5e-3)


@pytest.fixture(scope="module")
def task() -> gf.training.Task:
    return gf.training.adding(8, examples=100, tests=30)


# ---- networks on sequences ----


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_cells_run_as_networks_do(case: Case) -> None:
    """The batched step of training against `Network.run`, without inputs, in single precision."""
    ensemble = replace(case.ensembles[1], current={})
    network = gf.Network(ensemble, size=30, seed=3, dtype="float32")
    path = network.run(20, state=np.zeros((30, len(ensemble.cell.state_names))))
    made = gf.training.Task(
        "none", np.zeros((1, 20, 2), np.float32), np.zeros((1, 1), np.int32), np.zeros(0), np.zeros(0), 3, 1.0
    )
    weights = training.initial_weights(ensemble, made, gf.training.Settings(hidden=30), seed=3)
    states, x = training.run_cell(ensemble.cell, weights, jnp.zeros((20, 1, 2)), kept=20)
    np.testing.assert_allclose(states[:, 0], path.states, atol=2e-5)
    np.testing.assert_allclose(x[:, 0], path.preactivations, atol=2e-5)


def test_inputs_reach_every_preactivation() -> None:
    """A step from rest is known: h = (1 − σ(w_z u)) tanh(w_y u)."""
    made = gf.training.adding(2, examples=4, tests=1)
    weights = training.initial_weights(GRU, made, gf.training.Settings(hidden=5, input_std=0.7), seed=0)
    u = made.inputs[:, 0]
    states, _ = training.run_cell(GRU.cell, weights, jnp.asarray(u)[None], kept=1)
    z, y = u @ weights["input"]["update"].T, u @ weights["input"]["candidate"].T
    np.testing.assert_allclose(states[0, :, :, 0], (1.0 - 1.0 / (1.0 + np.exp(-z))) * np.tanh(y), atol=1e-6)


# ---- training ----


def test_networks_together_train_as_each_alone(task: gf.training.Task) -> None:
    ensembles = [GRU, replace(GRU, gain={**GRU.gain, "candidate": 3.0})]
    both = gf.train(ensembles, task, epochs=3, settings=SMALL)
    second = gf.train(ensembles[1], task, epochs=3, settings=replace(SMALL, seed=0))
    assert both.loss.shape == (2, 3)
    assert not np.allclose(both.loss[1], second.loss[0], rtol=1e-3)  # network 1 has the seed 1
    first = gf.train(ensembles[0], task, epochs=3, settings=SMALL)
    np.testing.assert_allclose(both.loss[0], first.loss[0], rtol=1e-4)
    np.testing.assert_allclose(both.test_loss[0], first.test_loss[0], rtol=1e-4)


def test_learns(task: gf.training.Task) -> None:
    """Far below the answer that does not look, on sequences kept back."""
    trained = gf.train(
        GRU, gf.training.adding(6, examples=1000, tests=200), epochs=12, settings=replace(SMALL, hidden=24)
    )
    assert trained.test_loss[0, -1] < 0.1 * task.chance
    assert trained.accuracy[0, -1] > 0.9
    assert trained.epochs_to(0.5)[0] < 12
    assert np.isnan(trained.epochs_to(2.0)[0])
    start = training.initial_weights(GRU, gf.training.adding(6, examples=1000, tests=200), replace(SMALL, hidden=24), 0)
    moved = {k: np.abs(trained.weights["recurrent"][k][0] - start["recurrent"][k]).max() for k in GRU.names}
    assert min(moved.values()) > 0.0
    assert np.abs(trained.weights["bias"]["update"]).max() == 0.0  # as the paper has it


def test_biases_train_where_asked_for(task: gf.training.Task) -> None:
    trained = gf.train(GRU, task, epochs=1, settings=replace(SMALL, biases=True))
    assert np.abs(trained.weights["bias"]["update"]).max() > 0.0


def test_classes_are_named() -> None:
    made = gf.training.copy_memory(1, examples=400, tests=40)
    assert made.classes
    trained = gf.train(GRU, made, epochs=4, settings=replace(SMALL, hidden=24, learning_rate=2e-2))
    assert made.chance == pytest.approx(np.log(8.0))
    assert trained.loss[0, 0] == pytest.approx(made.chance, rel=0.2)
    assert trained.loss[0, -1] < 0.97 * trained.loss[0, 0]
    assert trained.accuracy[0, -1] > 1.0 / 8.0


def test_gradients_that_are_not_finite_change_nothing(task: gf.training.Task) -> None:
    broken = replace(task, targets=np.full_like(task.targets, np.nan))
    trained = gf.train(GRU, broken, epochs=1, settings=SMALL)
    assert trained.lost.tolist() == [5]  # 100 sequences, 20 a step
    start = training.initial_weights(GRU, task, SMALL, 0)
    np.testing.assert_array_equal(trained.weights["read"][0], start["read"])
    assert trained.as_json()["loss"] == [[None]]


def test_goes_on_where_it_was(task: gf.training.Task, tmp_path: Path) -> None:
    whole = gf.train(GRU, task, epochs=4, settings=SMALL)
    kept = tmp_path / "run.npz"
    gf.train(GRU, task, epochs=2, settings=SMALL, checkpoint=kept)
    resumed = gf.train(GRU, task, epochs=4, settings=SMALL, checkpoint=kept)
    np.testing.assert_array_equal(whole.loss, resumed.loss)
    np.testing.assert_array_equal(whole.weights["recurrent"]["reset"], resumed.weights["recurrent"]["reset"])
    again = gf.train(GRU, task, epochs=3, settings=SMALL, checkpoint=kept)  # done already
    np.testing.assert_array_equal(again.loss, whole.loss[:, :3])
    with pytest.raises(ValueError, match="of another training"):
        gf.train(GRU, task, epochs=4, settings=replace(SMALL, seed=1), checkpoint=kept)
    kept.write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        gf.train(GRU, task, epochs=4, settings=SMALL, checkpoint=kept)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


def test_interrupted_says_how_to_go_on(task: gf.training.Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch, calls = training._epoch, []

    def second_is_stopped(*arguments: Any) -> Any:
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return epoch(*arguments)

    monkeypatch.setattr(training, "_epoch", second_is_stopped)
    with pytest.raises(KeyboardInterrupt, match="1 epochs are in .*run.npz; the same command goes on"):
        gf.train(GRU, task, epochs=4, settings=SMALL, checkpoint=tmp_path / "run.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ensembles": []}, "one or more"),
        ({"ensembles": [GRU, gf.Ensemble(gf.LSTM())]}, "all of one cell"),
        ({"ensembles": replace(GRU, current={"update": 1.0})}, "inputs come from the task"),
        ({"settings": replace(SMALL, batch=1000)}, "batch=1000 is more than the 100 sequences"),
        ({"epochs": 0}, "epochs=0"),
        ({"checkpoint": "run.pt"}, "suffix must be .npz"),
        ({"checkpoint": "nowhere/run.npz"}, "there is no folder 'nowhere'"),
    ],
)
def test_mistakes(change: dict[str, Any], said: str, task: gf.training.Task) -> None:
    arguments = {"ensembles": GRU, "task": task, "epochs": 1, "settings": SMALL} | change
    with pytest.raises(ValueError, match=said):
        gf.train(**arguments)


@pytest.mark.parametrize("name", ["hidden", "batch", "learning_rate", "clip", "input_std"])
def test_settings_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        gf.training.Settings(**{name: 0})  # pyright: ignore[reportArgumentType]


def test_too_large_for_memory(task: gf.training.Task) -> None:
    with pytest.raises(ValueError, match="batch=100: .* would fit"):
        gf.train(GRU, gf.training.adding(50_000, examples=100, tests=1), settings=gf.training.Settings(hidden=2_000))


def test_throughput() -> None:
    found = gf.training.throughput(
        GRU, settings=SMALL, steps=10, examples=2000, epochs=3, networks=4, together=2, repeats=1
    )
    assert found.steps == 100
    assert found.training == pytest.approx(found.seconds * 300 / 3600)
    assert found.grid == pytest.approx(4 * found.training)


def test_labelled(task: gf.training.Task) -> None:
    trained = gf.train(GRU, task, epochs=2, settings=SMALL)
    made = trained.to_dataset()
    assert made.sizes == {"network": 1, "epoch": 2}
    np.testing.assert_array_equal(made.test_accuracy, trained.test_accuracy)


# ---- tasks and images ----


def test_adding_adds() -> None:
    made = gf.training.adding(9, examples=200, tests=50, seed=1)
    marks = made.inputs[..., 1]
    assert (marks[:, :4].sum(axis=1) == 1.0).all()
    assert (marks[:, 4:].sum(axis=1) == 1.0).all()
    np.testing.assert_allclose(made.targets[:, 0, 0], np.sum(made.inputs[..., 0] * marks, axis=1), rtol=1e-6)
    assert np.var(gf.training.adding(9, examples=20_000, tests=1).targets) == pytest.approx(made.chance, rel=0.03)


def test_copy_memory_asks_for_what_was_shown() -> None:
    made = gf.training.copy_memory(7, examples=50, tests=5)
    assert made.steps == 27
    assert (made.inputs[:, :10].argmax(axis=2) == made.targets).all()
    assert (made.inputs[:, 10:17] == 0.0).all()
    assert (made.inputs[:, 17, 8] == 1.0).all()
    assert made.inputs[:, 18:].sum() == 0.0
    assert made.read == 10


def test_built_in_images() -> None:
    digits, mnist = gf.training.sequential_images("digits"), gf.training.sequential_images("mnist-5000")
    assert (digits.steps, len(digits.inputs) + len(digits.test_inputs)) == (64, 1797)
    assert (mnist.steps, len(mnist.inputs), len(mnist.test_inputs)) == (784, 4000, 1000)
    assert (mnist.inputs.min(), mnist.inputs.max()) == (0.0, 1.0)
    assert sorted(set(mnist.targets.ravel().tolist())) == list(range(10))
    other = gf.training.sequential_images("digits", seed=1)
    assert not np.array_equal(digits.test_targets, other.test_targets)


def _write_idx(path: Path, array: np.ndarray, *, zipped: bool) -> None:
    raw = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype("u1").tobytes()
    path.with_suffix(".gz" if zipped else "").write_bytes(gzip.compress(raw) if zipped else raw)


@pytest.fixture
def mnist(tmp_path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = {"train": 20, "t10k": 6}
    arrays: dict[str, np.ndarray] = {}
    for i, (part, count) in enumerate(sizes.items()):
        images, labels = rng.integers(0, 256, (count, 28, 28)), rng.integers(0, 10, count)
        arrays |= {f"{part} images": images, f"{part} labels": labels}
        _write_idx(tmp_path / f"{part}-images-idx3-ubyte", images, zipped=i == 0)
        _write_idx(tmp_path / f"{part}-labels-idx1-ubyte", labels, zipped=i == 0)
    return arrays


def test_files_of_mnist(mnist: dict[str, np.ndarray], tmp_path: Path) -> None:
    found = load_images(tmp_path)
    np.testing.assert_allclose(found.train, mnist["train images"] / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(found.test_labels, mnist["t10k labels"])
    np.savez(tmp_path / "mnist.npz", x_train=mnist["train images"].astype("u1"), y_train=mnist["train labels"],
             x_test=mnist["t10k images"].astype("u1"), y_test=mnist["t10k labels"])  # fmt: skip
    again = load_images(tmp_path / "mnist.npz")
    np.testing.assert_array_equal(found.train, again.train)
    assert gf.training.sequential_images(tmp_path).inputs.shape == (20, 784, 1)


def test_files_that_are_not_there(mnist: dict[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="put the files there, or take a built-in set"):
        load_images(tmp_path / "nowhere")
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x09")
    with pytest.raises(ValueError, match="cut short"):
        load_images(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="there is no t10k-labels-idx1-ubyte"):
        load_images(tmp_path)
    np.savez(tmp_path / "other.npz", x_train=np.zeros(3))
    with pytest.raises(ValueError, match="no array 'y_train'"):
        load_images(tmp_path / "other.npz")


def test_openml_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.datasets

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", unreachable)
    with pytest.raises(ValueError, match="put MNIST's files into a folder and give its path"):
        load_images("openml")


def test_tasks_by_name() -> None:
    assert named_task("adding", length=5).steps == 5
    with pytest.raises(ValueError, match="use one of sequential-mnist, adding, copy-memory"):
        named_task("xor")
    with pytest.raises(ValueError, match="length=3 is for the other tasks"):
        named_task("sequential-mnist", length=3)


# ---- forecasts ----


def test_mackey_glass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps four times as fine agree, before chaos tells them apart; mean and deviation of the attractor."""
    series = gf.training.mackey_glass(3000)
    assert (series.mean(), series.std()) == (pytest.approx(0.93, abs=0.02), pytest.approx(0.225, abs=0.015))
    monkeypatch.setattr(forecasting, "_WARM", 0.0)
    coarse = gf.training.mackey_glass(100, seed=2)
    monkeypatch.setattr(forecasting, "_SUBSTEPS", 40)
    assert np.abs(coarse - gf.training.mackey_glass(100, seed=2)).max() < 2e-3


def test_forecasts_are_best_below_the_edge() -> None:
    series = gf.training.mackey_glass(1500)

    def at(gain: float) -> gf.training.Forecast:
        ensemble = gf.Ensemble(gf.GRU(), {"update": 1.0, "reset": 1.0, "candidate": gain})
        return gf.training.forecast(ensemble, series=series, size=100, horizons=(1, 20))

    ordered, chaotic = at(1.5), at(6.0)
    assert ordered.lyapunov_max < 0.0 < chaotic.lyapunov_max
    assert (ordered.error < 0.2 * chaotic.error).all()
    assert ordered.error[0] < 0.02
    assert ordered.to_dataset().sizes == {"horizon": 2}
    assert ordered.as_json()["horizons"] == [1, 20]


def test_a_period_is_forecast_exactly() -> None:
    """cos(ω(t + h)) is a linear function of what a linear network of one step knows of two earlier values."""
    wave = np.cos(0.3 * np.arange(800))
    vanilla = gf.Ensemble(gf.Vanilla(), {"input": 0.9})
    found = gf.training.forecast(vanilla, series=wave, size=50, horizons=(1, 30), input_std=1e-3, ridge=1e-14)
    assert (found.error < 1e-4).all()
    assert found.lyapunov_max == pytest.approx(np.log(0.9), abs=0.15)  # the radius of this network of 50


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"series": np.ones(100)}, "finite numbers that vary"),
        ({"series": np.arange(50.0)}, "leaves 0 to train"),
        ({"horizons": (0,)}, "horizons=0"),
        ({"ridge": 0.0}, "ridge"),
    ],
)
def test_mistakes_in_forecasts(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gf.training.forecast(GRU, **{"size": 5, "series": np.sin(np.arange(500.0))} | change)


# ---- rows, the figure, the command ----


def test_row_keeps_its_checkpoint(tmp_path: Path) -> None:
    more: dict[str, Any] = {"values": (1.0,), "task": "adding", "length": 4, "hidden": 6, "batch": 50, "epochs": 1}
    found = gf.training.train_row(GRU, **more, checkpoints=str(tmp_path))
    assert isinstance(found, xr.Dataset)
    assert found.sizes == {"row": 1, "epoch": 1}
    assert len(list(tmp_path.glob("row-*.npz"))) == 1
    with pytest.raises(ValueError, match="GRU has no 'forget'"):
        gf.training.train_row(GRU, gain="forget", **more)
    with pytest.raises(ValueError, match="no folder"):
        gf.training.train_row(GRU, **more, checkpoints=str(tmp_path / "nowhere"))


@ours
def test_command(gatefield: Command, tmp_path: Path) -> None:
    small = ("--hidden", "8", "--epochs", "2", "--gain", "candidate=2")
    done = gatefield("train", "adding", "--length", "5", *small, "--networks", "2", "--checkpoint", "run.npz",
                     "--output", "run.png")  # fmt: skip
    assert done.code == 0, done.err
    assert "adding, 5 steps" in done.out
    assert "mean of 2 networks" in done.out
    assert (tmp_path / "run.png").exists()
    again = gatefield(
        "train", "adding", "--length", "5", *small, "--networks", "2", "--checkpoint", "run.npz", "--json"
    )
    assert again.json["epochs"] == 2
    assert again.json["start"]["lyapunov_max"] == pytest.approx(0.0, abs=0.05)  # a_h = 2 is critical
    found = gatefield("train", "mackey-glass", "--hidden", "20", "--gain", "candidate=1", "--json").json
    assert found["networks"][0]["lyapunov_max"] < 0.0


@ours
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("xor",), "task 'xor' is not known"),
        (("sequential-mnist", "--data", "nowhere"), "put the files there"),
        (("adding", "--checkpoint", "run.pt"), "suffix must be .npz"),
        (("mackey-glass", "--output", "run.png"), "--output has no picture for mackey-glass"),
        (("adding", "--current", "update=1", "--length", "4"), "inputs come from the task"),
    ],
)
def test_refusals(gatefield: Command, arguments: tuple[str, ...], said: str) -> None:
    done = gatefield("train", *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
