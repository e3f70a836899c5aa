"""`gatefield sweep` and `gatefield status`."""

from __future__ import annotations

import json as json_module
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from gatefield.cli.terminal import print_json, print_note

if TYPE_CHECKING:
    from gatefield.sweeps.grids import Grid
    from gatefield.sweeps.plans import Plan

_LISTED = 20  # failures shown
_WAIT = 10.0  # seconds for a scheduler to answer


def sweep(
    file: Annotated[Path | None, Parameter(help="TOML file that says what to compute where.")] = None,
    /,
    *,
    store: Annotated[
        Path | None, Parameter(help="Folder for the results, a Zarr group. Goes on if there is one.")
    ] = None,
    resume: Annotated[Path | None, Parameter(help="Go on with this store, by what it was made with.")] = None,
    scheduler: Annotated[str | None, Parameter(help="Address of a Dask cluster, such as tcp://host:8786.")] = None,
    workers: Annotated[int | None, Parameter(help="Worker processes here; by default one per core. 0: none.")] = None,
    retry_failed: Annotated[bool, Parameter(help="Compute failed points again.")] = False,
    json: Annotated[bool, Parameter(help="Print one JSON object instead of text.")] = False,
) -> None:
    """Any quantity at every point of a grid, into a store that survives crashes and goes on where it stopped."""
    from gatefield.sweeps.run import check_job, identity_of, run_sweep

    plan, path = _asked(file, store, resume)
    if scheduler is not None and workers is not None:
        raise ValueError(f"--scheduler and --workers {workers} exclude each other; leave one out")
    check_job(plan.job, plan.grid)
    identity = identity_of(plan.job, plan.grid, plan.seed)
    client = None if scheduler is None else _client(scheduler)
    try:
        run_sweep(
            plan.job, plan.grid, path, seed=plan.seed, identity=identity, client=client, workers=workers,
            retry_failed=retry_failed,
            attrs={"plan": json_module.dumps(plan.text), "folder": str(plan.folder)},
            told=print_note,
        )  # fmt: skip
    finally:
        if client is not None:
            client.close()
    found = summary(path)
    _show(found, json)
    if found["failed"]:
        raise SystemExit(1)


def status(
    store: Annotated[Path, Parameter(help="A sweep's store.")],
    /,
    *,
    json: Annotated[bool, Parameter(help="Print one JSON object instead of text.")] = False,
) -> None:
    """How far a sweep is, what failed and why."""
    _show(summary(store), json)


def _asked(file: Path | None, store: Path | None, resume: Path | None) -> tuple[Plan, Path]:
    from gatefield.sweeps.plans import plan_from, read_plan

    if resume is not None:
        if file is not None or store is not None:
            raise ValueError("--resume needs neither a file nor --store")
        return _as_made(resume, plan_from), resume
    if file is None or store is None:
        raise ValueError("give a file and --store, such as gatefield sweep sweep.toml --store results.zarr")
    return read_plan(file), store


def _as_made(path: Path, plan_from: Any) -> Plan:
    from gatefield.sweeps.store import attributes_of

    attrs = attributes_of(path)
    if "plan" not in attrs:
        function = json_module.loads(attrs["sweep"])["function"]
        raise ValueError(
            f"{str(path)!r} was made in Python by {function}; make the same call of gatefield.sweep again to go on"
        )
    return plan_from(json_module.loads(attrs["plan"]), Path(attrs["folder"]))


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(f"--scheduler needs {error.name}: pip install 'gatefield[sweep]'") from None
    for name in [n for n in logging.root.manager.loggerDict if n.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said by the sweep
    try:
        return Client(address, timeout=_WAIT)
    except (OSError, ValueError) as error:
        raise ValueError(f"--scheduler {address!r} does not answer: {error}") from None


def summary(path: Path) -> dict[str, Any]:
    """How far a store is, as plain values."""
    import numpy as np

    from gatefield.running.locks import holder_of
    from gatefield.sweeps.arrays import DONE, FAILED, PENDING
    from gatefield.sweeps.grids import grid_from
    from gatefield.sweeps.store import attributes_of, looked_into

    attrs = attributes_of(path)
    identity = json_module.loads(attrs["sweep"])
    grid: Grid = grid_from(identity["grid"])
    store = looked_into(path, grid)
    seconds = store.values("seconds")[store.status != PENDING]
    known = seconds[np.isfinite(seconds)]
    return {
        "store": str(path),
        "function": identity["function"],
        "version": attrs["gatefield_version"],
        "points": len(grid),
        "done": int(np.count_nonzero(store.status == DONE)),
        "failed": int(np.count_nonzero(store.status == FAILED)),
        "pending": int(np.count_nonzero(store.status == PENDING)),
        "seconds": float(known.sum()),
        "seconds_per_point": float(known.mean()) if len(known) else None,
        "running": holder_of(path),
        "failures": [{"point": grid.points[number], "message": message} for number, message in store.failures()],
    }


def _show(found: dict[str, Any], json: bool) -> None:
    if json:
        print_json(found)
        return
    lines = [f"{found['store']}: {found['function']}, gatefield {found['version']}"]
    parts = [f"{found[key]} {key}" for key in ("done", "failed", "pending") if found[key] or key == "done"]
    lines.append(f"{found['points']} points: {', '.join(parts)}")
    if found["seconds_per_point"] is not None:
        lines.append(f"{found['seconds']:.3g} s of computing, {found['seconds_per_point']:.3g} s per point")
    if found["running"]:
        lines.append(f"in use by process {found['running']['pid']} on {found['running']['host']}")
    for failure in found["failures"][:_LISTED]:
        point = ", ".join(f"{name} {value}" for name, value in failure["point"].items())
        lines.append(f"failed: {point}: {failure['message']}")
    if found["failed"] > _LISTED:
        lines.append(f"and {found['failed'] - _LISTED} more; --json lists all")
    if (found["pending"] or found["failed"]) and not found["running"]:
        retry = "" if found["pending"] else " --retry-failed"
        lines.append(f"go on with: gatefield sweep --resume {found['store']}{retry}")
    print("\n".join(lines))  # noqa: T201
