"""What commands print: numbers, tables, messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from gatefield.cli.options import ShowOptions
from gatefield.running.saving import save_figure


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on one line."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))  # noqa: T201


def print_note(text: str) -> None:
    """A line for people, beside what is asked for."""
    print(f"gatefield: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201


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


def answer(
    show: ShowOptions,
    *,
    json: Callable[[], dict[str, Any]],
    text: Callable[[], None],
    picture: tuple[Any, ...] = (),
    messages: Sequence[str] = (),
) -> None:
    """Show what a command found, as asked: a figure, and then JSON or text with what has not converged.

    Args:
        show: what was asked.
        json: gives the JSON object.
        text: prints the text.
        picture: where its figure is drawn in `plots`, such as "spectra.plot_report", and of what.
        messages: what has not converged.
    """
    if show.output is not None and picture:
        module, _, name = picture[0].partition(".")
        draw = getattr(import_module(f"gatefield.plots.{module}"), name)
        save_figure(draw(*picture[1:]), show.output)
    if show.json:
        print_json(json())
        return
    text()
    print_messages(messages, show.output)


def answer_with(show: ShowOptions, result: Any, text: Callable[[Any], None], picture: str) -> None:
    """`answer` with a result: its JSON and messages, its text, its figure in `plots`."""
    answer(show, json=result.as_json, text=lambda: text(result), picture=(picture, result), messages=result.messages)


def print_messages(messages: Sequence[str], output: Path | None) -> None:
    """What has not converged, and where the figure is."""
    out = console()
    for message in messages:
        out.print(f"[yellow]not converged[/yellow]: {message}", soft_wrap=True)
    if output is not None:
        out.print(f"Figure: {output}", soft_wrap=True)
