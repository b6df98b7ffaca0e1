"""How much the tests try: ``make test`` takes minutes, ``make test-long`` the time it needs."""

import os
from typing import TypeVar

import pytest

LONG = os.environ.get("NEXTSTAGE_TEST_LONG") == "1"

Amount = TypeVar("Amount")

only_long = pytest.mark.skipif(not LONG, reason="runs with 'make test-long' only")


def amount(usual: Amount, long: Amount) -> Amount:
    """Return the amount for this run of the tests."""
    return long if LONG else usual
