"""Random draws, each by one compiled function rather than one for each of its steps."""

from __future__ import annotations

from functools import partial

import jax


@partial(jax.jit, static_argnums=1)
def split_key(key: jax.Array, count: int) -> tuple[jax.Array, ...]:
    """As many keys from one, as by `jax.random.split`."""
    return tuple(jax.random.split(key, count))


@partial(jax.jit, static_argnums=(2, 3))
def scaled_normal(key: jax.Array, fold: int | None, shape: tuple[int, ...], dtype: str, scale: float) -> jax.Array:
    """Normal numbers of a standard deviation, from the key with a number folded in, where one is given."""
    key = key if fold is None else jax.random.fold_in(key, fold)
    return (scale * jax.random.normal(key, shape)).astype(dtype)
