"""The arrays of a sweep's store: how they are made, and the bookkeeping among them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

try:
    import zarr
    from zarr.core.dtype import VariableLengthUTF8
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"sweeps need {error.name}: pip install 'gatefield[sweep]'", name=error.name) from None

from gatefield.sweeps.grids import Grid, point_seed
from gatefield.sweeps.records import empty

PENDING, DONE, FAILED = 0, 1, 2
STATUSES = ("pending", "done", "failed")
COPY = "store"  # attribute of "status" with a copy of the store's own attributes

_CHUNK_BYTES = 2**17  # of a chunk, which is written as a whole for each point in it
_CHUNK_POINTS = 1024
_BOOKKEEPING: dict[str, tuple[Any, dict[str, Any]]] = {
    "status": (np.int8(PENDING), {"flag_values": list(range(len(STATUSES))), "flag_meanings": " ".join(STATUSES)}),
    "message": (np.asarray("", object), {"long_name": "what went wrong"}),
    "seconds": (np.float64(0), {"units": "s", "long_name": "computing time"}),
    "finished": (np.float64(0), {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}),
    "point_seed": (np.int64(0), {"long_name": "seed of the point"}),
    "checksum": (np.int64(0), {"long_name": "of all that was recorded at the point; 0: none"}),
}
BOOKKEEPING = tuple(_BOOKKEEPING)


def create(
    group: Any, name: str, dims: Sequence[str], shape: tuple[int, ...], value: np.ndarray, attrs: dict[str, Any]
) -> Any:
    """An array over the grid for values of one kind and shape."""
    text = value.dtype.kind in "UOT"
    size = value.size * (16 if text else value.dtype.itemsize)
    budget = int(np.clip(_CHUNK_BYTES // max(size, 1), 1, _CHUNK_POINTS))
    chunks = []
    for length in reversed(shape):
        chunks.append(min(length, budget))
        budget = max(1, budget // length)
    return group.create_array(
        name,
        shape=(*shape, *value.shape),
        chunks=(*reversed(chunks), *(max(1, n) for n in value.shape)),
        dtype=VariableLengthUTF8() if text else value.dtype,
        fill_value="" if text else 0 if value.dtype.kind == "i" else empty(value.dtype),
        dimension_names=tuple(dims),
        attributes={k: _attribute(v) for k, v in attrs.items()},
        overwrite=True,  # one that was not finished when the program was killed
    )


def create_bookkeeping(group: Any, name: str, grid: Grid, seed: int) -> Any:
    """One of the arrays that tell how far a sweep is."""
    kind, attributes = _BOOKKEEPING[name]
    array = create(group, name, grid.dims, grid.shape, np.asarray(kind), attributes)
    if name == "point_seed":
        array[...] = seeds_of(grid, seed)
    return array


def seeds_of(grid: Grid, seed: int) -> np.ndarray:
    """The points' seeds over the grid."""
    return np.array([point_seed(seed, point) for point in grid.points], dtype=np.int64).reshape(grid.shape)


def create_axis(group: Any, name: str, grid: Grid) -> None:
    """A coordinate of the grid."""
    dim, values = grid.coordinates[name]
    make_coordinate(group, name, dim, np.asarray(values), _units(name))


def make_coordinate(group: Any, name: str, dim: str, values: Any, attrs: dict[str, Any]) -> None:
    """A coordinate along a dimension."""
    values = np.asarray(values)
    text = values.dtype.kind in "UOT"
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=(max(1, len(values)),),
        dtype=VariableLengthUTF8() if text else values.dtype,
        fill_value="" if text else None,
        dimension_names=(dim,),
        attributes=attrs,
        config={"write_empty_chunks": True},  # one that is missing was lost, then
        overwrite=True,
    )
    array[:] = values.astype(object) if text else values


def consolidate(path: Path) -> None:
    """Gather what arrays there are in one place, where xarray looks first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that not all other programs look there
        zarr.consolidate_metadata(path)


def is_coordinate(name: str, array: Any) -> bool:
    """Whether an array is a coordinate of a dimension of its own name."""
    return array.metadata.dimension_names == (name,)


def _attribute(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _units(name: str) -> dict[str, str]:
    for start, units in (("gain_", "gain"), ("size", "neurons"), ("steps", "steps")):
        if name.startswith(start):
            return {"units": units}
    return {}
