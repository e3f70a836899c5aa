"""Arrays from files that others made: whatever is in them, an array or one line that says what is wrong with which."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gatefield.running.memory import require

_BROKEN = (
    OSError, EOFError, ValueError, KeyError, IndexError, TypeError, SyntaxError, NotImplementedError, OverflowError,
    RuntimeError, MemoryError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_ZIP, _NPY = b"PK", b"\x93NUMPY"


def check_file(what: str, path: Path) -> None:
    """Refuse a path that is no file that can be read.

    Raises:
        ValueError: with the remedy.
    """
    if path.is_dir():
        raise ValueError(f"{what} {str(path)!r} is a folder; give a file")
    try:
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{what} {str(path)!r}: there is no file {str(path)!r}") from None
    except OSError as error:
        raise ValueError(f"{what} {str(path)!r} cannot be read: {error.strerror}; see to its permissions") from None


def read_npy(what: str, path: Path) -> np.ndarray:
    """The array of numbers in an .npy file, which is not read as a whole before it is known to be one.

    Raises:
        ValueError: it is something else, damaged, or larger than memory.
    """
    check_file(what, path)
    with path.open("rb") as file:
        begins = file.read(len(_NPY))
    if begins != _NPY:
        raise ValueError(f"{what} {str(path)!r} must be one array, .npy; save it with numpy.save")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _BROKEN as error:
        raise ValueError(
            f"{what} {str(path)!r} cannot be read: {_said(error)}; save it again with numpy.save"
        ) from None
    check_numbers(what, array)
    require(2.0 * array.size * 8, what=f"{what} {path.name!r}", size=max(1, len(array)), power=1.0, name="its length")
    return np.array(array)


def read_npz(what: str, path: Path, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, np.ndarray]:
    """Those arrays of an .npz file whose names are wanted, by name.

    Raises:
        ValueError: it is something else, damaged, larger than memory, or holds objects, which need code to run.
    """
    check_file(what, path)
    try:
        with path.open("rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                raise ValueError("it is no zip file")
        with zipfile.ZipFile(path) as file:
            sizes = [i.file_size for i in file.infolist() if wanted(i.filename.removesuffix(".npy"))]
    except _BROKEN as error:
        raise ValueError(f"{what} {str(path)!r} cannot be read without code: {_said(error)}; save it again") from None
    require(2.0 * sum(sizes), what=f"{what} {path.name!r}", size=max(1, sum(sizes)), power=1.0, name="its bytes")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files if wanted(key)}
    except _BROKEN as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{what} {str(path)!r} holds objects, which cannot be read without running code; save arrays of numbers"
            ) from None
        raise ValueError(f"{what} {str(path)!r} cannot be read: {_said(error)}; save it again") from None
    return {key: value for key, value in found.items() if isinstance(value, np.ndarray)}


def check_numbers(what: str, array: Any) -> None:
    """Refuse an array of anything but real numbers.

    Raises:
        ValueError: with what it holds.
    """
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what} holds values of type {array.dtype}; give real numbers")


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:120].rstrip(".") or type(error).__name__
