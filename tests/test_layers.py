"""The layers of design and CONTRIBUTING: imports point down, never up or sideways, and never in a circle.

LAYERS is the table, from top to bottom. A module may import those of the rows below its own. Beyond that:

- SIDEWAYS lists the imports allowed within a row: none.
- LAZY names the modules that any other may import inside a function, wherever they stand: a result's `to_dataset()` or
  `plot()` reaches for its labelled form or its picture only when asked, and nothing is loaded before.
- TYPES_ONLY names modules that need the classes of what they present but load none of them: all their imports of
  gatefield stand under `if TYPE_CHECKING:` or inside functions.
- The package itself (`__init__`) is a list of names resolved on first use. It loads no module, and modules take nothing
  from it but `__version__`.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("sweep_commands", "figure_commands", "train_command", "layer_commands"),
    ("command_options", "terminal"),
    ("figures",),
    ("figure_plots",),
    ("gru_figures", "lstm_figures", "edge_figures", "training_figures"),
    ("panels",),
    ("plots", "edge_plots", "layer_plots", "datasets"),
    ("plans",),
    ("sweeps",),
    ("local_workers", "quantities"),
    ("points",),
    ("torch", "flax"),
    ("diagnosis", "initialisation"),
    ("design",),
    ("verdicts",),
    ("checkpoints", "layer_growth", "slow_points", "forecasting"),
    ("conventions",),
    ("layers",),
    ("edge",),
    ("edge_curves", "coexistence"),
    ("comparison", "gate_statistics", "cavity", "cell_average", "static_series"),
    ("onset",),
    ("reports", "diagrams", "chaos", "critical", "trainability"),
    ("simulation", "training"),
    ("boundaries",),
    ("phases", "lstm_plane"),
    ("lyapunov_distribution",),
    ("lyapunov",),
    ("gate_bounds", "hard_tanh_gru"),
    ("roots", "long_term", "limits", "scaling", "closures", "gru_equations", "lstm_equations", "branch_slope"),
    ("spectrum", "zero_state"),
    ("self_energy",),
    ("dyson", "ring", "exponent_curves"),
    ("response", "histories"),
    ("ring_algebra",),
    ("continuous", "sompolinsky"),
    ("stationary",),
    ("network", "meanfield", "deterministic", "pairs"),
    ("causal", "tangent", "exponents"),
    ("frames",),
    ("elimination",),
    ("static",),
    ("snapshot",),
    ("ensemble",),
    ("cells", "currents", "tasks"),
    ("correlation", "store", "images"),
    (
        "estimates",
        "quadrature",
        "arguments",
        "memory",
        "progress",
        "algebra",
        "background",
        "gain_search",
        "grids",
        "records",
        "locks",
        "saving",
    ),
)
SIDEWAYS: set[tuple[str, str]] = set()
LAZY = {"datasets", "plots", "edge_plots", "layer_plots"}
TYPES_ONLY = {"datasets"}
OPTIONAL = {"__main__"}  # rows that may be empty

PACKAGE = Path(__file__).parents[1] / "src" / "gatefield"
HEAVY = (
    "jax",
    "numpy",
    "scipy",
    "matplotlib",
    "contourpy",
    "xarray",
    "pandas",
    "rich",
    "cyclopts",
    "psutil",
    "zarr",
    "distributed",
    "torch",
    "flax",
    "optax",
    "sklearn",
    "mlxtend",
)


@dataclass(frozen=True)
class Import:
    """One module's import of another, and where it stands: at module level, for types only, or in a function."""

    source: str
    target: str
    line: int
    where: str

    def __str__(self) -> str:
        return f"{self.source}.py:{self.line} imports {self.target} ({self.where})"


def imports_of(source: str, text: str) -> list[Import]:
    """Every import of a gatefield module in a module's text."""
    found: list[Import] = []

    def visit(node: ast.AST, where: str) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.extend(Import(source, target, node.lineno, where) for target in targets(node))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            where = "function"
        elif isinstance(node, ast.If) and where == "module" and names_type_checking(node.test):
            for child in node.body:
                visit(child, "types")
            for child in node.orelse:
                visit(child, where)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, where)

    visit(ast.parse(text), "module")
    return found


def names_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def targets(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The gatefield modules that an import statement loads; `__init__` for a name of the package itself."""
    if isinstance(node, ast.Import):
        parts = [alias.name.split(".") for alias in node.names]
        return [p[1] if len(p) > 1 else "__init__" for p in parts if p[0] == "gatefield"]
    module = node.module or ""
    if node.level:
        module = f"gatefield.{module}".rstrip(".")
    if module == "gatefield":
        modules = {name for row in LAYERS for name in row}
        names = [alias.name for alias in node.names if alias.name != "__version__"]
        return [name if name in modules else "__init__" for name in names]
    return [module.split(".")[1]] if module.startswith("gatefield.") else []


def complaints(texts: dict[str, str]) -> list[str]:
    """What is wrong with a package, given its modules' texts by name."""
    rank = {name: row for row, names in enumerate(LAYERS) for name in names}
    unknown = sorted(set(texts) - set(rank) - {"__init__"})
    missing = sorted(set(rank) - set(texts) - OPTIONAL)
    wrong = [f"{name}.py stands in no layer: give it a row in LAYERS" for name in unknown]
    wrong += [f"LAYERS names {name}, but there is no {name}.py" for name in missing]
    imports = [i for name, text in texts.items() for i in imports_of(name, text)]
    for i in imports:
        if i.source == "__init__" and i.where == "module":
            wrong.append(f"{i}: the package loads its modules on first use")
        elif i.target == "__init__":
            wrong.append(f"{i}: take the name from its own module")
        elif i.source in TYPES_ONLY and i.where == "module":
            wrong.append(f"{i}: {i.source} may import gatefield only for types or inside functions")
        elif not (i.where == "function" and i.target in LAZY) and {i.source, i.target} <= set(rank):
            step = rank[i.target] - rank[i.source]
            if step < 0 or (step == 0 and (i.source, i.target) not in SIDEWAYS):
                wrong.append(f"{i}: {'up' if step < 0 else 'sideways'}")
    return wrong + circles(imports)


def circles(imports: list[Import]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for i in imports:
        if i.source != "__init__" and not (i.where == "function" and i.target in LAZY):
            graph.setdefault(i.source, set()).add(i.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [f"a circle: {' → '.join(reversed(error.args[1]))}"]
    return []


def modules() -> dict[str, str]:
    """The package's modules by name."""
    folders = sorted({path.parent.name for path in PACKAGE.glob("*/*.py")})
    assert not folders, f"{folders}: teach this test where a folder's modules stand"
    return {path.stem: path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py")}


def test_imports_point_down() -> None:
    assert not complaints(modules())


def whole_package(**changed: str) -> dict[str, str]:
    return {"__init__": "", **{name: "" for row in LAYERS for name in row}, **changed}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"ensemble": "from gatefield.snapshot import Snapshot"}, "up"),
        ({"ensemble": "import gatefield.snapshot as s"}, "up"),
        ({"ensemble": "from . import snapshot"}, "up"),
        ({"ensemble": "def f():\n    from gatefield import snapshot"}, "up"),
        ({"ensemble": "if TYPE_CHECKING:\n    from .snapshot import Snapshot"}, "up"),
        ({"cells": "from gatefield.currents import Current"}, "sideways"),
        ({"network": "import gatefield.meanfield", "meanfield": "import gatefield.network"}, "a circle"),
        ({"cells": "import gatefield"}, "own module"),
        ({"cells": "from gatefield import Ensemble"}, "own module"),
        ({"datasets": "from gatefield.meanfield import MeanField"}, "only for types"),
        ({"meanfield": "from gatefield.datasets import mean_field_dataset"}, "up"),
        ({"__init__": "from gatefield.cells import Cell"}, "first use"),
        ({"utils": ""}, "stands in no layer"),
    ],
)
def test_the_check_sees(changed: dict[str, str], expected: str) -> None:
    assert any(expected in line for line in complaints(whole_package(**changed)))


@pytest.mark.parametrize(
    "changed",
    [
        {"cli": "from gatefield.cells import GRU"},
        {"meanfield": "def to_dataset():\n    from gatefield.datasets import mean_field_dataset"},
        {"datasets": "if TYPE_CHECKING:\n    from gatefield.meanfield import MeanField"},
        {"reports": "from gatefield import __version__"},
        {"__init__": "def __getattr__(name):\n    from gatefield import cells"},
    ],
)
def test_the_check_allows(changed: dict[str, str]) -> None:
    assert not complaints(whole_package(**changed))


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, gatefield; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
