"""Where a formula changes branch: kinks and jumps of activations and cells, which quadrature must not step over.

A trace shows every comparison that a formula makes: max, min, clip, abs, sign, <. What decides each of them, such as
y − 1 for a clip at 1, changes sign exactly where the formula may have a kink, of whatever order. A smooth function that
compares, as softplus does, gets a point at which nothing happens; that costs a panel and no accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_GRID = 4001
_FINEST = 1e-3  # of the grid, about zero
_ROUNDING = 1e-15  # of two numbers that are compared, relative to them
_BISECTIONS = 80
_LINE = 1e4  # how far the kinks of an activation are sought
_MOST = 64
_TWO_SIDED = frozenset({"max", "min", "gt", "lt", "ge", "le"})
_ONE_SIDED = frozenset({"abs", "sign"})

Signs = Callable[[np.ndarray], np.ndarray]


def deciding_signs(function: Callable[..., Any], *arguments: jax.Array) -> jax.Array:
    """Signs of what decides the branches that a function of scalars and vectors takes: (comparisons,)."""
    found: list[jax.Array] = []
    closed = jax.make_jaxpr(function)(*arguments)
    _run(closed.jaxpr, closed.consts, jax.tree.leaves(arguments), found)
    return jnp.concatenate([jnp.ravel(v) for v in found]) if found else jnp.zeros(0)


def _run(jaxpr: Any, constants: Any, arguments: Any, found: list[jax.Array]) -> list[Any]:
    """Evaluate a trace and note what it compares, calls within it included."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))
    for equation in jaxpr.eqns:
        values = [v.val if hasattr(v, "val") else known[v] for v in equation.invars]
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if hasattr(inner, "consts"):
            out = _run(inner.jaxpr, inner.consts, values, found)
        else:
            found += [_sign(a, b) for a, b in _compared(equation.primitive.name, values)]
            out = equation.primitive.bind(*values, **equation.params)
        out = out if equation.primitive.multiple_results or hasattr(inner, "consts") else [out]
        known |= dict(zip(equation.outvars, out, strict=True))
    return [v.val if hasattr(v, "val") else known[v] for v in jaxpr.outvars]


def _compared(name: str, values: list[Any]) -> list[tuple[Any, Any]]:
    if name in _TWO_SIDED:
        return [(values[0], values[1])]
    if name in _ONE_SIDED:
        return [(values[0], 0.0)]
    if name == "clamp":
        return [(values[1], values[0]), (values[1], values[2])]
    return []


def _sign(a: Any, b: Any) -> jax.Array:
    """−1, 0 or 1; numbers that differ by rounding are equal, or a plateau would seem to have many kinks."""
    a, b = jnp.asarray(a, float), jnp.asarray(b, float)
    return jnp.where(jnp.abs(a - b) <= _ROUNDING * (jnp.abs(a) + jnp.abs(b)), 0.0, jnp.sign(a - b))


def changes(signs: Signs, reach: float) -> tuple[float, ...]:
    """Where any of the signs changes within ±reach: x (n,) → (n, comparisons), by bisection.

    Raises:
        ValueError: it changes at too many places.
    """
    top = np.arcsinh(reach / _FINEST)
    grid = _FINEST * np.sinh(np.linspace(-top, top, _GRID))
    left, which = np.nonzero(np.diff(signs(grid), axis=0))
    if len(left) == 0:
        return ()
    low, high = grid[left], grid[left + 1]
    rows = np.arange(len(left))
    before = signs(low)[rows, which]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        same = signs(middle)[rows, which] == before
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    found = _distinct(np.sort(0.5 * (low + high)))
    if len(found) > _MOST:
        raise ValueError(f"a function with kinks at {len(found)} places is beyond quadrature; {_MOST} are the most")
    return found


def _distinct(places: np.ndarray) -> tuple[float, ...]:
    kept: list[float] = []
    for place in places.tolist():
        if not kept or place - kept[-1] > 1e-13 * (1.0 + abs(place)):
            kept.append(place)
    return tuple(kept)


@lru_cache(maxsize=64)
def activation_kinks(activation: Callable[[Any], Any]) -> tuple[float, ...]:
    """Where a function of a scalar has kinks or jumps: ±1 of a hard-tanh, 0 of a relu, none of tanh."""
    decide = jax.jit(jax.vmap(lambda x: deciding_signs(activation, x)))

    def signs(x: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(decide(jnp.asarray(x)))

    return changes(signs, _LINE)
