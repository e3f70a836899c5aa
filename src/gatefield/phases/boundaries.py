"""Curves in the plane of two gains, traced rather than read off a grid: folds, marginal stability, onset of chaos.

For cells whose static state is fixed by the standard deviation u of one pre-activation (see `phases`), as the GRU's is
in the plane of candidate and reset gain [CKS fig. 2 left], log a² of the first gain is an explicit function of u and of
the second gain, with its derivative. Folds are where the derivative vanishes, boundaries where ρ_0 takes a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar, root
from scipy.special import erfinv

from gatefield.cells.builtin import GRU
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.numerics.quadrature import expectation, gaussian_nodes
from gatefield.phases.plane import GridScan, Plane, open_share, plane_of, shaping_and_growth
from gatefield.phases.roots import FixedPoint
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, finite, positive, whole

_SOLVED = 1e-5  # residual
_SCAN = np.linspace(np.log(2e-4), np.log(60.0), 280)
_GAINS_Y = np.concatenate([np.linspace(0.0, 1.0, 5)[:-1], np.geomspace(1.0, 2e4, 90)])
_SCANNED_Y = np.concatenate([[0.5], np.geomspace(1.0, 64.0, 19)])
Axis = tuple[str, float, float, int]


@dataclass(frozen=True, eq=False, repr=False)
class Boundary(Result):
    """Points of a curve in the plane of two gains, and the static state there.

    Attributes:
        kind: "fold" or "marginal".
        gain_x, gain_y: the points, (n,).
        second_moment: C_h, (n,).
        shaping: ρ_0, (n,).
        residual: of the equations that define the point, (n,).
    """

    kind: str
    name_x: str
    name_y: str
    gain_x: np.ndarray
    gain_y: np.ndarray
    second_moment: np.ndarray
    shaping: np.ndarray
    residual: np.ndarray
    ensemble: Ensemble

    def __post_init__(self) -> None:
        if not self.messages:
            object.__setattr__(self, "messages", _unsolved(self.residual))

    def description(self) -> Description:
        columns = {
            self.name_x: self.gain_x, self.name_y: self.gain_y, "second_moment": self.second_moment,
            "shaping": self.shaping, "residual": self.residual,
        }  # fmt: skip
        source = {"fold": "CKS §4.4, App. C", "marginal": "CKS 25"}[self.kind]
        return Description(
            quantities={name: Quantity(values, ("point",), source=source) for name, values in columns.items()},
            facts={"ensemble": self.ensemble, "kind": self.kind, "name_x": self.name_x, "name_y": self.name_y},
        )


def _unsolved(residual: np.ndarray) -> tuple[str, ...]:
    left = np.count_nonzero(~(residual <= _SOLVED))
    if not left:
        return ()
    return (f"{left} of {len(residual)} points are not solved (residual up to {np.max(residual):.2g}); leave them out",)


class _Branch:
    """log a²(w, y) of gain_x, w = ½ log of the variance that the source gives its pre-activation, and what follows."""

    def __init__(self, ensemble: Ensemble, name_x: str, name_y: str) -> None:
        self.plane: Plane = plane_of(ensemble, name_x, name_y, 1.0, exact=True)
        if not self.plane.leads:
            raise ValueError(
                f"curves of {repr_cell(ensemble.cell)} in gains {name_x!r} and {name_y!r} are not traced: the source "
                f"that fixes its state does not feed {name_x!r} alone; use phase_diagram or, for the LSTM, lstm_fold"
            )
        self.variance = ensemble.static_variance

    def log_gain_squared(self, w: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """log a² and its derivative by w."""
        plane, averages = self.plane, self.plane.averages
        names, groups = plane.ensemble.names, plane.groups
        grown = np.exp(2.0 * np.asarray(w, dtype=float))
        unknown, order = plane.unknown
        std = [np.sqrt(np.asarray(v)) for v in self.variance]
        slope = [np.asarray(0.0) for _ in names]
        x = names.index(plane.name_x)
        std[x] = np.sqrt(self.variance[x] + grown)
        slope[x] = grown / (self.variance[x] + grown)
        for group in order:
            moment, change = averages.with_slope(plane.source(group), std, slope)
            for k in groups[group]:
                if plane.is_live(k):
                    part = plane.gain_squared(k, np.asarray(0.0), np.asarray(y)) * moment
                    std[k] = np.sqrt(self.variance[k] + part)
                    slope[k] = 0.5 * change * part / np.maximum(self.variance[k] + part, 1e-300)
        image, change = averages.with_slope(plane.source(unknown), std, slope)
        return 2.0 * np.asarray(w) - np.log(image), 2.0 - change

    def slope(self, w: Any, y: Any) -> np.ndarray:
        """d log a²/dw: zero at a fold."""
        return self.log_gain_squared(w, y)[1]

    def gain(self, w: Any, y: Any) -> np.ndarray:
        """a of gain_x."""
        return np.exp(0.5 * self.log_gain_squared(w, y)[0])

    def state(self, w: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """C_h and ρ_0."""
        w, y = np.asarray(w, dtype=float), np.asarray(y, dtype=float)
        x = self.plane.ensemble.names.index(self.plane.name_x)
        gain, unused = self.gain(w, y), np.zeros(())
        std, _ = self.plane.stds(unused, gain, y, u=np.sqrt(self.variance[x] + np.exp(2.0 * w)))
        moment = self.plane.averages.second_moment(len(self.plane.cell.state_names) - 1, std)
        return moment, shaping_and_growth(self.plane.transfer(std, gain, y))[0]


def _zeros(f: Callable[[Any], Any], grid: np.ndarray, values: np.ndarray) -> list[float]:
    """Roots of f from its values on a grid."""
    fine = np.isfinite(values)
    grid, values = grid[fine], values[fine]
    where = np.nonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0.0)[0]
    return [_root(lambda w: float(f(w)), grid[i], grid[i + 1]) for i in where]


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(f, low, high, xtol=1e-14, rtol=1e-14))  # pyright: ignore[reportArgumentType]


def _boundary(branch: _Branch, kind: str, points: list[tuple[float, float]], residual: Callable[..., Any]) -> Boundary:
    """From pairs (w, y)."""
    w, y = np.array(points).reshape(-1, 2).T
    moment, shaping = branch.state(w, y) if len(w) else (w, w)
    plane = branch.plane
    return Boundary(
        kind, plane.name_x, plane.name_y, branch.gain(w, y) if len(w) else w, y, moment, shaping,
        np.abs(residual(w, y)) if len(w) else w, plane.ensemble,
    )  # fmt: skip


def bifurcation_curve(*, gain_x: str | Axis, gain_y: str | Axis, ensemble: Ensemble) -> Boundary:
    """Folds, where two static states merge: the curve a_r*(a_h) of [CKS §4.4], with C* and ρ_0 on it.

    Args:
        gain_x: name of the gain whose pre-activation fixes the state (the GRU's candidate); with lowest value,
            highest value and number of points, the folds at these gains are returned.
        gain_y: name of the other gain; or an axis likewise, with `gain_x` a name. Where gain_x does not fix the state
            alone (reset after, LSTM) it must be the axis, and folds up to a gain_y of 64 are found by scanning q, to
            about 1e-7.
        ensemble: all else.

    Returns:
        The folds, in order of the axis; none where two states do not merge.

    Raises:
        ValueError: not one axis and one name, an unknown name, or a cell whose curves are not traced.
    """
    if isinstance(gain_x, str) == isinstance(gain_y, str):
        raise ValueError("give one of gain_x, gain_y as (name, lowest, highest, points), the other as a name")
    if isinstance(gain_x, str):
        name_y, gains = checked_axis("gain_y", gain_y)
        branch = _Branch(ensemble, gain_x, name_y)
        points = [(w, y) for y in gains for w, _ in _folds_at(branch, y)]
    else:
        name_x, gains = checked_axis("gain_x", gain_x)
        if not plane_of(ensemble, name_x, str(gain_y), 1.0).leads:
            return _folds_by_scan(ensemble, name_x, gains, str(gain_y))
        branch = _Branch(ensemble, name_x, str(gain_y))
        traced = [(y, _folds_at(branch, y)) for y in _trace(branch)]
        points = [point for x in gains for point in _folds_with(branch, traced, x)]
    return _boundary(branch, "fold", points, branch.slope)


def _folds_by_scan(ensemble: Ensemble, name_x: str, gains: np.ndarray, name_y: str) -> Boundary:
    """Folds where the largest excess over q passes 0 as gain_y grows."""
    found = []
    for x in gains:

        def top(y: float, x: float = float(x)) -> float:
            return _largest_excess(_scan(ensemble, name_x, x, name_y, y))[0]

        for y in _zeros(top, _SCANNED_Y, np.array([top(float(y)) for y in _SCANNED_Y])):
            scan = _scan(ensemble, name_x, float(x), name_y, y)
            excess, w = _largest_excess(scan)
            moment, transfer = scan.properties((np.zeros(1, int), np.zeros(1, int)), np.array([w]))
            found.append((x, y, moment[0, -1], shaping_and_growth(transfer)[0][0], abs(excess)))
    columns = np.array(found).reshape(-1, 5).T
    gain_x, gain_y, moment, shaping, residual = columns
    return Boundary("fold", name_x, name_y, gain_x, gain_y, moment, shaping, residual, ensemble)


def _scan(ensemble: Ensemble, name_x: str, x: float, name_y: str, y: float) -> GridScan:
    return GridScan(plane_of(ensemble, name_x, name_y, max(x, _SCANNED_Y[-1])), np.array([x]), np.array([y]))


def _largest_excess(scan: GridScan) -> tuple[float, float]:
    """Excess at its highest turning point away from w = 0, and where that is; −1 where there is none."""
    e = scan.excess[0, 0]
    turns = 1 + np.nonzero((e[1:-1] > e[:-2]) & (e[1:-1] >= e[2:]))[0]
    if len(turns) == 0:
        return -1.0, float(scan.w[0])
    j = int(turns[np.argmax(e[turns])])
    where = np.zeros(1, int), np.zeros(1, int)
    found = minimize_scalar(
        lambda w: -float(scan.at(where, np.array([w]))[0]),
        bounds=(scan.w[j - 1], scan.w[j + 1]), options={"xatol": 1e-10},
    )  # fmt: skip
    return -float(found.fun), float(found.x)  # pyright: ignore[reportAttributeAccessIssue]


def _trace(branch: _Branch) -> np.ndarray:
    """Values of gain_y between which folds are followed, denser above a tricritical point, where they begin."""
    begin = _flat(branch) if branch.plane.ensemble.zero_is_fixed else []
    return np.unique(np.concatenate([_GAINS_Y, *(y * (1.0 + np.geomspace(1e-4, 0.3, 12)) for y in begin)]))


def _flat(branch: _Branch) -> list[float]:
    """gain_y at which the curvature of gain_x at u = 0 vanishes."""

    def curvature(y: float) -> float:
        """d log a²/du² at u = 0, by extrapolation of an even function."""
        u = np.array([0.005, 0.01, 0.015])
        return float((branch.slope(np.log(u), y) / (2.0 * u**2)) @ np.array([1.5, -0.6, 0.1]))

    return _zeros(curvature, _GAINS_Y, np.array([curvature(y) for y in _GAINS_Y]))


def checked_axis(name: str, axis: Any) -> tuple[str, np.ndarray]:
    """A pre-activation and its gains, from (name, lowest, highest, points)."""
    if len(axis) != 4:
        raise ValueError(f"{name}={axis!r} must be (pre-activation, lowest gain, highest gain, number of points)")
    low, high = at_least(f"{name}[1]", axis[1], 0.0), at_least(f"{name}[2]", axis[2], 0.0)
    return axis[0], np.linspace(low, high, whole(f"{name}[3]", axis[3]))


def _folds_at(branch: _Branch, y: float) -> list[tuple[float, bool]]:
    """w of each fold at a gain_y, and whether gain_x has a minimum there."""
    values = branch.slope(_SCAN, y)
    found = _zeros(lambda w: branch.slope(w, y), _SCAN, values)
    return [(w, bool(branch.slope(w + 1e-4, y) > 0.0)) for w in found]


def _folds_with(
    branch: _Branch, traced: list[tuple[float, list[tuple[float, bool]]]], x: float
) -> list[tuple[float, float]]:
    """(w, gain_y) of the folds at a given gain_x, from those traced at many gain_y."""

    def equations(at: np.ndarray) -> np.ndarray:
        value, slope = branch.log_gain_squared(at[0], np.exp(at[1]))
        return np.array([float(value) - 2.0 * np.log(x), float(slope)])

    found = []
    for (y0, folds0), (y1, folds1) in pairwise(traced):
        if y0 == 0.0 or len(folds0) != len(folds1):
            continue  # a fold begins or ends here, at the edge of what is scanned
        for (w0, _), (w1, _) in zip(folds0, folds1, strict=True):
            low, high = (float(np.log(branch.gain(w, y) / x)) for w, y in ((w0, y0), (w1, y1)))
            if low * high < 0.0:
                share = low / (low - high)
                start = [w0 + share * (w1 - w0), np.log(y0) + share * np.log(y1 / y0)]
                solution = root(equations, start, tol=1e-14).x
                found.append((float(solution[0]), float(np.exp(solution[1]))))
    return found


def tricritical_point(*, gain_x: str, gain_y: str, ensemble: Ensemble) -> tuple[float, float]:
    """Where the fold ends on the critical line: (2, 2√2) for the GRU without biases [CKS §4.4].

    Beyond it in gain_y the transition from silence is discontinuous.

    Raises:
        ValueError: zero is not a fixed point, no such point, or a cell whose curves are not traced.
    """
    branch = _Branch(ensemble, gain_x, gain_y)
    if not ensemble.zero_is_fixed:
        raise ValueError("there is no critical line where zero is not a fixed point: a bias or current moves it")

    found = _flat(branch)
    if not found:
        raise ValueError(f"the transition in {gain_x!r} has the same nature at every {gain_y!r}: no tricritical point")
    return float(branch.gain(np.log(1e-4), found[0])), found[0]


def marginal_boundary(*, gain_x: str, gain_y: Axis, ensemble: Ensemble, beta: float = 0.0) -> Boundary:
    """Where ρ_0 = 1/√α: the edge of the region in which a binary update gate makes a root marginal [CKS 25].

    Args:
        gain_x: the GRU's "candidate".
        gain_y: name ("reset"), lowest and highest gain, number of points; all boundary points at each are returned.
        ensemble: biases of reset gate and candidate; the update gate's own do not move the roots.
        beta: b_z/a_z.

    Raises:
        ValueError: an unknown name, or a cell other than a GRU whose curves are traced.
    """
    beta = finite("beta", beta)
    name_y, gains = checked_axis("gain_y", gain_y)
    branch = _Branch(ensemble, gain_x, name_y)

    def excess(w: Any, y: Any) -> np.ndarray:
        moment, shaping = branch.state(w, y)
        return np.log(np.maximum(shaping**2 * open_share(moment, beta), 1e-300))

    points = []
    for y in gains:
        points += [(w, float(y)) for w in _zeros(lambda w, y=y: excess(w, y), _SCAN, excess(_SCAN, y))]
    return _boundary(branch, "marginal", points, excess)


@dataclass(frozen=True, eq=False, repr=False)
class PinchingExponent(Result):
    """How fast a binary update gate pulls the leading edge of the spectrum to 1 [CKS 23–24].

    Attributes:
        c: erf((c − β/√C_h)/√2) = 2/ρ_0² − 1; above 0 within the region of marginal stability.
        second_moment: C_h.
        beta: b_z/a_z.
    """

    c: float
    second_moment: float
    beta: float
    ensemble: Ensemble

    def radius_excess(self, update_gain: float) -> float:
        """ρ(J) − 1 at large a_z: e^{−1} e^{−c √C_h a_z}; that of [CKS 97] lacks the gate's transition layer.

        A variance v_z of the update gate's biases makes √(a_z² C_h + v_z) of the deviation a_z √C_h.
        """
        gain, spread = positive("update_gain", update_gain), float(self.ensemble.static_variance[0])
        open_end = self.c - self.beta / np.sqrt(self.second_moment)  # √2 erf^{-1}(2/ρ_0² − 1)
        return float(np.exp(-1.0 - self.beta * gain - open_end * np.sqrt(gain**2 * self.second_moment + spread)))

    def description(self) -> Description:
        return Description(
            quantities={
                "c": Quantity(self.c, source="CKS 24"),
                "second_moment": Quantity(self.second_moment, source="CKS 10"),
                "beta": Quantity(self.beta),
            },
            facts={"ensemble": self.ensemble},
        )


def pinching_exponent(point: FixedPoint, *, beta: float | None = None) -> PinchingExponent:
    """The exponent c at a non-zero fixed point of a GRU [CKS Thm 7, 24].

    Args:
        point: from `fixed_points`.
        beta: b_z/a_z; by default that of the point's ensemble.

    Raises:
        ValueError: another cell, the zero fixed point, or ρ_0 ≤ 1, where the spectrum ends below 1.
    """
    gain, moment = _gru_gain(point), point.second_moment["h"]
    if beta is None:
        mean = float(point.ensemble.means[0])
        if gain == 0.0 and mean != 0.0:
            raise ValueError(f"gain['update']=0 leaves b_z/a_z at b_z={mean:g} without a value; give beta")
        beta = mean / gain if gain > 0.0 else 0.0
    if moment <= 0.0 or point.shaping <= 1.0:
        raise ValueError(
            f"pinching needs a non-zero fixed point with ρ_0 > 1; C_h = {moment:g}, ρ_0 = {point.shaping:g}"
        )
    c = finite("beta", beta) / np.sqrt(moment) + np.sqrt(2.0) * erfinv(2.0 / point.shaping**2 - 1.0)
    return PinchingExponent(float(c), moment, beta, point.ensemble)


def spectral_intercept(point: FixedPoint) -> float:
    """log(λ − 1) where the spectrum at a GRU's fixed point ends on the real axis, −∞ where below 1 [CKS fig. 2 right].

    ρ_0² E[((1 − z)/(λ − z))²] = 1 [CKS 95], solved for the logarithm: λ − 1 may be far below rounding.

    Raises:
        ValueError: another cell.
    """
    _gru_gain(point)
    ensemble = point.ensemble
    if point.shaping <= 1.0:
        return -np.inf
    std = np.sqrt(np.asarray(point.variance["update"]))

    def excess(log_distance: float) -> float:  # (1 − z)/(λ − z) falls where x + log(λ − 1) passes 0: nodes go there
        x, weights = gaussian_nodes(np.asarray(ensemble.means[0] + log_distance), std)
        ratio = 1.0 / (1.0 + np.exp(log_distance) + np.exp(np.minimum(x, 700.0)))
        return float(np.log(expectation(ratio**2, weights) * point.shaping**2))

    low = -10.0
    while excess(low) < 0.0:
        low *= 2.0
    return _root(excess, low, np.log(point.shaping) + 1.0)


def _gru_gain(point: FixedPoint) -> float:
    """The update gate's gain."""
    if not isinstance(point.ensemble.cell, GRU):
        raise ValueError(f"pinching is for a GRU's update gate, not for {repr_cell(point.ensemble.cell)}")
    return float(point.ensemble.gain["update"])
