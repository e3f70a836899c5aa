"""`gatefield report gru` with nothing kept, for the first time and for the second, in turn.

With `--other`, beside another checkout's, each with a cache of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPORT = ("report", "gru", "--gain", "update=10", "--gain", "reset=10", "--gain", "candidate=3", "--output")


def run(source: str | None, folder: Path, cache: str) -> tuple[float, float]:
    """Wall and processor seconds of one report."""
    environment = os.environ | {"GATEFIELD_CACHE": cache} | ({} if source is None else {"PYTHONPATH": source})
    words = [sys.executable, "-m", "gatefield", *REPORT, str(folder / "report.png")]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", help="src of another checkout, such as one from before a change")
    options = parser.parse_args()
    sources = {"": None} | ({"other, ": options.other} if options.other else {})
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for label, source in sources.items():
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                cache = str(folder / "cache")
                for what, place in (("nothing kept", "off"), ("first run", cache), ("second run", cache)):
                    found.setdefault(label + what, []).append(run(source, folder, place))
    print("gatefield report gru, with a figure")
    for name, values in found.items():
        wall, cpu = np.array(values).T
        print(
            f"  {name:22s} {np.median(wall):6.2f} s ({wall.min():.2f} to {wall.max():.2f}), {np.median(cpu):.2f} of CPU"
        )
    medians = {name: np.median(np.array(values), axis=0) for name, values in found.items()}
    for name, (wall, cpu) in medians.items():
        ours = medians["second run"]
        print(f"  {name} / second run: {wall / ours[0]:.2f} (CPU {cpu / ours[1]:.2f})")


if __name__ == "__main__":
    main()
