"""A value that is made at its first use, once per process."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Lazy(Generic[Made]):
    """Calls ``make`` once and returns its result every time; after an exception, the next call tries again."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[Made] | None = None

    def __call__(self) -> Made:
        """Return the value. If another thread is making it, wait for that thread."""
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = (self._make(),)
        return self._made[0]
