"""The command line: what it prints and writes, and how it refuses."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from tests.commands import Command

# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

GAINS = ("--gain", "update=3", "--gain", "reset=2", "--gain", "candidate=4")
SMALL = ("--steps", "24", "--samples", "200")
SMALL_NETWORK = ("--size", "60", "--networks", "2")


def is_estimate(value: Any) -> bool:
    return set(value) == {"value", "error"} and all(v is None or isinstance(v, float) for v in value.values())


# ---- what it does ----


def test_report(gatefield: Command, tmp_path: Path) -> None:
    done = gatefield("report", "gru", *GAINS, *SMALL, *SMALL_NETWORK, "--output", "report.png")
    assert done.code == 0, done.err
    for said in (
        "GRU",
        "variance of h",
        "autocorrelation time",
        "spectral radius",
        "fraction of slow modes",
        "theory",
        "simulation",
        "2 networks of 60 neurons",
        "Figure: report.png",
    ):
        assert said in done.out
    assert re.search(r"quiescent|fixed point|chaotic", done.out)
    assert "±" in done.out
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["report.png"]


def test_report_as_json(gatefield: Command, tmp_path: Path) -> None:
    told = gatefield("report", "lstm", "--gain", "cell=4", *SMALL, *SMALL_NETWORK, "--seed", "5", "--json").json
    assert set(told["state_variances"]) == {"c", "h"}
    pairs = [*told["state_variances"].values()]
    pairs += [told[name] for name in ("autocorrelation_time", "spectral_radius", "fraction_of_slow_modes")]
    for pair in pairs:
        assert set(pair) == {"theory", "simulation"}
        assert all(is_estimate(e) for e in pair.values())
    assert told["regime"] in ("quiescent", "fixed point", "chaotic")
    assert told["converged"] is (told["messages"] == [])
    assert told["ensemble"]["gain"] == {"forget": 0.0, "input": 0.0, "output": 0.0, "cell": 4.0}
    assert (told["steps"], told["size"], told["networks"], told["seed"]) == (24, 60, 2, 5)
    assert not list(tmp_path.iterdir())


def test_mean_field_as_json(gatefield: Command) -> None:
    gains = ("--gain", "forget=2", "--gain", "input=1", "--gain", "output=3", "--gain", "cell=3")
    told = gatefield("mean-field", "lstm", *gains, *SMALL, "--json").json
    names = {"c", "h", "forget", "input", "output", "cell"}
    for what in ("mean", "variance", "autocorrelation_time"):
        assert set(told[what]) == names
        assert all(is_estimate(e) for e in told[what].values())
    assert told["variance"]["h"]["value"] > 0.0
    assert len(told["autocorrelation"]["h"]["value"]) == len(told["lags"])
    assert isinstance(told["converged"], bool)


def test_mean_field_as_text(gatefield: Command) -> None:
    done = gatefield("mean-field", "mgu", "--gain", "candidate=4", "--bias-mean", "forget=1", *SMALL)
    assert done.code == 0
    for said in ("MGU", "mean", "variance", "autocorrelation time", "candidate"):
        assert said in done.out


def test_spectrum_as_json(gatefield: Command) -> None:
    discs = ("--disc", "0,0,0.3", "--disc", "0.5,-0.25,2.5")
    told = gatefield("spectrum", "gru", *GAINS, *SMALL, "--size", "60", *discs, "--json").json
    assert set(told["spectral_radius"]) == {"theory", "simulation"}
    assert [d["center"] for d in told["discs"]] == [[0.0, 0.0], [0.5, -0.25]]
    assert [d["radius"] for d in told["discs"]] == [0.3, 2.5]
    small, large = (d["mass"] for d in told["discs"])
    assert all(is_estimate(e) for mass in (small, large) for e in mass.values())
    assert 0.0 <= small["theory"]["value"] < large["theory"]["value"] <= 1.0 + 1e-6
    assert small["simulation"]["value"] * 60 == pytest.approx(round(small["simulation"]["value"] * 60))


def test_spectrum_without_a_network(gatefield: Command) -> None:
    told = gatefield("spectrum", "vanilla", "--gain", "input=2", *SMALL, "--disc", "0,0,0.5", "--json").json
    assert set(told["spectral_radius"]) == set(told["discs"][0]["mass"]) == {"theory"}
    done = gatefield("spectrum", "vanilla", "--gain", "input=2", *SMALL, "--disc", "-0.1,0.2,0.5")
    assert done.code == 0
    assert "spectral radius" in done.out
    assert "< 0.5" in done.out
    assert "simulation" not in done.out


@pytest.mark.parametrize("cell", ["vanilla", "leaky", "gru", "gru-reset-after", "lstm", "lstm-coupled", "mgu"])
def test_every_cell(gatefield: Command, cell: str) -> None:
    """At gain 0 all is quiet."""
    told = gatefield("mean-field", cell, *SMALL, "--json").json
    assert told["regime"] == "quiescent"
    assert told["ensemble"]["cell"].split("(")[0].lower() == cell.split("-")[0]
    kind = {"gru-reset-after": "reset_after=True", "lstm-coupled": "coupled=True"}.get(cell, "")
    assert kind in told["ensemble"]["cell"]


def test_every_option_of_the_ensemble(gatefield: Command) -> None:
    told = gatefield(
        "mean-field", "leaky", "--gain", "input=1.5", "--bias-mean", "input=-0.5", "--bias-var", "input=0.25",
        "--current-var", "input=0.1", "--activation", "hard-tanh", "--step", "0.25", *SMALL, "--json",
    ).json["ensemble"]  # fmt: skip
    assert told["gain"] == {"input": 1.5}
    assert told["bias_mean"] == {"input": -0.5}
    assert told["bias_var"] == {"input": 0.25}
    assert told["current"] == {"input": "WhiteCurrent(variance=0.1)"}
    assert "step=0.25" in told["cell"]
    assert "hard_tanh" in told["cell"]


def test_regimes_are_told(gatefield: Command) -> None:
    quiet = gatefield("report", "gru", "--gain", "candidate=0.1", *SMALL, *SMALL_NETWORK)
    assert "quiescent" in quiet.out
    driven = gatefield("mean-field", "vanilla", "--gain", "input=1", "--current-var", "input=1", *SMALL, "--json")
    assert driven.json["regime"] == "driven"
    still = gatefield("mean-field", "vanilla", "--gain", "input=0.2", "--bias-mean", "input=1", *SMALL, "--json")
    assert still.json["regime"] == "fixed point"


def test_not_converged_is_told(gatefield: Command) -> None:
    slow = ("--gain", "update=10", "--gain", "reset=1", "--gain", "candidate=3", *SMALL)
    told = gatefield("mean-field", "gru", *slow, "--json").json
    assert told["converged"] is False
    assert "increase steps" in told["message"]
    text = gatefield("mean-field", "gru", *slow)
    assert text.code == 0
    assert "not converged" in text.out
    assert "increase steps" in text.out
    report = gatefield("report", "gru", *slow, *SMALL_NETWORK, "--json").json
    assert report["converged"] is False
    assert any("increase steps" in message for message in report["messages"])


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")]
)
@pytest.mark.parametrize("command", ["mean-field", "spectrum"])
def test_figures(gatefield: Command, tmp_path: Path, command: str, suffix: str, start: bytes) -> None:
    path = tmp_path / f"figure.{suffix}"
    done = gatefield(command, "vanilla", "--gain", "input=2", *SMALL, "--output", str(path))
    assert done.code == 0, done.err
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_a_figure_replaces_an_older_one(gatefield: Command, tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    path.write_text("old")
    gatefield("mean-field", "vanilla", *SMALL, "--output", "figure.svg")
    assert "old" not in path.read_text(encoding="utf-8")[:10]


def test_same_seed_same_text(gatefield: Command) -> None:
    first, second = (gatefield("spectrum", "gru", *GAINS, *SMALL, "--size", "60", "--json").out for _ in range(2))
    assert first == second


# ---- how it refuses ----

REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "command": (("reprot", "gru"), ("reprot", "report", "mean-field", "spectrum")),
    "cell": (
        ("report", "gur"),
        ("gur", "vanilla", "leaky", "gru", "gru-reset-after", "lstm", "lstm-coupled", "mgu"),
    ),
    "no cell": (("report",), ("CELL",)),
    "two cells": (("report", "gru", "lstm"), ("lstm",)),
    "gate": (("mean-field", "gru", "--gain", "forget=1"), ("gain", "forget", "update, reset, candidate")),
    "gate of a bias": (("mean-field", "lstm", "--bias-mean", "z=1"), ("bias_mean", "'z'", "forget, input, output")),
    "gate of a variance": (("report", "mgu", "--bias-var", "z=1"), ("bias_var", "'z'", "forget, candidate")),
    "gate of a current": (("report", "mgu", "--current", "z=1"), ("current", "'z'", "forget, candidate")),
    "option": (("report", "gru", "--gian", "update=1"), ("--gian", "--gain", "--bias-mean", "--steps", "--output")),
    "option of another command": (("mean-field", "gru", "--disc", "0,0,1"), ("--disc", "--gain", "--steps")),
    "no value": (("report", "gru", "--gain", "update"), ("--gain", "'update'", "NAME=X")),
    "no name": (("report", "gru", "--gain", "=3"), ("--gain", "'=3'", "NAME=X")),
    "not a number": (("report", "gru", "--gain", "update=ten"), ("--gain", "'ten'", "not a number")),
    "twice": (("report", "gru", "--gain", "update=1", "--gain", "update=2"), ("--gain", "'update'", "twice")),
    "nan": (("report", "gru", "--gain", "update=nan"), ("gain['update']", "nan", "finite")),
    "inf": (("report", "gru", "--bias-mean", "update=inf"), ("bias_mean['update']", "inf", "finite")),
    "negative gain": (("report", "gru", "--gain", "update=-1"), ("gain['update']", "-1", "at least 0")),
    "negative variance": (("report", "gru", "--bias-var", "update=-1"), ("bias_var['update']", "-1", "at least 0")),
    "negative current variance": (("report", "gru", "--current-var", "update=-1"), ("-1", "at least 0")),
    "gain without weights": (("report", "gru-reset-after", "--gain", "current=1"), ("'current'", "no recurrent")),
    "two currents": (
        ("report", "gru", "--current", "update=1", "--current-var", "update=1"),
        ("--current", "--current-var", "'update'"),
    ),
    "size 0": (("report", "gru", "--size", "0"), ("size=0", "at least 1")),
    "size -5": (("spectrum", "gru", "--size", "-5"), ("size=-5", "at least 1")),
    "size 0 in spectrum": (("spectrum", "gru", "--size", "0"), ("size=0", "at least 1")),
    "size in words": (("report", "gru", "--size", "many"), ("size", "many")),
    "size in parts": (("report", "gru", "--size", "10.5"), ("size", "10.5")),
    "networks 0": (("report", "gru", "--size", "10", "--networks", "0"), ("networks=0", "at least 1")),
    "steps 0": (("mean-field", "gru", "--steps", "0"), ("steps=0", "at least 8")),
    "steps 0 in report": (("report", "gru", "--steps", "0"), ("steps=0", "at least 8")),
    "samples 3": (("mean-field", "gru", "--samples", "3"), ("samples=3", "at least 16")),
    "seed -1": (("mean-field", "gru", "--seed", "-1"), ("seed=-1", "at least 0")),
    "slow radius": (("report", "gru", "--slow-radius", "0"), ("slow_radius=0", "above 0")),
    "activation": (("report", "gru", "--activation", "relu"), ("relu", "hard_tanh, tanh")),
    "step of another cell": (("report", "gru", "--step", "0.5"), ("--step", "leaky", "gru")),
    "step out of range": (("report", "leaky", "--step", "2"), ("step=2", "(0, 1]")),
    "suffix": (("report", "gru", "--output", "report.bmp"), ("--output", "report.bmp", ".png, .svg, .pdf")),
    "no suffix": (("report", "gru", "--output", "report"), ("--output", "'report'", ".png, .svg, .pdf")),
    "no folder": (("report", "gru", "--output", "there/report.png"), ("--output", "no folder 'there'", "make it")),
    "two numbers for a disc": (("spectrum", "gru", "--disc", "0,0"), ("--disc", "'0,0'", "X,Y,R")),
    "words for a disc": (("spectrum", "gru", "--disc", "a,b,c"), ("--disc", "'a,b,c'", "X,Y,R")),
    "disc of radius 0": (("spectrum", "gru", "--disc", "0,0,0"), ("disc", "above 0")),
    "disc of negative radius": (("spectrum", "gru", "--disc", "0,0,-1"), ("disc", "above 0")),
    "disc at nan": (("spectrum", "gru", "--disc", "nan,0,1"), ("nan", "finite")),
    "disc of infinite radius": (("spectrum", "gru", "--disc", "0,0,inf"), ("inf", "finite")),
    "too large for memory": (("report", "gru", "--size", "10000000", "--gain", "update=1"), ("=10000000", "would fit")),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_refusals(
    gatefield: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    said: tuple[str, ...],
) -> None:
    def work(*_: Any, **__: Any) -> None:
        raise AssertionError("work has started")

    monkeypatch.setattr("gatefield.meanfield.sampled._run_batch", work)
    done = gatefield(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("gatefield: ")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    for words in said:
        assert words in done.err
    assert not list(tmp_path.iterdir())


BAD = {k: a for k, (a, _) in REFUSED.items() if a[0] in ("report", "mean-field", "spectrum") and "--output" not in a}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_nothing_is_written_where_something_else_is_wrong(
    gatefield: Command, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert gatefield(*arguments, "--output", "figure.png").code == 2
    assert not list(tmp_path.iterdir())


def test_output_that_is_a_folder(gatefield: Command, tmp_path: Path) -> None:
    (tmp_path / "figure.png").mkdir()
    done = gatefield("mean-field", "gru", "--output", "figure.png")
    assert done.code == 2
    assert "cannot be written" in done.err


def test_output_without_permission(gatefield: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who runs as root may write anywhere, so that the system's answer is put on."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    done = gatefield("mean-field", "gru", "--output", "figure.png")
    assert done.code == 2
    assert "--output 'figure.png' cannot be written; choose another path" in done.err
    assert not list(tmp_path.iterdir())


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", [(Figure, "savefig"), (tempfile, "mkstemp")], ids=["while writing", "at the start"])
def test_disk_full(gatefield: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: tuple[Any, str]) -> None:
    """The older figure stays, no half of the new one does."""
    (tmp_path / "figure.png").write_text("old")
    monkeypatch.setattr(*place, full_disk)
    done = gatefield("mean-field", "vanilla", *SMALL, "--output", "figure.png")
    assert done.code == 2
    assert done.err == "gatefield: --output 'figure.png' cannot be written: No space left on device\n"
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
    assert (tmp_path / "figure.png").read_text() == "old"


def test_out_of_memory(gatefield: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("gatefield.meanfield.sampled._run_batch", run_out)
    done = gatefield("mean-field", "gru", *SMALL)
    assert done.code == 2
    assert "out of memory; use a smaller" in done.err


def test_interrupted(gatefield: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gatefield.meanfield.sampled._run_batch", stop)
    done = gatefield("mean-field", "gru", *SMALL, "--output", "figure.png")
    assert done.code == 130
    assert done.err == "gatefield: interrupted; nothing was written\n"
    assert not list(tmp_path.iterdir())


# ---- in a process of its own ----


def test_as_a_program(tmp_path: Path) -> None:
    """`python -m gatefield`: output, exit codes, no traceback."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gatefield", *arguments],
            capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
        )  # fmt: skip

    done = run("mean-field", "vanilla", "--gain", "input=2", *SMALL, "--output", "figure.pdf", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["regime"] == "chaotic"
    assert done.stderr == ""
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    done = run("mean-field", "vanilla", "--gain", "input=nan")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gatefield: gain['input']=nan must be finite\n"


HEAVY = ("jax", "numpy", "scipy", "matplotlib", "contourpy", "xarray", "pandas", "psutil")


@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"], ["--version"], []], ids=str)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import json, sys
sys.argv = ["gatefield", *{arguments}]
from gatefield.cli.app import main
try:
    main()
except SystemExit as left:
    print(json.dumps([left.code, [name for name in {HEAVY} if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    *shown, last = done.stdout.splitlines()
    assert json.loads(last) == [0, []]
    assert any(word in "\n".join(shown) for word in ("report", "0."))
