"""Results as matplotlib figures; nothing is computed here.

A file a subject: `spectra`, `phases`, `chaos`, `edge`, `layers`, `training`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
