"""A store that stops at every call, so that a test decides what happens meanwhile."""

from collections.abc import Callable
from typing import Any

from shared.journal.records import Store
from tests.support.journal.wrapped_store import Call, WrappedStore


class SteppingStore(WrappedStore):
    """A store that stops before and after every call.

    :param pause: called with the place, for example "before replace" or "after get".
    """

    def __init__(self, store: Store, pause: Callable[[str], object]) -> None:
        def around(name: str, call: Call) -> Call:
            def stepped(*arguments: Any) -> Any:
                pause(f"before {name}")
                answer = call(*arguments)
                pause(f"after {name}")
                return answer

            return stepped

        super().__init__(store, around)


class Meanwhile:
    """Does something once, when a store comes to a place; see ``SteppingStore``.

    :param visit: at which visit of the place, counted from 1.
    """

    def __init__(self, place: str, act: Callable[[], object], visit: int = 1) -> None:
        self._place = place
        self._act = act
        self._left = visit

    def __call__(self, place: str) -> None:
        if place == self._place:
            self._left -= 1
            if self._left == 0:
                self._act()
