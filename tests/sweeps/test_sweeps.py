"""Sweeps: the same numbers whoever computes them, and nothing finished lost whatever dies."""

from __future__ import annotations

import errno
import json
import os
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
import zarr

import gatefield as gf
from gatefield.sweeps import store as stores
from gatefield.sweeps.grids import as_grid, point_seed
from gatefield.sweeps.points import Job
from gatefield.sweeps.run import FailedPointsWarning, units_of

GRID = {"gain": [0.5, 1.5, 2.5], "size": [4, 6], "replicate": range(2)}


def norm(gain: float, size: int, seed: int) -> dict[str, Any]:
    """Of a random matrix; arrays as long as it is large."""
    values = gain * np.random.default_rng(seed).standard_normal(size)
    return {
        "norm": gf.Estimate(float(np.linalg.norm(values)), 0.1),
        "values": values,
        "even": size % 2 == 0,
        "say": "é",
    }


def picky(gain: float, size: int) -> float:
    if gain > 2.0 and size == 6:
        raise RuntimeError(f"no such thing\nas {gain}")
    return gain * size


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def same(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Equal in every bit, times of computing aside."""
    return a.drop_vars(["seconds", "finished"]).identical(b.drop_vars(["seconds", "finished"]).assign_attrs(a.attrs))


def test_results_are_labelled() -> None:
    found = gf.sweep(norm, GRID, workers=0, seed=5)
    assert found.norm.dims == ("gain", "size", "replicate")
    assert found.sizes == {"gain": 3, "size": 2, "replicate": 2, "values_0": 6}
    for gain in (0.5, 1.5, 2.5):
        for size in (4, 6):
            for replicate in range(2):
                at = found.sel(gain=gain, size=size, replicate=replicate)
                seed = point_seed(5, {"gain": gain, "size": size, "replicate": replicate})
                expected = norm(gain, size, seed)
                assert at.point_seed == seed
                assert at.norm == expected["norm"].value
                assert np.array_equal(at["values"][:size], expected["values"])
                assert np.isnan(at["values"][size:]).all()
                assert at.say == "é"
        assert (found.norm_error == 0.1).all()
    assert (found.status == 1).all()
    assert found.status.attrs["flag_meanings"] == "pending done failed"
    assert found["size"].attrs["units"] == "neurons"
    assert (found.seconds > 0).all()
    assert found.attrs["gatefield_version"] == gf.__version__


def test_store_is_a_zarr_group(tmp_path: Path) -> None:
    found = gf.sweep(norm, GRID, workers=0, store="s.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xr.open_zarr(tmp_path / "s.zarr").load()
    assert opened.norm.identical(found.norm.load())
    assert opened["size"].attrs["units"] == "neurons"
    assert not list(tmp_path.glob("*.lock"))
    assert not list(tmp_path.glob(".s.zarr*"))


def test_list_of_points() -> None:
    points = [{"gain": 1.0, "size": 4}, {"gain": 2.0, "size": 5}, {"gain": 3.0, "size": 6}]
    found = gf.sweep(picky, points[:2], workers=0)
    assert found.value.dims == ("point",)
    assert found.value.values.tolist() == [4.0, 10.0]
    assert found.gain.dims == ("point",)


def test_seeds_come_from_the_coordinates_alone() -> None:
    point = {"gain": 2.0, "size": 4}
    assert point_seed(0, point) == point_seed(0, {"size": 4.0, "gain": 2})
    assert point_seed(0, point) != point_seed(1, point)
    assert point_seed(0, point) != point_seed(0, {**point, "gain": 2.5})
    assert point_seed(0, {**point, "seed": 7}) == 7
    assert 0 <= point_seed(0, point) < 2**31
    small = gf.sweep(norm, {"gain": [1.5], "size": [4], "replicate": [1]}, workers=0)
    large = gf.sweep(norm, {"size": [6, 4], "replicate": range(2), "gain": [0.5, 1.5]}, workers=0)
    assert large.sel(gain=1.5, size=4, replicate=1).norm == small.norm


def growth(ensemble: gf.Ensemble, steps: int, seed: int) -> dict[str, Any]:
    path = gf.Network(ensemble, size=20, seed=seed).run(steps, seed=seed)
    return {"variance": path.variance["h"], "gain": ensemble.gain["candidate"], "bias": ensemble.bias_mean["update"]}


def test_parameters_of_the_ensemble() -> None:
    base = gf.Ensemble(gf.GRU(), {"candidate": 3.0, "reset": 1.0})
    grid = {"gain_candidate": [1.0, 2.5], "bias_mean_update": [0.0, 1.0]}
    found = gf.sweep(growth, grid, ensemble=base, options={"steps": 8}, workers=0)
    assert found.gain.sel(bias_mean_update=1.0).values.tolist() == [1.0, 2.5]
    assert found.bias.sel(gain_candidate=1.0).values.tolist() == [0.0, 1.0]
    seed = point_seed(0, {"gain_candidate": 2.5, "bias_mean_update": 1.0})
    ensemble = gf.Ensemble(gf.GRU(), {"candidate": 2.5, "reset": 1.0}, {"update": 1.0})
    expected = growth(ensemble, 8, seed)["variance"]
    assert found.variance.sel(gain_candidate=2.5, bias_mean_update=1.0) == expected


def test_results_of_gatefield() -> None:
    ensemble = gf.Ensemble(gf.Vanilla(), {"input": 1.5})
    found = gf.sweep(
        gf.mean_field, {"gain_input": [0.5, 1.5]}, ensemble=ensemble, options={"steps": 16, "samples": 64}, workers=0
    )
    assert found.regime.values.tolist() == ["quiescent", "chaotic"]
    assert found["mean"].dims == ("gain_input", "variable")
    assert found.coords["lag"].values.tolist() == [0, 1, 2, 3]
    direct = gf.mean_field(ensemble, steps=16, samples=64, seed=int(found.point_seed[1]))
    assert found.variance.sel(gain_input=1.5, variable="h") == direct.variance["h"].value
    roots = gf.sweep(
        gf.fixed_points, {"gain_reset": [1.0, 10.0]}, workers=0, ensemble=gf.Ensemble(gf.GRU(), {"candidate": 1.9})
    )
    assert np.isfinite(roots.shaping).sum("item").values.tolist() == [1, 3]


def test_an_exception_at_one_point(tmp_path: Path) -> None:
    with pytest.warns(FailedPointsWarning, match="1 of 6 points failed"):
        found = gf.sweep(picky, {"gain": [1.0, 2.0, 3.0], "size": [4, 6]}, store="s.zarr", workers=0)
    assert found.status.values.tolist() == [[1, 1], [1, 1], [1, 2]]
    message = str(found.message[2, 1].item())
    assert message.startswith("RuntimeError: no such thing as 3.0 (in picky, line ")
    assert np.isnan(found.value[2, 1])
    before = found.finished.load()
    with pytest.warns(FailedPointsWarning):
        again = gf.sweep(picky, {"gain": [1.0, 2.0, 3.0], "size": [4, 6]}, store="s.zarr", workers=0)
    assert again.finished.identical(before)  # failed points rest until asked for
    with pytest.warns(FailedPointsWarning):
        retried = gf.sweep(
            picky, {"gain": [1.0, 2.0, 3.0], "size": [4, 6]}, store="s.zarr", workers=0, retry_failed=True
        )
    assert (retried.finished != before).values.tolist() == [[False, False], [False, False], [False, True]]


def fickle(x: int, folder: str) -> float:
    if x == 1 and not (Path(folder) / "well").exists():
        raise OSError("not yet")
    return float(x)


def test_retry_clears_the_failure(tmp_path: Path) -> None:
    call = partial(gf.sweep, fickle, {"x": [0, 1, 2]}, options={"folder": str(tmp_path)}, store="s.zarr", workers=0)
    with pytest.warns(FailedPointsWarning):
        call()
    (tmp_path / "well").touch()
    found = call(retry_failed=True)
    assert found.value.values.tolist() == [0.0, 1.0, 2.0]
    assert found.message.values.tolist() == ["", "", ""]


def unlike(x: int) -> Any:
    return {0: 1.0, 1: [1.0, 2.0], 2: "text", 3: object(), 4: {}, 5: 2.0}[x]


def test_results_that_do_not_fit() -> None:
    with pytest.warns(FailedPointsWarning, match="4 of 6"):
        found = gf.sweep(unlike, {"x": range(6)}, workers=0)
    assert found.status.values.tolist() == [1, 2, 2, 2, 2, 1]
    messages = [str(m) for m in found.message.values]
    assert "1 dimensions" in messages[1]
    assert "kind 'O'" in messages[2]
    assert "cannot be recorded" in messages[3]
    assert "nothing to record" in messages[4]


# ---- several points through one compiled function ----

CALLS: list[int] = []


def traced(gain: float, size: int, seed: int) -> dict[str, Any]:
    CALLS.append(size)
    x = jnp.arange(size) * gain + seed % 7
    return {"sum": jnp.sum(jnp.tanh(x / 10)), "x": x}


def test_batches_share_a_compiled_function() -> None:
    CALLS.clear()
    grid = {"gain": np.linspace(0.1, 1.0, 11), "size": [3, 5]}
    alone = gf.sweep(traced, grid, workers=0, batch=1)
    assert CALLS == [3, 5]  # compiled once for each shape, not once for each point
    several = gf.sweep(traced, grid, workers=0, batch=4)
    assert CALLS == [3, 5, 3, 5]
    np.testing.assert_allclose(alone["sum"], several["sum"], rtol=1e-15)
    assert several["sum"].dtype == np.float64
    seeds = several.point_seed.values
    expected = [np.tanh((np.arange(5) * g + s % 7) / 10).sum() for g, s in zip(grid["gain"], seeds[:, 1], strict=True)]
    np.testing.assert_allclose(several["sum"].sel(size=5), expected, rtol=1e-12)


def test_batches_depend_on_the_grid_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = {"gain": np.linspace(0.1, 1.0, 11), "size": [3, 5]}
    whole = gf.sweep(traced, grid, workers=0, batch=4)
    written = stores.SweepStore.record

    def stopped(self: stores.SweepStore, outcomes: list[Any]) -> Any:
        if (self.status != 0).sum() > 6:
            raise KeyboardInterrupt
        return written(self, outcomes[:3])  # as though the rest had not come through

    monkeypatch.setattr(stores.SweepStore, "record", stopped)
    with pytest.raises(KeyboardInterrupt):
        gf.sweep(traced, grid, workers=0, batch=4, store="s.zarr")
    monkeypatch.undo()
    assert 0 < (xr.open_zarr(tmp_path / "s.zarr").status == 1).sum() < 22
    assert same(gf.sweep(traced, grid, workers=0, batch=4, store=tmp_path / "s.zarr"), whole)


def test_units_cover_the_grid_once() -> None:
    grid = as_grid({"gain": np.linspace(0.1, 1.0, 11), "size": [3, 5]})
    units = units_of(Job(traced, batch=4), grid)
    assert sorted(i for unit in units for i in unit) == list(range(22))
    assert all(len({grid.points[i]["size"] for i in unit}) == 1 for unit in units)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "its seed is 0, not 1"),
        ({"grid": {"gain": [1.0, 2.0], "size": [4, 6]}}, "its grid is"),
        ({"function": norm}, "its function is"),
        ({"function": partial(picky, gain=1.0), "grid": {"size": [4]}}, "its function is"),
        ({"function": lambda gain, size: gain}, "its function is"),
    ],
)
def test_store_of_another_sweep(change: dict[str, Any], said: str) -> None:
    call = {"function": picky, "grid": {"gain": [1.0], "size": [4, 6]}, "store": "s.zarr", "workers": 0}
    before = gf.sweep(**call).load()
    with pytest.raises(ValueError, match=said):
        gf.sweep(**{**call, **change})
    assert gf.sweep(**call).load().identical(before)


def test_function_that_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    gf.sweep(picky, {"gain": [1.0], "size": [4]}, store="s.zarr", workers=0)
    monkeypatch.setattr("gatefield.sweeps.run._source", lambda _: "other")
    with pytest.raises(ValueError, match="its source is"):
        gf.sweep(picky, {"gain": [1.0], "size": [4]}, store="s.zarr", workers=0)


def test_store_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    gf.sweep(picky, {"gain": [1.0], "size": [4]}, store="s.zarr", workers=0)
    monkeypatch.setattr(stores, "__version__", "9.9.9")
    with pytest.raises(ValueError, match=r"made by gatefield 0\.1\.0, this is 9\.9\.9"):
        gf.sweep(picky, {"gain": [1.0], "size": [4]}, store="s.zarr", workers=0)


def test_what_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not a store of a sweep"):
        gf.sweep(picky, {"gain": [1.0], "size": [4]}, store="mine", workers=0)
    assert (tmp_path / "mine" / "thesis.txt").exists()
    with pytest.raises(ValueError, match="no folder"):
        gf.sweep(picky, {"gain": [1.0], "size": [4]}, store="nowhere/s.zarr", workers=0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"grid": {}}, "no axis"),
        ({"grid": []}, "at least one point"),
        ({"grid": 3}, "must be a mapping"),
        ({"grid": {"gain": []}}, "has no values"),
        ({"grid": {"gain": 1.0}}, "must be a sequence"),
        ({"grid": {"gain": [1.0, 1.0]}}, "twice"),
        ({"grid": {"gain": [1.0, float("nan")]}}, "finite"),
        ({"grid": {"gain": [1.0, "a"]}}, "mixes"),
        ({"grid": {"gain": [None]}}, "holds None"),
        ({"grid": {"a b": [1.0]}}, "cannot name"),
        ({"grid": [{"gain": 1.0}, {"size": 1}]}, "point 1 has size"),
        ({"grid": [{"point": 1.0}]}, "something else"),
        ({"grid": {"gain": [1.0]}}, "missing a required argument: 'size'"),
        ({"grid": {"gain": [1.0], "size": [4], "other": [1]}}, "unexpected keyword argument 'other'"),
        ({"grid": {"gain": [1.0], "size": [4], "seed": [1]}}, "takes none"),
        ({"options": {"gain": 1.0}}, "both give 'gain'"),
        ({"function": 3}, "must be a function"),
        ({"seed": -1}, "seed=-1"),
        ({"workers": -1}, "workers=-1"),
        ({"batch": 0}, "batch=0"),
        ({"batch": 2, "ensemble": gf.Ensemble(gf.GRU())}, "for functions of numbers"),
        ({"client": object()}, "exclude each other"),
    ],
)  # fmt: skip
def test_refusals(arguments: dict[str, Any], said: str) -> None:
    call = {"function": picky, "grid": {"gain": [1.0], "size": [4, 6]}, "workers": 0}
    with pytest.raises(ValueError, match=said):
        gf.sweep(**{**call, **arguments})


# ---- full disk ----


@pytest.mark.parametrize("after", [1, 5, 9, 14, 23, 31])
def test_full_disk(after: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Writing fails at the n-th file, wherever that is; what was done before is whole, and the sweep goes on later."""
    from zarr.storage import _local

    expected = gf.sweep(norm, GRID, workers=0)
    writing, count = _local._put, 0

    def put(path: Path, value: Any, *rest: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count > made + after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return writing(path, value, *rest, **more)

    made = 1_000_000
    monkeypatch.setattr(_local, "_put", put)
    monkeypatch.setattr("gatefield.sweeps.run._TASK_UNITS", 3)
    store = tmp_path / "s.zarr"
    making = stores.make_store

    def make(*arguments: Any) -> None:
        nonlocal made
        making(*arguments)
        made = count

    monkeypatch.setattr(stores, "make_store", make)
    with pytest.raises(OSError, match=r"No space left on device; \d+ of 12 points are in .* --resume") as stop:
        gf.sweep(norm, GRID, workers=0, store=store)
    assert stop.value.errno == errno.ENOSPC
    count = -1_000_000
    done = xr.open_zarr(store).load()
    kept = done.status.values == 1
    assert f"{kept.sum()} of 12" in str(stop.value)
    for name in ("norm", "values", "norm_error"):
        if kept.any():
            width = done[name].shape[3:]
            ours = expected[name].values[(..., *(slice(n) for n in width))]
            np.testing.assert_array_equal(done[name].values[kept], ours[kept])
    assert same(gf.sweep(norm, GRID, workers=0, store=store), expected)
    assert not list(store.rglob("*.partial"))


def test_full_disk_before_the_store_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stores, "consolidate", full)
    with pytest.raises(OSError, match="No space left"):
        gf.sweep(picky, {"gain": [1.0], "size": [4]}, store="s.zarr", workers=0)
    assert [path.name for path in tmp_path.iterdir()] == []


# ---- the store's own rule: status last ----


def test_a_crash_while_writing_leaves_the_point_pending(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    writing = stores.SweepStore._write

    def crash(self: stores.SweepStore, name: str, values: Any) -> None:
        if name == "status":
            raise KeyboardInterrupt
        writing(self, name, values)

    monkeypatch.setattr(stores.SweepStore, "_write", crash)
    with pytest.raises(KeyboardInterrupt, match="0 of 1 points are in"):
        gf.sweep(picky, {"gain": [1.0], "size": [4]}, store="s.zarr", workers=0)
    monkeypatch.undo()
    found = xr.open_zarr(tmp_path / "s.zarr")
    assert found.status.values.tolist() == [[0]]
    assert found.value.values.tolist() == [[4.0]]
    assert (gf.sweep(picky, {"gain": [1.0], "size": [4]}, store=tmp_path / "s.zarr", workers=0).status == 1).all()


def test_time_is_recorded() -> None:
    before = time.time()
    found = gf.sweep(picky, {"gain": [1.0], "size": [4]}, workers=0)
    assert before - 1e-3 <= found.finished.values.astype("datetime64[us]").astype(float).item() / 1e6 <= time.time()


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("gatefield.roots.fixed_points", "gatefield.fixed_points"),
        ("gatefield.lstm_plane.hysteresis", "gatefield.static_hysteresis"),
        (
            "gatefield.quantities.gatefield.spectrum.spectral_radius at the steady state",
            "gatefield.spectral_radius at the steady state",
        ),
        ("study.square", "study.square"),
    ],
)
def test_functions_are_known_by_name_alone(before: str, now: str) -> None:
    assert stores.without_folders(before) == stores.without_folders(now) == now


def test_a_store_of_an_older_house_goes_on(tmp_path: Path) -> None:
    """Where gatefield's function stands in the package does not make another sweep."""
    run = partial(
        gf.sweep, gf.spectra.zero_fixed_point, ensemble=gf.Ensemble(gf.GRU()), store=tmp_path / "r.zarr", workers=0
    )
    first = run({"gain_candidate": [1.0, 2.0]})
    group = zarr.open_group(tmp_path / "r.zarr", mode="r+")
    identity = json.loads(str(group.attrs["sweep"]))
    assert identity["function"] == "gatefield.zero_fixed_point"
    group.attrs["sweep"] = json.dumps(identity | {"function": "gatefield.zero_state.zero_fixed_point"})
    assert run({"gain_candidate": [1.0, 2.0]}).equals(first)
