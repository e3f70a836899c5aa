"""Random ensembles over all cells, each public quantity held to a network of 300 or to a second route.

A command for developers, `python -m tests.fuzz --cases 2000`, and not a test: it goes on until all cases are done,
prints what disagrees and appends every case to a file of JSON lines, from which it resumes. Shapes are the same in all
cases, so that a cell's code is compiled once.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tests.agreement.test_borders import SIZE, beyond_its_width, random_ensemble

import gatefield as gf
from gatefield.running.progress import track

STEPS, SAMPLES = 200, 2000
Complaint = str


def spectrum(ensemble: gf.Ensemble, number: int) -> Iterator[Complaint]:
    """Radius, curve and masses at a network's own snapshot, and its eigenvalues."""
    network = gf.Network(ensemble, size=SIZE, seed=number)
    snapshot = network.run(60, seed=number, record=1).snapshot()
    eigenvalues = network.eigenvalues(snapshot)
    radius = gf.spectral_radius(ensemble, snapshot)
    states = len(ensemble.cell.state_names)
    outermost = eigenvalues[np.argmax(np.abs(eigenvalues))]
    if abs(outermost) > radius.value + 1e-4 and beyond_its_width(ensemble, snapshot, outermost):
        yield f"eigenvalue {outermost:.6g} beyond the radius {radius}"
    mass = gf.spectral_mass(ensemble, snapshot, radius=1.02 * radius.value + 1e-6).value
    if abs(states - mass) * SIZE > 1.0:
        yield f"mass {mass:.6g} of {states} within the radius {radius}"
    half = np.median(np.abs(eigenvalues))
    inside = gf.spectral_mass(ensemble, snapshot, radius=float(half) + 1e-9)
    counted = np.count_nonzero(np.abs(eigenvalues) <= half) / SIZE
    if abs(inside.value - counted) > 0.1 * states + 5.0 * inside.error:
        yield f"mass {inside} within {half:.4g}, counted {counted:.4g}"
    field = gf.spectral_density(ensemble, snapshot, eigenvalues[:64])
    if field.converged and np.any(field.value < 0.0):
        yield f"density {field.value.min():.3g}"


def mean_field(ensemble: gf.Ensemble, number: int) -> Iterator[Complaint]:
    """Variances against a network's, where both have settled."""
    field = gf.mean_field(ensemble, steps=STEPS, samples=SAMPLES, seed=number)
    seen = gf.networks.simulate(ensemble, size=SIZE, networks=2, steps=STEPS, seed=number)
    if not (field.converged and seen.converged and field.regime == seen.regime):
        return
    for name in ensemble.cell.state_names:
        a, b = field.variance[name], seen.variance[name]
        scale = abs(a.value) + abs(b.value) + 1e-12
        if a.value < 0.0 or abs(a.value - b.value) > 5.0 * np.hypot(a.error, b.error) + 0.25 * scale:
            yield f"variance of {name}: {a} at N = ∞, {b} in networks ({field.regime})"


def exponent(ensemble: gf.Ensemble, number: int) -> Iterator[Complaint]:
    """λ_max against a network's."""
    theory = gf.lyapunov_max(ensemble, steps=STEPS, samples=SAMPLES, seed=number)
    seen = gf.Network(ensemble, size=SIZE, seed=number).lyapunov_spectrum(STEPS, count=1, seed=number).largest
    allowed = 6.0 * np.hypot(theory.error, seen.error) + 20.0 / SIZE + 0.1 * abs(theory.value)
    if theory.converged and np.isfinite(seen.value) and not abs(theory.value - seen.value) <= allowed:
        yield f"λ_max {theory.value:.4g}({theory.error:.2g}) at N = ∞, {seen} in a network ({theory.field.regime})"


def rest(ensemble: gf.Ensemble, number: int) -> Iterator[Complaint]:
    """Static states: each stable one is where the mean field stays that starts there, closed forms where they are."""
    del number
    if ensemble.driven:
        return
    for point in gf.fixed_points(ensemble):
        if not point.residual < 1e-6:
            yield f"residual {point.residual:.3g} of a static state"
        poles = np.max(np.abs(point.snapshot.derivatives.poles))
        if point.spectral_radius.value < poles - 1e-9 and point.spectral_radius.size >= point.snapshot.neurons:
            yield f"radius {point.spectral_radius} within the outermost pole {poles:.6g}"
    if ensemble.zero_is_fixed and not ensemble.static_variance.any():
        closed = gf.zero_fixed_point(ensemble).spectral_radius
        sampled = gf.spectral_radius(ensemble, gf.Snapshot.at_zero(ensemble)).value
        if abs(closed - sampled) > 1e-6 * max(closed, 1.0):
            yield f"radius at zero {sampled:.9g}, closed form {closed:.9g}"


CHECKS: dict[str, Callable[[gf.Ensemble, int], Iterator[Complaint]]] = {
    "spectrum": spectrum,
    "mean field": mean_field,
    "exponent": exponent,
    "rest": rest,
}


def one(number: int) -> dict[str, list[Complaint]]:
    """What each check has to say of a case; an error counts, but for a refusal in words."""
    ensemble, found = random_ensemble(number), dict[str, list[Complaint]]()
    for name, check in CHECKS.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                said = list(check(ensemble, number))
            except ValueError as refusal:
                said = [] if len(str(refusal)) > 20 else [f"ValueError: {refusal}"]
            except Exception:  # noqa: BLE001
                said = [traceback.format_exc(limit=-2)]
        said += [f"{w.category.__name__}: {w.message}" for w in caught if issubclass(w.category, RuntimeWarning)]
        if said:
            found[name] = said
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("fuzz.jsonl"))
    options = parser.parse_args()
    lines = options.log.read_text().splitlines() if options.log.exists() else []
    done = {json.loads(line)["case"] for line in lines}
    todo = [n for n in range(options.first, options.first + options.cases) if n not in done]
    with options.log.open("a") as log:
        for number in track(todo, "cases"):
            found = one(number)
            log.write(json.dumps({"case": number, "found": found}) + "\n")
            log.flush()
            for name, complaints in found.items():
                for complaint in complaints:
                    print(f"{number} {type(random_ensemble(number).cell).__name__} {name}: {complaint}", flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
