"""Static states and the plane of two gains: where they appear, and where they lose stability.

`static` is neurons at rest, `averages` integrates over them, `lstm_factors` over an LSTM's by convolution,
`uniqueness` refuses those that may rest in several states, `roots` finds every static state of one ensemble, `plane`
and `diagram` those of a plane of gains, `boundaries` the curves in it, `lstm_plane` the LSTM's transition; `limits`
has closed forms, `upper_branch` the slope of the upper branch.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
