"""A result to look at: a table for notebooks, a line for the prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from textwrap import shorten
from typing import Any

import numpy as np

from gatefield.cells.ensemble import Ensemble
from gatefield.numerics.estimates import Estimate, format_with_error
from gatefield.results.description import Description, Quantity, plain_json

_LENGTH = 100  # characters of a line, about
_IN_WORDS = ("layer", "task", "regime", "verdict", "name", "target")
_MAKING = ("seed", "steps", "samples", "batches", "window", "networks", "transient")


def rows(description: Description) -> Iterator[tuple[str, str, str]]:
    """Name, value and unit of each quantity; long arrays by their size."""
    for name, quantity in {**description.quantities, **description.coordinates}.items():
        if quantity.value is not None:
            yield from _rows_of(name.replace("_", " "), quantity)


def _rows_of(name: str, quantity: Quantity) -> Iterator[tuple[str, str, str]]:
    units = "" if quantity.units == "1" else quantity.units
    if isinstance(quantity.value, Mapping):
        for label, value in quantity.value.items():
            yield f"{name}, {label}", shown(value), units
    else:
        yield name, shown(quantity.value), units


def shown(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, Estimate) and np.ndim(value.value) == 0:
        return format_with_error(float(value.value), float(value.error))
    array = np.asarray(value.value if isinstance(value, Estimate) else value)
    if array.ndim:
        return "array of " + " × ".join(map(str, array.shape))
    return f"{array.item():.6g}" if array.dtype.kind in "fc" else str(array.item())


def one_line(kind: str, description: Description) -> str:
    """The kind of result, what it is of, and its first numbers."""
    facts = description.facts
    parts = [shorten(text, _LENGTH, placeholder=" …") for name, fact in facts.items() if (text := _told(name, fact))]
    shown_rows = [(f"{name} {value} {units}".rstrip(), value) for name, value, units in rows(description)]
    numbers = [text for text, value in shown_rows if not value.startswith("array")]
    for text in numbers or [text for text, _ in shown_rows]:
        if sum(map(len, parts)) < _LENGTH:
            parts.append(text)
    if facts.get("converged") is False:
        parts.append("not converged")
    return f"<{kind}: {'; '.join(parts)}>" if parts else f"<{kind}>"


def _told(name: str, fact: Any) -> str:
    """A fact in a line: what the result is of, and what it says; how it was made is left to the table."""
    if isinstance(fact, Ensemble):
        return fact.title()
    if name in _IN_WORDS and isinstance(fact, str):
        return fact
    if isinstance(fact, (int, float)) and not isinstance(fact, bool) and name not in _MAKING:
        return f"{name.replace('_', ' ')} {fact:g}"
    return ""


def html_table(kind: str, description: Description) -> str:
    """Quantities with units, then facts."""
    facts = [
        (name.replace("_", " "), _fact(value), "") for name, value in description.facts.items() if value is not None
    ]
    lines = [
        f"<table><caption>{escape(kind)}</caption><thead><tr><th></th><th>value</th><th>units</th></tr></thead><tbody>"
    ]
    for row in [*rows(description), *facts]:
        name, value, units = (escape(text) for text in row)
        lines.append(f'<tr><th style="text-align:left">{name}</th><td>{value}</td><td>{units}</td></tr>')
    return "\n".join([*lines, "</tbody></table>"])


def _fact(value: Any) -> str:
    if isinstance(value, Ensemble):
        return value.title()
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        return "; ".join(value)
    return str(plain_json(value))
