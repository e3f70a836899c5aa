"""An input suppresses chaos: λ_max of a GRU against the strength of white noise on its candidate; the gain it needs.

Theory at N = ∞ as a line, networks of 1000 neurons as points. A minute on two cores.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

import gatefield as gf

GAIN = {"update": 1.0, "reset": 1.0, "candidate": 4.0}


def driven(variance: float) -> gf.Ensemble:
    current = {"candidate": gf.WhiteCurrent(variance)} if variance > 0.0 else {}
    return gf.Ensemble(gf.GRU(), gain=GAIN, current=current)


def main() -> None:
    strengths = np.array([0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])
    theory = [gf.lyapunov_max(driven(s), steps=300) for s in strengths]
    seen = [gf.Network(driven(s), size=1000, seed=1).lyapunov_spectrum(400, count=1, seed=1).largest for s in strengths]
    critical = {s: gf.critical_gain(driven(s), name="candidate", steps=200, tolerance=0.01) for s in strengths[::2]}

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.0), layout="constrained")
    value, error = np.array([[t.value, t.error] for t in theory]).T
    left.plot(strengths, value, color="#d62728", label="mean field, N = ∞")
    left.fill_between(strengths, value - error, value + error, color="#d62728", alpha=0.25, linewidth=0)
    left.errorbar(
        strengths, [e.value for e in seen], [e.error for e in seen], fmt="ko", markersize=4, label="network, N = 1000"
    )
    left.axhline(0.0, color="0.7", linewidth=0.6)
    left.set(xlabel="variance of the white input", ylabel="largest exponent (per step)", title="Candidate gain 4")
    left.legend(frameon=False)
    right.errorbar(
        list(critical),
        [c.value for c in critical.values()],
        [c.error for c in critical.values()],
        fmt="o-",
        color="#d62728",
    )
    right.set(xlabel="variance of the white input", ylabel="candidate gain", title="Critical gain, λ_max = 0")
    figure.savefig("input-against-chaos.png", dpi=160)
    for s, c in critical.items():
        print(f"variance {s:g}: chaos above a candidate gain of {c}")


if __name__ == "__main__":
    main()
