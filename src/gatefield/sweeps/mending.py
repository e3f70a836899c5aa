"""A store found damaged, or left in the middle of a change, brought into order: only what is lost is computed again.

What describes the store is there twice: its attributes in "status", too, and every array's metadata in the store's.
What the points hold is told by their checksums. A point whose values are not those that were recorded is pending again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.core.group import GroupMetadata
from zarr.core.metadata import ArrayV3Metadata

from gatefield.sweeps import checksums
from gatefield.sweeps.arrays import (
    BOOKKEEPING,
    COPY,
    DONE,
    FAILED,
    PENDING,
    STATUSES,
    consolidate,
    create_axis,
    create_bookkeeping,
    is_coordinate,
    seeds_of,
)
from gatefield.sweeps.grids import Grid

_METADATA = "zarr.json"
_NEEDED = ("sweep", "gatefield_version", "gatefield_store", "seed")


class StoreError(ValueError):
    """A store that is not one, or is of another sweep."""


# ---- its attributes ----


def copy_attributes(group: Any, attrs: dict[str, Any]) -> None:
    """Keep a second copy of a store's attributes, in "status"."""
    text = json.dumps(attrs)
    if group["status"].attrs.get(COPY) != text:
        group["status"].attrs[COPY] = text


def kept_attributes(path: Path) -> dict[str, Any]:
    """A store's attributes; by their copy where the store's metadata is damaged.

    Raises:
        StoreError: there is no store, or nothing is left of either.
    """
    attrs = _own_attributes(path)
    if attrs is not None:
        return attrs
    with suppress(ValueError, TypeError, KeyError):
        copy = json.loads((_json(path / "status") or {})["attributes"][COPY])
        if _are_attributes(copy):
            return copy
    held = _json(path)
    ours = held is None or "gatefield_store" in (held.get("attributes") or {})
    if not ours or not (path / _METADATA).is_file():
        raise StoreError(f"{str(path)!r} is not a store of a sweep; give another path")
    raise StoreError(
        f"{str(path / _METADATA)!r} is damaged, and with it what the store is of; put it back from a copy, or use "
        "another store"
    )


def _own_attributes(path: Path) -> dict[str, Any] | None:
    attrs = (_json(path) or {}).get("attributes")
    return attrs if _are_attributes(attrs) else None


def _are_attributes(attrs: Any) -> bool:
    if not isinstance(attrs, dict) or any(name not in attrs for name in _NEEDED):
        return False
    try:
        grid = json.loads(attrs["sweep"])["grid"]
        return isinstance(grid["dims"], list) and isinstance(grid["values"], dict)
    except (ValueError, TypeError, KeyError):
        return False


def _json(folder: Path) -> dict[str, Any] | None:
    """The metadata in a folder, None where there is none that reads.

    Raises:
        StoreError: this program may not read it.
    """
    file = folder / _METADATA
    try:
        found = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None
    except OSError as error:
        raise StoreError(f"{str(file)!r} cannot be read: {error.strerror}; see to its permissions") from None
    return found if isinstance(found, dict) else None


# ---- the whole ----


def mend(path: Path, grid: Grid, seed: int) -> str:
    """Bring a store into order, its lock held.

    Returns:
        What was damaged and what comes of it, in a line; "" for a store that was whole.

    Raises:
        StoreError: it cannot be mended.
    """
    for left in path.rglob("*.partial"):  # by a program that was killed while it wrote
        left.unlink()
    return _Mending(path, grid, seed).done()


@dataclass
class _Mending:
    """A store under repair."""

    path: Path
    grid: Grid
    seed: int
    damaged: list[Path] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)  # quantities whose arrays were damaged as a whole

    def done(self) -> str:
        attrs = kept_attributes(self.path)
        root = self._root(attrs)
        self._metadata(_gathered(root))
        self.group: Any = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        for name in BOOKKEEPING:
            if name not in self.group:
                create_bookkeeping(self.group, name, self.grid, self.seed)
        again = self._points()
        self._axes()
        copy_attributes(self.group, attrs)
        self._consolidated()
        return self._said(again)

    def _said(self, again: int) -> str:
        if not self.damaged and not again:
            return ""
        files = list(dict.fromkeys(map(str, self.damaged)))
        what = f"{files[0]!r} was damaged" if files else f"{str(self.path)!r} held other values than were recorded"
        others = f" (and {len(files) - 1} more files)" if len(files) > 1 else ""
        then = f"{again} of {len(self.grid)} points are computed again" if again else "nothing but that was lost"
        return f"{what}{others}; {then}"

    def _root(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The store's own metadata, written anew where it is damaged."""
        file = self.path / _METADATA
        root = _json(self.path) or {}
        try:
            GroupMetadata.from_dict(dict(root))
            sound = _own_attributes(self.path) is not None and root["node_type"] == "group"
        except Exception:  # noqa: BLE001 - zarr's errors for what does not describe a group are many
            sound = False
        if not sound:
            self._gone(file)
            _replace(file, {"zarr_format": 3, "node_type": "group", "attributes": attrs})
        return root

    def _gone(self, file: Path) -> None:
        """Take what is damaged out of the way."""
        self.damaged.append(file)
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)

    # ---- metadata of arrays ----

    def _metadata(self, gathered: dict[str, Any]) -> None:
        """Every array with metadata that reads and fits; by the store's copy of it where it does not."""
        folders = {entry.name for entry in self.path.iterdir() if (entry / _METADATA).exists()}
        created = {name for name in BOOKKEEPING if name != "checksum" or name in gathered}
        for name in sorted(folders | set(gathered) | created):
            folder, copy = self.path / name, gathered.get(name)
            if folder.exists() and not folder.is_dir():
                self._gone(folder)
            own = _json(folder) if folder.is_dir() else None
            best = self._best(name, own, copy)
            if own is not None and best == own:
                continue
            if not (own is not None and best is not None and _same_but_attributes(own, best)):
                self.damaged.append(folder / _METADATA)
                self.lost.add(name)
            if best is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                folder.mkdir(exist_ok=True)
                if (folder / _METADATA).is_dir():
                    shutil.rmtree(folder / _METADATA)
                _replace(folder / _METADATA, best)

    def _best(self, name: str, own: Any, copy: Any) -> dict[str, Any] | None:
        """An array's metadata: its own if that fits and is the copy but for what may change."""
        own = own if self._fits(name, own) else None
        copy = copy if self._fits(name, copy) else None
        if own is None or copy is None or name in BOOKKEEPING or own["dimension_names"] == [name]:
            return own or copy
        shape = [max(a, b) for a, b in zip(own["shape"], copy["shape"], strict=False)]  # arrays only grow
        if len(own["shape"]) != len(copy["shape"]) or {**own, "shape": 0} != {**copy, "shape": 0}:
            return copy
        return {**own, "shape": shape}

    def _fits(self, name: str, metadata: Any) -> bool:
        """Whether metadata is of an array of this sweep."""
        if not isinstance(metadata, dict) or metadata.get("node_type") != "array":
            return False
        try:
            ArrayV3Metadata.from_dict(dict(metadata))
            dims, shape = list(metadata["dimension_names"]), list(metadata["shape"])
        except Exception:  # noqa: BLE001 - zarr's errors for what does not describe an array are many
            return False
        if name in self.grid.coordinates:
            dim, values = self.grid.coordinates[name]
            return dims == [dim] and shape == [len(values)]
        if dims == [name]:
            return name not in BOOKKEEPING
        rank = len(self.grid.dims)
        fits = dims[:rank] == list(self.grid.dims) and shape[:rank] == list(self.grid.shape)
        return fits and (name not in BOOKKEEPING or len(dims) == rank)

    # ---- values ----

    def _points(self) -> int:
        """Put each point's status right by its checksum; how many points are to be computed again."""
        held = dict(self.group.arrays())
        for name in BOOKKEEPING:
            for _ in self._chunks(name, held[name]):
                pass  # takes what is damaged out of the way
        total, spoilt = np.zeros(self.grid.shape, np.uint64), np.zeros(self.grid.shape, bool)
        missing: list[tuple[Path, tuple[slice, ...]]] = []
        for name, array in held.items():
            if self._is_quantity(name, array):
                for region, corner, values in self._blocks(name, array, spoilt, missing):
                    total[region] += checksums.part(name, values, corner, rank=len(self.grid.shape))
        status, recorded = held["status"][...], held["checksum"][...]
        found = checksums.finished(total)
        unknown = recorded == checksums.UNKNOWN  # by a program that knew of none
        gone = bool(self.lost & {name for name, array in held.items() if self._is_quantity(name, array)})
        lost = (status == DONE) & np.where(unknown, spoilt | gone, recorded != found)
        for file, region in missing:
            if lost[region].any():
                self.damaged.append(file)
        fine = (status == PENDING) & ~unknown & (recorded == found)  # its status alone was lost
        new = np.where(lost | ~np.isin(status, range(len(STATUSES))), PENDING, np.where(fine, DONE, status))
        new = np.where((new == FAILED) & (held["message"][...].astype(object) == ""), PENDING, new)
        new = self._without_coordinates(held, new)
        self._write(held, status, new, np.where(new == DONE, found, checksums.UNKNOWN), recorded)
        return int(np.count_nonzero((status != PENDING) & (new == PENDING)))

    def _is_quantity(self, name: str, array: Any) -> bool:
        return name not in BOOKKEEPING and name not in self.grid.coordinates and not is_coordinate(name, array)

    def _write(self, held: Any, status: Any, new: Any, sums: Any, recorded: Any) -> None:
        """Write what changed; the status first, so that a point is never done by a checksum that is not its own."""
        if (new != status).any():
            held["status"][...] = new.astype(status.dtype)
        if (sums != recorded).any():
            held["checksum"][...] = sums
        seeds = seeds_of(self.grid, self.seed)
        if (held["point_seed"][...] != seeds).any():
            held["point_seed"][...] = seeds

    def _blocks(
        self, name: str, array: Any, spoilt: np.ndarray, missing: list[tuple[Path, tuple[slice, ...]]]
    ) -> Iterator[tuple[tuple[slice, ...], tuple[int, ...], np.ndarray]]:
        """A quantity by its chunks: where on the grid, where beyond it, values."""
        rank = len(self.grid.shape)
        for file, corner, region, values in self._chunks(name, array):
            if values is None:
                spoilt[region[:rank]] = True
            elif not file.exists():
                missing.append((file, region[:rank]))
            else:
                yield region[:rank], corner[rank:], values

    def _chunks(self, name: str, array: Any) -> Iterator[tuple[Path, tuple[int, ...], tuple[slice, ...], Any]]:
        """An array's chunks: file, first element, region, values; None for one that was damaged and is no more."""
        folder = self.path / name
        for chunk in np.ndindex(array.cdata_shape):
            file = folder / array.metadata.encode_chunk_key(chunk)
            corner = tuple(c * size for c, size in zip(chunk, array.chunks, strict=True))
            region = tuple(slice(c, c + size) for c, size in zip(corner, array.chunks, strict=True))
            self._clear_way(folder, file)
            try:
                yield file, corner, region, np.asarray(array[region])
            except MemoryError:
                raise
            except OSError as error:
                raise StoreError(f"{str(file)!r} cannot be read: {error.strerror or error}; see to the disk") from None
            except Exception:  # noqa: BLE001 - decoders fail in many ways
                self._gone(file)
                yield file, corner, region, None

    def _clear_way(self, folder: Path, file: Path) -> None:
        """No file where a folder should be, no folder where a file should be."""
        for above in reversed(file.relative_to(folder).parents):
            place = folder / above
            if place.exists() and not place.is_dir():
                self._gone(place)
        if file.is_dir():
            self._gone(file)

    # ---- coordinates ----

    def _axes(self) -> None:
        """The grid's coordinates, which are known."""
        for name, (_, values) in self.grid.coordinates.items():
            held = self._coordinate(name)
            if held is None or held.tolist() != list(values):
                if held is not None:
                    self.damaged.append(self.path / name)
                create_axis(self.group, name, self.grid)

    def _coordinate(self, name: str) -> np.ndarray | None:
        """A coordinate's values, None where they are damaged or not there."""
        if name not in self.group:
            return None
        array = self.group[name]
        found = list(self._chunks(name, array))
        gone = [file for file, *_, values in found if values is None or not file.exists()]
        self.damaged += [file for file in gone if file not in self.damaged]
        return None if gone else np.asarray(array[:])

    def _without_coordinates(self, held: dict[str, Any], status: np.ndarray) -> np.ndarray:
        """Coordinates that came with the points: where one is lost, a point that has all of it is computed again."""
        status, rank = status.copy(), len(self.grid.shape)
        dims = dict.fromkeys(dim for array in held.values() for dim in array.metadata.dimension_names[rank:])
        for name in dims:
            damaged = name in self.lost or (name in held and self._coordinate(name) is None)
            if not damaged:
                continue
            shutil.rmtree(self.path / name, ignore_errors=True)
            reach = np.zeros(self.grid.shape, bool)
            for array in held.values():
                if name in array.metadata.dimension_names[rank:]:
                    last = np.asarray(array[...]).take(-1, array.metadata.dimension_names.index(name))
                    reach |= checksums.filled(last).any(axis=tuple(range(rank, last.ndim)))
            whole = np.argwhere(reach & (status == DONE))
            at = tuple(whole[0]) if len(whole) else status == DONE
            status[at] = PENDING
        return status

    def _consolidated(self) -> None:
        """Gather the arrays' metadata again where what is gathered is not what there is."""
        gathered = _gathered(_json(self.path) or {})
        own = {entry.name: _json(entry) for entry in self.path.iterdir() if (entry / _METADATA).is_file()}
        if gathered != own:
            consolidate(self.path)


def _gathered(root: dict[str, Any]) -> dict[str, Any]:
    """The arrays' metadata in a store's own."""
    found = root.get("consolidated_metadata")
    gathered = found.get("metadata") if isinstance(found, dict) else None
    return gathered if isinstance(gathered, dict) else {}


def _same_but_attributes(own: dict[str, Any], best: dict[str, Any]) -> bool:
    return {**own, "attributes": 0} == {**best, "attributes": 0}


def _replace(file: Path, metadata: dict[str, Any]) -> None:
    temporary = file.with_suffix(".partial")
    temporary.write_text(json.dumps(metadata), encoding="utf-8")
    temporary.replace(file)
