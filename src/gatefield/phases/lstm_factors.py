"""Averages over an LSTM's static states by convolution, where `static` would need a grid in three dimensions.

At rest h = σ(o) φ(c) with |c| = e^v, v = −log(1 − σ(f)) + log σ(i) + log |φ(y)| a sum of independent numbers. So the
average of anything like A(f) B(i) C(y) g(v), which h and its derivatives by every pre-activation are, is Σ g(v) p(v)
with p the convolution of three weights on one grid of v. Each variable has nodes of its own, whose weights are spread
on the grid by Lagrange's polynomials; the poles of g lie at Im v = π/2, twenty steps away, so that they converge at
once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import factorial

import numpy as np
from scipy.signal import fftconvolve
from scipy.special import expit

from gatefield.cells.builtin import LSTM
from gatefield.cells.cell import Cell

_STEP = 0.08  # of v
_POINTS = 16  # of Lagrange's polynomials
_REACH = 9.0  # standard deviations
_PER_STD = 0.35
_WIDEST = 0.3  # spacing of f and i
_LOGARITHMIC = 0.12  # spacing of log |y|
_COARSER = 1.5
_BELOW = 40.0  # how far below 0 v counts
_FLOAT = 600.0  # logarithms of numbers with which no float overflows
_LONG = 4000  # from here on Fourier's way is quicker; its errors are relative to the largest value
Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Quantity:
    """A(f) B(i) C(y) D(o) g(c), c of the sign of y, for an order of moments."""

    forget: Function
    write: Function
    candidate: Function
    read: Function
    of_cell: Function
    grows: int = 0  # as e^{grows · f}


def _one(x: np.ndarray) -> np.ndarray:
    return np.ones_like(x)


def _sech_square(x: np.ndarray) -> np.ndarray:
    small = np.exp(-2.0 * np.abs(x))
    return 4.0 * small / (1.0 + small) ** 2


def _slope(x: np.ndarray) -> np.ndarray:
    return expit(x) * expit(-x)


def _moved(c: np.ndarray) -> np.ndarray:
    """φ'(c) c."""
    return _sech_square(c) * np.where(np.abs(c) > 400.0, 0.0, c)


def _quantities() -> dict[int, _Quantity]:
    """By index, as `static.evaluate` counts: h, its source, ∂h/∂f, ∂h/∂i, ∂h/∂o, ∂h/∂y."""
    state = _Quantity(_one, _one, _one, expit, np.tanh)
    return {
        1: state,
        2: state,
        3: _Quantity(expit, _one, _one, expit, _moved),
        4: _Quantity(_one, lambda i: expit(-i), _one, expit, _moved),
        5: _Quantity(_one, _one, _one, _slope, np.tanh),
        6: _Quantity(_one, _one, lambda y: _sech_square(y) / np.tanh(y), expit, _moved, grows=1),
    }


@cache
def _quantity(index: int) -> _Quantity | None:
    return _quantities().get(index)


def has_factors(cell: Cell, index: int) -> bool:
    """Whether a quantity is one of an LSTM's that convolutions give."""
    return cell == LSTM() and _quantity(index) is not None


class LSTMMoments:
    """E u and E u² of a quantity of an LSTM, as `static.Moments` gives them.

    Args:
        index: of the quantity.
        mean: of f, i, o, y.
        surplus: how many times nodes are refined beyond need.
        coarse: nodes for relative errors of about 1e-5.
    """

    def __init__(self, index: int, mean: np.ndarray, *, surplus: int = 0, coarse: bool = False) -> None:
        quantity = _quantity(index)
        if quantity is None:
            raise ValueError(f"index={index} is not of a quantity that convolutions give")
        self.quantity, self.mean = quantity, np.asarray(mean, dtype=float)
        self.fine = 1.2**-surplus * (_COARSER if coarse else 1.0)

    def first(self, std: np.ndarray) -> np.ndarray:
        """E u at standard deviations (n, 4): (n,)."""
        return np.array([self._moment(1, row) for row in std])

    def second(self, std: np.ndarray) -> np.ndarray:
        """E u² at standard deviations (n, 4): (n,)."""
        return np.array([self._moment(2, row) for row in std])

    def _moment(self, order: int, std: np.ndarray) -> float:
        q, fine = self.quantity, self.fine
        if std[3] == 0.0 and self.mean[3] == 0.0 and not q.grows:  # nothing is written: all but ∂h/∂y is 0
            return 0.0
        (f, f_weights), (i, i_weights), (o, o_weights) = (
            _even(m, s, fine, shift)
            for m, s, shift in zip(self.mean[:3], std[:3], (q.grows * order, 0, 0), strict=True)
        )
        read = float(o_weights @ q.read(o) ** order)
        opened, written = np.logaddexp(0.0, f), -np.logaddexp(0.0, -i)
        f_weights, i_weights = f_weights * q.forget(f) ** order, i_weights * q.write(i) ** order
        reach = _BELOW + opened.max() - written.min()
        if q.grows and reach > _FLOAT:
            return float("nan")
        parts = _signed(float(self.mean[3]), float(std[3]), fine, min(reach, _FLOAT))
        if order == 2 and len(parts) == 2 and self.mean[3] == 0.0:
            parts = [(parts[0][0], 2.0 * parts[0][1])]  # squares are even
        total = 0.0
        for y, y_weights in parts:
            log_size = np.log(np.tanh(np.abs(y)))
            weighed = y_weights
            for _ in range(order):  # one after the other: the weight is as small as y, 1/y² might overflow
                weighed = weighed * q.candidate(y)
            total += self._convolved(
                order,
                float(np.sign(y[0])),
                [(opened, f_weights), (written, i_weights), (log_size, weighed)],
            )
        return read * total

    def _convolved(self, order: int, sign: float, parts: list[tuple[np.ndarray, np.ndarray]]) -> float:
        step = _STEP * self.fine
        spread = [_on_grid(at / step, weights) for at, weights in parts]
        first = sum(start for start, _ in spread)
        spread.sort(key=lambda part: len(part[1]))
        join = fftconvolve if len(spread[2][1]) > _LONG and not self.quantity.grows else np.convolve
        density = join(join(spread[0][1], spread[1][1]), spread[2][1])
        v = step * (first + np.arange(len(density)))
        return float(density @ self.quantity.of_cell(sign * np.exp(np.minimum(v, 300.0))) ** order)


def _even(mean: float, std: float, fine: float, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced nodes and weights about a mean, reaching to where e^{shift · x} moves the density."""
    if std == 0.0:
        return np.array([mean]), np.ones(1)
    step = fine * min(_PER_STD * std, _WIDEST)
    x = step * np.arange(-np.ceil(_REACH * std / step), np.ceil((_REACH + shift * std) * std / step) + 1)
    weights = np.exp(-0.5 * (x / std) ** 2)
    return mean + x, weights / weights.sum()


def _signed(mean: float, std: float, fine: float, reach: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Nodes and weights of y, apart by its sign: evenly spaced in log |y|, or in y far from 0."""
    if std == 0.0:
        return [(np.array([mean if mean != 0.0 else np.exp(-reach)]), np.ones(1))]
    if abs(mean) > 2.0 * _REACH * std:
        return [_even(mean, std, fine, 0)]
    step = fine * min(_LOGARITHMIC, _PER_STD * std / max(abs(mean), 1e-300))
    top = np.log(abs(mean) + _REACH * std)
    size = np.exp(top - step * np.arange(np.ceil((reach + max(0.0, top)) / step) + 1))
    found = []
    for sign in (1.0, -1.0):
        y = sign * size
        found.append((y, step * size * np.exp(-0.5 * ((y - mean) / std) ** 2) / (std * np.sqrt(2.0 * np.pi))))
    return found


def _on_grid(at: np.ndarray, weights: np.ndarray) -> tuple[int, np.ndarray]:
    """Weights at places, in steps, spread on whole numbers so that polynomials keep their sums: the first, weights."""
    base = np.floor(at).astype(int) - _POINTS // 2 + 1
    lagrange = _lagrange(at - base)
    first = int(base.min())
    out = np.zeros(int(base.max()) - first + _POINTS)
    np.add.at(out, (base - first)[:, None] + np.arange(_POINTS), lagrange * weights[:, None])
    return first, out


def _lagrange(x: np.ndarray) -> np.ndarray:
    """Lagrange's polynomials on 0 to 15 at places x (n,): (n, 16)."""
    apart = x - np.arange(_POINTS)[:, None]
    one = np.ones((1, len(x)))
    below = np.cumprod(np.concatenate([one, apart[:-1]]), axis=0)
    above = np.cumprod(np.concatenate([one, apart[:0:-1]]), axis=0)[::-1]
    scale = [factorial(j) * factorial(_POINTS - 1 - j) * (-1) ** (_POINTS - 1 - j) for j in range(_POINTS)]
    return (below * above / np.array(scale, dtype=float)[:, None]).T
