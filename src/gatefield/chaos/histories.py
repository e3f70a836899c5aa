"""Sampled neurons over a window of steps, by their local derivatives: what the equations over time need of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.cells.snapshot import Snapshot
from gatefield.chaos.ring_algebra import Wiring


@dataclass(frozen=True, eq=False)
class Histories:
    """n neurons over m steps; columns of pre-activations are multiplied by their gains.

    States that no update reads (the h of an LSTM) are written in one step and read in the next: a source that reads
    only such states, taken one step later, is a function of what is there before the step. Other states *remember*.

    Attributes:
        f_s: (n, m, memory, memory) derivatives of the update, among states that remember.
        f_x: (n, m, memory, K).
        c_s: (n, m, G, memory) derivatives of the sources, one for each group of pre-activations that share it.
        c_x: (n, m, G, K).
        late: which sources are taken one step later, (G,).
        members: pre-activations of each group, as columns.
        states: D, all state variables.
    """

    f_s: np.ndarray
    f_x: np.ndarray
    c_s: np.ndarray
    c_x: np.ndarray
    late: np.ndarray
    members: tuple[tuple[int, ...], ...]
    states: int

    @property
    def neurons(self) -> int:
        """n."""
        return self.f_s.shape[0]

    @property
    def steps(self) -> int:
        """m."""
        return self.f_s.shape[1]

    @property
    def memory(self) -> int:
        """How many states remember."""
        return self.f_s.shape[2]

    @property
    def groups(self) -> int:
        """G."""
        return self.c_s.shape[2]

    @cached_property
    def at_once(self) -> np.ndarray:
        """Which sources answer a pre-activation directly, not only through states that remember: (G,)."""
        return np.any(self.c_x != 0.0, axis=(0, 1, 3))

    @cached_property
    def drives(self) -> np.ndarray:
        """Which pre-activations act on each state that remembers and on each source that answers at once."""
        f, c = np.any(self.f_x != 0.0, axis=(0, 1)), np.any(self.c_x != 0.0, axis=(0, 1))
        return np.concatenate([f, c[self.at_once]])

    @cached_property
    def wiring(self) -> Wiring:
        """What is the same for all neurons."""
        at_once = tuple(np.nonzero(self.at_once)[0].tolist())
        drives = tuple(tuple(row) for row in self.drives.tolist())
        return Wiring(self.memory, self.members, at_once, drives, tuple(self.late.tolist()))

    def part(self, kept: slice) -> Histories:
        """Some of the neurons; which sources answer at once stays as it is for all."""
        if kept == slice(None):
            return self
        some = replace(self, f_s=self.f_s[kept], f_x=self.f_x[kept], c_s=self.c_s[kept], c_x=self.c_x[kept])
        some.__dict__.update(at_once=self.at_once, drives=self.drives)
        return some

    def scaled(self, s: float) -> Histories:
        """With e^{−s} for each step that they carry on."""
        decay = np.exp(-s)
        late = np.where(self.late, decay, 1.0)[:, None]
        made = replace(self, f_s=decay * self.f_s, f_x=decay * self.f_x, c_s=late * self.c_s, c_x=late * self.c_x)
        made.__dict__.update(at_once=self.at_once, drives=self.drives)
        return made

    def split(self, pieces: int) -> Histories:
        """Each window cut into shorter ones of equal length, all in one; neurons stay together."""
        n, m = self.neurons, self.steps

        def cut(a: np.ndarray) -> np.ndarray:
            return a.reshape(n * pieces, m // pieces, *a.shape[2:])

        return replace(self, f_s=cut(self.f_s), f_x=cut(self.f_x), c_s=cut(self.c_s), c_x=cut(self.c_x))


def histories_of(ensemble: Ensemble, states: np.ndarray, xs: np.ndarray) -> Histories:
    """Windows of m steps from trajectories of m + 1.

    Args:
        ensemble: gives the gains.
        states: before each step, (m + 1, n, D).
        xs: pre-activations, (m + 1, n, K).

    Raises:
        ValueError: derivatives that are not finite.
    """
    cell, gains = ensemble.cell, ensemble.gains
    length, n, d = states.shape
    flat = Snapshot(cell, states.reshape(-1, d), xs.reshape(length * n, -1)).derivatives
    f_s, f_x, v_s, v_x = (
        np.moveaxis(a.reshape(length, n, *a.shape[1:]), 1, 0) for a in (flat.f_s, flat.f_x, flat.v_s, flat.v_x)
    )
    groups = [[k for k in group.members if gains[k] > 0.0] for group in ensemble.structure.groups]
    groups = [members for members in groups if members]
    rows, columns = [members[0] for members in groups], [k for members in groups for k in members]
    f_x, v_x = f_x[..., columns] * gains[columns], v_x[:, :, rows][..., columns] * gains[columns]
    v_s = v_s[:, :, rows]
    late, passing = _passing(f_s, v_s, v_x)
    kept = [i for i in range(d) if i not in passing]
    now, later = slice(None, -1), slice(1, None)
    c_s, c_x = v_s[:, now][..., kept], v_x[:, now].copy()
    for g in np.nonzero(late)[0]:  # read one step later, what the step before it has written
        c_s[:, :, g] = np.einsum("nto,ntoi->nti", v_s[:, later, g][..., passing], f_s[:, now][:, :, passing][..., kept])
        c_x[:, :, g] = np.einsum("nto,ntok->ntk", v_s[:, later, g][..., passing], f_x[:, now][:, :, passing])
    numbers = np.cumsum([0] + [len(members) for members in groups])
    members = tuple(tuple(range(a, b)) for a, b in pairwise(numbers.tolist()))
    made = Histories(f_s[:, now][:, :, kept][..., kept], f_x[:, now][:, :, kept], c_s, c_x, late, members, d)
    return _active(made)


def _passing(f_s: np.ndarray, v_s: np.ndarray, v_x: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Sources that can be taken one step later, and the states that only they read."""
    unread = ~np.any(f_s != 0.0, axis=(0, 1, 2))
    read = np.any(v_s != 0.0, axis=(0, 1))  # (G, D)
    late = np.any(read, axis=1) & ~np.any(read & ~unread, axis=1) & ~np.any(v_x != 0.0, axis=(0, 1, 3))
    passing = unread & ~np.any(read[~late], axis=0)
    late &= ~np.any(read & ~passing, axis=1)
    passing = unread & ~np.any(read[~late], axis=0)
    return late, [int(i) for i in np.nonzero(passing)[0]]


def _active(histories: Histories) -> Histories:
    """Without states, pre-activations and sources that lead nowhere or that nothing reaches: P or Q would be 0."""
    h = histories
    while True:
        f_s, f_x, c_s, c_x = (np.any(a != 0.0, axis=(0, 1)) for a in (h.f_s, h.f_x, h.c_s, h.c_x))
        seen, reached = np.any(c_s, axis=0), np.any(f_x, axis=1)
        for _ in range(h.memory):
            seen = seen | np.any(f_s & seen[:, None], axis=0)
            reached = reached | np.any(f_s & reached, axis=1)
        states = seen & reached
        heard = np.any(f_x & states[:, None], axis=0) | np.any(c_x, axis=0)
        driven = np.any(c_s & states, axis=1) | np.any(c_x, axis=1)
        members = [tuple(k for k in ks if heard[k]) if driven[g] else () for g, ks in enumerate(h.members)]
        alive = np.array([bool(ks) for ks in members], dtype=bool)
        columns = [k for ks in members for k in ks]
        if states.all() and alive.all() and len(columns) == h.f_x.shape[3]:
            return h
        place = {k: i for i, k in enumerate(columns)}
        h = Histories(
            f_s=h.f_s[:, :, states][..., states],
            f_x=h.f_x[:, :, states][..., columns],
            c_s=h.c_s[:, :, alive][..., states],
            c_x=h.c_x[:, :, alive][..., columns],
            late=h.late[alive],
            members=tuple(tuple(place[k] for k in ks) for ks in members if ks),
            states=h.states,
        )
