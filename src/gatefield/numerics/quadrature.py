"""Gaussian expectations by the trapezoidal rule in a variable that resolves steep functions.

E f(m + s z) for a function f whose features (a gate's slope, a saturation) are of width 1 around 0: Gauss–Hermite
fails when s is large. With z = z₀ + κ sinh t, κ = 2/max(s, 1), z₀ the position of the feature, the integrand is
analytic in a strip of width 0.9 about the real t axis for tanh and the logistic, so the trapezoidal rule converges
exponentially whatever s is: 64 to 192 nodes give rounding error.

That holds for analytic functions. One with kinks or jumps is integrated between them by Gauss's rule in panels of the
same variable, given where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_PANEL, _PANEL_WEIGHTS = np.polynomial.legendre.leggauss(16)
_STRETCH = 10  # steps of the trapezoidal rule that a panel takes the place of
_STEP = 0.08
_BLOCK = 16
_REACH = 9.2  # standard deviations
_ROWS = 4096  # standard deviations at a time


def panels(first: float, last: float, length: float, breaks: Sequence[float] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's nodes and weights from first to last, in panels no longer than `length` that end at the breaks."""
    inner = [b for b in breaks if first < b < last]
    edges = [first]
    for end in [*sorted(inner), last]:
        count = max(1, int(np.ceil((end - edges[-1]) / length)))
        edges += np.linspace(edges[-1], end, count + 1)[1:].tolist()
    return _in_panels(np.array(edges))


def _in_panels(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights between edges along the last axis."""
    middle, half = 0.5 * (edges[..., 1:] + edges[..., :-1]), 0.5 * np.diff(edges, axis=-1)
    shape = (*edges.shape[:-1], -1)
    return (
        (middle[..., None] + half[..., None] * _PANEL).reshape(shape),
        (half[..., None] * _PANEL_WEIGHTS).reshape(shape),
    )


def gaussian_nodes(
    mean: np.ndarray, std: np.ndarray, *, coarse: bool = False, breaks: Sequence[float] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of E f(x), x ~ N(mean, std²).

    Args:
        mean: any shape.
        std: the same shape; zeros allowed.
        coarse: take half the nodes, for relative errors of about 1e-6.
        breaks: x at which f has kinks or jumps.

    Returns:
        Nodes x and weights, the mean's shape with an axis of nodes behind. Weights sum to 1.
    """
    mean, std = np.broadcast_arrays(np.asarray(mean, dtype=float), np.asarray(std, dtype=float))
    scale = 2.0 / np.maximum(std, 1.0)
    wide = std >= 1.0
    center = np.where(wide, np.clip(-mean / np.where(wide, std, 1.0), -_REACH, _REACH), 0.0)
    reach = np.arcsinh((_REACH + np.max(np.abs(center), initial=0.0)) / np.min(scale, initial=2.0))
    step = 2 * _STEP if coarse else _STEP
    half = _BLOCK * np.ceil(reach / step / _BLOCK)  # few different sizes, so that compiled code is reused
    t, measure = step * np.arange(-half, half + 1), np.ones(())
    if len(breaks):
        at = (np.asarray(breaks) - mean[..., None]) / np.maximum(std, 1e-300)[..., None]
        at = np.arcsinh((np.clip(at, -1e9, 1e9) - center[..., None]) / scale[..., None])
        even = np.broadcast_to(t[::_STRETCH], (*mean.shape, len(t[::_STRETCH])))
        edges = np.concatenate([even, np.full((*mean.shape, 1), t[-1]), np.clip(at, t[0], t[-1])], axis=-1)
        t, measure = _in_panels(np.sort(edges, axis=-1))
    z = center[..., None] + scale[..., None] * np.sinh(t)
    weights = measure * np.cosh(t) * scale[..., None] * np.exp(-0.5 * z * z)
    return mean[..., None] + std[..., None] * z, weights / weights.sum(axis=-1, keepdims=True)


def expectation(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ values weights over the last axis."""
    return np.sum(values * weights, axis=-1)


class FixedNodes:
    """Nodes about the mean that serve all standard deviations from κ step to `largest`: z = κ sinh t, κ = `scale`.

    A function needs to be evaluated once; each standard deviation then only has weights of its own. `breaks` are the z
    at which it has kinks.
    """

    def __init__(self, *, scale: float, largest: float, step: float, breaks: Sequence[float] = ()) -> None:
        count = int(np.ceil(np.arcsinh(_REACH * largest / scale) / step))
        t, measure = step * np.arange(-count, count + 1), np.ones(())
        if len(breaks):
            at = np.arcsinh(np.asarray(breaks) / scale).tolist()
            t, measure = panels(t[0], t[-1], _STRETCH * step, at)
            t, measure = np.append(t, 0.0), np.append(measure, 0.0)  # the mean, for deviations below all spacings
        self.z = scale * np.sinh(t)
        self._measure = measure * np.cosh(t)
        self._mean, self._least = int(np.argmin(np.abs(t))), 0.1 * scale * step

    def weights(self, std: np.ndarray) -> np.ndarray:
        """Weights at standard deviations (n,): (n, nodes). Far below κ step all weight goes to the mean."""
        density = np.exp(-0.5 * (self.z / np.maximum(std, 1e-30)[:, None]) ** 2) * self._measure
        density[np.asarray(std) < self._least] = np.arange(len(self.z)) == self._mean
        return density / density.sum(axis=1, keepdims=True)

    def average(self, values: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """E f and its derivative by log std, from f at the nodes (nodes,), at standard deviations of any shape."""
        flat = np.maximum(np.asarray(std, dtype=float).ravel(), 1e-30)
        mean, slope = np.empty(flat.size), np.empty(flat.size)
        for start in range(0, flat.size, _ROWS):
            part = slice(start, start + _ROWS)
            w = self.weights(flat[part])
            square = (self.z / flat[part, None]) ** 2
            mean[part] = w @ values
            slope[part] = (w * square) @ values - np.sum(w * square, axis=1) * mean[part]
        return mean.reshape(np.shape(std)), slope.reshape(np.shape(std))
