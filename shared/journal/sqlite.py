"""The journal in a SQLite file, for one machine with any number of threads and processes."""

import json
import os
import sqlite3
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

from shared.clock import Clock, utc_now
from shared.errors import JournalUnavailable, NewerJournal, RunAlreadyOwned, UnreadableRecord
from shared.journal.backend import Backend, MakeIdentity
from shared.journal.probe import Probe, probe_store
from shared.journal.records import (
    NO_EVENT,
    RUN_UNKNOWN,
    JournalKey,
    Record,
    Selection,
    Skipped,
    State,
    Step,
    Store,
    after_prefix,
    log_skipped,
    may_own_one_of,
)
from shared.journal.sqlite_writer import Writer
from shared.journal.stored_form import (
    Found,
    check_schema,
    checked,
    later_fields,
    read_entry,
    read_later_fields,
    readable,
    reading,
    refuse,
    schema_of,
    stored_entry,
)

PREFIX: Final = "sqlite:"
BUSY_SECONDS: Final = 5.0

_MIGRATIONS: Final = (
    # To version 1. A file of 0.1.0 has version 0, this table and these two indices.
    (
        """CREATE TABLE IF NOT EXISTS records (
            route TEXT NOT NULL,
            key TEXT NOT NULL,
            version INTEGER NOT NULL,
            state TEXT NOT NULL,
            run_id INTEGER,
            claimed_at TEXT NOT NULL,
            event TEXT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (route, key)
        ) STRICT""",
        "CREATE INDEX IF NOT EXISTS by_state_and_age ON records (state, claimed_at)",
        "ALTER TABLE records ADD COLUMN shares_run INTEGER NOT NULL DEFAULT 0",
        # 0.1.0 creates the index if there is none with this name, so it must keep its name.
        "DROP INDEX IF EXISTS one_record_per_run",
        "CREATE UNIQUE INDEX one_record_per_run ON records (route, run_id) WHERE run_id IS NOT NULL AND shares_run = 0",
        "CREATE INDEX by_run ON records (run_id) WHERE run_id IS NOT NULL",
    ),
)
"""The statements that upgrade the file to version 1, 2 and so on. ``user_version`` is the version of the file."""
_VERSION: Final = len(_MIGRATIONS)

_COLUMNS: Final = "route, key, version, state, run_id, claimed_at, event, document, shares_run"
_INSERT: Final = (
    "INSERT INTO records (version, state, run_id, claimed_at, event, document, shares_run, route, key)"
    " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (route, key) DO NOTHING"
)
_UPDATE: Final = (
    "UPDATE records SET version = version + 1, state = ?, run_id = ?, claimed_at = ?, event = ?, document = ?,"
    " shares_run = ? WHERE route = ? AND key = ? AND version = ?"
)
_DELETE: Final = "DELETE FROM records WHERE route = ? AND key = ? AND version = ?"
_SETUP_TRIES: Final = 50


class SqliteStore(Store):
    """The journal in a file. Writes that several threads make at once are committed together."""

    def __init__(self, path: Path, *, is_reader: bool = False) -> None:
        """Open the file, or create it.

        :param is_reader: only read, also a file of an earlier version, which is not upgraded.
        :raises JournalUnavailable: the file cannot be opened or created.
        """
        self._path = path
        self.is_reader = is_reader
        with self._errors():
            _create(path)
            self._file = _File(path)
            # Stays open, so that no new file gets the same inode.
            anchor = _connect(path)
        self._writer = Writer(self._file.connect)
        # Also when the store is garbage-collected or the process ends: SQLite cleans up the WAL when the last
        # connection closes.
        self._finalizer = weakref.finalize(self, _close, self._writer, anchor)
        self._set_up()

    def clock_offset(self) -> timedelta:
        """Return zero: all processes that use the file share this machine's clock."""
        return timedelta()

    def insert(self, record: Record) -> Record | None:
        with self._errors():
            written = self._write(_INSERT, row_of(record))
        return record._replace(version="1") if written else None

    def get(self, key: JournalKey) -> Record | None:
        return self._one("route = ? AND key = ?", *key)

    def replace(self, record: Record) -> Record | None:
        version = int(record.version)
        with self._errors():
            try:
                written = self._write(_UPDATE, (*row_of(record), version))
            except sqlite3.IntegrityError as exc:
                raise RunAlreadyOwned(
                    f"run {record.run_id} belongs to another record of route {record.key.route}"
                ) from exc
        return record._replace(version=str(version + 1)) if written else None

    def write_together(self, records: Sequence[Record]) -> bool:
        changes = [
            (_UPDATE, (*row_of(record), int(record.version))) if record.version else (_INSERT, row_of(record))
            for record in records
        ]
        with self._errors():
            are_written = self._writer.write_all(changes)
            self._file.check()
        return are_written

    def may_own(self, run_ids: Iterable[int]) -> Iterator[Record]:
        wanted = set(run_ids)
        names_one = "run_id IN (SELECT value FROM json_each(?))"
        is_unknown = "state IN (SELECT value FROM json_each(?))"
        found = self.found(f"{names_one} OR {is_unknown}", json.dumps(list(wanted)), json.dumps(list(RUN_UNKNOWN)))
        return (record for record in readable(found, refuse) if may_own_one_of(record, wanted))

    def select(self, selection: Selection, limit: int, skipped: Skipped = log_skipped) -> Iterator[Record]:
        conditions: dict[str, Any] = {}
        if selection.route is not None:
            conditions["route = ?"] = selection.route
        if selection.route_prefix is not None:
            # A range, because it uses the primary key. LIKE would treat some characters as wildcards.
            conditions["route >= ?"] = selection.route_prefix
            conditions["route < ?"] = after_prefix(selection.route_prefix)
        if selection.states:
            conditions["state IN (SELECT value FROM json_each(?))"] = json.dumps(sorted(selection.states))
        if selection.claimed_before is not None:
            conditions["claimed_at < ?"] = _time_text(selection.claimed_before)
        where, parameters = " AND ".join(conditions) or "TRUE", list(conditions.values())
        if selection.after is not None:
            where += " AND (route, key) > (?, ?) ORDER BY route, key"
            parameters += selection.after
        found = self.found(where, *parameters)
        return islice(readable(found, skipped), limit)

    def delete(self, record: Record) -> bool:
        with self._errors():
            return self._write(_DELETE, (record.key.route, record.key.key, int(record.version))) == 1

    def close(self) -> None:
        """Close the writing connection."""
        self._finalizer()

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> int:
        """Carry out a statement on another table of the file, and return how many rows it has changed."""
        with self._errors():
            return self._write(sql, parameters)

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Return rows of another table of the file."""
        with self.reading() as connection:
            return connection.execute(sql, parameters).fetchall()

    def found(self, where: str, *parameters: str | int, with_events: bool = True) -> Iterator[Found]:
        """Return records one by one: together they may not fit in memory.

        :param where: a condition on the columns of a record, and if wanted the order. All values are in ``parameters``.
        :param with_events: False leaves out the text of each event, which takes most of the space.
        """
        with self.reading() as connection:
            columns = columns_to_read(connection) if self.is_reader else _COLUMNS
            if columns is None:
                return
            if not with_events:
                columns = columns.replace("event", "'' AS event")
            connection.text_factory = bytes  # SQLite stores any bytes as text, and decoding them would end the query
            for row in connection.execute(f"SELECT {columns} FROM records WHERE {where}", parameters):
                try:
                    yield _record(row)
                except UnreadableRecord as exc:
                    yield exc

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open a connection for queries of one moment. It does not wait for writers.

        :raises JournalUnavailable: the file does not answer, or was deleted or replaced.
        """
        with self._errors():
            with closing(self._file.connect()) as connection:
                yield connection
            self._file.check()

    def _write(self, sql: str, parameters: tuple[Any, ...]) -> int:
        """Write, and raise an error if the file was deleted meanwhile.

        Not in the writer: all threads wait for it, and a system call there would delay all of them.
        """
        written = self._writer.write(sql, parameters)
        self._file.check()
        return written

    def _one(self, where: str, *parameters: str | int) -> Record | None:
        return next(readable(self.found(where, *parameters), refuse), None)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate SQLite's exceptions to JournalUnavailable."""
        try:
            yield
        except _FileGone as exc:
            raise JournalUnavailable(str(exc)) from exc
        except (sqlite3.Error, OSError) as exc:
            raise JournalUnavailable(
                f"the journal {self._path} does not answer: {exc}; "
                "check that the disk has space and the app can write to the file"
            ) from exc

    def _set_up(self) -> None:
        """Create or upgrade the table. Several processes may do so at once; SQLite does not always wait for them.

        :raises NewerJournal: a newer version of nextstage has upgraded the file.
        """
        for tries_left in range(_SETUP_TRIES, 0, -1):
            try:
                with self.reading() as connection:
                    if (version := _version(connection)) > _VERSION:
                        raise NewerJournal(
                            f"the journal {self._path} has version {version}, because a newer version of nextstage has "
                            f"upgraded it, and this one can read versions up to {_VERSION}; upgrade this instance"
                        )
                    if not self.is_reader:
                        connection.execute("PRAGMA journal_mode = WAL")
                        _upgrade(connection)
            except JournalUnavailable as exc:
                if tries_left == 1 or "locked" not in str(exc):
                    raise
                time.sleep(0.05)
            else:
                return


class SqliteBackend(Backend):
    """SQLite as a journal backend. The connection is ``sqlite:PATH``."""

    def problem(self, connection: str) -> str | None:
        return "is 'sqlite:' without a path; write sqlite:PATH" if connection == PREFIX else None

    def problem_in_azure(self, connection: str) -> str | None:  # noqa: ARG002 - true of every file
        return (
            "is a SQLite file, which instances in Azure cannot share; set it to the table endpoint of a storage "
            "account, such as https://<account>.table.core.windows.net"
        )

    def resolved(self, connection: str, app_dir: Path) -> str:
        return f"{PREFIX}{app_dir / self._path(connection)}"

    def place(self, connection: str) -> str:
        return str(self._path(connection))

    def may_exist(self, connection: str) -> bool:
        return self._path(connection).exists()

    def open(
        self,
        connection: str,
        make_identity: MakeIdentity,  # noqa: ARG002 - a file needs none
        connections: int,  # noqa: ARG002 - the same
        clock: Clock = utc_now,  # noqa: ARG002 - its clock is this machine's
    ) -> Store:
        return SqliteStore(self._path(connection))

    def open_to_read(self, connection: str, make_identity: MakeIdentity, connections: int) -> Store:  # noqa: ARG002
        return SqliteStore(self._path(connection), is_reader=True)

    def probe(self, connection: str, make_identity: MakeIdentity) -> Probe:  # noqa: ARG002 - a file
        """See the base class. If there is no journal yet, test a temporary file in a new folder next to its path."""
        import tempfile  # noqa: PLC0415 - slow to import, and the app does not need it

        path = self._path(connection)
        if path.exists():
            with closing(SqliteStore(path)) as store:
                return probe_store(store)
        try:
            with (
                tempfile.TemporaryDirectory(prefix=".nextstage-doctor-", dir=path.parent) as folder,
                closing(SqliteStore(Path(folder) / path.name)) as store,
            ):
                probe_store(store)
        except OSError as exc:
            raise JournalUnavailable(
                f"the journal {path} does not exist and cannot be created: {exc.strerror}; create the folder, and let "
                "the app write to it"
            ) from exc
        return Probe(f"the file does not exist yet, and can be created in {path.parent}", timedelta())

    @staticmethod
    def _path(connection: str) -> Path:
        return Path(connection.removeprefix(PREFIX))


BACKEND: Final = SqliteBackend()


class _FileGone(sqlite3.OperationalError):
    """The journal's file was deleted or replaced."""


class _File:
    """The file that was at a path at first. What is written to a deleted file is lost with the process."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._identity = self._found()

    def check(self) -> None:
        """:raises _FileGone: the file is no longer at the path."""
        if self._found() != self._identity:
            raise _FileGone(
                f"the journal {self._path} was deleted or replaced while the app was using it; move the file back, or "
                "restart the app to use what is there now. A new file does not know the events of the old one"
            )

    def connect(self) -> sqlite3.Connection:
        """Open a connection to the file, and to no other one that is at its path for a moment.

        :raises _FileGone: the file is no longer at the path.
        """
        self.check()  # SQLite would create a missing file
        connection = _connect(self._path)
        try:
            self.check()
        except _FileGone:
            connection.close()
            raise
        return connection

    def _found(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - it takes less time, and each event needs two
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def _close(writer: Writer, anchor: sqlite3.Connection) -> None:
    writer.close()
    anchor.close()


def _create(path: Path) -> None:
    """Create an empty file that only its owner can read, if there is none. SQLite gives -wal and -shm the same mode."""
    # Only a new file is opened: closing a file drops all locks that SQLite holds on it in this process.
    with suppress(FileExistsError):
        os.close(os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _connect(path: str | Path) -> sqlite3.Connection:
    """Open the file in autocommit mode, for any thread."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        # FULL, not NORMAL as usual with WAL: if a power failure undid a claim, a second run could be queued.
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection) -> None:
    """Upgrade the file in one transaction, which waits for the disk only once."""
    if _version(connection) >= _VERSION:
        return
    with connection:  # rolls back if an exception escapes
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have upgraded it by now.
        for statements in _MIGRATIONS[_version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def columns_to_read(connection: sqlite3.Connection) -> str | None:
    """Return the columns to select from a file that may not be upgraded; None if it has no table yet.

    Another process may upgrade the file at any time.
    """
    present = {name for _, name, *_ in connection.execute("PRAGMA table_info(records)")}
    if not present:
        return None
    return _COLUMNS if "shares_run" in present else _COLUMNS.replace("shares_run", "0")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _time_text(moment: datetime) -> str:
    """Return the time in UTC with all digits. In this form, strings sort like times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def row_of(record: Record) -> tuple[Any, ...]:
    """Return what the file has about a record: state, run_id, claimed_at, event, document, shares_run, route, key."""
    entry = stored_entry(record)
    fields = {
        "schema": schema_of(record),
        "entry": {name: getattr(entry, name) for name in ("event_id", "event_type", "subject", "request")},
        "lease_until": record.lease_until.isoformat(),
        "settled_at": record.settled_at.isoformat(),
        "run_url": record.run_url,
        "reason": record.reason,
        "history": [(step.at.isoformat(), step.state, step.note) for step in record.history],
        **later_fields(record),
    }
    return (
        record.state.value,
        record.run_id,
        _time_text(record.claimed_at),
        entry.event,
        json.dumps(fields),
        int(record.shares_run_id),
        record.key.route,
        record.key.key,
    )


def _record(row: tuple[Any, ...]) -> Record:
    """Read a row, in which each text is in bytes.

    :raises UnreadableRecord: the row cannot be read.
    """
    *names, version, state, run_id, claimed_at, event, text, shares_run = row
    key = JournalKey(*(name.decode(errors="replace") for name in names))
    with reading(key):
        fields = json.loads(text)
        check_schema(key, fields.get("schema", 0))
        if "entry" in fields:
            entry, document = read_entry(key, fields["entry"], event.decode(), fields["entry"]["request"])
        else:  # written after 0.1.0 and before schema 1
            entry, document = NO_EVENT, fields["document"]
        return checked(
            Record(
                key=key,
                state=State(state.decode()),
                version=str(version),
                entry=entry,
                claimed_at=datetime.fromisoformat(claimed_at.decode()),
                lease_until=datetime.fromisoformat(fields["lease_until"]),
                settled_at=datetime.fromisoformat(fields["settled_at"]),
                run_id=run_id,
                run_url=fields["run_url"],
                reason=fields["reason"],
                history=tuple(Step(datetime.fromisoformat(at), State(to), note) for at, to, note in fields["history"]),
                document=document,
                shares_run_id=bool(shares_run),
                **read_later_fields(fields),
            )
        )
