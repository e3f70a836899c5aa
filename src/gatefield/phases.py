"""Phase diagrams of static states in the plane of two gains, and the curves that bound their regions.

A static state is fixed by q, the second moment of one source (see `roots`). Where that source feeds the pre-activation
of the first gain a alone, as in the GRU's plane of candidate and reset gain [CKS fig. 2], the state is fixed by u, the
standard deviation of that pre-activation, and the gain follows from it:

    a² = (u² − v) / q'(u, b),   v the variance of its bias, b the second gain,

so that roots, folds (extrema of a over u) and stability boundaries are curves over u. Elsewhere, as in the LSTM, q is
scanned. Averages that depend on one pre-activation are tabulated against its standard deviation; those of several are
contracted on a fixed grid of nodes, one dimension after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.special import erfc

from gatefield.arguments import at_least, known_names, whole
from gatefield.cells import GRU, Cell, structure
from gatefield.ensemble import Ensemble, repr_cell
from gatefield.quadrature import FixedNodes
from gatefield.roots import _resolution as resolution
from gatefield.static import evaluate, separation

if TYPE_CHECKING:
    import xarray as xr

_SMALLEST_STD = 1e-4
_PER_DECADE = 12
_TABLE = np.linspace(np.log(2e-5), np.log(1e4), 1000)
_ROOT = 1e-11  # of the excess
_NEAR = 0.1  # excess at a grid point below which a turn may hide two roots
_LINE = FixedNodes(scale=1e-4, largest=1e4, step=0.12)
_GRID_STEP = 0.15
_GRID_SCALE = 1e-3  # an LSTM turns on y = e^{-f}: what is small counts
_GRID_LARGEST = 1.45  # of √q; tanh keeps it below 1
_GRID_POINTS = 192
_CRITICAL = 1e-7

Axis = tuple[str, float, float, int]


# ---- averages of one cell's quantities at given standard deviations ----


class _Averages:
    """E u² of the `static.quantities` of a cell, x_k ~ N(mean_k, std_k²), by factors."""

    def __init__(self, cell: Cell, means: np.ndarray, largest: float, *, exact: bool = False) -> None:
        self.cell, self.means, self.exact = cell, means, exact
        self.grid = _grid(float(2.0 ** np.ceil(np.log2(largest))))  # few different ones

    def second_moment(self, index: int, std: Sequence[np.ndarray]) -> np.ndarray:
        """E u² over arrays of standard deviations, one for each pre-activation, that broadcast together."""
        parts, scale = self._parts(index)
        value = np.asarray(scale**2)
        for dims in parts:
            factor = self._along(index, dims[0], std[dims[0]]) if len(dims) == 1 else self._over(index, dims, std)
            value = value * factor / scale**2
        return value

    def with_slope(
        self, index: int, std: Sequence[np.ndarray], slopes: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """E u² exactly, and d log E u², given d log std along some line; one-dimensional factors only."""
        parts, scale = self._parts(index)
        value, slope = np.asarray(scale**2), np.asarray(0.0)
        for dims in parts:
            (k,) = dims
            mean, change = _LINE.average(self._values(index, dims) ** 2, std[k])
            value, slope = value * mean / scale**2, slope + change / np.maximum(mean, 1e-300) * slopes[k]
        return value, slope

    def one_dimensional(self, index: int) -> bool:
        """Whether every factor depends on one pre-activation."""
        return all(len(dims) == 1 for dims in self._parts(index)[0])

    def _parts(self, index: int) -> tuple[tuple[tuple[int, ...], ...], float]:
        found = separation(self.cell, index)
        return found.factors, float(evaluate(self.cell, index, np.asarray(found.reference)[None])[0])

    def _values(self, index: int, dims: tuple[int, ...]) -> np.ndarray:
        nodes = _LINE if len(dims) == 1 else self.grid
        return _factor(self.cell, index, dims, tuple(self.means[list(dims)]), nodes)

    def _along(self, index: int, k: int, std: np.ndarray) -> np.ndarray:
        if self.exact:
            return _LINE.average(self._values(index, (k,)) ** 2, std)[0]
        return _table(self.cell, index, k, float(self.means[k]))(std)

    def _over(self, index: int, dims: tuple[int, ...], std: Sequence[np.ndarray]) -> np.ndarray:
        """A factor of several pre-activations over (x, y, scan), each std varying along x or y besides the scan."""
        shape = np.broadcast_shapes(*(std[k].shape for k in dims))
        values, along = self._values(index, dims)[None] ** 2, [_varies_along(std[k]) for k in dims]
        for axis in reversed(
            range(len(dims))
        ):  # those that vary along the scan alone go first, all scan points at once
            if along[axis] is None:
                values = _contract(values, 1 + axis, self.grid.weights(std[dims[axis]].ravel()))
        left = [(kind, std[k]) for kind, k in zip(along, dims, strict=True) if kind is not None]
        planes = []
        for j in range(shape[2]):
            operands: list[Any] = [values[min(j, len(values) - 1)], list(range(len(left)))]
            for i, (kind, s) in enumerate(left):
                operands += [self.grid.weights(s[..., min(j, s.shape[2] - 1)].ravel()), [10 + kind, i]]
            present = sorted({10 + kind for kind, _ in left})
            plane = np.einsum(*operands, present, optimize=True)
            planes.append(plane.reshape([shape[k] if 10 + k in present else 1 for k in (0, 1)]))
        return np.broadcast_to(np.stack(planes, axis=-1), shape)


def _varies_along(std: np.ndarray) -> int | None:
    """The axis of (x, y) along which a std varies, None for neither."""
    rows, columns, _ = std.shape
    if rows > 1 and columns > 1:
        raise ValueError("gain_x and gain_y feed one pre-activation of this cell through each other; no diagram for it")
    return 0 if rows > 1 else 1 if columns > 1 else None


def _contract(values: np.ndarray, axis: int, weights: np.ndarray) -> np.ndarray:
    """Average over one axis at each scan point, the leading axis of both (of length 1 where all are alike)."""
    if len(values) == 1:
        return np.tensordot(weights, values[0], axes=(1, axis - 1))
    return np.einsum(
        "j...n,jn->j...", np.moveaxis(values, axis, -1), np.broadcast_to(weights, (len(values), weights.shape[1]))
    )


@lru_cache(maxsize=16)
def _grid(largest: float) -> FixedNodes:
    return FixedNodes(scale=_GRID_SCALE, largest=largest, step=_GRID_STEP)


@lru_cache(maxsize=64)
def _factor(cell: Cell, index: int, dims: tuple[int, ...], means: tuple[float, ...], nodes: FixedNodes) -> np.ndarray:
    """Values of one factor on the fixed nodes of its pre-activations."""
    reference = np.asarray(separation(cell, index).reference)
    x = np.broadcast_to(reference, (*(len(nodes.z),) * len(dims), len(reference))).copy()
    for axis, (k, mean) in enumerate(zip(dims, means, strict=True)):
        x[..., k] = (mean + nodes.z).reshape([-1 if a == axis else 1 for a in range(len(dims))])
    return evaluate(cell, index, x.reshape(-1, len(reference))).reshape(x.shape[:-1])


@lru_cache(maxsize=256)
def _table(cell: Cell, index: int, k: int, mean: float) -> Callable[[np.ndarray], np.ndarray]:
    """E f² of a one-dimensional factor against the standard deviation: a quintic spline of logarithms."""
    square = _factor(cell, index, (k,), (mean,), _LINE) ** 2
    if not square.any():
        return np.zeros_like
    logs = np.log(_LINE.average(square, np.exp(_TABLE))[0])
    spline = make_interp_spline(_TABLE, logs, k=5)
    start = np.round((logs[1] - logs[0]) / (_TABLE[1] - _TABLE[0]))  # 0, or 2 where the factor vanishes at the mean

    def moment(std: np.ndarray) -> np.ndarray:
        at = np.log(np.maximum(std, 1e-30))
        return np.exp(spline(np.clip(at, _TABLE[0], _TABLE[-1])) + start * np.minimum(at - _TABLE[0], 0.0))

    return moment


# ---- the plane ----


@dataclass(frozen=True, eq=False)
class Plane:
    """Static states of an ensemble as two of its gains vary."""

    ensemble: Ensemble
    name_x: str
    name_y: str
    highest: float  # of the two gains
    exact: bool = False  # by quadrature instead of tables

    @property
    def names(self) -> tuple[str, str]:
        return self.name_x, self.name_y

    @property
    def cell(self) -> Cell:
        return self.ensemble.cell

    @cached_property
    def averages(self) -> _Averages:
        gains = [gain for name, gain in self.ensemble.gain.items() if name not in self.names]
        variance = self.ensemble.static_variance.max() + (max([*gains, self.highest]) * _GRID_LARGEST) ** 2
        return _Averages(self.cell, self.ensemble.means, float(np.sqrt(variance)), exact=self.exact)

    @cached_property
    def groups(self) -> list[tuple[int, ...]]:
        return [group.members for group in structure(self.cell).groups]

    @cached_property
    def unknown(self) -> tuple[int, tuple[int, ...]]:
        return resolution(self.cell)

    @cached_property
    def leads(self) -> bool:
        """Whether the unknown source feeds the pre-activation of gain_x alone."""
        x = self.ensemble.names.index(self.name_x)
        fed = {k for k in self.groups[self.unknown[0]] if self.is_live(k)}
        return fed == {x} and all(self.averages.one_dimensional(self.source(g)) for g in range(len(self.groups)))

    def is_live(self, k: int) -> bool:
        return self.ensemble.gains[k] > 0.0 or self.ensemble.names[k] in (self.name_x, self.name_y)

    def source(self, group: int) -> int:
        return len(self.cell.state_names) + group

    def gain_squared(self, k: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """a_k² where the two gains are x and y."""
        name = self.ensemble.names[k]
        gain = x if name == self.name_x else y if name == self.name_y else np.asarray(self.ensemble.gains[k])
        return gain**2

    def stds(
        self, q: np.ndarray, x: np.ndarray, y: np.ndarray, u: np.ndarray | None = None
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Standard deviation of each pre-activation and the image q', from q; gain_x's own one is u where given."""
        dims = max(q.ndim, x.ndim, y.ndim, 1)
        static = self.ensemble.static_variance
        variance = [np.full((1,) * dims, v) for v in static]
        unknown, order = self.unknown

        def feed(group: int, moment: np.ndarray) -> None:
            for k in self.groups[group]:
                if u is not None and self.ensemble.names[k] == self.name_x:  # leads
                    variance[k] = u**2
                elif self.is_live(k):
                    variance[k] = static[k] + self.gain_squared(k, x, y) * moment

        feed(unknown, q)
        for group in order:
            feed(group, self.averages.second_moment(self.source(group), [np.sqrt(v) for v in variance]))
        std = [np.sqrt(v) for v in variance]
        return std, self.averages.second_moment(self.source(unknown), std)

    def transfer(self, std: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """T(1) between sources, (..., G, G)."""
        size, count = len(self.groups), len(self.ensemble.names)
        rows = []
        for g in range(size):
            row = []
            for members in self.groups:
                entry = np.asarray(0.0)
                for k in members:
                    if self.is_live(k):
                        index = len(self.cell.state_names) + size + g * count + k
                        entry = entry + self.gain_squared(k, x, y) * self.averages.second_moment(index, std)
                row.append(entry)
            rows.append(row)
        shape = np.broadcast_shapes(*(np.shape(entry) for row in rows for entry in row))
        return np.stack([np.stack([np.broadcast_to(e, shape) for e in row], -1) for row in rows], -2)


def shaping_and_growth(transfer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ρ_0 from 1 − ρ_0² = det(1 − T(1)) [CKS 16], and the Perron eigenvalue of T(1)."""
    size = transfer.shape[-1]
    if size == 1:
        return np.sqrt(transfer[..., 0, 0]), transfer[..., 0, 0]
    if size == 2:  # written out: there are many of them
        trace = transfer[..., 0, 0] + transfer[..., 1, 1]
        determinant = transfer[..., 0, 0] * transfer[..., 1, 1] - transfer[..., 0, 1] * transfer[..., 1, 0]
        growth = (trace + np.sqrt(np.maximum(0.0, trace**2 - 4.0 * determinant))) / 2.0
        return np.sqrt(np.maximum(0.0, trace - determinant)), growth
    shaping = np.sqrt(np.maximum(0.0, 1.0 - np.linalg.det(np.eye(size) - transfer)))
    return shaping, np.max(np.linalg.eigvals(transfer).real, axis=-1)


# ---- roots over the plane ----

Index = tuple[np.ndarray, np.ndarray]


class LeadingScan:
    """Excess log(q'/q) over the plane where gain_x leads, against w = ½ log of the variance that q gives its own."""

    def __init__(self, plane: Plane, x: np.ndarray, y: np.ndarray) -> None:
        self.plane, self.x, self.y = plane, x, y
        self.variance = plane.ensemble.static_variance[plane.ensemble.names.index(plane.name_x)]
        top = self._bound()
        count = int(np.ceil((top - np.log(_SMALLEST_STD)) / np.log(10.0) * 2 * _PER_DECADE))
        self.w = np.linspace(np.log(_SMALLEST_STD), top, count)
        self.excess = 2.0 * np.log(np.maximum(x, 1e-30))[:, None, None] - self.log_gain_squared(
            self.w[None, :], y[:, None]
        )

    def _bound(self) -> float:
        """A w beyond which there is no root."""
        w = np.log(2.0 * max(self.x.max(), 1e-3))
        while np.any(2.0 * np.log(self.x.max()) > self.log_gain_squared(np.full_like(self.y, w), self.y) - 0.1):
            w += np.log(2.0)
            if w > 9.0:
                raise ValueError(f"the activity of this {repr_cell(self.plane.cell)} ensemble is not bounded")
        return float(w)

    def log_gain_squared(self, w: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log a² of the gain_x whose static state has w: (u² − v)/q'."""
        _, image = self._stds(w, y)
        return 2.0 * w - np.log(np.maximum(image, 1e-300))

    def _stds(self, w: np.ndarray, y: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        unused = np.zeros(())
        return self.plane.stds(unused, unused, y, u=np.sqrt(self.variance + np.exp(2.0 * w)))

    def at(self, where: Index, w: np.ndarray) -> np.ndarray:
        """The excess at single points: column, row, coordinate."""
        return 2.0 * np.log(self.x[where[0]]) - self.log_gain_squared(w, self.y[where[1]])

    def residual(self, where: Index, w: np.ndarray) -> np.ndarray:
        """|q'/q − 1|."""
        return np.abs(np.expm1(self.at(where, w)))

    def properties(self, where: Index, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Second moments of the states (n, D) and T(1) (n, G, G)."""
        x, y = self.x[where[0]], self.y[where[1]]
        std, _ = self._stds(w, y)
        moments = [self.plane.averages.second_moment(d, std) for d in range(len(self.plane.cell.state_names))]
        return np.stack(moments, axis=-1), self.plane.transfer(std, x, y)


class GridScan:
    """Excess q'/q − 1 (q' − q where zero is not fixed) over the plane against w = √q, interpolated between grid points.

    It is smooth in w down to 0, so that small roots need no fine grid.
    """

    def __init__(self, plane: Plane, x: np.ndarray, y: np.ndarray) -> None:
        self.plane, self.x, self.y = plane, x, y
        self.w = np.linspace(0.0, _GRID_LARGEST, _GRID_POINTS)
        self._axes = x[:, None, None], y[None, :, None]
        q = self.w**2
        self._std, image = plane.stds(q[None, None, :], *self._axes)
        shape = (len(x), len(y), len(q))
        if plane.ensemble.zero_is_fixed:
            excess = np.array(np.broadcast_to(image / np.maximum(q, 1e-300) - 1.0, shape))
            excess[..., 0] = 1.5 * excess[..., 1] - 0.6 * excess[..., 2] + 0.1 * excess[..., 3]  # even in w
            critical = np.abs(excess[..., 0]) < _CRITICAL  # its sign there is rounding
            excess[..., 0] = np.where(critical, excess[..., 1], excess[..., 0])
            self._unit = np.ones_like
        else:
            excess = np.broadcast_to(image - q, shape)
            self._unit = np.square
        self.excess = excess
        if np.any(excess[..., -1] > 0.0):
            raise ValueError(f"q of this {repr_cell(plane.cell)} ensemble exceeds 2, more than its diagram covers")

    def at(self, where: Index, w: np.ndarray) -> np.ndarray:
        """The excess at single points: column, row, coordinate."""
        return self._between(self.excess, where, w, 8)

    def residual(self, where: Index, w: np.ndarray) -> np.ndarray:
        """|q'/q − 1|, by how much a lower order of interpolation differs."""
        return np.abs(self.at(where, w) - self._between(self.excess, where, w, 6)) / self._unit(w)

    def properties(self, where: Index, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Second moments of the states (n, D) and T(1) (n, G, G)."""
        shape = self.excess.shape
        states = range(len(self.plane.cell.state_names))
        moments = [np.broadcast_to(self.plane.averages.second_moment(d, self._std), shape) for d in states]
        transfer = self.plane.transfer(self._std, *self._axes)
        transfer = np.broadcast_to(transfer, (*shape, *transfer.shape[-2:]))
        between = [self._between(m, where, w, 8) for m in moments]
        return np.stack(between, axis=-1), self._between(transfer, where, w, 8)

    def _between(self, values: np.ndarray, where: Index, w: np.ndarray, points: int) -> np.ndarray:
        """Lagrange's interpolation along the scan at single points, through the nearest `points` values."""
        place = (w - self.w[0]) / (self.w[1] - self.w[0])
        first = np.clip(np.floor(place).astype(int) - points // 2 + 1, 0, len(self.w) - points)
        result = 0.0
        for i in range(points):
            weight = np.ones_like(place)
            for j in range(points):
                if j != i:
                    weight *= (place - first - j) / (i - j)
            value = values[where[0], where[1], first + i]
            result = result + weight.reshape(-1, *(1,) * (value.ndim - 1)) * value
        return np.asarray(result)


def _find_roots(scan: LeadingScan | GridScan) -> tuple[Index, np.ndarray]:
    """All non-zero roots of the plane: columns, rows and scan coordinates."""
    e = scan.excess
    at_x, at_y, at_w = np.nonzero((e[..., :-1] > 0.0) != (e[..., 1:] > 0.0))
    where = (at_x, at_y)
    w = _start(e, where, at_w, scan.w)
    w = _chord(scan, where, w, scan.w[at_w], scan.w[at_w + 1])
    turns, low, middle, high = _tangencies(scan)
    pairs = [_bisect(scan, turns, a, b) for a, b in ((low, middle), (middle, high))]
    columns, rows = (np.concatenate([a, b, b]) for a, b in zip(where, turns, strict=True))
    return (columns, rows), np.concatenate([w, *pairs])


def _start(e: np.ndarray, where: Index, j: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Where the cubic through four grid values crosses zero between the middle two."""
    first = np.clip(j - 1, 0, len(grid) - 4)
    nodes = np.stack([e[where[0], where[1], first + i] for i in range(4)])
    offset = j - first
    low, high = e[where[0], where[1], j], e[where[0], where[1], j + 1]
    t = low / (low - high)
    for _ in range(3):
        value, slope = _cubic(nodes, t + offset)
        t = np.clip(t - value / np.where(slope == 0.0, 1.0, slope), 0.0, 1.0)
    return grid[j] + t * (grid[1] - grid[0])


def _cubic(nodes: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Newton's form of the cubic through values at 0, 1, 2, 3, and its derivative."""
    a, b, c, d = nodes
    first, second, third = b - a, (c - 2 * b + a) / 2, (d - 3 * c + 3 * b - a) / 6
    value = a + t * (first + (t - 1) * (second + (t - 2) * third))
    return value, first + (2 * t - 1) * second + (3 * t * t - 6 * t + 2) * third


def _chord(scan: Any, where: Index, w: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Two secant steps from a good start; bisection for those that are still not there."""
    if len(w) == 0:
        return w
    probe = np.where(w > (low + high) / 2, w - 1e-3 * (high - low), w + 1e-3 * (high - low))
    old, f_old = probe, scan.at(where, probe)
    f = scan.at(where, w)
    for _ in range(2):
        slope = (f - f_old) / np.where(w == old, 1.0, w - old)
        new = np.clip(w - np.where(slope == 0.0, 0.0, f / np.where(slope == 0.0, 1.0, slope)), low, high)
        old, f_old, w = w, f, new
        f = scan.at(where, w)
    late = np.nonzero(np.abs(f) > _ROOT)[0]
    if len(late):
        w[late] = _bisect(scan, (where[0][late], where[1][late]), low[late], high[late])
    return w


def _bisect(scan: Any, where: Index, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The root in each bracket."""
    if len(low) == 0:
        return low
    side = scan.at(where, low) > 0.0
    for _ in range(50):
        middle = (low + high) / 2
        same = (scan.at(where, middle) > 0.0) == side
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return (low + high) / 2


def _tangencies(scan: Any) -> tuple[Index, np.ndarray, np.ndarray, np.ndarray]:
    """Where the excess turns and changes sign between grid points unseen: left end, turning point, right end."""
    e = scan.excess
    size = np.abs(e)
    same = ((e[..., 1:-1] > 0.0) == (e[..., :-2] > 0.0)) & ((e[..., 1:-1] > 0.0) == (e[..., 2:] > 0.0))
    turn = same & (size[..., 1:-1] < size[..., :-2]) & (size[..., 1:-1] <= size[..., 2:]) & (size[..., 1:-1] < _NEAR)
    at_x, at_y, j = np.nonzero(turn)
    where, j = (at_x, at_y), j + 1
    low, high = scan.w[j - 1], scan.w[j + 1]
    side = np.where(e[at_x, at_y, j] > 0.0, 1.0, -1.0)
    best = scan.w[j]
    width = (high - low) / 2 * np.ones_like(best)
    for _ in range(6):  # parabolas through three points, closer and closer
        left, middle, right = (side * scan.at(where, best + s * width) for s in (-1.0, 0.0, 1.0))
        bend = left - 2 * middle + right
        step = np.where(bend > 0.0, 0.5 * (left - right) / np.where(bend > 0.0, bend, 1.0), 0.0)
        best = np.clip(best + np.clip(step, -1.0, 1.0) * width, low, high)
        width = width / 4
    crossed = side * scan.at(where, best) < 0.0
    return (at_x[crossed], at_y[crossed]), low[crossed], best[crossed], high[crossed]


# ---- the diagram ----


def phase_diagram(*, gain_x: Axis, gain_y: Axis, ensemble: Ensemble, beta: float = 0.0) -> xr.Dataset:
    """Static states at every point of a plane of two gains [CKS fig. 2 left]: all roots, ρ_0 and regions.

    Args:
        gain_x: name of a pre-activation, lowest and highest gain, number of points.
        gain_y: likewise.
        ensemble: all else; its own gains of the two are not used.
        beta: b_z/a_z, mean bias over gain of a binary update gate, for the region of marginal stability [CKS 25].

    Returns:
        A dataset over (gain_y, gain_x, root), roots in order of variance and NaN beyond the last: `second_moment` of
        each state, `shaping` ρ_0, `growth` (the Perron eigenvalue of T(1)) and `residual` |q'/q − 1|; and over
        (gain_y, gain_x): `roots`, the number of roots besides zero, `zero_stable`, `region`, named in its attributes,
        and `marginal`, whether a root of a GRU has 1 < ρ_0 < 1/√α.

    Raises:
        ValueError: an unknown name, twice the same, a range that is not one, or a plane that is not covered.
    """
    x, y = _axis("gain_x", gain_x), _axis("gain_y", gain_y)
    plane = plane_of(ensemble, gain_x[0], gain_y[0], max(x.max(), y.max()))
    scan = LeadingScan(plane, x, y) if plane.leads else GridScan(plane, x, y)
    where, w = _find_roots(scan)
    from gatefield.datasets import phase_dataset

    return phase_dataset(ensemble, (plane.name_x, x), (plane.name_y, y), _collect(plane, scan, where, w, beta), beta)


def plane_of(ensemble: Ensemble, name_x: str, name_y: str, highest: float, *, exact: bool = False) -> Plane:
    """The plane of two gains of an ensemble, names checked."""
    names = [ensemble.names[k] for k in range(len(ensemble.names)) if k not in structure(ensemble.cell).sourceless]
    known_names("gain_x", [name_x], tuple(names), type(ensemble.cell).__name__)
    known_names("gain_y", [name_y], tuple(names), type(ensemble.cell).__name__)
    if name_x == name_y:
        raise ValueError(f"gain_x and gain_y are both {name_x!r}; give two different pre-activations")
    return Plane(ensemble, name_x, name_y, highest, exact)


def _axis(name: str, axis: Axis) -> np.ndarray:
    if len(axis) != 4:
        raise ValueError(f"{name}={axis!r} must be (pre-activation, lowest gain, highest gain, number of points)")
    low, high = at_least(f"{name}[1]", axis[1], 0.0), at_least(f"{name}[2]", axis[2], 0.0)
    count = whole(f"{name}[3]", axis[3])
    if high <= low and count > 1:
        raise ValueError(f"{name}={axis!r} must rise: the second gain must exceed the first")
    return np.linspace(low, high, count)


def _collect(
    plane: Plane, scan: LeadingScan | GridScan, where: Index, w: np.ndarray, beta: float
) -> dict[str, np.ndarray]:
    """Everything by (y, x) and, for roots, (y, x, root)."""
    order = np.lexsort((w, where[0], where[1]))
    columns, rows, w = where[0][order], where[1][order], w[order]
    counts = np.zeros((len(scan.y), len(scan.x)), int)
    np.add.at(counts, (rows, columns), 1)
    cell = rows * len(scan.x) + columns
    rank = np.arange(len(w)) - np.searchsorted(cell, cell)
    zero = plane.ensemble.zero_is_fixed
    depth = int(counts.max(initial=0)) + zero
    moments, transfer = scan.properties((columns, rows), w)
    shaping, growth = shaping_and_growth(transfer)
    values = {"shaping": shaping, "growth": growth, "residual": scan.residual((columns, rows), w)}
    values |= {f"second_moment_{n}": moments[:, d] for d, n in enumerate(plane.cell.state_names)}
    out = {name: np.full((len(scan.y), len(scan.x), depth), np.nan) for name in values}
    for name, value in values.items():
        out[name][rows, columns, rank + zero] = value
    if zero:
        for name, value in zip(("shaping", "growth"), _at_zero(plane, scan.x, scan.y), strict=True):
            out[name][..., 0] = value
        for name in out.keys() - {"shaping", "growth"}:
            out[name][..., 0] = 0.0
    stable = out["growth"][..., 0] < 1.0 if zero else np.zeros(counts.shape, bool)
    out |= {"roots": counts, "zero_stable": stable}
    return out | {"marginal": _marginal(plane, out, zero, beta)}


def _at_zero(plane: Plane, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    std = [np.full((1, 1, 1), s) for s in np.sqrt(plane.ensemble.static_variance)]
    transfer = plane.transfer(std, x[:, None, None], y[None, :, None])
    shaping, growth = (np.broadcast_to(v[..., 0], (len(x), len(y))).T for v in shaping_and_growth(transfer))
    return shaping, growth


def _marginal(plane: Plane, out: dict[str, np.ndarray], zero: bool, beta: float) -> np.ndarray:
    """Whether a non-zero root has 1 < ρ_0 < 1/√α [CKS 25]."""
    if not isinstance(plane.cell, GRU):
        return np.zeros(out["roots"].shape, bool)
    h, shaping = out[f"second_moment_{plane.cell.state_names[-1]}"], out["shaping"]
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = (shaping > 1.0) & (shaping**2 * open_share(h, beta) < 1.0)
    return np.any(inside[..., int(zero) :], axis=-1)


def open_share(second_moment: Any, beta: float) -> np.ndarray:
    """α = ½ erfc(β/√(2 C_h)): share of binary update gates that stand open, at b_z = β a_z [CKS 25]."""
    return 0.5 * erfc(beta / np.sqrt(2.0 * np.asarray(second_moment)))
