"""Labelled arrays: values with dimensions, units and source, the coordinates of their dimensions, and attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Array:
    """Values over named dimensions, with attributes such as units and source."""

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Labelled:
    """Arrays by name; coordinates, by name too; attributes that say what produced them."""

    arrays: dict[str, Array]
    coordinates: dict[str, Array] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)

    def to_dataset(self) -> xr.Dataset:
        """The same as an `xarray.Dataset`."""
        import xarray as xr

        arrays, coordinates = (
            {name: (a.dims, a.values, dict(a.attrs)) for name, a in group.items()}
            for group in (self.arrays, self.coordinates)
        )
        return xr.Dataset(arrays, coordinates, self.attrs)

    def prefixed(self, prefix: str) -> Labelled:
        """The same arrays as part of a larger whole: every name and dimension with a prefix, without attributes."""

        def renamed(group: Mapping[str, Array]) -> dict[str, Array]:
            return {
                f"{prefix}_{name}": Array(tuple(f"{prefix}_{d}" for d in a.dims), a.values, a.attrs)
                for name, a in group.items()
            }

        return Labelled(renamed(self.arrays), renamed(self.coordinates))
