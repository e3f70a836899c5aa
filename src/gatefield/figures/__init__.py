"""The papers' figures: the numbers of every panel, from theory and simulation, and how they are drawn.

`figures` has them by name; `gru`, `lstm`, `edge` and `training` make the numbers, `panels` what several share,
`drawings` the pictures.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
