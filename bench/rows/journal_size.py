"""Row 9: the time of a delivery with a large journal, compared with a nearly empty one."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from azure.data.tables import TableClient

from bench.comparison import Comparison, Target, alternate
from bench.decision_log import decisions_logged
from bench.programs.events import event_text
from bench.servers.azure_devops import emulated_answer
from bench.sizes import Sizes
from bench.workload import ROUTE, AnswersInMemory, Deliveries, compose_app, new_sqlite_journal
from devstack.azurite import Azurite
from shared.composition import App
from shared.journal.tables.entities import record_to_entity, run_marker
from shared.journal.tables.store import TABLE_NAME

FEW: Final = 10
# Far above the run ids of the answers, which start at 1: a run must belong to one record only.
_FIRST_OLD_RUN: Final = 1_000_000_000
_TRANSACTION: Final = 100
_RECORDS_PER_ROUTE: Final = 1_000
_MILLISECONDS: Final = 1000.0

# Copies of a real record with different keys, runs and claim times, to give every index the same number of entries.
_FILL: Final = """
INSERT INTO records (route, key, version, state, run_id, claimed_at, event, document)
WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :records)
SELECT route, lower(hex(randomblob(32))), version, state, :first_run + number,
       strftime('%Y-%m-%dT%H:%M:%S', 'now', '-' || number || ' seconds') || '.000000+00:00', event, document
FROM numbers, (SELECT * FROM records WHERE state = 'queued' LIMIT 1)
"""


def sqlite_journal(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure the journal in SQLite. Answers come from memory, because a network would hide the difference."""
    _, body = emulated_answer()
    with decisions_logged():
        few = _deliveries_with_few_records(folder, new_sqlite_journal(folder), body)
        journal = new_sqlite_journal(folder)
        many = _deliveries_with_few_records(folder, journal, body)
        file = Path(journal.removeprefix("sqlite:"))
        fill_sqlite(file, sizes.sqlite_records)
        pairs = _timed_pairs(many, few, sizes, sizes.block)
    for path in folder.glob(f"{file.name}*"):
        path.unlink()  # more than a gigabyte
    measure = f"time per delivery, SQLite journal with {sizes.sqlite_records:,} records"
    return [Comparison("9", measure, f"{FEW} records", "ms", pairs, Target("≤", 1.2))]


def tables_journal(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure the journal on Azurite: with many records on other routes, and with many on the route of the delivery.

    The second has no target, because Azurite scans the whole partition. Azure Tables does not.
    """
    others, own = sizes.azurite_records, sizes.azurite_route_records
    spread = _tables_pairs(sizes, folder / "spread", others, lambda number: f"route-{number // _RECORDS_PER_ROUTE}")
    one_route = _tables_pairs(sizes, folder / "one-route", own, lambda _: ROUTE)
    measure, few = "time per delivery, journal on Azurite with", f"{FEW} records"
    where = f"{_RECORDS_PER_ROUTE:,} on each route"
    return [
        Comparison("9b", f"{measure} {others:,} records, {where}", few, "ms", spread, Target("≤", 1.2)),
        Comparison("9c", f"{measure} {own:,} records, all on the same route", few, "ms", one_route),
    ]


def _tables_pairs(
    sizes: Sizes, folder: Path, records: int, route_of: Callable[[int], str]
) -> list[tuple[float, float]]:
    """Measure with two instances of Azurite, one for each journal."""
    _, body = emulated_answer()
    folder.mkdir()
    with (
        Azurite(folder / "few", in_memory=True) as small,
        Azurite(folder / "many", in_memory=True) as large,
        decisions_logged(),
    ):
        few = _deliveries_with_few_records(folder, small.connection_string, body)
        many = _deliveries_with_few_records(folder, large.connection_string, body)
        fill_tables(large.connection_string, many.app, records, route_of)
        return _timed_pairs(many, few, sizes, max(1, sizes.block // 6))


def _deliveries_with_few_records(folder: Path, journal: str, body: bytes) -> Deliveries:
    """Return the deliveries of an app whose journal has a few records."""
    app = compose_app(folder, "http://127.0.0.1:1/contoso", journal, transport=AnswersInMemory(body))
    deliver = Deliveries(app)
    for _ in range(FEW):
        deliver()
    return deliver


def _timed_pairs(
    many: Callable[[], object], few: Callable[[], object], sizes: Sizes, calls: int
) -> list[tuple[float, float]]:
    """Return milliseconds per delivery."""
    return alternate(many, few, clock=lambda: time.perf_counter() * _MILLISECONDS, calls=calls, repeats=sizes.repeats)


def fill_sqlite(file: Path, records: int) -> None:
    """Add copies of a queued record, each claimed a second earlier than the last one."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        connection.execute(_FILL, {"records": records, "first_run": _FIRST_OLD_RUN})
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def fill_tables(connection: str, app: App, records: int, route_of: Callable[[int], str]) -> None:
    """Insert records and markers as the store writes them, a hundred entities per transaction."""
    (decided,) = app.relay.decide(event_text(0)).decisions
    record = app.journal.get(decided.key)
    if record is None:
        raise LookupError("the first delivery did not write a record")
    entity = record_to_entity(record, "0" * 32)
    with TableClient.from_connection_string(connection, TABLE_NAME) as table:
        for first in range(0, records, _TRANSACTION // 2):
            route = route_of(first)
            operations: list[tuple[str, dict[str, Any]]] = []
            for number in range(first, min(first + _TRANSACTION // 2, records)):
                key = sha256(f"{number}".encode()).hexdigest()
                run = _FIRST_OLD_RUN + number
                operations.append(
                    ("create", {**entity, "PartitionKey": route, "RowKey": key, "run_id": (run, "Edm.Int64")})
                )
                operations.append(("create", {**run_marker(record.key, run), "PartitionKey": route, "owner": key}))
            table.submit_transaction(operations)
