"""Sweeps from TOML files: what they may say, and the commands that run and show them."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tests.commands import Command

import gatefield as gf
from gatefield.sweeps.plans import plan_from, read_plan
from gatefield.sweeps.quantities import quantity

# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

ROOTS = """
quantity = "fixed_points"
cell = "gru"
gain.candidate = 1.9
grid.gain.reset = [1.0, 10.0]
"""
MINE = """
import numpy as np

def mine(x, y, seed):
    if x == 2:
        raise ValueError(f"not at {x}")
    return {"sum": x + y, "seed": seed, "half": HALF}

HALF = 0.5
"""


@pytest.fixture
def sweep(gatefield: Command) -> Command:
    return partial(gatefield, "sweep")


def test_grid_and_ensemble() -> None:
    plan = plan_from(
        {
            "quantity": "mean_field", "cell": "gru-reset-after", "activation": "hard-tanh", "seed": 4,
            "gain": {"update": 2.0}, "bias_var": {"reset": 0.1},
            "grid": {
                "gain": {"candidate": {"from": 1.0, "to": 3.0, "points": 5}},
                "bias_mean_update": {"from": 0.1, "to": 10.0, "points": 3, "scale": "log"},
                "steps": [10, 20],
                "replicate": 2,
            },
            "options": {"samples": 100},
        },
        Path(),
    )  # fmt: skip
    assert plan.grid.dims == ("gain_candidate", "bias_mean_update", "steps", "replicate")
    assert plan.grid.shape == (5, 3, 2, 2)
    assert plan.grid.coordinates["gain_candidate"][1] == (1.0, 1.5, 2.0, 2.5, 3.0)
    np.testing.assert_allclose(plan.grid.coordinates["bias_mean_update"][1], [0.1, 1.0, 10.0])
    assert plan.seed == 4
    ensemble = plan.job.ensemble_at(plan.grid.points[-1])
    assert ensemble is not None
    assert ensemble.cell == gf.GRU(reset_after=True, activation="hard_tanh")
    assert (ensemble.gain["update"], ensemble.gain["candidate"]) == (2.0, 3.0)
    assert (ensemble.bias_var["reset"], ensemble.bias_mean["update"]) == (0.1, pytest.approx(10.0))
    assert plan.job.arguments_at(plan.grid.points[-1]) == {"samples": 100, "steps": 20}


def test_list_of_points() -> None:
    points = [{"gain": {"input": 1.5}, "size": 10}, {"gain": {"input": 2.5}, "size": 20}]
    plan = plan_from({"quantity": "simulate", "cell": "vanilla", "points": points}, Path())
    assert plan.grid.points == ({"gain_input": 1.5, "size": 10}, {"gain_input": 2.5, "size": 20})


def test_every_quantity_takes_an_ensemble() -> None:
    for name in (
        "mean_field",
        "report",
        "lyapunov_max",
        "fixed_points",
        "spectral_radius",
        "spectral_mass",
        "simulate",
    ):
        assert callable(quantity(name))
    with pytest.raises(ValueError, match="quantity 'phase_diagram' is not known; use one of .*critical_gain, "):
        quantity("phase_diagram")


def test_spectra_are_those_of_the_steady_state() -> None:
    ensemble = gf.Ensemble(gf.Vanilla(), {"input": 1.5})
    run = {"steps": 16, "samples": 64}
    found = gf.sweep(quantity("spectral_radius"), {"gain_input": [1.5]}, ensemble=ensemble, options=run, workers=0)
    field = gf.mean_field(ensemble, seed=int(found.point_seed[0]), **run)
    assert found.value[0] == gf.spectral_radius(ensemble, field.snapshot).value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"quantity": "nonsense"}, "'nonsense' is not known"),
        ({"function": "mine.py:mine"}, "either quantity"),
        ({"cell": "gpu"}, "cell 'gpu' is not known"),
        ({"cell": None}, "needs a cell"),
        ({"grids": {}}, "'grids' is not known; the keys are quantity, "),
        ({"grid": None}, "either a table"),
        ({"grid": {"gain": {"z": [1.0]}}}, "unexpected keyword argument 'gain_z'"),
        ({"grid": {"gain": {"reset": {"from": 1.0, "points": 2}}}}, "must read { from"),
        ({"grid": {"gain": {"reset": {"from": 1.0, "to": 2.0, "points": 2, "scale": "cubic"}}}}, "'cubic'"),
        ({"grid": {"gain": {"reset": {"from": 0.0, "to": 2.0, "points": 2, "scale": "log"}}}}, "above 0"),
        ({"grid": {"replicate": 0}}, "replicate=0"),
        ({"gain": 3.0}, "must be a table"),
        ({"gain": {"z": 3.0}}, "has no 'z'"),
        ({"step": 0.5}, "step is for the leaky cell"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"batch": 4}, "functions of numbers"),
    ],
)
def test_refusals(sweep: Command, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    text = {"quantity": "fixed_points", "cell": "gru", "grid": {"gain": {"reset": [1.0, 10.0]}}} | change
    text = {k: v for k, v in text.items() if v is not None}
    (tmp_path / "s.toml").write_text("\n".join(f"{k} = {toml(v)}" for k, v in text.items()))
    done = sweep("s.toml", "--store", "r.zarr", "--workers", "0")
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "r.zarr").exists()


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return repr(value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--store", "r.zarr"), "give a file and --store"),
        (("s.toml",), "give a file and --store"),
        (("nowhere.toml", "--store", "r.zarr"), "there is no file 'nowhere.toml'"),
        (("broken.toml", "--store", "r.zarr"), "cannot be read"),
        (("--resume", "nowhere.zarr"), "there is no store at 'nowhere.zarr'"),
        (("s.toml", "--resume", "r.zarr"), "neither a file nor --store"),
        (("s.toml", "--store", "r.zarr", "--workers", "-1"), "workers=-1"),
        (("s.toml", "--store", "r.zarr", "--workers", "1", "--scheduler", "tcp://h:1"), "exclude each other"),
    ],
)
def test_refused_arguments(sweep: Command, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "s.toml").write_text(ROOTS)
    (tmp_path / "broken.toml").write_text("quantity = ")
    done = sweep(*arguments)
    assert done.code == 2
    assert said in done.err


def test_no_cluster_at_the_address(sweep: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatefield.cli.sweeps._WAIT", 0.2)
    (tmp_path / "s.toml").write_text(ROOTS)
    done = sweep("s.toml", "--store", "r.zarr", "--scheduler", "tcp://127.0.0.1:9")
    assert done.code == 2
    assert "'tcp://127.0.0.1:9' does not answer" in done.err


def test_run_show_and_go_on(sweep: Command, gatefield: Command, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(ROOTS)
    done = sweep("s.toml", "--store", "r.zarr", "--workers", "0")
    assert done.code == 0, done.err
    assert "r.zarr: gatefield.fixed_points, gatefield 0.1.0\n2 points: 2 done\n" in done.out
    assert "go on" not in done.out
    first = xr.open_zarr(tmp_path / "r.zarr").load()
    assert np.isfinite(first.shaping).sum("item").values.tolist() == [1, 3]
    assert sweep("--resume", "r.zarr", "--workers", "0").out == done.out
    assert sweep("s.toml", "--store", "r.zarr", "--workers", "0").out == done.out
    assert xr.open_zarr(tmp_path / "r.zarr").load().identical(first)
    (tmp_path / "s.toml").write_text(ROOTS.replace("1.9", "1.8"))
    other = sweep("s.toml", "--store", "r.zarr", "--workers", "0")
    assert other.code == 2
    assert "is of another sweep: its ensemble is" in other.err
    shown = gatefield("status", "r.zarr", "--json").json
    assert (shown["points"], shown["done"], shown["failed"], shown["running"]) == (2, 2, 0, None)


def test_function_of_a_file(sweep: Command, gatefield: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "s.toml").write_text('function = "mine.py:mine"\ngrid.x = [1, 2, 3]\noptions.y = 10\n')
    done = sweep("s.toml", "--store", "r.zarr", "--workers", "0")
    assert done.code == 1
    assert "3 points: 2 done, 1 failed" in done.out
    assert "failed: x 2: ValueError: not at 2 (in mine, line 6)" in done.out
    assert "gatefield sweep --resume r.zarr --retry-failed" in done.out
    assert sweep("--resume", "r.zarr", "--workers", "0").code == 1
    found = xr.open_zarr(tmp_path / "r.zarr")
    assert found["sum"].values[[0, 2]].tolist() == [11.0, 13.0]
    assert found.half.values[0] == 0.5
    shown = gatefield("status", "r.zarr", "--json").json
    assert shown["failures"] == [{"point": {"x": 2}, "message": "ValueError: not at 2 (in mine, line 6)"}]

    (tmp_path / "mine.py").write_text("# a comment more\n" + MINE)
    assert sweep("--resume", "r.zarr", "--workers", "0").code == 1  # the same function still
    (tmp_path / "mine.py").write_text(MINE.replace("x == 2", "x == 5"))
    changed = sweep("--resume", "r.zarr", "--retry-failed", "--workers", "0")
    assert changed.code == 2
    assert "is of another sweep: its source is" in changed.err

    (tmp_path / "mine.py").write_text("raise OSError('no luck')")
    assert "cannot be loaded: OSError: no luck" in sweep("s.toml", "--store", "q.zarr").err
    (tmp_path / "mine.py").unlink()
    assert "there is no file" in sweep("s.toml", "--store", "q.zarr").err
    (tmp_path / "s.toml").write_text('function = "math:nothing"\ngrid.x = [1]\n')
    assert "has no function 'nothing'" in sweep("s.toml", "--store", "q.zarr").err


def test_store_made_in_python(sweep: Command, gatefield: Command, tmp_path: Path) -> None:
    gf.sweep(_square, {"x": [1.0, 2.0]}, store=tmp_path / "r.zarr", workers=0)
    done = sweep("--resume", "r.zarr")
    assert done.code == 2
    assert "was made in Python by tests.sweeps.test_plans._square" in done.err.replace("gatefield.tests", "tests")
    assert "2 points: 2 done" in gatefield("status", "r.zarr").out
    (tmp_path / "empty").mkdir()
    assert "not a store of a sweep" in gatefield("status", "empty").err


def _square(x: float) -> float:
    return x * x


def test_without_the_extra(tmp_path: Path) -> None:
    code = "import sys; sys.modules['zarr'] = None; sys.argv[1:] = ['status', 'r']; import gatefield.__main__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "gatefield: sweeps need zarr: pip install 'gatefield[sweep]'\n"


def test_the_example_can_be_read() -> None:
    plan = read_plan(Path(__file__).parents[2] / "examples" / "sweep.toml")
    assert len(plan.grid) > 10
