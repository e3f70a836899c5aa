"""What the project's files say of it agrees: versions, dependencies, pins."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import gatefield

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


UNPINNED = {"torch"}  # see CONTRIBUTING, "Dependencies"


def asked_for() -> list[str]:
    groups = PROJECT["dependency-groups"].values()
    extras = PROJECT["project"]["optional-dependencies"].values()
    found = [*PROJECT["project"]["dependencies"], *(line for group in (*groups, *extras) for line in group)]
    return [line for line in found if Requirement(line).name not in UNPINNED]


def test_constraints_are_pins_alone() -> None:
    for line in PINS:
        assert re.fullmatch(r"[a-z0-9.-]+==[^ :/]+( ; .+)?", line), f"constraints.txt: {line!r} is not a pin"


@pytest.mark.parametrize("requirement", [Requirement(line) for line in asked_for()], ids=str)
def test_every_dependency_is_pinned(requirement: Requirement) -> None:
    pins = [Requirement(line) for line in PINS]
    versions = [next(iter(pin.specifier)).version for pin in pins if pin.name == requirement.name]
    assert versions
    assert all(requirement.specifier.contains(version) for version in versions)


def test_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert gatefield.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
