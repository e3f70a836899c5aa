"""Fixtures of several test modules."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Command, Outcome

from gatefield.cli import app as cli
from gatefield.running import compile_cache
from gatefield.running.background import available_cores, thread_limits

if "PYTEST_XDIST_WORKER" in os.environ:  # share the cores; before NumPy and JAX are loaded, which look at this once
    os.environ.update(thread_limits(max(1, available_cores() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))))


@pytest.fixture(autouse=True, scope="session")
def compiled_code_is_kept() -> None:
    """What the tests compile serves all their processes and the next run."""
    compile_cache.turn_on()


_TESTS = itertools.count(1)


@pytest.fixture(autouse=True)
def few_memory_maps() -> Iterator[None]:
    """Let compiled functions go before there are too many for one process; counting them takes some milliseconds."""
    from gatefield.running.memory import spare_memory_maps

    yield
    if next(_TESTS) % 5 == 0:
        spare_memory_maps()


@pytest.fixture
def gatefield(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The program in this process, in an empty folder."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(compile_cache, "keep_bytecode", lambda: None)  # a setting of Python for the whole process

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["gatefield", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        code = left.value.code
        captured = capsys.readouterr()
        return Outcome(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run
