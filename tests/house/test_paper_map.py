"""The map of the papers is whole: every item has a function or says why not, and every tag names an item."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parents[next(i for i, p in enumerate(Path(__file__).parents) if (p / "docs").is_dir())] / "docs"
ITEMS = """
[CKS]
title = "A paper"
[[CKS.sections]]
key = "§1"
title = "First"
items = [["1", "one"], ["2", "two"], ["3", "three", "notation"], ["fig. 1a", "left"], ["fig. 1b", "right"]]
"""
SOURCE = '''
def one():
    """[CKS 1]"""
def _two():
    """[CKS 2]"""
def user():
    _two()
class Plot:
    def draw(self):
        """[CKS fig. 1]"""
'''
TEST = '''
def helper():
    """[CKS 2]"""
def test_two():
    helper()
def test_one():
    assert True  # [CKS 1]
'''
FILES = {"src/gatefield/m.py": SOURCE, "tests/t.py": TEST, "docs/errata.md": "## Wrong [CKS 1]\n\n| [CKS 2] | x |\n"}


@cache
def paper_map() -> ModuleType:
    spec: Any = importlib.util.spec_from_file_location("paper_map", DOCS / "paper_map.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["paper_map"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@cache
def whole_map() -> Any:
    return paper_map().paper_map(paper_map().texts(), (DOCS / "paper-items.toml").read_text(encoding="utf-8"))


def test_every_item_of_the_papers_has_its_place() -> None:
    assert not whole_map().complaints
    page = paper_map().page_of(whole_map())
    assert '<span id="cks-15">(15)</span>' in page
    assert "support_exponent" in page


def test_what_has_a_function_has_a_test() -> None:
    items = [
        (source, item)
        for source, paper in whole_map().papers.items()
        for section in paper.sections
        for item in section.items
    ]
    assert not [f"{source} {item.key}" for source, item in items if item.functions and not item.tests]


def test_what_belongs_to_an_item() -> None:
    made = paper_map().paper_map(FILES, ITEMS)
    assert not made.complaints
    one, two, three, left, right = made.papers["CKS"].sections[0].items
    assert one.functions == {"gatefield.m.one"}
    assert two.functions == {"gatefield.m.user"}  # a private function's is that of those who use it
    assert (one.tests, two.tests) == ({"tests/t.py::test_one"}, {"tests/t.py::test_two"})
    assert one.errata == two.errata == {"errata.md#wrong-cks-1": "Wrong"}
    assert left.functions == right.functions == {"gatefield.m.Plot.draw"}
    assert "| (3)" not in paper_map().page_of(made)
    assert "– notation" in paper_map().page_of(made)
    assert not three.functions


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[CKS 1]", "", "[CKS 1] has no function"),
        ("[CKS fig. 1]", "[CKS fig. 1a]", "[CKS fig. 1b] has no function"),
        ("[CKS 1]", "[CKS 1, 7]", "names '7'"),
        ("[CKS 1]", "[CKS 1, 2-3]", "names '2-3'"),
        ("[CKS 1]", "[CKS 1–9]", "names '1–9'"),
        ("[CKS 1]", "[CKS 1; EOC 1]", "names '1'"),
        ("[CKS 1]", "[CKS 1, 3]", "[CKS 3] has gatefield.m.one and a reason"),
        ("[CKS 1]", "[CKS §1]", "[CKS 1] has no function"),
    ],
)
def test_the_check_sees(old: str, new: str, expected: str) -> None:
    files = FILES | {"src/gatefield/m.py": SOURCE.replace(old, new)}
    assert any(expected in line for line in paper_map().paper_map(files, ITEMS).complaints)
