"""Progress bars for long work, on a terminal only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def track(items: Sequence[T], description: str) -> Iterator[T]:
    """The items in turn; a bar on standard error where that is a terminal, gone when done."""
    if len(items) < 2 or not sys.stderr.isatty() or threading.current_thread() is not threading.main_thread():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, description, console=Console(stderr=True), transient=True)
