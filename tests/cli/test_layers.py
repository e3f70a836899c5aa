"""`gatefield diagnose` and `gatefield init`: what they print and write, and how they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.commands import Command

# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


def checkpoint(path: Path, layers: int = 1) -> None:
    rng, state = np.random.default_rng(0), {}
    for i in range(layers):
        state[f"encoder.weight_ih_l{i}"] = rng.normal(size=(90, 30 if i else 4)) / 2.0
        state[f"encoder.weight_hh_l{i}"] = rng.normal(size=(90, 30)) / np.sqrt(30)
    save_file(state, path)


def test_diagnose_command(gatefield: Command) -> None:
    checkpoint(Path("a.safetensors"))
    np.save("x.npy", np.random.default_rng(0).normal(size=(2, 40, 4)))
    arguments = ("diagnose", "a.safetensors", "--inputs", "x.npy", "--no-theory")
    shown = gatefield(*arguments, "--output", "d.png")
    assert shown.code == 0, shown.err
    assert "encoder: torch GRU, 4 inputs, 30 units, float64: vanishing" in shown.out
    assert "largest exponent" in shown.out
    assert Path("d.png").stat().st_size > 10_000
    found = gatefield(*arguments, "--json").json
    assert found["name"] == "encoder"
    assert found["theory"] is None


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (lambda: None, ("nothing.npz",), "there is no file 'nothing.npz'"),
        (lambda: np.savez("a.npz", head=np.ones(3)), ("a.npz",), "no recurrent layer"),
        (lambda: checkpoint(Path("a.safetensors"), 2), ("a.safetensors",), "'encoder.l0', 'encoder.l1'"),
        (lambda: checkpoint(Path("a.safetensors")), ("a.safetensors", "--inputs", "x.npy"), "--inputs 'x.npy'"),
        (lambda: checkpoint(Path("a.safetensors")), ("a.safetensors", "--output", "d.doc"), "suffix"),
    ],
)
def test_what_the_command_refuses(
    gatefield: Command, prepare: Callable[[], Any], arguments: tuple[str, ...], message: str
) -> None:
    prepare()
    shown = gatefield("diagnose", *arguments)
    assert shown.code == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_init_command(gatefield: Command) -> None:
    shown = gatefield("init", "lstm", "--hidden", "64", "--bias", "forget=1", "--target", "timescale=50")
    assert shown.code == 0, shown.err
    assert "64 units, no inputs, target timescale 50" in shown.out
    assert "std of recurrent weights" in shown.out
    found = gatefield("init", "lstm", "--hidden", "64", "--target", "edge", "--json").json
    assert found["converged"]
    assert found["weight_std"]["forget"] == found["gain"]["forget"] / 8.0
    assert found["theory"]["factor"] > 1.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lstm", "--hidden", "8", "--target", "chaos"), "target='chaos' is not known"),
        (("lstm", "--hidden", "8", "--target", "timescale=soon"), "'soon' is not a number"),
        (("lstm", "--hidden", "8", "--gain", "reset=1"), "no 'reset'"),
        (("transformer", "--hidden", "8"), "cell 'transformer' is not known"),
        (("lstm",), "--hidden"),
        (("vanilla", "--hidden", "8", "--target", "slow-modes=0.1"), "no gate that holds"),
    ],
)
def test_what_init_refuses(gatefield: Command, arguments: tuple[str, ...], message: str) -> None:
    shown = gatefield("init", *arguments)
    assert shown.code == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1
