"""Where frameworks keep a recurrent layer's weights: gate orders, transposes, biases; reading and writing.

Each convention is a table, so that what is read can be written back. All were checked against the framework's own
forward pass.

- PyTorch: matrices (gates·N, inputs); GRU gates in the order r, z, n, LSTM gates i, f, g, o; two biases, which add up,
  but for the GRU's candidate, whose recurrent bias is inside the reset gate.
- Flax: kernels are (inputs, units). `nnx.GRUCell` has input biases only, `linen.GRUCell` one more on the candidate's
  recurrent product; LSTM cells have recurrent biases only. In both frameworks the GRU resets after the product.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatefield.cells.builtin import GRU, LSTM, Vanilla
from gatefield.cells.cell import Activation, Cell, tanh
from gatefield.layers.layer import Layer


@dataclass(frozen=True)
class Place:
    """A block of an array: which of how many, along the axis of the units."""

    leaf: str
    block: int = 0
    blocks: int = 1


@dataclass(frozen=True)
class Convention:
    """How one framework keeps one kind of layer.

    Attributes:
        kind: for instance "torch GRU".
        cell: makes the cell from its activation.
        transposed: whether matrices are (inputs, units).
        recurrent, inputs: where the matrices of a pre-activation are.
        biases: where its biases are; they add up. Those that are not there are 0.
    """

    kind: str
    cell: Callable[[Activation], Cell]
    transposed: bool
    recurrent: Mapping[str, Place]
    inputs: Mapping[str, Place]
    biases: Mapping[str, tuple[Place, ...]]

    @property
    def needed(self) -> set[str]:
        """Arrays without which there is no such layer."""
        return {place.leaf for places in (self.recurrent, self.inputs) for place in places.values()}

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether arrays of these shapes, by leaf, are a layer of this kind."""
        if not self.needed <= set(shapes):
            return False
        for place in self.recurrent.values():
            shape = shapes[place.leaf]
            units, inputs = shape[::-1] if self.transposed and len(shape) == 2 else shape if len(shape) == 2 else (0, 0)
            if units == 0 or units != place.blocks * inputs:
                return False
        return True

    def read(self, leaves: Mapping[str, Any], *, name: str, activation: Activation = tanh) -> Layer:
        """The layer that these arrays, by leaf, are.

        Raises:
            ValueError: weights that are no floating-point numbers.
        """
        for leaf, value in leaves.items():
            if "float" not in str(value.dtype):  # bfloat16 and its kin are not numpy's own
                raise ValueError(
                    f"layer {name!r}: {leaf} holds values of type {value.dtype}, which are no weights by themselves; "
                    "save them as floating-point numbers, quantised ones with their scale multiplied in"
                )
        dtype = str(leaves[next(iter(self.recurrent.values())).leaf].dtype)
        arrays = {leaf: np.asarray(value).astype(np.float64) for leaf, value in leaves.items()}
        biases: dict[str, Any] = {}
        for pre, places in self.biases.items():
            found = [_block(arrays[place.leaf], place) for place in places if place.leaf in arrays]
            if found:
                biases[pre] = sum(found[1:], found[0])
        return Layer(
            self.cell(activation),
            {pre: self._matrix(arrays, place) for pre, place in self.recurrent.items()},
            {pre: self._matrix(arrays, place) for pre, place in self.inputs.items()},
            biases,
            name=name,
            framework=self.kind,
            dtype=dtype,
        )

    def _matrix(self, arrays: Mapping[str, np.ndarray], place: Place) -> np.ndarray:
        array = arrays[place.leaf]
        return _block(array.T if self.transposed else array, place)

    def write(self, layer: Layer, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """A layer's values as arrays of these shapes, by leaf: the inverse of `read`.

        Of several biases that add up the first has all, the others are 0.

        Raises:
            ValueError: a bias that is not 0 where the layer keeps none.
        """
        arrays = {leaf: np.zeros(shape) for leaf, shape in shapes.items()}
        for places, values in ((self.recurrent, layer.weights), (self.inputs, layer.input_weights)):
            for pre, place in places.items():
                array = arrays[place.leaf]
                _block(array.T if self.transposed else array, place)[...] = values[pre]
        for pre in layer.names:
            kept = [place for place in self.biases.get(pre, ()) if place.leaf in arrays]
            if kept:
                _block(arrays[kept[0].leaf], kept[0])[...] = layer.bias(pre)
            elif np.any(layer.bias(pre) != 0.0):
                raise ValueError(
                    f"layer {layer.name!r} ({self.kind}) keeps no bias of {pre!r}; make it with biases, or leave that "
                    "bias at 0"
                )
        return arrays


def _block(array: np.ndarray, place: Place) -> np.ndarray:
    size = len(array) // place.blocks
    return array[place.block * size : (place.block + 1) * size]


def _gru(activation: Activation) -> Cell:
    return GRU(reset_after=True, activation=activation)


def _lstm(activation: Activation) -> Cell:
    return LSTM(activation=activation)


def _vanilla(activation: Activation) -> Cell:
    return Vanilla(activation=activation)


def _stacked(leaf: str, names: Iterable[str]) -> dict[str, Place]:
    """One array with a block for each name, in this order."""
    names = tuple(names)
    return {name: Place(leaf, i, len(names)) for i, name in enumerate(names)}


_LSTM_ORDER = ("input", "forget", "cell", "output")  # i, f, g, o
_GRU_ORDER = ("reset", "update", "candidate")  # r, z, n
_GRU_INPUTS = ("reset", "update", "current")


def _summed(*places: Mapping[str, Place]) -> dict[str, tuple[Place, ...]]:
    names = dict.fromkeys(name for mapping in places for name in mapping)
    return {name: tuple(mapping[name] for mapping in places if name in mapping) for name in names}


def _torch(kind: str, cell: Any, recurrent: tuple[str, ...], inputs: tuple[str, ...]) -> Convention:
    return Convention(
        f"torch {kind}", cell, False,
        _stacked("weight_hh", recurrent), _stacked("weight_ih", inputs),
        _summed(_stacked("bias_ih", inputs), _stacked("bias_hh", recurrent)),
    )  # fmt: skip


def _gates(pattern: str, letters: str, names: tuple[str, ...]) -> dict[str, Place]:
    """One array for each gate, by its letter."""
    return {name: Place(pattern.format(letter)) for letter, name in zip(letters, names, strict=True)}


TORCH = {
    "RNN": _torch("RNN", _vanilla, ("input",), ("input",)),
    "GRU": _torch("GRU", _gru, _GRU_ORDER, _GRU_INPUTS),
    "LSTM": _torch("LSTM", _lstm, _LSTM_ORDER, _LSTM_ORDER),
}
_NNX_INPUTS = {**_gates("i{}/kernel", "igo", ("input", "cell", "output")), "forget": Place("if_/kernel")}
FLAX = {
    "nnx GRUCell": Convention(
        "flax.nnx GRUCell", _gru, True,
        _stacked("dense_h/kernel", _GRU_ORDER), _stacked("dense_i/kernel", _GRU_INPUTS),
        _summed(_stacked("dense_i/bias", _GRU_INPUTS)),
    ),
    "nnx OptimizedLSTMCell": Convention(
        "flax.nnx OptimizedLSTMCell", _lstm, True,
        _stacked("dense_h/kernel", _LSTM_ORDER), _stacked("dense_i/kernel", _LSTM_ORDER),
        _summed(_stacked("dense_h/bias", _LSTM_ORDER)),
    ),
    "nnx SimpleCell": Convention(
        "flax.nnx SimpleCell", _vanilla, True,
        _stacked("dense_h/kernel", ("input",)), _stacked("dense_i/kernel", ("input",)),
        _summed(_stacked("dense_i/bias", ("input",))),
    ),
    "nnx LSTMCell": Convention(
        "flax.nnx LSTMCell", _lstm, True,
        _gates("h{}/kernel", "ifgo", _LSTM_ORDER), _NNX_INPUTS,
        _summed(_gates("h{}/bias", "ifgo", _LSTM_ORDER)),
    ),
    "linen LSTMCell": Convention(
        "flax.linen LSTMCell", _lstm, True,
        _gates("h{}/kernel", "ifgo", _LSTM_ORDER), _gates("i{}/kernel", "ifgo", _LSTM_ORDER),
        _summed(_gates("h{}/bias", "ifgo", _LSTM_ORDER)),
    ),
    "linen GRUCell": Convention(
        "flax.linen GRUCell", _gru, True,
        _gates("h{}/kernel", "rzn", _GRU_ORDER), _gates("i{}/kernel", "rzn", _GRU_INPUTS),
        _summed(_gates("i{}/bias", "rzn", _GRU_INPUTS), _gates("h{}/bias", "n", ("candidate",))),
    ),
    "linen SimpleCell": Convention(
        "flax.linen SimpleCell", _vanilla, True,
        {"input": Place("h/kernel")}, {"input": Place("i/kernel")}, {"input": (Place("i/bias"),)},
    ),
}  # fmt: skip


# ---- finding layers among arrays by name ----

_TORCH_LEAF = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(_l(\d+))?(_reverse)?")
_FLAX_LEAVES = {
    place.leaf
    for c in FLAX.values()
    for places in ((*c.recurrent.values(),), (*c.inputs.values(),), *c.biases.values())
    for place in places
}
# kernels that nothing but a recurrent cell names so
_GATED = {leaf for leaf in _FLAX_LEAVES if re.fullmatch(r"(dense_h|h[rznifgo])/kernel", leaf)}


def torch_leaf(key: str) -> tuple[str, str, int | None, bool] | None:
    """(prefix, leaf, layer's number, whether reverse) of a PyTorch parameter's name; None for others."""
    prefix, _, last = key.rpartition(".")
    match = _TORCH_LEAF.fullmatch(last)
    return match and (prefix, match[1], None if match[3] is None else int(match[3]), match[4] is not None)


def flax_leaf(key: str) -> tuple[str, str] | None:
    """(prefix, leaf) of a Flax parameter's name, its parts joined by "/" or "."; None for others."""
    parts = key.replace("/", ".").split(".")
    leaf = "/".join(parts[-2:])
    return (".".join(parts[:-2]), leaf) if len(parts) >= 2 and leaf in _FLAX_LEAVES else None


def is_leaf(key: str) -> bool:
    """Whether a name is one under which a framework keeps a recurrent layer's weights."""
    return torch_leaf(key) is not None or flax_leaf(key) is not None


@dataclass(frozen=True, eq=False)
class Found:
    """One layer among named arrays: its name, its convention, and which key is which leaf."""

    name: str
    convention: Convention
    keys: Mapping[str, str]

    def read(self, arrays: Mapping[str, Any], *, activation: Activation = tanh) -> Layer:
        """The layer, from all arrays by key."""
        leaves = {leaf: arrays[key] for leaf, key in self.keys.items()}
        return self.convention.read(leaves, name=self.name, activation=activation)


def find(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Found]:
    """The recurrent layers among named arrays, of which only shapes are needed, in order of their names.

    Raises:
        ValueError: a bidirectional layer, one with projections, or one whose shapes are of no known layer.
    """
    torch_groups: dict[tuple[str, int | None], dict[str, str]] = {}
    flax_groups: dict[str, dict[str, str]] = {}
    for key in shapes:
        if (torch := torch_leaf(key)) is not None:
            prefix, leaf, number, reverse = torch
            if reverse:
                refuse_bidirectional(prefix or "layer")
            torch_groups.setdefault((prefix, number), {})[leaf] = key
        elif (flax := flax_leaf(key)) is not None:
            flax_groups.setdefault(flax[0], {})[flax[1]] = key
    found: dict[str, Found] = {}
    stacked = [prefix for prefix, _ in torch_groups]
    for (prefix, number), keys in sorted(torch_groups.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
        one = _find_torch(layer_name(prefix, number, stacked.count(prefix)), keys, shapes)
        found[one.name] = one
    for prefix, keys in sorted(flax_groups.items()):
        name = prefix.removeprefix("params.") if prefix != "params" else "layer"
        here = {leaf: shapes[key] for leaf, key in keys.items()}
        for convention in FLAX.values():
            if convention.fits(here):
                kept = {leaf: key for leaf, key in keys.items() if leaf in leaves_of(convention)}
                found[name or "layer"] = Found(name or "layer", convention, kept)
                break
        else:
            if _GATED & set(keys) and len(keys) > 2:
                raise ValueError(
                    f"layer {name or 'layer'!r} with {', '.join(sorted(keys))} is no cell of Flax that is known "
                    "(SimpleCell, GRUCell, LSTMCell, OptimizedLSTMCell); give its arrays and cell as gatefield.Layer"
                )
    return found


def leaves_of(convention: Convention) -> set[str]:
    """All arrays that a convention knows of, biases included."""
    return convention.needed | {place.leaf for places in convention.biases.values() for place in places}


def layer_name(prefix: str, number: int | None, count: int) -> str:
    """What one of the `count` layers of a module is called."""
    if count == 1 or number is None:
        return prefix or "layer"
    return f"{prefix}.l{number}" if prefix else f"l{number}"


def _find_torch(name: str, keys: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> Found:
    if "weight_hr" in keys:
        refuse_projections(name)
    here = {leaf: tuple(shapes[key]) for leaf, key in keys.items()}
    for convention in TORCH.values():
        if convention.fits(here):
            return Found(name, convention, keys)
    raise ValueError(
        f"layer {name!r} with {', '.join(f'{leaf} {shape}' for leaf, shape in sorted(here.items()))} is no RNN, GRU or "
        "LSTM of PyTorch; give its arrays and cell as gatefield.Layer"
    )


def refuse_bidirectional(name: str) -> None:
    """One line that names the layer."""
    raise ValueError(
        f"layer {name!r} is bidirectional: its two directions are two autonomous layers, and no step in time is a step "
        "of both; read each as a layer of its own, with the inputs reversed for the second"
    )


def refuse_projections(name: str) -> None:
    """One line that names the layer."""
    raise ValueError(
        f"layer {name!r} has projections (proj_size): its recurrent weights have the rank of the projection, so that "
        "the theory of full random weights is not its own; use proj_size=0"
    )
