"""Layers with given weights: read, diagnosed, initialised.

`conventions` says where frameworks keep weights, `layer` is a layer as gatefield sees it, `checkpoints` reads files.
`growth` measures exponents along a layer's own inputs, `slow_points` its fixed and slow points, `verdicts` says what
`diagnosis` finds in words. `targets` are what `initialisation` aims at, by theory first and then by measurement.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
