"""An LSTM beside what the notes say it is: networks, its mean field, the reduced map and flow, and its onset law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.chaos.largest import LargestExponent, lyapunov_max
from gatefield.edge.onset import OnsetLaw, far_from_edge, gate_gains, lstm, onset_law
from gatefield.edge.sompolinsky import Reduced, reduced
from gatefield.networks.network import Network
from gatefield.numerics.correlation import time_to_fall
from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result, messages_of
from gatefield.running.arguments import at_least, whole
from gatefield.running.progress import track


@dataclass(frozen=True, eq=False, repr=False)
class LSTMNetworks(Result):
    """LSTM networks of one size; errors are between networks, values of each are kept.

    Attributes:
        size: N.
        second_moments, half_times, exponents: E h², lag at which E h h' has fallen to a half (infinite where it does
            not), λ_max: of each network.
        moving: share of networks whose state still changes by more than 1e-4 of its size per step at the end.
        lags: 0, 1, 2, … steps.
        autocorrelation: E h(t) h(t + lag), mean over the networks.
    """

    size: int
    second_moments: np.ndarray
    half_times: np.ndarray
    exponents: np.ndarray
    moving: float
    lags: np.ndarray
    autocorrelation: Estimate

    @property
    def networks(self) -> int:
        """How many."""
        return len(self.second_moments)

    @property
    def second_moment(self) -> Estimate:
        """E h²."""
        return from_batches(self.second_moments)

    @property
    def half_time(self) -> Estimate:
        """In steps; infinite if it is in any network."""
        return from_batches(self.half_times) if np.all(np.isfinite(self.half_times)) else Estimate(np.inf, np.nan)

    @property
    def lyapunov_max(self) -> Estimate:
        """Per step."""
        return from_batches(self.exponents)

    def description(self) -> Description:
        return Description(
            quantities={
                "second_moment": Quantity(self.second_moment, source="E h²"),
                "half_time": Quantity(self.half_time, units="steps"),
                "lyapunov_max": Quantity(self.lyapunov_max, units="1/step"),
                "second_moments": Quantity(self.second_moments, ("network",), source="E h²"),
                "half_times": Quantity(self.half_times, ("network",), "steps"),
                "exponents": Quantity(self.exponents, ("network",), "1/step"),
                "moving": Quantity(self.moving),
                "autocorrelation": Quantity(self.autocorrelation, ("lag",), source="E h(t) h(t + lag)"),
            },
            coordinates={"lag": Quantity(self.lags, units="steps", json="lags")},
            facts={"size": self.size, "networks": self.networks},
        )


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """One LSTM, five ways.

    The reduced model claims to be of the LSTM's h, in units of its steps. Its E h² is not the LSTM's, even with frozen
    gates: then c' = c/2 + ½ tanh(½ U tanh c), and E h² → C_0/8 at the edge.

    Attributes:
        gain: cell gain; gate gains are in `ensemble`.
        mean_field: of the LSTM itself, with λ_max by the tangent process.
        reduced: flow and (`.map`) map of the notes at this gain.
        law: leading order near the edge.
        networks: None where not simulated.
    """

    gain: float
    ensemble: Ensemble
    mean_field: LargestExponent
    reduced: Reduced
    law: OnsetLaw
    networks: LSTMNetworks | None

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """E h², half-time and λ_max of each, as `Estimate`s (errors 0 where exact), by "model"."""
        field = self.mean_field.field
        correlation = field.autocorrelation["h"]
        moment = Estimate(correlation.value[0], correlation.error[0])
        quiet = field.regime == "quiescent"
        rows = [
            {
                "model": "LSTM, mean field",
                "second_moment": Estimate(0.0, 0.0) if quiet else moment,
                "half_time": time_to_fall(correlation.value, 0.5, field.correlations.get("h")),
                "lyapunov_max": Estimate(self.mean_field.value, self.mean_field.error),
            }
        ]
        if self.networks is not None:
            found = self.networks
            rows.insert(0, {
                "model": f"LSTM, {found.networks} networks of {found.size}",
                "second_moment": found.second_moment, "half_time": found.half_time, "lyapunov_max": found.lyapunov_max,
            })  # fmt: skip
        exact = [
            ("onset law", self.law.second_moment, self.law.half_time, self.law.lyapunov_max),
            ("reduced map", self.reduced.map.variance, self.reduced.map.half_time, self.reduced.map.lyapunov_max),
            ("reduced flow", self.reduced.dynamic_variance, self.reduced.half_time, self.reduced.lyapunov_max),
        ]  # fmt: skip
        for model, second, half, exponent in exact:
            rows.append({
                "model": model, "second_moment": Estimate(second, 0.0), "half_time": Estimate(half, 0.0),
                "lyapunov_max": Estimate(exponent, 0.0),
            })  # fmt: skip
        return rows

    def description(self) -> Description:
        def by_model(name: str, units: str = "1") -> Quantity:
            return Quantity({row["model"]: row[name] for row in self.rows}, ("model",), units, json="")

        field = self.mean_field.field
        correlation, named = {"mean_field": field.autocorrelation["h"]}, {"mean_field": self.mean_field}
        if self.networks is not None:
            correlation |= {"networks": self.networks.autocorrelation}
            named |= {"networks": self.networks}
        return Description(
            quantities={
                "second_moment": by_model("second_moment"),
                "half_time": by_model("half_time", "steps"),
                "lyapunov_max": by_model("lyapunov_max", "1/step"),
                "autocorrelation": Quantity(correlation["mean_field"], ("lag",), source="E h(t) h(t + lag)", json=""),
            },
            coordinates={"lag": Quantity(field.lags, units="steps")},
            facts={"gain": self.gain, "ensemble": self.ensemble},
            parts={"rows": self.rows, "autocorrelation": correlation, **named},
        )


def compare(
    gain: float,
    gates: Mapping[str, float] | float | None = None,
    *,
    size: int | None = 2000,
    networks: int = 3,
    steps: int = 400,
    samples: int = 8000,
    transient: int | None = None,
    seed: int = 0,
) -> Comparison:
    """The true LSTM, its mean field, the reduced map and flow, and the onset law, side by side [EOC §4 question 1].

    Runs start with the amplitude that the onset law gives, so that they settle soon near the edge; where there is none
    (below gain 2, say), with one of 0.6.

    Args:
        gain: cell gain.
        gates: gain of all gates, or gains by name (those not named are 0: frozen at ½); equal to `gain` by default.
        size: neurons of each network; None: no networks.
        networks: how many.
        steps: of the mean field, and measured steps of each network.
        samples: sampled neurons of the mean field.
        transient: steps of each network before; `steps` by default.
        seed: of everything drawn; network j has the seed seed + j.

    Raises:
        ValueError: an argument out of its range, or a network that does not fit into memory.
    """
    gain = at_least("gain", gain, 0.0)
    gates = gate_gains(gain if gates is None else gates)
    ensemble, law = lstm(gain, gates), onset_law(gain, gates)
    initial = float(np.clip(2.0 * np.sqrt(law.second_moment), 1e-3, 0.6)) if law.second_moment > 0.0 else 0.6
    model = reduced(gain)
    found = None
    if size is not None:
        settle = whole("steps", steps, 16) if transient is None else whole("transient", transient, 1)
        seeds = [seed + j for j in range(whole("networks", networks))]
        found = _simulated(ensemble, whole("size", size), seeds, steps, settle, initial)
    field = lyapunov_max(ensemble, steps=steps, samples=samples, seed=seed, initial=initial)
    return Comparison(gain, ensemble, field, model, law, found, messages=messages_of({"mean field": field}))


def _simulated(
    ensemble: Ensemble, size: int, seeds: Sequence[int], steps: int, settle: int, initial: float
) -> LSTMNetworks:
    moments, halves, exponents, correlations, moving = [], [], [], [], []
    for seed in track(seeds, "networks"):
        network = Network(ensemble, size=size, seed=seed, dtype="float32")
        start = network.run(settle, seed=seed, initial=initial, record=1).last
        path = network.run(steps, state=start, seed=seed)
        c = path.autocorrelation["h"]
        energy = np.mean(path.states[-1] ** 2)
        alive = bool(energy > 1e-12)
        moments.append(float(c[0]) if alive else 0.0)
        halves.append(time_to_fall(c, 0.5).value if alive else np.nan)
        moving.append(alive and float(np.mean((path.states[-1] - path.before[-1]) ** 2)) > 1e-8 * energy)
        spectrum = network.lyapunov_spectrum(steps, count=1, transient=settle // 4, state=path.last, seed=seed)
        exponents.append(float(spectrum.largest.value))
        correlations.append(c)
    return LSTMNetworks(
        size=size,
        second_moments=np.array(moments),
        half_times=np.array(halves),
        exponents=np.array(exponents),
        moving=float(np.mean(moving)),
        lags=np.arange(len(correlations[0])),
        autocorrelation=from_batches(np.array(correlations)),
    )


# ---- exponents near the edge ----


@dataclass(frozen=True, eq=False, repr=False)
class CriticalExponent(Result):
    """A power law value ∝ ε^exponent fitted near the edge, ε = gain/2 − 1.

    Attributes:
        exponent: p of log value = log A + p log ε + c₁ ε, with c₂ ε² besides from 6 gains on.
        prefactor: value/ε^p as ε → 0.
        chi2: of the fit, per degree of freedom; NaN where there are none.
    """

    exponent: Estimate
    prefactor: Estimate
    chi2: float

    def description(self) -> Description:
        names = ("exponent", "prefactor", "chi2")
        return Description({name: Quantity(getattr(self, name), source="value = A ε^p") for name in names})


def critical_exponent(gains: Sequence[float], values: Estimate) -> CriticalExponent:
    """Fit value = A ε^p (1 + c₁ ε + …) to values above the edge by weighted least squares.

    Args:
        gains: cell gains above 2, at least 4 of them.
        values: positive values, with their errors; exact values weigh equally.

    Raises:
        ValueError: fewer than 4 gains, gains that are not above 2, or values that are not positive.
    """
    epsilon = np.asarray(gains, dtype=float) / 2.0 - 1.0
    value = np.asarray(values.value, dtype=float)
    error = np.broadcast_to(np.asarray(values.error, dtype=float), value.shape)
    if len(epsilon) < 4 or np.any(epsilon <= 0.0):
        raise ValueError(f"gains={list(gains)!r} must be at least 4 gains above 2")
    if value.shape != epsilon.shape or np.any(~(value > 0.0)):
        raise ValueError("values must be positive, one for each gain; leave out those that are not")
    exact = not np.any(error > 0.0)
    weight = np.ones(len(value)) if exact else value / np.maximum(error, 1e-3 * np.max(error / value) * value)
    columns = np.stack(
        [np.ones_like(epsilon), np.log(epsilon), epsilon, epsilon**2][: 4 if len(value) > 5 else 3], axis=1
    )
    covariance = np.linalg.inv((columns * weight[:, None] ** 2).T @ columns)
    found = covariance @ (columns * weight[:, None] ** 2).T @ np.log(value)
    left = weight * (np.log(value) - columns @ found)
    freedom = len(value) - columns.shape[1]
    chi2 = float(left @ left / freedom)
    scale = np.sqrt(chi2) if exact else np.sqrt(max(chi2, 1.0))
    spread = scale * np.sqrt(np.diagonal(covariance))
    prefactor = float(np.exp(found[0]))
    return CriticalExponent(
        Estimate(float(found[1]), float(spread[1])),
        Estimate(prefactor, prefactor * float(spread[0])),
        chi2,
        messages=far_from_edge(gains),
    )
