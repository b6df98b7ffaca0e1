"""A week of events in the journal and in the emulator's books, for screenshots and for tests of the operator's page.

The app itself writes all of it, with a clock that jumps from one event to the next: most days are good, one has an
outage of Azure DevOps, and on the last afternoon some events need a person or have to wait.
"""

import json
import random
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from cryptography.fernet import Fernet

from devstack.ado.declaration import DEFAULT_FILE, load_project
from devstack.ado.emulator import Emulator
from devstack.ado.faults import Fault
from devstack.ado.server import Served, serve
from devstack.demo.blobs import with_new_data
from devstack.events import sample_text
from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.composition import App, Bridge, Resumption, compose, load_configuration

if TYPE_CHECKING:
    from shared.resume.sqlite_queue import SqliteQueue

_ROOT: Final = Path(__file__).resolve().parents[2]
_PAT: Final = "devstack-pat"
_DAY: Final = timedelta(days=1)
_NOT_FOUND: Final = {
    "$id": "1",
    "message": "Pipeline with id 12 could not be found.",
    "typeName": "Microsoft.Azure.Pipelines.WebApi.PipelineNotFoundException, Microsoft.Azure.Pipelines.WebApi",
    "typeKey": "PipelineNotFoundException",
    "errorCode": 0,
    "eventId": 3000,
}
_WORDS: Final = ("brave", "calm", "clever", "fig", "good", "kettle", "lamp", "plum", "quiet", "river", "sail", "witty")
_LOST: Final = Fault(accept=True, drop=True)
_HIDDEN: Final = Fault(accept=True, drop=True, behavior={"parameters": "null"})
_REFUSED: Final = Fault(accept=False, status=404, body=_NOT_FOUND)
_THROTTLED: Final = Fault(accept=False, status=429, headers={"Retry-After": "900"})


class Week(NamedTuple):
    """What is left of the week.

    :param settings: the application settings.
    :param served: the emulator, which still runs.
    """

    settings: Mapping[str, str]
    served: Served


class _Clock:
    """A clock that is set, and that goes on as the real one does when the week is over."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._set_at: datetime | None = None

    def __call__(self) -> datetime:
        return self._now if self._set_at is None else self._now + (utc_now() - self._set_at)

    def move(self, to: datetime) -> None:
        self._now = max(self._now, to)

    def go_on(self) -> None:
        self._set_at = utc_now()


class _Planned(NamedTuple):
    """An event that is delivered, or a task that begins to wait for a run."""

    at: datetime
    text: str = ""
    copies: int = 1
    fault: Fault | None = None
    waits_for: str = ""


@contextmanager
def week(folder: Path, end: datetime, days: int = 7, *, port: int = 0) -> Iterator[Week]:
    """Live through a week that ends at a time, and keep the emulator running until the block ends.

    :param folder: gets the journal and the dispatch table.
    :param port: of the emulator.
    :raises OSError: the port is in use.
    """
    table = folder / "routes.yaml"
    text = with_new_data((_ROOT / "routes.yaml").read_text(encoding="utf-8")).replace("quiet: 5s", "quiet: 10m")
    table.write_text(text, encoding="utf-8")
    clock = _Clock(end - days * _DAY)
    emulator = Emulator(load_project(DEFAULT_FILE, _ROOT, table), pats={_PAT}, clock=clock, first_run_id=4101)
    with serve(emulator, port) as served:
        settings = {
            "AZURE_DEVOPS_ORG_URL": served.organization_url,
            "AZURE_DEVOPS_PROJECT": emulator.declaration.project,
            "AZURE_DEVOPS_AUTH": "pat",
            "AZURE_DEVOPS_EXT_PAT": _PAT,
            "JOURNAL_CONNECTION": f"sqlite:{folder / 'journal.sqlite3'}",
            "RESUME_STORAGE": "sqlite",
            "ROUTES_FILE": str(table),
            "WAIT_TOKEN_KEYS": Fernet.generate_key().decode(),
        }
        configuration = load_configuration(settings, _ROOT, NAMES)
        app = compose(configuration, DISPATCH, report=lambda *_: None, clock=clock)
        for planned in sorted(_plan(end, days), key=lambda one: one.at):
            _resume_until(app, clock, planned.at)
            for run in emulator.state.books.runs[-4:]:
                emulator.state.books.finish(run.id, "failed" if run.id % 11 == 0 else "succeeded")
            if planned.fault is not None:
                emulator.state.faults.add(planned.fault)
            clock.move(planned.at + timedelta(seconds=3))
            if planned.waits_for:
                task = emulator.start_wait_task(served.organization_url)
                body = json.dumps({"run_id": planned.waits_for}).encode()
                cast("Bridge", app.bridge).endpoint.answer(task.headers, body)
                continue
            for _ in range(planned.copies):
                app.relay.deliver(planned.text)
        _resume_until(app, clock, end)
        clock.go_on()
        yield Week(settings, served)


def _resume_until(app: App, clock: _Clock, limit: datetime) -> None:
    """Take up what is due, in the order of its time, and set the clock to the limit."""
    resume, opened = cast("Resumption", app.resumption)
    queue = cast("SqliteQueue", opened)
    while times := [due.at for due in queue.due(1) if due.at is not None and due.at < limit]:
        clock.move(times[0])
        while taken := queue.take():
            resume.go_on(taken.key, taken.ticket)
    clock.move(limit)


def _plan(end: datetime, days: int) -> Iterator[_Planned]:
    numbers = random.Random(24)  # noqa: S311 - the same week each time
    version = 40
    for day in range(days):
        start = end - (days - day) * _DAY

        def at(hours: float, start: datetime = start) -> datetime:
            return start + timedelta(hours=hours, seconds=numbers.randrange(1200))

        for hour in sorted(numbers.sample(range(1, 22), 3 if day % 7 in {1, 2} else 7)):
            done = at(hour)
            run = f"{numbers.choice(_WORDS)}_{numbers.choice(_WORDS)}_{numbers.getrandbits(50):010x}"[:24]
            failed = numbers.random() < 0.15
            yield _Planned(done, _run(run, done, failed=failed), copies=1 + (numbers.random() < 0.2))
            if not failed:
                version += 1
                registered, deployed = done + timedelta(minutes=31), done + timedelta(minutes=47)
                fault = _LOST if (day, hour) == (days - 1, 3) else None
                yield _Planned(registered, registered_model(version, registered), fault=fault)
                yield _Planned(deployed, _service(version, deployed))
        for minute in (0, 25):
            yield _Planned(drift := at(5 + minute / 60), _drift(drift, day))
        for number in range(5):
            yield _Planned(landed := at(14), _blob(day * 10 + number, landed))
        if day == days - 4:
            for minute in range(0, 40, 8):
                down = start + timedelta(hours=11, minutes=minute)
                yield _Planned(down, _run(f"calm_river_{minute:010}", down), fault=_down(3))
    yield from _today(end, version)


def _today(end: datetime, version: int) -> Iterator[_Planned]:
    """Yield what needs a person, and what waits."""

    def ago(minutes: float) -> datetime:
        return end - timedelta(minutes=minutes)

    unsafe = _changed("model-registered-unsafe-version", ago(196))
    yield _Planned(ago(196), unsafe)
    yield _Planned(ago(143), waits_for="quiet_lamp_4f8d2m6x1z")
    yield _Planned(ago(12), waits_for="calm_kettle_b3s7w0c9hn")
    yield _Planned(ago(83), registered_model(version + 1, ago(83)), fault=_REFUSED)
    yield _Planned(ago(64), _run("witty_plum_7h3kq0v5dz", ago(64)), fault=_HIDDEN)
    yield _Planned(ago(7), registered_model(version + 2, ago(7)), fault=_THROTTLED)
    yield _Planned(ago(5), _run("bright_sail_k2m9r4t7qp", ago(5)))


def _changed(sample: str, at: datetime, subject: str = "", **data: object) -> str:
    """Return a sample event of another time, with other values."""
    event: dict[str, Any] = json.loads(sample_text(sample))
    event["eventTime"] = at.isoformat()
    event["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{sample} {subject} {at:%j %H:%M:%S}"))
    event["subject"] = subject or event["subject"]
    event["data"] |= data
    return json.dumps(event)


def _run(run: str, at: datetime, *, failed: bool = False) -> str:
    sample, subject = "run-status-changed" if failed else "run-completed", f"experiments/train/runs/{run}"
    return _changed(sample, at, subject, runId=run)


def registered_model(version: int, at: datetime) -> str:
    """Return the event of a version of the week's model, which the default table deploys."""
    return _changed(
        "model-registered", at, f"models/fraud-score:{version}", ModelName="fraud-score", ModelVersion=version
    )


def _service(version: int, at: datetime) -> str:
    values = {"ServiceName": "fraud-score-blue", "ModelIds": f"fraud-score:{version}"}
    return _changed("model-deployed", at, "endpoints/fraud-score-blue", **values)


def _drift(at: datetime, day: int) -> str:
    run = f"drift_check_{day:010}_{at:%H%M}"
    return _changed("dataset-drift-detected", at, f"datadrifts/transactions/runs/{run}", RunId=run)


def _blob(number: int, at: datetime) -> str:
    path = f"landing/{at:%Y-%m-%d}/part-{number:05}.parquet"
    url = f"https://samplestorage.blob.core.windows.net/training-data/{path}"
    subject = f"/blobServices/default/containers/training-data/blobs/{path}"
    return _changed("blob-created", at, subject, url=url, eTag=f"0x8DF{number:012X}")


def _down(times: int) -> Fault:
    return Fault(accept=False, status=503, body="<html>Service Unavailable</html>", times=times)
