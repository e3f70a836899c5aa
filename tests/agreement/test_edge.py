"""LSTMs near the edge of chaos: mean field, reduced model and networks side by side, and coexistence in networks."""

from __future__ import annotations

import numpy as np
import pytest

from gatefield import edge
from gatefield.plots.edge import plot_compared


@pytest.mark.slow
def test_hysteresis() -> None:
    """Beyond the tricritical point, chaos and the stable zero state coexist below gain 2; before it, they do not."""
    gains = (1.9, 1.95, 2.0, 2.1)
    loop = edge.network_hysteresis(6.0, gains, size=600, networks=2, steps=250)
    assert 1.95 in loop.coexistence()
    assert np.all(loop.down[:, 1] > 0.03)
    assert np.all(loop.up[:, 0] < 1e-4)
    before = edge.network_hysteresis(2.0, (1.9, 1.95, 2.1), size=600, networks=2, steps=250)
    assert np.all(before.down[:, 0] < 1e-4)


@pytest.mark.slow
def test_side_by_side() -> None:
    """The LSTM's own mean field and networks agree; the reduced model and frozen gates do; the two pairs do not."""
    # [EOC §4 question 1]
    live = edge.compare(3.0, size=500, networks=2, steps=200, samples=6000)
    rows = {row["model"].split(",")[-1].strip(): row for row in live.rows}
    field, nets = rows["mean field"], rows["2 networks of 500"]
    assert field["second_moment"].value == pytest.approx(0.0640157, abs=0.004)
    assert field["lyapunov_max"].value == pytest.approx(0.07663, abs=0.006)
    assert nets["lyapunov_max"].value == pytest.approx(0.07663, abs=0.035)  # biased low by 5–7/N and by few networks
    assert field["half_time"].value == pytest.approx(6.42, abs=0.6)
    assert live.networks is not None
    assert live.networks.moving == 1.0
    frozen = edge.compare(3.0, 0.0, size=None, steps=200, samples=6000)
    assert frozen.mean_field.value == pytest.approx(frozen.reduced.map.lyapunov_max, abs=0.006)
    assert field["lyapunov_max"].value > 3.0 * rows["reduced map"]["lyapunov_max"].value
    assert len(live.as_json()["rows"]) == 5
    axes = plot_compared(live).axes[0]
    assert len(axes.get_legend_handles_labels()[1]) == 5
