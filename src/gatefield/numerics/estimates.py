"""Numbers with standard errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

_ROUNDING = 1e-16
_SMALLEST_POWER, _LARGEST_POWER = -4, 7  # of ten, between which numbers are written out
_ONE_SIGMA = 0.8413447460685429  # of a Gaussian, up to one standard deviation


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value, or an array of values, with its standard error (NaN where it is not known).

    Where the error comes from few independent batches it is widened to a 68 % interval by Student's distribution.
    """

    value: Any
    error: Any

    def __str__(self) -> str:
        if np.ndim(self.value):
            return f"Estimate of shape {np.shape(self.value)}"
        return format_with_error(float(self.value), float(self.error))

    def as_json(self) -> dict[str, Any]:
        """{"value", "error"} as plain numbers; what is not finite becomes None."""
        return {"value": plain(self.value), "error": plain(self.error)}


def plain(value: Any) -> Any:
    """Numbers and arrays as JSON takes them: what is not finite becomes None, a complex number a pair."""
    array: Any = np.asarray(value)
    if array.ndim:
        return [plain(v) for v in array]
    if array.dtype.kind == "c":
        return [plain(array.real), plain(array.imag)]
    return array.item() if array.dtype.kind != "f" or np.isfinite(array) else None


def format_with_error(value: float, error: float) -> str:
    """The value to the digits that its error leaves, two of the error's, such as 0.3950 ± 0.0020.

    Without a known error, or one below rounding, six digits. Powers of ten stand behind the bracket, (1.20 ± 0.31)e-09.
    """
    if not np.isfinite(value) or not np.isfinite(error) or error <= _ROUNDING * abs(value):
        return f"{value:.6g}"
    digits = 1 - int(np.floor(np.log10(error)))
    power = int(np.floor(np.log10(max(abs(value), error))))
    if _SMALLEST_POWER <= power < _LARGEST_POWER:
        shown = [f"{round(v, digits):.{max(0, digits)}f}" for v in (value, error)]
        return " ± ".join(shown)
    digits = max(0, digits + power)
    return f"({_scaled(value, power):.{digits}f} ± {_scaled(error, power):.{digits}f})e{power:+03d}"


def _scaled(value: float, power: int) -> float:
    """value/10^power; in two steps, for 10^power itself may not be a float."""
    half = power // 2
    return value / 10.0**half / 10.0 ** (power - half)


def stacked(estimates: Iterable[Estimate]) -> Estimate:
    """One estimate of several, along a new first axis."""
    found = list(estimates)
    return Estimate(np.array([e.value for e in found]), np.array([e.error for e in found]))


def from_batches(values: Any) -> Estimate:
    """Mean over the first axis, the batches being independent, with the half-width of its 68 % interval.

    That is Student's: the standard error where batches are many, 1.2 times the spread over √count for four.
    """
    values = np.asarray(values, dtype=float)
    count = values.shape[0]
    if count > 1:
        with np.errstate(invalid="ignore"):  # infinite ones, as exponents of a network that forgets at once: no error
            error = stdtrit(count - 1, _ONE_SIGMA) * np.std(values, axis=0, ddof=1) / np.sqrt(count)
    else:
        error = np.full(values.shape[1:], np.nan)
    mean = np.mean(values, axis=0)
    return Estimate(mean, error) if np.ndim(mean) else Estimate(float(mean), float(error))
