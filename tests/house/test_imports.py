"""The laws of the house: folders in order, imports down it, no circle, two routes that know nothing of each other.

FOLDERS is the order, from top to bottom; CONTRIBUTING has a row for each. What counts is every import, at the top of a
file, inside a function or under `if TYPE_CHECKING:` alike:

- a file may import files of its own folder and of folders further down, and no files in a circle;
- files of THEORY and of NETWORKS import nothing of each other: they are the two routes to each number;
- names are taken from the file that defines them. A folder's `__init__` is its guide and its face: it imports nothing.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import gatefield
from gatefield.public import NAMESPACES

FOLDERS = (
    "cli", "figures", "plots", "training", "layers", "reports", "edge", "chaos", "phases", "sweeps", "spectra",
    "meanfield", "networks", "results", "cells", "numerics", "running",
)  # fmt: skip
THEORY, NETWORKS = {"meanfield", "spectra", "phases", "chaos"}, {"networks"}
FILES = {
    "__main__": "cli",
    "torch": "layers",
    "flax": "layers",
    "public": None,
}  # files of no folder, and what tops them
LONGEST = 500  # lines
VAGUE = {"utils", "helpers", "common", "core", "base", "misc"}

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "gatefield"
HEAVY = (
    "jax", "numpy", "scipy", "matplotlib", "contourpy", "xarray", "pandas", "rich", "cyclopts", "psutil", "zarr",
    "distributed", "torch", "flax", "optax", "sklearn", "mlxtend",
)  # fmt: skip


class Import(NamedTuple):
    """One file's import of another."""

    source: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def imports_of(source: str, text: str, files: set[str]) -> list[Import]:
    """Every import of gatefield in a file's text, wherever it stands."""
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.Import, ast.ImportFrom))]
    found = [Import(source, target, node.lineno) for node in nodes for target in targets(source, node, files)]
    return found + [Import(source, name, line) for name, line in said_by_name(text) if name in files]


def said_by_name(text: str) -> list[tuple[str, int]]:
    """Files named by a string alone, as in `import_module("gatefield.cells.ensemble")`."""
    strings = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [
        (n.value.removeprefix("gatefield."), n.lineno) for n in strings if re.fullmatch(r"gatefield(\.\w+)+", n.value)
    ]


def loads_by_name(text: str) -> bool:
    """Whether a file can load what only its run tells."""
    names = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}
    attributes = {n.attr for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute)}
    return bool({"import_module", "__import__", "exec", "eval"} & (names | attributes)) or "modules" in attributes


def targets(source: str, node: ast.Import | ast.ImportFrom, files: set[str]) -> list[str]:
    """The files of gatefield that an import statement loads, as "folder.file"; "" is the package itself."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        module = node.module or ""
        if node.level:
            above = ["gatefield", *source.split(".")][: -node.level]
            module = ".".join([*above, module]).rstrip(".")
        inner = [f"{module}.{alias.name}" for alias in node.names]
        names = [name if name.removeprefix("gatefield.") in files else module for name in inner]
    ours = [name for name in names if name.split(".")[0] == "gatefield"]
    return [name.removeprefix("gatefield").removeprefix(".") for name in ours]


def rank(file: str) -> int | None:
    """How far down a file stands; None for one that stands nowhere."""
    top = file.split(".")[0]
    if "." in file:
        return FOLDERS.index(top) if top in FOLDERS else None
    if top not in FILES:
        return None
    above = FILES[top]
    return len(FOLDERS) if above is None else FOLDERS.index(above)


def complaints(texts: dict[str, str]) -> list[str]:
    """What is wrong with a package, given its files' texts by "folder.file"."""
    wrong = [f"{file} stands in no folder of FOLDERS" for file in texts if rank(file) is None]
    wrong += [f"{file}: a file is named by what it is about" for file in texts if file.split(".")[-1] in VAGUE]
    known = set(texts) | set(FOLDERS)
    imports = [i for file, text in texts.items() for i in imports_of(file, text, known)]
    for i in imports:
        below, here = rank(i.target), rank(i.source)
        if below is None:
            wrong.append(f"{i}: take the name from its own file")
        elif here is not None and below < here:
            wrong.append(f"{i}: up")
        elif parted(i):
            wrong.append(f"{i}: theory and networks know nothing of each other")
    return wrong + circles(imports)


def parted(i: Import) -> bool:
    ends = {i.source.split(".")[0], i.target.split(".")[0]}
    return bool(ends & THEORY) and bool(ends & NETWORKS)


def test_theory_and_networks_load_nothing_by_name() -> None:
    """What the check of imports cannot see is not there."""
    apart = {file: text for file, text in files().items() if file.split(".")[0] in THEORY | NETWORKS}
    assert not [file for file, text in apart.items() if loads_by_name(text)]


def test_who_may_ask_for_any_name() -> None:
    """Whoever knows where public names live can load any folder: the faces, and what a sweep knows by name."""
    imports = [i for file, text in files().items() for i in imports_of(file, text, set(files()))]
    assert {i.source for i in imports if i.target == "public"} == {"sweeps.quantities", "sweeps.store"}


def circles(imports: list[Import]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for i in imports:
        graph.setdefault(i.source, set()).add(i.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [f"a circle: {' → '.join(reversed(error.args[1]))}"]
    return []


def files() -> dict[str, str]:
    """The texts of the package's files, faces apart."""
    paths = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return {".".join(p.relative_to(PACKAGE).with_suffix("").parts): p.read_text(encoding="utf-8") for p in paths}


def test_imports_follow_the_laws() -> None:
    assert not complaints(files())


def test_no_file_is_long() -> None:
    paths = [path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py*") if path.suffix != ".pyc"]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert not {path: n for path, n in lengths.items() if n > LONGEST}


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_has_a_guide(folder: str) -> None:
    """Its docstring, naming each file; a face that imports nothing of gatefield; a row in CONTRIBUTING."""
    text = (PACKAGE / folder / "__init__.py").read_text(encoding="utf-8")
    guide = ast.get_docstring(ast.parse(text)) or ""
    named = set(re.findall(r"`(\w+)`", guide))
    own = {path.stem for path in (PACKAGE / folder).glob("*.py")} - {"__init__"}
    assert own <= named, f"{folder}/__init__.py does not say what {sorted(own - named)} are for"
    assert {i.target for i in imports_of(folder, text, {"public"})} <= {"public"}
    assert re.search(rf"^\| .*`{folder}`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_folders_are_those_there_are() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/*.py")} == set(FOLDERS)
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*FILES, "__init__"}


def test_public_names_are_there() -> None:
    """Flat and by subject, each public function or class in one place."""
    for subject in NAMESPACES:
        face = (
            getattr(gatefield, subject)
            if subject in dir(gatefield)
            else __import__(f"gatefield.{subject}", fromlist="_")
        )
        for name in dir(face):
            found = getattr(face, name)
            assert getattr(found, "__module__", f"gatefield.{subject}.").startswith(f"gatefield.{subject}.")
    for name in dir(gatefield):
        assert getattr(gatefield, name) is not None
    assert len([name for name in dir(gatefield) if name not in NAMESPACES]) <= 30


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("bifurcation_curve", "gf.phases.bifurcation_curve"),
        ("replicas", "gf.chaos.replicas"),
        ("find_fixed_points", "gf.layers.find_fixed_points"),
        ("LyapunovSpectrum", "gf.networks.MeasuredExponents"),
        ("hysteresis", "gf.phases.static_hysteresis"),
        ("hysteresis_loop", "gf.edge.network_hysteresis"),
    ],
)
def test_old_names_say_where_they_are(name: str, now: str) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'; it is {re.escape(now)}$"):
        getattr(gatefield, name)


def test_names_that_a_subject_had() -> None:
    with pytest.raises(
        AttributeError, match=r"'gatefield.edge' has no attribute 'hysteresis_loop'; it is gf.edge.network_hy"
    ):
        _ = gatefield.edge.hysteresis_loop  # pyright: ignore[reportAttributeAccessIssue]


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'$"):
        _ = gatefield.nonsense  # pyright: ignore[reportAttributeAccessIssue]


def house(**changed: str) -> dict[str, str]:
    """A small house with some files changed; `cells__ensemble` is the file cells/ensemble.py."""
    empty = dict.fromkeys(
        ("cells.ensemble", "cells.snapshot", "meanfield.sampled", "networks.network", "running.memory"), ""
    )
    return empty | {name.replace("__", "."): text for name, text in changed.items()}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"cells__ensemble": "from gatefield.meanfield.sampled import MeanField"}, "up"),
        ({"cells__ensemble": "import gatefield.meanfield.sampled as s"}, "up"),
        ({"cells__ensemble": "from ..meanfield import sampled"}, "up"),
        ({"cells__ensemble": "def f():\n    from gatefield.meanfield import sampled"}, "up"),
        ({"cells__ensemble": "if TYPE_CHECKING:\n    from gatefield.meanfield.sampled import MeanField"}, "up"),
        ({"meanfield__sampled": "from gatefield.networks.network import Network"}, "nothing of each other"),
        (
            {"cells__ensemble": "from . import snapshot", "cells__snapshot": "from .ensemble import Ensemble"},
            "a circle",
        ),
        ({"cells__ensemble": "import gatefield"}, "own file"),
        ({"cells__ensemble": "from gatefield import Ensemble"}, "own file"),
        ({"meanfield__sampled": "from gatefield.cells import Ensemble"}, "own file"),
        ({"cells__ensemble": 'import_module("gatefield.meanfield.sampled")'}, "up"),
        ({"torch": "from gatefield.cli import app", "cli__app": ""}, "up"),
        ({"cells__utils": ""}, "named by what it is about"),
        ({"things__ensemble": ""}, "no folder"),
        ({"ensemble": ""}, "no folder"),
    ],
)
def test_the_check_sees(changed: dict[str, str], expected: str) -> None:
    assert any(expected in line for line in complaints(house(**changed)))


@pytest.mark.parametrize(
    "changed",
    [
        {"cells__ensemble": "from gatefield.cells.snapshot import Snapshot"},
        {"meanfield__sampled": "def f():\n    from gatefield.cells import ensemble"},
        {"networks__network": "from gatefield.running.memory import require"},
    ],
)
def test_the_check_allows(changed: dict[str, str]) -> None:
    assert not complaints(house(**changed))


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, gatefield; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
