"""Small matrices of complex numbers, written out in real arithmetic over arrays.

Compiled loops over complex arrays do not vectorise, and batched LAPACK on tiny matrices is slow; sums and products of
real arrays are neither. An imaginary part known to be zero is None and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Complex:
    """Real and imaginary part, arrays or numbers; `im` is None where the number is real."""

    re: Any
    im: Any = None

    def __add__(self, other: Complex) -> Complex:
        if self.im is None or other.im is None:
            return Complex(self.re + other.re, self.im if other.im is None else other.im)
        return Complex(self.re + other.re, self.im + other.im)

    def __sub__(self, other: Complex) -> Complex:
        return self + other.scale(-1.0)

    def __mul__(self, other: Complex) -> Complex:
        if self.im is None:
            return other.scale(self.re)
        if other.im is None:
            return self.scale(other.re)
        return Complex(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def scale(self, factor: Any) -> Complex:
        """Times a real number."""
        return Complex(self.re * factor, None if self.im is None else self.im * factor)

    def conj(self) -> Complex:
        """Complex conjugate."""
        return Complex(self.re, None if self.im is None else -self.im)

    def squared(self) -> Any:
        """|z|²."""
        return self.re * self.re if self.im is None else self.re * self.re + self.im * self.im

    def reciprocal(self) -> Complex:
        """1/z."""
        return self.conj().scale(1.0 / self.squared())


Matrix = list[list[Complex]]


def total(values: Sequence[Complex]) -> Complex:
    """Sum of one number or more."""
    out = values[0]
    for value in values[1:]:
        out = out + value
    return out


def matmul(a: Matrix, b: Matrix) -> Matrix:
    """Matrix product."""
    inner = range(len(b))
    return [[total([row[k] * b[k][j] for k in inner]) for j in range(len(b[0]))] for row in a]


def dagger(a: Matrix) -> Matrix:
    """Conjugate transpose."""
    return [[a[j][i].conj() for j in range(len(a))] for i in range(len(a[0]))]


def trace_product(a: Matrix, b: Matrix) -> Complex:
    """tr(a b)."""
    return total([a[i][k] * b[k][i] for i in range(len(a)) for k in range(len(b))])


def combine(weights: Sequence[Any], matrices: Sequence[Matrix]) -> Matrix:
    """Σ_g weights_g matrices_g with real weights."""
    size = range(len(matrices[0]))
    return [[total([m[i][j].scale(w) for w, m in zip(weights, matrices, strict=True)]) for j in size] for i in size]


def inverse(a: Matrix) -> Matrix:
    """Inverse of a Hermitian matrix that is at least 1, by elimination, stable without pivots there."""
    size = range(len(a))
    a = [row[:] for row in a]
    out: Matrix = [[Complex(1.0 if i == j else 0.0) for j in size] for i in size]
    for k in size:
        pivot = 1.0 / a[k][k].re
        a[k] = [v.scale(pivot) for v in a[k]]
        out[k] = [v.scale(pivot) for v in out[k]]
        for i in size:
            if i != k:
                factor = a[i][k]
                a[i] = [v - factor * w for v, w in zip(a[i], a[k], strict=True)]
                out[i] = [v - factor * w for v, w in zip(out[i], out[k], strict=True)]
    return out
