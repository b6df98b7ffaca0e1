"""From settings to a working app, and function_app.py as the host sees it."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from azure.storage.queue import QueueServiceClient

from devstack.ado import Fault, Match
from devstack.azurite import Azurite
from devstack.events import sample_text
from handlers import DISPATCH, NAMES
from shared.azure_devops.runs import Run, RunRequest
from shared.clock import utc_now
from shared.clouds import US_GOVERNMENT
from shared.composition import (
    announce_routes,
    compose,
    credential,
    identity_factory,
    load_configuration,
    open_due_queue,
    open_store,
    start_resuming,
)
from shared.credentials import pat_authorization
from shared.errors import DeliveryDeferred, InvalidRoutes, InvalidSettings, NextstageError
from shared.http.message import HttpResponse
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Selection, State
from shared.queueing.orphans import Orphan
from shared.queueing.search import LostRequest
from shared.resume.azure_queue import API_VERSION
from shared.routing.running import running_routes
from shared.settings import load_settings
from shared.telemetry import Outcome
from shared.waits.wait import Wait
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, GATHERS, run_completed
from tests.support.canaries import secret
from tests.support.fakes import Reports
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.memory_store import MemoryStore
from tests.support.polling import wait_until
from tests.support.services.host_apps import deliver, exported_log, serving_app
from tests.support.waits import KEY, a_task, the_end

PAT = {"AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_EXT_PAT": secret("pat")}
VAULT = {"KEY_VAULT_URL": "https://kv.vault.azure.net", "AZURE_DEVOPS_PAT_SECRET_NAME": "x"}


class TestConfiguration:
    def test_settings_and_routes_are_loaded(self) -> None:
        configuration = load_configuration({**ENVIRONMENT, **PAT}, ROOT, NAMES)
        assert (configuration.settings.auth, len(configuration.routes.routes)) == ("pat", 7)

    @pytest.mark.parametrize(
        ("environment", "error", "words"),
        [
            ({"AZURE_DEVOPS_AUTH": "x"}, InvalidSettings, "AZURE_DEVOPS_AUTH"),
            ({}, InvalidRoutes, "AZURE_DEVOPS_ORG_URL"),
        ],
    )
    def test_wrong_configuration_is_refused(
        self, environment: dict[str, str], error: type[NextstageError], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            load_configuration(environment, ROOT, NAMES)

    @pytest.mark.parametrize("resume", [{}, {"RESUME_STORAGE": "sqlite"}])
    @pytest.mark.parametrize("is_enabled", [True, False])
    def test_a_route_that_gathers_needs_a_resume_queue(
        self, tmp_path: Path, resume: dict[str, str], is_enabled: bool
    ) -> None:
        entry = f"{GATHERS.strip()}\nenabled: {str(is_enabled).lower()}".replace("\n", "\n    ")
        (tmp_path / "routes.yaml").write_text(f"version: 1\nroutes:\n  - {entry}\n")
        settings = {**ENVIRONMENT, **PAT, "JOURNAL_CONNECTION": "sqlite:journal.sqlite3", **resume}
        if is_enabled and not resume:
            needs = (
                "'gather' needs a resume queue, .*; set RESUME_STORAGE or RESUME_STORAGE__queueServiceUri, .*: gathers$"
            )
            with pytest.raises(InvalidSettings, match=needs):
                load_configuration(settings, tmp_path, NAMES)
        else:
            assert len(load_configuration(settings, tmp_path, NAMES).routes.routes) == 1

    @pytest.mark.parametrize(
        ("content", "advice"), [(None, "check the setting ROUTES_FILE"), (b"\xff\xfe\x00", "save it as UTF-8")]
    )
    def test_routes_file_that_cannot_be_read(self, tmp_path: Path, content: bytes | None, advice: str) -> None:
        if content is not None:
            (tmp_path / "routes.yaml").write_bytes(content)
        with pytest.raises(InvalidSettings, match=f"the routes cannot be read: .*; {advice}"):
            load_configuration(ENVIRONMENT, tmp_path, NAMES)


@pytest.mark.parametrize(
    ("name", "authority_host"),
    [("AzureCloud", None), ("AzureUSGovernment", US_GOVERNMENT.authority_host)],
)
def test_the_identity_signs_in_to_the_configured_cloud(name: str, authority_host: str | None) -> None:
    """In the public cloud, the library chooses the host itself; ``AZURE_AUTHORITY_HOST`` can change it."""
    environment = {**ENVIRONMENT, **PAT, "AZURE_CLOUD": name, "AZURE_CLIENT_ID": "client"}
    factory = identity_factory(load_configuration(environment, ROOT, NAMES).settings)
    assert isinstance(factory, partial)
    assert (factory.args, factory.keywords) == (("client",), {"in_azure": False, "authority_host": authority_host})


def test_the_credential_is_the_pat_from_the_environment() -> None:
    settings = load_configuration({**ENVIRONMENT, **PAT}, ROOT, NAMES).settings
    assert credential(settings).authorization() == pat_authorization(secret("pat")).value


def run(program: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program in a new process with this environment only, to see what is really imported."""
    arguments = [sys.executable, "-c", "import os, sys, pathlib\n" + program]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(environment))


CONFIGURED = """
from handlers import DISPATCH, NAMES
from shared.composition import compose, credential, load_configuration
configuration = load_configuration(os.environ, pathlib.Path.cwd(), NAMES)
"""
CREDENTIAL = CONFIGURED + "credential(configuration.settings)"
APP = CONFIGURED + "assert compose(configuration, DISPATCH).bridge is None"
ROUTE = "version: 1\nroutes: [{name: train, event: RunCompleted, pipeline: 7}]"
DELIVERY = f"""{CONFIGURED}
from shared.http.message import HttpResponse
answer = HttpResponse(200, {{}}, b'{{"id": 1}}')
app = compose(configuration, DISPATCH, transport=lambda request, authorization, timeout_seconds: answer)
for outcome in ("queued", "duplicate"):
    (decision,) = app.relay.deliver({run_completed("run-1")!r}).decisions
    app.queueing.settle_orphans_sometimes(1)
    assert decision.outcome == outcome, decision
"""


@pytest.mark.parametrize(
    ("program", "environment", "absent"),
    [
        ("import function_app", {}, ("yaml", "jmespath", "sqlite3", "shared.resume")),
        (CREDENTIAL, ENVIRONMENT, ("azure.",)),
        (CREDENTIAL, ENVIRONMENT | {"AZURE_DEVOPS_AUTH": "pat"} | VAULT, ("azure.",)),
        (
            APP,
            ENVIRONMENT | PAT | {"JOURNAL_CONNECTION": "sqlite:{}/journal.sqlite3"},
            ("shared.waits.ends", "shared.waits.request", "shared.waits.wait", "cryptography"),
        ),
        (
            DELIVERY,
            ENVIRONMENT
            | PAT
            | {"JOURNAL_CONNECTION": "sqlite:{0}/journal.sqlite3", "ROUTES_FILE": "{0}/routes.yaml"}
            | {"AZURE_TENANT_ID": "of others"},
            (
                "difflib",
                *("shared.azure_devops.reconcile", "shared.azure_devops.values", "decimal"),
                *("shared.queueing.orphans", "shared.queueing.recovery", "shared.queueing.search"),
                *("shared.routing.running", "shared.resume", "shared.redrive"),
            ),
        ),
    ],
    ids=["the function app", "an identity", "a vault", "without waits", "a delivery, and again"],
)
def test_slow_modules_are_imported_only_when_needed(
    program: str, environment: dict[str, str], absent: tuple[str, ...], tmp_path: Path
) -> None:
    """Imports at the start would slow down every cold start."""
    (tmp_path / "routes.yaml").write_text(ROUTE, encoding="utf-8")
    settings = {name: value.format(tmp_path) for name, value in environment.items()}
    done = run(f"{program}\nprint([name for name in sys.modules if name.startswith({absent!r})])", settings)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(("keys", "is_there"), [({}, False), ({"WAIT_TOKEN_KEYS": KEY}, True)], ids=["off", "on"])
def test_no_timer_wakes_the_app_for_waits_that_are_off(keys: dict[str, str], is_there: bool, tmp_path: Path) -> None:
    program = "import function_app; print(*(one.get_function_name() for one in function_app.app.get_functions()))"
    journal = {"JOURNAL_CONNECTION": f"sqlite:{tmp_path / 'journal.sqlite3'}"}
    done = run(program, ENVIRONMENT | PAT | journal | keys)
    expected = {"aml_event", "register_wait", "register_wait_entra", "purge_journal"} | (
        {"sweep_waits"} if is_there else set()
    )
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize(
    ("settings", "bound"),
    [
        ({}, []),
        ({"RESUME_STORAGE": "sqlite"}, []),
        ({"RESUME_STORAGE": "UseDevelopmentStorage=true"}, ["nextstage-resume RESUME_STORAGE"]),
        (
            {"RESUME_STORAGE__queueServiceUri": "https://a.queue.core.windows.net", "RESUME_QUEUE": "mine"},
            ["mine RESUME_STORAGE"],
        ),
    ],
)
def test_the_queue_trigger_is_bound_only_to_a_queue_in_azure_queue_storage(
    settings: dict[str, str], bound: list[str], tmp_path: Path
) -> None:
    program = """
import function_app
for _ in "as often as the host wants":
    triggers = [one.get_trigger() for one in function_app.app.get_functions()]
    function_app.app.functions_bindings = None
print(*(f"{one.queue_name} {one.connection}" for one in triggers if one.type == "queueTrigger"), sep=";")
"""
    journal = {"JOURNAL_CONNECTION": f"sqlite:{tmp_path / 'journal.sqlite3'}"}
    done = run(program, ENVIRONMENT | PAT | journal | settings)
    assert done.stdout.strip().split(";") == (bound or [""]), done.stderr


def test_a_wrong_configuration_fails_when_the_host_asks_for_the_functions() -> None:
    done = run("import function_app; function_app.app.get_functions()", {})
    assert done.returncode != 0
    assert "InvalidRoutes" in done.stderr
    assert "routes.yaml:7:21: '${AZURE_DEVOPS_ORG_URL}'" in done.stderr


class TestTheRoutesOfTheApp:
    """They are written down when the host asks for the functions, and logged by the first invocation."""

    def test_they_are_in_the_journal_before_the_first_event(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving_app(tmp_path, monkeypatch) as (url, _), exported_log() as records:
            routes = load_configuration(os.environ, ROOT, NAMES).routes
            with closing(open_store(load_settings(os.environ, ROOT))) as store:
                running = wait_until(lambda: running_routes(Journal(store)))
            assert running is not None
            assert (running.digest, running.count) == (routes.digest, len(routes.routes))
            assert deliver(url, sample_text("model-deployed")).status_code == 202
            with closing(open_store(load_settings(os.environ, ROOT))) as store:
                (record,) = store.select(Selection("smoke-test-after-deployment"), 2)
        assert record.routes == routes.digest
        lines = [record.getMessage() for record in records if record.name == "nextstage.routes"]
        assert lines == [f"routes.yaml: digest {routes.digest}, routes: 7"]

    def test_a_journal_that_does_not_answer_is_tried_again(self, tmp_path: Path) -> None:
        folder = tmp_path / "later"
        environment = ENVIRONMENT | PAT | {"JOURNAL_CONNECTION": f"sqlite:{folder / 'journal.sqlite3'}"}
        configuration = load_configuration(environment, ROOT, NAMES)

        def pauses() -> Iterator[float]:
            yield 0.0
            folder.mkdir()
            yield 0.0
            yield 0.0

        left = pauses()
        announce_routes(lambda: compose(configuration, DISPATCH), configuration.routes, left).join(60)
        assert len(list(left)) == 1, "nothing is left to do after the second time"
        with closing(open_store(configuration.settings)) as store:
            assert running_routes(Journal(store)) is not None


def test_a_message_takes_up_an_orphan_and_a_waiting_task() -> None:
    """Each kind of records has its row."""
    settings = ENVIRONMENT | PAT | {"JOURNAL_CONNECTION": "sqlite:unused", "WAIT_TOKEN_KEYS": KEY}
    store, queue, reports = MemoryStore(), MemoryQueue(utc_now), Reports()
    app = compose(load_configuration(settings, ROOT, NAMES), DISPATCH, store=store, queue=queue, report=reports)
    assert app.resumption is not None
    assert app.bridge is not None
    now = utc_now()
    request = RunRequest("https://dev.azure.com/contoso", "mlops", "p", "main", {})
    lost = LostRequest(JournalKey("r", "aa"), request, "", now, now)
    app.queueing.recovery.orphans.write_down(Orphan(lost, Run(1, "url")))
    app.bridge.waits.ends.note(the_end())
    wait = Wait(a_task(plan_url="https://unknown.example"), "run-1", None, now, "", proven=True)
    app.journal.write_once(wait.key, State.WAITING, wait.document())
    queue.put(wait.key, timedelta(), "")
    for message in list(queue.messages.values()):
        app.resumption.resume.take_up(message.text, taken=2)
    found = {record.key.route: record.state for record in store.select(Selection(), 9)}
    assert (found["$orphans"], found[wait.key.route]) == (State.CLOSED, State.CLOSED)
    assert [decision.outcome for decision in reports] == [Outcome.CLOSED]


class TestResuming:
    """Event Grid delivers once. The app does the rest."""

    FAULT = Fault(accept=False, status=429, headers={"Retry-After": "1"}, match=Match(path="/runs$"))

    def test_what_is_deferred_comes_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving_app(tmp_path, monkeypatch, RESUME_STORAGE="sqlite") as (url, emulator):
            emulator.plan(self.FAULT)
            assert deliver(url, sample_text("run-completed")).status_code == 202
            wait_until(lambda: emulator.books.runs)
            with closing(open_store(load_settings(os.environ, ROOT))) as store:
                wait_until(lambda: [*store.select(Selection(states=frozenset({State.QUEUED})), 2)])
                wait_until(lambda: not [*open_due_queue(load_settings(os.environ, ROOT), store).due(9)])
        assert len(emulator.books.runs) == 1

    def test_what_is_deferred_comes_back_through_the_queue_trigger(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue_storage: Azurite
    ) -> None:
        name = f"q{uuid.uuid4().hex}"
        storage = {"RESUME_STORAGE": queue_storage.connection_string, "RESUME_QUEUE": name}
        with (
            QueueServiceClient.from_connection_string(storage["RESUME_STORAGE"], api_version=API_VERSION) as service,
            serving_app(tmp_path, monkeypatch, **storage) as (url, emulator),
        ):
            emulator.plan(self.FAULT)
            assert deliver(url, sample_text("run-completed")).status_code == 202
            wait_until(lambda: emulator.books.runs)
            queue = service.get_queue_client(name)
            wait_until(lambda: queue.get_queue_properties().approximate_message_count == 0)
            assert [found.name for found in service.list_queues(name)] == [name], "there is no poison"
        assert len(emulator.books.runs) == 1

    def test_a_restart_goes_on_with_what_was_due(self, tmp_path: Path) -> None:
        (tmp_path / "routes.yaml").write_text(ROUTE, encoding="utf-8")
        places = {
            "JOURNAL_CONNECTION": f"sqlite:{tmp_path / 'j.sqlite3'}",
            "ROUTES_FILE": str(tmp_path / "routes.yaml"),
        }
        configuration = load_configuration(ENVIRONMENT | PAT | places | {"RESUME_STORAGE": "sqlite"}, ROOT, NAMES)
        before = compose(configuration, DISPATCH, transport=lambda *_: HttpResponse(429, {}, b""))
        (decision,) = before.relay.deliver(run_completed("run-1")).decisions
        assert decision.outcome is Outcome.DEFERRED
        app = compose(configuration, DISPATCH, transport=lambda *_: HttpResponse(200, {}, b'{"id": 1}'))
        with pytest.raises(DeliveryDeferred):  # another event with the same identity leaves the record alone
            app.relay.deliver(run_completed("run-1").replace("event-1", "event-2"))
        assert app.resumption is not None
        queue = app.resumption.queue
        queue.hurry()
        thread = start_resuming(lambda: app)
        wait_until(lambda: not [*queue.due(9)])
        thread.stop()
        record = app.journal.get(JournalKey("train", decision.key))
        assert record is not None
        assert (record.run_id, record.entry.event_id) == (1, "event-1")


def test_200_duplicates_from_32_threads_queue_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event, start = sample_text("model-registered"), threading.Barrier(32)
    with serving_app(tmp_path, monkeypatch) as (url, emulator):

        def deliver_some(count: int) -> list[int]:
            start.wait()
            return [deliver(url, event).status_code for _ in range(count)]

        with ThreadPoolExecutor(32) as pool:
            statuses = [status for some in pool.map(deliver_some, [7] * 8 + [6] * 24) for status in some]
        assert len(statuses) == 200
        assert set(statuses) <= {202, 500}
        assert deliver(url, event).status_code == 202, "an event answered with 500 is acknowledged when delivered again"
        assert len(emulator.books.runs) == 1


def test_the_configured_version_of_the_rest_api_is_requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_app(tmp_path, monkeypatch, AZURE_DEVOPS_API_VERSION="7.0") as (url, emulator):
        assert deliver(url, sample_text("run-completed")).status_code == 202
    assert [request.query for request in emulator.books.requests if request.path.endswith("/runs")] == [
        "api-version=7.0"
    ]


def test_a_deferred_event_is_answered_500_and_the_reason_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving_app(tmp_path, monkeypatch, AZURE_DEVOPS_EXT_PAT=secret("wrong")) as (url, _):
        response = deliver(url, sample_text("run-completed"))
    assert response.status_code == 500
    assert "deferred on evaluate-after-training: HTTP 203 asks to sign in" in caplog.text
    assert "canary" not in caplog.text + response.text
