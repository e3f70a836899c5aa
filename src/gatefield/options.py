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
