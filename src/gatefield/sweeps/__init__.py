"""A function at every point of a grid, into a Zarr store, resumed after any crash.

`grids` lists points, `plans` reads TOML, `quantities` is what a sweep knows by name, `points` evaluates them in
whatever process, `records` makes arrays of what comes back, `arrays` is how they lie in a store, `store`
keeps them, `mending` brings a damaged one into order by its points' `checksums`, `run` hands points out, to
`local_workers` or Dask.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
