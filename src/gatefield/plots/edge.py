"""Figures of the edge of chaos, from the labelled arrays of `edge_curves`. Nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    import xarray as xr

    from gatefield.edge.coexistence import NetworkHysteresis
    from gatefield.edge.comparison import Comparison

DYNAMIC = {"color": "#d62728", "linewidth": 1.8}
STATIC = {"color": "#1f4e8c", "linewidth": 1.6, "linestyle": "--"}
LAW = {"color": "0.35", "linewidth": 1.1, "linestyle": ":"}


def plot_variance(curves: xr.Dataset) -> Figure:
    """[EOC fig. 1]: the static equation, and static and dynamic C_0 against the gain."""
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    static_equation(left, curves, "Static equation", 2.0)
    variances(right, curves)
    right.legend(frameon=False)
    return figure


def static_equation(axes: Any, curves: xr.Dataset, title: str, end: float) -> None:
    """The right-hand side of the static equation against C_0, with the diagonal."""
    axes.plot(curves.variance, curves.variance, color="0.6", linewidth=1.0)
    for i, gain in enumerate(curves.shown_gain.values):
        style = {"color": f"C{i}", "linestyle": ("-", "--", "-.", ":")[i % 4], "linewidth": 1.6}
        axes.plot(curves.variance, curves.image.sel(shown_gain=gain), label=f"$g = {gain:g}$", **style)
    if "fixed_point" in curves:
        axes.plot(curves.fixed_point, curves.fixed_point, "ko", markersize=5)
    axes.set(xlabel="$C_0$", ylabel="right-hand side", title=title, xlim=(0, end), ylim=(0, end))
    axes.legend(frameon=False)


def variances(axes: Any, curves: xr.Dataset) -> None:
    """Static and dynamic C_0 against the gain, with their series."""
    axes.plot(curves.gain, curves.static, label="static (unstable fixed point)", **STATIC)
    axes.plot(curves.gain, curves.dynamic, label="dynamic (chaotic state)", **DYNAMIC)
    near = curves.gain.values <= 3.0
    for name, label in (("static_law", "series to $\\epsilon^3$"), ("dynamic_law", None)):
        axes.plot(curves.gain[near], curves[name][near], label=label, **LAW)
    axes.axvline(2.0, color="0.7", linewidth=0.8)
    axes.set(title="Variance", xlabel="gain $g$", ylabel="$C_0$", ylim=(0, None))


def plot_bias(curves: xr.Dataset) -> Figure:
    """[EOC fig. 2]: the static equation with a bias; the critical line with its law; the LSTM's own critical gains."""
    wide = curves.sizes["lstm_std"] > 0
    figure = Figure(figsize=(14.0 if wide else 10.0, 4.2), layout="constrained")
    panels = figure.subplots(1, 3 if wide else 2)
    static_equation(panels[0], curves, f"Static equation, $\\sigma_b = {curves.attrs['bias_std']:g}$", 4.0)
    critical_line(panels[1], curves)
    panels[1].legend(frameon=False)
    if wide:
        lstm_lines(panels[2], curves)
    return figure


def critical_line(axes: Any, curves: xr.Dataset) -> None:
    """g_c − 2 against σ_b, with its laws."""
    axes.loglog(curves.bias_std, curves.critical - 2.0, label="exact", **DYNAMIC)
    axes.loglog(curves.bias_std, curves.leading - 2.0, label=r"$2\cdot 3^{1/3}\sigma_b^{2/3}$", **LAW)
    shown = curves.next_order.values > 2.0
    axes.loglog(
        curves.bias_std[shown], curves.next_order[shown] - 2.0, label=r"$\ldots - (24/5)\,\sigma_b^2$", **STATIC
    )
    axes.set(title="Critical line", xlabel=r"bias $\sigma_b$", ylabel="$g_c - 2$", ylim=(2e-3, 6.0))


def lstm_lines(axes: Any, curves: xr.Dataset) -> None:
    """Critical cell gains of LSTMs with a bias on their cell input, and what the notes take them to be."""
    for i, mode in enumerate(curves["mode"].values):
        style = {"marker": "os^"[i % 3], "linestyle": ("-", "--", "-.")[i % 3], "color": f"C{i}"}
        axes.loglog(curves.lstm_std, curves.lstm.sel(mode=mode) - 2.0, label=f"LSTM, {_mode(str(mode))}", **style)
    axes.loglog(curves.lstm_std, curves.notes - 2.0, label=r"notes, with $\sigma/4$", marker="x", **LAW)
    axes.set(title="Bias on an LSTM's cell input", xlabel=r"bias $\sigma$", ylabel="critical cell gain − 2")
    axes.legend(frameon=False, fontsize=9)


def _mode(name: str) -> str:
    return {"equal": "equal gains", "gates 1": "gate gains 1", "frozen": "frozen gates"}.get(name, name)


def plot_potential(curves: xr.Dataset) -> Figure:
    """[EOC 6]: the potential in which C moves, with the dynamic and with the static C_0."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for kind, style in (("dynamic", DYNAMIC), ("static", STATIC)):
        variance = float(curves.variance.sel(kind=kind))
        v = curves.potential.sel(kind=kind)
        axes.plot(curves.part * variance, v, label=f"{kind} $C_0 = {variance:.4g}$", **style)
        axes.plot([variance], [float(v[-1])], "o", color=style["color"], markersize=5)
    axes.axhline(0.0, color="0.7", linewidth=0.8)
    bias = f", $\\sigma_b = {curves.attrs['bias_std']:g}$" if curves.attrs["bias_std"] else ""
    axes.set(title=f"Potential at $g = {curves.attrs['gain']:g}${bias}", xlabel="$C$", ylabel="$V(C)$")
    axes.legend(frameon=False)
    return figure


def plot_autocorrelations(curves: xr.Dataset) -> Figure:
    """C(τ) of flow and map in units of the decay time, and decay times beside the notes' |τ_∞|."""
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, gain in enumerate(curves.gain.values):
        left.semilogy(curves.time, curves.flow.sel(gain=gain), color=f"C{i}", label=f"flow, $g = {gain:g}$")
        left.semilogy(curves.time, curves["map"].sel(gain=gain), color=f"C{i}", linestyle="--", linewidth=1.2)
    left.semilogy(curves.time, 1.0 / np.cosh(curves.time), label=r"$1/\cosh(\kappa\tau)$, edge", **LAW)
    left.plot([], [], color="0.3", linestyle="--", linewidth=1.2, label="map")
    left.set(
        title="Autocorrelation", xlabel=r"lag, in decay times of the flow", ylabel=r"$C(\tau)/C_0$", ylim=(2e-3, 1.2)
    )
    left.legend(frameon=False, fontsize=9)
    x = np.arange(curves.sizes["gain"])
    right.bar(x - 0.2, curves.decay_time, 0.38, color=DYNAMIC["color"], label=r"decay time $1/\kappa$")
    right.bar(x + 0.2, curves.notes_time, 0.38, color="0.75", edgecolor="0.3", hatch="//",
              label=r"$|\tau_\infty|$ of the notes (imaginary)")  # fmt: skip
    right.set(title="Time scales", xlabel="gain $g$", ylabel="steps")
    right.set_xticks(x, [f"{g:g}" for g in curves.gain.values])
    right.legend(frameon=False, fontsize=9)
    return figure


_STYLES: dict[str, dict[str, Any]] = {
    "mean field": {"color": "#d62728", "marker": "o", "markersize": 5, "linewidth": 1.8},
    "networks": {"color": "black", "marker": "s", "markersize": 5, "linestyle": "none", "fillstyle": "none"},
    "reduced map": {"color": "#1f4e8c", "linestyle": "--", "linewidth": 1.5},
    "reduced flow": {"color": "#6f9fd8", "linestyle": "-.", "linewidth": 1.5},
    "onset law": LAW,
}


def plot_comparison(curves: xr.Dataset) -> Figure:
    """The LSTM beside the reduced model and the onset law: E h², half-time and λ_max against the cell gain."""
    modes = curves["mode"].values
    figure = Figure(figsize=(11.5, 0.8 + 3.1 * len(modes)), layout="constrained")
    panels = figure.subplots(len(modes), 3, squeeze=False, sharex=True)
    labels = {
        "second_moment": "$E\\,h^2$",
        "half_time": "half-time (steps)",
        "lyapunov_max": r"$\lambda_{\max}$ per step",
    }
    size = curves.attrs["size"]
    for row, mode in zip(panels, modes, strict=True):
        for axes, (name, label) in zip(row, labels.items(), strict=True):
            for model in curves.model.values:
                y = curves[name].sel(mode=mode, model=model).values
                error = curves[name + "_error"].sel(mode=mode, model=model).values
                y, error = np.where(np.isfinite(y) & (y > 0.0), y, np.nan), np.nan_to_num(error)
                title = f"networks, N = {size}" if model == "networks" else str(model)
                axes.errorbar(curves.gain - 2.0, y, error, label=title, **_STYLES[str(model)])
            axes.set(xscale="log", yscale="log", ylabel=label)
        row[1].set_title(f"LSTM, {_mode(str(mode))}", fontsize=11)
    for axes in panels[-1]:
        axes.set_xlabel("cell gain − 2")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def plot_compared(found: Comparison, longest: int = 80) -> Figure:
    """Autocorrelation of h, relative to lag 0: networks, mean field, onset law, and the reduced map and flow."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    field = found.mean_field.field.autocorrelation["h"]
    curves: dict[str, Any] = {"mean field": field.value / field.value[0]}
    if found.networks is not None:
        curves["networks"] = found.networks.autocorrelation.value / found.networks.autocorrelation.value[0]
    curves["reduced map"] = found.reduced.map.autocorrelation / found.reduced.map.variance
    curves["reduced flow"] = found.reduced.autocorrelation_at(np.arange(longest)) / found.reduced.dynamic_variance
    if found.law.second_moment > 0.0:
        curves["onset law"] = found.law.autocorrelation(np.arange(longest)) / found.law.second_moment
    for model, values in curves.items():
        shown = values[:longest]
        style = {**_STYLES[model], "markevery": 4} if "marker" in _STYLES[model] else _STYLES[model]
        title = f"networks, N = {found.networks.size}" if model == "networks" and found.networks else model
        axes.plot(np.arange(len(shown)), shown, label=title, **style)
    axes.axhline(0.0, color="0.7", linewidth=0.6)
    gates = ", ".join(f"{name} {found.ensemble.gain[name]:g}" for name in ("forget", "input", "output"))
    axes.set(title=f"LSTM, cell gain {found.gain:g}; gates {gates}", xlabel="lag (steps)", ylabel="$C(\\tau)/C(0)$")
    axes.legend(frameon=False)
    return figure


def plot_hysteresis(loop: NetworkHysteresis) -> Figure:
    """E h² of networks as their cell gain goes up and down again."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for values, label, style in (
        (loop.up, "up, from rest", {"marker": "^", **STATIC}),
        (loop.down, "down, from chaos", {"marker": "v", **DYNAMIC}),
    ):
        for j, one in enumerate(values):
            axes.semilogy(loop.gains, one, label=label if j == 0 else None, markersize=5, **style)
    axes.axvline(2.0, color="0.7", linewidth=0.8)
    gates = ", ".join(f"{name} {loop.ensemble.gain[name]:g}" for name in ("forget", "input", "output"))
    title = f"{loop.networks} LSTM networks, N = {loop.size}; gates {gates}"
    axes.set(title=title, xlabel="cell gain", ylabel="$E\\,h^2$")
    axes.legend(frameon=False)
    return figure
