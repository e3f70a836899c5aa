"""Compiled code kept between runs, in the user's cache folder: off until it is turned on, as the command does.

JAX's own file cache writes in place, keeps what is broken and warns of what it cannot read. This one takes its place:
entries appear whole and carry a checksum, what does not match is compiled anew and replaced, and a folder that cannot
be read or written, or a full disk, only costs the time of compiling.

Where Python itself keeps no bytecode beside the modules that it loads (told not to by PYTHONDONTWRITEBYTECODE, as in
many containers, or not allowed to), compiling these takes longer than all else at a start; then it is kept here, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

VARIABLE = "GATEFIELD_CACHE"
LIMIT = 2**30  # bytes; beyond them entries go, first those that were not used for longest
_KEPT = 0.8  # share of the limit down to which they go
_OURS, _BYTECODE = "compiled", "bytecode"  # folders within the cache folder
_SUFFIX, _UNFINISHED = ".xla", ".part"
_KEPT_SUFFIXES = (_SUFFIX, ".pyc", _UNFINISHED)
_MAGIC = b"gatefield 1\n"
_SWEEP_EVERY = 200  # entries written
_HOUR = 3600.0
_FOLLOW = "GATEFIELD_CACHE_FOLLOW"  # set for worker processes whose parent keeps what it compiles
_in_use: Path | None = None


def cache_folder() -> Path | None:
    """Where compiled code is kept: GATEFIELD_CACHE, or the platform's place; None where that is empty or "off"."""
    asked = os.environ.get(VARIABLE)
    if asked is not None:
        return None if asked.strip().lower() in ("", "off") else Path(asked).expanduser().absolute()
    try:
        return _platform_folder() / "gatefield"
    except RuntimeError:  # nobody's home
        return None


def _platform_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    name, default = ("LOCALAPPDATA", "AppData/Local") if os.name == "nt" else ("XDG_CACHE_HOME", ".cache")
    given = Path(os.environ.get(name, ""))
    return given if given.is_absolute() else Path.home() / default


def turn_on() -> bool:
    """Keep what this process compiles from now on, and take what others have compiled; whether that can be done.

    A cache that the user has given JAX itself stays as it is.
    """
    global _in_use  # noqa: PLW0603 - what JAX has been told is one setting for the whole process
    folder = cache_folder()
    place = None if folder is None else folder / _OURS / _machine()
    if place is None or (place != _in_use and not _usable(place)):
        return False
    if place == _in_use:
        return True
    import jax

    try:
        from jax._src import compilation_cache
    except ImportError:  # a later JAX: without, then
        return False
    if jax.config.values["jax_compilation_cache_dir"] not in (None, str(_in_use)):
        return False
    if not hasattr(compilation_cache, "get_file_cache"):
        return False
    entries = Entries(place)
    compilation_cache.get_file_cache = lambda path: (entries, path)
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    compilation_cache.reset_cache()  # JAX looks for a cache once, perhaps long ago
    _in_use = place
    return True


def turn_off() -> None:
    """Compile everything anew from now on, and keep nothing."""
    global _in_use  # noqa: PLW0603
    if _in_use is not None:
        import jax
        from jax._src import compilation_cache

        jax.config.update("jax_compilation_cache_dir", None)
        compilation_cache.reset_cache()
        _in_use = None


def keep_bytecode() -> None:
    """Keep the bytecode of the modules that this process loads from now on, where Python does not keep it itself."""
    folder = cache_folder()
    if folder is None or sys.pycache_prefix is not None or _python_keeps_it() or not _usable(folder / _BYTECODE):
        return
    SourceFileLoader.set_data = _set_data
    sys.pycache_prefix, sys.dont_write_bytecode = str(folder / _BYTECODE), False


def _set_data(self: SourceFileLoader, path: str, data: Any, *, _mode: int = 0o666) -> None:  # noqa: ARG001
    """Write bytecode; Python's own way does not notice when a disk fills in the middle."""
    _write_whole(Path(path), bytes(data))


def _python_keeps_it() -> bool:
    """Whether there is bytecode of what takes longest to load, or will be once it is loaded."""
    found = importlib.util.find_spec("jax")
    if found is None or found.cached is None or Path(found.cached).exists():
        return True
    return not sys.dont_write_bytecode and os.access(Path(found.cached).parents[1], os.W_OK)


def for_workers() -> dict[str, str]:
    """What the environment of a worker process must say for `follow` to do there what was done here."""
    return {} if _in_use is None else {_FOLLOW: "1"}


def follow() -> None:
    """In a worker process: keep compiled code if the process that started it does."""
    if _FOLLOW in os.environ and _in_use is None:
        turn_on()


def _machine() -> str:
    """Compiled code is for one kind of processor, and divided for so many threads: what tells them apart."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    told = [platform.system(), platform.machine(), platform.processor(), str(threads), os.environ.get("NPROC", "")]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
        told += [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _usable(place: Path) -> bool:
    """Whether a folder is there, made where missing, and nobody else can have put code into it."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        told = place.stat()
    except OSError:
        return False
    return not hasattr(os, "getuid") or (told.st_uid == os.getuid() and not told.st_mode & 0o022)


class Entries:
    """The entries of one kind of machine, in the place of JAX's file cache.

    Any number of programs may share them: an entry is renamed into its place once it is whole.
    """

    def __init__(self, place: Path) -> None:
        self._path = place
        self._written = 0
        self._writable = True

    def get(self, key: str) -> bytes | None:
        """What was kept under a key; None where there is nothing, or nothing whole."""
        path = self._at(key)
        try:
            content = path.read_bytes()
            value = content[len(_MAGIC) + hashlib.sha256().digest_size :]
            if content[: -len(value) or None] != _header(value):
                path.unlink()
                return None
            if path.stat().st_mtime < time.time() - _HOUR:
                os.utime(path)  # used, so that others go first
        except OSError:
            return None
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keep a value, unless the folder takes nothing more."""
        if self._writable:
            if self._written % _SWEEP_EVERY == 0:
                _sweep(self._path.parents[1])
            self._written += 1
            self._writable = _write_whole(self._at(key), _header(value) + value)

    def _at(self, key: str) -> Path:
        return self._path / (hashlib.sha256(key.encode()).hexdigest() + _SUFFIX)


def _header(value: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(value).digest()


def _write_whole(path: Path, content: bytes) -> bool:
    temporary: Path | None = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # another program may have emptied the cache
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=_UNFINISHED)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        return False
    return True


# ---- its size ----


@dataclass(frozen=True)
class Usage:
    """How many functions of JAX there are, and the bytes of all."""

    entries: int
    size: int


def usage(folder: Path) -> Usage:
    """What a cache folder holds, for whatever machines."""
    files = list(_files(folder))
    return Usage(sum(path.suffix == _SUFFIX for path, _ in files), sum(told.st_size for _, told in files))


def clear(folder: Path) -> Usage:
    """Remove what is ours from a cache folder, and the folders that are empty then; what was removed."""
    count = size = 0
    for path, told in _files(folder):
        path.unlink(missing_ok=True)
        count, size = count + (path.suffix == _SUFFIX), size + told.st_size
    folders = [path for name in (_OURS, _BYTECODE) for path in (folder / name, *(folder / name).rglob("*/"))]
    for place in (*sorted(folders, reverse=True), folder):
        with contextlib.suppress(OSError):  # not empty, or not there
            place.rmdir()
    return Usage(count, size)


def _sweep(folder: Path) -> None:
    """Bring the cache below its limit, and remove what writers that were killed have left."""
    files, now = list(_files(folder)), time.time()
    total, kept = sum(told.st_size for _, told in files), LIMIT
    for path, told in sorted(files, key=lambda file: file[1].st_mtime):
        left = path.suffix == _UNFINISHED and told.st_mtime < now - _HOUR
        if total > kept or left:
            kept = _KEPT * LIMIT
            with contextlib.suppress(OSError):
                path.unlink()
                total -= told.st_size


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in (*(folder / _OURS).glob("*/*"), *(folder / _BYTECODE).rglob("*")):
        if path.suffix in _KEPT_SUFFIXES:
            with contextlib.suppress(OSError):  # gone in the meantime
                yield path, path.stat()
