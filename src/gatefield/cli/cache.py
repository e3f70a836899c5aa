"""`gatefield cache`: where compiled code is kept between runs, how much of it, and away with it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from gatefield.cli.terminal import print_json
from gatefield.running import compile_cache


def cache(
    *,
    clear: Annotated[bool, Parameter(help="Remove all of it.")] = False,
    json: Annotated[bool, Parameter(help="Print one JSON object instead of text.")] = False,
) -> None:
    """Compiled code kept between runs, so that the next one starts sooner: where, and how much.

    GATEFIELD_CACHE=FOLDER keeps it elsewhere, GATEFIELD_CACHE=off nowhere.
    """
    folder = compile_cache.cache_folder()
    if folder is None:
        told = {"folder": None, "entries": 0, "bytes": 0}
        text = f"Nothing is kept: {compile_cache.VARIABLE} says so."
    else:
        used = compile_cache.clear(folder) if clear else compile_cache.usage(folder)
        told = {"folder": str(folder), "entries": used.entries, "bytes": used.size}
        text = f"{folder}: {used.entries} compiled functions, {used.size / 1e6:.1f} MB{' removed' if clear else ''}"
    if json:
        print_json(told)
    else:
        print(text)  # noqa: T201
