"""The mean field without sampling, where the state is a linear filter of φ(y) with a constant rate.

So it is for the paper's GRU with a constant update gate [CKS 36–43] at a_z = 0, for `Vanilla` and for `Leaky`. The
two-time covariances then close, each step adding one row:

    C_y = a² E[r r'] C_h + v,   h(t+1) = z h(t) + (1 − z) φ(y(t)),

with z = 0 and r = 1 for `Vanilla`. `Leaky` has z = 1 − δ and r = 1: x = h + b with h(t+1) = (1 − δ) h(t) + δ U φ(x(t)).

Perturbations follow δh(t+1) = z δh(t) + (1 − z) φ'(y) δy, with δy Gaussian and independent of y, of covariance
a² (E[r r'] K_h + a_r² E[σ'(x_r) σ'(x_r')] C_h K_h). So K_h = E[δh δh'] is carried along in the same way, and half the
rate at which it grows is the largest Lyapunov exponent (Sompolinsky, Crisanti & Sommers 1988).

Averages of two jointly Gaussian values are Mehler's series Σ_n c_n(s) c_n(s') ρ^n, with c_n the coefficients of
f(m + s g) in normalised Hermite polynomials, by quadrature. After 160 terms, what they leave of E f² counts as one
more, which is felt at large deviations s together with correlations near 1. Where φ has kinks they are between panels
of the quadrature, but the series falls slowly. `inaccuracy` says what that does to the exponent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import solve_banded
from scipy.special import expit

from gatefield.cells.builtin import GRU, Leaky, Vanilla
from gatefield.cells.cell import ActivatedCell
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.kinks import activation_kinks
from gatefield.numerics.estimates import Estimate
from gatefield.numerics.quadrature import gaussian_nodes
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, whole

_TERMS = 160
_CUT = 0.1  # error of growth by that of the products; 0.01 to 0.08 were seen

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False, repr=False)
class DeterministicMeanField(Result):
    """Covariances of a mean field without sampling.

    Attributes:
        covariance: of the cell's state, C(t, t') = E[h(t) h(t')], not centred, (steps, steps), t = 0 the start.
        growth: ½ ln K(t+1, t+1)/K(t, t) of a small perturbation, (steps − 1,); None where it was not asked for.
        inaccuracy: rough error of `growth` at the end, from the cut of Mehler's series and kinks of φ.
    """

    ensemble: Ensemble
    covariance: np.ndarray
    growth: np.ndarray | None = None
    inaccuracy: float = 0.0

    @property
    def second_moment(self) -> np.ndarray:
        """E[h(t)²], (steps,)."""
        return np.diagonal(self.covariance)

    @property
    def autocorrelation(self) -> np.ndarray:
        """E[h(T) h(T − lag)] from the last step back over half the run."""
        return self.covariance[-1, ::-1][: len(self.covariance) // 2]

    @property
    def lyapunov_max(self) -> Estimate:
        """Largest Lyapunov exponent per step: growth at the end.

        The error is three times its change over the last quarter, which is what remains of a change like 1/t (by which
        growth settles about a fixed point; chaos settles sooner), and `inaccuracy`.

        Raises:
            ValueError: the mean field was made without `tangent=True`.
        """
        if self.growth is None:
            raise ValueError("lyapunov_max needs perturbations; call deterministic_mean_field with tangent=True")
        value, last = float(self.growth[-1]), self.growth[3 * len(self.growth) // 4 :]
        change = float(np.max(np.abs(last - value))) if np.isfinite(last).all() else float("nan")
        return Estimate(value, 3.0 * change + self.inaccuracy)

    def description(self) -> Description:
        followed, steps = self.growth is not None, len(self.covariance)
        return Description(
            quantities={
                "second_moment": Quantity(self.second_moment, ("time",), source="E[h(t)²]"),
                "autocorrelation": Quantity(self.autocorrelation, ("lag",), source="E[h(T) h(T − lag)], CKS 42"),
                "covariance": Quantity(self.covariance, ("time", "other_time"), source="E[h(t) h(t')]", json=""),
                "lyapunov_max": Quantity(self.lyapunov_max if followed else None, units="1/step"),
                "growth": Quantity(self.growth, ("step",), "1/step", "½ ln K(t+1, t+1)/K(t, t)"),
                "inaccuracy": Quantity(self.inaccuracy, units="1/step"),
            },
            coordinates={
                "time": Quantity(np.arange(steps), units="steps"),
                "other_time": Quantity(np.arange(steps), units="steps"),
                "lag": Quantity(np.arange(steps // 2), units="steps"),
            },
            facts={"ensemble": self.ensemble, "steps": steps},
        )


def deterministic_mean_field(
    ensemble: Ensemble, *, steps: int = 300, initial: float = 0.6, tangent: bool = False
) -> DeterministicMeanField:
    """The mean field of vanilla and leaky networks, and of GRUs whose update gate has no gain, without sampling.

    Args:
        ensemble: constant currents are allowed.
        steps: number of times, the start among them. The cost grows as their square.
        initial: deviation of the state at its random start. That of `Leaky` has mean and variance of the biases on top,
            so that x − b is in the range of U from the start.
        tangent: follow a small perturbation as well, for `growth` and `lyapunov_max`.

    Raises:
        ValueError: another cell, a gain or bias variance of the update gate, or an input that varies.
    """
    family = _family(ensemble)
    steps, initial = whole("steps", steps, 2), at_least("initial", initial, 0.0)
    breaks = activation_kinks(ensemble.cell.activation)  # pyright: ignore[reportAttributeAccessIssue]
    source = _Process(ensemble, family.source, steps, family.functions[: 1 + tangent], breaks)
    reset = _Process(ensemble, family.reset, steps, (expit, _expit_slope)[: 1 + tangent]) if family.reset else None
    opening = ensemble.gain[family.reset] ** 2 if family.reset else 0.0
    state, perturbation = _Filter(family.keep, steps, initial**2), _Filter(family.keep, steps, 1.0)
    cut = np.zeros(1)
    for _ in range(steps - 1):
        now = state.row
        gates = reset.add(opening * now) if reset else np.array([[1.0], [0.0]])
        products = source.add(family.gain**2 * gates[0] * now)
        state.add(products[0])
        if tangent:
            spread = family.gain**2 * perturbation.row
            passed = spread * (gates[0] + opening * gates[1] * now)
            cut = source.cut[1] * passed
            if reset:
                cut = cut + products[1] * spread * (reset.cut[0] + opening * reset.cut[1] * now)
            perturbation.add(products[1] * passed, normalise=True)
    growth = perturbation.growth[: steps - 1] if tangent else None
    inaccuracy = _CUT * (1.0 - family.keep) * float(np.max(np.abs(cut))) + (source.kinks() if tangent else 0.0)
    return DeterministicMeanField(ensemble, state.covariance + family.added, growth, inaccuracy)


# ---- cells ----


@dataclass(frozen=True)
class _Family:
    """h(t+1) = keep h(t) + (1 − keep) f(y(t)), the covariance of y being gain² E[r r'] C_h and what does not vary.

    Attributes:
        source: the pre-activation y.
        reset: that of r, or None where r = 1.
        functions: f and its derivative.
        added: what E[state state'] has beyond C_h.
    """

    keep: float
    gain: float
    source: str
    reset: str | None
    functions: tuple[Function, Function]
    added: float = 0.0


def _family(ensemble: Ensemble) -> _Family:
    cell = ensemble.cell
    if ensemble.driven:
        raise ValueError("the deterministic mean field needs currents that are constant in time; use mean_field")
    if isinstance(cell, Vanilla):
        return _Family(0.0, ensemble.gain["input"], "input", None, activation(cell, 1.0))
    if isinstance(cell, Leaky):
        added = float(ensemble.means[0] ** 2 + ensemble.static_variance[0])
        return _Family(1.0 - cell.step, 1.0, "input", None, activation(cell, ensemble.gain["input"]), added)
    if not isinstance(cell, GRU) or cell.reset_after:
        raise ValueError(
            f"the deterministic mean field is for Vanilla, Leaky and the paper's GRU, not {repr_cell(cell)}; "
            "use mean_field"
        )
    if ensemble.gain["update"] > 0.0 or ensemble.static_variance[0] > 0.0:
        raise ValueError(
            "the deterministic mean field needs an update gate of gain and bias variance 0; use mean_field"
        )
    keep = float(expit(ensemble.means[0]))
    return _Family(keep, ensemble.gain["candidate"], "candidate", "reset", activation(cell, 1.0))


def activation(cell: ActivatedCell, factor: float) -> tuple[Function, Function]:
    """φ and φ' times a factor."""
    slope = jax.jit(jax.vmap(jax.grad(cell.phi)))

    def phi(x: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return factor * np.asarray(cell.phi(jnp.asarray(x)))

    def derivative(x: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return factor * np.asarray(slope(jnp.ravel(x))).reshape(np.shape(x))

    return phi, derivative


def _expit_slope(x: np.ndarray) -> np.ndarray:
    return expit(x) * expit(-x)


# ---- two-time covariances, row by row ----


class _Filter:
    """E[h(t) h(t')] of h(t+1) = keep h(t) + (1 − keep) s(t) as rows of E[s(t) s(t')] come in; h(0) is independent."""

    def __init__(self, keep: float, steps: int, variance: float) -> None:
        self.keep, self.last = keep, 0
        self.covariance = np.zeros((steps, steps))  # h(t) in a unit of its own each time
        self.covariance[0, 0] = variance
        self.growth = np.zeros(steps)  # logarithm of unit(t+1)/unit(t)
        self._shrink = np.ones(steps)  # unit(t)/unit(t+1)

    @property
    def row(self) -> np.ndarray:
        """E[h(t) h(t')] at the last t, t' = 0 to t."""
        return self.covariance[self.last, : self.last + 1]

    def add(self, products: np.ndarray, *, normalise: bool = False) -> None:
        """The next row, from E[s(t) s(t')] at the last t, t' = 0 to t; if asked, in the unit that makes E[h²] = 1."""
        t, keep, write = self.last, self.keep, 1.0 - self.keep
        shrink = self._shrink[:t]
        cross = np.zeros(t + 1)  # E[h(t') s(t)]
        if t > 0:
            band = np.array([np.ones(t), np.append(-keep * shrink[1:], 0.0)])
            cross[1:] = solve_banded((1, 0), band, write * shrink * products[:t], check_finite=False)
        row = keep * self.row + write * cross
        square = keep**2 * self.row[-1] + 2.0 * keep * write * cross[t] + write**2 * products[t]
        if normalise:
            unit = np.sqrt(max(square, 0.0))
            self._shrink[t] = 1.0 / unit if unit > 0.0 else 0.0
            self.growth[t] = np.log(unit) if unit > 0.0 else -np.inf
            row, square = row * self._shrink[t], float(unit > 0.0)
        self.covariance[t + 1, : t + 1] = self.covariance[: t + 1, t + 1] = row
        self.covariance[t + 1, t + 1] = square
        self.last += 1


class _Process:
    """E[f(x(t)) f(x(t'))] of one pre-activation, for some functions f, as its covariance grows row by row."""

    def __init__(
        self,
        ensemble: Ensemble,
        name: str,
        steps: int,
        functions: Sequence[Function],
        breaks: Sequence[float] = (),
    ) -> None:
        k = ensemble.names.index(name)
        self.breaks = breaks
        self.mean, self.static = float(ensemble.means[k]), float(ensemble.static_variance[k])
        self.functions = functions
        self.std = np.zeros(steps)
        self.coefficients = np.zeros((len(functions), _TERMS, steps))
        self.beyond = np.zeros((len(functions), steps))  # what the terms leave of √E f²
        self.cut = np.zeros((len(functions), 0))  # how it enters the last row
        self.rows = 0

    def add(self, covariance: np.ndarray) -> np.ndarray:
        """Products with all times so far, (functions, times), from covariances with the new time, itself last."""
        t = self.rows
        covariance = covariance + self.static
        self.std[t] = np.sqrt(covariance[-1])
        x, weights = gaussian_nodes(np.array(self.mean), self.std[t], breaks=self.breaks)
        hermite = _hermite((x - self.mean) / max(self.std[t], 1e-300))
        scale = self.std[t] * self.std[: t + 1]
        correlation = np.where(scale > 0.0, covariance / np.where(scale > 0.0, scale, 1.0), 0.0)
        correlation = np.clip(correlation, -1.0, 1.0)
        powers = np.cumprod(np.broadcast_to(correlation, (_TERMS, t + 1)), axis=0)
        rows = np.empty((len(self.functions), t + 1))
        self.cut = np.zeros_like(rows)
        for f, c, beyond, row, cut in zip(self.functions, self.coefficients, self.beyond, rows, self.cut, strict=True):
            values = f(x)
            new = hermite @ (values * weights)
            c[:, t] = new
            square = (values**2) @ weights
            beyond[t] = np.sqrt(max(square - new @ new, 0.0))
            cut[:-1] = beyond[t] * beyond[:t] * powers[-1, :-1]
            row[:] = new[0] * c[0, : t + 1] + np.einsum("n,nt,nt->t", new[1:], c[1:, : t + 1], powers[:-1]) + cut
            row[-1] = square
        self.rows += 1
        return rows

    def kinks(self) -> float:
        """How far E f' is from E f g/s at the last time, relative to √E f'²: an error of quadrature if f has kinks."""
        last = self.rows - 1
        direct, by_parts = self.coefficients[1, 0, last], self.coefficients[0, 1, last] / max(self.std[last], 1e-300)
        scale = np.hypot(np.linalg.norm(self.coefficients[1, :, last]), self.beyond[1, last])
        return float(abs(direct - by_parts) / scale) if self.std[last] > 0.0 and scale > 0.0 else 0.0


_ORDER = np.arange(1, _TERMS)[:, None]
_RISE, _FALL = 1.0 / np.sqrt(_ORDER), np.sqrt((_ORDER - 1.0) / _ORDER)


def _hermite(g: np.ndarray) -> np.ndarray:
    """Normalised Hermite polynomials: (terms, nodes)."""
    out = np.empty((_TERMS, len(g)))
    out[0], out[1:] = 1.0, _RISE * g
    for n in range(2, _TERMS):  # in place: numpy's calls take longer than its sums
        row = out[n]
        row *= out[n - 1]
        row -= _FALL[n - 1] * out[n - 2]
    return out
