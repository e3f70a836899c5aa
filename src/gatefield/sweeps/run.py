"""A function at every point of a grid: over worker processes, into a store that survives whatever happens to them."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import math
import os
import queue
import tempfile
import textwrap
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gatefield.cells.ensemble import Ensemble
from gatefield.running.arguments import mapping, whole
from gatefield.running.background import Background, available_cores
from gatefield.running.progress import progress
from gatefield.sweeps.arrays import COPY, DONE, FAILED, PENDING
from gatefield.sweeps.grids import Grid, as_grid, point_seed
from gatefield.sweeps.points import Job, Numbered, bare, evaluate, evaluate_packed, pack, takes_seed
from gatefield.sweeps.store import Outcome, SweepStore, opened, without_folders

Unit = tuple[int, ...]  # numbers of points that are computed by one call

_TASK_SECONDS = 0.5  # short points go to workers so many at a time that they take about this long
_TASK_UNITS = 512
_AHEAD = 2  # tasks per worker thread that are under way
_FETCH = 60.0  # seconds to wait for a result that a worker has announced
_LOOK = 1.0  # seconds between two looks at whether the cluster is still there


class FailedPointsWarning(UserWarning):
    """Some points of a sweep failed."""


class DamagedStoreWarning(UserWarning):
    """A store was damaged and has been mended."""


class ClusterLostError(ConnectionError):
    """The scheduler went away."""


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Any] | list[Mapping[str, Any]],
    *,
    store: str | os.PathLike[str] | None = None,
    client: Any = None,
    ensemble: Ensemble | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    workers: int | None = None,
    batch: int | None = None,
    retry_failed: bool = False,
) -> xr.Dataset:
    """Evaluate a function at every point of a grid and collect the results, labelled.

    With a store, what is done stays done: the same call goes on where the last one was stopped. An exception at one
    point is recorded there and the other points go on.

    Args:
        function: called with the parameters of a point by name; with the ensemble first, where one is given; with
            `seed`, if it has a parameter of that name. It returns numbers, text, arrays, `Estimate`s, mappings of
            these, `xarray` objects or results of gatefield. Arrays whose lengths differ between points are filled up
            with NaN.
        grid: a mapping from parameters to their values, the grid being their product; or a list of points, each a
            mapping. Where there is an ensemble, parameters such as `gain_update`, `bias_mean_update`,
            `bias_var_update` and `current_update` change it. An axis `replicate` only repeats points with other seeds.
        store: folder to keep the results in, a Zarr group; made if there is none. Without it they are in memory alone.
        client: a `distributed.Client`, to run on its cluster.
        ensemble: first argument of the function.
        options: further arguments of the function, the same at every point.
        seed: of the sweep. Each point's own is made of it and the point's coordinates, so results depend neither on
            the number of workers nor on the order in which they finish. An axis `seed` is handed on as it is.
        workers: worker processes on this machine, one for each core by default; 0 computes in this process.
        batch: points to a call of one compiled function. The function must then be one of JAX: it is given the floats
            among its parameters, and the seed, as traced numbers, all else as it is; `jax.vmap` and `jax.jit` do the
            rest, in double precision. A part of what defines the results, to rounding.
        retry_failed: compute failed points again.

    Returns:
        Results over the dimensions of the grid; "status" of each point (0 pending, 1 done, 2 failed), "message" where
        it failed, "seconds" it took, when it was "finished" and its "point_seed". From a store values are read when
        they are used.

    Raises:
        ValueError: an argument out of its range, or a store that is in use, of another sweep, or of another version.
        OSError: results could not be written. What was written before stays.
        ClusterLostError: the cluster's scheduler went away. Likewise.
    """
    made = as_grid(grid)
    seed = whole("seed", seed, 0)
    job = Job(function, ensemble, mapping("options", options), batch if batch is None else whole("batch", batch))
    check_job(job, made)
    identity = identity_of(job, made, seed)
    with nullcontext(store) if store is not None else tempfile.TemporaryDirectory() as folder:
        path = Path(folder) if store is not None else Path(folder) / "sweep.zarr"
        run_sweep(job, made, path, seed=seed, identity=identity, client=client, workers=workers,
                  retry_failed=retry_failed)  # fmt: skip
        found = open_results(path)
        if store is None:
            found = found.load()
    failed = int(np.count_nonzero(found.status.values == FAILED))
    if failed:
        warnings.warn(f"{failed} of {len(made)} points failed; see .message", FailedPointsWarning, stacklevel=2)
    return found


def open_results(path: Path) -> xr.Dataset:
    """A store's results, read as they are used."""
    found = xr.open_dataset(path, engine="zarr", chunks=None).drop_vars("checksum", errors="ignore")
    found["status"].attrs.pop(COPY, None)
    return found.assign({n: v.astype(object) for n, v in found.variables.items() if v.dtype.kind == "T"})


def check_job(job: Job, grid: Grid) -> None:
    """Refuse, before anything runs, what would fail at every point.

    Raises:
        ValueError: a function that is none or does not take what it would be given; a batched one with an ensemble.
    """
    if not callable(job.function):
        raise ValueError(f"function={job.function!r} must be a function")
    if job.batch is not None and job.ensemble is not None:
        raise ValueError(f"batch={job.batch} is for functions of numbers; leave it or the ensemble out")
    point = grid.points[0]
    arguments = job.arguments_at(point)
    job.ensemble_at(point)
    clash = sorted(set(job.options or {}) & set(point))
    if clash:
        raise ValueError(f"options and grid both give {clash[0]!r}; leave one out")
    if takes_seed(job.function):
        arguments["seed"] = 0
    elif "seed" in point:
        raise ValueError("grid has an axis 'seed', but the function takes none; call the axis 'replicate'")
    try:
        inspect.signature(job.function).bind(*([] if job.ensemble is None else [job.ensemble]), **arguments)
    except TypeError as error:
        known = f"; parameters of the ensemble are {', '.join(job.statistics)}" if job.statistics else ""
        raise ValueError(
            f"function {name_of(job.function)} does not take what grid and options give: {error}{known}"
        ) from None


def identity_of(job: Job, grid: Grid, seed: int) -> dict[str, Any]:
    """What makes two sweeps the same, as plain values."""
    return {
        "function": name_of(job.function),
        "source": _source(job.function),
        "ensemble": None if job.ensemble is None else job.ensemble.describe(),
        "options": {name: _plain(value) for name, value in (job.options or {}).items()},
        "seed": seed,
        "batch": job.batch,
        "grid": grid.describe(),
    }


def name_of(function: Any) -> str:
    """A function by name; a `functools.partial` with its arguments."""
    if isinstance(function, functools.partial):
        given = [*map(repr, function.args), *(f"{k}={v!r}" for k, v in sorted(function.keywords.items()))]
        return f"partial({', '.join([name_of(function.func), *given])})"
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", None)
    return name if module in ("__main__", None) else without_folders(f"{module}.{name}")


def _source(function: Any) -> str | None:
    """A digest of a user's function's code, comments and layout left out; None where it is not to be had."""
    function = bare(function)
    if getattr(function, "__module__", "").partition(".")[0] == "gatefield":
        return None  # the store's version stands for it
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return None
    with suppress(SyntaxError):  # of a lambda within a longer line
        text = ast.unparse(ast.parse(text))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return value.tolist() if isinstance(value, np.ndarray) else repr(value)


# ---- running ----


def run_sweep(
    job: Job,
    grid: Grid,
    path: Path,
    *,
    seed: int,
    identity: dict[str, Any],
    client: Any = None,
    workers: int | None = None,
    retry_failed: bool = False,
    attrs: Mapping[str, Any] | None = None,
    told: Callable[[str], None] = lambda said: warnings.warn(said, DamagedStoreWarning, stacklevel=4),
) -> None:
    """Compute the points of a sweep that its store does not have, into the store; as `sweep`.

    `attrs` are further attributes of a store that is made; `told` is given what was damaged in one that is there.
    """
    if workers is not None:
        whole("workers", workers, 0)
        if client is not None:
            raise ValueError(f"client and workers={workers} exclude each other; leave one out")
    with opened(path, grid, seed, identity, dict(attrs or {}), told=told) as store:
        wanted = (PENDING, FAILED) if retry_failed else (PENDING,)
        run = _Run(job, grid, store, seed, wanted)
        if not run.units:
            return
        total = int(np.count_nonzero(np.isin(store.status, wanted)))
        with run.told_how_to_go_on(), progress(total, f"{len(grid)} points") as run.moved:
            if workers == 0:
                run.here()
            else:
                with _connected(client, workers, len(run.units)) as connected:
                    run.on_cluster(connected)


@contextmanager
def _connected(client: Any, workers: int | None, units: int) -> Iterator[Any]:
    """A client: the given one, or one of fresh workers on this machine."""
    if client is not None:
        yield client
        return
    try:
        from gatefield.sweeps.local_workers import local_client
    except ImportError as error:
        raise ValueError(f"worker processes need {error.name}: pip install 'gatefield[sweep]', or workers=0") from None
    count = min(available_cores() if workers is None else workers, units)
    with local_client(count) as local:
        local.wait_for_workers(count, timeout=120)
        yield local


@dataclass
class _Run:
    """One program's work on a store."""

    job: Job
    grid: Grid
    store: SweepStore
    seed: int
    wanted: tuple[int, ...]
    moved: Callable[[int], None] = lambda _: None
    units: deque[Unit] = field(default_factory=deque)
    suspects: deque[Unit] = field(default_factory=deque)
    unit_seconds: float = math.inf
    bundle: int = 1

    def __post_init__(self) -> None:
        self.units.extend(
            unit for unit in units_of(self.job, self.grid) if np.isin(self.store.status[list(unit)], self.wanted).any()
        )

    @contextmanager
    def told_how_to_go_on(self) -> Iterator[None]:
        """Whatever stops the sweep says how much is kept and how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; {self._kept()}") from None
        except ClusterLostError as error:
            raise ClusterLostError(f"{error}; {self._kept()}") from None
        except OSError as error:
            stopped = OSError(f"{error.strerror or error}; {self._kept()}")
            stopped.errno = error.errno
            raise stopped from error

    def _kept(self) -> str:
        done = int(np.count_nonzero(self.store.status == DONE))
        return (
            f"{done} of {len(self.grid)} points are in {self.store.path}; go on with "
            f"gatefield sweep --resume {self.store.path}, or by the same call again"
        )

    def numbered(self, units: list[Unit]) -> list[list[Numbered]]:
        """Units with the parameters and seeds of their points."""
        points = self.grid.points
        return [[(i, points[i], point_seed(self.seed, points[i])) for i in unit] for unit in units]

    def record(self, outcomes: list[Outcome]) -> None:
        """Write those outcomes that are wanted: a batch may hold points that were there before."""
        new = [o for o in outcomes if self.store.status[o.number] in self.wanted]
        self.store.record(new)
        self.moved(len(new))

    def take(self, threads: int) -> list[Unit]:
        """The next task: as many units as take a moment, and few enough that all workers have some at the end."""
        if self.unit_seconds < math.inf:
            fit = int(_TASK_SECONDS / max(self.unit_seconds, 1e-6))
            self.bundle = max(1, min(fit, 2 * self.bundle, _TASK_UNITS))
        count = max(1, min(self.bundle, len(self.units) // (2 * threads)))
        return [self.units.popleft() for _ in range(min(count, len(self.units)))]

    def measured(self, outcomes: list[Outcome], units: int) -> None:
        """Learn how long a unit takes."""
        latest = sum(o.seconds for o in outcomes) / units
        self.unit_seconds = latest if self.unit_seconds == math.inf else 0.5 * (self.unit_seconds + latest)

    def here(self) -> None:
        """All units in this process. On a second thread, where progress bars of the function's own stay away."""
        while self.units:
            task = self.take(1)
            outcomes = Background(evaluate, self.job, self.numbered(task)).result()
            self.measured(outcomes, len(task))
            self.record(outcomes)

    def on_cluster(self, client: Any) -> None:
        """All units on a cluster's workers, some tasks for each ahead; those that seem to kill workers last, alone."""
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        tasks: dict[Any, list[Unit]] = {}
        packed = pack(self.job)

        def submit(task: list[Unit]) -> None:
            future = client.submit(evaluate_packed, packed, self.numbered(task), pure=False)
            tasks[future] = task
            future.add_done_callback(finished.put)

        try:
            while self.units or tasks or self.suspects:
                alone = not self.units and not tasks
                if alone:
                    submit([self.suspects.popleft()])
                threads = max(1, sum(client.nthreads().values())) if client.status == "running" else 1
                while self.units and len(tasks) < _AHEAD * threads:
                    submit(self.take(threads))
                outcomes: list[Outcome] = []
                for future in self._arrived(client, finished):
                    outcomes += self._outcomes(client, future, tasks.pop(future), alone)
                    future.release()
                if outcomes:
                    self.record(outcomes)
        finally:
            if client.status == "running":
                client.cancel(list(tasks))

    def _arrived(self, client: Any, finished: queue.SimpleQueue[Any]) -> list[Any]:
        """Futures that have finished since the last call, one at least."""
        lost = 0
        while True:
            try:
                found = [finished.get(timeout=_LOOK)]
            except queue.Empty:
                lost = 0 if client.status == "running" else lost + 1
                if lost > 3:
                    raise ClusterLostError("the connection to the scheduler was lost") from None
                continue
            while not finished.empty():
                found.append(finished.get())
            return found

    def _outcomes(self, client: Any, future: Any, task: list[Unit], alone: bool) -> list[Outcome]:
        """What a task's future holds; where its workers died, its units are tried one by one at the end."""
        error: Exception | None = None
        try:
            if future.status == "finished":
                outcomes = future.result(timeout=_FETCH)
                self.measured(outcomes, len(task))
                return outcomes
            if future.status == "error":
                error = future.exception(timeout=_FETCH)
        except Exception as caught:  # noqa: BLE001 - a worker may die while it hands its result over, in many ways
            error = caught if type(caught).__name__ == "KilledWorker" else None
        if error is None:
            if client.status != "running":
                raise ClusterLostError("the connection to the scheduler was lost")
            self.units.extendleft(reversed(task))
            return []
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if type(error).__name__ == "KilledWorker":  # by one of its points, or by another task that was there with it
            if not alone:
                self.suspects.extend(task)
                return []
            message = "the worker process died at this point, every time (out of memory?)"
        return [Outcome(number, None, message, float("nan")) for unit in task for number in unit]


def units_of(job: Job, grid: Grid) -> list[Unit]:
    """Which points are computed together: by the grid alone, so that no number depends on what is done already."""
    if job.batch is None:
        return [(i,) for i in range(len(grid))]
    groups: dict[Any, list[int]] = {}
    for i, point in enumerate(grid.points):
        groups.setdefault(job.static_at(point), []).append(i)
    return [tuple(g[a : a + job.batch]) for g in groups.values() for a in range(0, len(g), job.batch)]
