"""Frames of perturbations carried along a trajectory, and the growth of the volumes that they span.

Lyapunov exponents are the rates at which the volumes of a frame's first 1, 2, … directions grow, |R_ii| where J_t … J_1
Q_0 = Q_t R_t with orthonormal Q (Benettin et al. 1980). In between, any triangular factors will do that keep the frame
well conditioned: J_t … J_1 Q_0 = L_t U_t with L from Gaussian elimination with row pivots costs a quarter of the work
of orthonormalising, and log |R_ii| of the whole is that of all U, plus that of L at the end. State variables that no
other neuron sees (an LSTM's cells) need no products: with pivots from those that are seen first, the last rows of L are
zero there, and their first step is cheap.

All directions turn towards the fastest one, and must stay apart in floating point until the next elimination. The
growths in the last block tell how far they have come together, and from that how many steps the next block may have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from gatefield.numerics.elimination import eliminated
from gatefield.running.arguments import whole
from gatefield.running.progress import progress

# Batches of consecutive steps, from whose scatter errors are taken.
_BATCHES = 12
# Steps between two eliminations at the most.
LONGEST = 50
# Log of the ratio of the largest growth in a block to the smallest: at the most, where rounding is a part of what the
# slowest direction has left (an error of random sign, in its exponent alone), and what is aimed at. Small frames cost
# little, and are kept well clear of that.
_SPREAD = {"float64": 33.0, "float32": 11.0}
_AIM = {"float64": 31.0, "float32": 8.0}
_SMALL, _CLEAR = 100, 0.7

# carry, frame (P, n), step from which to go on, number of steps → the same, later, and what is recorded of each step;
# where there are columns that it sees, also how many of the last rows are zero there
Advance = Callable[..., tuple[Any, jax.Array, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Growth:
    """Growth of volumes along a trajectory.

    Attributes:
        ends: step at which each batch ends, (batches,).
        rates: log |R_ii| per step of each batch, (batches, count); −∞ for a direction that the Jacobian sends to zero.
        record: what was recorded of each step, (steps, …).
        block: steps between two eliminations, on average.
        carry: what goes on from here.
    """

    ends: np.ndarray
    rates: np.ndarray
    record: np.ndarray
    block: float
    carry: Any


def checked_count(count: int | None, dimension: int) -> int:
    """How many exponents, all of them where not given; refused where there are not so many."""
    count = dimension if count is None else whole("count", count)
    if count > dimension:
        raise ValueError(f"count={count} is too many: there are {dimension} exponents")
    return count


def carry_frame(
    advance: Advance,
    carry: Any,
    frame: jax.Array,
    *,
    steps: int,
    transient: int,
    description: str,
    seen: tuple[int, int] | None = None,
) -> Growth:
    """Carry a frame along for `transient` and then `steps` more steps, and note the growths of the latter.

    Perturbations in single precision turn to double where one step spreads them further than single precision resolves.

    Args:
        advance: carries trajectory and frame on.
        carry: where the trajectory begins.
        frame: (P, n), any independent rows.
        steps: measured steps.
        transient: steps before them, in which the frame turns to where it belongs.
        description: for the progress bar.
        seen: columns, from … to, that cost products: rows that are zero there are cheap to carry on.

    Raises:
        ValueError: perturbations that are no longer finite.
    """
    ends = np.unique(np.arange(1, _BATCHES + 1) * steps // _BATCHES)
    ends = ends[ends > 0]
    run = _Run(advance, carry, frame, description, seen)
    rates, records = [], []
    # threads that LAPACK leaves spinning take the cores from the products
    with threadpool_limits(1, user_api="blas"), progress(transient + steps, description) as report:
        run.to(transient, report)
        volumes = run.volumes()
        for begin, end in pairwise((0, *ends.tolist())):
            logs, recorded = run.to(transient + end, report)
            before, volumes = volumes, run.volumes()
            rates.append((logs + volumes - before) / (end - begin))
            records += recorded
    return Growth(ends, np.array(rates), np.concatenate(records), steps / len(records), run.carry)


class _Run:
    """A frame on its way: how far it has come, and how many steps the next block may have."""

    def __init__(
        self, advance: Advance, carry: Any, frame: jax.Array, description: str, seen: tuple[int, int] | None
    ) -> None:
        self.advance, self.carry, self.description, self.seen = advance, carry, description, seen
        self.frame, _, self.quiet = eliminated(frame)
        self.time, self.length = 0, 1
        self.part = _CLEAR if len(frame) <= _SMALL else 1.0

    def to(self, end: int, report: Callable[[int], None]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Go on to a step: log |U_ii| in all, and what was recorded on the way, block by block."""
        logs, records = np.zeros(len(self.frame)), []
        while self.time < end:
            begin = self.time
            log, record = self._block(end - begin)
            logs = logs + log
            records.append(record)
            report(self.time - begin)
        return logs, records

    def volumes(self) -> np.ndarray:
        """log |R_ii| of the frame as it is."""
        if not self.quiet:
            return log_volumes(self.frame)
        turned, logs, _ = eliminated(self.frame)  # the Gram matrix wants pivots from all columns
        return np.asarray(logs) + log_volumes(turned)

    def _block(self, room: int) -> tuple[np.ndarray, np.ndarray]:
        """As many steps as precision allows, and `room` does, and an elimination."""
        while True:
            length = min(self.length, room, LONGEST)
            quiet = () if self.seen is None else (self.quiet,)
            later, grown, record = self.advance(self.carry, self.frame, self.time, length, *quiet)
            turned, growth, still = eliminated(grown, self.seen)
            log = self._finite(np.asarray(growth, dtype=float))
            spread = float(np.ptp(log)) if np.all(np.isfinite(log)) else np.inf
            most, aim = (self.part * limit[self.frame.dtype.name] for limit in (_SPREAD, _AIM))
            single = self.frame.dtype == jnp.float32
            if spread <= most or (length == 1 and not single):
                break
            if length == 1:  # single precision does not tell them apart after a single step
                self.frame = self.frame.astype(jnp.float64)
            self.length = max(1, min(length - 1, int(length * aim / spread)))
        self.carry, self.frame, self.time, self.quiet = later, turned, self.time + length, still
        self.seen = self.seen if still else None  # those columns hold no good pivots, or it does not pay
        if length >= self.length:  # a block cut short by `room` says less
            self.length = max(1, min(2 * length, int(length * aim / max(spread, 1e-9))))
        return _without_lost(log, self.frame.dtype), record

    def _finite(self, log: np.ndarray) -> np.ndarray:
        if np.any(np.isnan(log)) or np.any(np.isposinf(log)):
            raise ValueError(
                f"{self.description}: perturbations are not finite {self.time} steps on; the trajectory diverges, or "
                "its derivatives do"
            )
        return log


def _without_lost(log: np.ndarray, dtype: Any) -> np.ndarray:
    """Growths that are rounding beside the largest are those of directions that the Jacobian sends to zero."""
    return np.where(log < log.max() + np.log(np.finfo(dtype).eps) + 3.0, -np.inf, log)


def log_volumes(frame: jax.Array) -> np.ndarray:
    """log |R_ii| of the rows of `frame` (P, n): what each adds to the log of the volume of those before it."""
    logs = np.asarray(_log_volumes(frame))
    return logs if np.all(np.isfinite(logs)) else np.asarray(_log_volumes_by_qr(frame))


@jax.jit
def _log_volumes(frame: jax.Array) -> jax.Array:
    """From the Gram matrix, which squares the condition: of no matter after an elimination."""
    rows = frame.astype(jnp.float64)
    return jnp.log(jnp.diagonal(jnp.linalg.cholesky(rows @ rows.T)))


@jax.jit
def _log_volumes_by_qr(frame: jax.Array) -> jax.Array:
    return jnp.log(jnp.abs(jnp.diagonal(jnp.linalg.qr(frame.T.astype(jnp.float64), mode="r"))))
