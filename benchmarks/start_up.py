"""Start-up of fresh interpreters: imports, `gatefield --help`, and a `report` from cold, with nothing kept."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from timing import alternate, show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--reports", type=int, default=3)
    options = parser.parse_args()
    program = shutil.which("gatefield", path=str(Path(sys.executable).parent)) or "gatefield"
    python = [sys.executable, "-c"]

    def command(*words: str):
        return lambda: subprocess.run(
            words, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"GATEFIELD_CACHE": "off"}
        )

    seconds = alternate(
        {
            "python -c pass": command(*python, "pass"),
            "import jax": command(*python, "import jax"),
            "import gatefield": command(*python, "import gatefield"),
            "import gatefield; gatefield.GRU": command(*python, "import gatefield; gatefield.GRU"),
            "gatefield --help": command(program, "--help"),
        },
        options.rounds,
    )
    print("Fresh interpreters")
    for name, values in seconds.items():
        show(name, values)
    jax, ours = np.median(seconds["import jax"]), np.median(seconds["import gatefield; gatefield.GRU"])
    print(f"  ratio of `import gatefield; gatefield.GRU` to `import jax`: {ours / jax:.2f}")

    with tempfile.TemporaryDirectory() as folder:
        gains = ["--gain", "update=10", "--gain", "reset=10", "--gain", "candidate=3"]
        figure = str(Path(folder) / "report.png")
        reports = alternate(
            {"gatefield report gru": command(program, "report", "gru", *gains, "--output", figure)}, options.reports
        )
    print("Report at its defaults, with a figure")
    for name, values in reports.items():
        show(name, values)


if __name__ == "__main__":
    main()
