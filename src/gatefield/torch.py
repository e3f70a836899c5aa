"""PyTorch's recurrent layers: `import gatefield.torch as gt`. Needs the extra `torch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from gatefield.cells.cell import Activation, relu, tanh
from gatefield.layers.checkpoints import as_array, read_layers
from gatefield.layers.conventions import TORCH, Found, layer_name, refuse_bidirectional, refuse_projections
from gatefield.layers.diagnosis import Diagnoses, diagnose_layers
from gatefield.layers.initialisation import Initialisation, Initialisations, achieved, initialize_layer
from gatefield.layers.layer import Layer
from gatefield.running.arguments import whole

try:
    torch: Any = import_module("torch")  # the framework: type checkers take the name for this module
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"gatefield.torch needs {error.name}: pip install 'gatefield[torch]'", name=error.name
    ) from None

nn: Any = torch.nn
_SEQUENCES = 8

__all__ = ["diagnose", "initialize_", "read"]


def read(model: Any) -> dict[str, Layer]:
    """The recurrent layers of a module tree, of a state dict or of a checkpoint, by name.

    Of a stack, nn.LSTM(…, num_layers=2) at `rnn`, each layer is one: rnn.l0 and rnn.l1.

    Args:
        model: an nn.RNN, nn.GRU, nn.LSTM, one of their cells, any module that holds such; a state dict; or a path. From
            the latter two an RNN counts as one with tanh.

    Raises:
        ValueError: no recurrent layer, one that is not supported (bidirectional, proj_size), or values that are not
            finite.
    """
    if not isinstance(model, nn.Module):
        return read_layers(model)
    return {name: part.read() for name, part in recurrent_modules(model).items()}


def diagnose(model: Any, *, inputs: Any = None, sequences: int = 8, **options: Any) -> Diagnoses:
    """What the recurrent layers of a module tree do along their own inputs, beside the theory: see `diagnose_layer`.

    Args:
        model: as for `read`.
        inputs: what the model is called with, a tensor, or a tuple or dict of arguments: it is run once in evaluation
            mode, without gradients, and each layer's own inputs are recorded. For a state dict or a path, the inputs of
            the layer, (steps, M) or (sequences, steps, M), or such by layer.
        sequences: how many of the batch to use.
        options: of `diagnose_layer`.

    Returns:
        Diagnoses by layer; `str` of it says the verdicts.

    Raises:
        ValueError: as `read` and `diagnose_layer` do, or a layer that the call never reached.
    """
    count = whole("sequences", sequences)
    if not isinstance(model, nn.Module):
        return diagnose_layers(read(model), inputs=inputs, **options)
    layers, parts = read(model), recurrent_modules(model)
    recorded = None if inputs is None else _recorded(model, parts, inputs, count)
    return diagnose_layers(layers, inputs=recorded, **options)


def initialize_(
    model: Any, *, target: Any = "edge", inputs: Any = None, seed: int = 0, **options: Any
) -> Initialisations:
    """New weights, in place, for every recurrent layer of a module tree: see `initialize_layer`.

    Layers come in the order in which the model reaches them, each on the inputs that the layers before it, with their
    new weights, make of `inputs`. Weights keep their dtype and device. What is returned as achieved was measured on the
    weights as they were written.

    Args:
        model: an nn.RNN, nn.GRU, nn.LSTM, one of their cells, or any module that holds such.
        target: "edge", {"spectral_radius": r}, {"timescale": steps} or {"slow_modes": share}.
        inputs: what the model is called with; see `diagnose`. Without them each layer is taken as left alone.
        seed: of everything drawn; the i-th layer has seed + i.
        options: of `initialize_layer`: gain, bias, input_gain, keep, theory.

    Returns:
        What was chosen for each layer, and what it achieves; `str` of it says so in a line each.

    Raises:
        ValueError: as `read` and `initialize_layer` do. Layers before the one refused have their new weights then.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model={type(model).__name__} must be a module, whose weights can be set in place")
    parts = recurrent_modules(model)
    order = list(parts) if inputs is None else _order(model, parts, inputs)
    found: dict[str, Initialisation] = {}
    fed: Any = None
    for i, name in enumerate(order):
        part = parts[name]
        if inputs is not None:
            above = part.number and found[order[i - 1]].layer
            fed = above.outputs(fed) if above else _recorded(model, {name: part}, inputs, _SEQUENCES)[name]
        made = initialize_layer(part.read(), target=target, inputs=fed, seed=seed + i, **options)
        part.write(made.layer)
        written = part.read()
        found[name] = replace(made, layer=written, achieved=achieved(written, made.target, fed, seed=seed + i + 1))
    return Initialisations(found)


def _order(model: Any, parts: Mapping[str, Part], inputs: Any) -> list[str]:
    """The layers in the order in which the model reaches them, stacked ones one after the other."""
    reached = list(_recorded(model, parts, inputs, 1))
    return [n for first in reached for n, part in parts.items() if part.module is parts[first].module]


def _recorded(model: Any, parts: Mapping[str, Part], inputs: Any, count: int) -> dict[str, Any]:
    """Inputs (sequences, steps, M) of the lowest layer of each recurrent module, in the order of one run."""
    lowest = {part.module: name for name, part in parts.items() if not part.number}
    seen: dict[str, list[Any]] = {}

    def note(module: Any, arguments: Any, named: Any) -> None:
        seen.setdefault(lowest[module], []).append(arguments[0] if arguments else named["input"])

    hooks = [module.register_forward_pre_hook(note, with_kwargs=True) for module in lowest]
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            _call(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    for name in lowest.values():
        if name not in seen:
            raise ValueError(f"layer {name!r} was not reached when the model was called with these inputs; give others")
    return {name: _as_sequences(name, parts[name].module, found)[:count] for name, found in seen.items()}


def _call(model: Any, inputs: Any) -> None:
    if isinstance(inputs, Mapping):
        model(**inputs)
    elif isinstance(inputs, tuple) and not isinstance(inputs, nn.utils.rnn.PackedSequence):
        model(*inputs)
    elif isinstance(model, nn.RNNCellBase):  # a sequence, step by step
        state = None
        for step in inputs:
            state = model(step, state)
    else:
        model(inputs)


def _as_sequences(name: str, module: Any, found: list[Any]) -> Any:
    if isinstance(found[0], nn.utils.rnn.PackedSequence):
        raise ValueError(f"layer {name!r} was given packed sequences; give a batch of sequences of equal length")
    if isinstance(module, nn.RNNCellBase):  # one call for each step
        steps = torch.stack(found)
        return as_array(steps[None] if steps.ndim == 2 else steps.transpose(0, 1))
    first = found[0]
    if first.ndim == 3 and not module.batch_first:
        first = first.transpose(0, 1)
    return as_array(first[None] if first.ndim == 2 else first)


class Part:
    """One layer of a recurrent module, and where in the module it is."""

    def __init__(self, name: str, module: Any, number: int | None) -> None:
        self.name, self.module, self.number = name, module, number
        suffix = "" if number is None else f"_l{number}"
        leaves = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if module.bias else ("weight_ih", "weight_hh")
        convention = TORCH[kind_of(module)]
        self.found = Found(name, convention, {leaf: leaf + suffix for leaf in leaves})
        self.activation: Activation = relu if getattr(module, "nonlinearity", "tanh") == "relu" else tanh

    def read(self) -> Layer:
        """The layer as it is now."""
        arrays = {key: as_array(getattr(self.module, key)) for key in self.found.keys.values()}
        return self.found.read(arrays, activation=self.activation)

    def write(self, layer: Layer) -> None:
        """Set the module's parameters, of whatever dtype and wherever they are."""
        parameters = {leaf: getattr(self.module, key) for leaf, key in self.found.keys.items()}
        arrays = self.found.convention.write(layer, {leaf: tuple(p.shape) for leaf, p in parameters.items()})
        with torch.no_grad():
            for leaf, parameter in parameters.items():
                parameter.copy_(torch.as_tensor(arrays[leaf]))


def kind_of(module: Any) -> str:
    """Its key in `TORCH`."""
    kinds = {"RNN": (nn.RNN, nn.RNNCell), "GRU": (nn.GRU, nn.GRUCell), "LSTM": (nn.LSTM, nn.LSTMCell)}
    return next(kind for kind, classes in kinds.items() if isinstance(module, classes))


def recurrent_modules(model: Any) -> dict[str, Part]:
    """Every recurrent layer of a module tree, by name.

    Raises:
        ValueError: none, or one that is not supported.
    """
    parts: dict[str, Part] = {}
    for path, module in model.named_modules():
        if not isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            continue
        _check(path or "layer", module)
        stacked = isinstance(module, nn.RNNBase)
        for number in range(module.num_layers if stacked else 1):
            name = layer_name(path, number, module.num_layers) if stacked else path or "layer"
            parts[name] = Part(name, module, number if stacked else None)
    if not parts:
        raise ValueError(
            f"{type(model).__name__} has no recurrent layer: no nn.RNN, nn.GRU, nn.LSTM nor one of their cells; give "
            "the arrays of a cell of your own as gatefield.Layer"
        )
    return parts


def _check(name: str, module: Any) -> None:
    if getattr(module, "bidirectional", False):
        refuse_bidirectional(name)
    if getattr(module, "proj_size", 0):
        refuse_projections(name)
    known = (nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell)
    if not isinstance(module, known):
        raise ValueError(
            f"layer {name!r} is a {type(module).__name__}, none of nn.RNN, nn.GRU, nn.LSTM and their cells; give its "
            "arrays and cell as gatefield.Layer"
        )
