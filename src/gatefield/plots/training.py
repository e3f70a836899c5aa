"""Trained networks as figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from gatefield.training.trainer import Training


def plot_training(result: Training) -> Figure:
    """Loss and accuracy against the epoch, in training and on sequences kept back."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = np.arange(1, result.loss.shape[1] + 1)
        for prefix, style in (("", {"color": "#1f4e8c"}), ("test_", {"color": "#d62728", "linestyle": "--"})):
            rows = getattr(result, prefix + name)
            label = "test" if prefix else "training"
            for i, row in enumerate(rows):
                axes.plot(epochs, row, label=label if i == 0 else None, marker="o", markersize=3, **style)
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend(frameon=False)
    figure.suptitle(result.task)
    return figure
