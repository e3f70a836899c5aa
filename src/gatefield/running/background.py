"""Threads: one call on a second one (compiled code and LAPACK release the interpreter), and how many there may be."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Starts `function(*args, **kwargs)` at once; `result()` waits for it and raises what it raised.

    The thread is a daemon: Ctrl-C ends the program without waiting for it.
    """

    def __init__(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> None:
        self._outcome: list[tuple[bool, Any]] = []
        self._thread = threading.Thread(target=self._run, args=(function, args, kwargs), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            self._outcome.append((True, function(*args, **kwargs)))
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._outcome.append((False, error))

    def result(self) -> T:
        """What the call returned."""
        self._thread.join()
        fine, value = self._outcome[0]
        if not fine:
            raise value
        return value


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def shared_cores(sides: int = 2) -> Iterator[None]:
    """Let BLAS in this process take a part of the cores, where so many threads work at once.

    Its own threads wait for each other by spinning: on cores that are in use they take longer than one thread does.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(max(1, available_cores() // sides), user_api="blas"):
        yield


def thread_limits(threads: int = 1) -> dict[str, str]:
    """Environment of a process that is to compute on so many threads: of BLAS, OpenMP and XLA."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen={str(threads > 1).lower()}".strip()
    return {name: str(threads) for name in names} | {"XLA_FLAGS": flags}
