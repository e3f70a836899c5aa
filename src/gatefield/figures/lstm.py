"""The numbers of the LSTM's figure: spectra, growth with each gate, slow modes [CKS fig. 3]."""

from __future__ import annotations

import numpy as np
import xarray as xr

from gatefield.cells.builtin import LSTM
from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.figures.panels import (
    FigureData,
    Scale,
    accumulation_panel,
    columns,
    radii_of,
    simulate_all,
    spectrum_panel,
    steady_state,
    with_counts,
    with_eigenvalues,
)
from gatefield.running.progress import progress
from gatefield.spectra.limits import slow_mode_share
from gatefield.spectra.spectrum import SLOW_RADIUS
from gatefield.spectra.support import spectral_radius

CELL = 3.0  # a_h
SPECTRA = {"a": (1.0, 1.0), "b": (1.0, 10.0), "c": (10.0, 1.0), "d": (10.0, 10.0)}  # (a_f, a_o), at a_i = 1
GATES = ("forget", "input", "output")


def lstm(**gains: float) -> Ensemble:
    """LSTMs without biases."""
    return Ensemble(LSTM(), {"cell": CELL, **gains})


def cks3(scale: Scale, seed: int = 0) -> FigureData:
    """Spectra at four pairs of gains; growth of the radius with each gate alone; slow modes with the forget gate.

    a–d: eigenvalues, spectral curve, and the interior density, which the paper does not have. e: spectral radius
    against one gate's gain, the others being 0, with the law √a_k [CKS Prop. 12]. f: share of eigenvalues near 1
    against a_f with [CKS 92–93]; inset: against r.
    """
    gains = np.geomspace(1.0, 50.0, scale.points)
    slow = np.array([1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 22.0])[:: 1 if scale.points > 5 else 2]
    wanted = {k: (lstm(forget=f, input=1.0, output=o), 1) for k, (f, o) in SPECTRA.items()}
    wanted |= {f"{gate}{a}": (lstm(**{gate: float(a)}), 1) for gate in GATES for a in gains}
    wanted |= {f"f{a}": (lstm(forget=float(a)), 1) for a in slow}
    simulated = simulate_all(wanted, scale, seed)
    by_gain = {float(a): f"f{a}" for a in slow}
    with progress(2 * len(wanted), "cks3") as done:
        theory: dict[str, Snapshot] = {}
        for key, (ensemble, _) in wanted.items():
            theory[key] = steady_state(ensemble, scale, seed)
            done(1)
        panels = {k: spectrum_panel(wanted[k][0], theory[k], scale) for k in SPECTRA}
        done(len(SPECTRA))
        panels["e"] = _growth(gains, theory)
        done(len(GATES) * len(gains))
        panels["f"] = accumulation_panel(
            {a: wanted[key][0] for a, key in by_gain.items()},
            {a: theory[key] for a, key in by_gain.items()},
            shown=list(by_gain)[:: max(1, len(slow) // 3)],
            limit=lambda e, s: float(
                slow_mode_share(e, radius=SLOW_RADIUS, variance=float(np.mean(s.state[:, 1] ** 2)))
            ),
        )
        samples = simulated.result()
    panels |= {letter: with_eigenvalues(panels[letter], samples[letter][0]) for letter in SPECTRA}
    for gate in GATES:
        counted = radii_of("gain", [samples[f"{gate}{a}"] for a in gains])
        panels["e"] = panels["e"].assign({f"{gate}_counted": counted})
    panels["f"] = with_counts(panels["f"], {a: samples[key] for a, key in by_gain.items()})
    return FigureData("cks3", panels, scale, seed)


def _growth(gains: np.ndarray, theory: dict[str, Snapshot]) -> xr.Dataset:
    variables = {}
    for gate in GATES:
        radii = [spectral_radius(lstm(**{gate: float(a)}), theory[f"{gate}{a}"]) for a in gains]
        variables |= columns(gate, "gain", radii, "theory")
    top = max(float(variables[gate][1][-1]) for gate in GATES)
    line = 1.15 * top * np.sqrt(gains / gains[-1])
    line[line < 0.9] = np.nan
    law = ("gain", line, {"units": "1", "source": "√a_k, CKS Prop. 12, to guide the eye"})
    return xr.Dataset(variables | {"law": law}, coords={"gain": gains})
