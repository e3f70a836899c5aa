"""What commands print: numbers, tables, messages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on one line."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))  # noqa: T201


def console() -> Any:
    """Where tables go, as wide as the terminal."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120, markup=True)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Any:
    """A table, its numbers to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, title in enumerate(header):
        made.add_column(title, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def shown(estimate: Any) -> str:
    """An estimate in a table: infinite where a correlation does not decay within the run, NaN where there is none."""
    if estimate.value == float("inf"):
        return "beyond the longest lag"
    return str(estimate) if estimate.value == estimate.value else "–"


def print_messages(messages: list[str], output: Path | None) -> None:
    """What has not converged, and where the figure is."""
    out = console()
    for message in messages:
        out.print(f"[yellow]not converged[/yellow]: {message}", soft_wrap=True)
    if output is not None:
        out.print(f"Figure: {output}", soft_wrap=True)
