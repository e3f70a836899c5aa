"""Progress bars for long work, on a terminal only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def _shown() -> bool:
    return sys.stderr.isatty() and threading.current_thread() is threading.main_thread()


def track(items: Sequence[T], description: str) -> Iterator[T]:
    """The items in turn; a bar on standard error where that is a terminal, gone when done."""
    if len(items) < 2 or not _shown():
        yield from items
        return
    with progress(len(items), description) as report:
        for item in items:
            yield item
            report(1)


@contextmanager
def progress(total: int, description: str) -> Iterator[Callable[[int], None]]:
    """A bar over `total` steps, moved on by calling what it gives with a number of steps."""
    if not _shown():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda steps: bar.advance(task, steps)
