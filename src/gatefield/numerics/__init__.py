"""Numerical tools that know nothing of networks.

`estimates` are numbers with errors, `quadrature` Gaussian averages, `algebra` small matrices written out, `draws`
random numbers, `sizes` the few sizes that shapes are padded to, `correlation` averages over lags, `crossings` where a
quantity crosses zero, `elimination` rows of a frame kept apart on all cores.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
