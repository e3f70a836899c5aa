"""Numbers and quadratures that the theory is held against."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from tests.all_cells import RUN

import gatefield as gf

# The trapezoidal rule is accurate to rounding for Gaussian averages of smooth functions, tanh's poles included.
NODES = np.linspace(-10.0, 10.0, 801)
WEIGHTS = np.exp(-0.5 * NODES**2) / np.sum(np.exp(-0.5 * NODES**2))

# values.json "gru_dmft_ah3", candidate gain 3, by (update, reset): C_h with its error, the right and left ends of the
# spectral curve of one snapshot, and C_h(lag) at lags 0 to 11. Made by an independent plain-numpy program.
GRU_AT_3: dict[tuple[float, float], dict[str, Any]] = {
    (10.0, 10.0): {
        "C_h": (0.39537, 0.00046),
        "edges": (1.54717, -1.17013),
        "autocorrelation": [
            0.39486,
            0.33345,
            0.29148,
            0.25931,
            0.23315,
            0.21102,
            0.19199,
            0.17533,
            0.16046,
            0.14712,
            0.13529,
            0.12456,
        ],
    },
    (1.0, 10.0): {
        "C_h": (0.35083, 0.00045),
        "edges": (1.36680, -0.50312),
        "autocorrelation": [
            0.35042,
            0.32525,
            0.27217,
            0.2151,
            0.16463,
            0.12369,
            0.0919,
            0.0678,
            0.04977,
            0.03639,
            0.02655,
            0.01933,
        ],
    },
    (1.0, 1.0): {
        "C_h": (0.33857, 0.00017),
        "edges": (1.06612, -0.19774),
        "autocorrelation": [
            0.33888,
            0.33507,
            0.32412,
            0.30734,
            0.28646,
            0.26321,
            0.23905,
            0.21511,
            0.19215,
            0.17065,
            0.15086,
            0.13289,
        ],
    },
}
# values.json "gru_dmft_az0_exact": C_h at update gain 0, candidate gain 3, by reset gain.
GRU_WITHOUT_UPDATE = {0.0: 0.33228137, 1.0: 0.33874321, 10.0: 0.35201699}
# values.json "vanilla_map": variance of y by gain.
VANILLA = {3.0: 6.305391, 2.0: 2.121474, 1.2: 0.249513}

SEEDS = {(10.0, 10.0): range(4), (1.0, 10.0): range(2), (1.0, 1.0): range(2)}


def gru_at_3(update: float, reset: float) -> gf.Ensemble:
    return gf.Ensemble(gf.GRU(), gain={"update": update, "reset": reset, "candidate": 3.0})


@cache
def gru_fields(update: float, reset: float) -> tuple[gf.meanfield.MeanField, ...]:
    """Mean fields of `gru_at_3` for each of its SEEDS, solved once for all tests."""
    ensemble = gru_at_3(update, reset)
    return tuple(gf.mean_field(ensemble, seed=seed, **RUN) for seed in SEEDS[update, reset])


def together(estimates: list[gf.Estimate]) -> tuple[float, float]:
    """Mean of independent estimates and its standard error."""
    values, errors = (np.array([getattr(e, what) for e in estimates]) for what in ("value", "error"))
    return float(values.mean()), float(np.sqrt(np.sum(errors**2)) / len(estimates))


def gauss(f: Callable[[np.ndarray], np.ndarray], variance: float, mean: float = 0.0) -> float:
    """E f(x) for Gaussian x."""
    return float(WEIGHTS @ f(mean + variance**0.5 * NODES))


def vanilla_variance(gain: float, added: float = 0.0, mean: float = 0.0) -> float:
    """q = g² E tanh²(√q x + mean) + added: variance of the pre-activation, exact for the map h' = tanh(y)."""
    return brentq(lambda q: gain**2 * gauss(lambda y: np.tanh(y) ** 2, q, mean) + added - q, 1e-9, 1e3, xtol=1e-14)


def vanilla_exponent(gain: float, noise: float = 0.0) -> float:
    """ln(g √E sech⁴ y), exact for a map, whatever white noise drives it."""
    q = vanilla_variance(gain, added=noise)
    return float(np.log(gain) + 0.5 * np.log(gauss(lambda y: np.cosh(y) ** -4.0, q)))


def gru_static(
    *, candidate: float, reset: float, bias_mean: float, bias_var: float, reset_var: float = 0.0
) -> tuple[float, float]:
    """(C_h, E h) of the GRU's fixed point [CKS 10], with a bias on the candidate and a variance on the reset gate."""

    def inner(c: float) -> float:
        open_reset = gauss(lambda x: expit(x) ** 2, reset**2 * c + reset_var)
        return candidate**2 * c * open_reset + bias_var

    def equation(c: float) -> float:
        return gauss(lambda y: np.tanh(y) ** 2, inner(c), bias_mean) - c

    c = brentq(equation, 1e-9, 1.0, xtol=1e-14)
    return c, gauss(np.tanh, inner(c), bias_mean)


def gru(
    a_z: float = 0.0, a_r: float = 0.0, a_h: float = 3.0, /, *, hard: bool = False, **bias_mean: float
) -> gf.Ensemble:
    gain = {"update": a_z, "reset": a_r, "candidate": a_h}
    return gf.Ensemble(gf.GRU(activation="hard_tanh" if hard else "tanh"), gain=gain, bias_mean=bias_mean)


def zero_of(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-15, rtol=1e-14))  # pyright: ignore[reportArgumentType]
