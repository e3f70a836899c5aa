"""Finite networks: runs, Jacobians, eigenvalues and Lyapunov exponents, measured as the theory states them.

`network` draws weights and runs them; `simulation` measures several networks. `tangent` carries perturbations, `frames`
keeps many of them apart, `exponents` says what their growth comes to; `along` does it for a trajectory that is there
already, or for any map. Nothing here knows the theory, and the theory knows nothing of this: they meet in `reports`.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
