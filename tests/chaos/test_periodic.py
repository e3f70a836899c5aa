"""States that neurons repeat, and averages that take turns, are named; exponents of them are those of networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import gatefield as gf


@dataclass(frozen=True)
class Flipping(gf.Cell):
    """s' = −tanh(2s + y): a neuron of small y flips its sign at every step."""

    state_names = ("s",)
    preactivation_names = ("input",)

    def sources(self, state: Any, x: Any) -> Any:
        return {"input": state["s"]}

    def update(self, state: Any, x: Any) -> Any:
        return {"s": -jnp.tanh(2.0 * state["s"] + x["input"])}


@dataclass(frozen=True)
class Overshooting(gf.Cell):
    """s' = y exp(−x_1² − … − x_8²): E s² goes over into g²q (1 + 4b²q)^{-4}, of slope −3 + 4/√g at its fixed point."""

    state_names = ("s",)
    preactivation_names = ("input", *(f"x{k}" for k in range(8)))

    def sources(self, state: Any, x: Any) -> Any:
        return dict.fromkeys(self.preactivation_names, state["s"])

    def update(self, state: Any, x: Any) -> Any:
        return {"s": x["input"] * jnp.exp(-sum(x[f"x{k}"] ** 2 for k in range(8)))}


def overshooting(gain: float) -> gf.Ensemble:
    return gf.Ensemble(Overshooting(), gain={"input": gain} | {f"x{k}": 0.3 for k in range(8)})


def test_flipping_neurons_are_periodic_in_theory_and_in_networks() -> None:
    ensemble = gf.Ensemble(Flipping(), gain={"input": 0.1})
    found = gf.lyapunov_max(ensemble, steps=200, samples=4000)
    seen = gf.simulate(ensemble, size=200, networks=2, steps=200)
    for result in (found.field, seen):
        assert (result.regime, result.period, result.converged) == ("periodic", 2, True)
        assert result.autocorrelation_time("s").value == np.inf
        assert result.to_dataset().attrs["period"] == 2
    assert (found.verdict, found.route, found.converged) == ("stable", "tangent mean field", True)
    networks = [gf.Network(ensemble, size=1000, seed=j).lyapunov_spectrum(200, count=1, seed=j) for j in range(3)]
    values = np.array([n.largest.value for n in networks])
    error = np.hypot(found.error, values.std(ddof=1) / np.sqrt(3))
    assert abs(found.value - values.mean()) < 4.0 * error


@pytest.mark.parametrize("gain", [0.3, 0.6])
def test_a_long_transient_is_not_called_chaotic(gain: float) -> None:
    """The few neurons that have not settled made λ_max look positive, and converged."""
    found = gf.lyapunov_max(gf.Ensemble(Flipping(), gain={"input": gain}), steps=200)
    assert (found.field.regime, found.field.period) == ("periodic", 2)
    assert found.verdict != "chaotic"
    assert not found.converged
    assert "still settling towards period 2" in found.message


@pytest.mark.parametrize("gain", [3.0, 6.0])
def test_averages_that_take_turns_are_told(gain: float) -> None:
    ensemble = overshooting(gain)
    field = gf.mean_field(ensemble, steps=200)
    turns = -3.0 + 4.0 / np.sqrt(gain) < -1.0
    assert field.regime == "chaotic"
    assert (field.period, field.converged) == ((2, False) if turns else (1, True))
    assert ("takes 2 values in turn" in field.message) == turns
    q = 1.0
    for _ in range(400):
        q = gain**2 * q * (1.0 + 4.0 * 0.3**2 * q) ** -4
    both = sorted((q, gain**2 * q * (1.0 + 4.0 * 0.3**2 * q) ** -4))
    energy = field.history["s"].value[100:]
    assert sorted((energy[::2].mean(), energy[1::2].mean())) == pytest.approx(both, rel=0.1)


def test_networks_whose_averages_take_turns() -> None:
    seen = gf.simulate(overshooting(6.0), size=400, networks=3, steps=200)
    assert (seen.regime, seen.period, seen.converged) == ("chaotic", 2, False)
