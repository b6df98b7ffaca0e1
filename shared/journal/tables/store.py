"""The journal's records in Azure Table storage: for as many instances as you like.

A record is an entity (PartitionKey: route, RowKey: key; see ``entities.py``), its version is the ETag.
A run belongs to one record of a route because a record that names a run is written in one transaction with a marker
entity ``run:<id>``, which can be created only once, and which goes when its record is deleted. A delivery that goes
well costs two transactions: create the record; replace it with the marker.

**Lost answers.** Of a write whose answer was lost it is not known whether it was done, so it is sent again, and then
may find its own work in the way: the entity exists, or has another version. Therefore each write carries a random
write id. A write that is refused *after* a lost answer reads the record: if it carries this write id, the write was
done, and the record is ours with the ETag that was read. The random id, and not equal content, decides: two
deliveries may want to write the very same. A caller that comes with the same record a second time, after
JournalUnavailable, is told None (its version is gone): it must read, and finds what it wrote.

For time limits and retries see ``shared/journal/tables/retry_policy.py``.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from shared.errors import InvalidSettings, JournalUnavailable, RunAlreadyOwned
from shared.journal.probe import probe_store
from shared.journal.records import JournalKey, Record, Selection, Store
from shared.journal.tables.client import AzureTable, Operation, PooledTransport, Refused, Stored, drop, put
from shared.journal.tables.connection import connection_problem
from shared.journal.tables.entities import (
    UnreadableEntity,
    fits,
    owned_runs_filter,
    record_from_entity,
    record_to_entity,
    run_id_of,
    run_marker,
    run_row_key,
    selection_filter,
)
from shared.journal.tables.retry_policy import Call

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

TABLE_NAME: Final = "nextstagejournal"
NO_TABLE_YET: Final = "it lets us in; the table is made with the first event"

# Each further round means that another worker changed the table or the marker in between.
_MAX_ROUNDS: Final = 4
_MAX_PAGE: Final = 1000

_TABLE_NOT_FOUND: Final = "TableNotFound"
_TABLE_EXISTS: Final = "TableAlreadyExists"
_EXISTS: Final = "EntityAlreadyExists"
_ABSENCES: Final = frozenset({_TABLE_NOT_FOUND, "ResourceNotFound", "EntityNotFound"})
# Source: https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes
_CONFLICTS: Final = _ABSENCES | {_EXISTS, "UpdateConditionNotSatisfied", "ConditionNotMet"}
_ETAG_START: Final = 'W/"'


class TablesStore(Store):
    """The journal in a table. Safe for many threads: one pooled client, see ``client.py``."""

    def __init__(
        self,
        connection: str,
        make_identity: Callable[[], "TokenCredential"],
        *,
        table_name: str = TABLE_NAME,
        connections: int = 32,
        transport: PooledTransport | None = None,
    ) -> None:
        """Open the store. Sends nothing yet; the table is made when a first record finds none.

        :param connection: a storage connection string with an account key, or a table endpoint's URL.
        :param make_identity: called if it is a URL.
        :param connections: how many are kept open; as many as the host has worker threads.
        :param transport: instead of the pooled one.
        :raises InvalidSettings: the connection cannot be used; the message shows nothing secret.
        """
        if (problem := connection_problem(connection)) is not None:
            raise InvalidSettings(f"JOURNAL_CONNECTION cannot be used: {problem}")
        self._table = AzureTable(
            connection, make_identity, table_name=table_name, connections=connections, transport=transport
        )
        self._makes_table = True

    def probe(self) -> str:
        """Try the store as ``Backend.probe`` says. A missing table is not made: the service tells whether it could be.

        :raises JournalUnavailable: it cannot be used.
        """
        self._makes_table = False
        try:
            return probe_store(self)
        except _TableMissing:
            return NO_TABLE_YET

    def insert(self, record: Record) -> Record | None:
        """See the base class.

        :raises RunAlreadyOwned: the record names a run that another record of the route has.
        """
        return self._write(record, None)

    def get(self, key: JournalKey) -> Record | None:
        stored = self._read(self._call(), key.route, key.key)
        return None if stored is None else self._record(key, stored)

    def replace(self, record: Record) -> Record | None:
        if not record.version.startswith(_ETAG_START):
            return None  # not a version that this store has given; the service would call the request malformed
        return self._write(record, record.version)

    def owned_runs(self, route: str, run_ids: Iterable[int]) -> set[int]:
        """See the base class; also those that a record has named once and no longer does.

        One range query from the lowest to the highest id, because the runs asked for are neighbours in time, and so
        in id: there is little between them. (The service scans the whole partition for a list of ids joined by "or",
        and a point read for each id costs a request each.)
        """
        wanted = set(run_ids)
        if not wanted:
            return set()
        found = self._found(owned_runs_filter(route, min(wanted), max(wanted)), columns="RowKey", whole=self._call())
        return wanted & {run_id_of(stored.entity["RowKey"]) for stored in found}

    def owner(self, route: str, run_id: int) -> Record | None:
        marker = self._read(self._call(), route, run_row_key(run_id))
        record = None if marker is None else self.get(JournalKey(route, str(marker.entity.get("owner", ""))))
        return None if record is None or record.run_id != run_id else record

    def select(self, selection: Selection, limit: int) -> Iterator[Record]:
        """See the base class. Asks for page after page as they are wanted, each within a call's limit of time."""
        stored = self._found(selection_filter(selection), page_size=max(1, min(limit, _MAX_PAGE)))
        found = (self._record(JournalKey(one.entity["PartitionKey"], one.entity["RowKey"]), one) for one in stored)
        return islice((record for record in found if fits(record, selection)), limit)

    def delete(self, record: Record) -> bool:
        """See the base class. If it is gone after a lost answer, it counts as deleted by another caller."""
        if not record.version.startswith(_ETAG_START):
            return False
        drops = [drop(record.key.route, record.key.key, record.version)]
        if record.run_id is not None:
            drops.append(drop(record.key.route, run_row_key(record.run_id)))
        call = self._call()
        # If only the marker was deleted before, then the record goes alone.
        for operations in (drops, drops[:1]):
            try:
                call.ask(partial(self._table.write, operations))
            except Refused as exc:
                if exc.code not in _CONFLICTS:
                    raise call.unavailable(exc) from exc
                if exc.code not in _ABSENCES:
                    break
            else:
                return True
        return False

    def close(self) -> None:
        """Close the pooled connections."""
        self._table.close()

    def _call(self) -> Call:
        return Call(self._table.endpoint)

    def _write(self, record: Record, etag: str | None) -> Record | None:
        """Write it in place of what is stored under this ETag, or where nothing is stored."""
        call, write = self._call(), _Write(record, etag)
        for _ in range(_MAX_ROUNDS):
            try:
                return replace(record, version=call.ask(partial(self._table.write, write.operations())))
            except Refused as exc:
                if exc.code not in _CONFLICTS:
                    raise call.unavailable(exc) from exc
                code = exc.code
            if code == _TABLE_NOT_FOUND and etag is None:
                self._create_table(call)
                continue
            if not call.is_doubtful and not (code == _EXISTS and write.has_marker):
                return None
            stored = self._read(call, record.key.route, record.key.key)
            if stored is not None and write.made(stored):
                return replace(record, version=stored.etag)
            if not write.may_replace(stored):
                return None
            # The record is as this write wants it, so the marker is what was in the way.
            write.has_marker = write.has_marker and not self._has_own_marker(call, record)
        raise JournalUnavailable(
            f"{_name(record.key)} at {self._table.endpoint} could not be written in {_MAX_ROUNDS} rounds, as others "
            "kept changing the table; try again"
        )

    def _has_own_marker(self, call: Call, record: Record) -> bool:
        """Whether an earlier version of this very record has named the run.

        :raises RunAlreadyOwned: another record has.
        """
        marker = self._read(call, record.key.route, run_row_key(record.run_id or 0))
        if marker is None:
            return False
        if marker.entity.get("owner") != record.key.key:
            raise RunAlreadyOwned(f"run {record.run_id} belongs to another record of route {record.key.route}")
        return True

    def _read(self, call: Call, partition_key: str, row_key: str) -> Stored | None:
        try:
            return call.ask(partial(self._table.read, partition_key, row_key))
        except Refused as exc:
            if exc.code in _ABSENCES:
                return None
            raise call.unavailable(exc) from exc

    def _found(
        self, query: str, *, columns: str | None = None, page_size: int = _MAX_PAGE, whole: Call | None = None
    ) -> Iterator[Stored]:
        """Return what a query finds, page after page.

        :param whole: the call that has to do with all pages; None: each page has a call's time for itself.
        """
        next_page: object = None
        while True:
            call = whole or self._call()
            try:
                found, next_page = call.ask(partial(self._table.page, query, columns, page_size, next_page))
            except Refused as exc:
                if exc.code == _TABLE_NOT_FOUND:
                    return
                raise call.unavailable(exc) from exc
            call.check_time()
            yield from found
            if next_page is None:
                return

    def _record(self, key: JournalKey, stored: Stored) -> Record:
        try:
            return record_from_entity(key, stored.entity, stored.etag)
        except UnreadableEntity as exc:
            raise JournalUnavailable(
                f"{_name(key)} at {self._table.endpoint} cannot be read ({exc}); something else has written it: delete "
                "that entity, or mend it"
            ) from exc

    def _create_table(self, call: Call) -> None:
        if not self._makes_table:
            raise _TableMissing
        try:
            call.ask(self._table.create)
        except Refused as exc:
            if exc.code != _TABLE_EXISTS:  # another worker was quicker
                raise call.unavailable(exc) from exc


class _TableMissing(Exception):
    """A first record would make the table now."""


class _Write:
    """One write of a record, the same each time that it is sent."""

    def __init__(self, record: Record, etag: str | None) -> None:
        self._write_id = uuid.uuid4().hex
        self._etag = etag
        self._put = put(record_to_entity(record, self._write_id), etag)
        self._marker = None if record.run_id is None else put(run_marker(record.key, record.run_id))
        self.has_marker = self._marker is not None
        """Whether the marker is to be made with it."""

    def operations(self) -> list[Operation]:
        """The record first: where both are in the way, the service names the first one."""
        return [self._put, self._marker] if self._marker is not None and self.has_marker else [self._put]

    def made(self, stored: Stored) -> bool:
        """Whether what is stored is this very write."""
        return bool(stored.entity.get("write_id") == self._write_id)

    def may_replace(self, stored: Stored | None) -> bool:
        """Whether what is stored is what this write is to replace."""
        if stored is None or self._etag is None:
            return stored is None and self._etag is None
        # The service gives the ETag as a header here and in a document there; no need to trust in equal escapes.
        return unquote(stored.etag) == unquote(self._etag)


def _name(key: JournalKey) -> str:
    return f"the record {key.key[:12]} of route {key.route}"
