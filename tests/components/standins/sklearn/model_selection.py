"""A split that is always the same."""

from typing import Any


def train_test_split(images: Any, shown: Any, *, test_size: float, random_state: int) -> tuple[Any, Any, Any, Any]:
    at = round(len(images) * (1 - test_size))
    return images[:at], images[at:], shown[:at], shown[at:]
