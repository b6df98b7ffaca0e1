"""What a test needs that may be missing: then a laptop skips the test, and CI fails it."""

import os
from collections.abc import Mapping

import pytest


def need(missing: str | None, environment: Mapping[str, str] = os.environ) -> None:
    """:param missing: what is missing and how to get it; None if all is there."""
    if missing is not None:
        (pytest.fail if environment.get("CI") else pytest.skip)(missing)
