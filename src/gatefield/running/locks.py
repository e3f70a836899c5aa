"""A lock that one program at a time holds on a path, by a file beside it that says who."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class PathInUseError(ValueError):
    """Another program holds the path."""


class PathLock:
    """Held from `acquire()` to `release()`, or until the program ends, however it ends.

    The file `<path>.lock` names process and host. On one host the system's own lock on that file decides, so that a
    file left by a program that was killed stops nobody. Between hosts that share the path the file alone decides:
    what was left by a program on another host must be removed by hand, and the message says so.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.with_name(path.name + ".lock")
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            PathInUseError: another program has it.
        """
        while True:
            handle = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._take(handle)
            except BaseException:
                os.close(handle)
                raise
            if self._is_the_file(handle):
                break
            os.close(handle)  # its holder removed it between the two calls; there is a new one, or none
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(me).encode(), 0)
        self._handle = handle

    def _take(self, handle: int) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PathInUseError(self._said(_read(handle))) from None
        holder = _read(handle)
        here = holder.get("host") == socket.gethostname()
        if holder and (not here or (fcntl is None and psutil.pid_exists(int(holder.get("pid", -1))))):
            raise PathInUseError(
                f"{self._said(holder)}; if that program is gone, remove {str(self.file)!r} and start again"
            )

    def _is_the_file(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self.file.stat())
        except FileNotFoundError:
            return False

    def _said(self, holder: dict[str, Any]) -> str:
        who = f"process {holder['pid']} on {holder['host']}" if {"pid", "host"} <= set(holder) else "another program"
        return f"{str(self.file.with_suffix(''))!r} is in use by {who}"

    def release(self) -> None:
        """Give the lock up and remove its file."""
        if self._handle is not None:
            self.file.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> PathLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder_of(path: Path) -> dict[str, Any] | None:
    """Process, host and start of the program that holds a path; None where there is none (a file left behind)."""
    lock = PathLock(path)
    if not lock.file.exists():
        return None
    handle = os.open(lock.file, os.O_RDONLY)
    try:
        found = _read(handle)
        if fcntl is None or found.get("host") != socket.gethostname():
            return found or None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return found or {"pid": -1, "host": socket.gethostname()}
        return None
    finally:
        os.close(handle)


def _read(handle: int) -> dict[str, Any]:
    try:
        return json.loads(os.pread(handle, 4096, 0) or b"{}")
    except ValueError:  # left half-written
        return {}
