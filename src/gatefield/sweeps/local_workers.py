"""Worker processes on this machine: a Dask cluster that needs nothing started and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, Nanny, Scheduler
from distributed.deploy.spec import SpecCluster
from distributed.deploy.subprocess import SubprocessWorker

from gatefield.running.background import thread_limits
from gatefield.running.compile_cache import for_workers

# Dask's own program for a worker. Its standard input is a pipe from the sweep's program, which closes when that ends,
# however it ends; then the worker and what it started are killed, even in the middle of a point.
_PROGRAM = """
import os, signal, sys, threading
def end_with_the_sweep():
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=end_with_the_sweep, daemon=True).start()
from distributed.cli.dask_spec import main
main()
"""


class _Worker(SubprocessWorker):
    """A worker started as a program of its own, so that no user's script is imported again, and none is forked.

    Ctrl-C at the terminal goes to the sweep alone, which then closes its workers.
    """

    async def _start(self) -> None:
        spec = {"cls": self.worker_class, "opts": self.worker_kwargs}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, self.scheduler, "--spec", json.dumps(spec),
            start_new_session=True,
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip


@contextmanager
def local_client(workers: int) -> Iterator[Client]:
    """A client of as many fresh worker processes of one thread each; all of them are gone afterwards."""
    environment = thread_limits() | for_workers()
    environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    options: dict[str, Any] = {
        "nthreads": 1, "memory_limit": 0, "env": environment, "dashboard": False,
        "death_timeout": 60, "silence_logs": logging.CRITICAL,
    }  # fmt: skip
    worker = {"cls": _Worker, "options": {"worker_class": f"{Nanny.__module__}.Nanny", "worker_kwargs": options}}
    # Tasks whose worker died once come back at once: the sweep tries their points alone, at the end.
    local = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0", "allowed_failures": 0}
    scheduler = {"cls": Scheduler, "options": local}
    with (
        SpecCluster(
            workers=dict.fromkeys(range(workers), worker),
            scheduler=scheduler,
            worker=worker,
            silence_logs=logging.CRITICAL,  # pyright: ignore[reportArgumentType] - a level
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
