"""Theory beside networks: the two routes to each number meet here, and only here or above.

`ensembles` is the whole picture of one ensemble, `lyapunov` its exponents, `diagrams` a plane of gains with its curves,
`scaling` how spectra depend on gate gains, `growth` powers of Jacobians beside growth along a run.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
