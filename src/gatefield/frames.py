"""Frames of perturbations carried along a trajectory, and the growth of the volumes that they span.

Lyapunov exponents are the rates at which the volumes of a frame's first 1, 2, … directions grow, |R_ii| where J_t … J_1
Q_0 = Q_t R_t with orthonormal Q (Benettin et al. 1980). In between, any triangular factors will do that keep the frame
well conditioned: J_t … J_1 Q_0 = L_t U_t with L from Gaussian elimination with row pivots costs a quarter of the work
of orthonormalising, and log |R_ii| of the whole is that of all U, plus that of L at the end.

All directions turn towards the fastest one, and must stay apart in floating point until the next elimination. The
growths in the last block tell how far they have come together, and from that how many steps the next block may have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from gatefield.arguments import whole
from gatefield.progress import progress

# Batches of consecutive steps, from whose scatter errors are taken.
_BATCHES = 12
# Steps between two eliminations at the most.
LONGEST = 50
# Log of the ratio of the largest growth in a block to the smallest: at the most, where rounding is a part of what the
# slowest direction has left (an error of random sign, in its exponent alone), and what is aimed at. Small frames cost
# little, and are kept well clear of that.
_SPREAD = {"float64": 33.0, "float32": 11.0}
_AIM = {"float64": 29.5, "float32": 8.0}
_SMALL, _CLEAR = 100, 0.7

# carry, frame (P, n), step from which to go on, number of steps → the same, later, and what is recorded of each step
Advance = Callable[[Any, jax.Array, int, int], tuple[Any, jax.Array, np.ndarray]]


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
    advance: Advance, carry: Any, frame: jax.Array, *, steps: int, transient: int, description: str
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

    Raises:
        ValueError: perturbations that are no longer finite.
    """
    ends = np.unique(np.arange(1, _BATCHES + 1) * steps // _BATCHES)
    ends = ends[ends > 0]
    time, length, blocks, records, rates = -transient, 1, 0, [], []
    part = _CLEAR if len(frame) <= _SMALL else 1.0
    frame, _ = eliminated(frame)
    # threads that LAPACK leaves spinning take the cores from the products
    with threadpool_limits(1, user_api="blas"), progress(transient + steps, description) as report:
        for end in (0, *ends.tolist()):
            begin, volumes = time, log_volumes(frame)
            total = np.zeros(len(volumes))
            while time < end:
                length = min(length, end - time, LONGEST)
                later, grown, record = advance(carry, frame, transient + time, length)
                turned, growth = eliminated(grown)
                log = np.asarray(growth, dtype=float)
                if np.any(np.isnan(log)) or np.any(np.isposinf(log)):
                    raise ValueError(
                        f"{description}: perturbations are not finite {transient + time} steps on; the trajectory "
                        "diverges, or its derivatives do"
                    )
                spread = float(np.ptp(log)) if np.all(np.isfinite(log)) else np.inf
                most, aim = part * _SPREAD[frame.dtype.name], part * _AIM[frame.dtype.name]
                if spread > most and (length > 1 or frame.dtype == jnp.float32):
                    if length == 1:  # single precision does not tell them apart after a single step
                        frame = frame.astype(jnp.float64)
                    length = max(1, min(length - 1, int(length * aim / spread)))
                    continue
                total = total + _without_lost(log, frame.dtype)
                if end > 0:
                    records.append(record)
                    blocks += 1
                carry, frame, time = later, turned, time + length
                report(length)
                length = max(1, min(2 * length, int(length * aim / max(spread, 1e-9))))
            if end > 0:
                rates.append((total + log_volumes(frame) - volumes) / (end - begin))
    return Growth(ends, np.array(rates), np.concatenate(records), steps / blocks, carry)


def _without_lost(log: np.ndarray, dtype: Any) -> np.ndarray:
    """Growths that are rounding beside the largest are those of directions that the Jacobian sends to zero."""
    return np.where(log < log.max() + np.log(np.finfo(dtype).eps) + 3.0, -np.inf, log)


@jax.jit
def eliminated(frame: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rows that span what the first rows of `frame` (P, n) span, pivots apart triangular, and log |U_ii| (P,)."""
    factors, _, order = jax.lax.linalg.lu(frame.T)
    place, rank = jnp.argsort(order)[None, :], jnp.arange(frame.shape[0])[:, None]
    rows = jnp.where(place > rank, factors.T[:, place[0]], (place == rank).astype(frame.dtype))
    return rows, jnp.log(jnp.abs(jnp.diagonal(factors)))


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
