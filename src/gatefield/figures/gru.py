"""The numbers of the GRU's figures: spectra and slow modes [CKS fig. 1], phase diagram and pinching [CKS fig. 2]."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import brentq

from gatefield.cells.builtin import GRU
from gatefield.cells.ensemble import Ensemble
from gatefield.cells.regime import REGIMES, classify
from gatefield.cells.snapshot import Snapshot
from gatefield.figures.panels import (
    FigureData,
    Scale,
    Simulated,
    accumulation_panel,
    columns,
    radii_of,
    simulate_all,
    spectrum_panel,
    steady_state,
    with_counts,
    with_eigenvalues,
)
from gatefield.meanfield.deterministic import deterministic_mean_field
from gatefield.networks.network import Network
from gatefield.networks.simulation import returns_of
from gatefield.phases.boundaries import pinching_exponent, spectral_intercept
from gatefield.phases.roots import FixedPoint, fixed_points
from gatefield.reports.diagrams import Diagram, diagram
from gatefield.running.background import Background
from gatefield.running.progress import progress
from gatefield.spectra.curve import spectral_curve
from gatefield.spectra.limits import constant_update_radius, shaping_at_large_reset_gain, slow_mode_share
from gatefield.spectra.spectrum import SLOW_RADIUS, support_exponent
from gatefield.spectra.support import spectral_radius

CANDIDATE = 3.0  # a_h of both figures
SPECTRA = {"a": (1.0, 10.0), "b": (10.0, 10.0), "c": (1.0, 1.0), "d": (10.0, 1.0)}  # (a_z, a_r)
RESET = 2.0  # a_r of the pinching [CKS fig. 2 right]


def gru(update: float, reset: float, candidate: float = CANDIDATE) -> Ensemble:
    """GRUs without biases."""
    return Ensemble(GRU(), {"update": update, "reset": reset, "candidate": candidate})


def cks1(scale: Scale, seed: int = 0) -> FigureData:
    """Spectra at four pairs of gains; growth with the reset gate; pinching and slow modes with the update gate.

    a–d: eigenvalues, spectral curve, and the interior density, which the paper does not have. e: spectral radius
    against a_r at a_z = 0, where the mean field closes without sampling, with the law √a_r [CKS Prop. 5]; inset:
    radius minus 1 against a_z at a_r = 0. f: share of eigenvalues near 1 against a_z at a_r = 0, with [CKS 92–93];
    inset: against r.
    """
    resets = np.geomspace(1.0, 100.0, scale.points)
    updates = np.linspace(0.0, 12.0, scale.points)
    slow = np.array([1.0, 2.0, 4.0, 6.0, 9.0, 13.0, 18.0, 24.0])[:: 1 if scale.points > 5 else 2]
    wanted = {letter: (gru(*gains), 1) for letter, gains in SPECTRA.items()}
    wanted |= {f"e{a}": (gru(0.0, a), scale.networks) for a in resets}
    wanted |= {f"i{a}": (gru(a, 0.0), scale.networks) for a in updates}
    wanted |= {f"f{a}": (gru(a, 0.0), scale.networks) for a in slow}
    simulated = simulate_all(wanted, scale, seed)
    by_gain = {float(a): f"f{a}" for a in slow}
    keys = (*SPECTRA, *(f"i{a}" for a in updates), *by_gain.values())
    with progress(2 * len(keys), "cks1") as done:
        theory: dict[str, Snapshot] = {}
        for key in keys:
            theory[key] = steady_state(wanted[key][0], scale, seed)
            done(1)
        panels = {letter: spectrum_panel(wanted[letter][0], theory[letter], scale) for letter in SPECTRA}
        done(len(SPECTRA))
        panels["e"] = _growth(resets, updates, theory)
        done(len(updates))
        panels["f"] = accumulation_panel(
            {a: wanted[key][0] for a, key in by_gain.items()},
            {a: theory[key] for a, key in by_gain.items()},
            shown=list(by_gain)[:: max(1, len(slow) // 3)],
            limit=lambda e, s: float(slow_mode_share(e, radius=SLOW_RADIUS, variance=float(np.mean(s.state**2)))),
        )
        samples = simulated.result()
    panels |= {letter: with_eigenvalues(panels[letter], samples[letter][0]) for letter in SPECTRA}
    panels["e"] = panels["e"].assign(
        radius_counted=radii_of("reset", [samples[f"e{a}"] for a in resets]),
        inset_counted=radii_of("update", [samples[f"i{a}"] for a in updates]),
    )
    panels["f"] = with_counts(panels["f"], {a: samples[key] for a, key in by_gain.items()})
    return FigureData("cks1", panels, scale, seed)


def _growth(resets: np.ndarray, updates: np.ndarray, theory: dict[str, Snapshot]) -> xr.Dataset:
    fine = np.geomspace(resets[0], resets[-1], 16)
    exact, law = [], []
    for a in fine:
        ensemble = gru(0.0, float(a))
        moment = float(deterministic_mean_field(ensemble, steps=200).second_moment[-1])
        exact.append(constant_update_radius(ensemble, variance=moment))
        law.append(0.5 + 0.5 * shaping_at_large_reset_gain(ensemble, variance=moment))
    edges = [spectral_radius(gru(float(a), 0.0), theory[f"i{a}"]) for a in updates]
    rest = [spectral_radius(gru(float(a), 0.0), resting(gru(float(a), 0.0)).snapshot) for a in updates]
    return xr.Dataset(
        {
            "radius": ("fine", exact, {"units": "1", "source": "CKS 20, mean field without sampling"}),
            "law": ("fine", law, {"units": "1", "source": "CKS 108, corrected"}),
            **columns("inset", "update", edges, "theory, steady state"),
            **columns("inset_rest", "update", rest, "theory, fixed point"),
        },
        coords={"fine": fine, "reset": resets, "update": updates},
    )


def resting(ensemble: Ensemble) -> FixedPoint:
    """The non-zero static state of the largest variance."""
    return fixed_points(ensemble)[-1]


# ---- Fig. 2 ----


def cks2(scale: Scale, seed: int = 0) -> FigureData:
    """Phase diagram with networks in it, and how the spectrum is pinched at 1 as a_z grows, at a_r = 2 and a_h = 3.

    a: static states over (a_h, a_r), folds, the region of marginal stability [CKS 25], and the onset of chaos, which
    the paper takes to be the fold; what networks with a constant update gate do, from a strong start. b: height of the
    spectral boundary above λ = 1, at the static state and in the steady state, with that of networks; the leading edge
    ρ − 1 of the static state with [CKS 23–24]. c: the boundary near 1 with eigenvalues.
    """
    candidates = np.array([1.25, 1.5, 1.7, 1.85, 1.95, 2.3, 3.1])
    resets = np.array([1.0, 5.0, 10.0, 15.0, 20.0, 27.0])
    thin = 1 if scale.points > 5 else 2
    candidates, resets = candidates[::thin], resets[::thin]
    updates = np.linspace(0.0, 20.0, 9)[::thin]
    wanted = {f"b{a}": (gru(a, RESET), scale.networks) for a in updates}
    pinched = simulate_all(wanted, scale, seed)
    with progress(len(updates) + 2, "cks2") as done:
        axes = ("candidate", 1.2, 3.5, 200 // thin), ("reset", 0.0, 30.0, 200 // thin)
        plane = diagram(gru(0.0, 0.0, 0.0), gain_x=axes[0], gain_y=axes[1], chaos=5 if thin == 1 else 1)
        done(1)
        theory = {}
        for a in updates:
            theory[f"b{a}"] = steady_state(wanted[f"b{a}"][0], replace(scale, samples=2 * scale.samples), seed)
            done(1)
        samples = pinched.result()
        settled = Background(_regimes, candidates, resets, scale, seed)
        right = _pinching(updates, samples, theory)
        near = _boundaries([float(a) for a in updates[[1, len(updates) // 2, -1]]], samples, theory)
        panels = {"a": _plane(plane, candidates, resets, settled.result()), "b": right, "c": near}
    return FigureData("cks2", panels, scale, seed)


_SHOWN = REGIMES[:-1]  # no currents drive these


def _regimes(candidates: np.ndarray, resets: np.ndarray, scale: Scale, seed: int) -> np.ndarray:
    """What a network with a constant update gate does from a strong start, (resets, candidates), as in `_SHOWN`."""
    found = np.empty((len(resets), len(candidates)), dtype=np.int64)
    for place in np.ndindex(found.shape):
        ensemble = gru(0.0, float(resets[place[0]]), float(candidates[place[1]]))
        path = Network(ensemble, size=scale.size, seed=seed).run(scale.steps, seed=seed, initial=1.0)
        energy, motion = (np.mean(u**2, axis=(1, 2)) for u in (path.states, path.states - path.before))
        found[place] = _SHOWN.index(classify(ensemble, energy[None], motion, returns_of(path), scale.steps // 2).name)
    return found


def _plane(found: Diagram, candidates: np.ndarray, resets: np.ndarray, regimes: np.ndarray) -> xr.Dataset:
    onset, fold, marginal, tricritical = found.chaos, found.fold, found.marginal, found.tricritical
    assert onset is not None and fold is not None and marginal is not None and tricritical is not None  # noqa: S101, PT018
    rising, order = np.argsort(fold.gain_y), np.argsort(marginal.gain_y)
    curves = {
        "fold_candidate": ("fold", fold.gain_x[rising]),
        "fold_reset": ("fold", fold.gain_y[rising]),
        "marginal_candidate": ("marginal_point", marginal.gain_x[order]),
        "marginal_reset": ("marginal_point", marginal.gain_y[order]),
        "chaos_low": ("chaos_candidate", onset.low),
        "chaos_high": ("chaos_candidate", onset.high),
    }
    flags = {"flag_values": list(range(len(_SHOWN))), "flag_meanings": "; ".join(_SHOWN), "source": "simulation"}
    made = found.plane[["region", "zero_stable", "marginal"]].astype(np.int32, keep_attrs=True)
    made = made.assign({name: (dim, v, {"units": "gain", "source": "theory"}) for name, (dim, v) in curves.items()})
    made["regime"] = (("network_reset", "network_candidate"), regimes, flags)
    made = made.assign_coords(chaos_candidate=onset.gain_x, network_candidate=candidates, network_reset=resets)
    return made.assign_attrs(tricritical_candidate=tricritical[0], tricritical_reset=tricritical[1])


def boundary_height(ensemble: Ensemble, snapshot: Snapshot) -> float:
    """Im λ at which the spectrum ends on Re λ = 1, 0 where 1 is outside it [CKS fig. 2 right]."""
    heights = np.geomspace(1e-8, 4.0, 120)
    inside = np.nonzero(support_exponent(ensemble, snapshot, 1.0 + 1j * heights) > 0.0)[0]
    if len(inside) == 0:
        return 0.0
    if inside[-1] == len(heights) - 1:
        return float("nan")

    def inside_at(log_height: float) -> float:
        return float(support_exponent(ensemble, snapshot, 1.0 + 1j * np.exp(log_height)))

    find: Any = brentq
    return float(np.exp(find(inside_at, *np.log(heights[inside[-1] : inside[-1] + 2]), xtol=1e-10)))


def batches(snapshot: Snapshot) -> list[Snapshot]:
    """The independent batches of a mean field's neurons, each by itself."""
    size = snapshot.neurons // snapshot.groups
    slices = [slice(i * size, (i + 1) * size) for i in range(snapshot.groups)]
    return [Snapshot(snapshot.cell, snapshot.state[s], snapshot.preactivations[s]) for s in slices]


def _pinching(updates: np.ndarray, samples: Simulated, theory: dict[str, Snapshot]) -> xr.Dataset:
    points = [resting(gru(float(a), RESET)) for a in updates]
    height = {"units": "1", "long_name": "Im λ of the boundary at Re λ = 1"}
    edge = {"units": "1", "long_name": "ρ − 1 at the fixed point"}
    own = [[boundary_height(gru(float(a), RESET), s.snapshot) for s in samples[f"b{a}"]] for a in updates]
    parts = [[boundary_height(gru(float(a), RESET), part) for part in batches(theory[f"b{a}"])] for a in updates]
    limit = [
        pinching_exponent(p).radius_excess(float(a)) if a >= 4.0 else np.nan
        for p, a in zip(points, updates, strict=True)
    ]
    return xr.Dataset(
        {
            "height_rest": ("update", [boundary_height(p.ensemble, p.snapshot) for p in points], height),
            "height": ("update", [boundary_height(gru(float(a), RESET), theory[f"b{a}"]) for a in updates], height),
            "height_of_batches": (("update", "batch"), parts, height),
            "height_counted": (("update", "network"), own, height | {"source": "networks' own neurons"}),
            "edge_rest": ("update", [float(np.exp(spectral_intercept(p))) for p in points], edge),
            "edge_limit": ("update", limit, edge | {"source": "CKS 23–24, corrected"}),
        },
        coords={"update": updates},
        attrs={"reset": RESET, "candidate": CANDIDATE, "shaping": points[0].shaping},
    )


def _boundaries(shown: list[float], samples: Simulated, theory: dict[str, Snapshot]) -> xr.Dataset:
    """Spectral curves of the steady state at some a_z, and one network's eigenvalues at each."""
    curves = [spectral_curve(gru(a, RESET), theory[f"b{a}"], resolution=480) for a in shown]
    lines = [np.concatenate([np.append(c, np.nan) for c in curve.contours] or [np.zeros(0)]) for curve in curves]
    longest = max(len(line) for line in lines)
    padded = np.array([np.append(line, np.full(longest - len(line), np.nan)) for line in lines], dtype=complex)
    found = np.array([samples[f"b{a}"][0].eigenvalues for a in shown])
    units = {"units": "1"}
    return xr.Dataset(
        {
            "curve_real": (("update", "point"), np.real(padded), units | {"source": "CKS 15"}),
            "curve_imaginary": (("update", "point"), np.imag(padded), units | {"source": "CKS 15"}),
            "eigenvalue_real": (("update", "mode"), found.real, units | {"source": "simulation"}),
            "eigenvalue_imaginary": (("update", "mode"), found.imag, units | {"source": "simulation"}),
        },
        coords={"update": shown},
        attrs={"ensemble": json.dumps(gru(0.0, RESET).describe())},
    )
