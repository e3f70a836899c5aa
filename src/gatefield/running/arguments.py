"""Checks of what users pass: each returns the clean value or raises a ValueError that names the argument."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any


def finite(name: str, value: Any) -> float:
    """A finite float."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}={value!r} must be a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name}={value!r} must be finite")
    return number


def at_least(name: str, value: Any, low: float) -> float:
    """A finite float of at least `low`."""
    number = finite(name, value)
    if number < low:
        raise ValueError(f"{name}={value!r} must be at least {low:g}")
    return number


def positive(name: str, value: Any) -> float:
    """A finite float above zero."""
    number = finite(name, value)
    if number <= 0.0:
        raise ValueError(f"{name}={value!r} must be above 0")
    return number


def whole(name: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name}={value!r} must be a whole number") from None
    if number < low:
        raise ValueError(f"{name}={value!r} must be at least {low}")
    return number


def known_names(name: str, given: Iterable[str], known: tuple[str, ...], owner: str) -> None:
    """Refuse names that are not among `known`."""
    for key in given:
        if key not in known:
            raise ValueError(f"{name}: {owner} has no {key!r}; it has {', '.join(known)}")


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A mapping from names, as a dict."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}={value!r} must be a mapping from pre-activation names, such as {{'update': 1.0}}")
    return dict(value)
