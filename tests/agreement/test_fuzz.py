"""A slice of the fuzzer, at fixed numbers: a vanilla network, a GRU and an LSTM."""

from __future__ import annotations

import pytest
from tests.fuzz import one


@pytest.mark.slow
@pytest.mark.parametrize("number", [301, 302, 305])
def test_nothing_disagrees(number: int) -> None:
    assert one(number) == {}
