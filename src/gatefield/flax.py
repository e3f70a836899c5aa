"""Flax' recurrent cells, nnx and linen: `import gatefield.flax as gx`. Needs the extra `flax`."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from gatefield.cells import tanh
from gatefield.checkpoints import read_layers
from gatefield.conventions import FLAX, Found, leaves_of
from gatefield.diagnosis import Diagnoses, diagnose_layers
from gatefield.layers import Layer

try:
    from flax import linen, nnx  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"gatefield.flax needs {error.name}: pip install 'gatefield[flax]'", name=error.name
    ) from None

__all__ = ["diagnose", "read"]


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
    return {name: part.found.read(part.arrays(), activation=part.activation) for name, part in cells_of(model).items()}


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

    def arrays(self) -> dict[str, Any]:
        """Its parameters by their names."""
        return {leaf: np.asarray(self.variable(leaf)[...]) for leaf in self.found.keys}


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
