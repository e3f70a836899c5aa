"""Gaussian elimination that keeps the directions of a frame apart: F = U L, L unit triangular but for pivots.

LAPACK's own threads spin when they are done and take the cores from whatever comes next, and on one thread it leaves
the other cores idle. Large frames are therefore eliminated here panel by panel: LAPACK factors a panel on this thread
while others update the rows further down, each of them calling BLAS for rows of its own. Calls by way of SciPy's C
interface work in place, and release Python's lock.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cython_blas, cython_lapack  # pyright: ignore[reportAttributeAccessIssue]

from gatefield.running.background import available_cores

# Rows of a panel; and what factoring one takes, in rows of it that are updated.
_PANEL = 128
_FACTORING = 0.5
# Fewer directions than this are left to LAPACK: panels and threads take longer to set up than they save.
_MANY = 768
# Elements of L to which pivots from some columns alone may lead.
_WORST = 1e6


class Eliminated(NamedTuple):
    """What elimination leaves of a frame (P, n).

    Attributes:
        rows: that span what the frame's first rows span, (P, n).
        logs: log |U_ii|, (P,).
        quiet: how many of the last rows are zero in the columns from which pivots came first.
    """

    rows: jax.Array
    logs: jax.Array
    quiet: int


def eliminated(frame: jax.Array, first: tuple[int, int] | None = None) -> Eliminated:
    """Keep the rows of a frame apart. BLAS should be held to one thread (`threadpoolctl`) where it is large.

    Args:
        frame: (P, n).
        first: take pivots from these columns, from … to, as long as there are any, so that the rows after them are zero
            there. Not heeded where the frame is small or holds no more rows, or those columns hold no good pivots.
    """
    if frame.dtype == jnp.float64 and frame.shape[0] >= _MANY:
        if first is not None and frame.shape[0] > first[1] - first[0]:
            found = _on_all_cores(frame, *first)
            if found.quiet:
                return found
        return _on_all_cores(frame, 0, 0)
    rows, logs = _in_one_call(frame)
    return Eliminated(rows, logs, 0)


@jax.jit
def _in_one_call(frame: jax.Array) -> tuple[jax.Array, jax.Array]:
    factors, _, order = jax.lax.linalg.lu(frame.T)
    place, rank = jnp.argsort(order)[None, :], jnp.arange(frame.shape[0])[:, None]
    rows = jnp.where(place > rank, factors.T[:, place[0]], (place == rank).astype(frame.dtype))
    return rows, jnp.log(jnp.abs(jnp.diagonal(factors)))


# ---- panel by panel ----


def _on_all_cores(frame: jax.Array, begin: int, end: int) -> Eliminated:
    """With pivots from the columns `begin` to `end` first."""
    work, cores, lead = _Panels(np.asarray(frame), begin, end), available_cores(), end - begin
    with ThreadPoolExecutor(max(1, cores - 1)) as others:
        work.run(others, cores)
    quiet = len(frame) - lead if lead and work.worst < _WORST else 0
    # no copy, as the array is aligned
    return Eliminated(jax.device_put(work.rows), jnp.asarray(work.logs), quiet)


def _shares(begin: int, end: int, cores: int, taken: float = 0.0) -> list[tuple[int, int]]:
    """Rows for each core, where the first has work already that takes as long as that many rows."""
    first = max(0, int((end - begin + taken) / cores - taken))
    cuts = [begin, *np.linspace(begin + first, end, cores).astype(int).tolist()]
    return list(pairwise(cuts))


def _aligned(shape: tuple[int, int]) -> np.ndarray:
    """An array that begins where JAX wants its own to begin."""
    size = shape[0] * shape[1]
    space = np.empty(size + 7)
    skip = -(space.ctypes.data // 8) % 8
    return space[skip : skip + size].reshape(shape)


class _Panels:
    """Factors on their way: of `frame` (P, n) U up to the diagonal and L after it, with the columns swapped so far.

    Args:
        given: the frame (P, n).
        begin: first of the columns from which pivots come first.
        end: the one after the last of them.

    Attributes:
        rows: of L, columns in their places, (P, n).
        logs: log |U_ii|, (P,).
        worst: largest element of the rows for which not all columns were tried.
    """

    def __init__(self, given: np.ndarray, begin: int, end: int) -> None:
        self.given, self.lead, self.size = given, end - begin, int(given.shape[1])
        self.pieces = slice(begin, end), slice(0, begin), slice(end, None)
        columns = np.arange(self.size)
        self.order = np.concatenate([columns[piece] for piece in self.pieces]).astype(np.int64)
        self.frame, self.rows = np.empty(given.shape), _aligned(given.shape)
        self.logs, self.worst = np.empty(len(given)), 0.0
        self.swaps = np.zeros(len(given), np.int32)
        self.places: dict[int, np.ndarray] = {}

    def load(self, start: int, stop: int) -> None:
        """Copy some rows."""
        parts = [self.given[start:stop, piece] for piece in self.pieces]
        np.concatenate(parts, axis=1, out=self.frame[start:stop])

    def run(self, others: ThreadPoolExecutor, cores: int) -> None:
        """Eliminate."""
        count = len(self.frame)
        list(others.map(self.load, *zip(*_shares(0, count, 2 * cores), strict=True)))
        cuts = [*range(0, self.lead, _PANEL), *range(self.lead, count, _PANEL), count]
        self.factor(0, cuts[1])
        for begin, end, after in zip(cuts, cuts[1:], cuts[2:], strict=False):
            # this thread has the next panel to update and to factor, and in all as much work as the others
            mine, *theirs = _shares(after, count, cores, (1.0 + _FACTORING) * (after - end))
            jobs = [others.submit(self.update, begin, end, *rows) for rows in theirs]
            jobs.append(others.submit(self.finish, begin, end))
            self.update(begin, end, end, after)
            self.factor(end, after)
            self.update(begin, end, *mine)
            for job in jobs:
                job.result()
        self.finish(cuts[-2], count)

    def factor(self, begin: int, end: int) -> None:
        """Factors of a panel on its own, and where its columns come from."""
        size, order, panel = self.size, self.order, self.frame[begin:, begin:]
        limit, width = self.lead if end <= self.lead else size, end - begin
        info = np.zeros(1, np.int32)  # a pivot of zero is a growth of −∞, which is no error
        _call("dgetrf", limit - begin, width, panel, size, self.swaps[begin:], info)
        if limit < size:
            _call("dtrsm", "R", "U", "N", "N", size - limit, width, 1.0, panel, size, panel[:, limit - begin :], size)
        _call("dlaswp", 1, order[begin:], size, 1, width, self.swaps[begin:], 1)  # as long as a double each
        place = np.empty_like(order)
        place[order] = np.arange(size)
        self.places[begin] = place
        with np.errstate(divide="ignore"):
            self.logs[begin:end] = np.log(np.abs(np.diagonal(self.frame)[begin:end]))

    def update(self, begin: int, end: int, start: int, stop: int) -> None:
        """Take a panel out of the rows from `start` to `stop`."""
        count, width, size = stop - start, end - begin, self.size
        if count == 0:
            return
        panel, rows, rest = self.frame[begin:, begin:], self.frame[start:, begin:], self.frame[start:, end:]
        _call("dlaswp", count, rows, size, 1, width, self.swaps[begin:], 1)
        _call("dtrsm", "L", "L", "N", "U", width, count, 1.0, panel, size, rows, size)
        below = panel[:, width:]
        _call("dgemm", "N", "N", size - end, count, width, -1.0, below, size, rows, size, 1.0, rest, size)

    def finish(self, begin: int, end: int) -> None:
        """The panel's rows of L, their columns back in their places."""
        rows, corner = self.frame[begin:end], self.frame[begin:end, begin:end]
        rows[:, :begin] = 0.0
        corner[...] = np.triu(corner, 1)
        np.fill_diagonal(corner, 1.0)
        if end <= self.lead < self.size:
            beside = rows[:, self.lead :]
            self.worst = np.maximum(self.worst, max(beside.max(), -beside.min()))
        np.take(rows, self.places.pop(begin), axis=1, out=self.rows[begin:end], mode="clip")


# ---- BLAS and LAPACK ----


@lru_cache
def _routine(name: str) -> Any:
    """A routine of BLAS or LAPACK as SciPy exports it to compiled code; Python's lock is released while it runs."""
    known = {**cython_lapack.__pyx_capi__, **cython_blas.__pyx_capi__}
    get_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    signature = get_name(known[name])
    arguments = [ctypes.c_void_p] * signature.count(b"*")
    return ctypes.CFUNCTYPE(None, *arguments)(get_pointer(known[name], signature))


def _call(name: str, *arguments: Any) -> None:
    """Call a routine: all arguments by reference, arrays from where they begin."""
    _routine(name)(*map(_reference, arguments))


def _reference(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.ctypes.data
    if isinstance(value, str):
        return value.encode()
    return ctypes.byref(ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int(value))
