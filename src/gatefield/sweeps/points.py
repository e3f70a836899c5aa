"""The points of a sweep evaluated, in whatever process: one by one, or several through one compiled function."""

from __future__ import annotations

import functools
import inspect
import multiprocessing
import os
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from gatefield.cells.ensemble import Ensemble
from gatefield.running.background import thread_limits
from gatefield.running.compile_cache import follow
from gatefield.running.memory import spare_memory_maps
from gatefield.sweeps.grids import COUNTED, Point
from gatefield.sweeps.records import as_record
from gatefield.sweeps.store import Outcome

STATISTICS = ("gain", "bias_mean", "bias_var", "current")


@dataclass(frozen=True, eq=False)
class Job:
    """What to do at each point.

    Attributes:
        function: called with the ensemble, where there is one, and with the point's parameters, the options and the
            seed by name.
        ensemble: to which parameters such as "gain_update" apply.
        options: the same at every point.
        batch: points per call of one compiled function; None where the function takes them one by one.
    """

    function: Callable[..., Any]
    ensemble: Ensemble | None = None
    options: Mapping[str, Any] | None = None
    batch: int | None = None

    @property
    def statistics(self) -> dict[str, tuple[str, str]]:
        """Parameters that belong to the ensemble: what they set, and of which pre-activation."""
        if self.ensemble is None:
            return {}
        return {f"{what}_{name}": (what, name) for what in STATISTICS for name in self.ensemble.names}

    def ensemble_at(self, point: Point) -> Ensemble | None:
        """The ensemble with a point's parameters put in."""
        ensemble = self.ensemble
        for parameter, (what, name) in self.statistics.items():
            if ensemble is not None and parameter in point:
                ensemble = replace(ensemble, **{what: {**getattr(ensemble, what), name: point[parameter]}})
        return ensemble

    def arguments_at(self, point: Point) -> dict[str, Any]:
        """What the function is given by name at a point, without the seed."""
        own = {k: v for k, v in point.items() if k not in self.statistics and k not in (COUNTED, "seed")}
        return {**(self.options or {}), **own}

    def static_at(self, point: Point) -> tuple[Any, ...]:
        """What must be equal for points to share a compiled function: all that is not a float."""
        return tuple(sorted((k, v) for k, v in self.arguments_at(point).items() if not isinstance(v, float)))


Numbered = tuple[int, Point, int]  # a point's number, its parameters and its seed


def pack(job: Job) -> bytes:
    """A job as bytes, with the code of functions that workers could not import."""
    import cloudpickle

    module = inspect.getmodule(bare(job.function))
    given_whole = module is not None and not _installed(module)
    if given_whole:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(job)
    finally:
        if given_whole:
            cloudpickle.unregister_pickle_by_value(module)


def bare(function: Any) -> Any:
    """What is within a `functools.partial`."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _installed(module: Any) -> bool:
    """Whether a module is part of gatefield, of Python or of an installed package."""
    name, file = module.__name__.partition(".")[0], getattr(module, "__file__", None)
    if name in ("gatefield", "__main__") or file is None:  # cloudpickle itself takes __main__ whole
        return True
    roots = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(Path(file).is_relative_to(root) for root in roots)


@functools.lru_cache(maxsize=8)
def unpack(packed: bytes) -> Job:
    """The job; the same object each time, so that what its function has compiled is kept."""
    import cloudpickle

    return cloudpickle.loads(packed)


def evaluate_packed(packed: bytes, units: Sequence[Sequence[Numbered]]) -> list[Outcome]:
    """What a worker does: `evaluate` of a packed job."""
    tell_threads()
    follow()
    try:
        job = unpack(packed)
    except Exception:  # noqa: BLE001 - whatever it is, the points cannot be had here
        message = f"the function cannot be loaded on the worker: {_last_line()}"
        return [Outcome(number, None, message, 0.0) for unit in units for number, *_ in unit]
    return evaluate(job, units)


def evaluate(job: Job, units: Sequence[Sequence[Numbered]]) -> list[Outcome]:
    """Outcomes of the points of some units; a unit is a point, or points that go through one compiled call."""
    outcomes: list[Outcome] = []
    with threadpool_limits(1):
        for unit in units:
            outcomes += _evaluate_one(job, unit[0]) if job.batch is None else _evaluate_batch(job, unit)
    spare_memory_maps()
    return outcomes


def _evaluate_one(job: Job, numbered: Numbered) -> list[Outcome]:
    number, point, seed = numbered
    begin = time.perf_counter()
    try:
        arguments = job.arguments_at(point)
        if takes_seed(job.function):
            arguments["seed"] = seed
        ensemble = job.ensemble_at(point)
        record = as_record(job.function(*(() if ensemble is None else (ensemble,)), **arguments))
    except (Exception, SystemExit):  # noqa: BLE001 - it is recorded; the other points go on
        return [Outcome(number, None, _last_line(), time.perf_counter() - begin)]
    return [Outcome(number, record, "", time.perf_counter() - begin)]


def _evaluate_batch(job: Job, unit: Sequence[Numbered]) -> list[Outcome]:
    begin = time.perf_counter()
    try:
        found = _batched(job)(unit)
    except (Exception, SystemExit):  # noqa: BLE001
        seconds = (time.perf_counter() - begin) / len(unit)
        return [Outcome(number, None, _last_line(), seconds) for number, *_ in unit]
    seconds = (time.perf_counter() - begin) / len(unit)
    outcomes = []
    for i, (number, *_) in enumerate(unit):
        try:
            outcomes.append(Outcome(number, as_record(jax.tree.map(lambda a, i=i: a[i], found)), "", seconds))
        except ValueError as error:
            outcomes.append(Outcome(number, None, str(error), seconds))
    return outcomes


@functools.lru_cache(maxsize=8)
def _batched(job: Job) -> Callable[[Sequence[Numbered]], Any]:
    """A function of `job.batch` points at once: floats and seeds traced, the rest compiled in.

    The last unit is filled up with its last point: one shape, one compilation, and the same arithmetic for every point.
    """
    seeded, size = takes_seed(job.function), job.batch or 1
    compiled: dict[Any, Callable[..., Any]] = {}

    def call(static: dict[str, Any], floats: dict[str, Any], seed: Any) -> Any:
        return job.function(**static, **floats, **({"seed": seed} if seeded else {}))

    def many(unit: Sequence[Numbered]) -> Any:
        arguments = [job.arguments_at(point) for _, point, _ in unit]
        key = job.static_at(unit[0][1])
        if key not in compiled:
            compiled[key] = jax.jit(jax.vmap(lambda floats, seed, static=dict(key): call(static, floats, seed)))
        rows = [*arguments, *[arguments[-1]] * (size - len(unit))]
        seeds = [seed for *_, seed in unit]
        seeds += [seeds[-1]] * (size - len(unit))
        floats = {k: jnp.asarray([row[k] for row in rows]) for k, v in rows[0].items() if isinstance(v, float)}
        return jax.tree.map(np.asarray, compiled[key](floats, jnp.asarray(seeds)))

    def in_double(unit: Sequence[Numbered]) -> Any:
        with jax.enable_x64(True):
            return many(unit)

    return in_double


def takes_seed(function: Callable[..., Any]) -> bool:
    """Whether a function has a parameter `seed`, or takes any."""
    parameters = inspect.signature(function).parameters
    return "seed" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _last_line() -> str:
    """The exception being handled, and where it was raised, on one line."""
    kind, error, trace = sys.exc_info()
    last = traceback.extract_tb(trace)[-1]
    name = kind.__name__ if kind else "error"
    return f"{name}: {' '.join(str(error).split())} (in {last.name}, line {last.lineno})"


def tell_threads() -> None:
    """Hold a worker process that somebody else started to one thread of XLA, if XLA has not begun there yet."""
    if multiprocessing.parent_process() is not None and "NPROC" not in os.environ:
        os.environ.update(thread_limits())
