"""`gatefield lyapunov`: what it prints and draws, and how it refuses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.commands import Command

# Cyclopts warns where it reads sys.argv under pytest, as it does here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

VANILLA = ("vanilla", "--gain", "input=3", "--steps", "100", "--samples", "2000")


@pytest.fixture
def lyapunov(gatefield: Command) -> Command:
    return partial(gatefield, "lyapunov")


def test_theory_alone(lyapunov: Command) -> None:
    found = lyapunov(*VANILLA, "--json").json
    theory = found["theory"]
    assert theory["verdict"] == "chaotic"
    assert abs(theory["lyapunov_max"]["value"] - 0.3102493) < 4.0 * theory["lyapunov_max"]["error"]
    assert found["simulation"] == []
    done = lyapunov(*VANILLA)
    assert "gain input 3: chaotic\n" in done.out
    assert "simulation" not in done.out


def test_full_spectrum_of_a_network(lyapunov: Command, tmp_path: Path) -> None:
    done = lyapunov(*VANILLA, "--size", "60", "--full", "--output", "lyapunov.png")
    assert done.code == 0, done.err
    for row in ("largest exponent", "Kaplan–Yorke dimension per neuron", "entropy rate", "mean exponent"):
        assert row in done.out
    assert "1 network of 60 neurons, 60 of 60 exponents over 100 steps" in done.out
    assert (tmp_path / "lyapunov.png").stat().st_size > 20_000
    found = lyapunov(*VANILLA, "--size", "60", "--full", "--json").json
    exponents = found["simulation"][0]["exponents"]["value"]
    assert len(exponents) == 60
    assert exponents == sorted(exponents, reverse=True)
    assert found["simulation"][0]["mean"]["value"] == pytest.approx(np.mean(exponents))
    assert found["simulation"][0]["size"] == 60


@pytest.mark.slow
def test_all_exponents_of_an_infinite_network(lyapunov: Command, tmp_path: Path) -> None:
    done = lyapunov(*VANILLA, "--theory", "--window", "4", "--size", "60", "--output", "spectrum.png", "--json")
    assert done.code == 0, done.err
    assert (tmp_path / "spectrum.png").stat().st_size > 20_000
    assert len(done.json["simulation"][0]["exponents"]["value"]) == 60
    found = done.json["distribution"]
    for name, exact in (
        ("fraction_positive", 0.15289),
        ("kaplan_yorke_dimension", 0.28772),
        ("entropy_rate", 0.025196),
    ):
        assert abs(found[name]["value"] - exact) < 4.0 * found[name]["error"]
        assert found[name]["error"] < 0.1 * exact
    assert found["window"] == 4


def test_leading_exponents(lyapunov: Command) -> None:
    done = lyapunov(*VANILLA, "--size", "60", "--count", "3", "--networks", "2")
    assert "2 networks of 60 neurons, 3 of 60 exponents" in done.out
    assert "not converged: network 0: the Kaplan–Yorke dimension needs more than count=3" in done.out
    found = lyapunov(*VANILLA, "--size", "60", "--count", "3", "--networks", "2", "--json").json
    assert [len(s["exponents"]["value"]) for s in found["simulation"]] == [3, 3]
    assert found["simulation"][0]["kaplan_yorke_dimension"] == {"value": None, "error": None}
    assert not found["converged"]


def test_more_exponents_than_there_are(lyapunov: Command) -> None:
    found = lyapunov(*VANILLA, "--size", "5", "--json").json
    assert found["simulation"][0]["count"] == 5


def test_at_rest(lyapunov: Command) -> None:
    done = lyapunov("vanilla", "--gain", "input=0.75", "--steps", "100", "--samples", "2000")
    assert "stable (quiescent)" in done.out
    assert "-0.287682" in done.out  # log of 0.75, the zero state's radius


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", "0"), "size=0"),
        (("--size", "20", "--count", "0"), "count=0"),
        (("--size", "20", "--networks", "0"), "networks=0"),
        (("--steps", "3"), "steps=3"),
        (("--gain", "z=1"), "has no 'z'"),
        (("--output", "lyapunov.txt"), "suffix"),
        (("--count", "1.5"), "not a whole number"),
    ],
)
def test_refusals(lyapunov: Command, arguments: tuple[str, ...], said: str) -> None:
    done = lyapunov("gru", *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
