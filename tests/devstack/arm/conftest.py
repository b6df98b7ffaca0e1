from collections.abc import Iterator

import pytest

from tests.support.services.arm import Arm, serve_arm


@pytest.fixture
def arm() -> Iterator[Arm]:
    with serve_arm() as arm:
        yield arm
