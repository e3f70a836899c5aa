"""The lock on a store: one program at a time, and none kept out by what a dead one left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatefield.running import locks
from gatefield.running.locks import PathInUseError, PathLock, holder_of

HOLD = """
import sys
from pathlib import Path
from gatefield.running.locks import PathLock
PathLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_acquire_and_release(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    assert holder_of(path) is None
    with PathLock(path):
        held = json.loads((tmp_path / "s.zarr.lock").read_text())
        assert held["pid"] == os.getpid()
        with pytest.raises(PathInUseError, match=f"s.zarr' is in use by process {os.getpid()} on {held['host']}"):
            PathLock(path).acquire()
        assert holder_of(path) == held
    assert not (tmp_path / "s.zarr.lock").exists()
    with PathLock(path):
        pass


def test_a_killed_program_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(PathInUseError, match=f"in use by process {other.pid} on "):
            PathLock(path).acquire()
        other.kill()
        other.wait()
    assert (tmp_path / "s.zarr.lock").exists()
    assert holder_of(path) is None
    with PathLock(path):
        assert holder_of(path)["pid"] == os.getpid()  # pyright: ignore[reportOptionalSubscript]


@pytest.mark.parametrize("left", ["", '{"pid": 1, "ho'])
def test_a_file_left_half_written(tmp_path: Path, left: str) -> None:
    (tmp_path / "s.zarr.lock").write_text(left)
    with PathLock(tmp_path / "s.zarr"):
        pass


def test_a_program_on_another_host(tmp_path: Path) -> None:
    file = tmp_path / "s.zarr.lock"
    file.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(PathInUseError, match=r"process 1 on elsewhere; if that program is gone, remove .*s.zarr.lock"):
        PathLock(tmp_path / "s.zarr").acquire()
    assert holder_of(tmp_path / "s.zarr") == {"pid": 1, "host": "elsewhere"}
    assert file.exists()
    file.unlink()
    with PathLock(tmp_path / "s.zarr"):
        pass


def test_without_the_system_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: the process named in the file decides."""
    monkeypatch.setattr(locks, "fcntl", None)
    path = tmp_path / "s.zarr"
    with PathLock(path), pytest.raises(PathInUseError):
        PathLock(path).acquire()
    held = {"pid": 2**22 + 1, "host": locks.socket.gethostname()}  # beyond Linux' largest process number
    (tmp_path / "s.zarr.lock").write_text(json.dumps(held))
    with PathLock(path):
        pass
