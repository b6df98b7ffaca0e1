"""A stand-in for scikit-learn: a dataset, and a model whose accuracy grows with the number of images it has seen."""

import sys
from typing import Any

import numpy as np

for name in ("datasets", "linear_model", "model_selection"):
    sys.modules[f"{__name__}.{name}"] = sys.modules[__name__]  # one module for all of them


def load_digits(*, return_X_y: bool) -> Any:  # noqa: N803 - scikit-learn's name
    assert return_X_y
    return np.arange(100.0).reshape(100, 1) % 17, np.arange(100) % 10


def train_test_split(images: Any, labels: Any, *, test_size: float, random_state: int) -> Any:
    at = round(len(images) * (1 - test_size))
    return images[:at], images[at:], labels[:at], labels[at:]


class SGDClassifier:
    def __init__(self, *, random_state: int) -> None:
        self.seen = 0

    def partial_fit(self, images: Any, labels: Any, *, classes: Any) -> None:
        assert len(images) == len(labels)
        assert list(classes) == list(range(10))
        assert images.min() >= 0
        assert images.max() <= 1, "pixels must be scaled"
        self.seen += len(images)

    def score(self, images: Any, labels: Any) -> float:
        assert len(images) == len(labels)
        return min(1.0, self.seen / 400)
