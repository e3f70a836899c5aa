"""Growth of perturbations at N = ∞: the largest exponent, the whole spectrum, two replicas, where chaos begins.

`largest` carries a perturbation along the mean field, `pairs` two copies of it; `critical` finds gains at which growth
vanishes, `onset` where chaos begins in a plane of gains. `distribution` is the density of all exponents: `histories`
are neurons over a window of steps, `ring_algebra` what they add to the equations, `ring` their solution, `curves` what
it says.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
