"""A journal store with something around each of its calls."""

from collections.abc import Callable
from typing import Any

from shared.journal.records import Store

Call = Callable[..., Any]


class WrappedStore:
    """A store whose every method, also one that is added some day, is what ``around`` makes of its name and itself."""

    def __init__(self, store: Store, around: Callable[[str, Call], Call]) -> None:
        self._store = store
        self._around = around

    def __getattr__(self, name: str) -> Any:
        return self._around(name, getattr(self._store, name))
