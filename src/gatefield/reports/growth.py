"""How fast perturbations grow along a run of a network, beside powers of its frozen Jacobians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import check_cell
from gatefield.networks.network import Network, Path
from gatefield.numerics.estimates import from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import whole
from gatefield.spectra.long_term import GROWTH, Powers, long_term_jacobian, whole_powers


@dataclass(frozen=True, eq=False, repr=False)
class TrajectoryGrowth(Result):
    """Growth of perturbations along a run, tr M†M / N with M = J_{t+n−1} … J_t, beside that of J_t^n.

    Attributes:
        n: numbers of steps.
        value: measured growth, averaged over starts t and probes.
        error: from the spread between starts. Growth over many steps is carried by few of them, and the error is then
            too small, as are neighbouring starts that one state's memory ties together.
        frozen: μ_n of the frozen Jacobians J_t^n, by theory (`long_term_jacobian`), averaged over the same starts.
        frozen_error: from the spread between starts.
        starts: steps of the path that begin a measurement.
    """

    n: np.ndarray
    value: np.ndarray
    error: np.ndarray
    frozen: np.ndarray
    frozen_error: np.ndarray
    starts: np.ndarray
    ensemble: Ensemble

    @property
    def amplification(self) -> float:
        """Largest measured growth over the numbers of steps `n`."""
        return float(np.max(self.value))

    @property
    def amplified_at(self) -> int:
        """The number of steps at which `amplification` is attained."""
        return int(self.n[np.argmax(self.value)])

    def description(self) -> Description:
        by_n = ("value", "error", "frozen", "frozen_error")
        return Description(
            quantities={name: Quantity(getattr(self, name), ("n",), source=GROWTH) for name in by_n}
            | {"amplification": Quantity(self.amplification), "amplified_at": Quantity(self.amplified_at, (), "steps")},
            coordinates={"n": Quantity(self.n, units="steps", json="n")},
            facts={"ensemble": self.ensemble, "starts": self.starts},
        )


def trajectory_growth(
    network: Network, path: Path, n: Powers, *, starts: int = 8, probes: int = 16, seed: int = 0
) -> TrajectoryGrowth:
    """Measured growth of perturbations along a run of a network, beside that of its frozen Jacobians.

    Random directions g are carried on by J_{t+n−1} … J_t, E |J_{t+n−1} … J_t g|² / N = tr M†M / N, without forming a
    Jacobian. At a fixed point that is μ_n; where the state moves it is not, and the difference is what moving does.

    Args:
        network: the network.
        path: a run of it, past its transient: `network.run(500, record=200)`. Currents may vary.
        n: numbers of steps, from 0 on, none longer than the path.
        starts: how many steps of the path, evenly spread, to start from, at least 2.
        probes: directions per start.
        seed: of the directions.

    Raises:
        ValueError: a path of another network, or too short for the largest n or the number of starts.
    """
    check_cell(network.ensemble, path)
    if path.before.shape[1] != network.size:
        raise ValueError(f"path is of {path.before.shape[1]} neurons, the network of {network.size}; give its own run")
    powers = whole_powers(n)
    largest, starts, probes = int(powers.max()), whole("starts", starts, 2), whole("probes", probes)
    room = path.steps - max(largest, 1) + 1
    if room < starts:
        raise ValueError(
            f"path of {path.steps} steps has no room for {starts} starts of n={largest} steps; record at least "
            f"{largest + starts} steps"
        )
    times = np.unique(np.linspace(0, room - 1, starts).round().astype(int))
    rng = np.random.default_rng(whole("seed", seed, 0))
    measured, frozen = [], []
    for time in times:
        frame = rng.standard_normal((probes, len(path.cell.state_names), network.size))
        squares = [np.sum(frame**2)]
        for step in range(largest):
            frame = network.apply_jacobian(path.snapshot(int(time) + step), frame)
            squares.append(np.sum(frame**2))
        measured.append(np.array(squares)[powers] / (network.size * probes))
        frozen.append(long_term_jacobian(network.ensemble, path.snapshot(int(time)), powers).value)
    growth, still = from_batches(measured), from_batches(frozen)
    return TrajectoryGrowth(powers, growth.value, growth.error, still.value, still.error, times, network.ensemble)
