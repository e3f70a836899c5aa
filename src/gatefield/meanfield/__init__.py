"""Infinite networks in time: one neuron with Gaussian pre-activations whose statistics are its own.

`causal` builds the sampled neurons step by step, and `sampled` averages over them: the mean field of any cell.
`deterministic` needs no samples where gates are constant, `stationary` and `continuous` none for the leaky cell and its
flow. `closures` has the paper's approximations, with their distance from the solution.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
