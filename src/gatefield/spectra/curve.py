"""The spectral curve: the boundary of the support, bulk and islands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import contourpy
import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.numerics.algebra import ComplexArray
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import whole
from gatefield.spectra import dyson
from gatefield.spectra.islands import Rays, between, islands
from gatefield.spectra.response import Response
from gatefield.spectra.support import outermost, support_of

_THIN = 1000  # neurons that tell inside from outside far from the curve
_SIDES = 10**7  # sides of a contour times points held against it at a time
_THIN_CELLS = 2.0  # half height of a strip, in widths of a cell, below which single poles make its outline


@dataclass(frozen=True, eq=False, repr=False)
class SpectralCurve(Result):
    """Boundary of the support of the spectrum.

    Attributes:
        contours: closed curves in the complex plane, first point repeated last; the support lies to their left, so
            outer boundaries run counter-clockwise and holes clockwise. Largest first.
        atoms: eigenvalues of single neurons that nothing couples to, in the closed upper half plane, which no contour
            surrounds.
    """

    contours: tuple[ComplexArray, ...]
    ensemble: Ensemble
    snapshot: Snapshot
    atoms: ComplexArray = field(default_factory=lambda: np.zeros(0, np.complex128))

    def description(self) -> Description:
        z = np.concatenate([np.zeros(0, np.complex128), *self.contours])
        contour = np.repeat(np.arange(len(self.contours)), [len(c) for c in self.contours])
        return Description(
            quantities={
                "real": Quantity(z.real, ("point",), source="CKS 15, 30"),
                "imaginary": Quantity(z.imag, ("point",), source="CKS 15, 30"),
                "atoms": Quantity(self.atoms, ("atom",)),
            },
            coordinates={"contour": Quantity(contour, ("point",), json="contour")},
            facts={"ensemble": self.ensemble, "neurons": self.snapshot.neurons},
        )


def spectral_curve(
    ensemble: Ensemble, snapshot: Snapshot, *, resolution: int = 240, size: float | None = None
) -> SpectralCurve:
    """Boundary of the support of the spectrum, as closed contours [CKS Thm 1, 15, Cor. 9, 30].

    Every neuron's own eigenvalue lies within a contour, of the bulk or of an island, or is an atom. A strip along the
    real axis that is thinner than a grid cell may end where it meets the bulk.

    Args:
        ensemble: gives the gains.
        snapshot: the neurons.
        resolution: grid points across the support from which contours start; their points are then moved onto the
            curve. Raise it to resolve a narrow pinch.
        size: neurons N of a network: islands further out than its `spectral_radius` are left out. By default as many
            as the snapshot has.

    Raises:
        ValueError: a resolution below 16, a size above the number of neurons, or a snapshot of another cell.
    """
    resolution = whole("resolution", resolution, 16)
    support = support_of(ensemble, snapshot, size)
    response, poles = support.response, support.present
    loops = _bulk(response, poles, 1.1 * outermost(support)[0], resolution) if response.size else []
    missed = poles[winding(loops, poles) <= 0]
    more, atoms = islands(response, missed)
    loops = tuple(sorted([*loops, *more], key=lambda loop: -abs(_area(loop))))
    return SpectralCurve(loops, ensemble, snapshot, atoms=atoms)


def winding(loops: Sequence[ComplexArray], points: ComplexArray) -> np.ndarray:
    """How many outer boundaries, less holes, surround each point."""
    count = np.zeros(len(points), int)
    for loop in loops:
        count += np.where(_encloses(loop, points), np.sign(_area(loop)), 0.0).astype(int)
    return count


def _bulk(response: Response, poles: ComplexArray, outermost: float, resolution: int) -> list[ComplexArray]:
    """Contours that a grid shows."""
    thin = response.thinned(_THIN)
    x, y = _support_box(thin, poles, outermost, resolution)
    exponent = _exponent_near_boundary(response, thin, x[:, None] + 1j * y[None, :])
    while max(exponent[0].max(), exponent[-1].max(), exponent[:, -1].max()) > 0.0:
        # some of the neurons showed less of the support than all of them: the box cuts it
        margin = 0.2 * (x[-1] - x[0])
        x = np.linspace(x[0] - margin, x[-1] + margin, len(x))
        y = y * (y[-1] + margin) / y[-1]
        exponent = _exponent_near_boundary(response, thin, x[:, None] + 1j * y[None, :])
    exponent = _without_strips(exponent, x, y, np.sort(poles.real[poles.imag == 0.0]))
    full, heights = np.concatenate([-y[::-1], y]), np.concatenate([exponent[:, ::-1], exponent], axis=1)
    loops = []
    for line in contourpy.contour_generator(full, x, heights).lines(0.0):
        loop = np.asarray(line)[:, 1] + 1j * np.asarray(line)[:, 0]
        if len(loop) > 3 and loop[0] == loop[-1]:
            loops.append(loop)
    return [_on_curve(response, loop, x, y) for loop in _oriented(loops)]


def _support_box(
    thin: Response, poles: ComplexArray, outermost: float, resolution: int
) -> tuple[np.ndarray, np.ndarray]:
    """Grid lines that hold the upper half of the support and a margin, none of them on the real axis."""
    left, right, top = -outermost, outermost, outermost
    for _ in range(12):
        x, y = np.linspace(left, right, 65), (np.arange(33) + 0.5) / 33 * top
        hit = dyson.log_perron(thin, (x[:, None] + 1j * y).ravel()).reshape(65, 33) > 0.0
        if hit.any():
            columns, rows = x[hit.any(axis=1)], y[hit.any(axis=0)]
            margin_x, margin_y = 2 * (x[1] - x[0]), 2 * (y[1] - y[0])
            box = columns[0] - margin_x, columns[-1] + margin_x, rows[-1] + margin_y
        else:  # the support is smaller than the grid's cells, and it surrounds poles
            middle, half = float(np.median(poles.real)), (right - left) / 8
            box = middle - half, middle + half, half
        shrunk = (box[1] - box[0]) < 0.8 * (right - left) or box[2] < 0.8 * top
        left, right, top = box
        if not shrunk:
            break
    count = resolution // 2
    return np.linspace(left, right, resolution), (np.arange(count) + 0.5) / count * top


def _exponent_near_boundary(response: Response, thin: Response, z: ComplexArray) -> np.ndarray:
    """Support exponent on a grid: of all neurons wherever its sign changes, of some of them elsewhere."""
    exponent = dyson.log_perron(thin, z.ravel()).reshape(z.shape)
    exact = np.full(z.shape, len(thin.weights) == len(response.weights))
    while True:
        inside = np.pad(exponent > 0.0, 1, mode="edge")
        middle = inside[1:-1, 1:-1]
        around = (inside[:-2, 1:-1], inside[2:, 1:-1], inside[1:-1, :-2], inside[1:-1, 2:])
        wanted = np.logical_or.reduce([side != middle for side in around]) & ~exact
        if not wanted.any():
            return exponent
        exponent[wanted] = dyson.log_perron(response, z[wanted])
        exact |= wanted


def _without_strips(exponent: np.ndarray, x: np.ndarray, y: np.ndarray, poles: np.ndarray) -> np.ndarray:
    """The exponent outside where the support is a strip along poles on the real axis that columns cannot resolve.

    Neighbouring columns then tell nothing of the gaps between neurons: `islands` goes from pole to pole.
    """
    cell = x[1] - x[0]
    strip = np.logical_and.accumulate(exponent > 0.0, axis=1)
    low = np.sum(strip, axis=1) < np.searchsorted(y, _THIN_CELLS * cell)
    beside = np.searchsorted(poles, x + cell) > np.searchsorted(poles, x - cell)
    return np.where(strip & (low & beside)[:, None], -np.abs(exponent), exponent)


def _on_curve(response: Response, loop: ComplexArray, x: np.ndarray, y: np.ndarray) -> ComplexArray:
    """A contour's points, each moved along its grid line to the zero between a point inside and one outside."""
    upper, back = np.unique(np.round(loop.real + 1j * np.abs(loop.imag), 13), return_inverse=True)
    real, imag = upper.real, upper.imag
    vertical: np.ndarray = np.min(np.abs(real[:, None] - x), axis=1) < np.min(np.abs(imag[:, None] - y), axis=1)
    rows = np.concatenate([[-y[0]], y])
    at = np.where(vertical, np.searchsorted(rows, imag) - 1, np.searchsorted(x, real) - 1)
    start = np.where(vertical, real + 1j * rows[np.clip(at, 0, len(y) - 1)], x[np.clip(at, 0, len(x) - 2)] + 1j * imag)
    stop = np.where(
        vertical, real + 1j * rows[np.clip(at + 1, 1, len(y))], x[np.clip(at + 1, 1, len(x) - 1)] + 1j * imag
    )
    moved = between(response, start, stop)
    true = np.isfinite(moved.real)  # elsewhere a strip begins
    z: ComplexArray = np.where(true, moved, upper)[back]
    side = np.where(loop.imag < 0.0, -1.0, 1.0)
    return _with_tips(response, z.real + 1j * side * z.imag, true[back], x[1] - x[0])


def _area(loop: ComplexArray) -> float:
    """Signed area, positive for counter-clockwise loops."""
    return float(0.5 * np.sum(np.imag(np.conj(loop[:-1]) * loop[1:])))


def _with_tips(response: Response, loop: ComplexArray, true: np.ndarray, cell: float) -> ComplexArray:
    """A contour with points on the real axis, where it may end in a tip narrower than the grid's rows."""
    both = true[:-1] & true[1:]
    up = np.nonzero((loop[:-1].imag < 0.0) & (loop[1:].imag > 0.0) & both)[0]
    down = np.nonzero((loop[:-1].imag > 0.0) & (loop[1:].imag < 0.0) & both)[0]
    at = np.concatenate([up, down])
    if len(at) == 0:
        return loop
    middle = ((loop[at] + loop[at + 1]) / 2.0).real.astype(np.complex128)
    outward = np.repeat([1.0 + 0j, -1.0 + 0j], [len(up), len(down)])  # the support lies to the left
    guess, limit = np.full(len(at), 0.1 * cell), np.full(len(at), cell)
    reach = Rays(response, middle, outward, guess, limit).lengths()
    return np.insert(loop, at + 1, middle + reach * outward)


def _oriented(loops: list[ComplexArray]) -> list[ComplexArray]:
    """Contours of one function, those within an even number of others counter-clockwise."""
    if not loops:
        return []
    first = np.array([loop[0] for loop in loops])
    around = np.array([_encloses(loop, first) for loop in loops])
    np.fill_diagonal(around, False)
    outer = np.sum(around, axis=0) % 2 == 0
    return [loop if (_area(loop) > 0.0) == out else loop[::-1] for loop, out in zip(loops, outer, strict=True)]


def _encloses(loop: ComplexArray, points: ComplexArray) -> np.ndarray:
    """Which points lie within a closed loop: an odd number of its sides to their right."""
    inside = np.zeros(len(points), bool)
    for sides in np.array_split(np.arange(len(loop) - 1), -(-len(loop) * len(points) // _SIDES)):
        a, b = loop[sides][:, None], loop[sides + 1][:, None]
        crosses = (a.imag > points.imag) != (b.imag > points.imag)
        height = np.where(crosses, b.imag - a.imag, 1.0)
        right = points.real < a.real + (points.imag - a.imag) / height * (b.real - a.real)
        inside ^= np.sum(crosses & right, axis=0) % 2 == 1
    return inside
