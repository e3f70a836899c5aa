"""Stores that were damaged, or left in the middle of a change: a line says it, only what is lost is done again."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from tests.commands import Command

import gatefield as gf
from gatefield.sweeps import store as stores
from gatefield.sweeps.run import DamagedStoreWarning

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

GRID = {"a": [1.0, 2.0, 3.0, 4.0], "b": [5, 6]}
CALLS: list[float] = []


def mixed(a: float, b: int) -> xr.Dataset:
    """All kinds of quantities, one of them with a coordinate, as long as b says."""
    CALLS.append(a)
    lags = np.arange(b)
    wide = np.full((2, 12_000), a)  # one point fills a chunk
    return xr.Dataset(
        {"value": a * b, "v": ("lag", a + lags), "wide": (("x", "y"), wide), "t": "é", "z": complex(a, b)},
        coords={"lag": lags * 0.5},
    )


def run(**more: Any) -> xr.Dataset:
    return gf.sweep(mixed, GRID, store="s.zarr", workers=0, **more).load()


def plain(found: xr.Dataset) -> xr.Dataset:
    return found.drop_vars(["seconds", "finished"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xr.Dataset]:
    """A store that is done and whole, and what is in it."""
    path = tmp_path_factory.mktemp("made") / "s.zarr"
    return path, gf.sweep(mixed, GRID, store=path, workers=0).load()


@pytest.fixture
def whole(made: tuple[Path, xr.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """The results of a store that is done and whole, which is here."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made[0], tmp_path / "s.zarr")
    CALLS.clear()
    return made[1]


def told(path: Path) -> bool:
    """Whether the store's gathered metadata is what its arrays have."""
    gathered = json.loads((path / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    own = {file.parent.name: json.loads(file.read_text()) for file in path.glob("*/zarr.json")}
    return gathered == own


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x13garbage" * 9)


def a_list(path: Path) -> None:
    path.write_text("[]")


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def into_a_file(path: Path) -> None:
    remove(path)
    path.write_text("not a folder")


def into_a_folder(path: Path) -> None:
    remove(path)
    path.mkdir()
    (path / "x").touch()


def shape(*given: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"shape": given}))

    change.__name__ = f"shape{given}"
    return change


def other_values(path: Path) -> None:
    array = zarr.open_array(path, mode="r+")
    array[1, 0] = 7.0


CHUNKS = [truncate, empty, garbage, remove, into_a_folder]
METADATA = [truncate, empty, garbage, remove, into_a_folder, a_list]
DAMAGE = [
    *(("v/c/0/0/0", d, 8) for d in CHUNKS),
    *(("wide/c/2/1/0/0", d, 1) for d in CHUNKS),
    *(("t/c/0/0", d, 8) for d in (truncate, empty, garbage, remove)),
    *(("status/c/0/0", d, 0) for d in CHUNKS),
    *(("checksum/c/0/0", d, 0) for d in CHUNKS),
    *(("seconds/c/0/0", d, 0) for d in CHUNKS),
    *(("point_seed/c/0/0", d, 0) for d in CHUNKS),
    *(("lag/c/0", d, 1) for d in CHUNKS),
    *(("a/c/0", d, 0) for d in CHUNKS),
    *((f"{name}/zarr.json", d, 0) for d in METADATA for name in ("value", "v", "status", "message", "a")),
    *(("zarr.json", d, 0) for d in METADATA),
    *((name, d, n) for d in (remove, into_a_file) for name, n in (("value", 8), ("v", 8), ("wide", 8), ("lag", 1))),
    *((name, d, 0) for d in (remove, into_a_file) for name in ("status", "message", "seconds", "checksum", "b")),
    ("wide/c", into_a_file, 8),
    ("wide/c/3", into_a_file, 2),
    ("v/zarr.json", shape(4, 2, 5), 0),
    ("v/zarr.json", shape(4, 3, 6), 0),
    ("v/zarr.json", shape(8, 6), 0),
    ("value", other_values, 1),
]


@pytest.mark.parametrize(("file", "damage", "again"), DAMAGE)
def test_what_is_lost_is_computed_again(
    whole: xr.Dataset, tmp_path: Path, file: str, damage: Callable[[Path], None], again: int
) -> None:
    damage(tmp_path / "s.zarr" / file)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = run()
    assert len(CALLS) == again
    assert plain(found).identical(plain(whole))
    assert [w.category for w in said] in ([], [DamagedStoreWarning])
    lines = [str(w.message) for w in said]
    assert all("\n" not in line for line in lines)
    if again:
        assert f"{again} of 8 points are computed again" in lines[0]
        assert file in lines[0] or damage is other_values
    assert told(tmp_path / "s.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plain(run()).identical(plain(whole))
        xr.open_zarr(tmp_path / "s.zarr").load()
    assert len(CALLS) == again


def test_a_store_without_checksums_goes_on(whole: xr.Dataset, tmp_path: Path) -> None:
    """One made before there were any: what reads is taken as it is, what does not is computed again."""
    shutil.rmtree(tmp_path / "s.zarr" / "checksum")
    group = zarr.open_group(tmp_path / "s.zarr", mode="r+", use_consolidated=False)
    del group["status"].attrs["store"]
    stores.consolidate(tmp_path / "s.zarr")
    assert plain(run()).identical(plain(whole))
    shutil.rmtree(tmp_path / "s.zarr" / "checksum")
    stores.consolidate(tmp_path / "s.zarr")
    garbage(tmp_path / "s.zarr" / "wide/c/2/1/0/0")
    with pytest.warns(DamagedStoreWarning, match=r"wide/c/2/1/0/0' was damaged; 1 of 8 points"):
        assert plain(run()).identical(plain(whole))
    assert len(CALLS) == 1


@pytest.mark.parametrize("count", range(1, 12))
def test_killed_while_an_array_is_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: xr.Dataset, count: int
) -> None:
    """Between a change of what arrays there are and the record of it that xarray reads."""
    shutil.rmtree(tmp_path / "s.zarr")
    consolidate, calls = stores.consolidate, 0

    def killed(path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == count:
            raise KeyboardInterrupt
        consolidate(path)

    monkeypatch.setattr(stores, "consolidate", killed)
    monkeypatch.setattr("gatefield.sweeps.run._TASK_UNITS", 1)
    try:
        run()
    except KeyboardInterrupt:
        assert calls == count
    else:  # how often an array changes depends on which points arrive together
        assert 4 < calls < count
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plain(run()).identical(plain(whole))
    assert told(tmp_path / "s.zarr")
    assert plain(xr.open_zarr(tmp_path / "s.zarr").load())["v"].shape == (4, 2, 6)


def test_what_a_killed_program_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".s.zarr.unfinished" / "status").mkdir(parents=True)
    run()
    (tmp_path / "s.zarr" / "v" / "c" / "0.0123.partial").touch()
    run()
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]
    assert not list(tmp_path.rglob("*.partial"))


def test_nothing_tells_what_the_store_is_of(whole: xr.Dataset, tmp_path: Path) -> None:
    garbage(tmp_path / "s.zarr" / "zarr.json")
    garbage(tmp_path / "s.zarr" / "status" / "zarr.json")
    with pytest.raises(ValueError, match=r"s.zarr/zarr.json' is damaged, .* put it back from a copy"):
        run()


PLAN = 'quantity = "zero_fixed_point"\ncell = "gru"\ngrid.gain_candidate = [0.5, 1.5]\n'


@pytest.mark.parametrize("file", ["zarr.json", "stable/zarr.json", "stable/c/0", "stable", "status/c/0", "status"])
@pytest.mark.parametrize("damage", [truncate, empty, garbage, remove])
def test_the_program_says_it_in_a_line(
    gatefield: Command, tmp_path: Path, file: str, damage: Callable[[Path], None]
) -> None:
    (tmp_path / "p.toml").write_text(PLAN)
    before = gatefield("sweep", "p.toml", "--store", "s.zarr", "--workers", "0")
    assert before.code == 0, before.err
    place = tmp_path / "s.zarr" / file
    if place.is_dir() and damage is not remove:
        pytest.skip("a folder is removed or it is not")
    damage(place)
    looked = gatefield("status", "s.zarr", "--json")
    assert looked.err.count("\n") == (looked.code != 0), looked.err
    assert looked.code == 0 or "gatefield sweep --resume s.zarr mends it" in looked.err
    resumed = gatefield("sweep", "--resume", "s.zarr", "--workers", "0", "--json")
    assert resumed.json["done"] == 2
    assert resumed.err.count("\n") <= 1
    assert gatefield("status", "s.zarr", "--json").json["done"] == 2
