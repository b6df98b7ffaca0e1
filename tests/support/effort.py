"""How much work the tests do: usually some minutes, and much more with ``make test-long``."""

import os
from typing import TypeVar

import pytest

LONG = os.environ.get("NEXTSTAGE_TEST_LONG") == "1"

Amount = TypeVar("Amount")

only_long = pytest.mark.skipif(not LONG, reason="runs with 'make test-long' only")


def amount(usual: Amount, long: Amount) -> Amount:
    """Return the number for this run of the tests."""
    return long if LONG else usual
