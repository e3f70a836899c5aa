"""A function at every point of a grid, into a Zarr store, resumed after any crash.

`grids` lists points, `plans` reads TOML, `quantities` is what a sweep knows by name, `points` evaluates them in
whatever process, `records` makes arrays of what comes back, `store` keeps them, `run` hands them out, to
`local_workers` or Dask.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
