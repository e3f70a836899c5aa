"""Tasks for recurrent networks: sequences, and what is to be read out at their ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatefield.running.arguments import whole
from gatefield.training.images import load_images

_SYMBOLS = 8  # alphabet of the copy-memory task (Arjovsky, Shah, Bengio 2016)
_COPIED = 10  # symbols to copy


@dataclass(frozen=True, eq=False)
class Task:
    """Sequences and targets, for training and for testing.

    Attributes:
        name: for people.
        inputs, test_inputs: (examples, steps, channels), float32.
        targets, test_targets: classes (examples, read), whole numbers, or values (examples, read, outputs).
        outputs: classes, or values.
        chance: loss of the best answer that does not look at the sequence.
    """

    name: str
    inputs: np.ndarray
    targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray
    outputs: int
    chance: float

    @property
    def steps(self) -> int:
        """Length of a sequence."""
        return self.inputs.shape[1]

    @property
    def channels(self) -> int:
        """Numbers per step."""
        return self.inputs.shape[2]

    @property
    def read(self) -> int:
        """How many of the last steps are read out."""
        return self.targets.shape[1]

    @property
    def classes(self) -> bool:
        """Whether targets are classes."""
        return self.targets.ndim == 2


def sequential_images(source: str | Path = "digits", *, seed: int = 0) -> Task:
    """Images shown one pixel per step, row by row, and named at the end [CKS App. H].

    Args:
        source: as in `gatefield.training.load_images`: "digits" (64 steps), "mnist-5000" (784 steps), "openml", or a
            path to MNIST's files.
        seed: of the split of built-in sets.

    Raises:
        ValueError: data that are not there, with where to put them.
    """
    found = load_images(source, seed=seed)
    flat = [images.reshape(len(images), -1, 1) for images in (found.train, found.test)]
    labels = [labels[:, None] for labels in (found.train_labels, found.test_labels)]
    return Task(f"sequential {found.name}", flat[0], labels[0], flat[1], labels[1], 10, float(np.log(10.0)))


def adding(steps: int = 100, *, examples: int = 5000, tests: int = 1000, seed: int = 0) -> Task:
    """The adding problem (Hochreiter and Schmidhuber 1997): of many numbers the sum of two that are marked.

    Args:
        steps: length; one number of each half is marked.
        examples: sequences to train on.
        tests: sequences to test on.
        seed: of all of them.
    """
    steps = whole("steps", steps, 2)
    count = whole("examples", examples) + whole("tests", tests)
    rng = np.random.default_rng(seed)
    numbers, marks = rng.uniform(size=(count, steps)), np.zeros((count, steps))
    rows = np.arange(count)
    marks[rows, rng.integers(0, steps // 2, count)] = 1.0
    marks[rows, rng.integers(steps // 2, steps, count)] = 1.0
    sums = np.sum(numbers * marks, axis=1)[:, None, None].astype(np.float32)
    inputs = np.stack([numbers, marks], axis=-1).astype(np.float32)
    # Two uniform numbers: the variance of their sum is 1/6.
    return Task(f"adding, {steps} steps", inputs[tests:], sums[tests:], inputs[:tests], sums[:tests], 1, 1.0 / 6.0)


def copy_memory(delay: int = 50, *, examples: int = 5000, tests: int = 1000, seed: int = 0) -> Task:
    """Copy memory (Hochreiter and Schmidhuber 1997): ten symbols, to be given back after a delay.

    Args:
        delay: steps between the last symbol and the signal to answer.
        examples: sequences to train on.
        tests: sequences to test on.
        seed: of all of them.
    """
    delay = whole("delay", delay)
    count = whole("examples", examples) + whole("tests", tests)
    symbols = np.random.default_rng(seed).integers(0, _SYMBOLS, (count, _COPIED))
    steps = 2 * _COPIED + delay
    inputs = np.zeros((count, steps, _SYMBOLS + 1), np.float32)
    inputs[np.arange(count)[:, None], np.arange(_COPIED), symbols] = 1.0
    inputs[:, -_COPIED, _SYMBOLS] = 1.0  # answer from now on
    targets = symbols.astype(np.int32)
    return Task(
        f"copy memory, delay {delay}", inputs[tests:], targets[tests:], inputs[:tests], targets[:tests], _SYMBOLS,
        float(np.log(_SYMBOLS)),
    )  # fmt: skip
