"""Flax' recurrent cells, nnx and linen: `import gatefield.flax as gx`. Needs the extra `flax`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import jax
import numpy as np

from gatefield.cells.cell import tanh
from gatefield.layers.checkpoints import flatten, read_layers
from gatefield.layers.conventions import FLAX, Found, find, is_leaf, leaves_of
from gatefield.layers.diagnosis import Diagnoses, diagnose_layers
from gatefield.layers.initialisation import Initialisation, Initialisations, achieved, initialize_layer
from gatefield.layers.layer import Layer, inputs_by_layer

try:
    import_module("flax")  # the framework: type checkers take the name for this module
    linen: Any = import_module("flax.linen")
    nnx: Any = import_module("flax.nnx")
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"gatefield.flax needs {error.name}: pip install 'gatefield[flax]'", name=error.name
    ) from None

__all__ = ["diagnose", "initialize", "initialize_", "read"]


def read(model: Any) -> dict[str, Layer]:
    """The recurrent layers of an nnx module, of linen's variables or of a checkpoint, by name.

    Args:
        model: an nnx module that is or holds cells (SimpleCell, GRUCell, LSTMCell, OptimizedLSTMCell); a tree of
            variables, as linen's `init` returns, whose cells count as having tanh and the logistic; or a path.

    Raises:
        ValueError: no recurrent layer, one that is not supported, or values that are not finite.
    """
    if isinstance(model, linen.Module):
        raise ValueError(f"{type(model).__name__} is a linen module, which holds no weights: give its variables")
    if not isinstance(model, nnx.Module):
        return read_layers(model)
    return {name: part.read() for name, part in cells_of(model).items()}


def diagnose(model: Any, *, inputs: Any = None, **options: Any) -> Diagnoses:
    """What the recurrent cells of a model do along their inputs, beside the theory: see `diagnose_layer`.

    Args:
        model: as for `read`.
        inputs: of its only cell, (steps, M) or (sequences, steps, M), or such by the names of cells.
        options: of `diagnose_layer`.

    Raises:
        ValueError: as `read` and `diagnose_layer` do.
    """
    return diagnose_layers(read(model), inputs=inputs, **options)


def initialize_(
    model: Any, *, target: Any = "edge", inputs: Any = None, seed: int = 0, **options: Any
) -> Initialisations:
    """New weights, in place, for every recurrent cell of an nnx module: see `initialize_layer`.

    Args:
        model: an nnx module that is or holds cells.
        target: "edge", {"spectral_radius": r}, {"timescale": steps} or {"slow_modes": share}.
        inputs: of its only cell, (steps, M) or (sequences, steps, M), or such by the names of cells; cells without are
            taken as left alone.
        seed: of everything drawn; the i-th cell has seed + i.
        options: of `initialize_layer`: gain, bias, input_gain, keep, theory.

    Returns:
        What was chosen for each cell, and what it achieves, measured on the weights as written.

    Raises:
        ValueError: as `read` and `initialize_layer` do, or linen's variables, which nothing can set in place.
    """
    if not isinstance(model, nnx.Module):
        raise ValueError("model must be an nnx module; for linen's variables use initialize, which returns new ones")
    parts = cells_of(model)
    fed = inputs_by_layer({name: part.read() for name, part in parts.items()}, inputs)
    found: dict[str, Initialisation] = {}
    for i, (name, part) in enumerate(parts.items()):
        made = initialize_layer(part.read(), target=target, inputs=fed[name], seed=seed + i, **options)
        part.write(made.layer)
        written = part.read()
        measured = achieved(written, made.target, fed[name], seed=seed + i + 1)
        found[name] = replace(made, layer=written, achieved=measured)
    return Initialisations(found)


def initialize(
    variables: Any, *, target: Any = "edge", inputs: Any = None, seed: int = 0, **options: Any
) -> tuple[dict[str, Any], Initialisations]:
    """New variables of a linen model, with new weights for its recurrent cells; the rest is as given.

    Args:
        variables: a tree, as linen's `init` returns.
        target: as for `initialize_`.
        inputs: likewise.
        seed: likewise.
        options: likewise.

    Returns:
        The tree, and what was chosen for each cell and what it achieves.

    Raises:
        ValueError: as `read` and `initialize_layer` do.
    """
    flat = flatten(variables)
    arrays = {key: value for key, value in flat.items() if is_leaf(key)}
    cells, layers = find({key: np.shape(value) for key, value in arrays.items()}), read_layers(variables)
    fed = inputs_by_layer(layers, inputs)
    found: dict[str, Initialisation] = {}
    new: dict[str, Any] = {}
    for i, (name, cell) in enumerate(cells.items()):
        made = initialize_layer(layers[name], target=target, inputs=fed[name], seed=seed + i, **options)
        shapes = {leaf: arrays[key].shape for leaf, key in cell.keys.items()}
        written = cell.convention.write(made.layer, shapes)
        changed = {key: written[leaf].astype(arrays[key].dtype) for leaf, key in cell.keys.items()}
        new |= changed
        layer = cell.read(changed)
        found[name] = replace(made, layer=layer, achieved=achieved(layer, made.target, fed[name], seed=seed + i + 1))
    return _replaced(variables, new), Initialisations(found)


def _replaced(tree: Mapping[str, Any], new: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, Any]:
    """A copy of a tree with some of its arrays replaced, by names joined by dots."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            out[key] = _replaced(value, new, name)
        else:
            out[key] = jax.numpy.asarray(new[name], value.dtype) if name in new else value
    return out


class Part:
    """One cell of an nnx module."""

    def __init__(self, name: str, module: Any) -> None:
        self.name, self.module = name, module
        convention = FLAX[f"nnx {kind_of(module)}"]
        self.activation = tanh if module.activation_fn in _TANH else module.activation_fn
        self.found = Found(
            name, convention, {leaf: leaf for leaf in leaves_of(convention) if self.variable(leaf) is not None}
        )

    def variable(self, leaf: str) -> Any:
        """The variable that is kept under a name such as dense_h/kernel; None where there is none."""
        layer, _, kind = leaf.partition("/")
        return getattr(getattr(self.module, layer), kind)

    def read(self) -> Layer:
        """The layer as it is now."""
        arrays = {leaf: np.asarray(self.variable(leaf)[...]) for leaf in self.found.keys}
        return self.found.read(arrays, activation=self.activation)

    def write(self, layer: Layer) -> None:
        """Set the cell's parameters, in their dtype."""
        variables = {leaf: self.variable(leaf) for leaf in self.found.keys}
        arrays = self.found.convention.write(layer, {leaf: v.shape for leaf, v in variables.items()})
        for leaf, variable in variables.items():
            variable[...] = jax.numpy.asarray(arrays[leaf], variable.dtype)


_TANH = (jax.numpy.tanh, jax.nn.tanh, nnx.tanh)
_LOGISTIC = (jax.nn.sigmoid, nnx.sigmoid)
_KINDS = (nnx.SimpleCell, nnx.GRUCell, nnx.LSTMCell, nnx.OptimizedLSTMCell)


def kind_of(module: Any) -> str:
    """The cell's name."""
    return next(kind.__name__ for kind in _KINDS if isinstance(module, kind))


def cells_of(model: Any) -> dict[str, Part]:
    """Every recurrent cell of an nnx module, by name.

    Raises:
        ValueError: none, or one that is not supported.
    """
    parts: dict[str, Part] = {}
    for path, module in sorted(nnx.iter_modules(model), key=lambda item: [str(p) for p in item[0]]):
        name = ".".join(map(str, path)) or "layer"
        if isinstance(module, nnx.Bidirectional):
            raise ValueError(f"layer {name!r} is bidirectional; give each of its cells on its own")
        if isinstance(module, nnx.RNNCellBase):
            _check(name, module)
            parts[name] = Part(name, module)
    if not parts:
        raise ValueError(
            f"{type(model).__name__} has no recurrent layer: no SimpleCell, GRUCell, LSTMCell nor OptimizedLSTMCell; "
            "give the arrays of a cell of your own as gatefield.Layer"
        )
    return parts


def _check(name: str, module: Any) -> None:
    if not isinstance(module, _KINDS):
        raise ValueError(
            f"layer {name!r} is a {type(module).__name__}, none of {', '.join(k.__name__ for k in _KINDS)}; give its "
            "arrays and cell as gatefield.Layer"
        )
    if getattr(module, "residual", False):
        raise ValueError(
            f"layer {name!r} is a SimpleCell with residual=True, whose update is none of gatefield's; give its arrays "
            "as gatefield.Layer with a cell of your own"
        )
    if getattr(module, "gate_fn", jax.nn.sigmoid) not in _LOGISTIC:
        raise ValueError(
            f"layer {name!r} has gates of its own (gate_fn), none of gatefield's; give its arrays as "
            "gatefield.Layer with a cell of your own"
        )
