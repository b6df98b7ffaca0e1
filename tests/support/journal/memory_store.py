"""A journal store in memory for the model check. It passes the same tests as the real stores."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import count, islice

from shared.errors import RunAlreadyOwned
from shared.journal.records import JournalKey, Record, Selection, Skipped, log_skipped, may_own_one_of


class MemoryStore:
    """A store in memory. For its methods, see ``shared.journal.records.Store``.

    :param fenced: False makes ``replace`` ignore the version. A journal must never do that, and the model check must
        detect it.
    """

    def __init__(self, *, fenced: bool = True) -> None:
        self._fenced = fenced
        self._lock = threading.Lock()
        self._versions = count(1)
        self.records: dict[JournalKey, Record] = {}
        self._routes: dict[str, dict[JournalKey, None]] = {}

    def clock_offset(self) -> timedelta:
        return timedelta()

    def insert(self, record: Record) -> Record | None:
        with self._lock:
            if record.key in self.records:
                return None
            return self._put(record)

    def get(self, key: JournalKey) -> Record | None:
        return self.records.get(key)

    def replace(self, record: Record) -> Record | None:
        with self._lock:
            stored = self.records.get(record.key)
            if stored is None or (self._fenced and stored.version != record.version):
                return None
            if record.run_id is not None and any(self._owns(other, record) for other in self.records.values()):
                raise RunAlreadyOwned(f"run {record.run_id} belongs to another record of route {record.key.route}")
            return self._put(record)

    def write_together(self, records: Sequence[Record]) -> bool:
        with self._lock:
            for record in records:
                stored = self.records.get(record.key)
                if (stored is not None) != bool(record.version):
                    return False
                if stored is not None and self._fenced and stored.version != record.version:
                    return False
            for record in records:
                self._put(record)
            return True

    def may_own(self, run_ids: Iterable[int]) -> Iterator[Record]:
        wanted = set(run_ids)
        with self._lock:
            return iter([record for record in self.records.values() if may_own_one_of(record, wanted)])

    def select(self, selection: Selection, limit: int, skipped: Skipped = log_skipped) -> Iterator[Record]:
        with self._lock:
            # Newest first, because the protocol guarantees no order and SQLite returns the oldest first.
            keys = self.records if selection.route is None else self._routes.get(selection.route, {})
            found = [record for key in reversed(keys) if _fits(record := self.records[key], selection)]
            if selection.after is not None:
                found.sort(key=lambda record: record.key)
            return islice(found, limit)

    def delete(self, record: Record) -> bool:
        with self._lock:
            stored = self.records.get(record.key)
            if stored is None or stored.version != record.version:
                return False
            del self.records[record.key]
            del self._routes[record.key.route][record.key]
            return True

    def _put(self, record: Record) -> Record:
        written = record._replace(version=str(next(self._versions)))
        self.records[record.key] = written
        self._routes.setdefault(record.key.route, {})[record.key] = None
        return written

    @staticmethod
    def _owns(other: Record, record: Record) -> bool:
        return (
            other.run_id == record.run_id
            and other.key.route == record.key.route
            and other.key != record.key
            and not (record.shares_run_id or other.shares_run_id)
        )

    def close(self) -> None:
        pass


def _fits(record: Record, selection: Selection) -> bool:
    return (
        (selection.route is None or record.key.route == selection.route)
        and (selection.route_prefix is None or record.key.route.startswith(selection.route_prefix))
        and (not selection.states or record.state in selection.states)
        and (selection.after is None or record.key > selection.after)
        and (selection.claimed_before is None or record.claimed_at < selection.claimed_before)
    )
