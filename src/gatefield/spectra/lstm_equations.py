"""The LSTM's spectrum in the paper's own letters: q_t and p_t of a neuron, and scalar equations of them [CKS 26–34].

A second route to what `spectrum` finds for any cell, and the curves of LSTMs with one gate alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from gatefield.cells.builtin import LSTM
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.snapshot import Snapshot
from gatefield.numerics.algebra import ComplexArray
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class LSTMNeurons(Result):
    """What the spectrum depends on of each of n neurons: one row of [CKS 28, 127].

    Attributes:
        forget: f_t.
        q: a_o² o'² φ(c_t)², from the output gate's weights.
        p: o² φ'(c_t)² (a_f² c_{t−1}² f'² + a_i² i'² φ(y)² + a_h² i² φ'(y)²), from all others.
    """

    forget: np.ndarray
    q: np.ndarray
    p: np.ndarray

    def description(self) -> Description:
        return Description(
            quantities={
                "forget": Quantity(self.forget, ("neuron",), source="f_t"),
                "q": Quantity(self.q, ("neuron",), source="CKS 28, 127"),
                "p": Quantity(self.p, ("neuron",), source="CKS 28, 127"),
            }
        )

    def boundary(self, points: Any) -> np.ndarray:
        """S(λ) = E q/|λ|² + E[p/|λ − f|²] − 1: 0 on the spectral curve, negative outside [CKS 31, 34, 129, 134, 147].

        (129) has = for what is ≤ within the support.
        """
        points = np.asarray(points, dtype=complex)
        values = [self._weights(z) for z in points.ravel()]
        return np.array([np.mean(top / whole) - 1.0 for top, whole in values]).reshape(points.shape)

    def implicit(self, points: Any) -> np.ndarray:
        """F(λ): E[Q/(|λ|² |λ − f|² + F Q)] = 1 within the support, 0 outside [CKS 29, 128, 131, 133]."""
        points = np.asarray(points, dtype=complex)
        return np.array([_root(*self._weights(z)) for z in points.ravel()]).reshape(points.shape)

    def resolvent(self, points: Any) -> ComplexArray:
        """G(λ) = E tr(λ − J)^{-1}/N, 2/λ at large λ [CKS 27, 128, 130, 132]."""
        points = np.asarray(points, dtype=complex)
        flat = points.ravel()
        found = [self._trace(z, f) for z, f in zip(flat, self.implicit(flat), strict=True)]
        return np.array(found, np.complex128).reshape(points.shape)

    def density(self, points: Any) -> np.ndarray:
        """Density of eigenvalues, atoms left out [CKS App. G density]."""
        points = np.asarray(points, dtype=complex)
        flat = points.ravel()
        found = [self._density(z, f) for z, f in zip(flat, self.implicit(flat), strict=True)]
        return np.array(found).reshape(points.shape)

    def _weights(self, z: complex) -> tuple[np.ndarray, np.ndarray]:
        """Q(λ) = |λ − f|² q + |λ|² p [CKS 126] and |λ|² |λ − f|²."""
        square, distance = abs(z) ** 2, np.abs(z - self.forget) ** 2
        return distance * self.q + square * self.p, square * distance

    def _trace(self, z: complex, f: float) -> complex:
        top, whole = self._weights(z)
        bar, left = np.conj(z), np.conj(z) - self.forget
        bare = abs(z) ** 2 * left + bar * np.abs(left) ** 2
        return complex(np.mean((bare + f * (left * self.q + bar * self.p)) / (whole + f * top)))

    def _density(self, z: complex, f: float) -> float:
        if f == 0.0:
            return 0.0
        top, whole = self._weights(z)
        weight = (whole + f * top) ** 2
        by_q, by_p = np.abs(z - self.forget) ** 4 * self.q, abs(z) ** 4 * self.p
        slope = np.mean((z * by_q + (z - self.forget) * by_p) / weight) / np.mean(top**2 / weight)  # −∂F/∂λ̄
        carried = slope * (np.conj(z) * by_q + (np.conj(z) - self.forget) * by_p)
        local = f * (by_q + by_p) + f**2 * self.forget**2 * self.p * self.q
        return float(np.mean((local + carried) / weight).real / np.pi)


def _root(top: np.ndarray, whole: np.ndarray) -> float:
    def excess(f: float) -> float:
        return float(np.mean(top / (whole + f * top))) - 1.0

    find: Any = brentq
    return float(find(excess, 0.0, 1.0, xtol=1e-15, rtol=1e-14)) if excess(0.0) > 0.0 else 0.0


def lstm_neurons(ensemble: Ensemble, snapshot: Snapshot) -> LSTMNeurons:
    """q_t, p_t and f_t of an LSTM's neurons [CKS 28, 127], dimensionless.

    They are sums of squares of the Jacobian's parts: q = (a_o ∂h/∂x_o)², p = Σ_{k≠o} (a_k ∂h/∂x_k)² [CKS 26]. The
    coupled LSTM has them as well.

    Raises:
        ValueError: another cell, or a snapshot of another one.
    """
    if not isinstance(ensemble.cell, LSTM):
        raise ValueError(f"ensemble of {repr_cell(ensemble.cell)}: q and p are an LSTM's; spectral_density takes any")
    if snapshot.cell != ensemble.cell:
        raise ValueError(f"snapshot is of {repr_cell(snapshot.cell)}, the ensemble of {repr_cell(ensemble.cell)}")
    local, output = snapshot.derivatives, ensemble.names.index("output")
    squares = (ensemble.gains * local.f_x[:, 1, :]) ** 2
    return LSTMNeurons(local.f_s[:, 0, 0], squares[:, output], np.delete(squares, output, axis=1).sum(axis=1))


def constant_forget_radius(ensemble: Ensemble, snapshot: Snapshot) -> float:
    """Spectral radius of an LSTM with a constant forget gate: E q/ρ² + E p/(ρ − σ(b_f))² = 1 [CKS 34, 147].

    Without gain on the output gate σ(b_f) + √E p [CKS 143]. The curve reaches farthest on the positive real axis, where
    |λ − σ(b_f)| is least for a given |λ|.

    Args:
        ensemble: LSTMs with neither gain nor bias variance on the forget gate.
        snapshot: their neurons.

    Raises:
        ValueError: another cell, or a forget gate that varies.
    """
    neurons = lstm_neurons(ensemble, snapshot)
    forget = float(neurons.forget[0])
    if ensemble.gain["forget"] > 0.0 or np.ptp(neurons.forget) > 0.0:
        raise ValueError(
            f"gain['forget']={ensemble.gain['forget']:g} and bias_var['forget']={ensemble.bias_var['forget']:g} must "
            "be 0: this is for a constant forget gate; spectral_radius answers for any"
        )
    q, p = float(np.mean(neurons.q)), float(np.mean(neurons.p))
    low, high = max(forget + np.sqrt(p), np.sqrt(q)), forget + np.sqrt(q + p)
    if q == 0.0 or high == low:
        return float(low)
    find: Any = brentq
    return float(find(lambda x: q * (x - forget) ** 2 + p * x**2 - (x * (x - forget)) ** 2, low, high, rtol=1e-14))
