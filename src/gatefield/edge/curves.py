"""What the figures of the edge of chaos show, as labelled arrays [EOC fig. 1, fig. 2]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from gatefield.edge.comparison import compare
from gatefield.edge.onset import bias_critical_gain
from gatefield.edge.sompolinsky import critical_gain, critical_line, reduced
from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.results.version import __version__
from gatefield.running.arguments import known_names, positive
from gatefield.running.progress import track

# Gate gains by name; None: like the cell's.
MODES: dict[str, float | None] = {"equal": None, "gates 1": 1.0, "frozen": 0.0}


def variance_curves(gains: Any = None) -> xr.Dataset:
    """Static and dynamic C_0 of the reduced model against its gain, and the static equation's right side [EOC fig. 1].

    Args:
        gains: g; by default from 1.5 to 6, denser near 2.
    """
    default = np.concatenate([np.linspace(1.5, 2.0, 6), 2.0 + np.geomspace(0.01, 4.0, 40)])
    g = default if gains is None else np.array([positive("gains", v) for v in np.atleast_1d(gains)])
    found = [reduced(v) for v in track(list(g), "gains")]
    shown, variance = np.array([1.5, 2.0, 2.5, 3.0]), np.linspace(0.0, 2.0, 201)
    e = np.maximum(g / 2.0 - 1.0, 0.0)
    laws = [e + second * e**2 - 7.0 / 9.0 * e**3 for second in (4.0 / 3.0, 7.0 / 6.0)]
    return xr.Dataset(
        {
            "static": ("gain", [r.static_variance for r in found], _about("C₀ of neurons that rest, EOC C₀")),
            "dynamic": ("gain", [r.dynamic_variance for r in found], _about("C₀ by zero energy")),
            "static_law": ("gain", laws[0], _about("ε + 4ε²/3 − 7ε³/9")),
            "dynamic_law": ("gain", laws[1], _about("ε + 7ε²/6 − 7ε³/9")),
            "image": (("shown_gain", "variance"), [_image(v, 0.0, variance) for v in shown], _about("(g²/4) E tanh²")),
        },
        coords={"gain": g, "shown_gain": shown, "variance": variance},
        attrs=_made("variance"),
    )  # fmt: skip


def bias_curves(
    gains: Any = None, *, bias_std: float = 0.5, lstm: Sequence[float] = (0.01, 0.1, 0.3, 1.0)
) -> xr.Dataset:
    """The static equation with a bias [EOC fig. 2], the critical line, and the LSTM's own critical gains.

    Args:
        gains: g whose static equation is shown.
        bias_std: σ_b of that.
        lstm: deviations of a bias on an LSTM's cell input; the notes scale them by ¼. Empty: none.
    """
    shown, variance = (
        np.array([1.0, 2.0, 3.0]) if gains is None else np.asarray(gains, dtype=float),
        np.linspace(0, 4, 201),
    )
    sigma = np.geomspace(1e-4, 1.0, 41)
    line = critical_line(sigma)
    modes = list(MODES)
    own = [[bias_critical_gain(s, gates=MODES[m]).gain for s in lstm] for m in track(modes, "LSTM")]
    return xr.Dataset(
        {
            "image": (("shown_gain", "variance"), [_image(v, bias_std, variance) for v in shown],
                      _about("(g²/4) E tanh² + 4σ_b², EOC 10")),
            "fixed_point": ("shown_gain", [reduced(v, bias_std).static_variance for v in shown], _about("EOC 10")),
            "critical": ("bias_std", line.gain, _about("EOC 7 with 10")),
            "leading": ("bias_std", line.leading, _about("2 + 2·3^{1/3} σ_b^{2/3}")),
            "next_order": ("bias_std", line.next_order, _about("… − (24/5) σ_b²")),
            "lstm": (("mode", "lstm_std"), np.reshape(own, (len(modes), len(lstm))),
                     _about("T(1) = 1, CKS 31 at λ = 1")),
            "notes": ("lstm_std", [critical_gain(s / 4.0) for s in lstm], _about("EOC 7 with 10 at σ/4")),
        },
        coords={"shown_gain": shown, "variance": variance, "bias_std": sigma, "mode": modes,
                "lstm_std": list(lstm)},
        attrs=_made("bias", bias_std=bias_std),
    )  # fmt: skip


def potential_curves(gain: float = 3.0, bias_std: float = 0.0) -> xr.Dataset:
    """V(C) at the dynamic and at the static C_0 [EOC 6, 9], over the correlations that C may take."""
    r = reduced(gain, bias_std)
    parts = np.linspace(-1.0 if bias_std == 0.0 else 0.0, 1.0, 401)
    variances = {"dynamic": r.dynamic_variance, "static": r.static_variance}
    return xr.Dataset(
        {
            "potential": (
                ("kind", "part"),
                [r.potential(parts * v, static=k == "static") for k, v in variances.items()],
                _about("V(C), C̈ = −V'(C)"),
            ),
            "variance": ("kind", list(variances.values()), _about("C₀")),
        },
        coords={"kind": list(variances), "part": ("part", parts, {"long_name": "C/C₀"})},
        attrs=_made("potential", gain=gain, bias_std=bias_std, plateau=r.plateau),
    )  # fmt: skip


def autocorrelation_curves(gains: Sequence[float] = (2.2, 3.0, 6.0)) -> xr.Dataset:
    """C(τ)/C_0 of flow and map, the true decay and the notes' τ_∞, against time in units of the decay time."""
    found = [reduced(g) for g in track(list(gains), "gains")]
    if not all(r.chaotic for r in found):
        raise ValueError(f"gains={list(gains)!r} must be above 2: below, nothing moves")
    time = np.linspace(0.0, 6.0, 241)
    flows = [r.autocorrelation_at(time * r.decay_time) / r.dynamic_variance for r in found]
    maps = [np.interp(time * r.decay_time, r.map.lags, r.map.autocorrelation) / r.map.variance for r in found]
    return xr.Dataset(
        {
            "flow": (("gain", "time"), flows, _about("C(τ)/C₀, EOC 6")),
            "map": (("gain", "time"), maps, _about("C(lag)/C₀ of the map")),
            "decay_time": ("gain", [r.decay_time for r in found], {"units": "steps", "source": "1/κ"}),
            "notes_time": ("gain", [abs(r.notes_relaxation) ** -0.5 for r in found],
                           {"units": "steps", "source": "|τ_∞| of EOC §3.2, where τ_∞ is imaginary"}),
        },
        coords={"gain": list(gains), "time": ("time", time, {"units": "decay times"})},
        attrs=_made("autocorrelation"),
    )  # fmt: skip


def comparison_curves(
    gains: Sequence[float] = (2.05, 2.1, 2.2, 2.5, 3.0, 4.0),
    modes: Sequence[str] = ("equal",),
    *,
    size: int | None = None,
    **options: Any,
) -> xr.Dataset:
    """E h², half-time and λ_max of LSTMs, of the reduced model and of the onset law, against the cell gain.

    Args:
        gains: cell gains.
        modes: "equal" (gate gains like the cell's), "gates 1" (gate gains 1) or "frozen" (0).
        size: neurons of networks; None: no networks.
        options: of `compare`.
    """
    known_names("modes", modes, tuple(MODES), "the comparison")
    jobs = [(mode, float(g)) for mode in modes for g in gains]
    found = [compare(g, MODES[mode], size=size, **options) for mode, g in track(jobs, "LSTMs")]
    rows = [{_KINDS.get(row["model"], "networks"): row for row in c.rows} for c in found]
    kinds = [kind for kind in (*_KINDS.values(), "networks") if kind in rows[0]]
    values: dict[str, Any] = {}
    for name, units in (("second_moment", "1"), ("half_time", "steps"), ("lyapunov_max", "1/step")):
        for part, suffix in (("value", ""), ("error", "_error")):
            numbers = [[float(getattr(row[kind][name], part)) for row in rows] for kind in kinds]
            shaped = np.reshape(numbers, (len(kinds), len(modes), len(gains)))
            values[name + suffix] = (("model", "mode", "gain"), shaped, {"units": units})
    return xr.Dataset(
        values, {"model": kinds, "mode": list(modes), "gain": list(gains)}, _made("comparison", size=size or 0)
    )


_KINDS = {
    "LSTM, mean field": "mean field", "reduced map": "reduced map", "reduced flow": "reduced flow",
    "onset law": "onset law",
}  # fmt: skip


def _image(gain: float, bias_std: float, variance: np.ndarray) -> np.ndarray:
    x, weights = gaussian_nodes(np.zeros(len(variance)), np.sqrt(variance))
    return gain**2 / 4.0 * expectation(np.tanh(x) ** 2, weights) + 4.0 * bias_std**2


def _about(source: str) -> dict[str, str]:
    return {"units": "1", "source": source}


def _made(figure: str, **more: Any) -> dict[str, Any]:
    return {"figure": figure, "gatefield_version": __version__, **more}
