"""The points of a sweep: a product of axes or a list, each point with its coordinates and its seed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import product
from typing import Any

Value = bool | int | float | str
Point = dict[str, Value]

MOST = 2_000_000  # points of a sweep, which are listed in memory and in its store
LIST = "point"  # the one dimension of a list of points
COUNTED = "replicate"  # an axis that only tells repetitions apart: it enters the seed, no function is given it


@dataclass(frozen=True, eq=False)
class Grid:
    """Points in a fixed order, and how they are laid out.

    Attributes:
        dims: names of the dimensions: of the axes, or `LIST` alone.
        shape: points along each.
        coordinates: by parameter, the dimension it runs along and its values.
        points: parameters of each point, the last dimension fastest.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coordinates: Mapping[str, tuple[str, tuple[Value, ...]]]
    points: tuple[Point, ...]

    def __len__(self) -> int:
        return len(self.points)

    def index(self, number: int) -> tuple[int, ...]:
        """Position of a point along each dimension."""
        found = []
        for length in reversed(self.shape):
            number, rest = divmod(number, length)
            found.append(rest)
        return tuple(reversed(found))

    def describe(self) -> dict[str, Any]:
        """As plain values, for a store's record of what it is of."""
        return {"dims": list(self.dims), "values": {name: list(v) for name, (_, v) in self.coordinates.items()}}


def as_grid(given: Any) -> Grid:
    """A grid from a mapping of axes (their product) or from a sequence of points.

    Raises:
        ValueError: no points, values that are not numbers or text, values of several kinds along an axis, points that
            are there twice or have different parameters.
    """
    if isinstance(given, Grid):
        return given
    if isinstance(given, Mapping):
        axes = {_name(name): _axis(name, values) for name, values in given.items()}
        if not axes:
            raise ValueError("grid has no axis; give a mapping such as {'gain_candidate': [1.5, 2.0, 2.5]}")
        refuse_many("grid", math.prod(len(values) for values in axes.values()))
        points = tuple(dict(zip(axes, values, strict=True)) for values in product(*axes.values()))
        coordinates = {name: (name, values) for name, values in axes.items()}
        return Grid(tuple(axes), tuple(len(v) for v in axes.values()), coordinates, points)
    if isinstance(given, Iterable) and not isinstance(given, str):
        return _listed(list(given))
    raise ValueError(f"grid={given!r} must be a mapping from names to values, or a list of points")


def grid_from(description: Mapping[str, Any]) -> Grid:
    """The grid that `Grid.describe` described."""
    values = description["values"]
    if description["dims"] == [LIST]:
        return as_grid([dict(zip(values, point, strict=True)) for point in zip(*values.values(), strict=True)])
    return as_grid({name: values[name] for name in description["dims"]})


def _listed(given: list[Any]) -> Grid:
    if not given or not all(isinstance(point, Mapping) and point for point in given):
        raise ValueError("grid as a list must hold at least one point, each a mapping such as {'gain_candidate': 2.0}")
    names = [_name(name) for name in given[0]]
    if LIST in names:
        raise ValueError(f"grid: a list of points has {LIST!r} for its dimension; call the parameter something else")
    for i, point in enumerate(given):
        if set(point) != set(names):
            raise ValueError(f"grid: point {i} has {', '.join(point)}, the first one {', '.join(names)}")
    columns = {name: _plain_values(name, [point[name] for point in given]) for name in names}
    points = tuple(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    _refuse_twice("grid", [tuple(point.values()) for point in points])
    coordinates = {name: (LIST, values) for name, values in columns.items()}
    return Grid((LIST,), (len(points),), coordinates, points)


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"grid: {name!r} cannot name a parameter; use letters, digits and _, such as gain_candidate")
    return name


def _axis(name: str, values: Any) -> tuple[Value, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ValueError(f"grid: {name}={values!r} must be a sequence of values; write [{values!r}] for a single one")
    try:
        refuse_many(f"grid: {name}", len(values) if isinstance(values, Sized) else 0)
    except OverflowError:
        raise ValueError(f"grid: {name}={values!r} has too many points; {MOST} are the most") from None
    plain = _plain_values(name, list(values))
    if not plain:
        raise ValueError(f"grid: {name} has no values")
    _refuse_twice(f"grid: {name}", plain)
    return plain


def refuse_many(what: str, points: int) -> None:
    """Refuse more points than a sweep can list.

    Raises:
        ValueError: with how many there are.
    """
    if points > MOST:
        raise ValueError(f"{what} has {points} points, {MOST} are the most; divide it among several sweeps")


def _refuse_twice(what: str, values: Sequence[Any]) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} holds {value!r} twice; use an axis {COUNTED!r} to repeat points with other seeds")
        seen.add(value)


def _plain_values(name: str, values: list[Any]) -> tuple[Value, ...]:
    plain = [_plain(name, value) for value in values]
    kinds = {type(value) for value in plain}
    if kinds == {int, float}:
        return tuple(float(value) for value in plain)
    if len(kinds) > 1:
        raise ValueError(f"grid: {name} mixes {' and '.join(sorted(kind.__name__ for kind in kinds))}; use one kind")
    return tuple(plain)


def _plain(name: str, value: Any) -> Value:
    """A value as Python's own bool, int, float or str."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"grid: {name} holds {value!r}; values must be finite numbers, text or truth values")


def point_seed(seed: int, point: Mapping[str, Value]) -> int:
    """The seed of a point, from the sweep's and the point's coordinates alone: below 2³¹.

    It does not depend on the other points, on their order, or on whether a whole number was written 2 or 2.0. Where a
    coordinate is called "seed", that is the point's seed as it stands.
    """
    own = point.get("seed")
    if isinstance(own, int):
        return own
    named = sorted((name, _canonical(value)) for name, value in point.items())
    digest = hashlib.sha256(json.dumps([seed, named]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _canonical(value: Value) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value.hex() if isinstance(value, float) else repr(value)
