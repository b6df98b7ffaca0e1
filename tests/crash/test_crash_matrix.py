"""Wherever a worker dies, the next one finishes its work: exactly one run, one final record.

The points at which a worker dies are those that a delivery really passes: a scenario is played once without a crash,
and then once for each point that it printed. A call that is added to the code is covered by itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from devstack.ado import Emulator, Fault, load_declaration, serve
from devstack.azurite import Azurite
from shared.clock import utc_now
from shared.journal.records import FINAL_STATES, Selection, Store
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.store import TablesStore
from tests.crash.worker import DEFERRED, DIED, run
from tests.support.building import run_completed
from tests.support.canaries import secret
from tests.support.stores import no_identity

LONG_AGO, EARLIER, NOW = -400, -200, 0  # seconds; each longer than a lease before the next

ROUTE = """version: 1
routes:
  - name: r
    event: RunCompleted
    organization_url: ${AZURE_DEVOPS_ORG_URL}
    project: mlops
    branch: main
    pipeline: crash-test
    parameters: { runId: "{{ run_id }}" }
"""
VARIANTS = {
    "plain": "",
    "correlated": "    correlation_parameter: nextstageKey\n",
    "cooldown": "    cooldown: 6h\n",
}
PIPELINES = """organization: contoso
project: mlops
branches: [main]
credentials:
  pat: { environment: DEVSTACK_PAT, default: unused-canary }
  token: { environment: DEVSTACK_TOKEN, default: unused-canary }
pipelines:
  - id: 21
    name: crash-test
    parameters:
      - { name: runId, type: string }
      - { name: nextstageKey, type: string, default: "" }
"""


@dataclass
class Crime:
    """An emulator and a journal, and processes that come and go."""

    emulator: Emulator
    environment: dict[str, str]
    store: Store
    offset_seconds: list[int]
    """How far the clocks of the worker that is at work, and so of Azure DevOps then, are in the past."""

    def work(self, offset: int, crash_at: int | None = None, die_within: str | None = None) -> tuple[int, list[str]]:
        """Deliver the event in a process of its own; its exit code and the points it passed."""
        self.offset_seconds[:] = [offset]
        return run(
            self.environment,
            offset,
            crash_at=crash_at,
            die_within=die_within,
            action="deliver",
            event=run_completed("run-1"),
        )

    def check(self) -> None:
        """One run in the books, one record, and it is final and names that run."""
        (run,) = self.emulator.books.runs
        records = [found for found in self.store.select(Selection(), 100) if not found.key.route.startswith("$")]
        (record,) = records
        assert record.state in FINAL_STATES
        assert record.run_id == run.id


Backend = Callable[[], tuple[str, Store]]
"""Gives an empty journal: its connection, and its store to look at."""


@pytest.fixture(params=["sqlite", "tables"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    if request.param == "tables":
        yield _empty_table(request.getfixturevalue("azurite"))
        return
    opened: list[SqliteStore] = []

    def empty_journal() -> tuple[str, Store]:
        path = tmp_path / f"journal-{len(opened)}.sqlite3"
        opened.append(SqliteStore(path))
        return f"sqlite:{path}", opened[-1]

    yield empty_journal
    for store in opened:
        store.close()


def _empty_table(azurite: Azurite) -> Backend:
    def empty_journal() -> tuple[str, Store]:
        store = TablesStore.open(azurite.connection_string, no_identity)
        for record in list(store.select(Selection(), 1000)):
            assert store.delete(record)
        return azurite.connection_string, store

    return empty_journal


@contextmanager
def new_crime(folder: Path, backend: Backend, variant: str) -> Iterator[Crime]:
    """Everything from scratch."""
    (folder / "pipelines.yaml").write_text(PIPELINES)
    (folder / "routes.yaml").write_text(ROUTE + VARIANTS[variant])
    offset = [0]
    emulator = Emulator(
        load_declaration(folder / "pipelines.yaml"),
        pats={secret("pat")},
        clock=lambda: utc_now() + timedelta(seconds=offset[0]),
    )
    connection, store = backend()
    with serve(emulator) as served:
        environment = {
            "AZURE_DEVOPS_ORG_URL": served.organization_url,
            "AZURE_DEVOPS_PROJECT": "mlops",
            "AZURE_DEVOPS_AUTH": "pat",
            "AZURE_DEVOPS_EXT_PAT": secret("pat"),
            "JOURNAL_CONNECTION": connection,
            "ROUTES_FILE": str(folder / "routes.yaml"),
        }
        yield Crime(emulator, environment, store, offset)


def _lose_an_answer(crime: Crime, *, accept: bool) -> None:
    crime.emulator.plan(Fault(accept=accept, drop=True))
    assert crime.work(LONG_AGO)[0] == DEFERRED


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("story", ["fresh", "answer-lost-after-queuing", "answer-lost-before-queuing"])
def test_a_worker_that_dies_at_any_point(tmp_path: Path, backend: Backend, story: str, variant: str) -> None:
    @contextmanager
    def prepared() -> Iterator[Crime]:
        with new_crime(tmp_path, backend, variant) as crime:
            if story != "fresh":
                _lose_an_answer(crime, accept=story == "answer-lost-after-queuing")
            yield crime

    with prepared() as crime:
        code, points = crime.work(EARLIER)
        assert code == 0
        crime.check()
    assert len(points) >= 6
    for number, point in enumerate(points):
        with prepared() as crime:
            code, passed = crime.work(EARLIER, crash_at=number)
            assert (code, passed[-1]) == (DIED, point)
            code, _ = crime.work(NOW)
            assert code == 0, f"not finished after a crash at '{point}'"
            crime.check()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_worker_that_dies_within_the_request(tmp_path: Path, backend: Backend, variant: str) -> None:
    with new_crime(tmp_path, backend, variant) as crime:
        crime.emulator.plan(Fault(accept=True, delay_after_seconds=1.5))
        assert crime.work(EARLIER, die_within="POST runs")[0] == DIED
        assert crime.work(NOW)[0] == 0
        crime.check()
