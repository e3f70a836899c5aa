"""Where an LSTM's onset of chaos turns into a jump, measured in the mean field; and hysteresis beyond, in networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from gatefield.cells.ensemble import Ensemble
from gatefield.edge.onset import gate_gains, lstm, onset_law, tricritical_gates
from gatefield.meanfield.sampled import mean_field
from gatefield.networks.network import Network
from gatefield.numerics.estimates import Estimate
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import positive, whole
from gatefield.running.progress import track

_SPARK = 1e-3  # standard deviation of what keeps a network's state from being exactly 0


@dataclass(frozen=True, eq=False, repr=False)
class TricriticalFit(Result):
    """The tricritical point along a ray of gate gains, from mean fields of chaotic states on both sides of it.

    In ε/E h² = k (s_t² − s²) + (e_0 + e_1 s²) E h² + e_2 (E h²)², s the scale of the ray, s_t is where chaos of small
    amplitude changes sides of gain 2.

    Attributes:
        ray: gate gains at scale 1.
        scale: s_t.
        predicted: s_t of `tricritical_gates`, exact.
        stiffness: k, which is predicted to be (4f² + i² + o²)/12.
        scales, gains: of each run.
        second_moments: E h² of each.
        chi2: of the fit, per degree of freedom.
    """

    ray: Mapping[str, float]
    scale: Estimate
    predicted: float
    stiffness: Estimate
    scales: np.ndarray
    gains: np.ndarray
    second_moments: Estimate
    chi2: float

    def description(self) -> Description:
        return Description(
            quantities={
                "scale": Quantity(self.scale, source="where chaos of small amplitude changes sides of gain 2"),
                "predicted": Quantity(self.predicted, source="4a_f² + a_i² + a_o² = 96"),
                "stiffness": Quantity(self.stiffness, source="least squares"),
                "ray": Quantity(self.ray, ("gate",)),
                "second_moments": Quantity(self.second_moments, ("run",), source="E h², mean field"),
                "chi2": Quantity(self.chi2),
            },
            coordinates={
                "scales": Quantity(self.scales, ("run",), json="scales"),
                "gains": Quantity(self.gains, ("run",), json="gains"),
            },
        )


def measure_tricritical(
    scales: Sequence[float] = (3.0, 3.5, 4.0, 4.5),
    gains: Sequence[float] = (2.04, 2.07, 2.1, 2.15, 2.2),
    *,
    ray: Mapping[str, float] | None = None,
    steps: int = 400,
    samples: int = 16000,
    seed: int = 0,
) -> TricriticalFit:
    """Locate the tricritical point by sampled mean fields, as a check of `tricritical_gates`.

    Args:
        scales: gate gains in units of the ray, around the tricritical point; at least 3 different ones.
        gains: cell gains above 2; at least 2 different ones.
        ray: gate gains at scale 1; all 1 by default.
        steps: of each mean field; they start near the amplitude that is expected.
        samples: neurons of each.
        seed: of the first run; the next ones have the next seeds.

    Raises:
        ValueError: an argument out of its range, or runs that ended in the zero state.
    """
    ray = gate_gains(1.0 if ray is None else ray)
    predicted = next(tricritical_gates(**ray).gates[k] / v for k, v in ray.items() if v > 0.0)
    jobs = [(positive("scales", s), positive("gains", g)) for s in scales for g in gains]
    if len({s for s, _ in jobs}) < 3 or len({g for _, g in jobs}) < 2 or min(g for _, g in jobs) <= 2.0:
        raise ValueError("scales must hold at least 3 and gains at least 2 different values, gains above 2")
    moments = []
    for i, (s, g) in enumerate(track(jobs, "mean fields")):
        gates = {name: s * value for name, value in ray.items()}
        law = onset_law(g, gates).second_moment
        start = 2.0 * np.sqrt(law) if law < 0.03 else 0.4
        field = mean_field(lstm(g, gates), steps=steps, samples=samples, seed=seed + i, initial=float(start))
        if field.regime == "quiescent":
            raise ValueError(f"activity dies at gain {g:g} and scale {s:g}; take larger gains")
        c = field.autocorrelation["h"]
        moments.append((float(c.value[0]), float(c.error[0])))
    s, g = np.array(jobs).T
    c, error = np.array(moments).T
    return _fit(ray, predicted, s, g, Estimate(c, error))


def _fit(ray: Mapping[str, float], predicted: float, s: np.ndarray, g: np.ndarray, moment: Estimate) -> TricriticalFit:
    c, ratio = moment.value, (g / 2.0 - 1.0) / moment.value
    k = sum(w * ray[name] ** 2 for name, w in (("forget", 4.0), ("input", 1.0), ("output", 1.0))) / 12.0

    def left(p: np.ndarray) -> np.ndarray:
        model = p[1] * (p[0] ** 2 - s**2) + (p[2] + p[3] * s**2) * c + p[4] * c**2
        return (ratio - model) / (ratio * moment.error / c)

    found = least_squares(left, [predicted, k, 0.0, 0.0, 0.0], x_scale=[predicted, k, 10.0, 1.0, 100.0])
    freedom = len(c) - 5
    chi2 = float(2.0 * found.cost / freedom) if freedom > 0 else float("nan")
    spread = np.sqrt(np.diagonal(np.linalg.inv(found.jac.T @ found.jac)) * max(1.0, np.nan_to_num(chi2, nan=1.0)))
    return TricriticalFit(
        ray, Estimate(float(abs(found.x[0])), float(spread[0])), float(predicted),
        Estimate(float(found.x[1]), float(spread[1])), s, g, moment, chi2,
    )  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class NetworkHysteresis(Result):
    """E h² of LSTM networks as their cell gain goes up and down again, the state being carried along.

    Attributes:
        ensemble: at the largest gain.
        size, networks: N, and how many.
        gains: cell gains, ascending.
        up, down: E h² on the way up and on the way down, (networks, gains).
    """

    ensemble: Ensemble
    size: int
    gains: np.ndarray
    up: np.ndarray
    down: np.ndarray

    @property
    def networks(self) -> int:
        """How many."""
        return len(self.up)

    def coexistence(self, least: float = 10.0) -> np.ndarray:
        """Gains at which most networks have both states: on the way down E h² is `least` times that on the way up."""
        return self.gains[np.mean(self.down > least * self.up, axis=0) > 0.5]

    def description(self) -> Description:
        return Description(
            quantities={
                "up": Quantity(self.up, ("network", "gain"), source="E h², simulation"),
                "down": Quantity(self.down, ("network", "gain"), source="E h², simulation"),
                "coexistence": Quantity(self.coexistence(), ("coexisting",), source="gains with two states"),
            },
            coordinates={"gain": Quantity(self.gains, json="gains")},
            facts={"ensemble": self.ensemble, "size": self.size, "networks": self.networks},
        )


def network_hysteresis(
    gates: Mapping[str, float] | float,
    gains: Sequence[float] = (1.8, 1.85, 1.9, 1.95, 2.0, 2.05, 2.1, 2.15, 2.2),
    *,
    size: int = 1000,
    networks: int = 3,
    steps: int = 400,
    seed: int = 0,
) -> NetworkHysteresis:
    """Cell gains of LSTM networks swept up from rest and down from chaos, with the same matrices throughout.

    On the way up the state gets a kick of standard deviation 1e-3 at each gain, without which zero would never be left.

    Args:
        gates: gain of all gates, or gains by name; those not named are 0.
        gains: cell gains.
        size: neurons N.
        networks: how many.
        steps: at each gain; E h² is an average over the second half.
        seed: network j has the seed seed + j.

    Raises:
        ValueError: an argument out of its range.
    """
    ascending = np.unique([positive("gains", g) for g in gains])
    size, steps, found = whole("size", size), whole("steps", steps, 8), {"up": [], "down": []}
    for j in track(range(whole("networks", networks)), "networks"):
        generator = np.random.default_rng((seed + j, 1))
        state = _SPARK * generator.standard_normal((size, 2))
        for way, order in (("up", ascending), ("down", ascending[::-1])):
            moments = []
            for g in order:
                network = Network(lstm(float(g), gates), size=size, seed=seed + j, dtype="float32")
                state = state + _SPARK * generator.standard_normal(state.shape) * (way == "up")
                path = network.run(steps, state=state.astype(np.float32), record=steps - steps // 2)
                state = np.asarray(path.last)
                moments.append(float(np.mean(np.asarray(path.states[..., 1], dtype=float) ** 2)))
            found[way].append(moments if way == "up" else moments[::-1])
    return NetworkHysteresis(
        lstm(float(ascending[-1]), gates), size, ascending, np.array(found["up"]), np.array(found["down"])
    )
