"""Wrappers for journal stores and resume queues that act before or after a call."""

from collections.abc import Callable
from typing import Any

from shared.journal.records import Store

Call = Callable[..., Any]
Around = Callable[[str, Call], Call]


class WrappedStore:
    """A store that wraps every method of another store with ``around(name, method)``."""

    def __init__(self, store: Store, around: Around) -> None:
        self._store = store
        self._around = around

    def __getattr__(self, name: str) -> Any:
        return self._around(name, getattr(self._store, name))


class WrappedQueue(WrappedStore):
    """The same for a queue."""

    def __init__(self, queue: Any, around: Around) -> None:
        super().__init__(queue, around)


def around_each_call(come_to: Callable[[str], object]) -> Around:
    """Call ``come_to`` before and after each call, with a place such as "before replace" or "after get"."""

    def around(name: str, call: Call) -> Call:
        def step(*arguments: Any, **options: Any) -> Any:
            come_to(f"before {name}")
            answer = call(*arguments, **options)
            come_to(f"after {name}")
            return answer

        return step

    return around


class Meanwhile:
    """An action that runs once, when a ``WrappedStore`` reaches a place.

    :param place: as in ``around_each_call``.
    :param visit: the visit of the place at which to act, counted from 1.
    """

    def __init__(self, place: str, act: Callable[[], object], visit: int = 1) -> None:
        self._place = place
        self._act = act
        self._left = visit

    def __call__(self, name: str, call: Call) -> Call:
        return around_each_call(self._come_to)(name, call)

    def _come_to(self, place: str) -> None:
        if place == self._place:
            self._left -= 1
            if self._left == 0:
                self._act()
