"""Random draws, each by one compiled function rather than one for each of its steps and shapes."""

from __future__ import annotations

from functools import partial
from math import prod

import jax
import numpy as np

from gatefield.numerics.sizes import usual_size

_EXACT = 2**22  # numbers from which on no more are drawn than asked for


@partial(jax.jit, static_argnums=1)
def split_key(key: jax.Array, count: int) -> tuple[jax.Array, ...]:
    """As many keys from one, as by `jax.random.split`."""
    return tuple(jax.random.split(key, count))


def normal(
    key: jax.Array, shape: tuple[int, ...], *, scale: float = 1.0, dtype: str = "float64", fold: int | None = None
) -> np.ndarray:
    """Normal numbers of a standard deviation, from the key with a number folded in, where one is given.

    They are those of `jax.random.normal(key, shape)`: a number depends on its place alone, so that shapes of about the
    same size share one compiled function.
    """
    count = prod(shape)
    key = key if fold is None else jax.random.fold_in(key, fold)
    return np.asarray(_normals(key, count if count >= _EXACT else usual_size(count), dtype, scale))[:count].reshape(
        shape
    )


@partial(jax.jit, static_argnums=(1, 2))
def _normals(key: jax.Array, count: int, dtype: str, scale: float) -> jax.Array:
    return (scale * jax.random.normal(key, (count,))).astype(dtype)
