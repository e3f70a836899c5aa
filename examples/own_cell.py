"""A cell of one's own: a rate neuron with adaptation and a gated time constant."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

import gatefield as gf
from gatefield.plots.spectra import plot_report


@dataclass(frozen=True)
class AdaptingNeuron(gf.Cell):
    """x' = x + δ σ(gate) (input − x − a), a' = a + δ ρ (s x − a), seen as tanh(x)."""

    step: float = 0.2  # δ
    rate: float = 0.25  # ρ, of adaptation against the neuron's own
    strength: float = 2.0  # s
    state_names = ("a", "x")
    preactivation_names = ("gate", "input")

    def sources(self, state, x):
        seen = jnp.tanh(state["x"])
        return {"gate": seen, "input": seen}  # the same object: one source

    def update(self, state, x):
        a, rate = state["a"], self.step * jax.nn.sigmoid(x["gate"])
        return {
            "a": a + self.step * self.rate * (self.strength * state["x"] - a),
            "x": state["x"] + rate * (x["input"] - state["x"] - a),
        }


if __name__ == "__main__":
    ensemble = gf.Ensemble(AdaptingNeuron(), gain={"gate": 2.0, "input": 4.0})
    report = gf.report(ensemble, steps=400, samples=8000, size=1000, networks=3)
    print(f"{report.field.regime}, {len(report.curve.contours)} contours")
    pairs = {
        "variance of a": report.state_variances["a"],
        "variance of x": report.state_variances["x"],
        "autocorrelation time": report.autocorrelation_time,
        "spectral radius": report.spectral_radius,
    }
    for name, pair in pairs.items():
        print(f"{name:20s}  theory {pair.theory}, simulation {pair.simulation}")
    plot_report(report).savefig("own-cell.png", dpi=100)
