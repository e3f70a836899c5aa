"""What a diagnosis says where perturbations die in some sequences, or where the steps are few."""

from __future__ import annotations

import numpy as np
import pytest

import gatefield as gf
from gatefield.cells.cell import relu
from gatefield.layers.growth import LayerExponent, layer_exponent
from gatefield.layers.verdicts import verdict_of


def test_one_dead_perturbation_leaves_the_others() -> None:
    """Identity weights keep a change of a unit that is never off: the product of Jacobians is 1 there, else 0."""
    rng = np.random.default_rng(0)
    cell = gf.Vanilla(activation=relu)
    layer = gf.Layer(cell, {"input": np.eye(20)}, {"input": rng.normal(size=(20, 3)) / np.sqrt(3)})
    inputs = rng.normal(size=(8, 100, 3))
    product = [np.prod(layer.run(u).preactivations[:, :, 0] > 0.0, axis=0) for u in inputs]
    lives = np.array([kept.any() for kept in product])
    found = layer_exponent(layer, inputs)
    assert 0 < lives.sum() < 8
    assert np.array_equal(np.isfinite(found.sequences), lives)
    assert found.value == pytest.approx(0.0, abs=2e-3)
    assert f"{8 - lives.sum()} of 8 sequences" in found.message


def verdict(value: float, error: float, length: int) -> gf.layers.Verdict:
    layer = gf.Layer(gf.Vanilla(), {"input": np.eye(4)})
    exponent = LayerExponent(value, error, "inputs", np.array([value]), length, 0)
    return verdict_of(
        layer, exponent, length=length, edge=None, radius=1.0, theory=None, outliers=np.zeros(0, complex), gates=(),
        statistics={},
    )  # fmt: skip


def test_few_steps_do_not_tell_the_edge() -> None:
    few = verdict(-0.128, 0.024, 10)
    assert few.kind == "undecided"
    assert "10 steps tell λ_max to about 1/10 = 0.1 per step" in few.text
    assert verdict(-0.128, 0.024, 1000).kind == "vanishing"
    assert verdict(-0.5, 0.024, 10).kind == "vanishing"
    near = verdict(0.01, 0.01, 10)
    assert near.kind == "edge"
    assert "give more to tell it finer" in near.text
