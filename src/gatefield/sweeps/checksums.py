"""A checksum of all that was recorded at a point, by which damage to a store is found, whatever file it is in."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

UNKNOWN = 0  # of a point without one: pending, failed, or recorded before there were checksums

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST = np.uint64(31)


def part(name: str, values: np.ndarray, corner: Sequence[int] = (), *, rank: int = 0) -> np.ndarray:
    """What a block of a quantity adds to the checksums of its points, modulo 2⁶⁴.

    It is a sum over elements of a mixture of name, position and bits, so blocks can be taken one by one. Elements that
    hold nothing (NaN, "") add nothing, so filling an array up changes nothing.

    Args:
        name: of the quantity.
        values: the block; its first `rank` dimensions are the grid's.
        corner: where in the quantity it begins along the other dimensions; by default at 0.
        rank: dimensions of the grid.

    Returns:
        An array over the grid's dimensions, or a number where there are none.
    """
    words, there = _words(values)
    inner = words.shape[rank:]
    corner = (*corner, *[0] * (len(inner) - len(corner)))
    place = np.full(inner, zlib.crc32(name.encode()), np.uint64)
    for axis, (start, length) in enumerate(zip(corner, inner, strict=True)):
        along = np.arange(start, start + length, dtype=np.uint64)
        place = _mixed(place ^ along.reshape(-1, *[1] * (len(inner) - 1 - axis)))
    parts = np.where(there, _mixed(words ^ _mixed(place)), np.uint64(0))
    return parts.sum(axis=tuple(range(rank, parts.ndim)), dtype=np.uint64)


def finished(total: np.ndarray) -> np.ndarray:
    """Checksums from the sums of their parts: never `UNKNOWN`."""
    signed = total.astype(np.uint64).view(np.int64)
    return np.where(signed == UNKNOWN, 1, signed)


def filled(values: np.ndarray) -> np.ndarray:
    """Where an array holds something."""
    return ~np.isnan(values) if values.dtype.kind in "fc" else values.astype(object) != ""


def _words(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """64 bits for each element, and whether it holds something; complex numbers are two along a last dimension."""
    there = filled(values)
    if values.dtype.kind == "c":
        both = np.stack([np.real(values), np.imag(values)], axis=-1)
        return both.astype(np.float64).view(np.uint64), np.broadcast_to(there[..., None], both.shape)
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values, np.float64).view(np.uint64).reshape(values.shape), there
    texts = [zlib.crc32(str(v).encode()) for v in values.ravel()]
    return np.array(texts, np.uint64).reshape(values.shape), there


def _mixed(words: np.ndarray) -> np.ndarray:
    """Every bit made to depend on every other (splitmix64)."""
    with np.errstate(over="ignore"):  # it is modulo 2⁶⁴ that is meant
        words = words + _STEP
        for shift, factor in _MIXERS:
            words = (words ^ (words >> shift)) * factor
    return words ^ (words >> _LAST)
