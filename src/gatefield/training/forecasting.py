"""Forecasts of a chaotic series by reading out a random network (Jaeger 2001): best near its edge of chaos?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from gatefield.cells.ensemble import Ensemble
from gatefield.layers.layer import Layer
from gatefield.networks.along import lyapunov_along
from gatefield.networks.network import Network, Path
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, positive, whole

_SUBSTEPS = 10  # Runge–Kutta steps per unit of time
_DELAY = 17  # τ of Mackey and Glass, mildly chaotic
_WARM = 500.0  # time before the series begins


def mackey_glass(length: int, *, seed: int = 0) -> np.ndarray:
    """The chaotic series of Mackey and Glass (1977), x' = 0.2 x(t − 17)/(1 + x(t − 17)¹⁰) − 0.1 x, at unit times.

    Args:
        length: of the series.
        seed: of the constant state that it starts from, between 0.5 and 1.5; the first 500 units of time are left out.
    """
    total = whole("length", length) + int(_WARM)
    lag = _DELAY * _SUBSTEPS
    x = np.empty(lag + total * _SUBSTEPS + 1)
    x[: lag + 1] = np.random.default_rng(seed).uniform(0.5, 1.5)
    dt = 1.0 / _SUBSTEPS

    def slope(now: float, past: float) -> float:
        return 0.2 * past / (1.0 + past**10) - 0.1 * now

    for i in range(lag, len(x) - 1):
        now, first, last = x[i], x[i - lag], x[i - lag + 1]
        middle = 0.5 * (first + last)
        a = slope(now, first)
        b = slope(now + 0.5 * dt * a, middle)
        c = slope(now + 0.5 * dt * b, middle)
        d = slope(now + dt * c, last)
        x[i + 1] = now + dt / 6.0 * (a + 2.0 * b + 2.0 * c + d)
    return x[lag + int(_WARM) * _SUBSTEPS :: _SUBSTEPS][:length]


@dataclass(frozen=True, eq=False, repr=False)
class Forecast(Result):
    """How well a random network's state tells the future of a series that drives it.

    Attributes:
        horizons: steps ahead, (n,).
        error: root mean square error of each on the test part, in units of the series' deviation, (n,).
        lyapunov_max: of the network under the series, per step: below 0 its state is a function of the series alone.
        size, seed: of the network.
    """

    ensemble: Ensemble
    horizons: np.ndarray
    error: np.ndarray
    lyapunov_max: float
    size: int
    seed: int

    def description(self) -> Description:
        return Description(
            quantities={
                "error": Quantity(self.error, ("horizon",), "deviations of the series", "ridge regression"),
                "lyapunov_max": Quantity(self.lyapunov_max, (), "1/step"),
            },
            coordinates={"horizon": Quantity(self.horizons, units="steps", json="horizons")},
            facts={"ensemble": self.ensemble, "size": self.size, "seed": self.seed},
        )


def forecast(
    ensemble: Ensemble,
    *,
    series: Any = None,
    size: int = 500,
    horizons: Any = (1, 6, 20, 50, 84),
    test: float = 0.25,
    washout: int = 200,
    input_std: float = 0.3,
    ridge: float = 1e-7,
    seed: int = 0,
) -> Forecast:
    """Drive a random network with a series and read its future out of the state by ridge regression.

    Nothing of the network is trained. The series, brought to mean 0 and deviation 1, feeds every pre-activation.

    Args:
        ensemble: of the network.
        series: numbers at equal times; by default 4000 steps of Mackey–Glass.
        size: neurons N.
        horizons: how many steps ahead to forecast.
        test: last share of the series, on which errors are measured.
        washout: first steps that are left out, in which the network forgets where it started.
        input_std: deviation of the input weights.
        ridge: penalty per training step of the read-out's weights, states being of order 1.
        seed: of network and input weights.

    Raises:
        ValueError: an argument out of its range, or a series too short for it or without variation.
    """
    values = mackey_glass(4000) if series is None else np.asarray(series, dtype=float)
    if values.ndim != 1 or not np.all(np.isfinite(values)) or np.std(values) == 0.0:
        raise ValueError(f"series of shape {values.shape} must be a row of finite numbers that vary")
    ahead = np.array([whole("horizons", int(h)) for h in np.atleast_1d(horizons)])
    washout, size = whole("washout", washout, 0), whole("size", size)
    values = (values - values.mean()) / values.std()
    last = len(values) - int(ahead.max())
    split = last - round(last * at_least("test", test, 0.0))
    if split - washout < 10 or last - split < 10:
        raise ValueError(
            f"series of {len(values)} numbers leaves {max(split - washout, 0)} to train and {max(last - split, 0)} to "
            f"test on; it must be longer than washout={washout} and the longest of horizons={ahead.tolist()}"
        )
    network = Network(ensemble, size=size, seed=whole("seed", seed, 0))
    path = _driven(network, values, positive("input_std", input_std), seed)
    features = np.concatenate([path.states[:, :, -1], np.ones((len(values), 1)), values[:, None]], axis=1)
    targets = np.stack([values[h : last + h] for h in ahead], axis=1)
    weights = _ridge(features[washout:split], targets[washout:split], positive("ridge", ridge))
    missed = features[split:last] @ weights - targets[split:last]
    spectrum = lyapunov_along(path, network.weights, count=1, transient=min(washout, len(values) // 2), seed=seed)
    error = np.sqrt(np.mean(missed**2, axis=0))
    return Forecast(ensemble, ahead, error, float(spectrum.largest.value), size, seed)


def _ridge(features: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    gram = features.T @ features + penalty * len(features) * np.eye(features.shape[1])
    return scipy.linalg.solve(gram, features.T @ targets, assume_a="pos")


def _driven(network: Network, values: np.ndarray, input_std: float, seed: int) -> Path:
    """The network's path under a series, from rest."""
    rng = np.random.default_rng([seed, 3])
    wired = {name: input_std * rng.standard_normal((network.size, 1)) for name in network.ensemble.names}
    return Layer.of(network, wired).run(values[:, None])
