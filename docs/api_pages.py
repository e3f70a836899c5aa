"""The pages of the API, one a folder, made from the folders when the documentation is built.

This hook of mkdocs writes `api/<folder>.md` for every folder with public names: its guide (its docstring), and then
each file with the names that `__init__.pyi` makes public, files in the guide's order.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

PACKAGE = Path(__file__).parents[1] / "src" / "gatefield"
FRAMEWORKS = {"torch": ("read", "diagnose", "initialize_"), "flax": ("read", "diagnose", "initialize_", "initialize")}


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages."""
    for folder in folders():
        files.append(File.generated(config, f"api/{folder}.md", content=page(folder)))
    return files


def folders() -> list[str]:
    """Folders with public names."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.pyi"))


def page(folder: str) -> str:
    """The page of a folder, for mkdocstrings to fill."""
    guide = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    names = public_names(folder)
    files = sorted(names, key=lambda file: (guide.find(f"`{file}`") < 0, guide.find(f"`{file}`")))
    parts = [f"# `gatefield.{folder}`", guide, *(_file(f"gatefield.{folder}.{file}", names[file]) for file in files)]
    if folder == "layers":
        parts += [_file(f"gatefield.{name}", members) for name, members in FRAMEWORKS.items()]
    return "\n\n".join(parts)


def public_names(folder: str) -> dict[str, list[str]]:
    """Public names of a folder by the file that defines them."""
    stub = (PACKAGE / folder / "__init__.pyi").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for file, name in re.findall(r"^from \.(\w+) import (\w+) as \w+$", stub, re.MULTILINE):
        found.setdefault(file, []).append(name)
    return found


def _file(module: str, members: Any) -> str:
    return f"## `{module}`\n\n::: {module}\n    options:\n      members: [{', '.join(members)}]"
