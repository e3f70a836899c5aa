"""Recurrent layers in files: .safetensors, .npz, and .pt by PyTorch's weights-only loader. No code in a file is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gatefield.cells.cell import Activation, tanh
from gatefield.layers.conventions import find, is_leaf
from gatefield.layers.layer import Layer
from gatefield.running.reading import check_file, read_npz

_PICKLES = (".pt", ".pth", ".bin", ".ckpt")


def read_layers(source: Any, *, activation: Activation = tanh) -> dict[str, Layer]:
    """The recurrent layers of a checkpoint, by name.

    Names and shapes say which arrays are a layer and of which kind: PyTorch's RNN, GRU, LSTM and their cells, Flax'
    SimpleCell, GRUCell, LSTMCell and OptimizedLSTMCell. What they do not say is the activation.

    Args:
        source: a path, or arrays by name, nested or not: a state dict, a tree of variables.
        activation: of the cells.

    Raises:
        ValueError: a file that cannot be read or would need code to run, no recurrent layer in it, or one that is not
            supported.
        ModuleNotFoundError: PyTorch is missing, which .pt files need.
    """
    if isinstance(source, Mapping):
        where, arrays = "the mapping", {k: v for k, v in flatten(source).items() if is_leaf(k)}
    else:
        path = Path(source)
        where, arrays = str(path), _load(path)
    found = find({key: np.shape(value) for key, value in arrays.items()})
    if not found:
        raise ValueError(
            f"{where} has no recurrent layer: nothing in it is named like weights of PyTorch's RNN, GRU or LSTM or of "
            "Flax' recurrent cells; save the model's state dict, or give arrays and cell as gatefield.Layer"
        )
    return {name: one.read(arrays, activation=activation) for name, one in found.items()}


def chosen_layer(layers: Mapping[str, Layer], name: str | None) -> Layer:
    """The layer of a name, or the only one.

    Raises:
        ValueError: no layer of this name, or several and no name.
    """
    known = ", ".join(repr(n) for n in layers)
    if name is None and len(layers) > 1:
        raise ValueError(f"there are {len(layers)} recurrent layers; choose one by --layer (layer=): {known}")
    if name is not None and name not in layers:
        raise ValueError(f"there is no recurrent layer {name!r}; there is {known}")
    return next(iter(layers.values())) if name is None else layers[name]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of mappings as one mapping, names joined by dots; what is no array is left out."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            flat |= flatten(value, name)
        elif hasattr(value, "shape"):
            flat[name] = as_array(value)
    return flat


def as_array(value: Any) -> Any:
    """An array or a tensor as numpy has it; bfloat16 as float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return np.asarray(value)


def _load(path: Path) -> dict[str, Any]:
    """The arrays of a file whose names are a recurrent layer's."""
    loaders: dict[str, Callable[[Path], dict[str, Any]]] = {".safetensors": _safetensors, ".npz": _npz}
    loaders |= dict.fromkeys(_PICKLES, _pickle)
    if path.suffix not in loaders:
        raise ValueError(f"{str(path)!r}: the suffix must be one of {', '.join(loaders)}")
    check_file("checkpoint", path)
    return loaders[path.suffix](path)


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    def read(framework: str) -> dict[str, Any]:
        with safe_open(path, framework=framework) as file:
            return {key: np.asarray(file.get_tensor(key)) for key in file.keys() if is_leaf(key)}  # noqa: SIM118

    try:
        try:
            return read("np")
        except TypeError:  # numpy has no bfloat16, JAX has
            return read("flax")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        said = " ".join(str(error).split())[:120]
        raise ValueError(f"{str(path)!r} is no safetensors file, or damaged ({said}); save it again") from None


def _npz(path: Path) -> dict[str, Any]:
    return read_npz("checkpoint", path, is_leaf)


def _pickle(path: Path) -> dict[str, Any]:
    try:
        torch: Any = import_module("torch")  # the framework, which type checkers take for gatefield.torch
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{path.suffix} files need torch: pip install 'gatefield[torch]', or save as .safetensors", name="torch"
        ) from None
    import pickle

    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{str(path)!r} is not read: it holds more than arrays and needs code to run; save model.state_dict(), by "
            "safetensors.torch.save_file"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        said = " ".join(str(error).split())[:120]
        raise ValueError(f"{str(path)!r} is no file of PyTorch, or damaged ({said}); save it again") from None
    if not isinstance(tree, Mapping):
        raise ValueError(f"{str(path)!r} holds a {type(tree).__name__}, not a state dict; save model.state_dict()")
    return {key: value for key, value in flatten(tree).items() if is_leaf(key)}
