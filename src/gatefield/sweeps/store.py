"""Where a sweep's results are: one Zarr group that xarray opens, written so that no crash leaves a point half done.

The group holds an array for each quantity over the sweep's dimensions, the coordinates, and for each point its status,
seed, seconds, time of completion and message. A point counts once its status says so, and its status is written after
all else. Every file is written under another name and then renamed, so it is old or new, never in between.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gatefield.public import RENAMED
from gatefield.results.version import __version__
from gatefield.running.locks import PathLock
from gatefield.sweeps import checksums
from gatefield.sweeps.arrays import (
    BOOKKEEPING,
    DONE,
    FAILED,
    consolidate,
    create,
    create_axis,
    create_bookkeeping,
    is_coordinate,
    make_coordinate,
)
from gatefield.sweeps.grids import Grid
from gatefield.sweeps.mending import StoreError, copy_attributes, kept_attributes, mend
from gatefield.sweeps.records import Array, Record, empty

FORMAT = 1  # of the store; raised when older programs would misread it


@dataclass(frozen=True)
class Outcome:
    """What became of one point: a record, or the message of what went wrong."""

    number: int
    record: Record | None
    message: str
    seconds: float


class SweepStore:
    """A sweep's store, opened.

    Attributes:
        path: its folder.
        status: of each point, by its number.
    """

    def __init__(self, path: Path, grid: Grid) -> None:
        self.path, self.grid = path, grid
        self._group = zarr.open_group(path, mode="r+", use_consolidated=False)
        self._arrays: dict[str, Any] = dict(self._group.arrays())
        self._coordinates = {name: np.asarray(a[:]) for name, a in self._arrays.items() if is_coordinate(name, a)}
        self.status: np.ndarray = self.values("status")

    def record(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Write the outcomes of some points, status last.

        Returns:
            The outcomes as they were written: one whose arrays do not fit in is recorded as failed.

        Raises:
            OSError: they could not be written; none of them then counts as done.
        """
        outcomes = [self._fitted(outcome) for outcome in outcomes]
        names = dict.fromkeys(name for o in outcomes if o.record for name in o.record.arrays)
        for name in names:
            values = {o.number: o.record.arrays[name].values for o in outcomes if o.record and name in o.record.arrays}
            self._write(name, values)
        now = time.time()
        self._write("message", {o.number: o.message for o in outcomes})
        self._write("seconds", {o.number: o.seconds for o in outcomes})
        self._write("finished", {o.number: now for o in outcomes})
        self._write("checksum", {o.number: _checksum(o.record) for o in outcomes})
        status = {o.number: DONE if o.record else FAILED for o in outcomes}
        self._write("status", status)
        for number, value in status.items():
            self.status[number] = value
        return outcomes

    def _fitted(self, outcome: Outcome) -> Outcome:
        """The outcome with room made for its arrays; a failed one where there is none to make."""
        if outcome.record is None:
            return outcome
        try:
            arrays = {self._clear(name): array for name, array in outcome.record.arrays.items()}
            for name, coordinate in outcome.record.coordinates.items():
                self._make_coordinate(name, coordinate)
            for name, array in arrays.items():
                self._make_room(name, array)
        except StoreError as error:
            return Outcome(outcome.number, None, str(error), outcome.seconds)
        return Outcome(outcome.number, Record(arrays), outcome.message, outcome.seconds)

    def _clear(self, name: str) -> str:
        """The name a quantity has in the store, where those of parameters and bookkeeping are taken."""
        return f"result_{name}" if name in self.grid.coordinates or name in (*BOOKKEEPING, *self.grid.dims) else name

    def _make_room(self, name: str, array: Array) -> None:
        rank, values = len(self.grid.shape), array.values
        if name not in self._arrays:
            dims = (*self.grid.dims, *array.dims)
            if len(set(dims)) < len(dims):
                raise StoreError(f"{name} has the dimensions {array.dims}, of which the grid has one too")
            with self._changed():
                self._arrays[name] = create(self._group, name, dims, self.grid.shape, values, dict(array.attrs))
            return
        held = self._arrays[name]
        if held.ndim != rank + values.ndim or _kind(held) != values.dtype.kind:
            raise StoreError(
                f"{name} has {values.ndim} dimensions of kind {values.dtype.kind!r}, at other points "
                f"{held.ndim - rank} of kind {_kind(held)!r}; return the same at every point"
            )
        wanted = tuple(max(a, b) for a, b in zip(held.shape[rank:], values.shape, strict=True))
        if wanted != held.shape[rank:]:
            with self._changed():
                held.resize((*self.grid.shape, *wanted))

    def _make_coordinate(self, name: str, values: np.ndarray) -> None:
        """Keep a coordinate of a quantity's dimension: the longest there is, if all agree as far as they go."""
        values = values.astype(object) if values.dtype.kind in "UT" else values
        held = self._coordinates.get(name)
        shared = 0 if held is None else min(len(held), len(values))
        if name in self.grid.dims or (held is not None and not np.array_equal(held[:shared], values[:shared])):
            raise StoreError(f"the coordinate {name!r} differs between points; return arrays without it")
        if held is None or len(values) > len(held):
            with self._changed():
                make_coordinate(self._group, name, name, values, {})
                self._arrays[name] = self._group[name]
            self._coordinates[name] = values

    @contextmanager
    def _changed(self) -> Iterator[None]:
        """Around a change of what arrays there are."""
        yield
        consolidate(self.path)

    def _write(self, name: str, values: Mapping[int, Any]) -> None:
        """Put values at points into an array, each chunk that holds some of them at once."""
        array, rank = self._arrays[name], len(self.grid.shape)
        chunks: dict[tuple[int, ...], list[int]] = {}
        for number in values:
            position = self.grid.index(number)
            chunk = tuple(i // size for i, size in zip(position, array.chunks[:rank], strict=True))
            chunks.setdefault(chunk, []).append(number)
        for chunk, numbers in chunks.items():
            corner = [c * size for c, size in zip(chunk, array.chunks[:rank], strict=True)]
            region = tuple(slice(c, c + size) for c, size in zip(corner, array.chunks[:rank], strict=True))
            block = np.array(array[region])
            for number in numbers:
                at = tuple(i - c for i, c in zip(self.grid.index(number), corner, strict=True))
                block[at] = padded(values[number], block.shape[rank:], block.dtype)
            array[region] = block

    def values(self, name: str) -> np.ndarray:
        """A quantity of one number at each point, by the points' numbers."""
        return np.asarray(self._arrays[name][...]).ravel()

    def failures(self) -> list[tuple[int, str]]:
        """Number and message of each point that failed."""
        message = self.values("message")
        return [(int(i), str(message[i])) for i in np.nonzero(self.status == FAILED)[0]]


def _checksum(record: Record | None) -> int:
    if record is None:
        return checksums.UNKNOWN
    parts = [checksums.part(name, array.values) for name, array in record.arrays.items()]
    return int(checksums.finished(np.array(parts, np.uint64).sum(dtype=np.uint64)))


def padded(value: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A value in the first corner of an array of a shape, nothing elsewhere."""
    if np.shape(value) == shape:
        return value
    out = np.full(shape, empty(dtype), dtype)
    out[tuple(slice(n) for n in np.shape(value))] = value
    return out


def _kind(array: Any) -> str:
    return "O" if array.dtype.kind in "UOT" else array.dtype.kind


# ---- making and opening ----


def make_store(path: Path, grid: Grid, seed: int, identity: dict[str, Any], attrs: dict[str, Any]) -> None:
    """Make an empty store, whole or not at all. The caller holds the path's lock.

    Raises:
        OSError: it could not be written.
    """
    temporary = path.with_name(f".{path.name}.unfinished")
    if temporary.exists():  # of a program that was killed: nobody else makes this store now
        shutil.rmtree(temporary)
    try:
        given = {
            "sweep": json.dumps(identity),
            "gatefield_version": __version__,
            "gatefield_store": FORMAT,
            "seed": seed,
            **attrs,
        }
        group = zarr.open_group(temporary, mode="w", attributes=given)
        for name in grid.coordinates:
            create_axis(group, name, grid)
        for name in BOOKKEEPING:
            create_bookkeeping(group, name, grid, seed)
        copy_attributes(group, given)
        consolidate(temporary)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def attributes_of(path: Path) -> dict[str, Any]:
    """Attributes of the store at a path.

    Raises:
        StoreError: there is none, or it was made by a program that this one cannot read.
    """
    text = repr(str(path))
    if not path.exists():
        raise StoreError(f"there is no store at {text}")
    attrs = kept_attributes(path)
    if attrs["gatefield_store"] != FORMAT:
        raise StoreError(
            f"{text} has format {attrs['gatefield_store']}, this program writes {FORMAT}; use another path"
        )
    return attrs


def without_folders(name: str) -> str:
    """A function of gatefield by its name today: where in the package it stands does not tell two sweeps apart."""
    return re.sub(r"\bgatefield(?:\.\w+)*\.(\w+)", lambda found: f"gatefield.{RENAMED.get(found[1], found[1])}", name)


def check_same(path: Path, identity: dict[str, Any]) -> None:
    """Refuse a store of another sweep or version.

    Raises:
        StoreError: with what differs.
    """
    attrs = attributes_of(path)
    if attrs["gatefield_version"] != __version__:
        raise StoreError(
            f"{str(path)!r} was made by gatefield {attrs['gatefield_version']}, this is {__version__}: its numbers may "
            "differ; use another store, or that version"
        )
    held = json.loads(attrs["sweep"])
    held["function"] = without_folders(held["function"])
    wanted = json.loads(json.dumps(identity))
    for key in dict.fromkeys((*wanted, *held)):
        if wanted.get(key) != held.get(key):
            raise StoreError(
                f"{str(path)!r} is of another sweep: its {key} is {_brief(held.get(key))}, not "
                f"{_brief(wanted.get(key))}; use another store"
            )


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 160 else f"{text[:150]}…"


@contextmanager
def opened(
    path: Path,
    grid: Grid,
    seed: int,
    identity: dict[str, Any],
    attrs: dict[str, Any],
    *,
    told: Callable[[str], None] = lambda _: None,
) -> Iterator[SweepStore]:
    """The store of a sweep, made where there is none and mended where it is damaged, for this program alone.

    Args:
        path: of the store.
        grid: of the sweep.
        seed: of the sweep.
        identity: what it is of.
        attrs: further attributes of a store that is made.
        told: is given what was damaged.

    Raises:
        PathInUseError: another program has it.
        StoreError: it is of another sweep or version, or no store.
    """
    if not path.parent.is_dir():
        raise StoreError(f"store={str(path)!r}: there is no folder {str(path.parent)!r}; make it first")
    if path.exists():
        check_same(path, identity)
    with PathLock(path):
        if not path.exists():
            make_store(path, grid, seed, identity, attrs)
        else:
            check_same(path, identity)
            damage = mend(path, grid, seed)
            if damage:
                told(damage)
        yield SweepStore(path, grid)


def looked_into(path: Path, grid: Grid) -> SweepStore:
    """A store as it stands, to be looked at.

    Raises:
        StoreError: it is damaged.
    """
    try:
        return SweepStore(path, grid)
    except PermissionError:
        raise
    except Exception as error:  # zarr's errors for what is damaged are many
        raise StoreError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {error}); gatefield sweep --resume {path} mends it"
        ) from error
