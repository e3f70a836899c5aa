"""Averages over neurons that rest, tabulated for a plane of two gains, and scanned for static states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.special import erfc

from gatefield.cells.cell import Cell
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.cells.tracing import structure
from gatefield.numerics.quadrature import FixedNodes
from gatefield.phases.roots import resolution
from gatefield.phases.static import crossing, evaluate, kinks, separation
from gatefield.phases.uniqueness import require_single_states
from gatefield.running.arguments import known_names

_SMALLEST_STD = 1e-4
_PER_DECADE = 12
_LARGEST = 1e4  # standard deviation
_TABLE = np.linspace(np.log(2e-5), np.log(1e4), 1000)
_GRID_STEP = 0.15
_GRID_SCALE = 1e-3  # an LSTM turns on y = e^{-f}: what is small counts
_GRID_LARGEST = 1.45  # of √q; tanh keeps it below 1
_GRID_POINTS = 192
_CRITICAL = 1e-7


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
            mean, change = self._line(index, k).average(self._values(index, dims) ** 2, std[k])
            value, slope = value * mean / scale**2, slope + change / np.maximum(mean, 1e-300) * slopes[k]
        return value, slope

    def one_dimensional(self, index: int) -> bool:
        """Whether every factor depends on one pre-activation."""
        return all(len(dims) == 1 for dims in self._parts(index)[0])

    def _parts(self, index: int) -> tuple[tuple[tuple[int, ...], ...], float]:
        found = separation(self.cell, index)
        return found.factors, found.value

    def _values(self, index: int, dims: tuple[int, ...]) -> np.ndarray:
        nodes = self._line(index, dims[0]) if len(dims) == 1 else self.grid
        return _factor(self.cell, index, dims, tuple(self.means[list(dims)]), nodes)

    def _line(self, index: int, k: int) -> FixedNodes:
        return _line(self.cell, index, k, float(self.means[k]))

    def _along(self, index: int, k: int, std: np.ndarray) -> np.ndarray:
        if self.exact:
            return self._line(index, k).average(self._values(index, (k,)) ** 2, std)[0]
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


@lru_cache(maxsize=256)
def _line(cell: Cell, index: int, k: int, mean: float) -> FixedNodes:
    """Nodes about the mean of a factor of one pre-activation, its kinks between panels."""
    return _nodes(tuple(at - mean for at in kinks(cell, index, (k,), k, _LARGEST)))


@lru_cache(maxsize=64)
def _nodes(breaks: tuple[float, ...]) -> FixedNodes:
    return FixedNodes(scale=1e-4, largest=_LARGEST, step=0.12, breaks=breaks)


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
    line = _line(cell, index, k, mean)
    square = _factor(cell, index, (k,), (mean,), line) ** 2
    if not square.any():
        return np.zeros_like
    logs = np.log(line.average(square, np.exp(_TABLE))[0])
    spline = make_interp_spline(_TABLE, logs, k=5)
    start = np.round((logs[1] - logs[0]) / (_TABLE[1] - _TABLE[0]))  # 0, or 2 where the factor vanishes at the mean

    def moment(std: np.ndarray) -> np.ndarray:
        at = np.log(np.maximum(std, 1e-30))
        return np.exp(spline(np.clip(at, _TABLE[0], _TABLE[-1])) + start * np.minimum(at - _TABLE[0], 0.0))

    return moment


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


def plane_of(ensemble: Ensemble, name_x: str, name_y: str, highest: float, *, exact: bool = False) -> Plane:
    """The plane of two gains of an ensemble, names checked, and that each neuron rests in one state."""
    names = [ensemble.names[k] for k in range(len(ensemble.names)) if k not in structure(ensemble.cell).sourceless]
    known_names("gain_x", [name_x], tuple(names), type(ensemble.cell).__name__)
    known_names("gain_y", [name_y], tuple(names), type(ensemble.cell).__name__)
    if name_x == name_y:
        raise ValueError(f"gain_x and gain_y are both {name_x!r}; give two different pre-activations")
    first = len(ensemble.cell.state_names)
    if any(crossing(ensemble.cell, first + g) for g in range(len(structure(ensemble.cell).groups))):
        raise ValueError(
            f"kinks of {repr_cell(ensemble.cell)} run across several pre-activations, beyond the diagram's quadrature; "
            "use fixed_points at single gains, or a smooth activation"
        )
    gains = np.array([highest if name in (name_x, name_y) else ensemble.gain[name] for name in ensemble.names])
    std = np.sqrt(ensemble.static_variance + (gains * _GRID_LARGEST) ** 2)
    require_single_states(ensemble.cell, ensemble.means, std)
    return Plane(ensemble, name_x, name_y, highest, exact)


def open_share(second_moment: Any, beta: float) -> np.ndarray:
    """α = ½ erfc(β/√(2 C_h)): share of binary update gates that stand open, at b_z = β a_z [CKS 25]."""
    return 0.5 * erfc(beta / np.sqrt(2.0 * np.asarray(second_moment)))
