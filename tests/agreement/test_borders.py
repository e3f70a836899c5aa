"""Random ensembles over all cells at their own networks' snapshots: where theory says that eigenvalues lie."""

from __future__ import annotations

import numpy as np
import pytest

import gatefield as gf
from gatefield.spectra.curve import winding

CELLS = (
    gf.Vanilla(),
    gf.Leaky(step=0.3),
    gf.GRU(),
    gf.GRU(reset_after=True),
    gf.LSTM(),
    gf.LSTM(coupled=True),
    gf.MGU(),
)
SIZE = 300
CASES = 300
FEW = 21  # run by default; a 600×600 matrix's eigenvalues take most of the time of an LSTM's


def random_ensemble(number: int) -> gf.Ensemble:
    """Gains log-uniform .03–10, biases with mean and variance, currents that vary."""
    rng = np.random.default_rng(number)
    cell = CELLS[number % len(CELLS)]
    names = cell.preactivation_names
    sourced = [name for k, name in enumerate(names) if k not in gf.Ensemble(cell).structure.sourceless]

    def spread(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    gain = {name: spread(0.03, 10.0) for name in sourced}
    mean = {name: float(2.0 * rng.normal()) for name in names}
    variance = {name: spread(0.03, 10.0) if rng.random() < 0.7 else 0.0 for name in names}
    current = {names[0]: gf.WhiteCurrent(spread(0.03, 3.0))} if rng.random() < 0.3 else {}
    return gf.Ensemble(cell, gain=gain, bias_mean=mean, bias_var=variance, current=current)


def shares(ensemble: gf.Ensemble, snapshot: gf.Snapshot, z: complex) -> np.ndarray:
    """What each neuron adds to T(λ)'s Perron eigenvalue, straight from Γ = V_s (λ − F_s)^{-1} F_x + V_x."""
    local = snapshot.derivatives
    gamma = local.v_s @ np.linalg.inv(z * np.eye(local.f_s.shape[1]) - local.f_s) @ local.f_x + local.v_x
    t = ensemble.gains[:, None] ** 2 * np.abs(gamma) ** 2
    values, right = np.linalg.eig(t.mean(axis=0))
    others, left = np.linalg.eig(t.mean(axis=0).T)
    r, l = np.abs(right[:, np.argmax(values.real)]), np.abs(left[:, np.argmax(others.real)])  # noqa: E741
    return (l @ t @ r) / (l @ r) / len(t)


def effective(each: np.ndarray) -> float:
    return float(np.sum(each) ** 2 / np.sum(each**2))


def beyond_its_width(ensemble: gf.Ensemble, snapshot: gf.Snapshot, z: complex) -> bool:
    """Whether an eigenvalue lies further outside the support than in a network of N it may.

    T(λ) is an average over neurons whose fluctuations are those of the effective number that make it, here or half way
    to the nearest pole, where the support is: five standard deviations. Next to one neuron's pole its eigenvalue is
    Gaussian about it: its own share then is above 1/25.
    """
    poles = snapshot.derivatives.poles.ravel()
    nearest = poles[np.argmin(np.abs(poles - z))]
    here, inwards = (shares(ensemble, snapshot, at + 1e-9j) for at in (z, (z + nearest) / 2.0))
    fewest = min(effective(here), effective(inwards))
    return np.log(np.sum(here)) < -5.0 / np.sqrt(fewest) and np.max(here) < 1.0 / 25.0


EACH = [
    range(FEW),
    *(pytest.param(range(i, min(i + 31, CASES)), marks=pytest.mark.exhaustive) for i in range(FEW, CASES, 31)),
]


@pytest.mark.slow
@pytest.mark.parametrize("numbers", EACH, ids=str)
def test_random_ensembles(numbers: range) -> None:
    """No eigenvalue outside the curve beyond its finite-size width, radius within it, mass total D."""
    odd = 0
    for number in numbers:
        ensemble = random_ensemble(number)
        network = gf.Network(ensemble, size=SIZE, seed=number)
        snapshot = network.run(60, seed=number, record=1).snapshot()
        eigenvalues = network.eigenvalues(snapshot)
        exponent = gf.spectra.support_exponent(ensemble, snapshot, eigenvalues)
        curve = gf.spectral_curve(ensemble, snapshot)
        from_atom = np.min(np.abs(eigenvalues[:, None] - np.append(curve.atoms, np.inf)), axis=1)
        for z in eigenvalues[(exponent < -0.1) & (eigenvalues.imag >= 0.0) & (from_atom > 1e-4)]:
            assert not beyond_its_width(ensemble, snapshot, z), (number, z)
        inside = winding(curve.contours, eigenvalues.real + 1j * np.maximum(np.abs(eigenvalues.imag), 1e-9)) > 0
        odd += np.count_nonzero((inside != (exponent > 0.0)) & (np.abs(exponent) > 0.5))
        radius = gf.spectral_radius(ensemble, snapshot)
        outermost = eigenvalues[np.argmax(np.abs(eigenvalues))]
        reach = [np.max(np.abs(loop)) for loop in curve.contours] + [np.max(np.abs(curve.atoms), initial=0.0)]
        assert max(reach) == pytest.approx(radius.value, rel=2e-3, abs=1e-4), number
        if abs(outermost) > radius.value + 1e-4:
            assert not beyond_its_width(ensemble, snapshot, outermost), (number, outermost)
        states = len(ensemble.cell.state_names)
        mass = gf.spectral_mass(ensemble, snapshot, radius=1.02 * radius.value + 1e-6).value
        assert mass == pytest.approx(states, abs=0.2 / SIZE), number
        assert SIZE * (states - mass) < 1.0
    assert odd <= len(numbers) / 10  # of some 400 eigenvalues each: gaps between islands that polygons bridge


@pytest.mark.parametrize("number", [424, 438])
def test_density_next_to_poles(number: int) -> None:
    """Found by the fuzzer: −12 and −1400 at eigenvalues next to an LSTM's neurons' own."""
    ensemble = random_ensemble(number)
    network = gf.Network(ensemble, size=SIZE, seed=number)
    snapshot = network.run(60, seed=number, record=1).snapshot()
    eigenvalues = network.eigenvalues(snapshot)[:64]
    assert np.all(gf.spectral_density(ensemble, snapshot, eigenvalues).value >= 0.0)
