"""What a result holds, said once: from a `Description` follow its arrays, its JSON, its table and its short form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.numerics.estimates import Estimate, plain
from gatefield.results.labelled import Array, Labelled
from gatefield.results.version import __version__

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Quantity:
    """One number, estimate or array of a result, or a mapping of these by label.

    Attributes:
        value: a mapping is labelled by its keys along the first of `dims`; None where there is none. Complex values get
            a last dimension "part".
        dims: names of its dimensions, without "part".
        units, source: "1" where it has no unit, "" where it is not known; where its definition stands.
        attrs: more to say of it.
        json: its name in JSON, dots for levels, such as "map.variance"; by default its own; "" keeps it out.
        arrays: whether it is among the arrays, too.
    """

    value: Any
    dims: tuple[str, ...] = ()
    units: str = "1"
    source: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    json: str | None = None
    arrays: bool = True

    @property
    def labels(self) -> list[str] | None:
        """Of a mapping."""
        return [str(key) for key in self.value] if isinstance(self.value, Mapping) else None

    def named_arrays(self, name: str) -> Iterator[tuple[str, Array]]:
        """Its values, and its errors where it has some, by name."""
        told = {"units": self.units, "source": self.source}
        attrs = {**{key: text for key, text in told.items() if text}, **self.attrs}
        for suffix, values in _values_and_errors(self.value):
            array: Any = _array(values)
            parts = np.iscomplexobj(array)
            array = np.stack([array.real, array.imag], axis=-1) if parts else array
            dims = (*self.dims, "part") if parts else self.dims
            yield name + suffix, Array(dims, array, attrs)


@dataclass(frozen=True)
class Description:
    """All of a result.

    Attributes:
        quantities: by name.
        coordinates: of dimensions, by name; one over a dimension of another name gives it in `dims`. Mappings bring
            the coordinate of their labels. They are in JSON only where they name a place there.
        facts: what produced the result and what it says in words: plain values, ensembles, lists and mappings of these.
            They become attributes of a Dataset, those that are no text or number as JSON.
        parts: results within it. One alone joins the arrays with its name before each of theirs; of several, or where
            `nested` names it, only JSON has them.
    """

    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    coordinates: Mapping[str, Quantity] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    nested: Sequence[str] = ()

    def labelled(self) -> Labelled:
        """Arrays, coordinates and attributes."""
        shown = {name: q for name, q in self.quantities.items() if q.arrays and q.value is not None}
        arrays = {key: a for name, q in shown.items() for key, a in q.named_arrays(name)}
        found = Labelled(arrays, self._coordinates(shown), self._attributes())
        for name, part in self.parts.items():
            if hasattr(part, "described") and name not in self.nested:
                inner = part.described().labelled().prefixed(name)
                found.arrays.update(inner.arrays)
                found.coordinates.update(inner.coordinates)
        return found

    def _coordinates(self, shown: Mapping[str, Quantity]) -> dict[str, Array]:
        found = {q.dims[0]: Array(q.dims[:1], np.array(q.labels)) for q in shown.values() if q.labels is not None}
        for name, q in self.coordinates.items():
            attrs = {} if q.units in ("", "1") else {"units": q.units}
            found[name] = Array(q.dims or (name,), np.asarray(q.value), {**attrs, **q.attrs})
        if any(np.iscomplexobj(values) for q in shown.values() for _, values in _values_and_errors(q.value)):
            found["part"] = Array(("part",), np.array(["real", "imaginary"]))
        return found

    def _attributes(self) -> dict[str, Any]:
        told = {name: _attribute(value) for name, value in self.facts.items() if value is not None}
        return told | {"gatefield_version": __version__}

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and text, an estimate as {"value", "error"}; what is not finite becomes None."""
        out: dict[str, Any] = {name: plain_json(value) for name, value in self.facts.items()}
        out |= {name: plain_json(part) for name, part in self.parts.items()}
        places = [(q.json if q.json is not None else name, q) for name, q in self.quantities.items()]
        places += [(q.json or "", q) for q in self.coordinates.values()]
        for place, quantity in places:
            if place:
                _put(out, place.split("."), plain_json(quantity.value))
        return out


def from_dataset(data: xr.Dataset) -> Description:
    """What a Dataset says, its attributes as facts."""

    def quantity(variable: xr.DataArray) -> Quantity:
        attrs, dims = dict(variable.attrs), tuple(map(str, variable.dims))
        return Quantity(variable.values, dims, attrs.get("units", ""), attrs.get("source", ""), attrs)

    quantities, coordinates = (
        {str(name): quantity(variable) for name, variable in group.items()} for group in (data.data_vars, data.coords)
    )
    return Description(quantities, coordinates, {str(name): value for name, value in data.attrs.items()})


def plain_json(value: Any) -> Any:
    """Any value of a result as JSON takes it."""
    match value:
        case Estimate():
            return value.as_json()
        case Ensemble():
            return value.describe()
        case Mapping():
            return {str(name): plain_json(v) for name, v in value.items()}
        case None | str() | bool():
            return value
        case list() | tuple():
            return [plain_json(v) for v in value]
    if hasattr(value, "described"):
        return value.described().as_json()
    return plain(value)


def _put(out: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for level in path[:-1]:
        out = out.setdefault(level, {})
    out[path[-1]] = value


def _values_and_errors(value: Any) -> list[tuple[str, Any]]:
    """Values, and errors where they are estimates, each with the end of its name."""
    some = next(iter(value.values()), None) if isinstance(value, Mapping) else value
    if not isinstance(some, Estimate):
        return [("", list(value.values()) if isinstance(value, Mapping) else value)]
    estimates = list(value.values()) if isinstance(value, Mapping) else value
    return [
        (suffix, [getattr(e, what) for e in estimates] if isinstance(estimates, list) else getattr(estimates, what))
        for suffix, what in (("", "value"), ("_error", "error"))
    ]


def _array(values: Any) -> np.ndarray:
    if isinstance(values, (list, tuple)):
        return np.array([np.nan if v is None else v for v in values])
    return np.asarray(values)


def _attribute(value: Any) -> Any:
    """A fact as an attribute that files can hold."""
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        return "; ".join(value)
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "if":
        return value
    plain = plain_json(value)
    if isinstance(plain, bool):
        return int(plain)
    if isinstance(value, float) or (isinstance(plain, (int, float, str)) and not isinstance(value, np.ndarray)):
        return value if isinstance(value, (int, float, str)) else plain
    return json.dumps(plain)
