"""Sweeps over real processes, and what happens when these are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr
from distributed import Client
from tests.commands import Command

import gatefield as gf
from gatefield.sweeps.grids import point_seed
from gatefield.sweeps.local_workers import local_client
from gatefield.sweeps.run import FailedPointsWarning

pytestmark = pytest.mark.slow
PROGRAM = Path(sys.executable).with_name("gatefield")
DEADLINE = 120.0
# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
ours = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


def drawn(x: int, seed: int) -> dict[str, Any]:
    return {"normal": np.random.default_rng(seed).standard_normal(3), "pid": os.getpid(), "x2": x * x}


def chaotic(gain: float, size: int, seed: int) -> dict[str, Any]:
    """A network's run and eigenvalues: JAX and LAPACK on a worker."""
    network = gf.Network(gf.Ensemble(gf.GRU(), {"update": 2.0, "candidate": gain}), size=size, seed=seed)
    snapshot = network.run(30, seed=seed).snapshot()
    return {"state": snapshot.state[:, 0], "radius": np.abs(network.eigenvalues(snapshot)).max()}


def deadly(x: int, folder: str) -> int:
    """Kills its worker once at 3, always at 5."""
    mark = Path(folder) / "killed"
    time.sleep(0.02)
    if x == 5 or (x == 3 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_client(2) as made:
        made.wait_for_workers(2, timeout=60)
        yield made


def numbers(found: xr.Dataset) -> xr.Dataset:
    return found.drop_vars(["seconds", "finished", "pid"], errors="ignore")


def test_same_numbers_whatever_the_workers(client: Client) -> None:
    grid = {"gain": [2.0, 3.0], "size": [60, 80], "replicate": range(2)}
    here = gf.sweep(chaotic, grid, workers=0)
    there = gf.sweep(chaotic, grid, client=client)
    assert (there.status == 1).all()
    assert numbers(here).identical(numbers(there))


def test_several_workers_share_the_points(client: Client) -> None:
    found = gf.sweep(drawn, {"x": range(3000)}, client=client)
    assert (found.x2 == found.x**2).all()
    assert len(np.unique(found.pid)) == 2
    seeds = [point_seed(0, {"x": x}) for x in range(3000)]
    assert found.point_seed.values.tolist() == seeds
    expected = np.array([np.random.default_rng(s).standard_normal(3) for s in seeds])
    np.testing.assert_array_equal(found.normal, expected)


def test_a_worker_is_killed_in_the_middle(client: Client, tmp_path: Path) -> None:
    """By the function itself: once at one point, and whenever it comes to another, which is found out and recorded."""
    with pytest.warns(FailedPointsWarning, match="1 of 12"):
        found = gf.sweep(deadly, {"x": range(12)}, options={"folder": str(tmp_path)}, client=client)
    assert (tmp_path / "killed").exists()
    assert found.status.values.tolist() == [2 if x == 5 else 1 for x in range(12)]
    assert "worker process died" in str(found.message[5].item())
    assert found.value.values[[x for x in range(12) if x != 5]].tolist() == [x for x in range(12) if x != 5]


def test_a_fresh_cluster_leaves_nothing_behind() -> None:
    before = set(psutil.Process().children(recursive=True))
    found = gf.sweep(drawn, {"x": range(4)}, workers=1)
    assert (found.status == 1).all()
    assert os.getpid() not in found.pid.values
    wait_until(lambda: all(not p.is_running() for p in set(psutil.Process().children(recursive=True)) - before))


# ---- the program ----

HELD = """
import os, time
from pathlib import Path

def held(x, folder, seed):
    (Path(folder) / "began" / f"{x}-{os.getpid()}").touch()
    while x >= int((Path(folder) / "limit").read_text()):
        time.sleep(0.05)
    time.sleep(0.02)
    return {"x2": x * x, "seed": seed}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a sweep of 40 points, each of which leaves a mark when it begins, and does not end before "limit" allows."""
    (tmp_path / "began").mkdir()
    (tmp_path / "held.py").write_text(HELD)
    allow(tmp_path, 10)
    (tmp_path / "sweep.toml").write_text(
        f'function = "held.py:held"\nseed = 3\ngrid.x = {list(range(40))}\noptions.folder = {str(tmp_path)!r}\n'
    )
    return tmp_path


def allow(folder: Path, limit: int) -> None:
    """Let the points below a limit end."""
    (folder / "new").write_text(str(limit))
    (folder / "new").replace(folder / "limit")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; programs inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [PROGRAM, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def status(folder: Path) -> np.ndarray:
    try:
        return np.asarray(xr.open_zarr(folder / "r.zarr").status)
    except FileNotFoundError:
        return np.zeros(40)


def under_way(folder: Path, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, end(process)
    return 4 <= np.count_nonzero(status(folder)) < 30


def assert_whole(folder: Path) -> None:
    found = xr.open_zarr(folder / "r.zarr").load()
    assert (found.status == 1).all()
    assert (found.x2 == found.x**2).all()
    assert found.seed.values.tolist() == [point_seed(3, {"x": x}) for x in range(40)]
    assert not list(folder.glob("*.lock"))


def workers_of(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[2]) for path in (folder / "began").iterdir()}


@ours
def test_kill_the_program_and_go_on(folder: Path, gatefield: Command) -> None:
    process = start(folder, "sweep", "sweep.toml", "--store", "r.zarr", "--workers", "1")
    wait_until(lambda: under_way(folder, process))

    second = gatefield("sweep", "sweep.toml", "--store", "r.zarr", "--workers", "0")
    assert second.code == 2
    assert f"in use by process {process.pid} on " in second.err
    assert f"in use by process {process.pid} on " in gatefield("status", "r.zarr").out

    process.kill()
    end(process)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in workers_of(folder)))
    before = xr.open_zarr(folder / "r.zarr").load()
    done = before.status.values == 1
    assert 4 <= done.sum() < 40
    assert (before.x2 == before.x**2).values[done].all()
    began = {path.name for path in (folder / "began").iterdir()}
    allow(folder, 40)

    now = gatefield("status", "r.zarr")
    assert f"40 points: {done.sum()} done, {40 - done.sum()} pending" in now.out
    assert "gatefield sweep --resume r.zarr" in now.out
    assert "in use" not in now.out  # the lock that the killed program left stops nobody

    resumed = gatefield("sweep", "--resume", "r.zarr", "--workers", "0")
    assert resumed.code == 0, resumed.err
    assert "40 points: 40 done" in resumed.out
    assert_whole(folder)
    again = {path.name.partition("-")[0] for path in (folder / "began").iterdir() if path.name not in began}
    assert again == {str(x) for x in np.nonzero(~done)[0]}  # what was done was not done again
    kept = xr.open_zarr(folder / "r.zarr").finished.values[done]
    np.testing.assert_array_equal(kept, before.finished.values[done])


@ours
def test_interrupt(folder: Path, gatefield: Command) -> None:
    process = start(folder, "sweep", "sweep.toml", "--store", "r.zarr", "--workers", "1")
    wait_until(lambda: under_way(folder, process))
    process.send_signal(signal.SIGINT)
    code, _, err = end(process)
    assert code == 130
    assert err.count("\n") == 1, err
    done = np.count_nonzero(status(folder))
    assert f"interrupted; {done} of 40 points are in r.zarr; go on with gatefield sweep --resume r.zarr" in err
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in workers_of(folder)))
    allow(folder, 40)
    assert gatefield("sweep", "sweep.toml", "--store", "r.zarr", "--workers", "0").code == 0
    assert_whole(folder)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, dict[str, subprocess.Popen[bytes]]]]:
    """A scheduler and two workers started by hand, as somebody else's cluster would be."""
    file = tmp_path / "scheduler.json"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    program = [sys.executable, "-m", "dask"]
    scheduler = [*program, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    running = {"scheduler": subprocess.Popen([*scheduler, "--scheduler-file", str(file)], **quiet)}
    try:
        wait_until(lambda: file.exists() and file.stat().st_size > 0)
        address = json.loads(file.read_text())["address"]
        for name in ("first", "second"):
            worker = [*program, "worker", address, "--no-dashboard", "--nthreads", "1", "--no-nanny"]
            running[name] = subprocess.Popen(worker, **quiet)
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, running
    finally:
        for process in running.values():
            process.kill()
            process.wait()


@ours
def test_kill_worker_and_scheduler_of_a_cluster(
    folder: Path, cluster: tuple[str, dict[str, subprocess.Popen[bytes]]], gatefield: Command
) -> None:
    address, running = cluster
    process = start(folder, "sweep", "sweep.toml", "--store", "r.zarr", "--scheduler", address)
    wait_until(lambda: under_way(folder, process))
    running["first"].kill()
    before = np.count_nonzero(status(folder))
    allow(folder, 25)
    wait_until(lambda: np.count_nonzero(status(folder)) >= before + 3)  # the other one carries on
    running["scheduler"].kill()
    code, _, err = end(process)
    assert code == 1
    done = np.count_nonzero(status(folder) == 1)
    assert f"{done} of 40 points are in r.zarr; go on with gatefield sweep --resume r.zarr" in err
    assert err.count("\n") == 1, err
    assert before + 3 <= done < 40
    allow(folder, 40)
    assert gatefield("sweep", "--resume", "r.zarr", "--workers", "0").code == 0
    assert_whole(folder)
