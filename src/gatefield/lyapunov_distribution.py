"""All Lyapunov exponents of an infinite network of any cell: their distribution, dimension and entropy per neuron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from gatefield.arguments import whole
from gatefield.cells import local_derivatives
from gatefield.ensemble import Ensemble
from gatefield.estimates import Estimate, from_batches, plain
from gatefield.meanfield import MeanField, run_batches, summarise
from gatefield.progress import progress
from gatefield.rings import Averages, RingSolution, Windows, perron, solve_ring, windows_of

_SLOTS = 4  # times at which the windows of a batch's neurons start
_STEP, _LONGEST = 0.06, 0.6  # change of F wanted from one s to the next; longest step in s
_LEAST = 0.01  # F at which the curve ends
_POINTS = 60  # s at most
_REST = 32  # phases on the half circle where nothing moves and one step is the whole window
_SNAPSHOTS = 20_000  # neurons of the mean exponent's own computation
_GRID = 4001  # fractions at which curves are compared and integrated


@dataclass(frozen=True, eq=False)
class _Curve:
    """Exponents from the largest downwards, against the fraction x above: an exponential tail below the last F."""

    fraction: np.ndarray  # F, descending from 1
    s: np.ndarray

    def at(self, x: np.ndarray) -> np.ndarray:
        """The exponent above which a fraction x lies."""
        above = 1.0 - self.fraction
        inner = PchipInterpolator(above, self.s)(np.minimum(x, above[-1]))
        with np.errstate(divide="ignore"):
            tail = np.log(np.maximum(1.0 - x, 0.0) / self.fraction[-1]) / self._steepness
        return np.where(x <= above[-1], inner, self.s[-1] + tail)

    @property
    def _steepness(self) -> float:
        """d log F/ds at the end."""
        return float(np.log(self.fraction[-2] / self.fraction[-1]) / (self.s[-2] - self.s[-1]))


def _curve(s: np.ndarray, fraction: np.ndarray, edge: float) -> _Curve:
    """From values at s, descending, below the edge; F made to fall strictly."""
    kept = s < edge - 1e-9
    below = np.concatenate([[1.0], np.clip(fraction[kept], 1e-6, 1.0)])
    below = np.minimum.accumulate(below) * (1.0 - 1e-9 * np.arange(len(below)))
    return _Curve(below, np.concatenate([[edge], s[kept]]))


@dataclass(frozen=True, eq=False)
class LyapunovDistribution:
    """Lyapunov exponents of an infinite network, per step.

    Errors hold what differs between batches of sampled neurons and, as `window_error`, all of the change that
    extrapolation in the window makes.

    Attributes:
        field: the state along which it was taken, regime included.
        window: m, the longest window; 1 where nothing moves in time.
        samples: windows.
        phases: of λ, between 0 and π/m.
        s: where the equations were solved, descending.
        fraction: F(s) at windows m and, where there are two, m/2: (windows, points).
        edges: the largest exponent at each window, where F reaches 1.
        quantiles: the exponent above which a fraction x lies, at `x`, extrapolated; one row per batch of neurons, all
            the others being left out, (batches, len(x)).
        x: from 0 to 1, without 1.
        determinant: E log|det J|/(N D), the mean exponent, from single steps.
        residual: largest of the equations.
        converged: whether all of this holds; `message` says what to change where it does not.
    """

    field: MeanField
    window: int
    samples: int
    phases: int
    seed: int
    s: np.ndarray
    fraction: np.ndarray
    edges: np.ndarray
    x: np.ndarray
    quantiles: np.ndarray
    by_window: np.ndarray
    determinant: Estimate
    residual: float
    message: str

    @property
    def ensemble(self) -> Ensemble:
        """What it is of."""
        return self.field.ensemble

    @property
    def converged(self) -> bool:
        """Whether nothing is known to be wrong."""
        return not self.message

    def _estimate(self, function: Callable[[np.ndarray], Any]) -> Estimate:
        """A function of the curve of exponents against x, with its error."""
        best = function(_extrapolated(self.by_window))
        left = np.array([function(row) for row in self.quantiles])
        count = len(left)
        scatter = from_batches(count * best - (count - 1) * left).error
        error = np.hypot(scatter, np.abs(best - function(self.by_window[0])))
        return Estimate(best, error) if np.ndim(best) else Estimate(float(best), float(error))

    def exponents(self, quantiles: Any) -> Estimate:
        """The exponents below which these fractions of all exponents lie."""
        wanted = 1.0 - np.asarray(quantiles, float)
        return self._estimate(lambda curve: np.interp(wanted, self.x, curve))

    def fraction_below(self, s: Any) -> Estimate:
        """Fraction of exponents below each s."""
        at = np.asarray(s, float)

        def fraction(curve: np.ndarray) -> np.ndarray:
            falling = np.minimum.accumulate(curve)
            return 1.0 - np.interp(-at, -falling, self.x, left=0.0, right=1.0)

        return self._estimate(fraction)

    @property
    def largest(self) -> Estimate:
        """Where the fraction below reaches 1."""
        return self._estimate(lambda curve: curve[0])

    @cached_property
    def kaplan_yorke_dimension(self) -> Estimate:
        """Per neuron: D times the fraction of largest exponents whose sum is zero."""

        def dimension(curve: np.ndarray) -> float:
            sums = _integral(self.x, curve)
            negative = np.nonzero(sums < 0.0)[0]
            if len(negative) == 0:
                return float(self._states)
            j = int(negative[0])
            if j <= 1 and curve[0] <= 0.0:
                return 0.0
            share = sums[j - 1] / (sums[j - 1] - sums[j])
            return self._states * float(self.x[j - 1] + share * (self.x[j] - self.x[j - 1]))

        return self._estimate(dimension)

    @cached_property
    def entropy_rate(self) -> Estimate:
        """Sum of the positive exponents per neuron, nats per step."""
        return self._estimate(lambda curve: self._states * float(_integral(self.x, np.maximum(curve, 0.0))[-1]))

    @cached_property
    def mean(self) -> Estimate:
        """Mean exponent, to be compared with `determinant`."""
        return self._estimate(self._mean_of)

    def _mean_of(self, curve: np.ndarray) -> float:
        """The last piece, from x to 1, falls like a logarithm: ∫ = (1 − x)(λ(x) − 1/κ)."""
        rest = 1.0 - self.x[-1]
        steepness = np.log((1.0 - self.x[-2]) / rest) / max(curve[-2] - curve[-1], 1e-12)
        return float(_integral(self.x, curve)[-1] + rest * (curve[-1] - 1.0 / steepness))

    @property
    def _states(self) -> int:
        return len(self.ensemble.cell.state_names)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and text, each number with its error as {"value", "error"}."""
        names = ("largest", "kaplan_yorke_dimension", "entropy_rate", "mean", "determinant")
        return {
            "ensemble": self.ensemble.describe(),
            "regime": self.field.regime,
            "s": plain(self.s),
            "fraction_below": self.fraction_below(self.s).as_json(),
            **{name: getattr(self, name).as_json() for name in names},
            "window": self.window,
            "samples": self.samples,
            "phases": self.phases,
            "seed": self.seed,
            "residual": self.residual,
            "converged": self.converged,
            "message": self.message,
        }

    def to_dataset(self) -> Any:
        """As an `xarray.Dataset`: the fraction below each s."""
        from gatefield.datasets import lyapunov_distribution_dataset

        return lyapunov_distribution_dataset(self)


def _integral(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """∫ from 0 to each x, by the trapezium rule."""
    return np.concatenate([[0.0], np.cumsum(0.5 * np.diff(x) * (values[1:] + values[:-1]))])


def _extrapolated(curves: np.ndarray) -> np.ndarray:
    """Window → ∞ from m and m/2, the error falling like 1/m²; (windows, len(x)) → (len(x),)."""
    return curves[0] if len(curves) == 1 else curves[0] + (curves[0] - curves[1]) / 3.0


def lyapunov_spectrum(
    ensemble: Ensemble,
    *,
    window: int = 32,
    samples: int = 2000,
    seed: int = 0,
    steps: int = 300,
    phases: int = 1,
    batches: int = 8,
    initial: float = 0.6,
) -> LyapunovDistribution:
    """The Lyapunov spectrum at N = ∞ of any cell, autonomous or driven.

    Windows of sampled trajectories are closed into rings (see `rings`), at `window` steps and at half as many, and
    extrapolated. Gates that stay nearly open need windows longer than their memory. Where activity rests, a single
    step says all.

    Args:
        ensemble: the random networks.
        window: m, even, at least 4.
        samples: windows in all; time grows in proportion, and like m³.
        seed: of everything drawn.
        steps: of the mean field before the windows.
        phases: of λ between 0 and π/m; one is enough where activity varies within a window.
        batches: of the mean field, at least 2.
        initial: standard deviation of every state variable at the start.

    Raises:
        ValueError: an argument out of its range, or a network whose neurons do not act on one another.
    """
    window, samples = whole("window", window, 4), whole("samples", samples, 16)
    phases, batches = whole("phases", phases), whole("batches", batches, 2)
    if window % 2:
        raise ValueError(f"window={window} must be even: half of it is computed too")
    total = whole("steps", steps, 16) + _SLOTS * window
    field, windows = _sampled(ensemble, window, samples, total, seed, batches, initial)
    if windows.groups == 0:
        raise ValueError(f"gain={dict(ensemble.gain)}: no neuron acts on another; an exponent is each neuron's own")
    resting = field.regime in ("quiescent", "fixed point")
    if resting:
        lengths, phases = [windows.part(slice(None)).shortened(window).part(slice(None, None, window))], _REST
    else:
        lengths = [windows, windows.shortened(2)]
    edges = np.array([_edge(w, phases) for w in lengths])
    s, solved = _solve_all(lengths, edges, phases)
    return _result(field, windows, lengths, s, solved, edges, phases, seed)


def _sampled(
    ensemble: Ensemble, window: int, samples: int, steps: int, seed: int, batches: int, initial: float
) -> tuple[MeanField, Windows]:
    """The mean field and its windows: those of a batch start at `_SLOTS` different times, each of another neuron."""
    size = -(-samples // batches)
    runs, pieces, batch = [], [], []
    options = {"steps": steps, "samples": max(size, 1000) * batches, "seed": seed, "batches": batches}
    for b, run in enumerate(run_batches(ensemble, keep_from=steps - _SLOTS * window, initial=initial, **options)):
        paths = [run.pop("path_state"), run.pop("path_x")]
        runs.append(run)
        starts = window * (np.arange(size) % _SLOTS)
        at = starts[:, None] + np.arange(window)
        state, x = (p[at, np.arange(size)[:, None]].reshape(size * window, -1) for p in paths)
        with jax.enable_x64(True):
            found = local_derivatives(ensemble.cell, jnp.asarray(state), jnp.asarray(x))
        pieces.append([np.asarray(a).reshape(size, window, *a.shape[1:]) for a in found])
        batch += [b] * size
    derivatives = tuple(np.concatenate(parts) for parts in zip(*pieces, strict=True))
    windows = windows_of(ensemble.structure, ensemble.gains, derivatives, np.array(batch))
    return summarise(ensemble, runs, steps=steps, seed=seed), windows


def _phases(w: Windows, count: int) -> np.ndarray:
    """e^{iθ}, θ in the middle of equal parts of (0, π/m): with their images, evenly spaced on the circle."""
    return np.exp(1j * np.pi * (np.arange(count) + 0.5) / (count * w.length))


def _edge(w: Windows, phases: int) -> float:
    """The largest s inside the support at any phase."""
    everything = Averages(w)

    def outside(s: float) -> float:
        values = [perron(everything.transfer(np.exp(s) * u)) for u in _phases(w, phases)]
        return -float(np.log(np.maximum(max(values), 1e-300)))

    high = 0.0
    while outside(high) <= 0.0:
        high += 0.5
    low = high - 0.5
    while outside(low) > 0.0:
        low, high = low - 0.5, low
        if low < -50.0:
            raise ValueError("gain: neurons act on one another too little for exponents above -50 per step")
    return float(brentq(outside, low, high, xtol=1e-5))  # pyright: ignore[reportArgumentType]


def _solve_all(
    lengths: Sequence[Windows], edges: np.ndarray, phases: int
) -> tuple[np.ndarray, list[list[tuple[float, np.ndarray, float]]]]:
    """s, chosen by the shortest window, and at each the F, influence and residual of every window."""
    s = [float(edges.max()) - 0.02]
    fraction: list[float] = [1.0]
    starts: list[list[np.ndarray]] = [[np.zeros(0)] * phases for _ in lengths]
    solved: list[list[tuple[float, np.ndarray, float]]] = [[] for _ in lengths]
    width = 0.06
    with progress(_POINTS, "Lyapunov spectrum") as report:
        while len(s) <= _POINTS:
            for i, w in enumerate(lengths):
                found = _at(w, s[-1], starts[i], phases)
                starts[i] = [one.log_u for one in found]
                solved[i].append(_averaged(found))
            report(1)
            fraction.append(solved[-1][-1][0])
            if fraction[-1] < _LEAST:
                break
            change = max(abs(fraction[-2] - fraction[-1]), 1e-3)
            width = float(np.clip(width * _STEP / change, 0.5 * width, min(2.0 * width, _LONGEST)))
            s.append(s[-1] - width)
    return np.array(s[: len(solved[0])]), solved


def _at(w: Windows, s: float, starts: list[np.ndarray], phases: int) -> list[RingSolution]:
    return [solve_ring(w, np.exp(s) * u, start) for u, start in zip(_phases(w, phases), starts, strict=True)]


def _averaged(found: list[RingSolution]) -> tuple[float, np.ndarray, float]:
    fraction = float(np.mean([one.fraction for one in found]))
    influence = np.mean([one.influence for one in found], axis=0)
    return fraction, influence, max(one.residual for one in found)


def _result(
    field: MeanField,
    windows: Windows,
    lengths: Sequence[Windows],
    s: np.ndarray,
    solved: list[list[tuple[float, np.ndarray, float]]],
    edges: np.ndarray,
    phases: int,
    seed: int,
) -> LyapunovDistribution:
    x = np.concatenate([np.linspace(0.0, 0.98, _GRID), 1.0 - 0.02 * 0.5 ** np.arange(1, 9)])
    fraction = np.array([[one[0] for one in row] for row in solved])
    by_window = np.array([_curve(s, f, e).at(x) for f, e in zip(fraction, edges, strict=True)])
    left_out = []
    for b in np.unique(windows.batch):
        curves = []
        for row, w, f, e in zip(solved, lengths, fraction, edges, strict=True):
            change = np.array([one[1][w.batch != b].mean() for one in row])
            curves.append(_curve(s, f + change, e).at(x))
        left_out.append(_extrapolated(np.array(curves)))
    residual = max(one[2] for row in solved for one in row)
    result = LyapunovDistribution(
        field=field,
        window=lengths[0].length,
        samples=lengths[0].count,
        phases=phases,
        seed=seed,
        s=s,
        fraction=fraction,
        edges=edges,
        x=x,
        quantiles=np.array(left_out),
        by_window=by_window,
        determinant=_mean_log_determinant(windows),
        residual=residual,
        message="",
    )
    object.__setattr__(result, "message", _complaint(result))
    return result


def _complaint(result: LyapunovDistribution) -> str:
    if result.field.message:
        return result.field.message
    if result.residual > 1e-6:
        return f"the ring equation is not solved (residual {result.residual:.2g}); increase samples"
    mean, exact = result.mean, result.determinant
    if abs(mean.value - exact.value) > 4.0 * np.hypot(mean.error, exact.error) + 0.01:
        return f"the mean exponent {mean} is not E log|det J|/(N D) = {exact}; increase samples or phases"
    at = np.abs(np.diff(result.fraction, axis=0)).max() / 3.0 if len(result.fraction) > 1 else 0.0
    if at > 0.03:
        return f"extrapolation in the window still changes fractions by {at:.2g}; increase window"
    return ""


def _mean_log_determinant(windows: Windows) -> Estimate:
    """E log|det J|/(N D): Φ of single steps as λ → 0, what is left of F below a small λ integrated as F ~ |λ|²."""
    single = windows.shortened(windows.length)
    single = single.part(slice(None, None, max(1, single.count // _SNAPSHOTS)))
    s = -4.0
    while True:
        found = solve_ring(single, np.exp(s) * np.exp(0.5j * np.pi))
        if found.fraction < 1e-4 or s < -60.0:
            break
        s -= 2.0
    values = np.array([found.potentials[single.batch == b].mean() for b in np.unique(single.batch)])
    error = float(from_batches(values).error)
    return Estimate(found.potential - 0.5 * found.fraction, error)
