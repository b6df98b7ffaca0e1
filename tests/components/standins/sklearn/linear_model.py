"""A model that is right about every image once it has seen enough of them."""

from typing import Any


class SGDClassifier:
    def __init__(self, *, random_state: int) -> None:
        self.seen = 0

    def partial_fit(self, images: Any, shown: Any, *, classes: Any) -> None:
        assert len(images) == len(shown)
        assert list(classes) == list(range(10))
        assert all(0 <= value <= 1 for image in images for value in image), "pixels must be scaled"
        self.seen += len(images)

    def score(self, images: Any, shown: Any) -> float:
        assert len(images) == len(shown)
        return min(1.0, self.seen / 400)
