"""The journal in Azure Table storage, for any number of instances.

A record is an entity (PartitionKey: route, RowKey: key; see ``entities.py``). Its version is the ETag. A record that
names a run is written in one transaction with a marker entity ``run:<id>``. The marker can be created only once, so a
run belongs to one record of a route. It is deleted together with its record. A record that shares the ID of its run
with another record has no marker. A successful delivery costs two transactions: create the record, and replace it while
creating the marker.

**Lost answers.** If the answer to a write is lost, it is not known whether the write was done. The write is sent again
and may then conflict with itself: the entity exists, or has another version. Therefore each write contains a random
write ID. If a write is refused *after* a lost answer, it reads the record. If the record has this write ID, the write
was done, and the ETag that was read is the new version. Equal content is not enough, because two deliveries may write
the same content. If a caller repeats a write after JournalUnavailable, the store returns None, because the version is
outdated. The caller must then read the record, and finds what it wrote.

For time limits and retries see ``shared/journal/tables/retry_policy.py``.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from shared.clock import Clock, utc_now
from shared.errors import InvalidSettings, JournalUnavailable, RunAlreadyOwned, UnreadableRecord
from shared.http.azure_transport import PooledTransport
from shared.journal.probe import Probe, probe_store
from shared.journal.records import JournalKey, Record, Selection, Skipped, Store, log_skipped, may_own_one_of
from shared.journal.stored_form import Found, readable, record_name, refuse
from shared.journal.tables.client import AzureTable, Operation, Refused, Stored, drop, put
from shared.journal.tables.connection import connection_problem
from shared.journal.tables.entities import (
    fits,
    may_own_filter,
    record_from_entity,
    record_to_entity,
    run_marker,
    run_row_key,
    selection_filter,
)
from shared.journal.tables.retry_policy import Call

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

TABLE_NAME: Final = "nextstagejournal"
NO_TABLE_YET: Final = "access is allowed; the table will be created with the first event"

# Another worker changed the table or the marker during each of these rounds.
_MAX_ROUNDS: Final = 4
_MAX_PAGE: Final = 1000

_TABLE_NOT_FOUND: Final = "TableNotFound"
_TABLE_EXISTS: Final = "TableAlreadyExists"
_EXISTS: Final = "EntityAlreadyExists"
_ABSENCES: Final = frozenset({_TABLE_NOT_FOUND, "ResourceNotFound", "EntityNotFound"})
# Source: https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes
_CONFLICTS: Final = _ABSENCES | {_EXISTS, "UpdateConditionNotSatisfied", "ConditionNotMet"}
_ETAG_START: Final = 'W/"'
_NO_RECORD: Final = JournalKey("$clock", "0")


class TablesStore(Store):
    """The journal in a table. Safe for many threads, which share one client; see ``client.py``."""

    def __init__(
        self,
        connection: str,
        make_identity: Callable[[], "TokenCredential"],
        *,
        table_name: str = TABLE_NAME,
        connections: int = 32,
        clock: Clock = utc_now,
        transport: PooledTransport | None = None,
    ) -> None:
        """Open the store. Sends nothing yet. The table is created with the first record.

        :param connection: a storage connection string with an account key, or the URL of a table endpoint.
        :param make_identity: called if the connection is a URL.
        :param connections: how many connections to keep open. Use the number of the host's worker threads.
        :param clock: this process's clock.
        :param transport: replaces the pooled transport.
        :raises InvalidSettings: the connection cannot be used; the message contains no secret.
        """
        if (problem := connection_problem(connection)) is not None:
            raise InvalidSettings(f"JOURNAL_CONNECTION cannot be used: {problem}")
        self._table = AzureTable(
            connection,
            make_identity,
            table_name=table_name,
            connections=connections,
            clock=clock,
            transport=transport,
        )
        self._clock = clock
        self._has_asked_for_time = False
        self._makes_table = True

    def clock_offset(self) -> timedelta:
        """See the base class. If no answer has shown the service's clock, it reads a record that does not exist."""
        if not self._has_asked_for_time and not self._table.clock_offset.is_measured:
            self.get(_NO_RECORD)
            self._has_asked_for_time = True  # also if the answer has no usable Date
        return self._table.clock_offset.value

    def probe(self) -> Probe:
        """Test the store, see ``Backend.probe``. A missing table is not created; the test shows if access is allowed.

        :raises JournalUnavailable: the store cannot be used.
        """
        self._makes_table = False
        try:
            return probe_store(self)
        except _TableMissing:
            return Probe(NO_TABLE_YET, self.clock_offset())

    def insert(self, record: Record) -> Record | None:
        """See the base class.

        :raises RunAlreadyOwned: the record names a run that belongs to another record of the route.
        """
        return self._write(record, None)

    def get(self, key: JournalKey) -> Record | None:
        stored = self._read(self._call(), key.route, key.key)
        return None if stored is None else record_from_entity(key, stored.entity, stored.etag)

    def replace(self, record: Record) -> Record | None:
        if not record.version.startswith(_ETAG_START):
            return None  # not a version of this store; the service would refuse the request as malformed
        return self._write(record, record.version)

    def write_together(self, records: Sequence[Record]) -> bool:
        """See the base class. The records are in one partition, so it is one transaction."""
        if not all(record.version.startswith(_ETAG_START) for record in records if record.version):
            return False
        call, write_id = self._call(), uuid.uuid4().hex
        operations = [put(record_to_entity(record, write_id), record.version or None) for record in records]
        for _ in range(_MAX_ROUNDS):
            try:
                call.ask(partial(self._table.write, operations))
            except Refused as exc:
                if exc.code not in _CONFLICTS:
                    raise call.unavailable(exc) from exc
                if exc.code == _TABLE_NOT_FOUND:
                    self._create_table(call)
                    continue
                stored = self._read(call, *records[0].key) if call.lost_an_answer else None
                return stored is not None and stored.entity.get("write_id") == write_id
            else:
                return True
        raise self._keeps_changing(records[0])

    def may_own(self, run_ids: Iterable[int]) -> Iterator[Record]:
        """See the base class. Reads the pages as they are needed, each within the time limit of a call."""
        wanted = set(run_ids)
        found = readable(self._records(may_own_filter(wanted)), refuse)
        return (record for record in found if may_own_one_of(record, wanted))

    def select(self, selection: Selection, limit: int, skipped: Skipped = log_skipped) -> Iterator[Record]:
        """See the base class. Reads the pages as they are needed, each within the time limit of a call."""
        found = self._records(selection_filter(selection), page_size=max(1, min(limit, _MAX_PAGE)))
        return islice((record for record in readable(found, skipped) if fits(record, selection)), limit)

    def delete(self, record: Record) -> bool:
        """See the base class. If the record is missing after a lost answer, it counts as deleted by another caller."""
        if not record.version.startswith(_ETAG_START):
            return False
        drops = [drop(record.key.route, record.key.key, record.version)]
        if record.run_id is not None and not record.shares_run_id:
            drops.append(drop(record.key.route, run_row_key(record.run_id)))
        call = self._call()
        # If the marker is already deleted, delete the record alone.
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
        """Replace the record that has this ETag; if the ETag is None, create the record."""
        call, write = self._call(), _Write(record, etag)
        for _ in range(_MAX_ROUNDS):
            try:
                return record._replace(version=call.ask(partial(self._table.write, write.operations())))
            except Refused as exc:
                if exc.code not in _CONFLICTS:
                    raise call.unavailable(exc) from exc
                code = exc.code
            if code == _TABLE_NOT_FOUND and etag is None:
                self._create_table(call)
                continue
            if not call.lost_an_answer and not (code == _EXISTS and write.has_marker):
                return None
            stored = self._read(call, record.key.route, record.key.key)
            if stored is not None and write.produced(stored):
                return record._replace(version=stored.etag)
            if not write.may_replace(stored):
                return None
            # The record is as this write requires, so the conflict is with the marker.
            write.has_marker = write.has_marker and not self._has_own_marker(call, record)
        raise self._keeps_changing(record)

    def _keeps_changing(self, record: Record) -> JournalUnavailable:
        return JournalUnavailable(
            f"{record_name(record.key)} at {self._table.endpoint} could not be written in {_MAX_ROUNDS} attempts, "
            "because other workers kept changing the table; try again"
        )

    def _has_own_marker(self, call: Call, record: Record) -> bool:
        """Return whether the run's marker exists and belongs to this record.

        :raises RunAlreadyOwned: the marker belongs to another record.
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

    def _found(self, query: str, page_size: int) -> Iterator[Stored]:
        """Return the entities that a query finds, page by page. Each page is a call of its own."""
        next_page: object = None
        while True:
            call = self._call()
            try:
                found, next_page = call.ask(partial(self._table.page, query, page_size, next_page))
            except Refused as exc:
                if exc.code == _TABLE_NOT_FOUND:
                    return
                raise call.unavailable(exc) from exc
            call.check_time()
            yield from found
            if next_page is None:
                return

    def _records(self, query: str, page_size: int = _MAX_PAGE) -> Iterator[Found]:
        for entity, etag in self._found(query, page_size):
            try:
                yield record_from_entity(JournalKey(entity["PartitionKey"], entity["RowKey"]), entity, etag)
            except UnreadableRecord as exc:
                yield exc

    def _create_table(self, call: Call) -> None:
        if not self._makes_table:
            raise _TableMissing
        try:
            call.ask(self._table.create)
        except Refused as exc:
            if exc.code != _TABLE_EXISTS:  # another worker was quicker
                raise call.unavailable(exc) from exc


class _TableMissing(Exception):
    """The table does not exist, and must not be created now."""


class _Write:
    """One write of a record, which may be sent several times."""

    def __init__(self, record: Record, etag: str | None) -> None:
        self._write_id = uuid.uuid4().hex
        self._etag = etag
        self._put = put(record_to_entity(record, self._write_id), etag)
        self._marker: Operation | None = None
        if record.run_id is not None and not record.shares_run_id:
            self._marker = put(run_marker(record.key, record.run_id))
        self.has_marker = self._marker is not None
        """Whether this write also creates the marker."""

    def operations(self) -> list[Operation]:
        """Return the operations, the record first: if both conflict, the service reports the first one."""
        return [self._put, self._marker] if self._marker is not None and self.has_marker else [self._put]

    def produced(self, stored: Stored) -> bool:
        """Return whether the stored entity comes from this write."""
        return bool(stored.entity.get("write_id") == self._write_id)

    def may_replace(self, stored: Stored | None) -> bool:
        """Return whether this write is to replace what is stored."""
        if stored is None or self._etag is None:
            return stored is None and self._etag is None
        # The ETag comes from a header in one case and from a document in the other, and may be escaped differently.
        return unquote(stored.etag) == unquote(self._etag)
