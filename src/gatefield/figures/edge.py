"""The numbers of the notes' figures, with networks: static equation, C_0, critical line [EOC fig. 1, fig. 2]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from gatefield.cells.builtin import Leaky
from gatefield.cells.ensemble import Ensemble
from gatefield.edge.curves import bias_curves, variance_curves
from gatefield.edge.sompolinsky import critical_gain, reduced
from gatefield.figures.panels import FigureData, Scale
from gatefield.networks.network import Network
from gatefield.running.background import Background
from gatefield.running.progress import track

AUTOCORRELATION_GAIN = 3.0  # of panel c [EOC fig. 1]
BIAS_STD = 0.5  # σ_b of panels a and c [EOC fig. 2]
LARGER = 4  # times the neurons of the others: at N = 1000 correlations at long lags differ from network to network
_LAGS = 60  # of panel c, in steps


def eoc1(scale: Scale, seed: int = 0) -> FigureData:
    """The reduced model without bias.

    a: the static equation, as in the notes. b: its solution, the C_0 that the state really has, and that of networks
    of the map. c: the autocorrelation, as flow and as map, which the notes derive and do not draw.
    """
    gains = np.array([2.1, 2.2, 2.5, 3.0, 4.0, 5.0, 6.0])[:: 1 if scale.points > 5 else 3]
    wanted = [_Job(float(g), count=scale.networks) for g in gains]
    wanted.append(_Job(AUTOCORRELATION_GAIN, count=scale.networks + 1, larger=LARGER))
    simulated = Background(_networks, wanted, scale, seed)
    curves = variance_curves(None if scale.points > 5 else np.linspace(1.5, 6.0, 10))
    found = reduced(AUTOCORRELATION_GAIN)
    time = np.linspace(0.0, _LAGS, 241)
    kept = found.map.autocorrelation[: _LAGS + 1]
    runs = simulated.result()
    measured = [[network.variance for network in group] for group in runs[:-1]]
    own = np.mean([network.autocorrelation[: _LAGS + 1] for network in runs[-1]], axis=0)
    kept = kept[: len(own)]  # short runs hold fewer lags
    map_variance = [reduced(float(g)).map.variance for g in gains]
    shares, counted = {"units": "1", "source": "EOC 6"}, {"units": "1", "source": "simulation"}
    panels = {
        "a": curves[["image"]],
        "b": curves.drop_vars(["image", "shown_gain", "variance"]).assign(
            map=("network_gain", map_variance, {"units": "1", "source": "the map, with C(0), C(1), …"}),
            counted=(("network_gain", "network"), measured, counted),
            network_gain=gains,
        ),
        "c": xr.Dataset(
            {
                "flow": ("time", found.autocorrelation_at(time) / found.dynamic_variance, shares),
                "map": ("lag", kept / kept[0], shares | {"source": "the map"}),
                "counted": ("lag", own[: len(kept)] / own[0], counted),
            },
            coords={"time": time, "lag": np.arange(len(kept))},
            attrs={"gain": AUTOCORRELATION_GAIN, "size": LARGER * scale.size, "decay_time": found.decay_time},
        ),
    }
    return FigureData("eoc1", panels, scale, seed)


def eoc2(scale: Scale, seed: int = 0) -> FigureData:
    """The reduced model with a bias.

    a: the static equation, as in the notes. b: the critical line with its laws, and on either side of it networks by
    the sign of their λ_max. c: C_0 and what is left of it at long lags, C_∞, with networks. d: critical cell gains of
    LSTMs with a bias on their cell input, which the notes take to be those of the reduced model.
    """
    full = scale.points > 5
    biases = np.array([0.01, 0.03, 0.1, 0.3, 1.0])[:: 1 if full else 2]
    ratios = np.array([0.6, 0.8, 1.25, 1.6, 2.5])[:: 1 if full else 4]  # of the distance to 2 on the critical line
    gains = np.array([2.0, 3.0, 4.0, 5.0, 6.0])[:: 1 if full else 2]
    beside = np.array([[2.0 + r * (critical_gain(float(s)) - 2.0) for r in ratios] for s in biases])
    wanted = [_Job(float(g), float(s), exponent=True) for s, row in zip(biases, beside, strict=True) for g in row]
    wanted += [_Job(float(g), BIAS_STD, count=2 * scale.networks) for g in gains]
    simulated = Background(_networks, wanted, scale, seed)
    curves = bias_curves(bias_std=BIAS_STD) if full else bias_curves(bias_std=BIAS_STD, lstm=(0.3,))
    fine = np.linspace(2.0, 6.0, 33 if full else 9)
    states = [reduced(float(g), BIAS_STD) for g in track(list(fine), "gains")]
    runs = simulated.result()
    settled = runs[beside.size :]
    exponents = np.array([group[0].exponent for group in runs[: beside.size]]).reshape(beside.shape)
    units, counted = {"units": "1", "source": "EOC 9, 10"}, {"units": "1", "source": "simulation"}
    panels = {
        "a": curves[["image", "fixed_point"]].assign_attrs(bias_std=BIAS_STD),
        "b": curves[["critical", "leading", "next_order"]].assign(
            network_gain=(("network_bias", "ratio"), beside, {"units": "1"}),
            exponent=(("network_bias", "ratio"), exponents, {"units": "1/step", "source": "simulation"}),
            network_bias=biases,
            ratio=ratios,
        ),
        "c": xr.Dataset(
            {
                "static": ("gain", [r.static_variance for r in states], units),
                "dynamic": ("gain", [r.dynamic_variance for r in states], units),
                "plateau": ("gain", [r.plateau for r in states], units),
                "counted": (("network_gain", "network"), [[n.variance for n in g] for g in settled], counted),
                "counted_plateau": (("network_gain", "network"), [[n.plateau for n in g] for g in settled], counted),
            },
            coords={"gain": fine, "network_gain": gains},
            attrs={"bias_std": BIAS_STD, "critical_gain": critical_gain(BIAS_STD)},
        ),
        "d": curves[["lstm", "notes"]],
    }  # fmt: skip
    return FigureData("eoc2", panels, scale, seed)


@dataclass(frozen=True, eq=False)
class MapNetwork:
    """One network of the reduced map, measured.

    Attributes:
        variance: C_0 = E h² over neurons and time.
        plateau: mean square over neurons of the mean over time, less what a finite run leaves of what moves.
        autocorrelation: C(lag).
        exponent: λ_max per step; NaN where not asked for.
    """

    variance: float
    plateau: float
    autocorrelation: np.ndarray
    exponent: float


@dataclass(frozen=True)
class _Job:
    """How many networks at a gain and a bias, how much larger than others, and whether their λ_max is wanted."""

    gain: float
    bias_std: float = 0.0
    count: int = 1
    larger: int = 1
    exponent: bool = False


def _networks(wanted: Sequence[_Job], scale: Scale, seed: int) -> list[list[MapNetwork]]:
    """The networks of each job, one after the other."""
    with threadpool_limits(1):  # the other core is for the theory
        return [[_measured(job, scale, seed + j) for j in range(job.count)] for job in wanted]


def _measured(job: _Job, scale: Scale, seed: int) -> MapNetwork:
    """h' = h/2 + b + ¼ J tanh h is a leaky cell of step ½ and gain g/2, whose current has the deviation 2 σ_b."""
    ensemble = Ensemble(Leaky(step=0.5), {"input": job.gain / 2.0}, bias_var={"input": (2.0 * job.bias_std) ** 2})
    network = Network(ensemble, size=job.larger * scale.size, seed=seed, dtype="float32")
    settled = network.run(2 * scale.steps, seed=seed, initial=1.0, record=1).last
    path = network.run(2 * scale.steps, state=settled, seed=seed)
    h = path.states[:, :, 0].astype(np.float64)
    correlation = path.autocorrelation["x"]
    halves = [part.mean(axis=0) for part in np.array_split(h, 2)]  # their product has no noise in common
    found = np.nan
    if job.exponent:
        spectrum = network.lyapunov_spectrum(2 * scale.steps, count=1, transient=200, state=path.last, seed=seed)
        found = float(spectrum.largest.value)
    return MapNetwork(float(np.mean(h * h)), float(np.mean(halves[0] * halves[1])), correlation, found)
