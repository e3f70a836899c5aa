"""Static states and the plane of two gains: where they appear, and where they lose stability.

`static` averages over neurons that rest, `roots` finds every static state of one ensemble, `plane` and `diagram` those
of a plane of gains, `boundaries` the curves in it, `lstm_plane` the LSTM's transition; `limits` has closed forms,
`upper_branch` the slope of the upper branch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
