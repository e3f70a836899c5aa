"""The page that maps both papers onto the package, made when the documentation is built.

`paper-items.toml` lists what the papers hold. Where each item is, the tags in docstrings tell: `[CKS 15]`, `[CKS
15–17, Cor. 4; EOC 6]`, `[CKS fig. 1f]`; CONTRIBUTING has the syntax. What belongs to an item is

- the functions, classes and modules of `src` whose docstring names it; for a private one, the public ones of its module
  that use it;
- the tests whose docstring or comments name it, or those of a helper in their file that they use;
- the errata whose heading, or whose row's first cell, names it.

An item that nothing in `src` names must say why it needs no function, and one that something names must not; a tag must
name an item. Anything else is a warning, which fails `mkdocs build --strict`. Nothing but the standard library is used,
so that tests/house/test_paper_map.py can hold the same.
"""

from __future__ import annotations

import ast
import io
import logging
import re
import tokenize
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE, PLACEHOLDER = "paper-map.md", "<!-- the map -->"
ERRATA = ("docs/errata.md", "docs/edge.md")  # pages whose headings and first cells tell where errata are

_TAG = re.compile(r"\[((?:CKS|EOC)\b[^\]]*)\]")
_RANGE = re.compile(r"(\d+)–(\d+)")


@dataclass
class Item:
    """An equation, theorem or panel of a paper, and what belongs to it."""

    key: str
    title: str
    reason: str = ""
    functions: set[str] = field(default_factory=set)
    tests: set[str] = field(default_factory=set)
    errata: dict[str, str] = field(default_factory=dict)  # address: title


@dataclass
class Section(Item):
    """A section of a paper with its items; it may be named by itself."""

    items: list[Item] = field(default_factory=list)


@dataclass
class Paper:
    """A paper by its sections."""

    title: str
    sections: list[Section]

    def named(self, key: str) -> list[Item]:
        """The items that a part of a tag names; none if it names nothing."""
        items = {item.key: item for section in self.sections for item in (section, *section.items)}
        if between := _RANGE.fullmatch(key):
            keys = [str(n) for n in range(int(between[1]), int(between[2]) + 1)]
            return [items[k] for k in keys] if all(k in items for k in keys) else []
        panels = [item for k, item in items.items() if re.fullmatch(rf"{re.escape(key)}([a-f]| \w+)", k)]
        return [items[key]] if key in items else panels if key.startswith("fig. ") else []


@dataclass
class Map:
    """Both papers, filled from the texts of a project, and what is wrong with the tags there."""

    papers: dict[str, Paper]
    complaints: list[str] = field(default_factory=list)

    def add(self, text: str, where: str, attribute: str, values: Iterable[Any]) -> None:
        """Give the items that the tags of a text name these functions, tests or errata."""
        for item in self.items_in(text, where):
            getattr(item, attribute).update(values)

    def items_in(self, text: str, where: str) -> Iterator[Item]:
        """The items that the tags of a text name."""
        for tag in _TAG.findall(" ".join(text.split())):
            for part in tag.split(";"):
                source, _, keys = part.strip().partition(" ")
                for key in filter(None, (k.strip() for k in keys.split(","))):
                    found = self.papers[source].named(key) if source in self.papers else []
                    if not found:
                        self.complaints.append(f"{where}: [{tag}] names {key!r}, which paper-items.toml has not")
                    yield from found

    def check(self) -> None:
        """Complain of items with neither function nor reason, or with both."""
        for source, paper in self.papers.items():
            for item in (item for section in paper.sections for item in section.items):
                if bool(item.functions) == bool(item.reason):
                    what = f"has {min(item.functions)} and a reason to have none" if item.reason else "has no function"
                    self.complaints.append(f"[{source} {item.key}] {what}: tag a docstring or say why not")


# ---- reading a project ----


def texts(root: Path = ROOT) -> dict[str, str]:
    """The files that the map is made from, by their path."""
    paths = [*root.glob("src/**/*.py"), *root.glob("tests/**/*.py"), *(root / page for page in ERRATA)]
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


def read_items(text: str) -> dict[str, Paper]:
    """The papers that a list of items describes."""
    return {
        source: Paper(
            paper["title"],
            [Section(s["key"], s["title"], items=[Item(*item) for item in s["items"]]) for s in paper["sections"]],
        )
        for source, paper in tomllib.loads(text).items()
    }


def paper_map(files: Mapping[str, str], items: str) -> Map:
    """The map of a project: its files by path, and its list of items."""
    made = Map(read_items(items))
    for path, text in files.items():
        if path.startswith("src/"):
            _add_module(made, path, text)
        elif path.startswith("tests/"):
            _add_tests(made, path, text)
        else:
            _add_errata(made, path, text)
    made.check()
    return made


def _add_module(made: Map, path: str, text: str) -> None:
    module = ".".join(Path(path).with_suffix("").parts[1:]).removesuffix(".__init__")
    tree = ast.parse(text)
    made.add(ast.get_docstring(tree) or "", path, "functions", [module])
    definitions = dict(_definitions(tree))
    uses = _names_in(definitions)
    for name, node in definitions.items():
        docstring = ast.get_docstring(node) or ""
        if "[" in docstring:
            public = [name] if _is_public(name) else [n for n in _users(uses, name) if _is_public(n)]
            made.add(docstring, path, "functions", [f"{module}.{n}" for n in public] or [module])


def _add_tests(made: Map, path: str, text: str) -> None:
    tree = ast.parse(text)
    made.add(ast.get_docstring(tree) or "", path, "tests", [path])
    definitions = dict(_definitions(tree))
    uses = _names_in(definitions)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]
    for name, node in definitions.items():
        start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        own = [text for line, text in comments if start <= line <= (node.end_lineno or start)]
        said = "\n".join([ast.get_docstring(node) or "", *own])
        if "[" in said:
            tests = [name] if name.startswith("test_") else _users(uses, name)
            made.add(said, path, "tests", [f"{path}::{n}" for n in tests if n.startswith("test_")])


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    """Functions and classes of a module and methods of its classes, by qualified name."""
    for node in tree.body:
        if isinstance(node, Definition):
            yield node.name, node
            for child in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(child, Definition):
                    yield f"{node.name}.{child.name}", child


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _names_in(definitions: Mapping[str, Definition]) -> dict[str, set[str]]:
    return {n: {c.id for c in ast.walk(d) if isinstance(c, ast.Name)} for n, d in definitions.items()}


def _users(uses: Mapping[str, set[str]], name: str) -> list[str]:
    """The functions that use one, or use one that does, given the names in each."""
    found, new = {name}, {name}
    while new:
        new = {n for n, names in uses.items() if names & new} - found
        found |= new
    return sorted(found - {name})


def _add_errata(made: Map, path: str, text: str) -> None:
    page, title, anchor = Path(path).name, "", ""
    for line in text.splitlines():
        if heading := re.match(r"#+ (.*)", line):
            title, anchor = _TAG.sub("", heading[1]).strip(), _slug(heading[1])
        said = heading[1] if heading else line.split("|")[1] if line.startswith("|") else ""
        made.add(said, path, "errata", [(f"{page}#{anchor}", title)])


def _slug(heading: str) -> str:
    """The anchor that Markdown's table of contents gives a heading."""
    plain = unicodedata.normalize("NFKD", re.sub(r"[`*]", "", heading)).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


# ---- the page ----


def page_of(made: Map) -> str:
    """The map in Markdown."""
    lines = []
    for source, paper in made.papers.items():
        lines += [f"## {paper.title}", ""]
        for section in paper.sections:
            whole = "; ".join(filter(None, (_functions(section), _tests(section), _errata(section))))
            lines += [f"### {section.key} {section.title} {{#{_identifier(source, section.key)}}}", ""]
            lines += [f"All of it: {whole}", ""] if whole else []
            lines += ["| | | in gatefield | tests | errata |", "|---|---|---|---|---|"]
            lines += [_row(source, item) for item in section.items]
            lines.append("")
    return "\n".join(lines)


def _row(source: str, item: Item) -> str:
    label = f"({item.key})" if item.key.isdigit() else item.key
    first = f'<span id="{_identifier(source, item.key)}">{label}</span>'
    cells = [first, item.title, _functions(item) or f"– {item.reason}", _tests(item), _errata(item)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _identifier(source: str, key: str) -> str:
    return f"{source}-{key}".lower().translate({ord("§"): "s", ord("."): "-", ord(" "): "-", ord("τ"): "tau"})


def _functions(item: Item) -> str:
    """Links that become plain names where the API page does not have the object."""
    return ", ".join(
        f'<autoref identifier="{name}" optional><code>{name.removeprefix("gatefield.")}</code></autoref>'
        for name in sorted(item.functions)
    )


def _tests(item: Item) -> str:
    by_file: dict[str, list[str]] = {}
    for name in sorted(item.tests):
        path, _, test = name.partition("::")
        by_file.setdefault(path.removeprefix("tests/"), []).append(f"`{test}`" if test else "all")
    return "; ".join(f"`{path}`: {', '.join(names)}" for path, names in by_file.items())


def _errata(item: Item) -> str:
    return ", ".join(f"[{title}]({address})" for address, title in sorted(item.errata.items()))


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put the map in its place, and warn of what is wrong with it."""
    if page.file.src_uri != PAGE:
        return markdown
    made = paper_map(texts(), (ROOT / "docs" / "paper-items.toml").read_text(encoding="utf-8"))
    for complaint in made.complaints:
        logging.getLogger("mkdocs.hooks.paper_map").warning(complaint)
    return markdown.replace(PLACEHOLDER, page_of(made))
