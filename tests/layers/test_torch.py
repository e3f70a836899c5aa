"""PyTorch's recurrent layers. Skipped where PyTorch is missing; `.ci/run` runs them with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gatefield as gf

torch = pytest.importorskip("torch")
nn = torch.nn
gt = pytest.importorskip("gatefield.torch")
pytestmark = pytest.mark.torch

STEPS, INPUTS, UNITS = 50, 3, 5


def inputs(width: int = INPUTS) -> Any:
    return torch.randn(2, STEPS, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def outputs(layer: gf.Layer, u: Any) -> np.ndarray:
    return np.stack([path.states[:, :, -1] for path in layer.run_batch(np.asarray(u))])


def make(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return getattr(nn, kind)(INPUTS, UNITS, dtype=torch.float64, **options)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"), [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {})]
)
def test_stacks(kind: str, options: dict[str, Any], bias: bool) -> None:
    """Two layers, over 50 steps, each fed by the one below."""
    module = make(kind, num_layers=2, batch_first=True, bias=bias, **options)
    layers = gt.read(module)
    assert list(layers) == ["l0", "l1"]
    x: Any = inputs()
    for layer in layers.values():
        x = outputs(layer, x)
    np.testing.assert_allclose(x, module(inputs())[0].detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "options"), [("RNNCell", {"nonlinearity": "relu"}), ("GRUCell", {}), ("LSTMCell", {})]
)
def test_cells(kind: str, options: dict[str, Any]) -> None:
    module, state, found = make(kind, **options), None, []
    for u in inputs().transpose(0, 1):
        state = module(u, state)
        found.append((state[0] if isinstance(state, tuple) else state).detach().numpy())
    layer = gt.read(module)["layer"]
    np.testing.assert_allclose(outputs(layer, inputs()), np.stack(found, axis=1), rtol=0, atol=1e-12)


def test_single_precision_within_its_rounding() -> None:
    torch.manual_seed(0)
    module = nn.LSTM(INPUTS, UNITS, batch_first=True)
    layer = gt.read(module)["layer"]
    assert layer.dtype == "float32"
    expected = module(inputs().float())[0].detach().numpy()
    np.testing.assert_allclose(outputs(layer, inputs().float()), expected, rtol=0, atol=1e-6)


def tree() -> Any:
    return nn.ModuleDict({"encoder": make("GRU"), "head": nn.Linear(UNITS, 2)})


def test_trees_and_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = tree()
    torch.save(model.state_dict(), tmp_path / "a.pt")
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "b.pt")
    half = {key: value.bfloat16() for key, value in model.state_dict().items()}
    save_file(half, tmp_path / "a.safetensors")
    expected = outputs(gt.read(model)["encoder"], inputs())
    for source in (model.state_dict(), tmp_path / "a.pt"):
        np.testing.assert_array_equal(outputs(gt.read(source)["encoder"], inputs()), expected)
    assert list(gf.layers.read_layers(tmp_path / "b.pt")) == ["state_dict.encoder"]
    layer = gf.layers.read_layers(tmp_path / "a.safetensors")["encoder"]
    assert layer.dtype == "bfloat16"
    np.testing.assert_allclose(outputs(layer, inputs()), expected, rtol=0, atol=0.02)


def test_a_pickle_that_needs_code_is_not_run(tmp_path: Path) -> None:
    torch.save(tree(), tmp_path / "whole.pt")
    with pytest.raises(ValueError, match="needs code to run") as caught:
        gf.layers.read_layers(tmp_path / "whole.pt")
    assert "\n" not in str(caught.value)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds a list, not a state dict"):
        gf.layers.read_layers(tmp_path / "list.pt")


class OwnCell(nn.RNNCellBase):
    def __init__(self) -> None:
        super().__init__(INPUTS, UNITS, bias=True, num_chunks=2)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: nn.Linear(2, 2), "Linear has no recurrent layer"),
        (lambda: nn.Sequential(make("GRU", bidirectional=True)), "layer '0' is bidirectional"),
        (lambda: nn.Sequential(make("LSTM", proj_size=2)), "layer '0' has projections"),
        (lambda: nn.Sequential(OwnCell()), "layer '0' is a OwnCell"),
    ],
)
def test_one_line_says_what_to_do(module: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        gt.read(module())
    assert "\n" not in str(caught.value)


def test_nan_names_the_layer() -> None:
    model = tree()
    with torch.no_grad():
        model["encoder"].weight_hh_l0[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"layer 'encoder': 1 of 25 values of weights\['reset'\] are not finite"):
        gt.read(model)


@pytest.mark.parametrize(
    ("kind", "names"), [("GRU", ("update", "reset", "candidate")), ("LSTM", gf.LSTM().preactivation_names)]
)
def test_default_weights(kind: str, names: tuple[str, ...]) -> None:
    """U(±1/√N) is a gain of 1/√3 for every gate; with zero biases a radius of ½ + 1/(4√3) = 0.644 at the zero state."""
    torch.manual_seed(0)
    layer = gt.read(getattr(nn, kind)(INPUTS, 300))["layer"]
    for name in names:
        assert layer.gain[name] == pytest.approx(1.0 / np.sqrt(3.0), rel=3e-3)
    unbiased = gf.Ensemble(layer.cell, layer.gain)
    assert gf.spectra.zero_fixed_point(unbiased).spectral_radius == pytest.approx(0.644, abs=1e-3)


@pytest.mark.parametrize(("kind", "forget", "radius"), [("GRU", 0.0, 0.75), ("LSTM", 0.0, 0.75), ("LSTM", 1.0, 0.981)])
def test_orthogonal_weights(kind: str, forget: float, radius: float) -> None:
    """A gain of 1 for every gate: ½ + ¼ at the zero state, and σ(1) + ¼ with a forget bias of 1."""
    torch.manual_seed(0)
    module = getattr(nn, kind)(INPUTS, 200)
    with torch.no_grad():
        for block in module.weight_hh_l0.chunk(len(module.weight_hh_l0) // 200):
            nn.init.orthogonal_(block)
        module.bias_ih_l0.zero_()
        module.bias_hh_l0.zero_()
        if forget:
            module.bias_ih_l0[200:400] = forget  # i, f, g, o
    layer = gt.read(module)["layer"]
    assert max(layer.gain.values()) == pytest.approx(1.0, rel=3e-3)
    ensemble = layer.ensemble()
    assert gf.spectra.zero_fixed_point(ensemble).spectral_radius == pytest.approx(radius, abs=3e-3)


# ---- diagnosis ----


class Model(nn.Module):
    """A stack whose layers are reached in ways of their own: keyword, time first, cell by cell."""

    def __init__(self) -> None:
        super().__init__()
        self.lower = make("GRU")
        self.dropout = nn.Dropout(0.5)
        self.cell = nn.LSTMCell(UNITS, 4, dtype=torch.float64)

    def forward(self, u: Any) -> Any:
        x = self.dropout(self.lower(input=u)[0])
        state = None
        for step in x:
            state = self.cell(step, state)
        return state


def test_each_layer_is_diagnosed_on_its_own_inputs() -> None:
    model = Model().train()
    u = inputs().transpose(0, 1)
    found = gt.diagnose(model, inputs=u, theory=False, exponents=2)
    assert list(found) == ["lower", "cell"]
    assert model.training
    assert model.dropout.training
    layers = gt.read(model)
    x = outputs(layers["lower"], u.transpose(0, 1))
    np.testing.assert_allclose(found["lower"].path.states[:, :, 0], x[0], rtol=0, atol=1e-12)
    expected = outputs(layers["cell"], x)
    np.testing.assert_allclose(found["cell"].path.states[:, :, 1], expected[0], rtol=0, atol=1e-12)
    again = gt.diagnose(model, inputs={"u": u}, theory=False, exponents=2)
    assert again["cell"].exponent.value == found["cell"].exponent.value


def test_layers_that_are_not_reached() -> None:
    model = Model()
    model.unused = make("RNN")
    with pytest.raises(ValueError, match="layer 'unused' was not reached"):
        gt.diagnose(model, inputs=inputs().transpose(0, 1), theory=False)
    packed = nn.utils.rnn.pack_padded_sequence(inputs(), [50, 40], batch_first=True)
    with pytest.raises(ValueError, match="packed sequences"):
        gt.diagnose(make("GRU"), inputs=packed, theory=False)


# ---- initialisation ----


def test_layers_are_initialised_in_place_one_after_the_other() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.LSTM(8, 64, num_layers=2, batch_first=True))
    head = model[0].weight.clone()
    u = torch.randn(4, 100, 4)
    parameters = dict(model.named_parameters())
    found = gt.initialize_(model, target="edge", inputs=u, bias={"forget": 1.0}, theory=False)
    assert list(found) == ["1.l0", "1.l1"]
    for name, parameter in model.named_parameters():
        assert parameter is parameters[name]
        assert parameter.dtype == torch.float32
        assert parameter.requires_grad
    assert torch.equal(model[0].weight, head)
    layers = gt.read(model)
    x = model[0](u).detach().numpy()
    for i, (name, layer) in enumerate(layers.items()):
        measured = gf.layers.layer_exponent(layer, x, seed=i + 1)
        assert measured.value == pytest.approx(found[name].achieved.value, abs=1e-9)
        assert abs(measured.value) < 0.01
        np.testing.assert_array_equal(layer.bias("forget"), np.ones(64))
        x = outputs(layer, x)
    assert "target edge, achieved λ_max" in str(found)
    with pytest.raises(ValueError, match="must be a module"):
        gt.initialize_(model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("fed", [False, True], ids=["alone", "inputs"])
def test_the_edge_at_512_units(kind: str, fed: bool) -> None:
    module = getattr(nn, kind)(128, 512, batch_first=True)
    u = torch.randn(4, 150, 128, generator=torch.Generator().manual_seed(2)) if fed else None
    gt.initialize_(module, target="edge", inputs=u, seed=5, theory=False)
    layer = gt.read(module)["layer"]
    if u is None:
        found = layer.network().lyapunov_spectrum(200, count=1, transient=400, seed=1).largest.value
    else:
        paths = layer.run_batch(np.asarray(u))
        each = [gf.networks.lyapunov_along(p, layer.weights, count=1, transient=40).largest.value for p in paths]
        found = np.mean(each)
    assert abs(found) < 0.01
