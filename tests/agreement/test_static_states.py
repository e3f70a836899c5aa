"""Static states of infinite networks against networks at rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gatefield as gf
from gatefield.phases.roots import excess_curve


def gains(forget: float, write: float, read: float, cell: float) -> dict[str, float]:
    return {"forget": forget, "input": write, "output": read, "cell": cell}


RESTING_LSTMS: list[dict[str, Any]] = [
    {"gain": gains(1, 1, 1, 1), "bias_var": {"cell": 2.0}},
    {"gain": gains(1, 2, 1, 1), "bias_mean": {"cell": 0.5}},
    {"gain": gains(0, 0, 0, 1.5), "bias_mean": {"cell": 1.0}},
    {"gain": gains(2, 1, 1, 0.5), "bias_mean": {"forget": -1.0, "cell": -0.8}, "bias_var": {"cell": 0.3}},
    {"gain": gains(1, 1, 2, 1), "bias_mean": {"forget": -0.5}, "bias_var": {"output": 0.5, "cell": 1.0}},
    {"gain": gains(1, 1, 1, 1.2), "bias_mean": {"output": 1.5, "cell": 0.7}, "bias_var": {"forget": 0.2}},
    {"gain": gains(0, 3, 3, 2), "bias_mean": {"forget": -1.0, "input": 1.0, "cell": 1.0}},
    {"gain": gains(1.5, 0, 0, 2.5), "bias_mean": {"forget": -1.0, "cell": 1.5}, "bias_var": {"input": 1.0}},
    {
        "gain": gains(3, 3, 3, 1),
        "bias_mean": {"forget": -1.0, "cell": 0.3},
        "bias_var": {"forget": 0.3, "input": 0.3, "output": 0.3, "cell": 0.3},
    },
    {"gain": gains(1.5, 2, 2, 2), "bias_mean": {"forget": -0.7}, "bias_var": {"cell": 4.0}},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", RESTING_LSTMS, ids=range(len(RESTING_LSTMS)))
def test_lstm_roots_against_networks_at_rest(settings: dict[str, Any]) -> None:
    """N = 2500, E h² and E c² within four standard errors of a network at rest.

    q = E h² answers a deviation δ of its image by δ / (1 − dq'/dq), and what h² scatters from neuron to neuron is such
    a deviation, over √N.
    """
    ensemble = gf.Ensemble(gf.LSTM(), **settings)
    (root,) = gf.fixed_points(ensemble)
    assert root.stable
    run = gf.Network(ensemble, size=2500, seed=5, dtype="float32").run(100, record=1)
    assert np.max(np.abs(run.last - run.before[-1])) < 1e-3
    curve = excess_curve(ensemble, low=root.q / 3.0)
    slope = np.interp(root.q, curve.q, np.gradient(curve.excess, np.log(curve.q)))  # d log(q'/q) / d log q
    assert slope < 0.0
    for name, square in zip(("c", "h"), np.square(run.last, dtype=np.float64).T, strict=True):
        error = np.std(square) / np.sqrt(len(square)) / min(1.0, -slope)
        assert error < 0.06 * root.second_moment[name]
        assert abs(np.mean(square) - root.second_moment[name]) < 4.0 * error, name
