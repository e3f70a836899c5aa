"""Results as matplotlib figures; nothing is computed here.

A file a subject: `spectra`, `phases`, `chaos`, `edge`, `layers`, `training`.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
