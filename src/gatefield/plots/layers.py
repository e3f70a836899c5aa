"""A diagnosis drawn: eigenvalues, exponents, gates. Nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gatefield.layers.diagnosis import Diagnosis, Spectrum

_CURVE = {"color": "#d62728", "linewidth": 1.6}
_DOTS = {"color": "black", "markersize": 2.0, "linestyle": "none", "marker": "o", "markeredgewidth": 0}
_THEORY = {"color": "#d62728", "linewidth": 1.2, "linestyle": "--"}


def plot_diagnosis(diagnosis: Diagnosis) -> Figure:
    """Eigenvalues with the predicted boundary; leading exponents with the theory's; gates along the run."""
    figure = Figure(figsize=(13.5, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1.0, 1.0))
    plot_layer_spectrum(left, diagnosis.spectra[-1])
    _plot_exponents(middle, diagnosis)
    _plot_gates(right, diagnosis)
    value = diagnosis.exponent.estimate
    figure.suptitle(f"{diagnosis.layer.title()}: {diagnosis.verdict.kind}, $\\lambda_{{max}}$ = {value} per step")
    return figure


def plot_layer_spectrum(axes: Axes, spectrum: Spectrum) -> None:
    """Eigenvalues of one step, the boundary of the predicted support, the unit circle."""
    axes.add_patch(Circle((0.0, 0.0), 1.0, fill=False, color="0.6", linewidth=0.8, linestyle=":"))
    z = spectrum.eigenvalues
    axes.plot(z.real, z.imag, label="layer", **_DOTS)
    for i, contour in enumerate(spectrum.curve.contours):
        label = "random weights (theory)" if i == 0 else None
        axes.plot(contour.real, contour.imag, label=label, **_CURVE)
    outside = np.concatenate([spectrum.outliers, spectrum.outliers.conj()])
    if len(outside):
        style = {"markerfacecolor": "none", "markeredgecolor": "#1f4e8c", "markersize": 8}
        axes.plot(outside.real, outside.imag, "o", label="outside", **style)
    where = "zero state" if spectrum.step < 0 else f"step {spectrum.step}"
    axes.set(
        title=f"Eigenvalues of the Jacobian, {where}", xlabel=r"Re $\lambda$", ylabel=r"Im $\lambda$", aspect="equal"
    )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.margins(0.15)


def _plot_exponents(axes: Axes, diagnosis: Diagnosis) -> None:
    axes.axhline(0.0, color="0.7", linewidth=0.8)
    if diagnosis.exponents is not None:
        found = diagnosis.exponents.exponents
        index = np.arange(1, len(found.value) + 1)
        axes.errorbar(index, found.value, found.error, fmt="o", color="black", markersize=4, label="layer")
    else:
        axes.plot([1], [diagnosis.exponent.value], "o", color="black", markersize=4, label="layer, zero state")
    if diagnosis.theory is not None and np.isfinite(diagnosis.theory.value):
        axes.axhline(diagnosis.theory.value, label=r"$\lambda_{max}$ of random weights (theory)", **_THEORY)
    axes.set(title="Leading Lyapunov exponents", xlabel="index", ylabel="per step")
    axes.legend(frameon=False, fontsize=8)
    axes.margins(x=0.08, y=0.25)


def _plot_gates(axes: Axes, diagnosis: Diagnosis) -> None:
    gates = [name for name, s in diagnosis.statistics.items() if s.gate is not None]
    path = diagnosis.path
    drawn: Any = None
    for name in gates:
        x = path.preactivations[path.steps // 4 :, :, diagnosis.layer.names.index(name)]
        drawn = axes.hist(
            1.0 / (1.0 + np.exp(-x.ravel())), bins=50, range=(0.0, 1.0), density=True, histtype="step", label=name
        )
    if drawn is None:
        last = path.states[path.steps // 4 :, :, -1].ravel()
        axes.hist(last, bins=51, density=True, histtype="step", color="black")
        axes.set(title="Activity along the run", xlabel=diagnosis.layer.cell.state_names[-1], ylabel="density")
        return
    axes.set(title="Gates along the run", xlabel="gate value", ylabel="density", xlim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
