"""What a neuron gets back of its own output: the notes' cavity argument, measured on networks [EOC §3.1].

The reduced model as a map, h(t+1) = h/2 + (1/4) J tanh(h). Without neuron i the others run as h^(i); with it they are
moved, to first order, by

    δh(t+1) = δh/2 + (1/4) J [tanh'(h^(i)) δh] + (1/4) J_·i tanh(h_i),

the sum over s and k of the response G_jk(t, s) in the notes. The input of i is

    Σ_j J_ij tanh(h_j)/4 = bulk + memory + rest,
    bulk = Σ_j J_ij tanh(h_j^(i))/4,   memory = Σ_j J_ij tanh'(h_j^(i)) δh_j/4.

J_ij is independent of h^(i): bulk is Gaussian, of variance (g²/16) E tanh². Memory has mean 0, for J_ij and J_ki are
independent of each other and of the response between them, and a variance of order 1/N; the rest's is of order 1/N².
At fixed N both grow with time where the network is chaotic: N → ∞ comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatefield.numerics.estimates import Estimate, from_batches
from gatefield.results.description import Description, Quantity
from gatefield.results.result import Result
from gatefield.running.arguments import at_least, whole
from gatefield.running.progress import track


@dataclass(frozen=True, eq=False, repr=False)
class CavityTerms(Result):
    """Parts of a neuron's input by network size, (sizes,) each; errors are between networks.

    Attributes:
        gain: g.
        steps: time at which they are taken.
        bulk: E bulk² [EOC §3.1 bulk term].
        expected: (g²/16) E tanh(h)², which that is in the mean field [EOC 4].
        mean: E memory.
        memory: E memory² [EOC §3.1 memory term], proportional to 1/N.
        rest: E of the square of what linear response leaves out, proportional to 1/N².
    """

    gain: float
    sizes: np.ndarray
    networks: int
    steps: int
    seed: int
    bulk: Estimate
    expected: Estimate
    mean: Estimate
    memory: Estimate
    rest: Estimate

    def description(self) -> Description:
        names = ("bulk", "expected", "mean", "memory", "rest")
        return Description(
            quantities={name: Quantity(getattr(self, name), ("size",), source="EOC §3.1") for name in names},
            coordinates={"size": Quantity(self.sizes, units="neurons", json="sizes")},
            facts={name: getattr(self, name) for name in ("gain", "networks", "steps", "seed")},
        )


def cavity_terms(
    gain: float,
    *,
    sizes: Sequence[int] = (100, 200, 400, 800),
    networks: int = 8,
    neurons: int = 8,
    steps: int = 10,
    seed: int = 0,
    initial: float = 0.6,
) -> CavityTerms:
    """Bulk and memory term of neurons of the reduced map, by leaving them out of their network [EOC §3.1 cavity].

    Args:
        gain: g; 2 is critical.
        sizes: numbers of neurons N.
        networks: of each size, at least 2.
        neurons: how many of each network are left out, one at a time.
        steps: from a random start to the time of measurement.
        seed: of everything drawn.
        initial: standard deviation of h at the start.

    Raises:
        ValueError: an argument out of its range.
    """
    gain, initial = at_least("gain", gain, 0.0), at_least("initial", initial, 0.0)
    sizes, networks = [whole("sizes", n, 2) for n in sizes], whole("networks", networks, 2)
    neurons, steps = whole("neurons", neurons, 1), whole("steps", steps, 1)
    rng = np.random.default_rng(whole("seed", seed, 0))
    jobs = [n for n in sizes for _ in range(networks)]
    found = [_one_network(gain, n, min(neurons, n), steps, initial, rng) for n in track(jobs, "networks")]
    by_size = np.array(found).reshape(len(sizes), networks, 5)
    parts = [from_batches(by_size[:, :, k].T) for k in range(5)]
    return CavityTerms(gain, np.array(sizes), networks, steps, seed, *parts)


def _one_network(
    gain: float, size: int, neurons: int, steps: int, initial: float, rng: np.random.Generator
) -> tuple[float, ...]:
    """Averages over the neurons left out: bulk², what it should be, memory, memory², rest²."""
    coupling = gain * rng.standard_normal((size, size)) / np.sqrt(size)
    h = initial * rng.standard_normal(size)
    out = np.arange(neurons)
    kept = np.ones((neurons, size))
    kept[out, out] = 0.0  # row i is the network without neuron i
    cavity, moved = kept * h, np.zeros((neurons, size))
    for _ in range(steps):
        driven = coupling[:, out].T * np.tanh(h[out])[:, None]
        response = (moved / np.cosh(cavity) ** 2) @ coupling.T
        moved = kept * (moved / 2.0 + (response + driven) / 4.0)
        cavity = kept * (cavity / 2.0 + np.tanh(cavity) @ coupling.T / 4.0)
        h = h / 2.0 + coupling @ np.tanh(h) / 4.0
    rows = coupling[out] * kept / 4.0  # without a neuron's own output
    bulk = np.sum(rows * np.tanh(cavity), axis=1)
    memory = np.sum(rows * moved / np.cosh(cavity) ** 2, axis=1)
    rest = rows @ np.tanh(h) - bulk - memory
    expected = gain**2 / 16.0 * np.mean(np.tanh(h) ** 2)
    return tuple(float(v) for v in (np.mean(bulk**2), expected, memory.mean(), np.mean(memory**2), np.mean(rest**2)))
