"""Optional prerequisites of tests: if one is missing, the test is skipped locally and fails in CI."""

import os
from collections.abc import Mapping

import pytest


def need(missing: str | None, environment: Mapping[str, str] = os.environ) -> None:
    """Skip the test, or fail it in CI, if a prerequisite is missing.

    :param missing: what is missing and how to get it; None if nothing is.
    """
    if missing is not None:
        (pytest.fail if environment.get("CI") else pytest.skip)(missing)
