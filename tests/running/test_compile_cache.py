"""Compiled code kept between runs: when, where, and what happens where that cannot be."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.commands import Command

from gatefield.running import compile_cache
from gatefield.running.compile_cache import Entries, cache_folder, clear, usage

COMMAND = ("mean-field", "vanilla", "--gain", "input=2", "--steps", "24", "--samples", "200", "--json")
# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
ours = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A cache folder of the test's own, and nothing turned on."""
    was_on = bool(compile_cache.for_workers())
    compile_cache.turn_off()
    with monkeypatch.context() as patch:
        patch.setenv("GATEFIELD_CACHE", str(tmp_path / "cache"))
        yield tmp_path / "cache"
        compile_cache.turn_off()
    if was_on:
        compile_cache.turn_on()


class Compiled:
    """What JAX did with its cache."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        jax.monitoring.register_event_listener(self._note)

    def _note(self, event: str, **_: Any) -> None:
        self.count[event.rpartition("/")[2]] += 1

    def fresh(self) -> tuple[float, int, int]:
        """A number by a function that no process has seen compiled; entries taken, and written."""
        self.count.clear()
        jax.clear_caches()
        value = float(jax.jit(lambda x: jnp.sum(jnp.sin(x) * 1.25))(np.arange(7.0)))
        return value, self.count["cache_hits"], self.count["cache_misses"]


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return Compiled()


def program(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gatefield", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip


def told(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    return out


# ---- where ----


def test_folder_of_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GATEFIELD_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "gatefield"
    for unset in ("", "caches"):  # relative paths do not count, by the XDG specification
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder() == tmp_path / ".cache" / "gatefield"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "gatefield"


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GATEFIELD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folder() is None
    assert not compile_cache.turn_on()


@pytest.mark.parametrize("value", ["", "off", "OFF"])
def test_kept_nowhere(folder: Path, monkeypatch: pytest.MonkeyPatch, compiled: Compiled, value: str) -> None:
    monkeypatch.setenv("GATEFIELD_CACHE", value)
    assert cache_folder() is None
    assert not compile_cache.turn_on()
    assert compiled.fresh()[1:] == (0, 0)
    assert not folder.exists()


# ---- when ----


def test_off_on_import(folder: Path) -> None:
    code = "import jax, numpy, gatefield as gf; gf.Ensemble(gf.GRU()).zero_is_fixed; gf.report; gf.sweep"
    code += "; print(jax.config.jax_compilation_cache_dir)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "None\n"
    assert not folder.exists()


@pytest.mark.slow
def test_on_in_the_command(folder: Path) -> None:
    """The second run takes all that the first has kept, and says the same."""
    first = told(program(*COMMAND))
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.xla")}
    assert kept
    assert told(program(*COMMAND)) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.xla")} == kept
    assert told(program(*COMMAND, GATEFIELD_CACHE="off")) == first


@pytest.mark.slow
def test_two_programs_at_once(folder: Path) -> None:
    both = [program(*COMMAND) for _ in range(2)]
    assert told(both[0]) == told(both[1])
    kept = sorted(folder.rglob("*.xla"))
    assert kept
    assert told(program(*COMMAND))
    assert sorted(folder.rglob("*.xla")) == kept
    assert not list(folder.rglob("*.part"))


def test_a_cache_that_the_user_gave_jax_stays(folder: Path, tmp_path: Path) -> None:
    told(program(*COMMAND, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "jax")))
    assert not list(folder.rglob("*.xla"))


def test_workers_follow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compile_cache.for_workers() == {}
    compile_cache.follow()
    assert compile_cache.for_workers() == {}
    compile_cache.turn_on()
    said = compile_cache.for_workers()
    compile_cache.turn_off()
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    compile_cache.follow()
    assert compile_cache.for_workers() == said


# ---- bytecode ----

LOADING = """
import sys
from gatefield.running.compile_cache import keep_bytecode
keep_bytecode()
import gatefield.cells.currents
print(sys.dont_write_bytecode, sys.pycache_prefix)
"""


def loaded(first: str = "", **environment: str) -> list[str]:
    """Whether Python then writes no bytecode, and where it writes it."""
    said = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")}
    done = subprocess.run(
        [sys.executable, "-c", first + LOADING],
        capture_output=True, text=True, check=False, timeout=120, env=said | environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bytecode_is_kept_where_python_does_not(folder: Path) -> None:
    if compile_cache._python_keeps_it():
        pytest.skip("JAX has been installed with its bytecode, or loaded by a Python that keeps it")
    assert loaded(PYTHONDONTWRITEBYTECODE="1") == ["False", str(folder / "bytecode")]
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pyc")}
    assert any("currents" in path.name for path in kept)
    loaded(PYTHONDONTWRITEBYTECODE="1")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.pyc")} == kept
    clear(folder)
    assert not folder.exists()


def test_bytecode_and_a_disk_that_fills(folder: Path) -> None:
    pytest.importorskip("resource")
    loaded("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))", PYTHONDONTWRITEBYTECODE="1")
    assert not [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size == 200]
    loaded(PYTHONDONTWRITEBYTECODE="1")


def test_bytecode_is_left_to_python(folder: Path, tmp_path: Path) -> None:
    """Where the user has said where it goes, or wants none of it."""
    elsewhere = str(tmp_path / "elsewhere")
    assert loaded(PYTHONPYCACHEPREFIX=elsewhere) == ["False", elsewhere]
    assert loaded(PYTHONDONTWRITEBYTECODE="1", GATEFIELD_CACHE="off") == ["True", "None"]
    assert not folder.exists()


# ---- what is kept ----


def test_taken_and_written(folder: Path, compiled: Compiled) -> None:
    expected, *_ = compiled.fresh()
    assert compile_cache.turn_on()
    assert compiled.fresh() == (expected, 0, 1)
    assert compiled.fresh() == (expected, 1, 0)
    assert usage(folder).entries == 1
    compile_cache.turn_off()
    assert compiled.fresh() == (expected, 0, 0)


@pytest.mark.parametrize("damage", ["truncated", "emptied", "changed", "foreign"])
def test_broken_entries_are_replaced(folder: Path, compiled: Compiled, damage: str) -> None:
    compile_cache.turn_on()
    expected, *_ = compiled.fresh()
    (path,) = folder.rglob("*.xla")
    whole = path.read_bytes()
    middle = len(whole) // 2
    changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"truncated": whole[:middle], "emptied": b"", "changed": changed, "foreign": b"x" * 99}[damage])
    assert compiled.fresh() == (expected, 0, 1)
    assert compiled.fresh() == (expected, 1, 0)


def refusing(code: int) -> Any:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES], ids=os.strerror)
def test_no_folder_can_be_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, compiled: Compiled, capfd: Any, code: int
) -> None:
    """Who runs as root may write anywhere, so that the system's answer is put on."""
    expected, *_ = compiled.fresh()
    monkeypatch.setattr(Path, "mkdir", refusing(code))
    assert not compile_cache.turn_on()
    assert compiled.fresh() == (expected, 0, 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC], ids=os.strerror)
def test_a_folder_that_can_be_read_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, compiled: Compiled, capfd: Any, code: int
) -> None:
    compile_cache.turn_on()
    expected, *_ = compiled.fresh()
    monkeypatch.setattr(tempfile, "mkstemp", refusing(code))
    monkeypatch.setattr(os, "utime", refusing(code))
    assert compiled.fresh() == (expected, 1, 0)
    (path,) = folder.rglob("*.xla")
    path.write_bytes(b"")
    assert compiled.fresh()[0] == expected
    assert not path.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_disk_that_fills(folder: Path) -> None:
    """The system ends every write at 200 bytes: no half of an entry stays."""
    pytest.importorskip("resource")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))"
    code = f"{limited}; import sys; sys.argv[1:] = {COMMAND}; from gatefield.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(told(program(*COMMAND, GATEFIELD_CACHE="off")))
    assert not [path for path in folder.rglob("*") if path.suffix in (".xla", ".part")]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no such modes")
def test_a_folder_that_others_may_write_is_not_used(folder: Path, compiled: Compiled) -> None:
    compile_cache.turn_on()
    (place,) = (folder / "compiled").iterdir()
    compile_cache.turn_off()
    place.chmod(0o777)
    assert not compile_cache.turn_on()


# ---- how much ----


def test_what_is_used_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the entries go that were not used for longest; and what killed writers left."""
    monkeypatch.setattr(compile_cache, "LIMIT", 10_000)
    entries = Entries(tmp_path / "compiled" / "machine")
    for key in "abcdefgh":
        entries.put(key, bytes(1_500))
    for age, path in enumerate(sorted(tmp_path.rglob("*.xla"))):
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "compiled" / "machine" / "left.part").touch()
    os.utime(tmp_path / "compiled" / "machine" / "left.part", (1e9, 1e9))
    assert entries.get("a") == bytes(1_500)
    Entries(tmp_path / "compiled" / "machine").put("i", bytes(1_500))
    assert entries.get("a") == bytes(1_500)
    assert sum(entries.get(key) is not None for key in "abcdefghi") == 6
    assert not list(tmp_path.rglob("*.part"))


@ours
def test_cache_command(folder: Path, gatefield: Command, compiled: Compiled) -> None:
    assert gatefield("cache", "--json").json == {"folder": str(folder), "entries": 0, "bytes": 0}
    compile_cache.turn_on()
    compiled.fresh()
    shown = gatefield("cache").out
    assert shown.startswith(f"{folder}: 1 compiled functions, 0.0 MB")
    (folder / "mine.txt").touch()
    (folder / "compiled" / "notes.xla").touch()
    assert gatefield("cache", "--clear").out == shown.replace("\n", " removed\n")
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"mine.txt", "notes.xla"}
    assert compiled.fresh()[1:] == (0, 1)  # a program that goes on meanwhile makes its place again
    assert usage(folder).entries == 1


@ours
def test_cleared_folders_go(folder: Path, gatefield: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Entries(folder / "compiled" / "machine").put("key", b"value")
    assert clear(folder).entries == 1
    assert not folder.exists()
    assert gatefield("cache", "--clear").out == f"{folder}: 0 compiled functions, 0.0 MB removed\n"
    monkeypatch.setenv("GATEFIELD_CACHE", "off")
    assert gatefield("cache").out == "Nothing is kept: GATEFIELD_CACHE says so.\n"
