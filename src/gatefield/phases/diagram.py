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

from typing import TYPE_CHECKING, Any

import numpy as np

from gatefield.cells.builtin import GRU
from gatefield.cells.ensemble import Ensemble
from gatefield.phases.plane import GridScan, Index, LeadingScan, Plane, open_share, plane_of, shaping_and_growth
from gatefield.results.description import Description, Quantity
from gatefield.running.arguments import at_least, whole
from gatefield.running.memory import require

if TYPE_CHECKING:
    import xarray as xr

_ROOT = 1e-11  # of the excess
_BYTES = 1000.0  # for a point of the plane, all that is known of its roots
_NEAR = 0.1  # excess at a grid point below which a turn may hide two roots
Axis = tuple[str, float, float, int]


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
    points = len(x) * len(y)
    require(_BYTES * points, what="the plane", size=points, power=1.0, name="points of gain_x times gain_y")
    plane = plane_of(ensemble, gain_x[0], gain_y[0], max(x.max(), y.max()))
    scan = LeadingScan(plane, x, y) if plane.leads else GridScan(plane, x, y)
    where, w = _find_roots(scan)
    return _described(plane, ensemble, x, y, _collect(plane, scan, where, w, beta), beta).labelled().to_dataset()


def _described(
    plane: Plane, ensemble: Ensemble, x: np.ndarray, y: np.ndarray, values: dict[str, np.ndarray], beta: float
) -> Description:
    """Static states over a plane, with what each number of roots means."""
    name_x, name_y = plane.name_x, plane.name_y
    sources = {"shaping": "ρ_0, CKS 16", "growth": "Perron eigenvalue of T(1)", "residual": "|q'/q − 1|"}
    quantities = {
        name: Quantity(value, (name_y, name_x, "root")[: value.ndim], source=sources.get(name, "CKS 10"))
        for name, value in values.items()
    }
    region, names = _regions(values["roots"], values["zero_stable"], ensemble.zero_is_fixed)
    flags = {"flag_values": list(range(len(names))), "flag_meanings": "; ".join(names)}
    return Description(
        quantities | {"region": Quantity(region, (name_y, name_x), attrs=flags)},
        coordinates={name_x: Quantity(x, units="gain"), name_y: Quantity(y, units="gain")},
        facts={"ensemble": ensemble, "gain_x": name_x, "gain_y": name_y, "beta": beta},
    )


def _regions(roots: np.ndarray, zero_stable: np.ndarray, zero_is_fixed: bool) -> tuple[np.ndarray, list[str]]:
    """Region of each point as a number, and the names of those found: CKS §4.4."""
    state = np.where(zero_stable, "zero stable", "zero unstable") if zero_is_fixed else np.full(roots.shape, "biased")
    keys = np.char.add(np.char.add(state, ", non-zero roots: "), roots.astype(str))
    names, region = np.unique(keys, return_inverse=True)
    return region.reshape(roots.shape), names.tolist()


def _axis(name: str, axis: Axis) -> np.ndarray:
    if len(axis) != 4:
        raise ValueError(f"{name}={axis!r} must be (pre-activation, lowest gain, highest gain, number of points)")
    low, high = at_least(f"{name}[1]", axis[1], 0.0), at_least(f"{name}[2]", axis[2], 0.0)
    count = whole(f"{name}[3]", axis[3])
    require(_BYTES * count, what="the axis", size=count, power=1.0, name=f"{name}[3]")
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
