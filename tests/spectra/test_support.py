"""Where the support ends: islands, strips, atoms, small supports far from 0, and for what size a radius holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

import gatefield as gf
from gatefield.spectra.support import SpectralRadius


@dataclass(frozen=True)
class Traced(gf.Cell):
    """A vanilla neuron with a trace of its past that nothing reads."""

    keep: float
    state_names = ("trace", "h")
    preactivation_names = ("input",)

    def sources(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": state["h"]}

    def update(self, state: Mapping[str, Any], x: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"trace": self.keep * state["trace"] + 0.1 * state["h"], "h": jnp.tanh(x["input"])}


def at_zero(cell: gf.Cell, gain: dict[str, float], **bias: float) -> tuple[gf.Ensemble, gf.Snapshot]:
    ensemble = gf.Ensemble(cell, gain=gain, bias_mean=bias)
    return ensemble, gf.Snapshot.at_zero(ensemble)


# ---- small supports far from 0 ----

FORGET = float(expit(5.0))
SMALL = [
    # closed forms of the zero state [CKS 17, 32]: centre and radius of the disc
    (gf.LSTM(), {"cell": 0.04}, {"forget": 5.0}, FORGET + 0.25 * 0.04),
    (gf.LSTM(), {"cell": 1e-6}, {"forget": 2.0}, float(expit(2.0)) + 0.25e-6),
    (gf.MGU(), {"candidate": 1.0}, {"forget": -2.162}, float(1 - expit(-2.162) + expit(-2.162) ** 2)),
    (gf.GRU(), {"candidate": 1e-4}, {"update": 1.0}, float(expit(1.0) + (1 - expit(1.0)) * 0.5e-4)),
    (gf.GRU(), {"candidate": 1e-12}, {"update": 1.0}, float(expit(1.0))),
]


@pytest.mark.parametrize(("cell", "gain", "bias", "radius"), SMALL)
def test_small_supports(cell: gf.Cell, gain: dict[str, float], bias: dict[str, float], radius: float) -> None:
    ensemble, snapshot = at_zero(cell, gain, **bias)
    assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(radius, abs=2e-9)
    assert gf.spectra.spectral_edge(ensemble, snapshot).value == pytest.approx(radius, abs=2e-9)
    rest = gf.fixed_points(ensemble)[0]
    assert rest.spectral_radius.value == pytest.approx(radius, abs=2e-9)
    assert rest.stable == (radius < 1.0)


def test_rate_at_rest() -> None:
    ensemble, _ = at_zero(gf.LSTM(), {"cell": 1e-6}, forget=2.0)
    found = gf.lyapunov_max(ensemble, steps=100, samples=400)
    assert found.value == pytest.approx(np.log(expit(2.0)), abs=1e-6)


# ---- atoms ----


def test_atoms_count() -> None:
    """J is triangular: the trace's own eigenvalue is one of J, whatever the weights."""
    ensemble = gf.Ensemble(Traced(0.97), gain={"input": 0.5})
    snapshot = gf.Snapshot.at_zero(ensemble)
    assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(0.97, abs=1e-12)
    assert gf.spectra.spectral_edge(ensemble, snapshot).value == pytest.approx(0.97, abs=1e-12)
    curve = gf.spectral_curve(ensemble, snapshot)
    assert curve.atoms == pytest.approx([0.97])
    assert np.max(np.abs(curve.contours[0])) == pytest.approx(0.5, rel=1e-6)
    assert gf.spectral_mass(ensemble, snapshot, radius=0.96).value == pytest.approx(1.0, abs=1e-5)
    assert gf.spectral_mass(ensemble, snapshot, radius=0.98).value == pytest.approx(2.0, abs=1e-5)
    found = gf.lyapunov_max(ensemble, steps=400, samples=400)
    assert found.value == pytest.approx(np.log(0.97), abs=1e-9)


def test_silence_that_no_gain_makes_stable() -> None:
    ensemble = gf.Ensemble(Traced(1.03), gain={"input": 0.5})
    with pytest.raises(ValueError, match=r"the zero state is unstable at every gain of 'input'.* 1\.03"):
        gf.critical_gain(ensemble, name="input", target="zero_fixed_point")


# ---- islands and strips ----

STRIPS = {
    # what the scan of a grid of angles had missed: 136 of 640 and 43 of 320 eigenvalues lay beyond its radius
    "lstm": gf.Ensemble(
        gf.LSTM(),
        gain={"forget": 2.667, "input": 0.0848},
        bias_mean={"forget": -0.3676, "output": -4.785},
        bias_var={"forget": 9.63, "output": 1.32, "cell": 3.39},
    ),
    "gru": gf.Ensemble(
        gf.GRU(),
        gain={"update": 6.367, "candidate": 0.0723},
        bias_mean={"update": -2.775, "candidate": 2.9166},
    ),
}


def test_strips_of_slow_modes() -> None:
    network = gf.Network(STRIPS["lstm"], size=320, seed=1)
    snapshot = network.run(60, seed=1).snapshot()
    seen = np.abs(network.eigenvalues(snapshot))
    radius = gf.spectral_radius(network.ensemble, snapshot)
    assert radius.value == pytest.approx(seen.max(), abs=1e-3)
    assert (radius.size, radius.beyond) == (320, 0.0)
    # the largest pole of single neurons, 1 − ε: an island of one neuron ends no further than a few of its radii
    assert radius.value == pytest.approx(np.max(np.abs(snapshot.derivatives.poles)), abs=1e-3)
    within = gf.spectral_mass(network.ensemble, snapshot, radius=0.455)
    assert within.value == pytest.approx(np.mean(seen < 0.455) * 2.0, abs=0.02)


def test_radius_of_a_size() -> None:
    """Poles σ(z) at the quantiles of z, too far apart to touch: at size N the outermost are fewer than one in N."""
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 1e-3}, bias_mean={"update": -2.8})
    rng = np.random.default_rng(3)
    x = ensemble.means + np.array([2.0, 0.0, 0.1]) * rng.standard_normal((4000, 3))
    snapshot = gf.Snapshot(ensemble.cell, 0.01 * rng.standard_normal((4000, 1)), x)
    poles = np.sort(expit(x[:, 0]))[::-1]
    radii = [gf.spectral_radius(ensemble, snapshot, size=size) for size in (4000, 1000, 100)]
    assert [r.size for r in radii] == [4000, 1000, 100]
    for radius, left_out in zip(radii, (0, 3, 39), strict=True):
        assert poles[left_out] <= radius.value < poles[left_out] + 0.02
        assert radius.beyond == pytest.approx(radius.size * left_out / 4000)
        assert radius.beyond < 1.0
        mass = gf.spectral_mass(ensemble, snapshot, radius=radius.value + 1e-6).value
        assert radius.size * (1.0 - mass) < 1.0
    # a standard error: that of such a quantile between samples
    again = []
    for seed in range(40):
        x = ensemble.means + np.array([2.0, 0.0, 0.1]) * np.random.default_rng(seed).standard_normal((4000, 3))
        again.append(np.sort(expit(x[:, 0]))[-40])
    assert radii[2].error == pytest.approx(np.std(again), rel=0.6)
    with pytest.raises(ValueError, match="size=5000: 4000 neurons do not tell"):
        gf.spectral_radius(ensemble, snapshot, size=5000)


def test_neurons_that_are_alike_hold_for_any_size() -> None:
    ensemble, snapshot = at_zero(gf.GRU(), {"candidate": 1.0})
    found = gf.spectral_radius(ensemble, snapshot)
    assert isinstance(found, SpectralRadius)
    assert found.size == np.inf
    assert gf.spectral_radius(ensemble, snapshot, size=10**6).value == found.value


def test_two_far_neurons() -> None:
    """Two kinds of neurons, of which the few are slow: islands at λ = f with |λ − f|² = share·c², in closed form."""
    share, coupling = 0.01, 0.02
    ensemble = gf.Ensemble(gf.GRU(), gain={"candidate": 1.0})
    x = np.zeros((100, 3))
    x[:, 0] = -3.0
    x[0, 0] = float(np.log(0.9 / 0.1))  # σ = .9
    snapshot = gf.Snapshot(ensemble.cell, np.zeros((100, 1)), x)
    slow, fast = 0.9, float(expit(-3.0))
    # T(λ) = ¼ [share (1−σ₁)²/|λ−σ₁|² + (1−share) (1−σ₂)²/|λ−σ₂|²] = 1 on the real axis beyond the slow pole
    z = np.linspace(slow + 1e-6, slow + 0.05, 200001)
    t = 0.25 * (share * (1 - slow) ** 2 / (z - slow) ** 2 + (1 - share) * (1 - fast) ** 2 / (z - fast) ** 2)
    right = z[np.argmin(np.abs(t - 1.0))]
    assert right - slow < coupling
    assert gf.spectral_radius(ensemble, snapshot).value == pytest.approx(right, abs=1e-6)
    curve = gf.spectral_curve(ensemble, snapshot)
    assert max(np.max(loop.real) for loop in curve.contours) == pytest.approx(right, abs=1e-5)
