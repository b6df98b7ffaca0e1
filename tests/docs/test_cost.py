"""docs/cost.md agrees with the code: the tests measure its transactions and bytes, and compute its figures again."""

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from bench.rows.transactions import CountingTransport
from devstack.events import sample_text
from shared.errors import DeliveryDeferred, RequestRefused, Throttled
from shared.journal.journal import Journal
from shared.journal.purge import BATCH_RECORDS, purge
from shared.journal.records import JournalKey
from shared.journal.tables.entities import Entity, record_to_entity, run_marker
from shared.journal.tables.store import TablesStore
from shared.resume.gathering import Gathering
from shared.resume.resume import Resume
from shared.settings import load_settings
from tests.support import ROOT
from tests.support.builders import routes, run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import FakePipelines, Reports
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.stores import OpenTables
from tests.support.relays import LEASE, PLAIN, SETTLE, relay_over

GATHERING = PLAIN.replace("plain", "gathering") + "\ngather: { quiet: 10m, at_most: 1h }"
COOLING = PLAIN.replace("plain", "cooling") + "\ncooldown: 6h"

PAGE = (ROOT / "docs" / "cost.md").read_text()


@dataclass
class Meter:
    """The app on Azure Tables with Azure DevOps in memory, and a count of its transactions."""

    store: TablesStore
    transport: CountingTransport
    clock: ManualClock
    pipelines: FakePipelines
    reports: Reports

    def deliver(self, raw: str, route: str = PLAIN) -> int:
        """Deliver once and return the number of transactions."""
        relay = relay_over(self.store, self.pipelines, routes(route), self.clock, report=self.reports)
        return self.count(lambda: relay.deliver(raw))

    @property
    def outcomes(self) -> list[str]:
        """The outcomes of all deliveries except the first, which creates the table."""
        return [str(decision.outcome) for decision in self.reports[1:]]

    def count(self, act: Callable[[], object]) -> int:
        before = self.transport.sent
        with suppress(DeliveryDeferred):
            act()
        return self.transport.sent - before


@pytest.fixture
def meter(open_tables: OpenTables, clock: ManualClock) -> Meter:
    transport = CountingTransport()
    meter = Meter(open_tables(transport=transport), transport, clock, FakePipelines(clock), Reports())
    meter.deliver(run_completed("the first one creates the table"))
    return meter


class TestWhatAnEventNeeds:
    """The rows of the first table, counted as requests to storage."""

    def test_queued_and_then_a_duplicate(self, meter: Meter) -> None:
        assert meter.deliver(run_completed()) == needs("queued")["transactions"]
        assert meter.deliver(run_completed()) == needs("duplicate")["transactions"]
        assert meter.outcomes == ["queued", "duplicate"]

    def test_a_cooldown(self, meter: Meter) -> None:
        first, second = run_completed("first"), run_completed("second")
        assert meter.deliver(first, COOLING) == needs("queued, the route has a cooldown")["transactions"]
        assert meter.deliver(second, COOLING) == needs("suppressed by a cooldown")["transactions"]
        assert meter.outcomes == ["queued", "suppressed"]

    def test_gathered_events_and_the_end_of_their_period(self, meter: Meter) -> None:
        queue, clock = MemoryQueue(meter.clock), meter.clock
        journal = Journal(meter.store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=clock)
        gathering = Gathering(journal, queue, clock=clock)
        table, report = routes(GATHERING), meter.reports
        relay = relay_over(meter.store, meter.pipelines, table, clock, report=report, gatherings=gathering)
        give_up = timedelta(days=7)
        resume = Resume(relay, journal, queue, give_up=give_up, kinds=gathering.kinds(), report=report, clock=clock)

        def take_up_what_is_due() -> int:
            """Return the number of requests to the queue. The host takes and removes each message."""
            before, taken = queue.writes, 0
            while due := queue.take():
                resume.take_up(due[1])
                queue.finish(due[0])
                taken += 1
            return queue.writes - before + 2 * taken

        for name in ("first", "second"):
            assert meter.count(partial(relay.deliver, run_completed(name))) == needs("gathered")["transactions"]
            clock.advance(60)
        asked, transactions = [queue.writes], [0]
        for seconds in (600 - 120, 60):  # it is not yet quiet for long enough, and then it is
            clock.advance(seconds)
            transactions.append(meter.count(lambda: asked.append(take_up_what_is_due())))
        assert meter.outcomes == ["gathered", "gathered", "queued"]
        documented = [(amount(row[1]), amount(row[2])) for row in tables("Gathered events")[0][1:]]
        assert documented == [*zip(transactions, asked, strict=True)]

    def test_deferred_once_and_then_queued(self, meter: Meter) -> None:
        meter.pipelines.plan.append(Throttled("a pause, says the test", 1))
        transactions = meter.deliver(run_completed()) + meter.deliver(run_completed())
        assert transactions == needs("deferred once, then queued")["transactions"]
        assert meter.outcomes == ["deferred", "queued"]

    def test_parked(self, meter: Meter) -> None:
        meter.pipelines.plan.append(RequestRefused("no, says the test"))
        assert meter.deliver(run_completed()) == needs("parked")["transactions"]
        assert meter.outcomes == ["parked"]

    def test_ignored(self, meter: Meter) -> None:
        assert meter.deliver(sample_text("model-registered")) == needs("ignored")["transactions"]
        assert meter.outcomes == ["ignored"]

    def test_a_purge_takes_one_transaction_for_each_record_and_one_to_find_them(self, meter: Meter) -> None:
        for number in range(4):
            meter.deliver(run_completed(f"{number}"))
        meter.clock.advance(100 * 24 * 3600)
        journal = Journal(meter.store, clock=meter.clock)
        purged: list[int] = []
        transactions = meter.count(lambda: purged.append(purge(journal, timedelta(days=90), clock=meter.clock)))
        assert purged == [5]
        assert transactions == 1 + purged[0] * needs("queued")["purges"]
        assert f"One query finds up to {BATCH_RECORDS} records to delete" in " ".join(PAGE.split())

    def test_the_bytes_of_a_record(self, meter: Meter) -> None:
        meter.deliver(SAMPLE)
        record = meter.store.get(JournalKey("plain", meter.reports[-1].key))
        assert record is not None
        assert record.run_id is not None
        size = entity_bytes(record_to_entity(record, "0" * 32)) + entity_bytes(run_marker(record.key, record.run_id))
        assert size == pytest.approx(number("record_bytes"), rel=0.02)


SAMPLE: Final = sample_text("run-completed")
_TEXT_BYTES: Final = 2


def entity_bytes(entity: Entity) -> int:
    """Return the size of an entity in Azure Table storage, where PartitionKey and RowKey do not count as properties."""
    keys = entity["PartitionKey"] + entity["RowKey"]
    properties = {name: value for name, value in entity.items() if name not in {"PartitionKey", "RowKey"}}
    return (
        4
        + _TEXT_BYTES * len(keys)
        + sum(8 + _TEXT_BYTES * len(name) + _value_bytes(value) for name, value in properties.items())
    )


def _value_bytes(value: object) -> int:
    match value:
        case str():
            return 4 + _TEXT_BYTES * len(value)
        case bytes():
            return 4 + len(value)
        case datetime() | (int(), "Edm.Int64"):
            return 8
        case int():  # Edm.Int32
            return 4
        case _:
            raise AssertionError(f"the size of {type(value).__name__} is not known")


def tables(heading: str) -> list[list[list[str]]]:
    """Return the tables of a section as rows of cells. The first row is the header."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section '{heading}'"
    blocks = re.findall(r"(?:^\|.*\n)+", found[1], re.MULTILINE)
    return [
        [
            [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
            for line in block.splitlines()
            if not line.startswith("|---")
        ]
        for block in blocks
    ]


def amount(text: str) -> float:
    """Return the number at the beginning of a cell such as ``1,000,000 operations``."""
    return float(text.split(maxsplit=1)[0].replace(",", "").removeprefix("$"))


def needs(kind: str) -> dict[str, float]:
    """Return the quantities in a row of the first table."""
    header, *rows = tables("What an event needs")[0]
    (row,) = (row for row in rows if row[0] == kind)
    return dict(zip(header[1:], map(amount, row[1:]), strict=True))


@dataclass(frozen=True)
class Price:
    """The price of one unit, and the number of free units."""

    usd: float
    free: float


def prices() -> dict[str, Price]:
    return {row[0]: Price(amount(row[1]) / amount(row[2]), amount(row[3])) for row in tables("Prices")[0][1:]}


def inputs() -> dict[str, float]:
    """Return all named numbers of the page except the prices."""
    measured, assumed = tables("What an event needs")[1], tables("Assumptions")[0]
    return {row[0]: amount(row[1]) for row in (*measured[1:], *assumed[1:])}


def number(name: str) -> float:
    return inputs()[name]


_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def compute(formula: str, names: Mapping[str, float]) -> float:
    """Compute a formula with ``+ * / max``, numbers and names. Anything else is an error in the page."""

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as constant):
                return float(constant)
            case ast.Name(id=name):
                return names[name]
            case ast.BinOp(left=left, op=op, right=right):
                return float(_OPERATORS[type(op)](value(left), value(right)))
            case ast.Call(func=ast.Name(id="max"), args=arguments):
                return max(map(value, arguments))
            case _:
                raise AssertionError(f"not arithmetic: {formula}")

    return value(ast.parse(formula, mode="eval").body)


WAKE_UP: Final = (
    "execution + max(1, execution_seconds) * instance_gb * gb_second + wake_minutes * idle_bytes / 1e9 * log_gb"
)


def unit_prices() -> dict[str, float]:
    return {name: price.usd for name, price in prices().items()}


def items() -> dict[str, tuple[str, str]]:
    """Return the formula and the name of the price of each item."""
    return {row[0]: (row[1], row[2]) for row in tables("Formulas")[0][1:]}


def cost(item: str, kind: str, events: float, *, with_free: bool) -> float:
    formula, price_name = items()[item]
    price = prices()[price_name]
    quantity = events * compute(formula, {**inputs(), **needs(kind)})
    return max(0.0, quantity - (price.free if with_free else 0)) * price.usd


def logic_apps(hosting: str, events: float, *, with_free: bool) -> float:
    """Return the cost of the same flow in Logic Apps: the calls of its steps, and one delivery by Event Grid."""
    header, *rows = tables("The same flow in Logic Apps")[0]
    calls = [row[header.index(hosting)] for row in rows]
    total = cost(next(iter(items())), "queued", events, with_free=with_free)
    for name in ("standard_call", "builtin_call"):
        price = prices()[name]
        total += max(0.0, events * calls.count(name) - (price.free if with_free else 0)) * price.usd
    return total


def shown(heading: str) -> Iterator[tuple[str, str, str]]:
    """Yield row, column and figure of a table of results."""
    header, *rows = tables(heading)[0]
    for row in rows:
        for column, figure in zip(header[1:], row[1:], strict=True):
            yield row[0].strip("*"), column, figure.strip("*")


class TestFigures:
    def test_a_million_events(self) -> None:
        figures = list(shown("A million events"))
        assert {row for row, _, _ in figures} == {*items(), "total"}
        assert {column for _, column, _ in figures} == {row[0] for row in tables("What an event needs")[0][1:]}
        for row, kind, figure in figures:
            parts = items() if row == "total" else [row]
            assert figure == f"{sum(cost(item, kind, 1e6, with_free=False) for item in parts):,.2f}", (row, kind)

    def test_a_month(self) -> None:
        figures = list(shown("A month"))
        assert len(figures) == 12
        for row, column, figure in figures:
            events = amount(row)
            if column == "nextstage":
                total = sum(cost(item, "queued", events, with_free=True) for item in items())
            else:
                total = logic_apps(column.removeprefix("Logic Apps "), events, with_free=True)
            assert figure == f"{total:,.2f}", (row, column)

    def test_wake_ups(self) -> None:
        one = compute(WAKE_UP, {**inputs(), **unit_prices()})
        for what, times, figure in tables("Wake-ups")[0][1:]:
            assert figure == f"{amount(times) * one:,.2f}", what

    def test_the_timers_that_wake_the_app_are_those_of_the_app(self) -> None:
        """A month has 730 hours."""
        listed = {re.findall(r"the timer `(\w+)`", row[0])[0]: amount(row[1]) for row in tables("Wake-ups")[0][1:-1]}
        schedules = re.findall(r'schedule="([^"]+)".*?\ndef (\w+)', (ROOT / "function_app.py").read_text(), re.DOTALL)
        monthly = {"0 30 3 * * *": 730 // 24, "0 */10 * * * *": 730 * 6}
        assert listed == {name: monthly[schedule] for schedule, name in schedules}

    def test_the_figures_in_the_text(self) -> None:
        names = {**inputs(), **unit_prices(), "always_ready": 1}
        formulas = {
            "always_ready * instance_gb * 2_628_000 * baseline": 1,
            "always_ready * 43_800 * idle_bytes / 1e9 * log_gb": 1,
            "alert_rules * alert_rule": 1,
            "(1 + subscriptions) * event_grid": 1e6,
            "5 * queue_operation": 1e6,
            "11 * queue_operation + 6 * table_transaction": 10_000,
            WAKE_UP: 1000,
        }
        text = " ".join(PAGE.split())
        assert [formula for formula in formulas if f"`{formula}`" not in text] == []
        month = sum(cost(item, "queued", 1e6, with_free=True) for item in items())
        computed = {
            f"${month:.0f}",
            *(f"${times * compute(formula, names):.2f}" for formula, times in formulas.items()),
        }
        assert set(re.findall(r"\$\d+(?:\.\d\d)?\b", text)) == computed

    def test_the_retention_is_the_default_of_the_setting(self) -> None:
        assert number("retention_months") * 30 == load_settings({}, Path()).retention_days
