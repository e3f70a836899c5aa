"""Sizes that many shapes are padded to, so that they share compiled code."""

from __future__ import annotations

import numpy as np

_FEWEST = 64


def usual_size(count: int) -> int:
    """The next power of two, or three quarters of it where that is enough; at least 64."""
    power = 2 ** int(np.ceil(np.log2(max(count, _FEWEST))))
    return 3 * power // 4 if count <= 3 * power // 4 and power > _FEWEST else power
