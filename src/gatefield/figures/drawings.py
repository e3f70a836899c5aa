"""The figures of the papers drawn from their numbers. Nothing is computed here.

Theory is drawn in lines, simulation in black marks; lines that belong together differ in their dashes as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from gatefield.plots.edge import DYNAMIC, LAW, STATIC, critical_line, lstm_lines, static_equation, variances
from gatefield.plots.phases import REGIONS
from gatefield.plots.spectra import CURVE, DOTS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from gatefield.figures.panels import FigureData

DASHES = ("-", "--", ":", "-.")
MARKS = ("o", "s", "^", "D")
FILLED = {"linestyle": "none", "color": "black", "markersize": 4.5, "linewidth": 0.9, "capsize": 2}
HOLLOW = {"markerfacecolor": "white"}
SYMBOLS = {
    "update": "a_z",
    "reset": "a_r",
    "candidate": "a_h",
    "forget": "a_f",
    "input": "a_i",
    "output": "a_o",
    "cell": "a_h",
}


def draw_cks1(data: FigureData) -> Figure:
    """Spectra of the GRU in four columns; radius and slow modes below [CKS fig. 1]."""
    figure, (growth, pinch, *slow) = _spectra(data, shown=("update", "reset"))
    panel = data.panels["e"]
    growth.loglog(panel.fine, panel.radius, label="mean field", **CURVE)
    growth.loglog(panel.fine, panel.law, color="0.35", linestyle="--", label=r"large $a_r$: $\propto\sqrt{a_r}$")
    _each(growth, panel.reset, panel.radius_counted, label=f"networks, N = {data.scale.size}")
    growth.set(xlabel="reset gain $a_r$", ylabel="spectral radius", title="$a_z = 0$, $a_h = 3$")
    pinch.semilogy(panel["update"], panel.inset - 1.0, label="mean field, steady state", **CURVE)
    pinch.semilogy(panel["update"], panel.inset_rest - 1.0, label="fixed point", color="#1f4e8c", linestyle="--")
    excess = panel.inset_counted - 1.0
    _each(pinch, panel["update"], excess.where(excess > 0.0), label=f"networks above 1, N = {data.scale.size}")
    pinch.set(xlabel="update gain $a_z$", ylabel="spectral radius − 1", title="$a_r = 0$, $a_h = 3$")
    _slow_modes(slow, data, "update gain $a_z$", "$a_r = 0$, $a_h = 3$", "a_z")
    _finish((growth, pinch), "e")
    return figure


def draw_cks3(data: FigureData) -> Figure:
    """Spectra of the LSTM in four columns; radius and slow modes below [CKS fig. 3]."""
    figure, (growth, *slow) = _spectra(data, shown=("forget", "output"), below=((0, 2), (2, 3), (3, 4)))
    panel = data.panels["e"]
    for i, gate in enumerate(("forget", "input", "output")):
        line = {"color": f"C{i}", "linestyle": DASHES[i], "label": f"mean field, ${SYMBOLS[gate]}$"}
        mark = {"color": f"C{i}", "marker": MARKS[i], "markerfacecolor": "none"}
        mark["label"] = f"N = {data.scale.size}, ${SYMBOLS[gate]}$"
        growth.loglog(panel.gain, panel[gate], **line)
        _each(growth, panel.gain, panel[f"{gate}_counted"], **mark)
    growth.loglog(panel.gain, panel.law, color="0.35", linestyle="--", linewidth=1.0, label=r"$\propto\sqrt{a_k}$")
    growth.set(xlabel="gain of one gate $a_k$, the others 0", title="$a_h = 3$", ylabel="spectral radius")
    _slow_modes(slow, data, "forget gain $a_f$", "$a_i = a_o = 0$, $a_h = 3$", "a_f")
    _finish((growth,), "e")
    return figure


def _spectra(
    data: FigureData, shown: tuple[str, str], below: tuple[tuple[int, int], ...] = ((0, 1), (1, 2), (2, 3), (3, 4))
) -> tuple[Figure, list[Axes]]:
    """Panels a–d in three rows: eigenvalues and curve, density, eigenvalues within |λ| < r; axes over columns below."""
    figure = Figure(figsize=(13.5, 13.8), layout="constrained")
    grid = figure.add_gridspec(4, 4, height_ratios=[1.0, 1.0, 0.85, 1.15])
    image = None
    norm = LogNorm(*_density_range([data.panels[letter] for letter in "abcd"]))
    for column, letter in enumerate("abcd"):
        panel = data.panels[letter]
        top, middle, bottom = (figure.add_subplot(grid[row, column]) for row in range(3))
        top.plot(panel.eigenvalue_real, panel.eigenvalue_imaginary, label=f"eigenvalues, N = {data.scale.size}", **DOTS)
        values = np.where(panel.density > 0.0, panel.density, np.nan)
        image = middle.pcolormesh(
            panel.x, panel.y, values, norm=norm, cmap="viridis", shading="nearest", rasterized=True
        )
        for axes in (top, middle):
            _contours(axes, panel, label="spectral curve, N = ∞")
            axes.axvline(1.0, color="0.6", linewidth=0.6, linestyle=":")
            axes.set(aspect="equal", xlim=_reach(panel, "x"), ylim=_reach(panel, "y"), xlabel="Re λ")
        top.set_title(", ".join(f"${SYMBOLS[name]} = {_gain(panel, name):g}$" for name in shown))
        bottom.plot(panel.radius, panel.mass, label="theory, N = ∞", **CURVE)
        bottom.plot(panel.radius, panel.mass_counted, "k.", label=f"counted, N = {data.scale.size}")
        bottom.set(xlabel="r", ylim=(0.0, 1.05 * float(max(panel.mass.max(), panel.mass_counted.max()))))
        _letter(top, letter)
        if column == 0:
            top.set_ylabel("Im λ")
            middle.set_ylabel("Im λ (density, N = ∞)")
            bottom.set_ylabel("eigenvalues per neuron, |λ| < r")
            bottom.legend(frameon=False, fontsize=9)
            figure.legend(
                *top.get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, markerscale=3
            )
        if column == 3:
            figure.colorbar(image, ax=middle, label="per unit area and neuron", shrink=0.85)
    return figure, [figure.add_subplot(grid[3, first:last]) for first, last in below]


def _slow_modes(both: list[Axes], data: FigureData, xlabel: str, title: str, symbol: str) -> None:
    """Eigenvalues near 1 against a gain, and against the radius for some gains."""
    panel, (axes, cumulative) = data.panels["f"], both
    fit = f"fit {panel.c1:.2f} erfc({panel.c2:.2f}/${symbol}$)"
    axes.errorbar(panel.gain, panel.share, panel.share_error, label="mean field", capsize=2, **CURVE)
    axes.plot(panel.fine, panel.share_fitted, color="0.35", linestyle="--", label=fit)
    axes.plot(panel.gain, panel.share_limit, color="#1f4e8c", linestyle=":", label="binary gate [CKS 92]")
    _points(
        axes,
        panel.gain,
        panel.share_counted,
        panel.share_counted_error,
        label=f"{_networks(panel)}, N = {data.scale.size}",
    )
    axes.set(xlabel=xlabel, ylabel=f"eigenvalues per neuron, |λ − 1| < {panel.near:g}", title=title)
    axes.set_ylim(0.0, 1.5 * float(max(panel.share.max(), panel.share_limit.max())))
    for i, gain in enumerate(panel.shown.values):
        style = {"color": f"{0.6 - 0.2 * i:.2f}", "linestyle": DASHES[i % 4]}
        cumulative.semilogx(panel.r, panel.cdf[i], label=f"mean field, ${symbol} = {gain:g}$", **style)
        marks = {"linestyle": "none", "marker": MARKS[i % 4], "markersize": 4, "markerfacecolor": "none"}
        cumulative.semilogx(panel.r, panel.cdf_counted[i], color="black", **marks)
    cumulative.set(xlabel="r", ylabel="eigenvalues per neuron, |λ − 1| < r", title=title)
    _finish((axes, cumulative), "f")


def _finish(both: tuple[Axes, ...], letter: str) -> None:
    for axes in both:
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        low, high = axes.get_ylim()
        if axes.get_yscale() == "log":
            axes.set_ylim(low, high * (high / low) ** 0.35)
            if high / low < 30.0:  # powers of ten would leave one tick
                axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0)))
                axes.yaxis.set_major_formatter(ScalarFormatter())
                axes.yaxis.set_minor_formatter(NullFormatter())
        elif letter == "e" or axes is both[-1]:
            axes.set_ylim(low, high + 0.35 * (high - low))
    _letter(both[0], letter)


def draw_cks2(data: FigureData) -> Figure:
    """Phase diagram with networks; pinching with the update gate; the boundary near 1 [CKS fig. 2]."""
    figure = Figure(figsize=(15.5, 5.6), layout="constrained")
    plane, pinch, near = figure.subplots(1, 3, width_ratios=[1.35, 1.0, 1.0])
    _phases(figure, plane, data)
    panel = data.panels["b"]
    pinch.semilogy(panel["update"], panel.height, label="height, steady state", **CURVE)
    spread = panel.height_of_batches
    band = {"color": CURVE["color"], "alpha": 0.2, "linewidth": 0, "label": "range of its batches"}
    pinch.fill_between(panel["update"], spread.min("batch"), spread.max("batch"), **band)
    pinch.semilogy(panel["update"], panel.height_rest, label="height, fixed point", color="#1f4e8c", linestyle="--")
    label = f"height, networks' own neurons, N = {data.scale.size}"
    _each(pinch, panel["update"], panel.height_counted, label=label)
    pinch.semilogy(panel["update"], panel.edge_rest, label="ρ − 1, fixed point", color="#1f4e8c", linestyle="-.")
    pinch.semilogy(
        panel["update"], panel.edge_limit, label=r"$\mathrm{e}^{-1-c\sqrt{C_h}a_z}$", color="0.5", linestyle=":"
    )
    pinch.set(xlabel="update gain $a_z$", ylabel="ρ − 1; height: Im λ of the boundary at Re λ = 1")
    pinch.set_title(
        f"$a_r = {panel.attrs['reset']:g}$, $a_h = {panel.attrs['candidate']:g}$",
        fontsize=9,
    )
    pinch.legend(frameon=False, fontsize=8.5)
    panel = data.panels["c"]
    for i, gain in enumerate(panel["update"].values):
        colour = ("#9a9a9a", "#1f4e8c", CURVE["color"])[i % 3]
        near.plot(
            panel.eigenvalue_real[i],
            panel.eigenvalue_imaginary[i],
            linestyle="none",
            marker=MARKS[i],
            markersize=2.4,
            color=colour,
            markerfacecolor="none",
            markeredgewidth=0.6,
        )
        near.plot(
            panel.curve_real[i],
            panel.curve_imaginary[i],
            color=colour,
            linestyle=DASHES[i],
            linewidth=1.6,
            label=f"$a_z = {gain:g}$",
        )
    near.axvline(1.0, color="0.6", linewidth=0.6, linestyle=":")
    near.set(xlim=(0.6, 1.3), ylim=(-0.45, 0.45), xlabel="Re λ", ylabel="Im λ")
    near.set_title(f"Boundaries near 1, and eigenvalues, N = {data.scale.size}", fontsize=9)
    near.legend(frameon=False, fontsize=9, loc="upper right")
    for axes, letter in ((plane, "a"), (pinch, "b"), (near, "c")):
        _letter(axes, letter)
    return figure


def _phases(figure: Figure, axes: Axes, data: FigureData) -> None:
    panel = data.panels["a"]
    x, y = panel.candidate.values, panel.reset.values
    names = panel.region.attrs["flag_meanings"].split("; ")
    colours = [REGIONS.get(name, f"C{i}") for i, name in enumerate(names)]
    axes.pcolormesh(x, y, panel.region, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(names) - 0.5, rasterized=True)
    handles: list[Any] = [Patch(facecolor=c, edgecolor="0.6", label=n) for c, n in zip(colours, names, strict=True)]
    axes.contourf(x, y, panel.marginal, levels=[0.5, 1.5], colors="none", hatches=["//"])
    handles.append(Patch(facecolor="none", edgecolor="black", hatch="//", label="marginal stability, $a_z → ∞$"))
    axes.plot(panel.marginal_candidate, panel.marginal_reset, color="black", linewidth=1.0)
    tip = panel.tricritical_candidate, panel.tricritical_reset
    fold = np.append(tip[0], panel.fold_candidate), np.append(tip[1], panel.fold_reset)
    handles += axes.plot(*fold, color="#2a7f1f", linewidth=2.0, label="fold $a_r^*$")
    axes.contour(x, y, panel.zero_stable.astype(float), levels=[0.5], colors="#1f4e8c", linewidths=1.4, linestyles="--")
    handles.append(Line2D([], [], color="#1f4e8c", linestyle="--", label="zero loses stability"))
    handles += axes.plot(*tip, "k*", markersize=11, linestyle="none", label="tricritical point")
    middle = (panel.chaos_low + panel.chaos_high) / 2.0
    handles += axes.plot(
        panel.chaos_candidate,
        middle,
        label="onset of chaos, $a_z = 0$",
        **CURVE | {"linewidth": 2.2, "linestyle": "-."},
    )
    columns, rows = np.meshgrid(panel.network_candidate, panel.network_reset)
    kinds = panel.regime.attrs["flag_meanings"].split("; ")
    for i, (kind, mark) in enumerate(zip(kinds, ("o", "s", "D", "X"), strict=True)):
        here = panel.regime.values == i
        if here.any():
            style = {"marker": mark, "markersize": 6, "linestyle": "none", "color": "black"}
            style |= {} if kind == "chaotic" else {"markerfacecolor": "white"}
            handles += axes.plot(columns[here], rows[here], label=f"N = {data.scale.size}, $a_z = 0$: {kind}", **style)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel="candidate gain $a_h$", ylabel="reset gain $a_r$")
    figure.legend(handles=handles, loc="outside lower left", ncols=5, frameon=False, fontsize=8.5, handlelength=3.0)


def draw_cks4(data: FigureData) -> Figure:
    """Slow modes at the start, epochs to learn, accuracy; accuracy and forecasts against theory [CKS fig. 4]."""
    figure = Figure(figsize=(15.0, 8.2), layout="constrained")
    rows: Any = figure.subfigures(2, 1)
    above, below = rows[0].subplots(1, 3), rows[1].subplots(1, 4)
    maps = (
        ("a", "slow_share", "eigenvalues per neuron, |λ − 1| < 0.05", "At the start, N = ∞"),
        ("b", "epochs_to_level", "epochs", f"To {data.panels['b'].level:.0%} accuracy; grey: never"),
        ("c", "accuracy", "training accuracy", f"After {data.panels['c'].epochs} epochs"),
    )
    for axes, (letter, name, label, title) in zip(above, maps, strict=True):
        panel = data.panels[letter]
        axes.set_facecolor("0.85")
        none = {"vmin": 0.0, "vmax": 1.0} if not np.isfinite(panel[name]).any() else {}
        style = {"cmap": "viridis_r" if letter == "b" else "viridis", **none}
        image = axes.pcolormesh(*_cells(panel), panel[name], **style)
        axes.set(xticks=range(panel.sizes["candidate"]), yticks=range(panel.sizes["update"]))
        axes.set_title(title, fontsize=10)
        axes.set_xticklabels([f"{v:g}" for v in panel.candidate.values])
        axes.set_yticklabels([f"{v:g}" for v in panel["update"].values])
        axes.set(xlabel="candidate gain $a_h$", ylabel="update gain $a_z$")
        figure.colorbar(image, ax=axes, label=label)
        chaotic = data.panels["a"].lyapunov_max.values > 0.0
        columns = np.arange(chaotic.shape[1])
        for row in range(chaotic.shape[0]):
            axes.plot(columns[chaotic[row]], np.full(chaotic[row].sum(), row), "k.", markersize=5, clip_on=False)
    above[0].plot([], [], "k.", label="λ > 0: chaotic at the start")
    above[0].legend(loc="upper left", fontsize=8)
    about = data.panels["d"]
    for axes, letter, name, label in (
        (below[0], "d", "lyapunov_max", "λ at the start, per step"),
        (below[1], "e", "spectral_radius", "spectral radius at the start"),
        (below[2], "f", "slow_share", "slow modes at the start, per neuron"),
    ):
        panel = data.panels[letter]
        for i, update in enumerate(panel["update"].values):
            style = {"marker": "os^Dv"[i % 5], "color": f"C{i}", "linestyle": DASHES[i % 4], "linewidth": 1.0}
            axes.plot(panel[name][i], panel.test_accuracy[i], label=f"$a_z = {update:g}$", markersize=5, **style)
        axes.set(xlabel=label, ylabel="test accuracy")
        axes.set_title(f"{about.data}, N = {about.hidden}, {about.epochs} epochs", fontsize=10)
    below[0].axvline(0.0, color="0.6", linewidth=0.8)
    below[1].axvline(1.0, color="0.6", linewidth=0.8)
    below[0].legend(frameon=False, fontsize=8)
    panel = data.panels["g"]
    for i, horizon in enumerate(panel.horizon.values):
        x, y = panel.exponent.values.ravel(), panel.error.sel(horizon=horizon).values.ravel()
        order = np.argsort(x)
        style = {"marker": MARKS[i % 4], "color": f"C{i}", "linestyle": DASHES[i % 4], "markersize": 4}
        below[3].semilogy(
            x[order], y[order], label=f"{horizon} step{'s' if horizon > 1 else ''} ahead", linewidth=1.0, **style
        )
    below[3].axvline(0.0, color="0.6", linewidth=0.8)
    below[3].set(xlabel="λ under the series, per step", ylabel="error / deviation of the series")
    below[3].set_title(f"Mackey–Glass, N = {panel.attrs['size']}", fontsize=10)
    below[3].legend(frameon=False, fontsize=8)
    for axes, letter in zip((*above, *below), "abcdefg", strict=True):
        _letter(axes, letter)
    return figure


def _cells(panel: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Edges of unit cells about the gains, which are not evenly spaced."""
    return np.arange(panel.sizes["candidate"] + 1) - 0.5, np.arange(panel.sizes["update"] + 1) - 0.5


def draw_eoc1(data: FigureData) -> Figure:
    """The static equation; C_0 against the gain; the autocorrelation [EOC fig. 1]."""
    figure = Figure(figsize=(14.0, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    static_equation(left, data.panels["a"], "Static equation", 2.0)
    panel = data.panels["b"]
    variances(middle, panel)
    _each(middle, panel.network_gain, panel.counted, label=f"networks of the map, N = {data.scale.size}", **HOLLOW)
    middle.legend(frameon=False)
    panel = data.panels["c"]
    right.plot(panel.time, panel.flow, label="flow", **DYNAMIC)
    right.plot(panel.lag, panel["map"], label="map", **STATIC)
    rare = slice(None, None, 3)
    _points(
        right,
        panel.lag[rare],
        panel.counted[rare],
        None,
        label=f"networks of the map, N = {panel.attrs['size']}",
        **HOLLOW,
    )
    right.plot(panel.time, 1.0 / np.cosh(panel.time / panel.decay_time), label=r"$1/\cosh(\kappa\tau)$, edge", **LAW)
    right.set(title=f"Autocorrelation, $g = {panel.gain:g}$", xlabel=r"lag $\tau$ in steps", ylabel=r"$C(\tau)/C_0$")
    right.legend(frameon=False)
    for axes, letter in zip((left, middle, right), "abc", strict=True):
        _letter(axes, letter)
    return figure


def draw_eoc2(data: FigureData) -> Figure:
    """The static equation with a bias; the critical line; C_0 with its plateau; LSTMs' own lines [EOC fig. 2]."""
    figure = Figure(figsize=(12.0, 9.2), layout="constrained")
    (left, line), (variance, own) = figure.subplots(2, 2)
    static_equation(left, data.panels["a"], f"Static equation, $\\sigma_b = {data.panels['a'].bias_std:g}$", 4.0)
    panel = data.panels["b"]
    critical_line(line, panel)
    biases = np.broadcast_to(panel.network_bias.values[:, None], panel.exponent.shape)
    for here, fill, label in ((panel.exponent > 0.0, "black", "λ > 0"), (panel.exponent <= 0.0, "white", "λ ≤ 0")):
        where = here.values
        style = {"markerfacecolor": fill, "label": f"network of the map, N = {data.scale.size}, {label}"}
        _points(line, biases[where], panel.network_gain.values[where] - 2.0, None, **style)
    line.legend(frameon=False, fontsize=9)
    panel = data.panels["c"]
    variance.plot(panel.gain, panel.static, label="static $C_0$", **STATIC)
    variance.plot(panel.gain, panel.dynamic, label="dynamic $C_0$", **DYNAMIC)
    variance.plot(panel.gain, panel.plateau, label=r"its plateau $C_\infty$", **DYNAMIC | {"linestyle": "-."})
    _each(variance, panel.network_gain, panel.counted, label=f"networks of the map, N = {data.scale.size}", **HOLLOW)
    _each(variance, panel.network_gain, panel.counted_plateau, label="their plateaux", **HOLLOW | {"marker": "s"})
    variance.axvline(panel.critical_gain, color="0.7", linewidth=0.8)
    variance.set(title=f"Variance, $\\sigma_b = {panel.bias_std:g}$", xlabel="gain $g$", ylabel="$C$", ylim=(0, None))
    variance.legend(frameon=False)
    lstm_lines(own, data.panels["d"])
    for axes, letter in zip((left, line, variance, own), "abcd", strict=True):
        _letter(axes, letter)
    return figure


# ---- pieces ----


def _points(axes: Axes, x: Any, y: Any, error: Any, **style: Any) -> None:
    known = None if error is None or not np.isfinite(error).all() else error
    axes.errorbar(x, y, known, **({"marker": "o", **FILLED} | style))


def _each(axes: Axes, x: Any, y: Any, **style: Any) -> None:
    """A mark for each network, by the last dimension of y."""
    for i in range(y.shape[1]):
        _points(axes, x, y[:, i], None, **(style if i == 0 else style | {"label": None}))


def _networks(panel: xr.Dataset) -> str:
    return f"{panel.networks} networks" if panel.networks > 1 else "one network"


def _contours(axes: Axes, panel: xr.Dataset, label: str) -> None:
    contour = panel.contour.values
    for i in np.unique(contour):
        here = contour == i
        axes.plot(panel.curve_real[here], panel.curve_imaginary[here], label=label if i == 0 else None, **CURVE)


def _density_range(panels: list[xr.Dataset]) -> tuple[float, float]:
    found = np.concatenate([p.density.values[p.density.values > 0.0] for p in panels])
    top = float(np.quantile(found, 0.995))
    return max(float(np.quantile(found, 0.005)), 1e-3 * top), top


def _reach(panel: xr.Dataset, axis: str) -> tuple[float, float]:
    """Limits that hold the curve, the eigenvalues and the point 1, with a margin."""
    part = "real" if axis == "x" else "imaginary"
    values = np.concatenate([panel[f"curve_{part}"], panel[f"eigenvalue_{part}"], [1.0] if axis == "x" else []])
    margin = 0.05 * (values.max() - values.min())
    return float(values.min() - margin), float(values.max() + margin)


def _gain(panel: xr.Dataset, name: str) -> float:
    return json.loads(panel.attrs["ensemble"])["gain"][name]


def _letter(axes: Axes, letter: str) -> None:
    axes.set_title(f"({letter})", loc="left", fontweight="bold")
