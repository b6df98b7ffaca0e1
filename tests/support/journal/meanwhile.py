"""What happens meanwhile: something else, at a chosen call of a store."""

from collections.abc import Callable
from typing import Any

from tests.support.journal.wrapped_store import Call


class Meanwhile:
    """Does something once, when a store comes to a place; for ``WrappedStore``.

    :param place: "before replace" or "after get", for example.
    :param visit: at which visit of the place, counted from 1.
    """

    def __init__(self, place: str, act: Callable[[], object], visit: int = 1) -> None:
        self._place = place
        self._act = act
        self._left = visit

    def __call__(self, name: str, call: Call) -> Call:
        def step(*arguments: Any) -> Any:
            self._come_to(f"before {name}")
            answer = call(*arguments)
            self._come_to(f"after {name}")
            return answer

        return step

    def _come_to(self, place: str) -> None:
        if place == self._place:
            self._left -= 1
            if self._left == 0:
                self._act()
