"""The mean field of a GRU with a constant update gate, without sampling [CKS 36–44 at a_z = 0].

With z constant, h is a linear filter of φ(y) and r does not know h, so the two-time covariances close:

    C_y = a_h² E[r r'] C_h + v_h,   h(t+1) = z h(t) + (1 − z) φ(y(t)),

each step adding one row. Averages of two jointly Gaussian values are Mehler's series Σ_n c_n(s) c_n(s') ρ^n, with c_n
the coefficients of f(m + s g) in normalised Hermite polynomials, by quadrature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.signal import lfilter
from scipy.special import expit

from gatefield.arguments import at_least, whole
from gatefield.cells import GRU
from gatefield.ensemble import Ensemble, repr_cell
from gatefield.quadrature import gaussian_nodes

_TERMS = 160


@dataclass(frozen=True, eq=False)
class DeterministicMeanField:
    """Covariances of a GRU with a constant update gate.

    Attributes:
        covariance: C_h(t, t') = E[h(t) h(t')], (steps, steps), t = 0 the start.
    """

    ensemble: Ensemble
    covariance: np.ndarray

    @property
    def second_moment(self) -> np.ndarray:
        """E[h(t)²], (steps,)."""
        return np.diagonal(self.covariance)

    @property
    def autocorrelation(self) -> np.ndarray:
        """E[h(T) h(T − lag)] from the last step back over half the run."""
        return self.covariance[-1, ::-1][: len(self.covariance) // 2]


def deterministic_mean_field(ensemble: Ensemble, *, steps: int = 300, initial: float = 0.6) -> DeterministicMeanField:
    """The mean field of a GRU whose update gate has no gain, from a random start of deviation `initial`.

    Raises:
        ValueError: another cell, a gain or bias variance of the update gate, or an input that varies.
    """
    cell = ensemble.cell
    if not isinstance(cell, GRU) or cell.reset_after:
        raise ValueError(f"the deterministic mean field is for the paper's GRU, not {repr_cell(cell)}; use mean_field")
    if ensemble.gain["update"] > 0.0 or ensemble.static_variance[0] > 0.0 or ensemble.driven:
        raise ValueError(
            "the deterministic mean field needs an update gate of gain and bias variance 0; use mean_field"
        )
    steps, initial = whole("steps", steps, 2), at_least("initial", initial, 0.0)
    keep = float(expit(ensemble.means[0]))
    reset, candidate = (_Process(ensemble, name, steps, f) for name, f in (("reset", expit), ("candidate", _phi(cell))))
    c = np.zeros((steps, steps))
    cross = np.zeros((steps, steps))  # E[h(t) φ(y(t'))]
    c[0, 0] = initial**2
    for t in range(steps - 1):
        now = c[t, : t + 1]
        products = candidate.add(ensemble.gain["candidate"] ** 2 * reset.add(ensemble.gain["reset"] ** 2 * now) * now)
        if t > 0:  # E[h(t) φ(t')] from the earlier ones, then E[h(t') φ(t)] by the filter in t'
            cross[t, :t] = keep * cross[t - 1, :t] + (1.0 - keep) * candidate.products[t - 1, :t]
            cross[1 : t + 1, t] = lfilter([1.0 - keep], [1.0, -keep], products[:t])
        row = keep * now + (1.0 - keep) * cross[: t + 1, t]
        c[t + 1, : t + 1] = c[: t + 1, t + 1] = row
        c[t + 1, t + 1] = keep**2 * c[t, t] + 2.0 * keep * (1.0 - keep) * cross[t, t] + (1.0 - keep) ** 2 * products[t]
    return DeterministicMeanField(ensemble, c)


def _phi(cell: GRU) -> Callable[[np.ndarray], np.ndarray]:
    def phi(x: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(cell.phi(jnp.asarray(x)))

    return phi


class _Process:
    """E[f(x(t)) f(x(t'))] of one pre-activation as its covariance grows row by row."""

    def __init__(self, ensemble: Ensemble, name: str, steps: int, f: Callable[[np.ndarray], np.ndarray]) -> None:
        k = ensemble.names.index(name)
        self.mean, self.static, self.f = float(ensemble.means[k]), float(ensemble.static_variance[k]), f
        self.std = np.zeros(steps)
        self.coefficients = np.zeros((steps, _TERMS))
        self.products = np.zeros((steps, steps))
        self.rows = 0

    def add(self, covariance: np.ndarray) -> np.ndarray:
        """The products with all times so far, from their covariances with the new time, itself last."""
        t = self.rows
        covariance = covariance + self.static
        self.std[t] = np.sqrt(covariance[-1])
        x, weights = gaussian_nodes(np.array(self.mean), self.std[t])
        values = self.f(x)
        self.coefficients[t] = (values * weights) @ _hermite((x - self.mean) / max(self.std[t], 1e-300)).T
        scale = self.std[t] * self.std[: t + 1]
        correlation = np.where(scale > 0.0, covariance / np.where(scale > 0.0, scale, 1.0), 0.0)
        powers = np.cumprod(np.broadcast_to(np.clip(correlation, -1.0, 1.0), (_TERMS - 1, t + 1)), axis=0)
        both = self.coefficients[t] * self.coefficients[: t + 1]
        row = both[:, 0] + np.sum(both[:, 1:] * powers.T, axis=1)
        row[-1] = (values**2) @ weights
        self.products[t, : t + 1] = self.products[: t + 1, t] = row
        self.rows += 1
        return row


def _hermite(g: np.ndarray) -> np.ndarray:
    """Normalised Hermite polynomials: (terms, nodes)."""
    out = np.empty((_TERMS, len(g)))
    out[0], out[1] = 1.0, g
    for n in range(1, _TERMS - 1):
        out[n + 1] = (g * out[n] - np.sqrt(n) * out[n - 1]) / np.sqrt(n + 1.0)
    return out
