"""``python -m bench.operators_page``: time the first page of ``manage.py page`` with a large journal.

It fills a journal in SQLite and one on Azurite, and prints milliseconds. A page takes the time from the request to the
complete answer, without a socket. Nothing is written or asserted. With 100,000 records, filling Azurite takes minutes.
"""

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from flask.testing import FlaskClient

from bench.rows.journal_size import fill_sqlite, fill_tables
from bench.servers.azure_devops import emulated_answer
from bench.workload import AnswersInMemory, Deliveries, compose_app, environment, new_sqlite_journal
from devstack.azurite import Azurite
from shared.composition import App
from tools.installation import Installation
from tools.page.application import make_app, prepare
from tools.page.page import Page
from tools.page.security import Session

PORT: Final = 7090
ORIGIN: Final = f"http://127.0.0.1:{PORT}"
ORGANIZATION: Final = "http://127.0.0.1:1/contoso"
ROUTES: Final = 10
_REPEATS: Final = 10
_POLL_SECONDS: Final = 1.0
_MILLISECONDS: Final = 1000.0

PAGES: Final = {
    "overview": "/",
    "the last week": "/?span=week",
    "the last week by route": "/?span=week&by=route",
    "one route": "/?route=route-1",
    "text that no record has": "/?text=nothing-has-this-text",
    "routes": "/routes",
}

# 2 % parked and 1 % deferred; the others stay queued. Spread over ten routes.
_MIX: Final = (
    "UPDATE records SET route = 'route-' || (rowid % 10) WHERE route NOT LIKE '$%'",
    "UPDATE records SET state = 'parked', run_id = NULL WHERE rowid % 50 = 0 AND route NOT LIKE '$%'",
    "UPDATE records SET state = 'released', run_id = NULL WHERE rowid % 100 = 1 AND route NOT LIKE '$%'",
)


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-page-") as folder:
        if "sqlite" in options.stores:
            sqlite_pages(Path(folder), options.records)
        if "azurite" in options.stores:
            azurite_pages(Path(folder), options.records)
    return 0


def sqlite_pages(folder: Path, records: int, repeats: int = _REPEATS) -> None:
    """Time the pages with a journal in a SQLite file."""
    journal = new_sqlite_journal(folder)
    file = Path(journal.removeprefix("sqlite:"))
    _deliver_one(folder, journal)
    fill_sqlite(file, records)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for statement in _MIX:
            connection.execute(statement)
    with _browser(folder, journal) as (_, browser):
        _print(f"SQLite, {records:,} records: first page", _milliseconds(lambda: browser.get("/", base_url=ORIGIN)))
        _print_pages(browser, "SQLite", repeats)


def azurite_pages(folder: Path, records: int) -> None:
    """Time the pages with a journal on Azurite, of which the page makes a copy."""
    with Azurite(folder / "azurite", in_memory=True) as azurite:
        app = _deliver_one(folder, azurite.connection_string)
        fill_tables(azurite.connection_string, app, records, lambda number: f"route-{number * ROUTES // records}")
        with _browser(folder, azurite.connection_string) as (page, browser):
            name = f"Azurite, {records:,} records"
            begun_at = time.perf_counter()
            _print(f"{name}: first page", _milliseconds(lambda: browser.get("/", base_url=ORIGIN)))
            during = []
            while (progress := page.source.progress) is None or progress.as_of is None:
                during.append(_milliseconds(lambda: browser.get("/", base_url=ORIGIN)))
                if progress is not None and progress.problem:
                    print(f"  {progress.problem}")
                time.sleep(_POLL_SECONDS)
            _print(f"{name}: the copy is complete after", (time.perf_counter() - begun_at) * _MILLISECONDS)
            _print(f"{name}: a page meanwhile, median", statistics.median(during or [0]))
            _print(f"{name}: a page meanwhile, longest", max(during or [0]))
            _print_pages(browser, "Azurite", _REPEATS)


def _deliver_one(folder: Path, journal: str) -> App:
    _, body = emulated_answer()
    app = compose_app(folder, ORGANIZATION, journal, transport=AnswersInMemory(body))
    Deliveries(app)()
    return app


@contextmanager
def _browser(folder: Path, journal: str) -> Iterator[tuple[Page, FlaskClient]]:
    """Return a page and a browser that it admits."""
    installation = Installation(folder, environment(ORGANIZATION, journal, folder / "routes.yaml"))
    page = Page(installation, PORT, Session.new())
    with closing(page.source):
        app = make_app(page)
        _print("start, until the first page can be asked for", _milliseconds(partial(prepare, page, app)))
        browser = app.test_client()
        browser.get(page.url.removeprefix(ORIGIN), base_url=ORIGIN)
        yield page, browser


def _print_pages(browser: FlaskClient, store: str, repeats: int) -> None:
    for name, path in PAGES.items():
        times = [_milliseconds(partial(browser.get, path, base_url=ORIGIN)) for _ in range(repeats)]
        _print(f"{store}: {name}, median of {repeats}", statistics.median(times))


def _milliseconds(work: Callable[[], object]) -> float:
    begun_at = time.perf_counter()
    work()
    return (time.perf_counter() - begun_at) * _MILLISECONDS


def _print(name: str, milliseconds: float) -> None:
    print(f"{name:<60} {milliseconds:>10,.0f} ms", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.operators_page", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, metavar="N", help="how many records the journal has")
    parser.add_argument("--stores", nargs="+", choices=["sqlite", "azurite"], default=["sqlite", "azurite"])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
