"""A store that stops at every call, so that a test decides what happens meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from shared.journal.records import JournalKey, Record, Selection, Store

Answer = TypeVar("Answer")


class SteppingStore:
    """A store that stops before and after every call.

    :param pause: called with the place, for example "before replace" or "after get".
    """

    def __init__(self, store: Store, pause: Callable[[str], object]) -> None:
        self._store = store
        self._pause = pause

    def _step(self, name: str, call: Callable[[], Answer]) -> Answer:
        self._pause(f"before {name}")
        answer = call()
        self._pause(f"after {name}")
        return answer

    def insert(self, record: Record) -> Record | None:
        return self._step("insert", lambda: self._store.insert(record))

    def get(self, key: JournalKey) -> Record | None:
        return self._step("get", lambda: self._store.get(key))

    def replace(self, record: Record) -> Record | None:
        return self._step("replace", lambda: self._store.replace(record))

    def owned_runs(self, route: str, run_ids: Iterable[int]) -> set[int]:
        return self._step("owned_runs", lambda: self._store.owned_runs(route, run_ids))

    def owner(self, route: str, run_id: int) -> Record | None:
        return self._step("owner", lambda: self._store.owner(route, run_id))

    def select(self, selection: Selection, limit: int) -> Iterator[Record]:
        return self._step("select", lambda: self._store.select(selection, limit))

    def delete(self, record: Record) -> bool:
        return self._step("delete", lambda: self._store.delete(record))


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
