"""How a neuron answers: Γ(λ) = V_s (λ − F_s)^{-1} F_x + V_x of a snapshot, as polynomials in λ.

Γ p is a matrix of polynomials in λ with real coefficients, p = det(λ − F_s) (V_s adj(λ − F_s) F_x + V_x p, by
Faddeev–LeVerrier), so |p|² Γ Γ† is one of polynomials in λ and λ̄ whose real coefficients are found once per neuron.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot, check_cell

_SILENT = 1e-20  # share of the whole response below which a pre-activation does not count

# A term λ^a λ̄^b of entry (i, j), i ≤ j, of |p|² M_g.
Term = tuple[int, int, int, int, int]
Shape = tuple[int, tuple[Term, ...]]


@dataclass(frozen=True, eq=False)
class Response:
    """|p|² M_g as polynomials in λ and λ̄, p = det(λ − F_s), for n neurons and their weights in averages.

    Attributes:
        size: G, the number of distinct rows of Γ.
        terms: (g, i, j, a, b) of each term that is not zero for all neurons.
        coefficients: real, (terms, n).
        poly: coefficients of p, highest power first, (D+1, n).
        weights: (n,), summing to 1.
        members: indices of the pre-activations whose columns make each M_g.
    """

    size: int
    terms: tuple[Term, ...]
    coefficients: np.ndarray
    poly: np.ndarray
    weights: np.ndarray
    members: tuple[tuple[int, ...], ...] = field(default=())

    def thinned(self, count: int) -> Response:
        """About `count` of the neurons, evenly spread."""
        return self.part(slice(None, None, max(1, len(self.weights) // count)))

    def only(self, kept: np.ndarray) -> Response:
        """What the neurons of a mask add to the averages over all; of the same shape, so that it shares its code."""
        return replace(self, weights=np.where(kept, self.weights, 0.0))

    def part(self, kept: slice) -> Response:
        """Some of the neurons."""
        weights = self.weights[kept] / self.weights[kept].sum()
        return replace(self, coefficients=self.coefficients[:, kept], poly=self.poly[:, kept], weights=weights)


def response_of(ensemble: Ensemble, snapshot: Snapshot) -> Response:
    """Γ(λ) of a snapshot under the gains of an ensemble.

    Raises:
        ValueError: the snapshot is of another cell.
    """
    check_cell(ensemble, snapshot)
    known = _made.get(snapshot)
    if known is None or known[0]() is not ensemble:
        known = _made[snapshot] = weakref.ref(ensemble), _make_response(ensemble, snapshot)
    return known[1]


# The last response of each snapshot: density, curve, radius and mass of one state start from the same.
_made: weakref.WeakKeyDictionary[Snapshot, tuple[weakref.ref[Ensemble], Response]] = weakref.WeakKeyDictionary()


def _make_response(ensemble: Ensemble, snapshot: Snapshot) -> Response:
    members, gamma, poly = _active_response(ensemble, snapshot)
    starts = np.cumsum([0] + [len(group) for group in members])
    columns = [list(range(a, b)) for a, b in pairwise(starts)]
    return _response(columns, gamma, poly, tuple(map(tuple, members)))


def split_response(ensemble: Ensemble, snapshot: Snapshot) -> Response:
    """The same with each pre-activation's column by itself: as many M_k as `members`, of `size` rows."""
    members, gamma, poly = _active_response(ensemble, snapshot)
    each = tuple((k,) for group in members for k in group)
    return _response([[i] for i in range(len(each))], gamma, poly, each)


def _response(
    columns: list[list[int]], gamma: np.ndarray, poly: np.ndarray, members: tuple[tuple[int, ...], ...]
) -> Response:
    n, size = gamma.shape[:2]
    terms: dict[Term, np.ndarray] = {}
    for g, these in enumerate(columns):
        for i, j in zip(*np.triu_indices(size), strict=True):
            products = np.einsum("nla,nlb->abn", gamma[:, i, these], gamma[:, j, these])
            for a, b in zip(*np.nonzero(np.any(products != 0.0, axis=2)), strict=True):
                terms[g, int(i), int(j), int(a), int(b)] = products[a, b]
    coefficients = np.stack(list(terms.values())) if terms else np.zeros((0, n))
    return Response(size, tuple(terms), coefficients, np.ascontiguousarray(poly.T), np.full(n, 1.0 / n), members)


def _active_response(ensemble: Ensemble, snapshot: Snapshot) -> tuple[list[list[int]], np.ndarray, np.ndarray]:
    """Γ p of the groups that matter: their pre-activations, coefficients (n, G, L, D+1) lowest power first, and p.

    A pre-activation without gain, or one to which nothing responds (the gates at the zero fixed point), drops out,
    and so does a source that feeds none but such: their P and Q would be zero.
    """
    local, gains = snapshot.derivatives, ensemble.gains
    adjugate, poly = _adjugate(local.f_s)
    groups = [[k for k in g.members if gains[k] > 0.0] for g in ensemble.structure.groups]
    while True:
        groups = [members for members in groups if members]
        rows, columns = [members[0] for members in groups], [k for members in groups for k in members]
        f_x, v_x = local.f_x[:, :, columns] * gains[columns], local.v_x[:, rows][:, :, columns] * gains[columns]
        gamma = np.einsum("nis,nsra,nrl->nila", local.v_s[:, rows], adjugate, f_x, optimize=True)
        gamma = np.pad(gamma, ((0, 0), (0, 0), (0, 0), (1, 0))) + v_x[..., None] * poly[:, None, None, :]
        power = np.sum(gamma**2, axis=(0, 1, 3))
        silent = {k for k, size in zip(columns, power, strict=True) if size <= _SILENT * np.max(power, initial=0.0)}
        if not silent:
            break
        groups = [[k for k in members if k not in silent] for members in groups]
    return groups, gamma[..., ::-1], poly


def _adjugate(f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of adj(λ − F) (n, D, D, D) and det(λ − F) (n, D+1), highest power first: Faddeev–LeVerrier."""
    n, d, _ = f.shape
    term = np.broadcast_to(np.eye(d), (n, d, d))
    terms, poly = [], [np.ones(n)]
    for power in range(1, d + 1):
        terms.append(term)
        product = f @ term
        coefficient = -np.trace(product, axis1=1, axis2=2) / power
        poly.append(coefficient)
        term = product + coefficient[:, None, None] * np.eye(d)
    return np.stack(terms, axis=-1), np.stack(poly, axis=-1)
