"""A journal store with something around each of its calls, or something else that happens meanwhile."""

from collections.abc import Callable
from typing import Any

from shared.journal.records import Store

Call = Callable[..., Any]
Around = Callable[[str, Call], Call]


class WrappedStore:
    """A store whose every method, also one that is added some day, is what ``around`` makes of its name and itself."""

    def __init__(self, store: Store, around: Around) -> None:
        self._store = store
        self._around = around

    def __getattr__(self, name: str) -> Any:
        return self._around(name, getattr(self._store, name))


def stepping(come_to: Callable[[str], object]) -> Around:
    """Come to a place before each call and to another one after it: "before replace" or "after get", for example."""

    def around(name: str, call: Call) -> Call:
        def step(*arguments: Any, **options: Any) -> Any:
            come_to(f"before {name}")
            answer = call(*arguments, **options)
            come_to(f"after {name}")
            return answer

        return step

    return around


class Meanwhile:
    """Does something once, when a store comes to a place; for ``WrappedStore``.

    :param place: as in ``stepping``.
    :param visit: at which visit of the place, counted from 1.
    """

    def __init__(self, place: str, act: Callable[[], object], visit: int = 1) -> None:
        self._place = place
        self._act = act
        self._left = visit

    def __call__(self, name: str, call: Call) -> Call:
        return stepping(self._come_to)(name, call)

    def _come_to(self, place: str) -> None:
        if place == self._place:
            self._left -= 1
            if self._left == 0:
                self._act()
