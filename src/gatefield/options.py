"""Options of the command line that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter


def _whole(_: Any, tokens: Any) -> int:
    """An option's text as a whole number; 10.5 is refused, not cut."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number") from None


Whole = Annotated[int, Parameter(converter=_whole)]


def pairs(option: str, texts: list[str] | None) -> dict[str, float]:
    """Numbers by name, from texts that read NAME=X."""
    found: dict[str, float] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"{option} {text!r} must read NAME=X, such as {option} update=10")
        if name in found:
            raise ValueError(f"{option} names {name!r} twice")
        try:
            found[name] = float(value)
        except ValueError:
            raise ValueError(f"{option} {text!r}: {value!r} is not a number") from None
    return found
