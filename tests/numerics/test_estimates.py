"""Numbers with errors, as they are printed."""

from __future__ import annotations

import pytest

from gatefield.numerics.estimates import Estimate


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.395, 0.002, "0.3950 ± 0.0020"),
        (1.0000416, 9e-7, "1.00004160 ± 0.00000090"),
        (1.0, 2e-10, "1.00000000000 ± 0.00000000020"),
        (-3.14159, 0.25, "-3.14 ± 0.25"),
        (123456.0, 2345.0, "123500 ± 2300"),
        (0.0, 0.0, "0"),
        (0.0, 0.01, "0.000 ± 0.010"),
        (0.0, 3.1e-12, "(0.0 ± 3.1)e-12"),
        (1.2e-9, 3.1e-10, "(1.20 ± 0.31)e-09"),
        (6.02214e23, 1.5e19, "(6.02214 ± 0.00015)e+23"),
        (-1e300, 1e299, "(-1.00 ± 0.10)e+300"),
        (2e-310, 1e-310, "(2.0 ± 1.0)e-310"),
        (1e-5, 3.0, "0.0 ± 3.0"),
        (0.5, 0.0, "0.5"),
        (0.5, float("nan"), "0.5"),
        (float("inf"), 1.0, "inf"),
    ],
)
def test_as_printed(value: float, error: float, shown: str) -> None:
    assert str(Estimate(value, error)) == shown
