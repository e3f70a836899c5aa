"""What a function returned, as named arrays that a store can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gatefield.numerics.estimates import Estimate
from gatefield.results.description import from_dataset
from gatefield.results.labelled import Array, Labelled
from gatefield.results.result import Result

# attributes that are of the result, not of what produced it
_TOLD = ("regime", "period", "verdict", "converged", "message", "messages")


@dataclass(frozen=True)
class Record:
    """All quantities at one point, their dimensions beyond the sweep's own, and the coordinates of these."""

    arrays: dict[str, Array]
    coordinates: dict[str, np.ndarray] = field(default_factory=dict)


def as_record(result: Any) -> Record:
    """A function's result as arrays.

    Numbers, truth values, text and arrays become "value"; an `Estimate` becomes "value" and "value_error". A mapping
    gives each of its entries by name, those within it as "outer_inner". A list of mappings gives arrays over "item".
    An `xarray` object keeps its variables, dimensions, coordinates and units. A result of gatefield comes by its
    description.

    Raises:
        ValueError: anything else.
    """
    arrays: dict[str, Array] = {}
    coordinates: dict[str, np.ndarray] = {}
    _add(arrays, coordinates, "", result)
    if not arrays:
        raise ValueError(f"the function returned {result!r}, which holds nothing to record")
    return Record(arrays, coordinates)


def _add(arrays: dict[str, Array], coordinates: dict[str, np.ndarray], name: str, value: Any) -> None:
    if value is None:
        return
    if hasattr(value, "data_vars"):
        _add_labelled(arrays, coordinates, name, from_dataset(value).labelled())
    elif hasattr(value, "coords") and hasattr(value, "dims"):  # a DataArray
        _add(arrays, coordinates, name, value.to_dataset(name=value.name or "value"))
    elif isinstance(value, Result):
        _add_labelled(arrays, coordinates, name, value.described().labelled())
    elif isinstance(value, Mapping):
        for inner, entry in value.items():
            _add(arrays, coordinates, name if inner == "value" and name else _joined(name, str(inner)), entry)
    elif isinstance(value, Estimate):
        _add(arrays, coordinates, name or "value", value.value)
        _add(arrays, coordinates, _joined(name or "value", "error"), value.error)
    elif _is_list_of_records(value):
        _add_list(arrays, coordinates, name, value)
    else:
        _add_array(arrays, name or "value", value)


def _joined(outer: str, inner: str) -> str:
    return f"{outer}_{inner}" if outer else inner


def _is_list_of_records(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(v, (Mapping, Result, Estimate)) or hasattr(v, "data_vars") for v in value)
    )


def _add_labelled(arrays: dict[str, Array], coordinates: dict[str, np.ndarray], name: str, found: Labelled) -> None:
    variables = found.arrays | found.coordinates
    for key, array in variables.items():
        if array.dims == (key,):
            coordinates[key] = np.asarray(array.values)
        else:
            arrays[_joined(name, key)] = Array(array.dims, _storable(key, array.values), dict(array.attrs))
    for key in _TOLD:
        twice = key == "messages" and "message" in found.attrs
        if key in found.attrs and key not in variables and not twice:
            _add_array(arrays, _joined(name, "result_message" if key == "message" else key), found.attrs[key])


def _add_list(arrays: dict[str, Array], coordinates: dict[str, np.ndarray], name: str, value: Sequence[Any]) -> None:
    parts = [as_record(v) for v in value]
    for part in parts:
        coordinates.update(part.coordinates)
    dimension = _joined(name, "item")
    for key in dict.fromkeys(key for part in parts for key in part.arrays):
        found = [part.arrays.get(key) for part in parts]
        shape = np.max([a.values.shape for a in found if a is not None], axis=0).astype(int)
        first = next(a for a in found if a is not None)
        stacked = np.full((len(parts), *shape), empty(first.values.dtype), first.values.dtype)
        for i, array in enumerate(found):
            if array is not None:
                stacked[(i, *(slice(n) for n in array.values.shape))] = array.values
        arrays[_joined(name, key)] = Array((dimension, *first.dims), stacked, first.attrs)


def _add_array(arrays: dict[str, Array], name: str, value: Any) -> None:
    values = _storable(name, value)
    dims = tuple(f"{name}_{i}" for i in range(values.ndim))
    arrays[name] = Array(dims, values)


def _storable(name: str, value: Any) -> np.ndarray:
    """An array of float64, complex128 or text, which have something to say "none" with."""
    if isinstance(value, (list, tuple)):
        value = [np.nan if v is None else v for v in value]
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}") from None
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    if array.dtype.kind in "UT" or (array.dtype == object and all(isinstance(v, str) for v in array.ravel())):
        return array.astype(object)
    raise ValueError(
        f"{name} is a {type(value).__name__}, which cannot be recorded; return numbers, text, arrays, estimates, "
        "mappings of these, xarray objects or results of gatefield"
    )


def empty(dtype: Any) -> Any:
    """What stands where there is no value."""
    return {"f": np.nan, "c": complex(np.nan, np.nan)}.get(np.dtype(dtype).kind, "")
