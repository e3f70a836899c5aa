"""Long-term Jacobian: growth of perturbations over n steps, at a static state [CKS App. F] and along a run, any cell.

μ_n = E tr (J^n)†J^n / N is the coefficient of (λ μ*)^{−n−1} in

    D(λ, μ) = E tr R_s(λ) R_s(μ)† / N + w (1 − T)^{-1} y,

    T_kl = a_k² E Γ_kl(λ) Γ_kl(μ)*,   y_k = a_k² E (V_s R_s(λ) R_s(μ)† V_s†)_kk,   w_l = E (F_x† R_s(μ)† R_s(λ) F_x)_ll,

R_s(λ) = (λ − F_s)^{-1}, Γ = V_s R_s F_x + V_x, read off by a double Fourier transform on a circle outside the spectrum.
Averages over neurons are taken of the coefficients of powers of 1/λ and 1/μ*, products of real matrices (powers ×
neurons), and summed on the circle afterwards. Pre-activations that share their source share a row of Γ and are one
unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot, check_cell
from gatefield.numerics.estimates import from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, finite, whole
from gatefield.spectra.support import spectral_radius

_LARGEST = 300  # power
_ACCURACY = 1e-11
_GROUPS = 8
_AT_ONCE = 2**22  # numbers per neuron-wise array
GROWTH = "tr M†M / N, M a product of n Jacobians, CKS App. F"  # as a source
Powers = int | Sequence[int] | range | np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class LongTermJacobian(Result):
    """μ_n = E tr (J^n)†J^n / N, the mean squared singular value of J^n times D; D itself at n = 0 [CKS 100].

    Attributes:
        n: the powers.
        value: μ_n.
        error: from leaving out groups of the snapshot's neurons in turn; 0 where they are fewer than 64, NaN where one
            group decides how far the spectrum reaches.
        radius: spectral radius of J: μ_n^{1/2n} tends to it [CKS 101].
    """

    n: np.ndarray
    value: np.ndarray
    error: np.ndarray
    radius: float
    ensemble: Ensemble

    @property
    def amplification(self) -> float:
        """Largest μ_n over the powers `n`: transient growth where it exceeds μ_0 = D although `radius` is below 1."""
        return float(np.max(self.value))

    @property
    def amplified_at(self) -> int:
        """The power at which `amplification` is attained; where it is the largest one, μ_n may still be growing."""
        return int(self.n[np.argmax(self.value)])

    def description(self) -> Description:
        return Description(
            quantities={name: Quantity(getattr(self, name), ("n",), source=GROWTH) for name in ("value", "error")}
            | {"amplification": Quantity(self.amplification), "amplified_at": Quantity(self.amplified_at, (), "steps")},
            coordinates={"n": Quantity(self.n, units="steps", json="n")},
            facts={"ensemble": self.ensemble, "radius": self.radius},
        )


def long_term_jacobian(ensemble: Ensemble, snapshot: Snapshot, n: Powers) -> LongTermJacobian:
    """Mean squared singular values of powers of the one-step Jacobian of an infinite network [CKS App. F].

    At a snapshot whose neurons move (of a chaotic or driven state) this is the power of the frozen Jacobian, J_t^n, and
    not the product J_{t+n−1} … J_t that carries a perturbation on: see `trajectory_growth`.

    Args:
        ensemble: gives the gains.
        snapshot: the neurons: `FixedPoint.snapshot`, `Snapshot.at_zero`, or one of a network or a mean field.
        n: powers, from 0 on. The cost grows as their largest squared, times the number of neurons.

    Raises:
        ValueError: a power below 0 or above 300, or a snapshot of another cell.
    """
    check_cell(ensemble, snapshot)
    powers = whole_powers(n)
    value, error, radius = _moments(ensemble, snapshot, powers)
    return LongTermJacobian(powers, value, error, radius, ensemble)


def whole_powers(n: Any) -> np.ndarray:
    """The powers as a row of integers, checked."""
    given = [n] if np.ndim(n) == 0 else list(n)
    if not given:
        raise ValueError(f"n={n!r} must hold at least one power")
    powers = np.array([whole("n", k, 0) for k in given])
    if powers.max() > _LARGEST:
        raise ValueError(f"n={powers.max()} is too large; give powers up to {_LARGEST}")
    return powers


def _radius(ensemble: Ensemble, snapshot: Snapshot) -> float:
    """Radius of a circle that holds the spectrum and all poles of Γ."""
    return max(float(spectral_radius(ensemble, snapshot).value), _largest_pole(snapshot), 1e-6)


def _largest_pole(snapshot: Snapshot) -> float:
    return float(np.max(np.abs(np.linalg.eigvals(snapshot.derivatives.f_s))))


@dataclass(frozen=True)
class _Circle:
    """Where the coefficients of D are read off.

    Attributes:
        radius: of the circle, so little outside the spectrum that rounding, amplified by (circle/spectrum)^{2n}, stays
            near `_ACCURACY`.
        count: number of points on it, as many as let aliasing, (spectrum/circle)^count, fall below `_ACCURACY`.
        terms: powers of 1/λ after which Γ's series has converged on it.
    """

    radius: float
    count: int
    terms: int


def _circle(snapshot: Snapshot, largest: int, radius: float) -> _Circle:
    ratio = float(np.exp(min(0.5, 5.0 / (largest + 1))))
    needed = largest + 2 + int(np.log(1.0 / _ACCURACY) / np.log(ratio))
    count = 32 * -(-needed // 32)  # quick to transform
    decay = np.log(ratio * radius / max(_largest_pole(snapshot), 1e-300))
    terms = min(count, 8 * len(snapshot.cell.state_names) + int(-np.log(1e-2 * _ACCURACY) / decay))
    return _Circle(ratio * radius, count, terms)


@dataclass(frozen=True, eq=False)
class _Series:
    """Coefficients of λ^{−m} μ*^{−m'} in what D is made of, summed over neurons, times circle^{−m−m'}.

    Attributes:
        neurons: how many.
        bare: of tr R_s R_s†, (terms, terms).
        transfer: of Γ_k Γ_k'† between groups of pre-activations that share a source, (G, G, terms, terms).
        y, w: of y and w, (G, terms, terms).
    """

    neurons: int
    bare: np.ndarray
    transfer: np.ndarray
    y: np.ndarray
    w: np.ndarray

    def without(self, part: _Series) -> _Series:
        """The other neurons."""
        pairs = zip(self._arrays(), part._arrays(), strict=True)
        return _Series(self.neurons - part.neurons, *(whole - other for whole, other in pairs))

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.bare, self.transfer, self.y, self.w


def _moments(ensemble: Ensemble, snapshot: Snapshot, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """μ_n, its standard error by leaving out groups of neurons (0 where there are too few), and the radius."""
    radius = _radius(ensemble, snapshot)
    circle = _circle(snapshot, int(powers.max()), radius)
    series = _series(ensemble, snapshot, circle)
    value = _coefficients(series, circle, powers)
    groups = snapshot.groups if snapshot.groups > 1 else _GROUPS
    size = snapshot.neurons // groups
    if size < _GROUPS:
        return value, np.zeros(len(powers)), radius
    left = []
    for i in range(groups):
        kept = slice(i * size, (i + 1) * size)
        part = Snapshot(snapshot.cell, snapshot.state[kept], snapshot.preactivations[kept])
        left.append(_coefficients(series.without(_series(ensemble, part, circle)), circle, powers))
    return value, from_batches(groups * value - (groups - 1) * np.array(left)).error, radius  # of pseudo-values


def _series(ensemble: Ensemble, snapshot: Snapshot, circle: _Circle) -> _Series:
    local, gains = snapshot.derivatives, ensemble.gains
    groups = [[k for k in group.members if gains[k] > 0.0] for group in ensemble.structure.groups]
    groups = [members for members in groups if members]
    size, terms = len(groups), circle.terms
    bare, transfer = np.zeros((terms, terms)), np.zeros((size, size, terms, terms))
    y, w = np.zeros((2, size, terms, terms))
    length = max(1, _AT_ONCE // (terms * (len(gains) + 1) ** 2))
    for begin in range(0, snapshot.neurons, length):
        part = slice(begin, begin + length)
        f_x, v_s, v_x = local.f_x[part] * gains, local.v_s[part], local.v_x[part] * gains
        resolvent = _resolvent_series(local.f_s[part] / circle.radius, terms) / circle.radius
        responses = resolvent @ f_x
        bare += _gram(resolvent)
        for i, members in enumerate(groups):
            row = members[0]
            source = np.einsum("ns,mnst->mnt", v_s[:, row], resolvent, optimize=True)
            gamma = np.einsum("mns,nsl->mnl", source, f_x, optimize=True)
            gamma[0] += v_x[:, row]
            y[i] += _gram(source)
            w[i] += _gram(responses[..., members])
            for j, columns in enumerate(groups):
                transfer[i, j] += _gram(gamma[..., columns])
    return _Series(snapshot.neurons, bare, transfer, y, w)


def _resolvent_series(f_s: np.ndarray, terms: int) -> np.ndarray:
    """0, 1, F_s, F_s², …: the coefficients of λ^{−m} in (λ − F_s)^{-1}, (terms, n, D, D)."""
    out = np.zeros((terms, *f_s.shape))
    out[1] = np.eye(f_s.shape[-1])
    for m in range(2, terms):
        out[m] = f_s @ out[m - 1]
    return out


def _gram(values: np.ndarray) -> np.ndarray:
    """Σ over neurons and entries of values(m) values(m'): (terms, …) → (terms, terms)."""
    flat = values.reshape(len(values), -1)
    return flat @ flat.T


def _coefficients(series: _Series, circle: _Circle, powers: np.ndarray) -> np.ndarray:
    """μ_n: the series are summed at all pairs of points, D solved for there, and its coefficients read off."""

    def at_points(coefficients: np.ndarray) -> np.ndarray:
        half = np.fft.fft(coefficients / series.neurons, circle.count, axis=-2)
        return np.fft.ifft(half, circle.count, axis=-1, norm="forward")

    transfer = at_points(series.transfer)
    itself = np.abs(np.einsum("ijzz->zij", transfer))  # T(λ, λ), which is real and not negative
    if itself.size and np.max(np.abs(np.linalg.eigvals(itself))) >= 1.0:  # the circle cuts these neurons' spectrum
        return np.full(len(powers), np.nan)
    solved = _solve_small(transfer, at_points(series.y))
    kernel = at_points(series.bare) + np.sum(at_points(series.w) * solved, axis=0)
    # the coefficient needs e^{i(n+1)(θ − θ')} only: sum along diagonals of constant θ − θ'
    count = circle.count
    shift = ((np.arange(count)[:, None] - np.arange(count)) % count).ravel()
    real, imaginary = (np.bincount(shift, part.ravel(), minlength=count) for part in (kernel.real, kernel.imag))
    coefficients = np.fft.ifft(real + 1j * imaginary).real / count
    with np.errstate(over="ignore", under="ignore"):
        return circle.radius**2 * coefficients[(powers + 1) % count] * np.exp(2.0 * powers * np.log(circle.radius))


def _solve_small(transfer: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(1 − T)^{-1} y for a few unknowns along the first axes; no pivots, T being a contraction outside the spectrum."""
    size = len(right)
    matrix = [[(i == j) - transfer[i, j] for j in range(size)] for i in range(size)]
    solved = list(right)
    for k in range(size):
        for i in range(size):
            if i != k:
                factor = matrix[i][k] / matrix[k][k]
                matrix[i] = [a - factor * b for a, b in zip(matrix[i], matrix[k], strict=True)]
                solved[i] = solved[i] - factor * solved[k]
    return np.array([solved[k] / matrix[k][k] for k in range(size)]).reshape(right.shape)


def constant_update_gate(gate: float, shaping: float, n: Powers) -> np.ndarray:
    """μ_n for J = z + (1 − z) ρ X, X with independent entries of variance 1/N [CKS 120, 122].

    The mean of |z + (1 − z) ρ e^{iθ}|^{2n} over θ [CKS 122], which is Σ_k C(n, k)² z^{2(n−k)} ((1 − z) ρ)^{2k} and
    z^{2n} ₂F₁(−n, −n; 1; ((1 − z) ρ/z)²). Corrected: ρ² carries no further factor σ(b_r) [CKS 120], and the
    hypergeometric function printed in [CKS 121] is another one.

    Args:
        gate: z = σ(b_z).
        shaping: ρ, with ρ² = a_h² E[φ'²] (E[r²] + a_r² E[r'² h²]).
        n: powers, from 0 on.

    Raises:
        ValueError: a gate outside [0, 1], a negative ρ or power.
    """
    gate, shaping, powers = _share("gate", gate), at_least("shaping", shaping, 0.0), whole_powers(n)
    angles = 2.0 * np.pi * np.arange(powers.max() + 1) / (powers.max() + 1)  # exact for polynomials of degree n
    factor = np.abs(gate + (1.0 - gate) * shaping * np.exp(1j * angles))
    with np.errstate(over="ignore", under="ignore"):
        return np.mean(factor ** (2 * powers[:, None]), axis=1)


def binary_update_gate(open_share: float, shaping: float, n: Powers) -> np.ndarray:
    """μ_n for J = ẑ + (1 − ẑ) ρ X with update gates at 0 (a share α of neurons) or 1 [CKS 114, 116].

    (1 − α) Σ_{k<n} (αρ²)^k + (αρ²)^n. Corrected: J^n = Σ_{q<n} (PW)^q ẑ + (PW)^n with P = 1 − ẑ; [CKS 115] ends its
    sum with (PW)^n ẑ, which is 1 − α of the last term.

    Args:
        open_share: α, share of neurons whose state is overwritten.
        shaping: ρ of those.
        n: powers, from 0 on.

    Raises:
        ValueError: a share outside [0, 1], a negative ρ or power.
    """
    alpha, powers = _share("open_share", open_share), whole_powers(n)
    x = alpha * at_least("shaping", shaping, 0.0) ** 2
    with np.errstate(over="ignore", under="ignore"):
        return np.array([(1.0 - alpha) * np.sum(x ** np.arange(k)) + np.float64(x) ** k for k in powers])


def binary_update_gate_limit(open_share: float, shaping: float) -> float:
    """Where μ_n of `binary_update_gate` goes as n → ∞ [CKS 118]: (1 − α)/(1 − αρ²) for αρ² < 1, else infinity.

    Raises:
        ValueError: a share outside [0, 1] or a negative ρ.
    """
    alpha = _share("open_share", open_share)
    x = alpha * at_least("shaping", shaping, 0.0) ** 2
    if x < 1.0:
        return (1.0 - alpha) / (1.0 - x)
    return 1.0 if x == alpha == 1.0 else float("inf")


def _share(name: str, value: float) -> float:
    number = finite(name, value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name}={value!r} must lie in [0, 1]")
    return number
