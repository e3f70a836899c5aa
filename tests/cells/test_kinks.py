"""Kinks of activations, found from what their formulas compare."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import gatefield as gf
from gatefield.cells.cell import relu
from gatefield.cells.kinks import activation_kinks


@pytest.mark.parametrize(
    ("activation", "places"),
    [
        (gf.cells.tanh, ()),
        (jax.nn.silu, ()),
        (gf.cells.hard_tanh, (-1.0, 1.0)),
        (relu, (0.0,)),
        (jax.nn.elu, (0.0,)),
        (jnp.abs, (0.0,)),
        (jax.nn.soft_sign, (0.0,)),
        (jax.nn.relu6, (0.0, 6.0)),
        (lambda x: jnp.where(x > 0.3, x, x**2), (0.3,)),
        (lambda x: x * (x > 0), (0.0,)),
    ],
)
def test_activations(activation: Any, places: tuple[float, ...]) -> None:
    assert activation_kinks(activation) == pytest.approx(places, abs=1e-13)


def test_too_many() -> None:
    with pytest.raises(ValueError, match="kinks at .* places is beyond quadrature"):
        activation_kinks(lambda x: jnp.abs(jnp.sin(x)))
