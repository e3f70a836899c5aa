"""Files that others made, whatever is in them, and paths at which nothing can be put: one line says what is wrong."""

from __future__ import annotations

import resource
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.commands import Command

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

UNITS = 6
SPARSE = 3 * 2**30


def weights(kind: Any = np.float64, factor: float = 1.0) -> dict[str, Any]:
    """A GRU of PyTorch."""
    rng = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (3 * UNITS, 2), "weight_hh_l0": (3 * UNITS, UNITS)}
    return {name: (factor * rng.standard_normal(shape)).astype(kind) for name, shape in shapes.items()}


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SPARSE)


def cut(path: Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With every kind of file that is not a checkpoint, or not inputs."""
    for name, keep in (("cut.npz", 0.5), ("start.npz", 0.001), ("nothing.npz", 0.0)):
        np.savez(tmp_path / name, **weights())
        cut(tmp_path / name, keep)
    np.savez_compressed(tmp_path / "flipped.npz", **weights())
    content = bytearray((tmp_path / "flipped.npz").read_bytes())
    content[300:340] = b"\xff" * 40
    (tmp_path / "flipped.npz").write_bytes(content)
    np.savez(tmp_path / "objects.npz", **weights(object))
    np.savez(tmp_path / "int8.npz", **weights(np.int8, 50.0))
    np.savez(tmp_path / "complex.npz", **weights(complex))
    np.savez(tmp_path / "text.npz", **weights(str))
    np.savez(tmp_path / "large.npz", **weights(factor=1e200))
    np.savez(tmp_path / "nan.npz", **weights(factor=np.nan))
    np.savez(tmp_path / "good.npz", **weights())
    with zipfile.ZipFile(tmp_path / "plain.npz", "w") as file:
        file.writestr("weight_hh_l0.npy", "hello")
    save_file(weights(np.int8, 50.0), tmp_path / "int8.safetensors")
    for name, keep in (("cut.safetensors", 0.5), ("short.safetensors", 0.01)):
        save_file(weights(np.float32), tmp_path / name)
        cut(tmp_path / name, keep)
    for name in ("npy.npz", "wide.npy", "cut.npy"):
        with (tmp_path / name).open("wb") as file:
            np.save(file, np.ones((20, 5)))
    cut(tmp_path / "cut.npy", 0.5)
    np.save(tmp_path / "objects.npy", np.array([None, 1], object))
    np.save(tmp_path / "complex.npy", np.ones((20, 2), complex))
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.save(tmp_path / "short.npy", np.ones((3, 2)))
    (tmp_path / "words.npy").write_text("hello")
    (tmp_path / "words.npz").write_text("hello")
    for name in ("folder.npz", "folder.npy"):
        (tmp_path / name).mkdir()
    for name in ("sparse.npz", "sparse.npy", "sparse.safetensors"):
        sparse(tmp_path / name)
    return tmp_path


CHECKPOINTS = {
    "cut.npz": "save it again",
    "start.npz": "save it again",
    "nothing.npz": "save it again",
    "flipped.npz": "save it again",
    "words.npz": "save it again",
    "npy.npz": "save it again",
    "sparse.npz": "save it again",
    "sparse.safetensors": "save it again",
    "cut.safetensors": "save it again",
    "short.safetensors": "save it again",
    "objects.npz": "without running code; save arrays of numbers",
    "int8.npz": "int8, which are no weights by themselves; save them as floating-point numbers",
    "int8.safetensors": "int8, which are no weights by themselves",
    "complex.npz": "complex128, which are no weights",
    "text.npz": "no weights by themselves",
    "large.npz": "beyond 1e+100; its training has diverged",
    "nan.npz": "not finite; its training has diverged",
    "plain.npz": "has no recurrent layer",
    "folder.npz": "is a folder; give a file",
    "folder.npz/x.npz": "there is no file",
}
INPUTS = {
    "cut.npy": "save it again",
    "words.npy": "must be one array, .npy",
    "good.npz": "must be one array, .npy",
    "sparse.npy": "must be one array, .npy",
    "objects.npy": "save it again",
    "complex.npy": "complex128; give real numbers",
    "text.npy": "give real numbers",
    "short.npy": "too short",
    "wide.npy": "takes 2 inputs",
    "folder.npy": "is a folder; give a file",
    "nowhere.npy": "there is no file",
}


def refused(done: Any, *said: str) -> None:
    assert done.code in (1, 2)
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    for text in ("gatefield: ", *said):
        assert text in done.err


def test_checkpoints_that_are_none(gatefield: Command, folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, said in CHECKPOINTS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            refused(gatefield("diagnose", name, "--no-theory"), said)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB: nothing read 3 GiB
    assert (folder / "sparse.npz").stat().st_size == SPARSE


def test_inputs_that_are_none(gatefield: Command, folder: Path) -> None:
    assert folder.is_dir()
    for name, said in INPUTS.items():
        refused(gatefield("diagnose", "good.npz", "--no-theory", "--inputs", name), said)
        refused(gatefield("init", "gru", "--hidden", "6", "--inputs", "2", "--data", name, "--json"), said)


FIXED_POINTS = ("fixed-points", "gru")
FIGURE = ("figure", "cks1", "--quick")
NO_PICTURES = (
    "/dev/full", "nowhere/x.png", "folder.png", "file/x.png", "x.txt", "", "/proc/x.png", "a" * 300 + ".png",
)  # fmt: skip
TRAIN = ("train", "adding", "--length", "5", "--hidden", "5", "--epochs", "1")


@pytest.mark.parametrize(
    ("command", "option", "path"),
    [
        *((command, "--output", path) for command in (FIXED_POINTS, FIGURE, TRAIN) for path in NO_PICTURES),
        *((FIGURE, "--data", path) for path in ("/dev/full", "nowhere/x.nc", "file/x.nc", "/proc/x.nc")),
        *((TRAIN, "--checkpoint", path) for path in ("/dev/full", "nowhere/x.npz", "folder.npz", "/proc/x.npz")),
    ],
    ids=str,
)
def test_where_nothing_can_be_written(
    gatefield: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any, option: str, path: str
) -> None:
    """Found before anything is computed."""

    def nothing(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was computed")

    for name in ("figures.figures.figure_data", "phases.roots.fixed_points", "training.trainer.train"):
        monkeypatch.setattr(f"gatefield.{name}", nothing)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    refused(gatefield(*command, option, path), option.removeprefix("--"))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("quantity = [1]", "quantity = [1] must be text"),
        ("quantity = {a = 1}", "must be text"),
        ("cell = 3", "cell = 3 must be text"),
        ("grid.replicate = 99999999999999999999", "grid: replicate has 99999999999999999999 points"),
        ("grid.gain_candidate = {from = 0, to = 1, points = 100000000000}", "has 100000000000 points, 2000000 are"),
        ("grid.gain_reset = {from = 0, to = 1, points = 2000000}\ngrid.replicate = 100", "has 200000000 points"),
        ("points = 1", "points = 1 must be tables"),
    ],
)
def test_plans_of_wrong_types(gatefield: Command, tmp_path: Path, plan: str, said: str) -> None:
    given = {"quantity": 'quantity = "zero_fixed_point"', "cell": 'cell = "gru"', "grid": "grid.gain_reset = [1.0]"}
    kept = [line for key, line in given.items() if not plan.startswith((key, "points" if key == "grid" else key))]
    (tmp_path / "p.toml").write_text("\n".join([*kept, plan]))
    refused(gatefield("sweep", "p.toml", "--store", "s.zarr", "--workers", "0"), said)
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]


def test_planes_too_large(gatefield: Command) -> None:
    large = ("reset=0,10,1000000", "candidate=1,3,1000000")
    refused(gatefield("phase-diagram", "gru", "--gain-x", large[0], "--gain-y", large[1]), "1000000000000", "GiB")


def test_extremes_say_nothing_beside_the_result(gatefield: Command) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        small = ("--steps", "16", "--samples", "60", "--size", "12", "--json")
        assert gatefield("lyapunov", "vanilla", "--gain", "input=0", *small).json
        assert gatefield("fixed-points", "gru", "--gain", "candidate=1e6", "--gain", "update=2", "--json").json
