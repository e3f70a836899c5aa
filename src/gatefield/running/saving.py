"""Pictures written where they were asked for, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

SUFFIXES = (".png", ".svg", ".pdf")


def check_output(path: Path | None) -> None:
    """Refuse a path that could not be written before anything is computed."""
    if path is None:
        return
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--output {str(path)!r}: the suffix must be one of {', '.join(SUFFIXES)}")
    check_writable("--output", path)


def check_writable(what: str, path: Path) -> None:
    """Refuse a path at which no file could be put, by putting one beside it for a moment.

    Raises:
        ValueError: with the remedy.
    """
    folder = path.parent
    try:
        if not folder.is_dir():
            raise ValueError(f"{what} {str(path)!r}: there is no folder {str(folder)!r}; make it first")
        if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
            raise ValueError(f"{what} {str(path)!r} cannot be written; choose another path")
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.stem}-", suffix=path.suffix):
            pass
    except OSError as error:
        raise ValueError(f"{what} {str(path)!r} cannot be written: {error.strerror}; choose another path") from None


def save_figure(figure: Any, path: Path, *, dpi: int = 160) -> None:
    """Write a figure whole or not at all."""
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        figure.savefig(temporary, dpi=dpi)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise ValueError(f"--output {str(path)!r} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
