"""p and q of each pre-activation, which make the self-energy of the Dyson equation [CKS 54–58].

`dyson` solves for their sums over pre-activations that share a source.
"""

from __future__ import annotations

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.numerics.algebra import ComplexArray
from gatefield.spectra.dyson import Solution, column_traces
from gatefield.spectra.response import response_of, split_response


def self_energies(
    ensemble: Ensemble, snapshot: Snapshot, points: ComplexArray, solution: Solution
) -> tuple[np.ndarray, np.ndarray]:
    """p_k and q_k of each pre-activation, (points, K), with Σ p = Σ q: their product alone has a meaning of its own.

    P_g is shared out by what each column adds to it, p_k = E tr(A M_k); q_k = a_k² Q_g.

    Args:
        ensemble: gives the gains.
        snapshot: the neurons.
        points: where the equations were solved.
        solution: P and Q there.
    """
    gains = ensemble.gains
    p, q = np.zeros((len(points), len(gains))), np.zeros((len(points), len(gains)))
    inside = np.nonzero(solution.inside)[0]
    if len(inside) == 0:
        return p, q
    split, members = split_response(ensemble, snapshot), response_of(ensemble, snapshot).members
    columns = np.array([k for group in members for k in group])
    each = solution.q[inside][:, [g for g, group in enumerate(members) for _ in group]]
    p[inside[:, None], columns] = column_traces(split, points[inside], solution.p[inside], each)
    q[inside[:, None], columns] = gains[columns] ** 2 * each
    balance = np.sqrt(q[inside].sum(axis=1, keepdims=True) / p[inside].sum(axis=1, keepdims=True))
    p[inside], q[inside] = p[inside] * balance, q[inside] / balance
    return p, q
