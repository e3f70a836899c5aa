"""Recurrent layers of Flax and of files: their own forward pass against ours, and what is refused."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import gatefield as gf
from gatefield.cells.cell import relu
from gatefield.layers.checkpoints import chosen_layer, flatten

pytest.importorskip("flax")

from flax import linen, nnx

import gatefield.flax as gx

STEPS, INPUTS, UNITS = 50, 3, 5
U = np.random.default_rng(0).normal(size=(2, STEPS, INPUTS))
SOME = nnx.initializers.normal(0.5)
TORCH_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def outputs(layer: gf.Layer, u: np.ndarray = U) -> np.ndarray:
    return np.stack([path.states[:, :, -1] for path in layer.run_batch(u)])


def torch_state(kind: str, prefix: str = "", layers: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, state = TORCH_GATES[kind] * UNITS, {}
    for i in range(layers):
        state[f"{prefix}weight_ih_l{i}"] = rng.normal(size=(rows, UNITS if i else INPUTS))
        state[f"{prefix}weight_hh_l{i}"] = rng.normal(size=(rows, UNITS))
        state |= {f"{prefix}bias_{which}_l{i}": rng.normal(size=rows) for which in ("ih", "hh")}
    return state


@pytest.mark.parametrize("cell", ["SimpleCell", "GRUCell", "LSTMCell", "OptimizedLSTMCell"])
def test_nnx(cell: str) -> None:
    module = getattr(nnx, cell)(
        INPUTS, UNITS, rngs=nnx.Rngs(1), param_dtype=np.float64, dtype=np.float64, bias_init=SOME
    )
    layer = gx.read(module)["layer"]
    assert layer.framework == f"flax.nnx {cell}"
    assert (layer.width, layer.size, layer.dtype) == (INPUTS, UNITS, "float64")
    np.testing.assert_allclose(outputs(layer), nnx.RNN(module)(U), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["SimpleCell", "GRUCell", "LSTMCell", "OptimizedLSTMCell"])
def test_linen(cell: str) -> None:
    module = linen.RNN(getattr(linen, cell)(UNITS, param_dtype=np.float64, dtype=np.float64, bias_init=SOME))
    variables = module.init(jax.random.key(1), U)
    layers = gx.read(variables)
    assert list(layers) == ["cell"]
    np.testing.assert_allclose(outputs(layers["cell"]), module.apply(variables, U), rtol=0, atol=1e-12)


def test_an_activation_of_ones_own() -> None:
    module = nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(1), param_dtype=np.float64, activation_fn=jax.nn.softplus)
    layer = gx.read(module)["layer"]
    np.testing.assert_allclose(outputs(layer), nnx.RNN(module)(U), rtol=0, atol=1e-12)


def test_single_precision_within_its_rounding() -> None:
    module = nnx.LSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
    layer = gx.read(module)["layer"]
    assert layer.dtype == "float32"
    np.testing.assert_allclose(outputs(layer), nnx.RNN(module)(U.astype(np.float32)), rtol=0, atol=1e-6)


class Tree(nnx.Module):
    def __init__(self, *cells: Any) -> None:
        self.stack = nnx.List(cells)
        self.head = nnx.Linear(UNITS, 2, rngs=nnx.Rngs(0))


def test_a_module_tree_names_its_layers() -> None:
    rngs = nnx.Rngs(0)
    tree = Tree(nnx.RNN(nnx.GRUCell(3, 5, rngs=rngs)), nnx.LSTMCell(5, 4, rngs=rngs))
    layers = gx.read(tree)
    assert list(layers) == ["stack.0.cell", "stack.1"]
    assert [layer.size for layer in layers.values()] == [5, 4]
    # the same from its state, as a checkpoint keeps it
    state = gx.read(nnx.to_pure_dict(nnx.state(tree, nnx.Param)))
    assert list(state) == list(layers)
    for name, layer in layers.items():
        np.testing.assert_array_equal(outputs(state[name], layer_inputs(layer)), outputs(layer, layer_inputs(layer)))


def layer_inputs(layer: gf.Layer) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(1, 20, layer.width))


@pytest.mark.parametrize("kind", TORCH_GATES)
def test_a_written_layer_reads_the_same(kind: str, tmp_path: Path) -> None:
    """Reading and writing undo each other, in every convention and by way of files."""
    from gatefield.layers.conventions import find

    state = torch_state(kind, "encoder.rnn.", layers=2)
    save_file(state, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **state)  # pyright: ignore[reportArgumentType]
    for source in (state, tmp_path / "a.safetensors", str(tmp_path / "a.npz")):
        layers = gf.layers.read_layers(source)
        assert list(layers) == ["encoder.rnn.l0", "encoder.rnn.l1"]
    found = find({key: value.shape for key, value in state.items()})
    for name, layer in gf.layers.read_layers(state).items():
        shapes = {leaf: state[key].shape for leaf, key in found[name].keys.items()}
        written = found[name].convention.write(layer, shapes)
        again = found[name].convention.read(written, name=name)
        u = layer_inputs(layer)
        np.testing.assert_allclose(outputs(again, u), outputs(layer, u), rtol=0, atol=1e-12)


def test_a_bias_that_is_not_kept_is_not_lost() -> None:
    found = gx.cells_of(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0)))["layer"].found
    layer = gf.layers.read_layers(torch_state("GRU"))["layer"]
    with pytest.raises(ValueError, match="keeps no bias of 'candidate'"):
        found.convention.write(layer, {"dense_h/kernel": (5, 15), "dense_i/kernel": (3, 15), "dense_i/bias": (15,)})


def test_relu_layers_read_as_such() -> None:
    layer = gf.layers.read_layers(torch_state("RNN"), activation=relu)["layer"]
    assert outputs(layer.scaled(0.1)).min() == 0.0
    assert outputs(layer.scaled(0.1)).max() > 1.0


def test_statistics_of_a_layer() -> None:
    """Gains, biases, and the current of inputs against that of the layer itself."""
    rng = np.random.default_rng(0)
    n, m = 400, 30
    weights = {name: rng.normal(size=(n, n)) * a / np.sqrt(n) for name, a in (("update", 0.5), ("candidate", 2.0))}
    current = {"current": rng.normal(size=(n, m)) / np.sqrt(m)}
    layer = gf.Layer(gf.GRU(reset_after=True), weights, current, {"update": 1.0 + rng.normal(size=n)})
    u = rng.normal(size=(2, 60, m)).cumsum(axis=1) / 5.0 + 1.0
    ensemble = layer.ensemble(u)
    assert ensemble.gain["update"] == pytest.approx(0.5, rel=0.01)
    assert ensemble.gain["candidate"] == pytest.approx(2.0, rel=0.01)
    assert ensemble.gain["reset"] == 0.0
    assert ensemble.bias_mean["update"] == pytest.approx(1.0, abs=0.15)
    assert ensemble.bias_var["update"] == pytest.approx(1.0, abs=0.2)
    moments = ensemble.current["current"].autocovariance
    found = layer.currents(u)["current"]
    assert moments(0) == pytest.approx(np.mean(found**2), rel=0.15)
    lagged = np.mean(found[:, :-20] * found[:, 20:])
    assert moments(20) == pytest.approx(lagged, rel=0.25)
    ensemble.current["current"].covariance(200)  # it is one
    constant = layer.ensemble(np.ones((10, m))).current["current"]
    assert isinstance(constant, gf.ConstantCurrent)
    assert constant.variance == pytest.approx(1.0, rel=0.1)


def test_a_layer_is_a_network() -> None:
    layer = gf.layers.read_layers(torch_state("LSTM"))["layer"]
    network = layer.network()
    path = layer.run(steps=30)
    np.testing.assert_allclose(network.run(30, initial=0.0).last, path.last, rtol=0, atol=1e-12)
    jacobian = network.jacobian(path.snapshot())
    step = lambda s: layer.run(steps=1, state=s).last  # noqa: E731
    s = path.before[-1]
    probe = np.zeros_like(s)
    probe[2, 0] = 1e-6
    column = (step(s + probe) - step(s - probe)).T.ravel() / 2e-6
    np.testing.assert_allclose(jacobian[:, 2], column, rtol=0, atol=1e-8)


WRONG: list[tuple[str, Callable[[], Any], str]] = [
    ("no layer", lambda: gf.layers.read_layers({"head.weight": np.ones((2, 2))}), "no recurrent layer"),
    ("a tree without", lambda: gx.read(nnx.Linear(2, 2, rngs=nnx.Rngs(0))), "Linear has no recurrent layer"),
    ("linen's module", lambda: gx.read(linen.GRUCell(3)), "give its variables"),
    ("residual", lambda: gx.read(nnx.SimpleCell(3, 5, residual=True, rngs=nnx.Rngs(0))), "residual=True"),
    (
        "gates",
        lambda: gx.read(nnx.GRUCell(3, 5, gate_fn=jax.nn.hard_sigmoid, rngs=nnx.Rngs(0))),
        "gate_fn",
    ),
    (
        "both directions",
        lambda: gf.layers.read_layers({**torch_state("GRU", "rnn."), "rnn.weight_hh_l0_reverse": np.ones((15, 5))}),
        "'rnn' is bidirectional",
    ),
    (
        "projections",
        lambda: gf.layers.read_layers({**torch_state("LSTM", "rnn."), "rnn.weight_hr_l0": np.ones((2, 5))}),
        "'rnn' has projections",
    ),
    (
        "shapes",
        lambda: gf.layers.read_layers({"a.weight_ih": np.ones((10, 3)), "a.weight_hh": np.ones((10, 5))}),
        "layer 'a'",
    ),
    (
        "minimal gated unit",
        lambda: gx.read(linen.MGUCell(4).init(jax.random.key(0), np.ones((1, 4)), np.ones((1, 3)))),
        "no cell of Flax that is known",
    ),
    (
        "NaN",
        lambda: gf.layers.read_layers({**torch_state("GRU", "rnn."), "rnn.weight_hh_l0": np.full((15, 5), np.nan)}),
        "layer 'rnn': 25 of 25 values of weights['update'] are not finite",
    ),
    ("width", lambda: gf.layers.read_layers(torch_state("GRU"))["layer"].run(np.ones((9, 4))), "takes 3 inputs"),
    ("two layers", lambda: chosen_layer(gf.layers.read_layers(torch_state("GRU", layers=2)), None), "'l0', 'l1'"),
    (
        "wrong name",
        lambda: chosen_layer(gf.layers.read_layers(torch_state("GRU", layers=2)), "x"),
        "no recurrent layer 'x'",
    ),
    ("suffix", lambda: gf.layers.read_layers("model.onnx"), "suffix must be one of .safetensors, .npz"),
    ("no file", lambda: gf.layers.read_layers("model.npz"), "there is no file 'model.npz'"),
    ("unknown name", lambda: gf.Layer(gf.LSTM(), {"reset": np.ones((2, 2))}), "no 'reset'"),
    ("not square", lambda: gf.Layer(gf.Vanilla(), {"input": np.ones((2, 3))}), "must be square"),
    ("no weights", lambda: gf.Layer(gf.Vanilla(), {}), "no recurrent weights"),
    (
        "sourceless",
        lambda: gf.Layer(gf.GRU(reset_after=True), {"update": np.ones((2, 2)), "current": np.ones((2, 2))}),
        "'current' has no recurrent weights",
    ),
]


@pytest.mark.parametrize(("make", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_one_line_says_what_to_do(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".npz"):
        (tmp_path / f"a{suffix}").write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match="safetensors|code"):
            gf.layers.read_layers(tmp_path / f"a{suffix}")
    with (tmp_path / "b.npz").open("wb") as file:  # an object array needs pickle
        np.savez(file, weight_hh=np.array([{"a": 1}], dtype=object), weight_ih=np.ones(2))
    with pytest.raises(ValueError, match="without running code"):
        gf.layers.read_layers(tmp_path / "b.npz")


def test_half_precision_files(tmp_path: Path) -> None:
    state = {key: np.asarray(jax.numpy.bfloat16(value)) for key, value in torch_state("GRU").items()}
    save_file({key: value.astype(np.float16) for key, value in state.items()}, tmp_path / "half.safetensors")
    layer = gf.layers.read_layers(tmp_path / "half.safetensors")["layer"]
    assert layer.dtype == "float16"


def test_missing_framework_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib
    import sys

    for framework in ("torch", "flax"):
        monkeypatch.setitem(sys.modules, framework, None)
        monkeypatch.delitem(sys.modules, f"gatefield.{framework}", raising=False)
        with pytest.raises(ModuleNotFoundError, match=rf"pip install 'gatefield\[{framework}\]'"):
            importlib.import_module(f"gatefield.{framework}")
    (tmp_path / "a.pt").write_bytes(pickle.dumps({}))
    with pytest.raises(ModuleNotFoundError, match=r"gatefield\[torch\]"):
        gf.layers.read_layers(tmp_path / "a.pt")


def test_flatten_leaves_out_what_is_no_array() -> None:
    assert list(flatten({"a": {"b": np.ones(2), "epoch": 3}, "c": np.ones(1)})) == ["a.b", "c"]
