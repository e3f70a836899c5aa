"""What the notes' Theorems 1 and 2 say of an LSTM's weights and gates, measured on networks [EOC §2.1].

Theorem 1, E[U_ij h_j] → 0, holds for any bounded h: Cauchy–Schwarz gives O(N^{−1/2}). What the mean field needs is that
the mean of a pre-activation, Σ_j E[U_ij h_j], vanishes: E[U_ij h_j] = o(1/N). So N E[U_ij h_j] is measured, for i ≠ j
and for i = j apart. By Stein's lemma N E[U_ii h_i] = a² E[∂h_i(t)/∂x_i(t) h_i(t−1)] + …: of order 1 for a gate of a
network that moves, whose x multiplies a state that remembers h_i(t−1).

Theorem 2, P(|σ(x_i) − ½| > t) ≤ 2 exp(−8 N t²/(a² B)) where ‖h‖² ≤ B, is right. But ‖h‖² = N E h² with E h² > 0 once
the network moves, and the bound becomes 2 exp(−8 t²/(a² E h²)), whatever N is: gates do not concentrate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from gatefield.cells.builtin import LSTM
from gatefield.cells.ensemble import Ensemble, repr_cell
from gatefield.networks.network import Network, Path
from gatefield.numerics.estimates import Estimate, from_batches, stacked
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import whole
from gatefield.running.progress import track

_THRESHOLDS = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4])
_WINDOW = 50  # steps up to each time over which averages are taken, at the most


@dataclass(frozen=True, eq=False, repr=False)
class GateStatistics(Result):
    """Weights against activations and gates against ½, by network size and time; errors are between networks.

    Attributes:
        sizes: N.
        times: steps after which it was measured, over up to 50 steps before.
        names: pre-activations of weights and gates: forget, input, output, cell.
        off_diagonal: N E[U_ij h_j] over i ≠ j, (sizes, times, names); a network's mean pre-activation but for the
            diagonal.
        diagonal: N E[U_ii h_i], likewise.
        memory: its first term by Stein's lemma, a² E[∂h_i(t)/∂x_i(t) h_i(t−1)], likewise: with far smaller errors.
        second_moment: E h² = ‖h‖²/N, (sizes, times).
        gate_variance: variance of the gates σ(x) about ½, (sizes, times, 3).
        variance_ratio: Var x / (a² E h²), which is 1 in the mean field, (sizes, times, names); NaN where h has died.
        thresholds: t.
        tail: P(|σ(x) − ½| > t) of the forget gate at the last time, (sizes, thresholds).
        bound: the smaller of 1 and Theorem 2's 2 exp(−8 N t²/(a² B)) with B = ‖h‖² as measured, (sizes, thresholds).
    """

    ensemble: Ensemble
    sizes: np.ndarray
    networks: int
    seed: int
    times: np.ndarray
    names: tuple[str, ...]
    off_diagonal: Estimate
    diagonal: Estimate
    memory: Estimate
    second_moment: Estimate
    gate_variance: Estimate
    variance_ratio: Estimate
    thresholds: np.ndarray
    tail: Estimate
    bound: np.ndarray

    def description(self) -> Description:
        by_name = ("size", "time", "name")
        return Description(
            quantities={
                "off_diagonal": Quantity(self.off_diagonal, by_name, source="N E[U_ij h_j], i ≠ j"),
                "diagonal": Quantity(self.diagonal, by_name, source="N E[U_ii h_i]"),
                "memory": Quantity(self.memory, by_name, source="a² E[∂h_i(t)/∂x_i(t) h_i(t−1)]"),
                "second_moment": Quantity(self.second_moment, ("size", "time"), source="E h²"),
                "gate_variance": Quantity(self.gate_variance, ("size", "time", "gate"), source="of σ(x) about ½"),
                "variance_ratio": Quantity(self.variance_ratio, by_name, source="Var x / (a² E h²)"),
                "tail": Quantity(self.tail, ("size", "threshold"), source="P(|σ(x) − ½| > t), forget gate"),
                "bound": Quantity(self.bound, ("size", "threshold"), source="EOC Theorem 2"),
            },
            coordinates={
                "size": Quantity(self.sizes, units="neurons", json="sizes"),
                "time": Quantity(self.times, units="steps", json="times"),
                "name": Quantity(self.names, json="names"),
                "gate": Quantity(self.names[:3]),
                "threshold": Quantity(self.thresholds, json="thresholds"),
            },
            facts={"ensemble": self.ensemble, "networks": self.networks, "seed": self.seed},
        )


def gate_statistics(
    ensemble: Ensemble,
    *,
    sizes: Sequence[int] = (250, 500, 1000, 2000),
    networks: int = 8,
    times: Sequence[int] = (1, 10, 100, 300),
    seed: int = 0,
    initial: float = 0.6,
) -> GateStatistics:
    """Theorems 1 and 2 of the notes, measured on networks of several sizes [EOC Thm 1, Thm 2, §2.1 gates].

    Args:
        ensemble: of an `LSTM`.
        sizes: numbers of neurons.
        networks: of each size.
        times: steps after which to measure, ascending.
        seed: of everything drawn; network j has the seed seed + j.
        initial: standard deviation of every state variable at the start.

    Raises:
        ValueError: another cell, fewer than 2 networks, or an argument out of its range.
    """
    if not isinstance(ensemble.cell, LSTM) or ensemble.cell.coupled:
        raise ValueError(f"cell={repr_cell(ensemble.cell)} must be an LSTM(): the theorems are about its gates")
    sizes = [whole("sizes", n, 2) for n in sizes]
    moments = sorted({whole("times", t) for t in times})
    networks = whole("networks", networks, 2)
    jobs = [(n, j) for n in sizes for j in range(networks)]
    found = [_measured(ensemble, n, seed + j, moments, initial) for n, j in track(jobs, "networks")]
    by_size = {
        name: [from_batches(np.stack([f[name] for f in found[i * networks : (i + 1) * networks]]))
               for i in range(len(sizes))]
        for name in found[0]
    }  # fmt: skip
    measured: dict[str, Any] = {name: stacked(values) for name, values in by_size.items()}
    gain = ensemble.gain["forget"]
    final = np.maximum(measured["second_moment"].value[:, -1:], 1e-300)  # B/N
    with np.errstate(divide="ignore", over="ignore"):
        bound = np.minimum(1.0, 2.0 * np.exp(-8.0 * _THRESHOLDS**2 / np.maximum(gain**2 * final, 1e-300)))
    return GateStatistics(
        ensemble=ensemble, sizes=np.array(sizes), networks=networks, seed=seed, times=np.array(moments),
        names=ensemble.names, thresholds=_THRESHOLDS, bound=bound, **measured,
    )  # fmt: skip


def _measured(ensemble: Ensemble, size: int, seed: int, times: list[int], initial: float) -> dict[str, np.ndarray]:
    network = Network(ensemble, size=size, seed=seed)
    diagonals = np.zeros((len(ensemble.names), size))  # U_ii
    for name, u in network.weights.items():
        diagonals[ensemble.names.index(name)] = np.diagonal(np.asarray(u))
    rows: list[dict[str, Any]] = []
    state, now = None, 0
    for time in times:
        path = network.run(time - now, state=state, seed=seed, initial=initial, record=min(time - now, _WINDOW))
        state, now = path.last, time
        rows.append(_at_one_time(ensemble, path, diagonals, np.asarray(network.biases)))
    tail = rows[-1]["tail"]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]} | {"tail": tail}


def _at_one_time(ensemble: Ensemble, path: Path, diagonals: np.ndarray, biases: np.ndarray) -> dict[str, Any]:
    """Averages over the record's steps and all neurons; x(t) = U h(t−1) + b."""
    index = ensemble.cell.state_names.index("h")
    h, x = path.before[:, :, index], path.preactivations
    size = h.shape[1]
    on_diagonal = np.mean(h @ diagonals.T, axis=0)  # Σ_i U_ii h_i
    everything = np.mean(np.sum(x - biases, axis=1), axis=0)  # Σ_ij U_ij h_j
    change = path.snapshot().derivatives.f_x[:, index]  # ∂h_i/∂x_i at the last step
    moment = np.mean(h**2)
    expected = ensemble.gains**2 * moment + ensemble.static_variance
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(expected > 1e-24, np.mean(x**2, axis=(0, 1)) / expected, np.nan)
    return {
        "diagonal": on_diagonal,
        "off_diagonal": (everything - on_diagonal) / (size - 1),
        "memory": ensemble.gains**2 * np.mean(change * h[-1][:, None], axis=0),
        "second_moment": float(moment),
        "gate_variance": np.mean((expit(x[..., :3]) - 0.5) ** 2, axis=(0, 1)),
        "variance_ratio": ratio,
        "tail": np.mean(np.abs(expit(x[-1, :, :1]) - 0.5) > _THRESHOLDS, axis=0),
    }
